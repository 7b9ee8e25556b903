"""Recipe `shared-storage-slices`: what fewer slices cost in memory, and what they bring in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from densenet_solutions.exercises.saving_memory.at_work import AtWork, at_work
from densenet_solutions.exercises.saving_memory.bench import BASELINE, contestants
from densenet_solutions.memory import training_step
from densenet_solutions.memory.shared_storage import shared_storage
from densenet_solutions.models import TABLE_1
from densenet_solutions.records.recorder import Recipe

SLICES = (1, 2, 4, 8)
#: One slice, and products in TF32, which PyTorch's convolutions use unless told otherwise.
IN_TF32 = "1, products in TF32"


def dial(case: Mapping[str, Any], device: str) -> AtWork:
    """DenseNet-121 at 224x224 in float32, a batch of `case["batch"]`.

    A row is torchvision's network or is called by its number of slices.
    """
    torch.manual_seed(0)
    model = TABLE_1["densenet121"].build()
    models = {BASELINE: contestants("densenet121")[BASELINE]}
    models |= {str(n): (shared_storage(model, slices=n), training_step) for n in SLICES}
    models[IN_TF32] = shared_storage(model, slices=1), _step_in_tf32
    return at_work(models, (case["batch"], 3, 224, 224), device, case["repeats"])


def _step_in_tf32(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return training_step(model, images, classes)
    finally:
        torch.set_float32_matmul_precision(before)


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
