"""`OFFERED`, which `how-far` and `how-far-gpu` ask for. The rest recorded the explorer up to 1.0.

It is what those two records were made with, one of them on a GPU. When they are recorded again,
`OFFERED` moves to them and this file goes; `predictions` is what the page is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from densenet_solutions.measure import count_flops, count_parameters, predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory.shared_storage.plan import planned_for
from densenet_solutions.models import TABLE_1
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class ExplorerPoint:
    """Predicted peak of a batch of square images, in bytes."""

    batch: int
    resolution: int
    peak_bytes: int
    by_category: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ExplorerCase:
    """What the explorer page knows of one network under one strategy, with float32 parameters.

    `line` holds two points, between and beyond which the page draws a straight line in the number
    of pixels; `checks` are points that were predicted too and tell its error. `multiply_adds_224`
    belongs to one image of 224 by 224 pixels.
    """

    network: str
    strategy: str
    parameters: int
    buffers_bytes: int
    multiply_adds_224: int
    line: tuple[ExplorerPoint, ...]
    checks: tuple[ExplorerPoint, ...]
    autocast: bool = False  # to bfloat16


#: Strategies on offer: all that are exact and predictable.
OFFERED = tuple(
    name for name, row in STRATEGIES.items() if row.exact and row.predictable and not row.on_request
)
#: (batch, resolution) of the two points of the line, and of those that check it.
LINE = ((16, 224), (64, 224))
CHECKS = ((64, 320),)


def cases(strategies: Iterable[str]) -> dict[str, tuple[str, str, bool]]:
    """Name → (network, strategy, autocast); the strategy `"inference"` is a forward pass."""
    strategies = tuple(strategies)
    return {
        f"{name} {strategy}{' autocast' if autocast else ''}": (name, strategy, autocast)
        for name in TABLE_1
        for strategy in strategies
        for autocast in (False, True)
    }


def predict_case(case: tuple[str, str, bool], device: str) -> ExplorerCase:
    """Predict one network under one strategy, cut into slices as on a GPU."""
    name, strategy, autocast = case
    to = torch.bfloat16 if autocast else None
    with torch.device("meta"):
        model = network(name).build()
    return ExplorerCase(
        network=name,
        strategy=strategy,
        parameters=count_parameters(model).total,
        buffers_bytes=sum(b.numel() * b.element_size() for b in model.buffers()),
        multiply_adds_224=count_flops(model, network(name).shape(1, 224)).multiply_adds,
        line=tuple(point(name, strategy, *where, autocast=to) for where in LINE),
        checks=tuple(point(name, strategy, *where, autocast=to) for where in CHECKS),
        autocast=autocast,
    )


def point(
    name: str,
    strategy: str,
    batch: int,
    resolution: int,
    *,
    dtype: torch.dtype = torch.float32,
    autocast: torch.dtype | None = None,
    optimizer: str | None = None,
) -> ExplorerPoint:
    """Peak of one step, by category; shared storage takes the slices that it takes on a GPU."""
    net = network(name)
    chosen = None if strategy == "inference" else STRATEGIES[strategy]
    with planned_for("cuda"):  # the page is about GPUs
        result = predict_memory(
            net.build if chosen is None else lambda: chosen.apply(net.build()),
            net.shape(batch, resolution),
            train=chosen is not None,
            step=None if chosen is None else chosen.step,
            dtype=dtype,
            autocast=autocast,
            optimizer=optimizer,
        )
    return ExplorerPoint(batch, resolution, result.peak_bytes, result.bytes_by_category)


def recipe() -> Recipe:
    """The recording behind the explorer page."""
    others = tuple(name for name in OFFERED if name != "shared_storage")
    return Recipe(
        name="explorer-grid",
        # Shared storage comes last: it takes longest.
        cases={**cases((*others, "inference")), **cases(("shared_storage",))},
        measure=predict_case,
        uses=_strategy_of,
    )


def shared_storage_recipe() -> Recipe:
    """Shared storage in float32 alone: the part of `explorer-grid` that depends on the slices."""
    return Recipe(
        name="explorer-shared-storage",
        cases={name: case for name, case in cases(("shared_storage",)).items() if not case[2]},
        measure=predict_case,
        uses=_strategy_of,
    )


def _strategy_of(case: tuple[str, str, bool]) -> tuple[Callable[..., object], ...]:
    row = STRATEGIES.get(case[1])
    return () if row is None else row.functions
