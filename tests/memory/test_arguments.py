"""What strategies and their steps refuse, each with the message that says why."""

import numpy as np
import pytest
import torch
from torch import nn

from densenet_solutions.memory import STRATEGIES, training_step
from densenet_solutions.memory.connections import connect
from densenet_solutions.models import DenseNet, DenseNetConfig, book_densenet

CONFIG = DenseNetConfig(growth_rate=4, block_config=(2, 2), num_init_features=6, num_classes=5)
X, Y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 4])


def model(**options):
    with torch.device("meta"):
        return DenseNet(CONFIG) if not options else book_densenet(**options)


def apply(name, *args, of=model, **options):
    return lambda: STRATEGIES[name].apply(of(), *args, **options)


def no_relu():
    net = model()
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Tanh())
    return net


def own_features():
    net = model()
    net.features = nn.Sequential(net.features)
    return STRATEGIES["shared_storage"].apply(STRATEGIES["shared_storage"].apply(net))


def quantized_in_training_mode():
    return STRATEGIES["quantized_inference"].apply(DenseNet(CONFIG)).train()(X)


REFUSED = [
    *(
        (f"{name} of {what}", apply(name, of=of), TypeError, f"takes a DenseNet, got {what}")
        for name in STRATEGIES
        for what, of in (("Linear", lambda: nn.Linear(2, 2)), ("NoneType", lambda: None))
    ),
    ("prune all", apply("channel_pruning", 1.0), ValueError, r"share lies in \[0, 1\), got 1"),
    ("prune less", apply("channel_pruning", -0.1), ValueError, "got -0.1"),
    ("prune 'half'", apply("channel_pruning", "half"), TypeError, "share is a number, got 'half'"),
    ("rank 0", apply("low_rank", 0), ValueError, r"share lies in \(0, 1\], got 0"),
    ("rank 1.5", apply("low_rank", 1.5), ValueError, "got 1.5"),
    ("all closed", apply("gates", 0.0), ValueError, r"open_share lies in \(0, 1\]"),
    ("random 2", apply("random_connections", 2), ValueError, r"share lies in \[0, 1\], got 2"),
    ("3 groups", apply("learned_groups", 3), ValueError, "divides the 16 outputs, got groups=3"),
    ("1.5 groups", apply("learned_groups", 1.5), TypeError, "groups is an integer, got 1.5"),
    ("0", apply("learned_groups", 2, 0), ValueError, "condensation is at least 1, got 0"),
    ("True", apply("learned_groups", 2, True), TypeError, "condensation is an integer, got True"),
    ("0 parts", apply("gradient_accumulation", 0), ValueError, "parts is at least 1, got 0"),
    ("1.5 parts", apply("gradient_accumulation", 1.5), TypeError, "parts is an integer, got 1.5"),
    ("slope 0", apply("in_place_normalization", 0), ValueError, r"slope lies in \(0, 1\], got 0"),
    ("slope", apply("in_place_normalization", "x"), TypeError, "slope is a number, got 'x'"),
    ("budget", apply("compiled", -1), ValueError, r"budget lies in \[0, 1\], got -1"),
    ("half", apply("bfloat16", of=lambda: model().half()), TypeError, "takes float32 parameters"),
    ("no ReLU", apply("in_place", of=no_relu), ValueError, "the network has no ReLU"),
    ("one block", apply("pool_first", of=lambda: model(block_config=(2,))), ValueError, "nothing"),
    ("max", apply("pool_first", of=lambda: model(pooling="max")), ValueError, "only average pool"),
    ("stride", apply("pool_first", of=lambda: model(pooling="stride")), ValueError, "strided conv"),
    ("features", own_features, TypeError, "as they were built, got a SharedStorageFeatures"),
    ("training", quantized_in_training_mode, ValueError, "only infers, got training mode"),
    ("future", lambda: connect(model(), lambda layer: (layer,)), ValueError, "ascending sources"),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_impossible_settings_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


STEPS = [n for n, row in STRATEGIES.items() if row.step is not None and not row.on_request]
WRONG_BATCHES = [
    ("no images", None, Y, TypeError, "are a torch.Tensor of"),
    ("an array", np.zeros((4, 3, 32, 32)), Y, TypeError, "are a torch.Tensor of"),
    ("uint8", X.byte(), Y, TypeError, "type torch.float32, got torch.uint8"),
    ("int64", X.long(), Y, TypeError, "type torch.float32, got torch.int64"),
    ("empty", X[:0], Y[:0], ValueError, "at least (one image|as many images)"),
    ("one channel", X[:, :1], Y, ValueError, r"shape \(N, 3, H, W\)"),
    ("no targets", X, None, TypeError, "targets are a torch.Tensor"),
    ("a list", X, [0, 1, 2, 4], TypeError, "targets are a torch.Tensor"),
    ("float", X, Y.float(), TypeError, "targets have the type torch.int64, got torch.float32"),
    ("int32", X, Y.int(), TypeError, "targets have the type torch.int64, got torch.int32"),
    ("a column", X, Y[:, None], ValueError, r"targets have shape \(4,\), got \(4, 1\)"),
    ("too few", X, Y[:3], ValueError, r"targets have shape \(4,\), got \(3,\)"),
    ("above", X, Y + 1, ValueError, r"targets lie in 0 … 4, got (1|5) … 5"),
    ("below", X, Y - 1, ValueError, "targets lie in 0 … 4, got -1 …"),
]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [row[1:] for row in WRONG_BATCHES],
    ids=[row[0] for row in WRONG_BATCHES],
)
def test_impossible_batches_are_refused_by_every_step(name, x, y, error, message):
    strategy = STRATEGIES[name]
    with pytest.raises(error, match=message):
        strategy.step(strategy.apply(DenseNet(CONFIG)), x, y)


@pytest.mark.parametrize("name", STEPS)
def test_what_fits_is_taken_by_every_step(name):
    strategy = STRATEGIES[name]
    changed = strategy.apply(DenseNet(CONFIG))
    assert strategy.step(changed, X, Y).shape == ()
    assert strategy.step(changed.eval(), X, Y).isfinite()
    frozen = strategy.apply(DenseNet(CONFIG).requires_grad_(False))
    if any(parameter.requires_grad for parameter in frozen.parameters()):
        return  # gates have parameters of their own
    with pytest.raises(ValueError, match="a frozen model or gradients switched off"):
        strategy.step(frozen, X, Y)


@pytest.mark.parametrize("name", [n for n, row in STRATEGIES.items() if not row.on_request])
def test_no_image_gives_no_logits_and_cannot_be_normalized(name):
    """Plain and changed alike, in evaluation mode with gradients and without."""
    changed = STRATEGIES[name].apply(DenseNet(CONFIG)).eval()
    empty = torch.zeros(0, 3, 32, 32)
    with torch.no_grad():
        assert changed(empty).shape == (0, 5)
    out = changed(empty)
    assert out.shape == (0, 5)
    if out.requires_grad:
        out.sum().backward()
        assert all(not p.grad.any() for p in changed.parameters() if p.grad is not None)
    with pytest.raises(ValueError, match=r"more than one value per channel|only infers"):
        changed.train()(empty)


@pytest.mark.parametrize("name", [n for n, row in STRATEGIES.items() if not row.on_request])
@pytest.mark.parametrize(
    "dtype", [torch.double, torch.int64, torch.uint8, torch.bool, torch.cfloat]
)
def test_images_of_another_type_are_refused_in_evaluation_mode_too(name, dtype):
    changed = STRATEGIES[name].apply(DenseNet(CONFIG)).eval()
    with torch.no_grad():
        assert changed(X).shape == (4, 5)
        with pytest.raises(TypeError, match=f"type torch.float32, got {dtype}"):
            changed(X.to(dtype))
        with pytest.raises(ValueError, match="network's device 'cpu', got 'meta'"):
            changed(X.to("meta"))


def test_a_step_says_what_it_needs():
    with pytest.raises(TypeError, match=r"model is a torch.nn.Module, got None"):
        training_step(None, X, Y)
    with torch.no_grad(), pytest.raises(ValueError, match="gradients switched off"):
        training_step(DenseNet(CONFIG), X, Y)
    few = STRATEGIES["gradient_accumulation"].apply(DenseNet(CONFIG), parts=5)
    with pytest.raises(ValueError, match="got 4 images and 5 parts"):
        STRATEGIES["gradient_accumulation"].step(few, X, Y)
