"""What a step needs at any size, from recorded points; `docs/assets/explorer.js` says the same.

What else the script computes stands in Python beside its test, `tests/site/explorer_in_python.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from densenet_solutions import checks
from densenet_solutions.exercises.explorer.predictions import ExplorerCase, explored
from densenet_solutions.measure import count_parameters
from densenet_solutions.models import TABLE_1

RESOLUTIONS = (96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)
#: optimizer → state in multiples of the parameters.
OPTIMIZERS = {"none": 0, "sgd_momentum": 1, "adam": 2}


class Need(NamedTuple):
    """Peaks of a step in bytes: what the allocator hands out, and what it takes for it."""

    allocated: int
    reserved: int


def need(case: ExplorerCase, batch: int, resolution: int, optimizer: str = "none") -> Need:
    """A straight line in the pixels of the batch, between and beyond the two nearest points.

    An optimizer adds its state in training. In its own step parameters, gradients and state are
    there together.

    Raises:
        ValueError: the batch is not positive, the resolution is none of `RESOLUTIONS`, or the
            optimizer is unknown.
    """
    checks.integer("batch", batch)
    checks.choice("resolution", resolution, RESOLUTIONS)
    state = OPTIMIZERS[checks.choice("optimizer", optimizer, OPTIMIZERS)]
    pixels = batch * resolution**2
    points = case.points
    at = next((i for i, p in enumerate(points[1:-1], 1) if pixels <= p.pixels), len(points) - 1)
    low, high = points[at - 1], points[at]
    share = (pixels - low.pixels) / (high.pixels - low.pixels)
    state = 4 * case.parameters * state * (case.method != "inference")
    floor = 8 * case.parameters + state if state else 0

    def on_line(a: int, b: int) -> int:
        return max(whole(a + (b - a) * share) + state, floor)

    return Need(
        on_line(low.allocated_bytes, high.allocated_bytes),
        on_line(low.reserved_bytes, high.reserved_bytes),
    )


@dataclass(frozen=True)
class Growth:
    """A DenseNet's weights as functions of its growth rate `k`: `a·k² + b·k + c`.

    `own` is the `k` that it was recorded with. Exact where `k` is a multiple of 4.
    """

    own: int
    parameters: tuple[float, float, float]
    fixed_bytes: tuple[float, float, float]


def growth(name: str) -> Growth:
    """Weights of the network `name`, its layers and its compression, for any growth rate.

    The stem has `2k` channels. Three growth rates are counted, and give the rest.
    """
    build = explored(name).build
    counted = []
    for k in (16, 32, 48):
        with torch.device("meta"):
            net = build(growth_rate=k, num_init_features=2 * k)
        tensors = (*net.parameters(), *net.buffers())
        counted.append(
            (count_parameters(net).total, sum(t.numel() * t.element_size() for t in tensors))
        )
    parameters, fixed = (_quadratic(*values) for values in zip(*counted, strict=True))
    own = TABLE_1[name].config.growth_rate if name in TABLE_1 else 32
    return Growth(own, parameters, fixed)


def _quadratic(at_16: int, at_32: int, at_48: int) -> tuple[float, float, float]:
    a = (at_48 - 2 * at_32 + at_16) / 512
    b = (at_32 - at_16) / 16 - 48 * a
    return a, b, at_16 - 256 * a - 16 * b


def whole(value: float) -> int:
    """Rounded as a browser rounds, and not below zero."""
    return int(max(0.0, value) + 0.5)
