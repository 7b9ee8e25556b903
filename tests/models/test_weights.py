"""Weights from the files that people have, against torchvision's own network."""

import re

import pytest
import torch
from torchvision.models import DenseNet as TorchvisionDenseNet
from torchvision.models import resnet18

from densenet_solutions.models import densenet121, load_densenet_weights

SMALL = {"growth_rate": 4, "block_config": (2, 3), "num_init_features": 6, "bn_size": 2}


def theirs(num_classes=5):
    torch.manual_seed(0)
    return TorchvisionDenseNet(**SMALL, num_classes=num_classes).state_dict()


def ours(num_classes=5, **options):
    return densenet121(**{**SMALL, **options}, num_classes=num_classes)


def renamed(pattern, replacement):
    return {re.sub(pattern, replacement, key): value for key, value in theirs().items()}


def without(part):
    return {key: value for key, value in theirs().items() if part not in key}


WHOLE = {
    "as it is": theirs,
    "old names": lambda: renamed(r"(denselayer\d+)\.(norm|conv)(\d)\.", r"\1.\2.\3."),
    "module.": lambda: renamed("^", "module."),
    "several": lambda: renamed("^", "module.densenet121."),
    "sequential classifier": lambda: renamed("^classifier", "classifier.0"),
    "without counters": lambda: without("num_batches_tracked"),
}


@pytest.mark.parametrize("file", WHOLE)
def test_every_weight_arrives(file):
    model, expected = ours(), theirs()
    assert load_densenet_weights(model, WHOLE[file]()) == ()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


TRUNKS = {
    "backbone.": lambda: {
        key.replace("features.", "backbone."): value
        for key, value in theirs().items()
        if key.startswith("features.")
    },
    "backbone.features.": lambda: {
        f"backbone.{key}": value for key, value in without("classifier").items()
    },
    "no prefix": lambda: {
        key.removeprefix("features."): value for key, value in without("classifier").items()
    },
}


@pytest.mark.parametrize("file", TRUNKS)
def test_a_trunk_leaves_the_classifier_and_what_is_beside_it(file):
    model, expected = ours(), theirs()
    before = model.classifier.weight.clone()
    state_dict = TRUNKS[file]()
    outside = ("decoder.weight",) if file != "no prefix" else ()
    state_dict |= {name: torch.zeros(1) for name in outside}
    with pytest.raises(
        RuntimeError, match=r"missing: classifier\.weight, classifier\.bias \(other"
    ):
        load_densenet_weights(model, state_dict)
    left_out = load_densenet_weights(model, state_dict, other_classes=True)
    assert left_out == (*outside, "classifier.weight", "classifier.bias")
    assert torch.equal(model.classifier.weight, before)
    for name, value in model.features.state_dict().items():
        assert torch.equal(value, expected[f"features.{name}"])


def test_another_number_of_classes_on_request():
    model = ours(num_classes=7)
    with pytest.raises(RuntimeError, match=r"classifier.bias is \(5,\) instead of \(7,\) \(other_"):
        load_densenet_weights(model, theirs())
    left_out = load_densenet_weights(model, theirs(), other_classes=True)
    assert left_out == ("classifier.weight", "classifier.bias")
    assert model.classifier.weight.shape == (7, model.classifier.in_features)
    same = ours()
    assert load_densenet_weights(same, theirs(), other_classes=True) == ()
    assert torch.equal(same.classifier.weight, theirs()["classifier.weight"])


def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded():
    model = ours()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state_dict = without("features.norm0.weight") | {
        "features.more.weight": torch.zeros(1),
        "features.norm5.bias": torch.zeros(3),
    }
    expected = (
        "these weights do not fit the model. missing: features.norm0.weight; "
        "not in the model: features.more.weight; "
        "of another shape: features.norm5.bias is (3,) instead of (19,)"
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(expected)}$"):
        load_densenet_weights(model, state_dict)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Holder(torch.nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.head = backbone, torch.nn.Linear(2, 3)


MISTAKEN = {
    "another network": (
        lambda: (densenet121(), resnet18().state_dict()),
        "it has no tensor of theirs, which are called conv1.weight, bn1.*, layer1.*, layer2.*, "
        "layer3.*, layer4.*, fc.weight, fc.bias, and its own features.*, classifier.weight, "
        "classifier.bias",
    ),
    "another depth": (
        lambda: (
            densenet121(),
            {f"features.{name}": torch.zeros(1) for name in ("conv0.weight", "norm0.weight")}
            | {
                f"features.denseblock{block}.denselayer{layer}.conv1.weight": torch.zeros(1)
                for block, layers in enumerate((6, 12, 32, 32), start=1)
                for layer in range(1, layers + 1)
            },
        ),
        "they are of blocks of (6, 12, 32, 32) layers, as densenet169 has, and the model has "
        "(6, 12, 24, 16)",
    ),
    "what holds a network": (
        lambda: (Holder(ours()), theirs()),
        "its DenseNet is model.backbone, so give that",
    ),
    "what holds a trunk": (
        lambda: (Holder(ours().features), theirs()),
        "its DenseNet is model.backbone, so give that",
    ),
    "nothing": (lambda: (ours(), {}), "there are none"),
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_what_is_mistaken_is_told_in_a_line(case):
    made, told = MISTAKEN[case]
    with pytest.raises(RuntimeError) as raised:
        load_densenet_weights(*made())
    assert str(raised.value) == f"these weights do not fit the model: {told}"


def test_a_trunk_alone_takes_the_features_of_a_file():
    trunk, expected = ours().features, theirs()
    left_out = load_densenet_weights(trunk, {f"module.{k}": v for k, v in expected.items()})
    assert left_out == ("classifier.weight", "classifier.bias")
    assert all(torch.equal(v, expected[f"features.{k}"]) for k, v in trunk.state_dict().items())
    assert load_densenet_weights(trunk, ours().features.state_dict()) == ()


def test_of_much_that_does_not_fit_the_first_are_listed():
    wider = densenet121(growth_rate=24)
    with pytest.raises(
        RuntimeError, match=r"\(128, 64, 1, 1\) instead of \(96, 64, 1, 1\)"
    ) as raised:
        load_densenet_weights(wider, densenet121().state_dict())
    listed, more = re.fullmatch(
        r"these weights do not fit the model. of another shape: (.*) and (\d+) more",
        str(raised.value),
    ).groups()
    assert len(re.findall(r"features\.", listed)) == 40
    assert int(more) > 0


def test_swapped_arguments_are_told():
    with pytest.raises(TypeError, match="the model comes first and its weights second"):
        load_densenet_weights(theirs(), ours())
    with pytest.raises(
        TypeError, match=r"^model is a torch\.nn\.Module, got one of the type Ordered"
    ):
        load_densenet_weights(theirs(), theirs())


def test_two_networks_in_a_file_are_refused():
    state_dict = {
        f"{of}.{key}": value for of in ("model", "ema") for key, value in theirs().items()
    }
    with pytest.raises(ValueError, match=r"one at each of model\.features\., ema\.features\."):
        load_densenet_weights(ours(), state_dict)
