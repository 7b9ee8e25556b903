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


def test_token_numbers_and_several_inputs():
    embedding = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3))
    counted = count_flops(embedding, (2, 5), input_dtype=torch.int64)
    assert counted.multiply_adds == 2 * 5 * 4 * 3
    bilinear = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    assert count_flops(bilinear, ((2, 5, 8), (2, 3, 8))).input_shapes == ((2, 5, 8), (2, 3, 8))
