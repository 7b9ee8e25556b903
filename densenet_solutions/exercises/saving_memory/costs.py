"""What one memory strategy saves and costs: the same model, input and step for all of them."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from densenet_solutions.measure import (
    MemoryResult,
    count_flops,
    count_parameters,
    measure_memory,
    predict_memory,
    time_interleaved,
)
from densenet_solutions.memory import STRATEGIES, training_step
from densenet_solutions.models import DenseNet, densenet121
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.threads import threads


@dataclass(frozen=True, kw_only=True)
class StrategyCost:
    """What one memory strategy saves and costs, on one network, input and step.

    Peaks are beyond parameters, buffers and input. What is `None` was not measured, or has no
    meaning: a network for inference has no training step, and a network with other parameters no
    gradient to compare. `gradient_error` is `‖g − g_plain‖ / ‖g_plain‖` over all parameters.
    `seconds` and `plain_seconds` are times of its step and of the plain one, taken in turn: on a
    CPU the processor's time of one thread, which other programs hardly disturb. Gradients and
    times are those of inputs of `trial_shape`, everything else of `input_shape`.
    """

    strategy: str
    training_peak: int | None
    inference_peak: int | None
    method: str
    state_bytes: int
    parameters: int
    multiply_adds: int | None
    gradient_error: float | None
    seconds: tuple[float, ...]
    plain_seconds: tuple[float, ...]
    input_shape: tuple[int, ...]
    trial_shape: tuple[int, ...]

    @property
    def time_ratio(self) -> float | None:
        """Fastest step over the fastest plain step: whatever else happens only slows a step."""
        return min(self.seconds) / min(self.plain_seconds) if self.seconds else None

    @property
    def scatter(self) -> float:
        """By what share the slowest step took longer than the fastest one."""
        return max(self.seconds) / min(self.seconds) - 1 if self.seconds else 0.0


#: The full-size setting: DenseNet-121, 8 images of 224x224.
FULL_SHAPE = (8, 3, 224, 224)

#: Gradients and times at the full size would take minutes for each strategy on a CPU.
TRIAL_SHAPE = (8, 3, 96, 96)

#: The small setting, for a page that is built again and again.
SMALL_SHAPE = (4, 3, 32, 32)


def small_network() -> DenseNet:
    """A DenseNet of two dense blocks with two layers each and a transition between, seeded."""
    return _seeded(lambda: densenet121(block_config=(2, 2), num_classes=10))


def full_network() -> DenseNet:
    """DenseNet-121, seeded."""
    return _seeded(densenet121)


def cost(
    name: str,
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    trial_shape: Sequence[int] | None = None,
    quick: bool = False,
    rounds: int = 0,
    device: str = "cpu",
) -> StrategyCost:
    """Measure the strategy `name` on `model`.

    Memory is predicted; on a GPU it is measured where it depends on the device. (Shared storage
    works in slices on a CPU, which a prediction does not see: `step_timelines` measures it.) Work
    and parameters are counted. With `rounds`, the step is timed in turn with the plain
    model's. Gradients and times are taken on inputs of `trial_shape` (by default `input_shape`);
    `quick` leaves out inference and work. bfloat16 is not run on a CPU that has no units for it,
    where a step may take minutes.

    Raises:
        TypeError: the strategy does not know this network.
    """
    strategy = STRATEGIES[name]
    changed = strategy.apply(model)
    runs = strategy.step is not None and (
        name != "bfloat16" or device != "cpu" or _cpu_has_bfloat16_units()
    )
    training: MemoryResult | None = None
    inference: MemoryResult | None = None
    if strategy.step is not None:
        measured = torch.device(device).type == "cuda" and _depends_on_device(name)
        peak = _measure_on(device) if measured else predict_memory
        training = peak(lambda: changed, input_shape, step=strategy.step)
    if not quick:
        inference = predict_memory(lambda: changed, input_shape, train=False)
    trial = tuple(trial_shape or input_shape)
    timed = _seconds(name, model, trial, rounds, device) if runs and rounds else {}
    state = [*changed.parameters(), *changed.buffers()]
    integers = sum(t.numel() for t in changed.buffers() if t.dtype == torch.int8)
    return StrategyCost(
        strategy=name,
        training_peak=training.peak_beyond_parameters if training else None,
        inference_peak=inference.peak_beyond_parameters if inference else None,
        method=training.method if training else "predicted",
        state_bytes=sum(tensor.nbytes for tensor in state),
        parameters=count_parameters(changed).total + integers,
        multiply_adds=None if quick else _multiply_adds(changed, input_shape),
        gradient_error=_gradient_error(name, model, trial, device) if runs else None,
        seconds=timed.get(name, ()),
        plain_seconds=timed.get("plain", ()),
        input_shape=tuple(input_shape),
        trial_shape=trial,
    )


def predictable_strategies() -> tuple[str, ...]:
    """Names of the strategies whose step can be predicted and that need no time to set up."""
    return tuple(n for n, row in STRATEGIES.items() if row.predictable and not row.on_request)


def small_costs(names: Sequence[str]) -> tuple[StrategyCost, ...]:
    """`cost` of these strategies, in short, at the small size."""
    model = small_network()
    return tuple(cost(name, model, SMALL_SHAPE, quick=True) for name in names)


def recipe() -> Recipe:
    """The recording `strategies-study`: every strategy, at the full size."""
    names = [name for name, row in STRATEGIES.items() if not row.on_request]
    names = [*(name for name in names if name != "shared_storage"), "shared_storage"]
    return Recipe(
        name="strategies-study",
        cases={name: name for name in names},
        measure=_full_cost,
        seed=0,
        uses=lambda name: [
            function
            for row in (STRATEGIES["plain"], STRATEGIES[name])
            for function in row.functions
        ],
    )


def _full_cost(name: str, device: str) -> StrategyCost:
    model = full_network()  # on the CPU, or a GPU would hold it beside the changed one
    return cost(name, model, FULL_SHAPE, trial_shape=TRIAL_SHAPE, rounds=3, device=device)


def _seeded(model_fn: Callable[[], DenseNet]) -> DenseNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_fn()


def _depends_on_device(name: str) -> bool:
    """Whether the step keeps other things, or works in other slices, on another device."""
    return name == "shared_storage" or not STRATEGIES[name].predictable


def _measure_on(device: str) -> Callable[..., MemoryResult]:
    return lambda *args, **options: measure_memory(*args, device=device, **options)


@functools.cache
def _cpu_has_bfloat16_units() -> bool:
    """Whether a convolution in bfloat16 takes less than ten times as long as one in float32."""
    inputs, kernel = torch.randn(4, 64, 32, 32), torch.randn(64, 64, 3, 3)

    def convolution(dtype: torch.dtype) -> Callable[[], Tensor]:
        x, w = inputs.to(dtype), kernel.to(dtype)
        return lambda: nn.functional.conv2d(x, w)

    timed = time_interleaved(
        {"float32": convolution(torch.float32), "bfloat16": convolution(torch.bfloat16)}, repeats=5
    )
    single, half = (statistics.median(timed[name]) for name in ("float32", "bfloat16"))
    return half < 10 * single


def _batch(model: nn.Module, input_shape: Sequence[int], device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(*input_shape, generator=generator)
    labels = torch.arange(input_shape[0]) % 10
    return images.to(device), labels.to(device)


def _multiply_adds(model: nn.Module, input_shape: Sequence[int]) -> int | None:
    try:
        return count_flops(model, input_shape).multiply_adds
    except ValueError:  # autocast does not run on the meta device; its operations are plain ones
        return None


def _gradient_error(
    name: str, model: nn.Module, input_shape: Sequence[int], device: str
) -> float | None:
    """Relative error of the gradient, or `None` where the parameters are others."""
    gradients = []
    for strategy in (STRATEGIES["plain"], STRATEGIES[name]):
        changed = strategy.apply(model).to(device).train()
        assert strategy.step is not None
        strategy.step(changed, *_batch(model, input_shape, device))
        gradients.append({key: _gradient(p) for key, p in changed.named_parameters()})
    plain, ours = gradients
    if {key: g.shape for key, g in plain.items()} != {key: g.shape for key, g in ours.items()}:
        return None
    square = sum(float((ours[key] - plain[key]).square().sum()) for key in plain)
    return math.sqrt(square / sum(float(g.square().sum()) for g in plain.values()))


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.double()


def _seconds(
    name: str, model: nn.Module, input_shape: Sequence[int], rounds: int, device: str
) -> dict[str, tuple[float, ...]]:
    """Times of the steps of the plain network and of `name`, interleaved."""
    batch = _batch(model, input_shape, device)
    steps = {}
    for strategy in (STRATEGIES["plain"], STRATEGIES[name]):
        changed = strategy.apply(model).to(device).train()
        steps[strategy.name] = functools.partial(strategy.step or training_step, changed, *batch)
    if torch.device(device).type == "cuda":
        return time_interleaved(steps, repeats=rounds, device=device)
    with threads(1):
        return _processor_seconds(steps, rounds)


def _processor_seconds(
    functions: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, ...]]:
    """Like `time_interleaved`, but the processor's time instead of the clock's."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name].append(time.process_time() - start)
    return {name: tuple(values) for name, values in seconds.items()}
