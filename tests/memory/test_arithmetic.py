"""The arithmetic of shared storage on a CPU, held against float64."""

import pytest
import torch
from torch import nn

from densenet_solutions.memory.shared_storage.arithmetic import (
    NormalizationGradient,
    affine,
    batch_normalization,
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
