"""A DenseNet of one's own in the explorer: any growth rate, layers and compression.

Nothing was recorded of it. Its step is taken from a tape (`tape.py`) and played through the
simulated allocator; `docs/assets/explorer-own.js` does so in the browser.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from densenet_solutions import checks
from densenet_solutions.exercises.explorer.predictions import (
    SIZES,
    STRETCHES,
    ExplorerCase,
    ExplorerPoint,
    ExplorerStep,
)
from densenet_solutions.exercises.explorer.tape import Tape, TapedInference, TapedStep
from densenet_solutions.exercises.explorer.tape_saving import (
    TapedCopies,
    TapedLayers,
    TapedSharedStorage,
)
from densenet_solutions.measure import CudaCache
from densenet_solutions.measure.tracker import Trace
from densenet_solutions.models import TABLE_1
from densenet_solutions.models.config import DenseNetConfig
from densenet_solutions.models.variants import BOOK

#: What it may start from.
CONFIGS = {**{name: row.config for name, row in TABLE_1.items()}, "book-densenet": BOOK.config}
#: What its network is called.
OWN = "own"
#: How a network of one's own may run; all but the first and the last in float32 only.
TAPED: dict[str, Callable[..., TapedStep]] = {
    "plain": TapedStep,
    "recompute_bottleneck_input": TapedCopies,
    "recompute_layer": TapedLayers,
    "shared_storage": TapedSharedStorage,
    "shared_storage in 8 slices": partial(TapedSharedStorage, slices=8),
    "inference": TapedInference,
}


def own_trace(
    config: DenseNetConfig, way: str, batch: int, side: int, *, autocast: bool = False
) -> tuple[Tape, Trace]:
    """The tape of a step with square images, and the trace that `CudaCache.play` takes.

    Args:
        config: with the ImageNet stem.
        side: of the images, a multiple of 32.
        autocast: to bfloat16; a plain step or inference only.

    Raises:
        ValueError: there is no such way, an argument is impossible, or this way was never
            predicted under autocast.
    """
    checks.choice("way", way, TAPED)
    if checks.integer("side", side) % 32 or config.stem != "imagenet":
        raise ValueError(
            f"images have a side of 32, 64, … and the network the ImageNet stem, got {side} and "
            f"{config.stem!r}"
        )
    if autocast and way not in ("plain", "inference"):
        raise ValueError(f"autocast goes with 'plain' and 'inference', got {way!r}")
    checks.integer("batch", batch)
    options = {"autocast": True} if autocast else {}
    tape = TAPED[way](config, batch, side, **options).tape()
    parameters, buffers = tensors(config)
    images = 4 * config.in_channels * batch * side**2
    targets = [] if way == "inference" else [8 * batch]
    resident = (*(4 * numbers for numbers in parameters), *buffers, images, *targets)
    return tape, Trace(resident, tuple(tape.operations()))


def tensors(config: DenseNetConfig) -> tuple[list[int], list[int]]:
    """Numbers of each parameter, and bytes of each buffer, in the network's order."""
    parameters: list[int] = []
    buffers: list[int] = []

    def convolution(inputs: int, outputs: int, kernel: int) -> None:
        parameters.extend([kernel**2 * inputs * outputs, outputs][: 1 + config.bias])

    def norm(channels: int) -> None:
        parameters.extend([channels, channels])
        buffers.extend([4 * channels, 4 * channels, 8])

    k, h = config.growth_rate, (config.bn_size or 0) * config.growth_rate
    convolution(config.in_channels, config.num_init_features, 7)
    norm(config.num_init_features)
    for i, (start, end) in enumerate(config.block_widths):
        for channels in range(start, end, k):
            norm(channels)
            if h:
                convolution(channels, h, 1)
                norm(h)
            convolution(h or channels, k, 3)
        if i + 1 < len(config.block_widths):
            norm(end)
            convolution(end, config.block_widths[i + 1][0], 1)
    norm(config.num_features)
    parameters.extend([config.num_features * config.num_classes, config.num_classes])
    return parameters, buffers


def own_case(
    config: DenseNetConfig, way: str, at: tuple[int, int], *, autocast: bool = False
) -> ExplorerCase:
    """What the explorer knows of a network of one's own, `at` a batch and side among others."""
    parameters, buffers = tensors(config)
    points: dict[int, ExplorerPoint] = {}
    steps: list[ExplorerStep] = []
    for size in (*SIZES, at):
        tape, trace = own_trace(config, way, *size, autocast=autocast)
        use = CudaCache().play(trace)
        point = ExplorerPoint(*size, use.allocated_bytes, use.reserved_bytes)
        points[point.pixels] = point
        if len(steps) < 2 and size in ((1, 224), SIZES[-1]):
            steps.append(ExplorerStep(*size, stretches(tape)))
    return ExplorerCase(
        network=OWN,
        method=way,
        autocast=autocast,
        parameters=sum(parameters),
        fixed_bytes=4 * sum(parameters) + sum(buffers),
        in_channels=config.in_channels,
        points=tuple(points[pixels] for pixels in sorted(points)),
        steps=tuple(steps),
    )


def stretches(tape: Tape) -> tuple[tuple[int, int, int], ...]:
    """What is alive in `STRETCHES` equal parts of the births, in KiB by `KINDS`.

    Each part has the moment at which most is alive in it.
    """
    most = [-1] * STRETCHES
    found = [(0, 0, 0)] * STRETCHES
    live = [0, 0, 0]
    for event in tape.events:
        born = event >= 0
        storage = event if born else ~event
        kind = 2 if storage in tape.gradients else int(storage not in tape.kept)
        live[kind] += tape.sizes[storage] if born else -tape.sizes[storage]
        at = storage * STRETCHES // len(tape.sizes)
        if born and sum(live) > most[at]:
            most[at] = sum(live)
            first, second, third = (int(some / 1024 + 0.5) for some in live)
            found[at] = first, second, third
    return tuple(found)
