"""What a step needs at any size, from recorded points; `docs/assets/explorer.js` says the same.

What else the script computes stands in Python beside its test, `tests/site/explorer_in_python.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from densenet_solutions import checks
from densenet_solutions.exercises.explorer.predictions import ExplorerCase

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


def whole(value: float) -> int:
    """Rounded as a browser rounds, and not below zero."""
    return int(max(0.0, value) + 0.5)
