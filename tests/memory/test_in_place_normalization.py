"""In-place activated batch normalization, against normalization and leaky ReLU one by one."""

import copy

import pytest
import torch
from torch import nn

from densenet_solutions.measure import predict_memory, saved_bytes
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory.in_place_normalization import (
    SMALLEST_SCALE,
    ActivatedNorm,
    in_place_normalization,
)
from densenet_solutions.models import densenet121
from tests.memory.test_exact_strategies import small_book, small_densenet


def with_leaky(model, slope):
    """The plain network with leaky ReLUs, and scales as the strategy has them."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.LeakyReLU(slope))
    return model


def add_to_scales(model):
    """Add to the scale of all norms but the last what the strategy adds."""
    with torch.no_grad():
        for name, norm in model.named_modules():
            if isinstance(norm, nn.BatchNorm2d) and name != "features.norm5":
                norm.weight += SMALLEST_SCALE * torch.where(norm.weight < 0, -1.0, 1.0)
    return model


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("slope", [0.01, 0.3])
@pytest.mark.parametrize("make", [small_densenet, small_book])
def test_it_is_the_network_with_leaky_relus(make, slope, train):
    model = make()
    expected = add_to_scales(with_leaky(model, slope)).train(train)
    ours = in_place_normalization(model, slope).train(train)
    channels, found = next(model.parameters()).shape[1], []
    for network in (expected, ours):
        torch.manual_seed(1)
        x = torch.randn(4, channels, 45, 45, dtype=torch.float64, requires_grad=True)
        logits = network(x)
        nn.functional.cross_entropy(logits, torch.arange(4)).backward()
        found.append([logits, x.grad, *(p.grad for p in network.parameters()), *network.buffers()])
    assert list(ours.state_dict()) == list(model.state_dict())
    for got, wanted in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_move_as_those_of_the_norm(momentum):
    norm = nn.BatchNorm2d(4, momentum=momentum)
    ours = copy.deepcopy(norm)
    ours.__class__, ours.slope = ActivatedNorm, 0.01
    for x in torch.randn(3, 5, 4, 2, 2).mul_(2).add_(5):
        norm(x), ours(x)
    for (name, expected), got in zip(norm.named_buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(got, expected, msg=name)


@pytest.mark.parametrize("name", ["recompute_layer", "selective_checkpointing"])
def test_recomputed_it_moves_running_statistics_once(name):
    once = in_place_normalization(small_densenet())
    again = STRATEGIES[name].apply(once)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for network in (once, again):
        network(images).square().sum().backward()
    for (path, expected), got in zip(once.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(got, expected), path


def test_a_scale_of_zero_still_learns():
    norm = nn.BatchNorm2d(4).double()
    norm.__class__, norm.slope = ActivatedNorm, 0.01
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.fill_(0.5)
    x = torch.randn(6, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    norm(x).backward(upstream)
    normalized = (x - x.mean(dim=(0, 2, 3), keepdim=True)) / x.std(
        dim=(0, 2, 3), keepdim=True, correction=0
    )
    expected = (upstream * normalized).sum(dim=(0, 2, 3))
    torch.testing.assert_close(norm.weight.grad, expected.detach(), rtol=1e-3, atol=1e-3)
    assert x.grad.isfinite().all()


def test_second_derivatives_are_refused():
    model = in_place_normalization(small_densenet())
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


def test_half_of_what_is_kept_is_gone():
    shape = (8, 3, 96, 96)
    with torch.device("meta"):
        plain = densenet121()
    ours = in_place_normalization(plain)
    kept = [saved_bytes(model, shape) for model in (plain, ours)]
    assert 0.5 < kept[1] / kept[0] < 0.55
    peaks = [predict_memory(m, shape).peak_beyond_parameters for m in (plain, ours)]
    assert peaks[1] < 0.6 * peaks[0]


def test_what_was_changed_is_refused():
    once = in_place_normalization(small_densenet())
    for name in ("in_place_normalization", "gates"):
        with pytest.raises(TypeError, match="as it was built, got a dense block with a Activ"):
            STRATEGIES[name].apply(once)
    with pytest.raises(ValueError, match="the network has no ReLU"):
        STRATEGIES["in_place"].apply(once)
