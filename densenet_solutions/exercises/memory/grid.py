"""What a GPU says about the memory of DenseNets and ResNets, and what was predicted (exercise 3.1).

Every case is a network at one resolution and batch, in training or inference, in one precision.
`memory-grid` is measured on a device; `memory-grid-predicted` has the same cases without one. What
does not fit is recorded as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from densenet_solutions.measure import measure_memory, predict_memory
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class GridCase:
    """One point of the grid.

    `autocast` runs the forward pass in bfloat16. `alone` says that the case has a GPU to itself,
    so that the driver may be asked too; the others may run side by side.
    """

    network: str
    resolution: int
    batch: int
    train: bool = True
    autocast: bool = False

    @property
    def alone(self) -> bool:
        return self.train and not self.autocast and self.resolution == max(RESOLUTIONS)

    @property
    def name(self) -> str:
        mode = "train" if self.train else "infer"
        precision = "bfloat16" if self.autocast else "float32"
        return f"{self.network} {self.resolution} b{self.batch} {mode} {precision}"

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


def grid(
    networks: Iterable[str] = NETWORKS,
    resolutions: Iterable[int] = RESOLUTIONS,
    batches: Iterable[int] = BATCHES,
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


def measure_case(case: GridCase, device: str) -> GridMeasured:
    """Measure one case; out of memory is a result."""
    return _measured(case, device, case.alone and torch.device(device).type == "cuda")


def measure_beside_others(case: GridCase, device: str) -> GridMeasured:
    """Measure one case and leave the driver unasked: other processes may use the device too."""
    return _measured(case, device, alone=False)


def _measured(case: GridCase, device: str, alone: bool) -> GridMeasured:
    before = _free(device) if alone else None
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


def recipe() -> Recipe:
    """`memory-grid`: all cases."""
    return _recipe("memory-grid", grid())


def _recipe(
    name: str,
    cases: Iterable[GridCase],
    measure: Callable[[GridCase, str], GridMeasured | GridPredicted] = measure_case,
) -> Recipe:
    return Recipe(name=name, cases={case.name: case for case in cases}, measure=measure)


def again_recipe() -> Recipe:
    """`memory-grid-again`: cases at 224x224, to be recorded on another card than `memory-grid`."""
    cases = grid(resolutions=(224,), batches=(8, 32, 128))
    return _recipe("memory-grid-again", cases, measure_beside_others)


def predicted_recipe() -> Recipe:
    """`memory-grid-predicted`: every case of the grid, predicted."""
    return _recipe("memory-grid-predicted", grid(), predict_case)


def rehearsal_recipe() -> Recipe:
    """A few small cases of the grid, to be recorded on any CPU in seconds."""
    return _recipe(
        "memory-grid-rehearsal", grid(("book-densenet",), resolutions=(64,), batches=(1, 2))
    )
