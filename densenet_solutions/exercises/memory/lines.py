"""The book's two networks by batch and resolution, predicted for a GPU (exercise 3.1).

`memory-lines` is recorded without one: what tensors hold, what of it does not grow with the images,
and what the simulated allocator reserves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from densenet_solutions.exercises.memory.grid import GridCase, predict_case
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.records.serialise import from_json

NETWORKS = {"DenseNet": "book-densenet", "ResNet-18": "book-resnet18"}
SIDES = (64, 96, 128, 160, 192, 224)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: What does not grow with the batch. The peak of a large batch comes before most gradients.
_FIXED = ("parameters", "buffers", "gradients")


@dataclass(frozen=True)
class LineCase:
    """Training steps of one network on images of `side` × `side` pixels, float32."""

    network: str
    side: int

    @property
    def name(self) -> str:
        return f"{self.network} {self.side}"


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Bytes at the peak of a step, one number for each of `batches`.

    `held` is what tensors hold, `fixed` the part of it that are parameters, buffers and gradients,
    `reserved` what the simulated allocator takes from the driver.
    """

    batches: tuple[int, ...]
    held: tuple[int, ...]
    fixed: tuple[int, ...]
    reserved: tuple[int, ...]

    @property
    def line(self) -> tuple[float, float]:
        """`(a, b)` of `a + b·N`, the line through the two largest batches, in bytes."""
        (n, low), (m, high) = list(zip(self.batches, self.held, strict=True))[-2:]
        per_image = (high - low) / (m - n)
        return high - m * per_image, per_image


def peaks(case: LineCase, device: str = "cpu") -> Peaks:
    """Predict the step of `case` at every batch; no GPU is needed."""
    steps = [predict_case(GridCase(case.network, case.side, batch), device) for batch in BATCHES]
    return Peaks(
        batches=BATCHES,
        held=tuple(step.peak_bytes for step in steps),
        fixed=tuple(sum(step.by_category.get(name, 0) for name in _FIXED) for step in steps),
        reserved=tuple(step.reserved_bytes for step in steps),
    )


def recipe() -> Recipe:
    """`memory-lines`: both networks at every resolution."""
    cases = [LineCase(network, side) for network in NETWORKS.values() for side in SIDES]
    return Recipe(name="memory-lines", cases={case.name: case for case in cases}, measure=peaks)


def read(cases: Mapping[str, Any]) -> dict[int, dict[str, Peaks]]:
    """The record's `cases` by resolution and network."""
    return {
        side: {
            name: from_json(Peaks, cases[LineCase(network, side).name])
            for name, network in NETWORKS.items()
        }
        for side in SIDES
    }


def crossed(one: Mapping[str, Peaks], field: str) -> tuple[int, int]:
    """The batches between which DenseNet's `held` or `reserved` comes to be above ResNet-18's.

    Raises:
        ValueError: it is above at the first batch, below at the last, or comes back.

    Examples:
        >>> def row(*reserved):
        ...     return Peaks(batches=(1, 2, 4), held=(), fixed=(), reserved=reserved)
        >>> crossed({"DenseNet": row(1, 3, 9), "ResNet-18": row(3, 4, 5)}, "reserved")
        (2, 4)
    """
    dense, resnet = (getattr(one[name], field) for name in NETWORKS)
    above = [a > b for a, b in zip(dense, resnet, strict=True)]
    turns = [i for i, (before, after) in enumerate(pairwise(above)) if before != after]
    if len(turns) != 1 or above[0]:
        raise ValueError(f"two lines cross once, DenseNet's from below, got above at {above}")
    batches = one["DenseNet"].batches
    return batches[turns[0]], batches[turns[0] + 1]
