"""DenseNet against torchvision's class, the paper's tables and hand arithmetic."""

from dataclasses import asdict

import pytest
import torch
import torchvision.models as published
from hypothesis import given, settings
from hypothesis import strategies as st

from densenet_solutions import models
from densenet_solutions.models import (
    NETWORKS,
    TABLE_1,
    TABLE_2,
    cifar_densenet,
    densenet121,
)

ROWS = [*TABLE_1.values(), *TABLE_2.values()]


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_count_on_each_row(row):
    with torch.device("meta"):
        assert count(row.build()) == row.parameters


@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201"])
def test_counts_are_those_torchvision_publishes(name):
    weights = getattr(published, TABLE_1[name].torchvision_weights).IMAGENET1K_V1
    assert TABLE_1[name].parameters == weights.meta["num_params"]


@pytest.mark.parametrize("row", TABLE_2.values(), ids=lambda row: row.name)
def test_table_2_rounds_to_what_the_paper_prints(row):
    assert f"{row.parameters / 1e6:.1f}M" == row.printed_parameters


def test_depth_counts_the_papers_way_and_264_is_265():
    depths = {name: row.config.depth for name, row in TABLE_1.items()}
    assert depths == {
        "densenet121": 121,
        "densenet169": 169,
        "densenet201": 201,
        "densenet264": 265,
        "densenet161": 161,
    }
    assert TABLE_2["L=40, k=12"].config.depth == 40
    assert TABLE_2["BC, L=250, k=24"].config.depth == 250


def reference(**options):
    return published.DenseNet(**options).double()


def twins(**options):
    """torchvision's network and ours with the same weights, in float64."""
    torch.manual_seed(0)
    theirs = reference(**options)
    ours = densenet121(**options).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


SMALL = {"growth_rate": 4, "block_config": (2, 3), "num_init_features": 6, "num_classes": 5}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_logits_gradients_and_buffers_equal_torchvisions(training):
    theirs, ours = twins(**SMALL)
    images = torch.randn(3, 3, 40, 37, dtype=torch.float64)
    targets = torch.tensor([0, 3, 1])
    gradients = []
    for model in (theirs, ours):
        x = images.clone().requires_grad_()
        logits = model.train(training)(x)
        torch.nn.functional.cross_entropy(logits, targets).backward()
        gradients.append([logits, x.grad, *(p.grad for p in model.parameters())])
    for expected, got in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    for expected, got in zip(theirs.buffers(), ours.buffers(), strict=True):
        assert torch.equal(got, expected)


@given(
    growth_rate=st.integers(1, 5),
    block_config=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    num_init_features=st.integers(2, 7),
    bn_size=st.integers(1, 4),
)
@settings(max_examples=15)
def test_random_configurations_equal_torchvisions(**options):
    theirs, ours = twins(num_classes=3, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    results = []
    for model in (theirs, ours):
        logits = model(images)
        results.append([logits, *torch.autograd.grad(logits.square().sum(), model.parameters())])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201"])
def test_state_dict_has_torchvisions_keys_and_shapes(name):
    with torch.device("meta"):
        theirs, ours = getattr(published, name)(), getattr(models, name)()
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == shapes
    assert list(ours.state_dict()) == list(shapes)


def test_the_same_seed_gives_the_same_weights_as_torchvision():
    torch.manual_seed(3)
    theirs = published.DenseNet(**SMALL)
    torch.manual_seed(3)
    ours = densenet121(**SMALL)
    for expected, got in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert torch.equal(got, expected)


def test_dropout_acts_in_training_only():
    model = densenet121(**SMALL, drop_rate=0.5)
    images = torch.randn(4, 3, 32, 32)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_every_option_overrides_a_row_of_table_1():
    options = {
        "growth_rate": 8, "block_config": (1, 2), "num_init_features": 6, "bn_size": 2,
        "compression": 0.25, "drop_rate": 0.5, "num_classes": 10, "in_channels": 1,
        "stem": "cifar", "bias": True, "pooling": "max", "inplace": False,
        "initialization": "torch",
    }  # fmt: skip
    with torch.device("meta"):
        model = models.densenet169(**options)
    assert asdict(model.config) == options
    assert model.features.transition1.conv.weight.shape == (3, 14, 1, 1)
    assert type(model.features.transition1.pool) is torch.nn.MaxPool2d
    assert all(m.bias is not None for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert not any(m.inplace for m in model.modules() if isinstance(m, torch.nn.ReLU))
    assert model(torch.empty(2, 1, 64, 64, device="meta")).shape == (2, 10)


def test_the_catalogue_has_every_network_under_its_name():
    with torch.device("meta"):
        built = {name: network.build() for name, network in NETWORKS.items()}
    assert built["cifar-densenet-bc-250-24"].config == TABLE_2["BC, L=250, k=24"].config
    assert [n for n in built if n.startswith("cifar")] == [
        *(f"cifar-densenet-{name}" for name in ("40-12", "100-12", "100-24")),
        *(f"cifar-densenet-bc-{name}" for name in ("100-12", "250-24", "190-40")),
    ]
    for name in ("book-densenet", "book-resnet18", "cifar-densenet-40-12", "resnet18"):
        x = torch.empty(NETWORKS[name].shape(2, 32), device="meta")
        assert built[name](x).shape[0] == 2


def test_a_cifar_network_keeps_the_resolution_in_its_stem():
    model = cifar_densenet(10, 4, bottleneck=True)
    seen = []
    model.features.denseblock1.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert seen == [(2, 8 + 4, 32, 32)]


def test_the_smallest_image_passes_and_one_pixel_less_does_not():
    with torch.device("meta"):
        model = models.densenet121()
        assert model(torch.empty(2, 3, 29, 29)).shape == (2, 1000)
        with pytest.raises(ValueError, match=r"at least 29, .*got x\.shape=\(2, 3, 28, 200\)"):
            model(torch.empty(2, 3, 28, 200))
