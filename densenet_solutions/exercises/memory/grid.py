"""Recipe `memory-grid`: what a GPU says about the memory of DenseNets and ResNets (exercise 3.1).

Every case is a network at one resolution, batch, mode and precision; prediction stands beside the
measurement. What does not fit is recorded as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from densenet_solutions.measure import measure_memory, predict_memory, time_interleaved
from densenet_solutions.measure.allocator import is_out_of_memory
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True, kw_only=True)
class GridResult:
    """One point of the memory grid: bytes predicted and measured, and seconds of a step.

    On a GPU the prediction is for a GPU, and what its allocator reserved stands beside what was
    simulated.
    """

    predicted_bytes: int
    measured_bytes: int
    predicted_by_category: Mapping[str, int]
    measured_by_category: Mapping[str, int]
    method: str
    reserved_bytes: int | None
    predicted_reserved_bytes: int | None
    context_bytes: int | None
    resident_bytes: int | None
    step_seconds: float | None
    out_of_memory: bool


GRID_NETWORKS = (
    "book-densenet", "book-resnet18", "densenet121", "densenet169", "densenet201", "densenet264",
    "densenet161", "resnet50", "resnet101", "resnet152",
)  # fmt: skip


@dataclass(frozen=True)
class GridCase:
    """One point of the grid; `autocast` runs the forward pass in bfloat16."""

    network: str
    resolution: int
    batch: int
    train: bool
    autocast: bool

    @property
    def name(self) -> str:
        mode = "train" if self.train else "infer"
        precision = "bfloat16" if self.autocast else "float32"
        return f"{self.network} {self.resolution} b{self.batch} {mode} {precision}"


def grid(
    networks: Iterable[str] = GRID_NETWORKS,
    resolutions: Iterable[int] = (96, 224),
    batches: Iterable[int] = (1, 8, 32, 64, 128, 256),
) -> tuple[GridCase, ...]:
    """All cases: networks × resolutions × batches, training and inference, both precisions."""
    resolutions, batches = tuple(resolutions), tuple(batches)
    return tuple(
        GridCase(name, resolution, batch, train, autocast)
        for name in networks
        for resolution in resolutions
        for train in (True, False)
        for autocast in (False, True)
        for batch in batches
    )


def measure_case(case: GridCase, device: str) -> GridResult:
    """Predict and measure one case; out of memory is a result."""
    net = network(case.network)
    shape = net.shape(case.batch, case.resolution)
    autocast = torch.bfloat16 if case.autocast else None
    options: dict[str, Any] = {"train": case.train, "autocast": autocast}
    on_cuda = torch.device(device).type == "cuda"
    predicted = predict_memory(net.build, shape, device="cuda" if on_cuda else "meta", **options)
    measured = measure_memory(net.build, shape, device=device, **options)
    seconds = None
    if not measured.out_of_memory:
        seconds = _step_seconds(net.build, shape, case, device)
    return GridResult(
        predicted_bytes=predicted.peak_bytes,
        measured_bytes=measured.peak_bytes,
        predicted_by_category=predicted.bytes_by_category,
        measured_by_category=measured.bytes_by_category,
        method=measured.method,
        reserved_bytes=measured.reserved_bytes,
        predicted_reserved_bytes=predicted.reserved_bytes,
        context_bytes=measured.context_bytes,
        resident_bytes=measured.peak_resident_bytes,
        step_seconds=seconds,
        out_of_memory=measured.out_of_memory,
    )


def _step_seconds(
    build: Callable[[], nn.Module], shape: tuple[int, ...], case: GridCase, device: str
) -> float | None:
    """Median seconds of a step, after a warm-up; `None` when the timing runs out of memory."""
    try:
        model: nn.Module = build().to(device).train(case.train)
        images = torch.randn(shape, device=device)

        def step() -> None:
            model.zero_grad(set_to_none=True)
            kind = torch.device(device).type
            with (
                torch.set_grad_enabled(case.train),
                torch.autocast(kind, dtype=torch.bfloat16, enabled=case.autocast),
            ):
                out = model(images)
            if case.train:
                out.float().sum().backward()

        times = time_interleaved({"step": step}, repeats=5, warmup=2, device=device)["step"]
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise
    return sorted(times)[len(times) // 2]


def recipe(cases: Iterable[GridCase] | None = None, name: str = "memory-grid") -> Recipe:
    """The recording; a shorter list of cases rehearses it."""
    rows = grid() if cases is None else tuple(cases)
    return Recipe(
        name=name,
        cases={case.name: case for case in rows},
        measure=measure_case,
    )


def rehearsal_recipe() -> Recipe:
    """A few small cases of the grid, to be recorded on any CPU in seconds."""
    return recipe(
        grid(("book-densenet",), resolutions=(64,), batches=(1, 2)),
        "memory-grid-rehearsal",
    )
