"""How far a memory size goes: the largest batch, and the deepest DenseNet, by prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory.shared_storage.plan import planned_for
from densenet_solutions.models import DenseNet, densenet121
from densenet_solutions.records.recorder import Recipe

#: Strategies that are asked: all that are exact and predictable.
OFFERED = tuple(
    name for name, row in STRATEGIES.items() if row.exact and row.predictable and not row.on_request
)


@dataclass(frozen=True)
class Reach:
    """How far a memory size goes with one strategy, by prediction, in float32.

    `largest_batch` for `network`; and at `deep_batch` images the deepest DenseNet of blocks
    `(6, 12, n, 16)`, by `n` and by the paper's depth. Images are `resolution` pixels high and wide;
    0 means that not even the smallest fits. A third block of 500 layers is the deepest that is
    looked for.
    """

    strategy: str
    budget_bytes: int
    network: str
    resolution: int
    largest_batch: int
    deep_batch: int
    deepest_third_block: int
    deepest_depth: int


GIB = 2**30

#: Memory sizes, in bytes.
BUDGETS = (8 * GIB, 16 * GIB, 24 * GIB, 80 * GIB)

#: Batch at which the deepest network is looked for; images are 224x224 in both searches.
DEEP_BATCH = 64
RESOLUTION = 224
#: No deeper third block is looked for; with it a network has 1073 layers.
DEEPEST = 500


def largest(
    peak: Callable[[int], int],
    budget: int,
    *,
    first: int = 8,
    second: int = 32,
    cap: int | None = None,
) -> int:
    """Largest `n` with `peak(n) <= budget`, for a peak that grows with `n`; 0 if there is none.

    With a `cap`, nothing above it is asked for: `cap` means "this or more".

    The next candidate lies on the line through the two latest peaks, and between an `n` known to
    fit and one known not to, so few peaks are asked for. The two that enclose the answer are.

    Examples:
        >>> largest(lambda n: 100 + 7 * n * n, 100 + 7 * 123 * 123)
        123
        >>> largest(lambda n: 100 + 7 * n * n, 100 + 7 * 123 * 123, cap=90)
        90
    """
    known = {0: 0}

    def at(n: int) -> int:
        if n not in known:
            known[n] = peak(n)
        return known[n]

    if cap is not None and at(cap) <= budget:
        return cap
    a, b = first, second
    while True:
        at(a)
        at(b)
        low = max(n for n, size in known.items() if size <= budget)
        high = min((n for n, size in known.items() if size > budget), default=None)
        if high == low + 1:
            return low
        slope = max((known[b] - known[a]) / (b - a), 1)
        guess = int(b + (budget - known[b]) / slope)
        top = 4 * max(low, b) if high is None else high - 1
        guess = min(max(guess, low + 1), top)
        # Having hit the edge itself, ask for its neighbour: that is what decides.
        a, b = b, guess
        if a == b:
            b = guess + 1


def reach(name: str, budget: int) -> Reach:
    """How far `budget` bytes go with the strategy `name`, everything included."""
    strategy = STRATEGIES[name]
    image = (3, RESOLUTION, RESOLUTION)

    def of_batch(batch: int) -> int:
        return predict_memory(
            lambda: strategy.apply(densenet121()),
            (batch, *image),
            step=strategy.step,
        ).peak_bytes

    def of_depth(layers: int) -> int:
        def build() -> DenseNet:
            return densenet121(block_config=(6, 12, layers, 16))

        return predict_memory(
            lambda: strategy.apply(build()),
            (DEEP_BATCH, *image),
            step=strategy.step,
        ).peak_bytes

    layers = largest(of_depth, budget, first=24, second=48, cap=DEEPEST)
    return Reach(
        strategy=name,
        budget_bytes=budget,
        network="densenet121",
        resolution=RESOLUTION,
        largest_batch=largest(of_batch, budget, first=16, second=64),
        deep_batch=DEEP_BATCH,
        deepest_third_block=layers,
        deepest_depth=2 * (6 + 12 + layers + 16) + 5 if layers else 0,
    )


def recipe() -> Recipe:
    """`how-far`: every predictable exact strategy at every memory size."""
    return Recipe(
        name="how-far",
        cases={
            f"{name}-{budget // GIB}gib": {"name": name, "budget": budget}
            for name in OFFERED
            for budget in BUDGETS
        },
        measure=_reach_of,
        uses=lambda case: STRATEGIES[case["name"]].functions,
    )


def _reach_of(case: Mapping[str, Any], device: str) -> Reach:
    with planned_for("cuda"):  # memory sizes of GPUs
        return reach(**case)
