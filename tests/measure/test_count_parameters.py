"""Counts against torchvision's published metadata and hand arithmetic."""

import torch
from torch import nn
from torchvision.models import DenseNet121_Weights, densenet121, resnet50

from densenet_solutions.measure import count_parameters


def test_total_is_what_torchvision_publishes():
    with torch.device("meta"):
        model = densenet121()
    assert count_parameters(model).total == DenseNet121_Weights.IMAGENET1K_V1.meta["num_params"]


def test_both_splits_sum_to_the_total():
    with torch.device("meta"):
        counted = count_parameters(resnet50())
    assert sum(counted.by_stage.values()) == sum(counted.by_kind.values()) == counted.total
    assert list(counted.by_stage)[:3] == ["conv1", "bn1", "layer1"]


def test_kinds_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))
    assert count_parameters(model).by_kind == {
        "conv3x3": 3 * 8 * 9 + 8,
        "norm": 2 * 8,
        "linear": 8 * 2 + 2,
    }


def test_a_shared_parameter_counts_once():
    layer = nn.Linear(4, 4, bias=False)
    assert count_parameters(nn.Sequential(layer, layer)).total == 16


def test_a_factory_is_counted_too():
    assert count_parameters(densenet121).total == 7_978_856
