"""Recipe `step-operations`: how many operations a training step starts, by strategy and batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import densenet121 as torchvision_densenet121

from densenet_solutions.exercises.saving_memory.bench import BASELINE, OURS
from densenet_solutions.memory import STRATEGIES, training_step
from densenet_solutions.memory.shared_storage.plan import planned_for
from densenet_solutions.models import densenet121
from densenet_solutions.records.recorder import Recipe

#: What makes a tensor or a view and starts nothing on a device; PyTorch knows its other views.
_STARTS_NOTHING = ("aten::empty", "aten::new_empty", "aten::_unsafe_view", "aten::alias")


class OperationCount(TorchDispatchMode):
    """Counts the operations that run inside of it, views and empty tensors apart."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name
        self.count += not (func.is_view or name.startswith(_STARTS_NOTHING))
        return func(*args, **(kwargs or {}))


def operations(case: Mapping[str, Any], device: str) -> int:
    """Operations of one step of DenseNet-121 at 224x224, in slices as on a GPU; without one."""
    name = case["strategy"]
    with torch.device("meta"):
        model = (
            torchvision_densenet121() if name == BASELINE else STRATEGIES[name].apply(densenet121())
        ).train()
        images: Tensor = torch.empty(case["batch"], 3, 224, 224)
        classes = torch.zeros(case["batch"], dtype=torch.int64)
    step = training_step if name == BASELINE else STRATEGIES[name].step
    assert step is not None
    with planned_for("cuda"), OperationCount() as counted:
        step(model, images, classes)
    return counted.count


def recipe() -> Recipe:
    """Torchvision's network, ours, and the ways of the GPU's bench, at its batches."""
    return Recipe(
        name="step-operations",
        cases={
            f"{name} {batch}": {"strategy": name, "batch": batch}
            for name in (BASELINE, "plain", *OURS)
            for batch in (8, 32, 128, 256)
        },
        measure=operations,
        uses=lambda case: (
            () if case["strategy"] == BASELINE else STRATEGIES[case["strategy"]].functions
        ),
    )
