"""The arithmetic of shared storage on a CPU, held against float64."""

import pytest
import torch
from torch import nn

from densenet_solutions.memory.shared_storage.arithmetic import (
    NormalizationGradient,
    affine,
    batch_normalization,
    normalize_relu,
    statistics,
    through_norm,
)
from densenet_solutions.memory.shared_storage.plan import Plan

TYPES = (torch.float32, torch.bfloat16, torch.float16)


def rows(dtype, columns=24, of=40, count=1500):
    """Some columns of a wider buffer, as layers read them; their means are not zero."""
    return (torch.randn(count, of) + torch.linspace(-2, 2, of)).to(dtype)[:, :columns]


@pytest.fixture
def per_channel():
    torch.manual_seed(0)
    return torch.rand(24) + 0.5, torch.randn(24)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("in_place", [False, True])
def test_an_affine_map_is_rounded_once(dtype, in_place, per_channel):
    scale, shift = per_channel
    x = rows(dtype)
    expected = x.double() * scale.double() + shift.double()
    x = x.contiguous() if in_place else x
    out = affine(x, scale, shift, x if in_place else torch.empty(x.shape, dtype=dtype))
    assert out.dtype == dtype
    worst = (out.double() - expected).abs() / expected.abs().clamp(min=1)
    assert worst.max() <= torch.finfo(dtype).eps  # scale and shift rounded too: several times that


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_sums_of_a_gradient_are_kept_in_single_precision(dtype, threads, per_channel):
    norm, plan = nn.BatchNorm2d(24).train(), Plan((15, 10, 10), 5, threads)
    x, g = rows(dtype), rows(dtype, of=24)
    found = NormalizationGradient(
        batch_normalization(norm, *per_channel, statistics(x, plan)), plan
    )
    for part in (slice(0, 700), slice(700, 1500)):
        found.add(g[part].clone(), x[part], consume=True)
    gradient = found.found()
    exact, over = x.double(), g.double()
    normal = (exact - exact.mean(0)) / (exact.var(0, correction=0) + norm.eps).sqrt()
    for ours, expected in ((gradient.bias, over.sum(0)), (gradient.weight, (over * normal).sum(0))):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=2e-2)


@pytest.mark.parametrize("dtype", TYPES)
def test_the_gradient_through_a_normalization_is_scale_g_minus_constant_minus_slope_x(
    dtype, per_channel
):
    scale, constant = per_channel
    slope = torch.randn(24)
    dz, z = rows(dtype, of=24), rows(dtype, of=24)
    expected = dz.double() * scale - constant - z.double() * slope
    got = through_norm(dz.clone(), z.clone(), scale, (constant, slope))
    assert (got.double() - expected).abs().max() <= 16 * torch.finfo(dtype).eps


def test_faint_channels_are_those_whose_output_says_little_about_their_input():
    gamma = torch.tensor([1.0, 0.1, 0.0, 0.0, -1e-3, -0.1, 0.2])
    beta = torch.tensor([7.9, 0.9, -0.5, 0.0, 1e-3, -0.9, 0.0])
    x = torch.randn(200, 7) * 3 + 5
    norm = nn.BatchNorm2d(7)
    found = batch_normalization(norm, gamma, beta, statistics(x, Plan((2, 10, 10), 1)))
    torch.testing.assert_close(found.gamma, gamma)
    torch.testing.assert_close(found.beta, beta, rtol=1e-5, atol=1e-5)
    assert found.faint().tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_gradient_of_a_kernel_tells_that_of_the_weights_before_it(threads):
    """Through normalization, ReLU and a product of rows, by autograd in float64."""
    torch.manual_seed(0)
    plan, x = Plan((15, 10, 10), 5, threads), rows(torch.float32)
    gamma, beta = torch.randn(24), torch.randn(24)
    gamma[[3, 17]] = torch.tensor([0.0, 1e-3])
    kernel, dy = torch.randn(6, 24), torch.randn(1500, 6)
    norm = batch_normalization(nn.BatchNorm2d(24), gamma, beta, statistics(x, plan))
    faint = norm.faint()
    assert {3, 17} <= set(faint.tolist())
    assert len(faint) < 12
    h = normalize_relu(x, norm, torch.empty(1500, 24))
    g = torch.where(h > 0, dy @ kernel, 0)
    collected = NormalizationGradient(norm, plan, faint)
    for part in (slice(0, 700), slice(700, 1500)):
        collected.add(g[part].clone(), x[part], consume=True)
    found = collected.found((kernel * (dy.t() @ h)).sum(0))

    exact = nn.BatchNorm1d(24, eps=1e-5).double()
    with torch.no_grad():
        exact.weight.copy_(gamma)
        exact.bias.copy_(beta)
    (exact(x.double()).relu() @ kernel.double().t() * dy.double()).sum().backward()
    for ours, theirs in ((found.weight, exact.weight.grad), (found.bias, exact.bias.grad)):
        assert (ours.double() - theirs).abs().max() <= 2e-5 * theirs.abs().max()
