"""Recipe `shared-storage-kept`: shared storage that keeps bottlenecks of more and more layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from densenet_solutions.exercises.saving_memory.bench import (
    BASELINE,
    MemoryBenchRow,
    compare,
    contestants,
)
from densenet_solutions.exercises.saving_memory.heap import keep_freed_memory
from densenet_solutions.memory import training_step
from densenet_solutions.memory.shared_storage import shared_storage
from densenet_solutions.models import TABLE_1
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.threads import threads

#: Of which share of each block's layers the output of the bottleneck is kept.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Kept:
    """torchvision's network, then shared storage with each of `SHARES`, in one interleaved run."""

    input_shape: tuple[int, ...]
    repeats: int
    rows: tuple[MemoryBenchRow, ...]

    def by_share(self) -> dict[float, MemoryBenchRow]:
        """Share → row, without torchvision's."""
        return {float(row.name): row for row in self.rows if row.name != BASELINE}


def kept(case: Mapping[str, Any], device: str) -> Kept:
    """DenseNet-121, 8 images of 224x224, float32, with `case["threads"]` of a CPU.

    What is freed stays with the process, so that no step waits for new pages.

    Raises:
        OSError: the C library cannot be told to keep memory.
    """
    keep_freed_memory()
    torch.manual_seed(0)
    model = TABLE_1["densenet121"].build()
    models = {BASELINE: contestants("densenet121")[BASELINE]}
    models |= {
        str(share): (shared_storage(model, keep_bottlenecks=share), training_step)
        for share in SHARES
    }
    shape = (8, 3, 224, 224)
    with threads(case["threads"]):
        rows = compare(models, shape, device, None, case["repeats"])
    return Kept(shape, case["repeats"], rows)


def recipe() -> Recipe:
    """One thread and two."""
    return Recipe(
        name="shared-storage-kept",
        cases={
            "one-thread": {"threads": 1, "repeats": 15},
            "two-threads": {"threads": 2, "repeats": 15},
        },
        measure=kept,
        seed=0,
        uses=lambda case: [shared_storage],
    )
