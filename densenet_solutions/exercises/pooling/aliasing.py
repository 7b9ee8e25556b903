"""Exercise 1: what a pool loses between the positions it keeps, held against a half-shift.

Move a map by one cell, and its pooled map should move by half a cell. If what was pooled has no
detail too fine for the smaller grid, the pooled map's Fourier series says exactly how it looks
half a cell on. What it gets wrong is aliasing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from densenet_solutions.exercises.pooling.gradients import POOLINGS


def by_fourier(x: Tensor) -> Tensor:
    """Periodic rows `(…, W)`, W even, half a cell on: exact up to all but the highest frequency."""
    width = x.shape[-1]
    turn = torch.arange(width // 2 + 1, dtype=x.dtype) * (1j * math.pi / width)
    return torch.fft.irfft(torch.fft.rfft(x) * turn.exp(), n=width)


def by_line(x: Tensor) -> Tensor:
    """The same as the mean of two neighbours, which blurs."""
    return (x + x.roll(-1, -1)) / 2


def blur(x: Tensor) -> Tensor:
    """Weights 1 2 1 in both directions, then every second pixel; periodic rows `(N, C, H, W)`."""
    x = pad(pad(x, (1, 1, 0, 0), mode="circular"), (0, 0, 1, 1), mode="reflect")
    return avg_pool2d(avg_pool2d(x, 2, stride=1), 2)


HALF_SHIFTS: Mapping[str, Callable[[Tensor], Tensor]] = {"Fourier": by_fourier, "line": by_line}
POOLS: Mapping[str, Callable[[Tensor], Tensor]] = {**POOLINGS, "blur": blur}


def half_shift_error(
    x: Tensor, pool: Callable[[Tensor], Tensor], half_shift: Callable[[Tensor], Tensor] = by_fourier
) -> float:
    """How far the pooled map of `x`, moved by one cell, is from the half-shifted pooled map.

    The mean squared difference over the sum of both variances, averaged over channels: 0 where
    nothing is aliased, 1 for two unrelated maps.

    Args:
        x: maps `(N, C, H, W)`, H and W even. Each is continued by its mirror image, so that it is
            periodic without a jump at its border.
        pool: a pool of stride 2.
    """
    x = torch.cat((x, x.flip(-1)), dim=-1)
    expected, found = half_shift(pool(x)), pool(x.roll(-1, -1))
    over = (0, 2, 3)
    error = (found - expected).pow(2).mean(over)
    variances = found.var(over, correction=0) + expected.var(over, correction=0)
    return float((error / variances).mean())
