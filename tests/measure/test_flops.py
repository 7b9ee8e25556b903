"""Multiply-adds against torchvision's published metadata and hand arithmetic."""

import pytest
import torch
import torchvision.models as published
from torch import nn

from densenet_solutions.measure import count_flops


@pytest.mark.parametrize(
    ("factory", "weights"),
    [
        ("densenet121", "DenseNet121_Weights"),
        ("densenet161", "DenseNet161_Weights"),
        ("resnet50", "ResNet50_Weights"),
    ],
)
def test_what_torchvision_publishes(factory, weights):
    with torch.device("meta"):
        model = getattr(published, factory)()
    counted = count_flops(model, (1, 3, 224, 224))
    meta = getattr(published, weights).IMAGENET1K_V1.meta
    assert round(counted.multiply_adds / 1e9, 3) == meta["_ops"]
    assert sum(counted.by_stage.values()) == counted.multiply_adds


def test_a_convolution_by_hand():
    counted = count_flops(nn.Conv2d(3, 8, 3, stride=2, padding=1), (5, 3, 10, 10))
    assert counted.multiply_adds == 5 * 8 * 3 * 9 * 5 * 5


def test_attention_by_hand():
    tokens, width, hidden = 7, 32, 64
    layer = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True)
    counted = count_flops(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (1, 7, 32))
    projections = tokens * width * width * 4
    attention = 2 * tokens * tokens * width
    mlp = 2 * tokens * width * hidden
    assert counted.by_stage == {"layers": 2 * (projections + attention + mlp)}


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_flops(model, (1, 1, 3, 3))
    assert [m.training for m in model] == [True, True, False]
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_the_model_is_left_as_it_was_after_an_error():
    model = nn.Linear(3, 2).train()
    with pytest.raises(RuntimeError):
        count_flops(model, (1, 4))
    assert model.training


@pytest.mark.parametrize("shape", [(), (0, 3), (1.0, 3), (-1,)])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="input_shape holds positive integers"):
        count_flops(nn.Linear(3, 2), shape)
