"""Recipe `step-times`: how long a step of DenseNets and ResNets takes on a GPU (exercise 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from densenet_solutions.exercises.memory.grid import NETWORKS
from densenet_solutions.measure import time_interleaved
from densenet_solutions.measure.allocator import is_out_of_memory
from densenet_solutions.memory import training_step
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe

#: Rounds that are timed, after two to warm up.
REPEATS = 9


@dataclass(frozen=True)
class TimedCase:
    """Networks whose training steps are timed in turn; `autocast` is bfloat16."""

    networks: tuple[str, ...]
    resolution: int
    batch: int
    autocast: bool


def time_case(case: TimedCase, device: str) -> dict[str, tuple[float, ...] | None]:
    """Network → seconds of each round, in one interleaved run; `None` where it does not fit."""
    fitting: dict[str, Callable[[], None]] = {}
    for name in case.networks:
        net = network(name)
        step = _step(net.build().to(device), net.shape(case.batch, case.resolution), case, device)
        try:
            step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            fitting[name] = step
    seconds = time_interleaved(fitting, repeats=REPEATS, warmup=1, device=device)
    return {name: seconds.get(name) for name in case.networks}


def _step(
    model: nn.Module, shape: tuple[int, ...], case: TimedCase, device: str
) -> Callable[[], None]:
    images = torch.randn(shape, device=device)
    classes = torch.zeros(case.batch, dtype=torch.int64, device=device)
    kind = torch.device(device).type

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=case.autocast):
            training_step(model, images, classes)
        model.zero_grad(set_to_none=True)

    return step


def recipe() -> Recipe:
    """Training at 224x224: batch 32 in float32 and bfloat16, and batch 128."""
    cases = {}
    for batch, autocast in ((32, False), (32, True), (128, False)):
        name = f"224 b{batch} {'bfloat16' if autocast else 'float32'}"
        cases[name] = TimedCase(NETWORKS, 224, batch, autocast)
    return Recipe(name="step-times", cases=cases, measure=time_case, seed=0)
