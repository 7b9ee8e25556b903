"""How much of a step's time a GPU is at work, for several models in one run.

Recipe `bench-at-work`: the strategies beside torchvision, in both precisions, in turn.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from densenet_solutions.exercises.saving_memory.bench import (
    BASELINE,
    CHANNELS_LAST,
    OURS,
    MemoryBenchRow,
    Step,
    beside,
    compare,
    contestants,
)
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.records.recorder import Recipe

#: What the name of a row ends in whose forward pass runs in bfloat16.
IN_BFLOAT16 = ", bfloat16"
#: Those that are timed in both precisions.
IN_BOTH = (BASELINE, CHANNELS_LAST, "recompute_layer", "shared_storage")


@dataclass(frozen=True)
class Kernels:
    """What the profiler saw of one step on the GPU: so many kernels, at work for so long.

    Copies and fills count as kernels. Where `seconds` is much less than the step's time, the GPU
    waits for the operations to be started.
    """

    count: int
    seconds: float


@dataclass(frozen=True)
class AtWork:
    """Rows of torchvision's network and of others, timed in turn, and each one's kernels.

    `kernels` is `None` on a CPU.
    """

    input_shape: tuple[int, ...]
    repeats: int
    rows: tuple[MemoryBenchRow, ...]
    kernels: Mapping[str, Kernels] | None

    def row(self, name: str) -> MemoryBenchRow:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def seconds(self, name: str) -> float:
        """Median time of a step."""
        return statistics.median(self.row(name).seconds)

    def share(self, name: str) -> float:
        """Of a step's time, how much the GPU is at work: another step's kernels by its median."""
        assert self.kernels is not None
        return self.kernels[name].seconds / self.seconds(name)

    def beside(self, name: str, other: str) -> tuple[float, float, float]:
        """Time of one as a multiple of another's in the same round: median and quartiles."""
        return beside(self.row(name).seconds, self.row(other).seconds)

    def less(self, name: str) -> float:
        """How many times less it takes than torchvision's network at the peak."""
        most, least = (self.row(one).peak_beyond_parameters for one in (BASELINE, name))
        if most is None or least is None:
            raise ValueError(f"{name!r} or the network that it is compared with did not fit")
        return most / least


def at_work(
    models: Mapping[str, tuple[nn.Module, Step]],
    shape: tuple[int, ...],
    device: str,
    repeats: int,
) -> AtWork:
    """Peak, time and kernels of a step of each model; one is called `BASELINE`."""
    rows = compare(models, shape, device, None, repeats)
    kernels = None
    if torch.device(device).type == "cuda":
        fitting = [row.name for row in rows if row.peak_beyond_parameters is not None]
        kernels = {name: _kernels(*models[name], shape, device) for name in fitting}
    return AtWork(shape, repeats, rows, kernels)


def _kernels(model: nn.Module, step: Step, shape: tuple[int, ...], device: str) -> Kernels:
    images = torch.randn(shape, device=device)
    classes = torch.zeros(shape[0], dtype=torch.int64, device=device)
    model.to(device)
    step(model, images, classes)
    model.zero_grad(set_to_none=True)  # or the next step would add to its gradients
    torch.cuda.synchronize(device)
    activity = torch.profiler.ProfilerActivity.CUDA
    with torch.profiler.profile(activities=[activity], acc_events=True) as profile:
        step(model, images, classes)
        torch.cuda.synchronize(device)
    model.zero_grad(set_to_none=True)
    found = [event for event in profile.key_averages() if event.self_device_time_total > 0]
    return Kernels(
        sum(event.count for event in found),
        sum(event.self_device_time_total for event in found) / 1e6,
    )


def in_bfloat16(step: Step) -> Step:
    """The step with its forward pass under bfloat16 autocast."""

    def run(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return step(model, images, classes)

    return run


def measure(case: Mapping[str, Any], device: str) -> AtWork:
    """DenseNet-121 at 224x224, a batch of `case["batch"]`."""
    models = contestants("densenet121")
    for name in IN_BOTH:
        model, step = models[name]
        models[name + IN_BFLOAT16] = copy.deepcopy(model), in_bfloat16(step)
    return at_work(models, (case["batch"], 3, 224, 224), device, case["repeats"])


def recipe() -> Recipe:
    """Three batches."""
    return Recipe(
        name="bench-at-work",
        cases={
            str(batch): {"batch": batch, "repeats": 11 if batch <= 32 else 5}
            for batch in (8, 32, 256)
        },
        measure=measure,
        seed=0,
        uses=lambda case: [function for name in OURS for function in STRATEGIES[name].functions],
    )
