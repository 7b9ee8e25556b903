"""What a GPU measured of the grid, beside what was predicted of it without one (exercise 3.1)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from densenet_solutions.exercises.memory.grid import (
    GridCase,
    GridMeasured,
    GridPredicted,
    grid,
)
from densenet_solutions.exercises.memory.lines import NETWORKS
from densenet_solutions.exercises.memory.published import without_workspace
from densenet_solutions.measure import CudaCache, Step
from densenet_solutions.measure.cuda_cache import CUBLAS_WORKSPACE_HOPPER
from densenet_solutions.records.serialise import from_json
from densenet_solutions.records.store import Record


@dataclass(frozen=True)
class Held:
    """One case of the grid, measured on a GPU and predicted; errors are relative to what it said.

    `gpu` is the short name of the card. `tensor_error` compares what tensors hold with what the
    allocator handed out, `allocated_error` the simulated allocator with it, `reserved_error` what
    is taken from the driver.
    """

    case: GridCase
    gpu: str
    measured: GridMeasured
    predicted: GridPredicted

    @property
    def workspace(self) -> int:
        """What the allocator handed out at the peak beyond the tensors, rounding included."""
        return self.measured.by_category["workspace"]

    @property
    def followed_bytes(self) -> int:
        """What tensors held at their peak, as they were followed on the GPU."""
        return self.measured.peak_bytes - self.workspace

    @property
    def tensor_error(self) -> float:
        return self.predicted.peak_bytes / self.measured.peak_bytes - 1

    @property
    def allocated_error(self) -> float:
        return self.predicted.allocated_bytes / self.measured.peak_bytes - 1

    @property
    def reserved_error(self) -> float:
        assert self.measured.reserved_bytes is not None
        return self.predicted.reserved_bytes / self.measured.reserved_bytes - 1

    @property
    def taken_bytes(self) -> int:
        """What the driver no longer calls free: reserved, earlier too, the context, libraries'."""
        assert self.measured.device_bytes is not None
        assert self.measured.free_after_bytes is not None
        return self.measured.device_bytes - self.measured.free_after_bytes


def held(record: Record, predicted: Mapping[str, Any]) -> tuple[Held, ...]:
    """Every case that a GPU's `record` and the `predicted` ones have, but those out of memory."""
    measured, devices = record.cases, record.devices
    return tuple(
        Held(
            case,
            short_name(devices[case.name]),
            from_json(GridMeasured, measured[case.name]),
            from_json(GridPredicted, predicted[case.name]),
        )
        for case in grid()
        if case.name in measured
        and case.name in predicted
        and case.name not in record.out_of_memory
    )


def large_steps(rows: Iterable[Held]) -> dict[str, list[Held]]:
    """The steps with 8 images or more and a peak above 1 GiB, by purpose and precision."""
    return {
        f"{purpose}, {precision}": [row for row in chosen if row.measured.peak_bytes > 2**30]
        for (purpose, precision), chosen in _by_kind(rows).items()
    }


def small_steps(rows: Iterable[Held], purpose: str = "training") -> list[Held]:
    """The steps in float32 with 8 images or more and a peak of at most 1 GiB.

    Args:
        purpose: `"training"` or `"inference"`.
    """
    chosen = _by_kind(rows)[purpose, "float32"]
    return [row for row in chosen if row.measured.peak_bytes <= 2**30]


def _by_kind(rows: Iterable[Held]) -> dict[tuple[str, str], list[Held]]:
    rows = [row for row in rows if row.case.batch >= 8]
    return {
        (purpose, precision): [
            row for row in rows if (row.case.train, bool(row.case.autocast)) == (train, autocast)
        ]
        for purpose, train in (("training", True), ("inference", False))
        for precision, autocast in (("float32", False), ("bfloat16", True))
    }


def book_training(rows: Iterable[Held]) -> dict[tuple[str, int, int], Held]:
    """The book's networks' training steps in float32, by network, resolution and batch."""
    keys = {key: name for name, key in NETWORKS.items()}
    return {
        (keys[row.case.network], row.case.resolution, row.case.batch): row
        for row in rows
        if row.case.network in keys
        if row.case.train and not row.case.autocast
    }


def reserved_without_workspace(case: GridCase) -> int:
    """Bytes that a step in float32 would reserve, simulated, if no kernel took room as it runs."""
    asked = case.asked
    step = Step(asked["model"], asked["input_shape"], train=case.train)
    return CudaCache().play(without_workspace(step.trace())).reserved_bytes


@dataclass(frozen=True)
class Twice:
    """One case on two occasions; bytes that the second had more at its peak.

    `gpus` are the short names of the cards.
    """

    case: GridCase
    gpus: tuple[str, str]
    allocated_more: int
    reserved_more: int


def twice(first: Record, second: Record) -> tuple[Twice, ...]:
    """Every case of the grid that both records have."""
    found = []
    for case in grid():
        if case.name in first.cases and case.name in second.cases:
            one, then = (
                from_json(GridMeasured, record.cases[case.name]) for record in (first, second)
            )
            cards = short_name(first.devices[case.name]), short_name(second.devices[case.name])
            assert one.reserved_bytes is not None
            assert then.reserved_bytes is not None
            more = then.peak_bytes - one.peak_bytes, then.reserved_bytes - one.reserved_bytes
            found.append(Twice(case, cards, *more))
    return tuple(found)


def short_name(device: str) -> str:
    """What a card is called on a page.

    Examples:
        >>> short_name("NVIDIA H100 80GB HBM3")
        'H100'
    """
    return device.removeprefix("NVIDIA ").split()[0]


def first_steps(rows: Iterable[Held], record: Record) -> frozenset[str]:
    """Those of `begun_with` in which two threads can have taken cuBLAS's workspace."""
    early = begun_with(record)
    enough = 2 * CUBLAS_WORKSPACE_HOPPER
    return frozenset(
        row.case.name for row in rows if row.case.name in early and row.workspace >= enough
    )


def begun_with(record: Record) -> frozenset[str]:
    """Cases on the record's own device with which its processes may have begun, by their times.

    Those that have the GPU to themselves are made by one process, the others by several at once.
    """
    dates: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for case in grid():
        made = record.made.get(case.name)
        if made is not None and made.device is None:
            dates[case.alone][case.name] = made.date
    return frozenset(
        name for made in dates.values() for name, date in made.items()
        if date == min(made.values())
    )  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """Sizes of relative errors over some cases."""

    cases: int
    median: float
    ninth_decile: float
    worst: float


def agreement(rows: Iterable[Held], error: Callable[[Held], float]) -> Agreement:
    """How well a prediction agrees with the GPU over `rows`.

    Examples:
        >>> agreement([1, -2, 3], lambda row: row / 100)
        Agreement(cases=3, median=0.02, ninth_decile=0.03, worst=0.03)
    """
    sizes = sorted(abs(error(row)) for row in rows)
    return Agreement(len(sizes), statistics.median(sizes), sizes[int(0.9 * len(sizes))], sizes[-1])
