"""Memory over one training step of DenseNet-121 at full size, as it was measured (exercise 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from densenet_solutions.exercises.saving_memory.costs import FULL_SHAPE, full_network
from densenet_solutions.measure import MemoryResult, measure_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True, kw_only=True)
class StepTimeline:
    """Live bytes over one training step, beyond parameters, buffers and input, thinned.

    `live` has one entry for each of equal stretches of operations, the largest in it. `peak` is
    the step's, with the scratch space that the allocator saw inside of operations.
    """

    strategy: str
    peak: int
    method: str
    input_shape: tuple[int, ...]
    live: tuple[int, ...]


#: Points that a recorded timeline is thinned to; each is the largest of its stretch.
POINTS = 240


def step_timeline(name: str, device: str = "cpu") -> StepTimeline:
    """Timeline of a strategy's training step, measured: shared storage works in slices whose size
    depends on the device."""
    strategy = STRATEGIES[name]
    changed = strategy.apply(full_network())
    result = measure_memory(lambda: changed, FULL_SHAPE, step=strategy.step, device=device)
    return StepTimeline(
        strategy=name,
        peak=result.peak_beyond_parameters,
        method=result.method,
        input_shape=FULL_SHAPE,
        live=thinned(result, POINTS),
    )


def thinned(result: MemoryResult, points: int) -> tuple[int, ...]:
    """Live bytes beyond parameters, buffers and input in `points` equal stretches, the largest."""
    fixed = result.peak_bytes - result.peak_beyond_parameters
    live: Sequence[int] = [point.bytes - fixed for point in result.timeline]
    edges = [round(i * len(live) / points) for i in range(points + 1)]
    return tuple(max(live[a : max(b, a + 1)]) for a, b in pairwise(edges))


def recipe() -> Recipe:
    """The recording `step-timelines`."""
    return Recipe(
        name="step-timelines",
        cases={name: name for name in ("plain", "shared_storage")},
        measure=step_timeline,
        seed=0,
        uses=lambda name: STRATEGIES[name].functions,
    )
