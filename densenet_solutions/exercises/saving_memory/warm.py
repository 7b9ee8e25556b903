"""Recipe `bench-memory-warm`: the bench on a CPU where no step is handed new pages of memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from densenet_solutions.exercises.saving_memory.bench import OURS, MemoryBench, bench_memory
from densenet_solutions.exercises.saving_memory.heap import keep_freed_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.threads import threads


def warm(case: Mapping[str, Any], device: str) -> MemoryBench:
    """DenseNet-121, 8 images of 224x224, with `case["threads"]` of a CPU.

    Raises:
        OSError: the C library cannot be told to keep memory.
    """
    keep_freed_memory()
    with threads(case["threads"]):
        return bench_memory(device=device, autocast=case.get("autocast"), repeats=case["repeats"])


def recipe() -> Recipe:
    """The three set-ups of `bench-memory`, without the compiler."""
    return Recipe(
        name="bench-memory-warm",
        cases={
            "float32": {"threads": 2, "repeats": 15},
            "float32-one-thread": {"threads": 1, "repeats": 15},
            "bfloat16": {"threads": 2, "repeats": 15, "autocast": torch.bfloat16},
        },
        measure=warm,
        seed=0,
        uses=lambda case: [f for name in OURS for f in STRATEGIES[name].functions],
    )
