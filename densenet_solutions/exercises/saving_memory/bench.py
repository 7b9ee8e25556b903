"""Shared storage against the ways that are in use: peak and time in one interleaved run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet as TorchvisionDenseNet

from densenet_solutions.measure import measure_memory, time_interleaved
from densenet_solutions.memory import STRATEGIES, training_step
from densenet_solutions.models import TABLE_1
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.threads import threads


@dataclass(frozen=True)
class MemoryBenchRow:
    """One contestant of a memory bench.

    `peak_beyond_parameters` in bytes, `None` if it did not fit; `seconds` of each round. The time
    ratio to the baseline is the median over rounds, with its lower and upper quartile.
    `page_faults` is the median number of a step: pages that the operating system had to hand out
    (`None` on a GPU, and where it does not count them). `processor_seconds` of each round are those
    of all threads together, and `processor_ratio` is the median of their ratios to the baseline's
    (on a CPU only).
    """

    name: str
    peak_beyond_parameters: int | None
    seconds: tuple[float, ...]
    time_ratio: float | None
    time_ratio_low: float | None
    time_ratio_high: float | None
    page_faults: int | None = None
    processor_seconds: tuple[float, ...] = ()
    processor_ratio: float | None = None


@dataclass(frozen=True)
class MemoryBench:
    """Peak and time of one training step of several models, in one interleaved run.

    The first row is the baseline. `dtype` is `"float32"` or says which autocast.
    """

    network: str
    input_shape: tuple[int, ...]
    dtype: str
    device: str
    repeats: int
    rows: tuple[MemoryBenchRow, ...]


Step = Callable[[nn.Module, Tensor, Tensor], Tensor]

#: What the others are compared with.
BASELINE = "torchvision"
#: The same network with its images' channels next to each other in memory.
CHANNELS_LAST = f"{BASELINE} channels_last"
#: The compiler where it may keep all that its own default keeps.
WHOLE_BUDGET = "compiled, budget 1"
#: Ours, by the name of their strategy.
OURS = ("recompute_bottleneck_input", "recompute_layer", "recompute_block", "shared_storage")


def contestants(network: str, *, compiled: bool = False) -> dict[str, tuple[nn.Module, Step]]:
    """Models with the same weights by name, each with its training step; torchvision's first.

    Raises:
        ValueError: `network` is not a row of Table 1.
    """
    if network not in TABLE_1:
        raise ValueError(f"network is one of {list(TABLE_1)}, got {network!r}")
    torch.manual_seed(0)
    config = TABLE_1[network].config
    model = TABLE_1[network].build()
    found: dict[str, tuple[nn.Module, Step]] = {}
    for name in (BASELINE, CHANNELS_LAST, f"{BASELINE} memory_efficient"):
        theirs = TorchvisionDenseNet(
            config.growth_rate,
            config.block_config,
            config.num_init_features,
            memory_efficient=name.endswith("memory_efficient"),
        )
        theirs.load_state_dict(model.state_dict())
        found[name] = (theirs, training_step)
    model_last, _ = found[CHANNELS_LAST]
    found[CHANNELS_LAST] = (model_last.to(memory_format=torch.channels_last), _channels_last_step)
    for name in (*OURS, "compiled") if compiled else OURS:
        found[name] = (STRATEGIES[name].apply(model), STRATEGIES[name].step or training_step)
    if compiled:
        strategy = STRATEGIES["compiled"]
        found[WHOLE_BUDGET] = (strategy.apply(model, budget=1.0), strategy.step or training_step)
    return found


def _channels_last_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return training_step(model, inputs.to(memory_format=torch.channels_last), targets)


def bench_memory(
    network: str = "densenet121",
    batch: int = 8,
    resolution: int = 224,
    *,
    device: str = "cpu",
    autocast: torch.dtype | None = None,
    repeats: int = 5,
    compiled: bool = False,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> MemoryBench:
    """Peak and time of one training step of each contestant.

    The peak comes from the device's allocator, without parameters, buffers and input. The times
    are taken in turn, A B C A B C, and a ratio compares two neighbours of one round. On a CPU a
    turn is two steps and the second is timed: in training too a model follows itself, and finds
    the kernels that oneDNN has built for its shapes, of which it keeps 1,024. Page faults and
    processor time are those of the timed steps.

    Raises:
        ValueError: an argument is impossible.
    """
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device is the CPU or a CUDA device, got {device!r}")
    shape = (batch, 3, resolution, resolution)
    models = contestants(network, compiled=compiled)
    rows = compare(models, shape, device, autocast, repeats, progress)
    dtype = "float32" if autocast is None else f"{autocast} autocast".removeprefix("torch.")
    return MemoryBench(network, shape, dtype, torch.device(device).type, repeats, rows)


def compare(
    models: Mapping[str, tuple[nn.Module, Step]],
    shape: tuple[int, ...],
    device: str,
    autocast: torch.dtype | None,
    repeats: int,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[MemoryBenchRow, ...]:
    """Peak and time of a step of each model, with that of the model called `BASELINE`."""
    batch = shape[0]
    peaks = {}
    for done, (name, (model, step)) in enumerate(models.items()):
        progress(f"memory: {name}", done, len(models) + 1)
        result = measure_memory(
            lambda model=model: model,  # type: ignore[misc]
            shape,
            device=device,
            autocast=autocast,
            step=step,
            threads=torch.get_num_threads(),
        )
        peaks[name] = None if result.out_of_memory else result.peak_beyond_parameters
    x = torch.randn(shape, device=device)
    targets = torch.randint(1000, (batch,), device=device)

    faults: dict[str, list[int]] = {name: [] for name in models}
    processor: dict[str, list[float]] = {name: [] for name in models}

    def timed(name: str, model: nn.Module, step: Step) -> Callable[[], None]:
        model.to(device)

        def once() -> None:
            before, busy = _page_faults(), time.process_time()
            model.zero_grad(set_to_none=True)
            with torch.autocast(torch.device(device).type, autocast, enabled=autocast is not None):
                step(model, x, targets)
            model.zero_grad(set_to_none=True)
            processor[name].append(time.process_time() - busy)
            faults[name].append(_page_faults() - before)

        return once

    on_cpu = torch.device(device).type == "cpu"
    turns: dict[str, Callable[[], None]] = {}
    for name in (name for name, peak in peaks.items() if peak is not None):
        once = timed(name, *models[name])
        turns |= {f"{name}, untimed": once, name: once} if on_cpu else {name: once}
    progress("time of all, in turn", len(models), len(models) + 1)
    seconds = time_interleaved(turns, repeats=repeats, device=device, warmup=1)
    if not on_cpu:
        return tuple(_row(name, peak, seconds) for name, peak in peaks.items())
    timed_steps = slice(3, None, 2)  # after the round that warms up, the second of each turn
    busy = {name: of[timed_steps] for name, of in processor.items() if peaks[name] is not None}
    return tuple(
        _row(name, peak, seconds, busy, faults[name][timed_steps]) for name, peak in peaks.items()
    )


def _page_faults() -> int:
    """Pages that the operating system has handed to this process; 0 where it does not count."""
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _row(
    name: str,
    peak: int | None,
    seconds: Mapping[str, Sequence[float]],
    processor: Mapping[str, Sequence[float]] | None = None,
    faults: Sequence[int] = (),
) -> MemoryBenchRow:
    if name not in seconds or BASELINE not in seconds:
        return MemoryBenchRow(name, peak, tuple(seconds.get(name, ())), None, None, None)
    return MemoryBenchRow(
        name,
        peak,
        tuple(seconds[name]),
        *beside(seconds[name], seconds[BASELINE]),
        statistics.median_low(faults) if resource is not None and faults else None,
        () if processor is None else tuple(processor[name]),
        None if processor is None else beside(processor[name], processor[BASELINE])[0],
    )


def beside(mine: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Times as multiples of others in the same round: median, lower and upper quartile.

    Examples:
        >>> beside([2, 1, 12, 6], [1, 2, 4, 3])
        (2.0, 2.0, 2.0)
    """
    ratios = sorted(a / b for a, b in zip(mine, theirs, strict=True))
    quarter = len(ratios) // 4
    return statistics.median(ratios), ratios[quarter], ratios[-1 - quarter]


def _bench_case(case: Mapping[str, Any], device: str) -> MemoryBench:
    options = {"network": "densenet121", "batch": 8, "repeats": 11, **case}
    with threads(options.pop("threads", torch.get_num_threads())):
        return bench_memory(device=device, **options)


def _recipe(name: str, cases: Mapping[str, Mapping[str, Any]]) -> Recipe:
    return Recipe(
        name=name,
        cases=cases,
        measure=_bench_case,
        seed=0,
        uses=lambda case: [
            function
            for name in ((*OURS, "compiled") if case.get("compiled") else OURS)
            for function in STRATEGIES[name].functions
        ],
    )


#: What a case's name ends in that was measured on another occasion.
AGAIN = ", again"


def recipe() -> Recipe:
    """DenseNet-121, batch 8, 224x224: float32 with the compiler and on one thread, bfloat16.

    Each twice: one occasion does not tell how far a time moves until the next. The compiler is
    there the first time only.
    """
    cases: dict[str, dict[str, Any]] = {
        "densenet121-8x224-float32": {"repeats": 15},
        "densenet121-8x224-float32-one-thread": {"threads": 1, "repeats": 15},
        "densenet121-8x224-bfloat16": {"autocast": torch.bfloat16, "repeats": 15},
    }
    again = {name + AGAIN: case for name, case in cases.items()}
    first = next(iter(cases))
    return _recipe("bench-memory", {**cases, first: {**cases[first], "compiled": True}, **again})


def gpu_recipe() -> Recipe:
    """On a GPU, 224x224: both precisions, a sweep of batches, a deeper network, the compiler."""
    wanted = (
        ("densenet121", 32, False), ("densenet121", 32, True), ("densenet121", 8, False),
        ("densenet121", 128, False), ("densenet121", 256, False), ("densenet264", 32, False),
        ("densenet264", 128, False), ("densenet121", 128, True),
    )  # fmt: skip
    cases: dict[str, dict[str, Any]] = {}
    for network, batch, autocast in wanted:
        name = f"{network}-{batch}x224-{'bfloat16' if autocast else 'float32'}"
        case = {"network": network, "batch": batch, "repeats": 11 if batch <= 32 else 5}
        cases[name] = {**case, "autocast": torch.bfloat16} if autocast else case
    cases["densenet121-32x224-float32-compiled"] = {"batch": 32, "compiled": True}
    return _recipe("bench-memory-gpu", cases)
