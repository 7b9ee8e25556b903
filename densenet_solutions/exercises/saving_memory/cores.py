"""Recipe `two-cores`: what it costs that a core reads what another wrote, and who pays for it.

On a virtual machine that changes while it runs, presumably with the cores that its own two are
given: some have a cache in common, some have not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from densenet_solutions.exercises.saving_memory.bench import (
    BASELINE,
    CHANNELS_LAST,
    beside,
    contestants,
)
from densenet_solutions.memory.shared_storage import shared_storage
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.threads import threads

#: A round counts as with the cores apart if sums of others' rows take this many times as long as
#: sums of own ones before and behind it, and as with the cores together if they do so neither time.
APART = 4
#: The matrix that is multiplied and summed: a slice of DenseNet-121's first block.
ROWS, COLUMNS = 3136, 144
WAYS = (BASELINE, CHANNELS_LAST, "shared_storage")


@dataclass(frozen=True)
class Round:
    """Microseconds of the sums before and behind the steps, and seconds of each way's step.

    `own` of what the same thread wrote, `others` of what both threads wrote.
    """

    own: tuple[float, float]
    others: tuple[float, float]
    seconds: tuple[float, ...]

    @property
    def apart(self) -> bool | None:
        """Whether the cores were apart, or `None` if that changed."""
        found = {others > APART * own for own, others in zip(self.own, self.others, strict=True)}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class TwoCores:
    """Rounds of steps in turn, each between two looks at where the cores are."""

    input_shape: tuple[int, ...]
    rounds: tuple[Round, ...]

    def where(self, *, apart: bool) -> list[Round]:
        """The rounds with the cores apart, or together."""
        return [one for one in self.rounds if one.apart is apart]

    def ratio(self, name: str, base: str, *, apart: bool) -> tuple[float, float, float]:
        """A way's time as multiples of another's in the same round: median and quartiles."""
        rounds = [one.seconds for one in self.where(apart=apart)]
        return beside(
            [seconds[WAYS.index(name)] for seconds in rounds],
            [seconds[WAYS.index(base)] for seconds in rounds],
        )


def sums(repeats: int = 100) -> tuple[float, float]:
    """Microseconds of multiplying rows and summing the columns: of own rows, and of others' too.

    Both threads multiply half of the rows. Then each sums its half, all columns, or, as PyTorch
    does by itself (`find_split_dim` in its `TensorIteratorReduce.cpp`), some columns of all rows.
    """
    rows, factor = torch.ones(ROWS, COLUMNS), torch.ones(COLUMNS)
    halves = rows.unflatten(0, (2, -1))

    def own() -> None:
        rows.mul_(factor)
        halves.sum(1).sum(0)

    def others() -> None:
        rows.mul_(factor)
        rows.sum(0)

    return _microseconds(own, repeats), _microseconds(others, repeats)


def _microseconds(work: Callable[[], None], repeats: int) -> float:
    for _ in range(10):
        work()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats * 1e6


def two_cores(case: Mapping[str, Any], device: str) -> TwoCores:
    """DenseNet-121, float32, on two threads; of each way two steps a round, the second timed.

    Raises:
        ValueError: `device` is not the CPU.
    """
    if device != "cpu":
        raise ValueError(f"two cores are those of the CPU, got device {device!r}")
    torch.manual_seed(0)
    found = contestants("densenet121")
    shape = case["input_shape"]
    x, targets = torch.randn(shape), torch.randint(1000, shape[:1])

    def step(name: str) -> float:
        model, way = found[name]
        model.zero_grad(set_to_none=True)
        start = time.perf_counter()
        way(model, x, targets)
        return time.perf_counter() - start

    def timed(name: str) -> float:
        step(name)
        return step(name)

    with threads(2):
        for name in WAYS:
            step(name)
        rounds = []
        for _ in range(case["rounds"]):
            before = sums()
            seconds = tuple(timed(name) for name in WAYS)
            own, others = zip(before, sums(), strict=True)
            rounds.append(Round(own, others, seconds))
    return TwoCores(shape, tuple(rounds))


def recipe() -> Recipe:
    """Forty rounds, 8 images of 224x224."""
    return Recipe(
        name="two-cores",
        cases={"densenet121": {"input_shape": (8, 3, 224, 224), "rounds": 40}},
        measure=two_cores,
        seed=0,
        uses=lambda case: [shared_storage],
    )
