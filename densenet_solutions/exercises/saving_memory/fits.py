"""Recipe `how-far-gpu`: the largest batch that a GPU really trains in 8 GiB, by strategy."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from densenet_solutions.exercises.saving_memory.reach import GIB, OFFERED, RESOLUTION
from densenet_solutions.measure.allocator import is_out_of_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import densenet121
from densenet_solutions.records.recorder import Recipe

BUDGET = 8 * GIB
#: The search stops when the batch that fits and the one that does not are this close.
CLOSE = 0.01


@dataclass(frozen=True)
class Fit:
    """What fits: `batch` did, twice in a row, and `refused_batch` did not.

    The allocator may reserve `budget_bytes` at most, the CUDA context apart; `reserved_bytes` is
    what it held after `batch`.
    """

    network: str
    resolution: int
    budget_bytes: int
    batch: int
    refused_batch: int
    reserved_bytes: int


def enclose(fits: Callable[[int], bool], first: int = 32) -> tuple[int, int]:
    """A batch that fits (0 if none does), and a larger one that does not, `CLOSE` to it.

    Examples:
        >>> low, high = enclose(lambda batch: batch <= 879)
        >>> low <= 879 < high <= 1.01 * low + 1
        True
    """
    low, high = 0, first
    while fits(high):
        low, high = high, 2 * high
    while high - low > max(1, int(CLOSE * low)):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low, high


def fit(case: Mapping[str, Any], device: str) -> Fit:
    """The largest batch of DenseNet-121 whose training steps fit."""
    strategy = STRATEGIES[case["strategy"]]
    place = torch.device(device)
    if place.type != "cuda":
        raise ValueError(f"what fits is tried on a GPU: use --device cuda, got {device!r}")
    place = place if place.index is not None else torch.device(place.type, 0)
    total = torch.cuda.get_device_properties(place).total_memory
    torch.cuda.set_per_process_memory_fraction(BUDGET / total, place)
    model = strategy.apply(densenet121(), **case.get("options", {})).to(device)
    step = strategy.step
    assert step is not None
    reserved = {}

    def fits(batch: int) -> bool:
        gc.collect()
        torch.cuda.empty_cache()
        try:
            images = torch.zeros(batch, 3, RESOLUTION, RESOLUTION, device=device)
            classes = torch.zeros(batch, dtype=torch.int64, device=device)
            for _ in range(2):
                model.zero_grad(set_to_none=True)
                step(model, images, classes)
            torch.cuda.synchronize(device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            model.zero_grad(set_to_none=True)
            return False
        reserved[batch] = torch.cuda.memory_reserved(device)
        return True

    try:
        low, high = enclose(fits)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, place)
    return Fit("densenet121", RESOLUTION, BUDGET, low, high, reserved.get(low, 0))


def recipe() -> Recipe:
    """Every exact strategy that can be predicted, and shared storage in more slices."""
    cases: dict[str, dict[str, Any]] = {name: {"strategy": name} for name in OFFERED}
    cases["shared_storage in 8 slices"] = {"strategy": "shared_storage", "options": {"slices": 8}}
    return Recipe(
        name="how-far-gpu",
        cases=cases,
        measure=fit,
        uses=lambda case: STRATEGIES[case["strategy"]].functions,
    )
