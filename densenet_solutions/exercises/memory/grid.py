"""What a GPU says about the memory of DenseNets and ResNets, and what was predicted (exercise 3.1).

Every case is a network at one resolution and batch, in training or inference, in one precision.
`memory-grid` is measured on a device; `memory-grid-predicted` has the same cases without one. What
does not fit is recorded as such.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from densenet_solutions.measure import measure_memory, predict_memory
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class GridCase:
    """One point of the grid.

    `autocast` runs the forward pass in bfloat16; `benchmark` switches cuDNN's benchmark mode on,
    which does nothing in a process that has run the same step without it: there PyTorch takes the
    plan that it has. `alone` says that the case has a GPU to itself,
    so that the driver may be asked too; the others may run side by side.
    """

    network: str
    resolution: int
    batch: int
    train: bool = True
    autocast: bool = False
    benchmark: bool = False

    @property
    def alone(self) -> bool:
        return self.train and not self.autocast and self.resolution == max(RESOLUTIONS)

    @property
    def name(self) -> str:
        mode = "train" if self.train else "infer"
        precision = "bfloat16" if self.autocast else "float32"
        name = f"{self.network} {self.resolution} b{self.batch} {mode} {precision}"
        return f"{name} benchmark" if self.benchmark else name

    @property
    def asked(self) -> dict[str, Any]:
        """What the instruments are asked."""
        net = network(self.network)
        return {
            "model": net.build,
            "input_shape": net.shape(self.batch, self.resolution),
            "train": self.train,
            "autocast": torch.bfloat16 if self.autocast else None,
        }


@dataclass(frozen=True, kw_only=True)
class GridMeasured:
    """Bytes of one step as a device's allocator saw them; see `MemoryResult` for the names.

    On a GPU that a case has to itself, `free_before_bytes` and `free_after_bytes` are what the
    driver called free before the model was built and when the step was over, of `device_bytes`:
    everything that the process took lies between them, library workspaces and the caching
    allocator's reserve included.
    """

    peak_bytes: int
    by_category: Mapping[str, int]
    method: str
    out_of_memory: bool
    reserved_bytes: int | None
    context_bytes: int | None
    resident_bytes: int | None
    free_before_bytes: int | None = None
    free_after_bytes: int | None = None
    device_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class GridPredicted:
    """Bytes of one step as `predict_memory` has them for a GPU, its allocator simulated."""

    peak_bytes: int
    by_category: Mapping[str, int]
    allocated_bytes: int
    reserved_bytes: int


NETWORKS = (
    "book-densenet", "book-resnet18", "densenet121", "densenet169", "densenet201", "densenet264",
    "densenet161", "resnet50", "resnet101", "resnet152",
)  # fmt: skip
RESOLUTIONS = (96, 224)
BATCHES = (1, 8, 32, 64, 128, 256)
#: Batches that come once more with cuDNN's benchmark.
BENCHMARKED = (8, 32, 128)


def grid(
    networks: Iterable[str] = NETWORKS,
    resolutions: Iterable[int] = RESOLUTIONS,
    batches: Iterable[int] = BATCHES,
) -> tuple[GridCase, ...]:
    """All cases: networks × resolutions × batches, training and inference, both precisions.

    What has the GPU to itself comes once more with cuDNN's benchmark, at some batches.
    """
    resolutions, batches = tuple(resolutions), tuple(batches)
    plain = tuple(
        GridCase(name, resolution, batch, train, autocast)
        for name in networks
        for resolution in resolutions
        for train in (True, False)
        for autocast in (False, True)
        for batch in batches
    )
    again = (
        replace(case, benchmark=True) for case in plain if case.alone and case.batch in BENCHMARKED
    )
    return (*plain, *again)


def measure_case(case: GridCase, device: str) -> GridMeasured:
    """Measure one case; out of memory is a result."""
    alone = case.alone and torch.device(device).type == "cuda"
    before = _free(device) if alone else None
    with _cudnn_benchmark(case.benchmark):
        measured = measure_memory(device=device, **case.asked)
    after = torch.cuda.mem_get_info(device)[0] if alone else None
    return GridMeasured(
        peak_bytes=measured.peak_bytes,
        by_category=measured.bytes_by_category,
        method=measured.method,
        out_of_memory=measured.out_of_memory,
        reserved_bytes=measured.reserved_bytes,
        context_bytes=measured.context_bytes if alone else None,
        resident_bytes=measured.peak_resident_bytes,
        free_before_bytes=before,
        free_after_bytes=after,
        device_bytes=torch.cuda.mem_get_info(device)[1] if alone else None,
    )


def _free(device: str) -> int:
    """Bytes that the driver calls free when the caching allocator has given back what it can."""
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def predict_case(case: GridCase, device: str) -> GridPredicted:
    """Predict one case for a GPU; none is needed."""
    predicted = predict_memory(device="cuda", **case.asked)
    assert predicted.allocated_bytes is not None
    assert predicted.reserved_bytes is not None
    return GridPredicted(
        peak_bytes=predicted.peak_bytes,
        by_category=predicted.bytes_by_category,
        allocated_bytes=predicted.allocated_bytes,
        reserved_bytes=predicted.reserved_bytes,
    )


@contextlib.contextmanager
def _cudnn_benchmark(enabled: bool) -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def recipe(cases: Iterable[GridCase] | None = None, name: str = "memory-grid") -> Recipe:
    """The recording; a shorter list of cases rehearses it."""
    rows = grid() if cases is None else tuple(cases)
    return Recipe(name=name, cases={case.name: case for case in rows}, measure=measure_case)


def predicted_recipe() -> Recipe:
    """`memory-grid-predicted`: every case of the grid, predicted once (benchmark or not)."""
    return Recipe(
        name="memory-grid-predicted",
        cases={case.name: case for case in grid() if not case.benchmark},
        measure=predict_case,
    )


def rehearsal_recipe() -> Recipe:
    """A few small cases of the grid, to be recorded on any CPU in seconds."""
    return recipe(
        grid(("book-densenet",), resolutions=(64,), batches=(1, 2)),
        "memory-grid-rehearsal",
    )
