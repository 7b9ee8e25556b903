"""Recipes `explorer-grid` and `explorer-shared-storage`: the predictions behind the explorer page.

Every case is predicted for a GPU, with its allocator simulated, at a few sizes. Between and beyond
them memory is close to a straight line in the number of pixels of a batch; `estimate` draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch

from densenet_solutions.measure import MemoryResult, count_parameters, predict_memory
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES, MemoryPoint
from densenet_solutions.memory import STRATEGIES, Strategy
from densenet_solutions.models import TABLE_1
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe

#: Ways to run a step: training that gives the same result, and inference.
METHODS = (
    "plain",
    "recompute_bottleneck_input",
    "recompute_layer",
    "shared_storage",
    "shared_storage in 8 slices",
    "inference",
)
#: The book's ResNet-18 has nothing to recompute.
RESNET = "book-resnet18"
NETWORKS = (*TABLE_1, "book-densenet", RESNET)
#: (batch, resolution) of what is predicted.
SIZES = ((1, 96), (1, 224), (8, 224), (32, 224), (64, 224), (256, 224))
#: Under autocast a prediction takes five times as long.
AUTOCAST_SIZES = ((1, 96), (1, 224), (8, 224), (128, 224))
#: Stretches of a step's timeline, and the kinds of tensors that come and go in it.
STRETCHES = 32
KINDS = ("activations", "temporaries", "gradients")


@dataclass(frozen=True)
class ExplorerPoint:
    """Peaks of a step with a batch of square images, in bytes, by the simulated allocator."""

    batch: int
    resolution: int
    allocated_bytes: int
    reserved_bytes: int

    @property
    def pixels(self) -> int:
        return self.batch * self.resolution**2


@dataclass(frozen=True)
class ExplorerStep:
    """What is alive in equal stretches of a step, in KiB by `KINDS`, where each has its most."""

    batch: int
    resolution: int
    live: tuple[tuple[int, int, int], ...]

    @property
    def pixels(self) -> int:
        return self.batch * self.resolution**2


@dataclass(frozen=True, kw_only=True)
class ExplorerCase:
    """What the page knows of one network and one way to run it, with float32 parameters.

    `fixed_bytes` are parameters and buffers. `steps` are those of one image and of
    the largest batch.
    """

    network: str
    method: str
    autocast: bool  # to bfloat16
    parameters: int
    fixed_bytes: int
    in_channels: int
    points: tuple[ExplorerPoint, ...]
    steps: tuple[ExplorerStep, ...]

    @property
    def name(self) -> str:
        return case_name(self.network, self.method, self.autocast)


def case_name(network: str, method: str, autocast: bool) -> str:
    """A case's name in the records and in the page's data."""
    return f"{network} {method}{' autocast' if autocast else ''}"


def cases(methods: Iterable[str]) -> dict[str, tuple[str, str, bool]]:
    """Name → (network, method, autocast). Under autocast nothing is recomputed."""
    methods = tuple(methods)
    unchanged = ("plain", "inference")
    return {
        case_name(name, method, autocast): (name, method, autocast)
        for name in NETWORKS
        for method in methods
        for autocast in (False, True)
        if method in unchanged or not (autocast or name == RESNET)
    }


def predict_case(case: tuple[str, str, bool], device: str = "cpu") -> ExplorerCase:
    """Predict one network, run one way, at all sizes."""
    name, method, autocast = case
    with torch.device("meta"):
        model = network(name).build()
    sizes = AUTOCAST_SIZES if autocast else SIZES
    found = [predict(name, method, *size, autocast=autocast) for size in sizes]
    points = []
    for size, result in zip(sizes, found, strict=True):
        assert result.allocated_bytes is not None
        assert result.reserved_bytes is not None
        points.append(ExplorerPoint(*size, result.allocated_bytes, result.reserved_bytes))
    return ExplorerCase(
        network=name,
        method=method,
        autocast=autocast,
        parameters=count_parameters(model).total,
        fixed_bytes=sum(
            t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())
        ),
        in_channels=network(name).in_channels,
        points=tuple(points),
        steps=tuple(
            ExplorerStep(*sizes[i], stretches(found[i].timeline))
            for i in (sizes.index((1, 224)), -1)
        ),
    )


def predict(
    name: str,
    method: str,
    batch: int,
    resolution: int,
    *,
    autocast: bool = False,
    optimizer: str | None = None,
) -> MemoryResult:
    """One step on a GPU."""
    net = network(name)
    strategy = _strategy(method)
    options = {"slices": 8} if method.endswith("8 slices") else {}
    return predict_memory(
        net.build if strategy is None else lambda: strategy.apply(net.build(), **options),
        net.shape(batch, resolution),
        train=method != "inference",
        step=None if strategy is None else strategy.step,
        autocast=torch.bfloat16 if autocast else None,
        optimizer=optimizer,
        device="cuda",
    )


def stretches(timeline: tuple[MemoryPoint, ...]) -> tuple[tuple[int, int, int], ...]:
    """What is alive in `STRETCHES` equal parts of a step, each where it has most; in KiB."""
    edges = [round(i * len(timeline) / STRETCHES) for i in range(STRETCHES + 1)]
    places = [MEMORY_CATEGORIES.index(kind) for kind in KINDS]
    rows = []
    for a, b in pairwise(edges):
        most = max(timeline[a : max(b, a + 1)], key=lambda point: point.bytes)
        first, second, third = (round(most.by_category[place] / 1024) for place in places)
        rows.append((first, second, third))
    return tuple(rows)


def recipe() -> Recipe:
    """All but shared storage."""
    methods = (name for name in METHODS if not name.startswith("shared_storage"))
    return _recipe("explorer-grid", methods)


def shared_storage_recipe() -> Recipe:
    """Shared storage, by itself because it takes longest and depends on the slices."""
    methods = (name for name in METHODS if name.startswith("shared_storage"))
    return _recipe("explorer-shared-storage", methods)


def _recipe(name: str, methods: Iterable[str]) -> Recipe:
    def uses(case: tuple[str, str, bool]) -> tuple[Callable[..., object], ...]:
        strategy = _strategy(case[1])
        return () if strategy is None else strategy.functions

    return Recipe(name, cases=cases(methods), measure=predict_case, uses=uses)


def _strategy(method: str) -> Strategy | None:
    """The strategy behind a method; `None` is the network as it is."""
    return None if method in ("plain", "inference") else STRATEGIES[method.split()[0]]
