"""Recipe `shared-storage-slices`: what fewer slices cost in memory, and what they bring in time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from densenet_solutions.exercises.saving_memory.bench import (
    BASELINE,
    MemoryBenchRow,
    Step,
    compare,
    contestants,
)
from densenet_solutions.memory import training_step
from densenet_solutions.memory.shared_storage import shared_storage
from densenet_solutions.models import TABLE_1
from densenet_solutions.records.recorder import Recipe

SLICES = (1, 2, 4, 8)
#: One slice, and products in TF32, which PyTorch's convolutions use unless told otherwise.
IN_TF32 = "1, products in TF32"


@dataclass(frozen=True)
class Dial:
    """Rows of torchvision's network and of shared storage in so many slices, in one run.

    `kernel_seconds` is for how long the GPU was at work in one step, by the profiler: where that
    is much less than the step's time, the GPU waits for the operations to be started. `None` on a
    CPU.
    """

    input_shape: tuple[int, ...]
    repeats: int
    rows: tuple[MemoryBenchRow, ...]
    kernel_seconds: Mapping[str, float] | None

    def row(self, name: str) -> MemoryBenchRow:
        """The row of that name: a number of slices, or `BASELINE`."""
        return next(row for row in self.rows if row.name == name)

    def seconds(self, name: str) -> float:
        """Median time of a step."""
        return statistics.median(self.row(name).seconds)

    def less(self, name: str) -> float:
        """How many times less it takes than torchvision's network at the peak."""
        most, least = (self.row(one).peak_beyond_parameters for one in (BASELINE, name))
        if most is None or least is None:
            raise ValueError(f"{name!r} or the network that it is compared with did not fit")
        return most / least


def dial(case: Mapping[str, Any], device: str) -> Dial:
    """DenseNet-121 at 224x224 in float32, a batch of `case["batch"]`."""
    shape, repeats = (case["batch"], 3, 224, 224), case["repeats"]
    torch.manual_seed(0)
    model = TABLE_1["densenet121"].build()
    models = {BASELINE: contestants("densenet121")[BASELINE]}
    models |= {str(n): (shared_storage(model, slices=n), training_step) for n in SLICES}
    models[IN_TF32] = shared_storage(model, slices=1), _step_in_tf32
    rows = compare(models, shape, device, None, repeats)
    busy = None
    if torch.device(device).type == "cuda":
        busy = {name: _kernel_seconds(*pair, shape, device) for name, pair in models.items()}
    return Dial(shape, repeats, rows, busy)


def _step_in_tf32(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return training_step(model, images, classes)
    finally:
        torch.set_float32_matmul_precision(before)


def _kernel_seconds(model: nn.Module, step: Step, shape: tuple[int, ...], device: str) -> float:
    """Time of all kernels of one step, without the gaps between them."""
    images = torch.zeros(shape, device=device)
    classes = torch.zeros(shape[0], dtype=torch.int64, device=device)
    model.to(device)
    step(model, images, classes)
    torch.cuda.synchronize(device)
    activity = torch.profiler.ProfilerActivity.CUDA
    with torch.profiler.profile(activities=[activity], acc_events=True) as profile:
        step(model, images, classes)
        torch.cuda.synchronize(device)
    model.zero_grad(set_to_none=True)
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def recipe() -> Recipe:
    """Four batches."""
    return Recipe(
        name="shared-storage-slices",
        cases={
            str(batch): {"batch": batch, "repeats": 11 if batch <= 32 else 5}
            for batch in (8, 32, 128, 256)
        },
        measure=dial,
        seed=0,
        uses=lambda case: [shared_storage],
    )
