"""Where the memory of a step goes, and what the ways to save it come to (exercise 3.2)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from densenet_solutions.exercises.memory.gpu import short_name
from densenet_solutions.exercises.memory.own_process import OwnProcess
from densenet_solutions.exercises.saving_memory import bench
from densenet_solutions.exercises.saving_memory.accuracy import StrategyAccuracy, control
from densenet_solutions.exercises.saving_memory.at_work import AtWork
from densenet_solutions.exercises.saving_memory.bench import MemoryBench, MemoryBenchRow
from densenet_solutions.exercises.saving_memory.costs import (
    FULL_SHAPE,
    SMALL_SHAPE,
    StrategyCost,
    small_network,
)
from densenet_solutions.exercises.saving_memory.gradient_errors import gradient_errors
from densenet_solutions.exercises.saving_memory.reach import Reach
from densenet_solutions.exercises.saving_memory.timelines import POINTS, StepTimeline, thinned
from densenet_solutions.measure import (
    MemoryResult,
    count_flops,
    count_parameters,
    predict_memory,
    saved_bytes,
)
from densenet_solutions.measure.cuda_cache import CacheUse, CudaCache
from densenet_solutions.measure.step import Step
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory.layers import dense_blocks
from densenet_solutions.memory.shared_storage.plan import planned_for
from densenet_solutions.models import DenseNetConfig, book_densenet, densenet121
from densenet_solutions.models.connectivity import SparseDenseBlock
from densenet_solutions.models.densenet import DenseLayer
from densenet_solutions.records.serialise import from_json
from densenet_solutions.records.store import Record, load_record


@dataclass(frozen=True)
class AccuracyChange:
    """What a strategy does to accuracy: mean over seeds, paired with its plain network.

    `difference` has the 95% interval `± half_width`, and `p` is that of the t test; both are `None`
    where the seeds are fewer than three, or where the network is the plain one.
    """

    strategy: str
    seeds: int
    accuracy: float
    difference: float
    half_width: float | None
    p: float | None = None
    at_change: tuple[float, ...] = ()


def costs(record: Record) -> dict[str, StrategyCost]:
    """The recorded costs by strategy; what did not fit is left out."""
    return {
        name: from_json(StrategyCost, case)
        for name, case in record.cases.items()
        if name not in record.out_of_memory
    }


def timelines(record: Record) -> dict[str, StepTimeline]:
    """The recorded timelines by strategy."""
    return {name: from_json(StepTimeline, case) for name, case in record.cases.items()}


def first_block_bytes() -> int:
    """All features of DenseNet-121's first block at full size, once, in float32."""
    config = DenseNetConfig()
    (n, _, height, breadth), (_, width) = FULL_SHAPE, config.block_widths[0]
    return 4 * n * width * (height // 4) * (breadth // 4)


def parameters() -> int:
    """Number of DenseNet-121's parameters."""
    return count_parameters(densenet121).total


def fixed_bytes() -> int:
    """Parameters, buffers and input of DenseNet-121's step at full size, in float32."""
    with torch.device("meta"):
        model = densenet121()
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.nbytes for tensor in tensors) + 4 * math.prod(FULL_SHAPE)


def books_step(strategy: str) -> MemoryResult:
    """Predicted training step of the book's DenseNet, 128 images of 224×224, under a strategy."""
    return _step(strategy, book_densenet, (128, 1, 224, 224))


def _step(strategy: str, build: Callable[[], nn.Module], shape: Sequence[int]) -> MemoryResult:
    row = STRATEGIES[strategy]
    return predict_memory(lambda: row.apply(build()), shape, step=row.step)


def predicted_peaks(names: Sequence[str]) -> dict[str, int]:
    """Peaks of DenseNet-121's step at full size under strategies, predicted: a lower bound."""
    return {name: _step(name, densenet121, FULL_SHAPE).peak_beyond_parameters for name in names}


#: Cases by record whose first row was the first step of a process: cuBLAS took its workspaces then.
BEGAN: Mapping[str, Sequence[str]] = {
    "bench-memory-gpu": (
        *("densenet121-32x224-float32", "densenet264-32x224-float32"),
        "densenet121-32x224-float32-compiled",
    ),
    "bench-at-work": ("8", "32", "256"),
    "shared-storage-slices": ("8", "32", "128", "256"),
}


_Bench = TypeVar("_Bench", MemoryBench, AtWork)


def on_a_gpu(kind: type[_Bench], record: Record, case: str) -> _Bench:
    """A case of a GPU's record, all rows of it without what cuBLAS keeps.

    PyTorch takes that once in a process. `memory-own-process` has its size.
    """
    result = from_json(kind, record.cases[case])
    if case not in BEGAN[record.name]:
        return result
    own = from_json(OwnProcess, load_record("memory-own-process").cases["densenet121 b8"])
    first, *others = result.rows
    assert first.peak_beyond_parameters is not None
    settled = first.peak_beyond_parameters - own.plain.cublas_bytes
    return replace(result, rows=(replace(first, peak_beyond_parameters=settled), *others))


def gpu_benches(record: Record, network: str = "densenet121") -> dict[int, MemoryBench]:
    """A network in float32 from the record `bench-memory-gpu`, by batch."""
    return {
        batch: on_a_gpu(MemoryBench, record, case)
        for batch in (8, 32, 128, 256)
        if (case := f"{network}-{batch}x224-float32") in record.cases
    }


def at_work(record: Record) -> dict[int, AtWork]:
    """The cases of `bench-at-work` or `shared-storage-slices`, by batch."""
    return {int(batch): on_a_gpu(AtWork, record, batch) for batch in record.cases}


def beside(row: MemoryBenchRow, other: MemoryBenchRow) -> float:
    """Time of `row` as a multiple of `other`'s: the median of the ratios in the same round."""
    return bench.beside(row.seconds, other.seconds)[0]


def card(record: Record) -> str:
    """The GPU of a record, as people call it, or the GPUs.

    Examples:
        >>> from densenet_solutions.records import load_record
        >>> card(load_record("bench-memory-gpu"))
        'H200'
        >>> card(load_record("memory-grid"))
        'H100 and H200'
    """
    return " and ".join(sorted(set(map(short_name, record.devices.values()))))


class _Trunk(nn.Sequential):
    """A trunk of another class: there shared storage keeps to the dense blocks."""


def sharing_blocks_only() -> int:
    """Peak of DenseNet-121's step at full size where only dense blocks share; predicted.

    The batch is cut as `planned_for` says.
    """
    with torch.device("meta"):
        model = densenet121()
    model.features.__class__ = _Trunk
    ours = STRATEGIES["shared_storage"]
    result = predict_memory(ours.apply(model), FULL_SHAPE, step=ours.step)
    return result.peak_beyond_parameters


def connections_left(name: str, model: nn.Module) -> tuple[int, int]:
    """How many sources the layers of all blocks read under a sparse strategy, and of how many."""
    blocks = dense_blocks(STRATEGIES[name].apply(model)).values()
    left = sum(len(reads) for block in blocks for reads in cast(SparseDenseBlock, block).reads)
    return left, sum(len(block) * (len(block) + 1) // 2 for block in blocks)


def quantized_stem() -> int:
    """Peak in bytes of the quantized network's stem when it infers, at full size, predicted."""
    with torch.device("meta"):
        model = STRATEGIES["quantized_inference"].apply(densenet121())
    stem = nn.Sequential(*list(cast(nn.Sequential, model.features))[:4])
    return predict_memory(stem, FULL_SHAPE, train=False).peak_beyond_parameters


def predicted_costs(names: Sequence[str]) -> dict[str, StrategyCost]:
    """`cost` of strategies at full size, but for what takes a real step: gradients and times."""
    with torch.device("meta"):
        model = densenet121()
    found = {}
    for name in names:
        changed, step = STRATEGIES[name].apply(model), STRATEGIES[name].step
        found[name] = StrategyCost(
            strategy=name,
            training_peak=predict_memory(changed, FULL_SHAPE, step=step).peak_beyond_parameters,
            inference_peak=predict_memory(changed, FULL_SHAPE, train=False).peak_beyond_parameters,
            method="predicted",
            state_bytes=sum(t.nbytes for t in (*changed.parameters(), *changed.buffers())),
            parameters=count_parameters(changed).total,
            multiply_adds=count_flops(changed, FULL_SHAPE).multiply_adds,
            gradient_error=None,
            seconds=(),
            plain_seconds=(),
            input_shape=FULL_SHAPE,
            trial_shape=FULL_SHAPE,
        )
    return found


def random_patterns(count: int) -> list[int]:
    """Predicted training peaks with the random connections of seeds 0, 1, …, `count` - 1."""
    draw = STRATEGIES["random_connections"].apply
    with torch.device("meta"):
        model = densenet121()
    return [
        predict_memory(draw(model, seed=seed), FULL_SHAPE).peak_beyond_parameters
        for seed in range(count)
    ]


def shared_storage_by_device(input_shape: Sequence[int]) -> dict[str, int]:
    """Predicted peak of shared storage with the slices of a CPU and of a GPU."""
    found = {}
    for kind in ("cpu", "cuda"):
        with planned_for(kind):
            step = _step("shared_storage", densenet121, input_shape)
            found[kind] = step.peak_beyond_parameters
    return found


def simulated_in_segments() -> dict[str, CacheUse]:
    """DenseNet-121's step at full size in a GPU's allocator, simulated: kind of segments → use."""
    trace = Step(densenet121, FULL_SHAPE).trace()
    return {
        kind: CudaCache(expandable_segments=kind == "expandable").play(trace)
        for kind in ("default", "expandable")
    }


def float32_errors(names: Sequence[str]) -> Mapping[str, float]:
    """`‖g − g₆₄‖ / ‖g₆₄‖` over all parameters, for each strategy's gradient g in float32.

    g₆₄ is the plain network's gradient in float64; network and images are the small ones.
    """
    images = torch.randn(*SMALL_SHAPE, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(len(images)) % 10
    return gradient_errors(names, small_network, images, labels).from_truth


def plain_timeline() -> StepTimeline:
    """The plain network's timeline at full size, predicted."""
    result = predict_memory(densenet121, FULL_SHAPE)
    return StepTimeline(
        strategy="plain",
        peak=result.peak_beyond_parameters,
        method=result.method,
        input_shape=FULL_SHAPE,
        live=thinned(result, POINTS),
    )


def kept_for_backward(input_shape: Sequence[int] = FULL_SHAPE) -> dict[str, int]:
    """What autograd keeps of DenseNet-121's activations: who reads it → bytes, each storage once.

    A storage that several operations keep counts for the first of them.
    """
    with torch.device("meta"):
        model = densenet121()

    def reader(path: str, tensor: Tensor) -> str:
        return (_kind(model, path) or "other") if tensor.ndim == 4 else _STATISTICS

    kept = saved_bytes(model, input_shape, by=reader)
    return {kind: size for kind, size in kept.items() if kind != _STATISTICS}


def gradients_of_inputs(input_shape: Sequence[int] = FULL_SHAPE) -> int:
    """Bytes of the gradients of what DenseNet-121's modules read, all kept: as in Lua Torch.

    There each module owns the gradient of its input. The first convolution has none, and a ReLU in
    place has none of its own.
    """
    with torch.device("meta"):
        model = densenet121()
        images = torch.empty(*input_shape)
    sizes: list[int] = []
    for name, module in model.named_modules():
        is_leaf = not list(module.children())
        if is_leaf and not isinstance(module, nn.ReLU) and name != "features.conv0":
            module.register_forward_pre_hook(lambda _, args: sizes.append(args[0].nbytes))
    model(images)
    return sum(sizes)


def feature_bytes(input_shape: Sequence[int] = FULL_SHAPE) -> int:
    """Bytes of all features of DenseNet-121's dense blocks, each stored once, in float32."""
    return _bytes_in_blocks(input_shape, lambda width_in, width_out, layers: width_out)


def read_bytes(input_shape: Sequence[int] = FULL_SHAPE) -> int:
    """Bytes of what the layers of DenseNet-121 read, if each has a copy: `n c_0 + k n(n-1)/2`."""
    k = DenseNetConfig().growth_rate
    return _bytes_in_blocks(input_shape, lambda c, _, n: n * c + k * n * (n - 1) // 2)


def _bytes_in_blocks(input_shape: Sequence[int], channels: Callable[[int, int, int], int]) -> int:
    """Sum over the blocks of `channels(width in, width out, layers)` times N·H·W·4 bytes."""
    config = DenseNetConfig()
    images, _, height, width = input_shape
    total = 0
    for i, (layers, (c_in, c_out)) in enumerate(
        zip(config.block_config, config.block_widths, strict=True)
    ):
        positions = (height >> (2 + i)) * (width >> (2 + i))
        total += 4 * images * positions * channels(c_in, c_out, layers)
    return total


def accuracy_changes(record: Record) -> Mapping[str, AccuracyChange]:
    """Strategy → change of accuracy against the plain network of the same seed, over all seeds.

    That network was trained as the strategy's was, see `accuracy.control`. Only seeds for which
    every strategy is there count, so that all rows rest on the same ones.
    """
    runs = [from_json(StrategyAccuracy, case) for case in record.cases.values()]
    by_seed: dict[int, dict[str, StrategyAccuracy]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, {})[run.strategy] = run
    names = tuple(dict.fromkeys(run.strategy for run in runs))
    complete = [seed for seed in by_seed.values() if len(seed) == len(names)]
    result = {}
    for name in names:
        of_name = [seed[name] for seed in complete]
        differences = [seed[name].accuracy - seed[control(name)].accuracy for seed in complete]
        half_width = p = None
        if len(complete) >= 3 and name != control(name):
            test = stats.ttest_1samp(differences, 0)
            half_width, p = float(np.ptp(test.confidence_interval())) / 2, float(test.pvalue)
        result[name] = AccuracyChange(
            strategy=name,
            seeds=len(complete),
            accuracy=statistics.fmean(run.accuracy for run in of_name),
            difference=statistics.fmean(differences),
            half_width=half_width,
            p=p,
            at_change=tuple(
                r.accuracy_at_change for r in of_name if r.accuracy_at_change is not None
            ),
        )
    return result


_STATISTICS = "statistics of a batch"

#: Place in a dense layer → what is kept there.
_PLACES = {
    "norm1": "concatenated features",
    "relu1": "normalised features",
    "conv1": "normalised features",
    "norm2": "bottleneck outputs",
    "relu2": "normalised bottlenecks",
    "conv2": "normalised bottlenecks",
}


def _kind(model: nn.Module, path: str) -> str | None:
    parent, _, name = path.rpartition(".")
    if parent and isinstance(model.get_submodule(parent), DenseLayer):
        return _PLACES[name]
    if path.startswith("features.transition"):
        return "transitions"
    if path in ("features.conv0", "features.norm0", "features.relu0", "features.pool0"):
        return "stem"
    return None


def reaches(record: Record) -> dict[tuple[str, int], Reach]:
    """`(strategy, bytes)` → how far that memory goes, from the record `how-far`."""
    rows = (from_json(Reach, case) for case in record.cases.values())
    return {(row.strategy, row.budget_bytes): row for row in rows}
