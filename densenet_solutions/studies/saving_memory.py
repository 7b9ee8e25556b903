"""Every way to save memory, on the same model, input and step (exercise 3.2)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from densenet_solutions.measure import count_flops, count_parameters, time_interleaved
from densenet_solutions.measure.memory import measure_memory, predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory.quantization import inference_only
from densenet_solutions.models import DenseNet, densenet121
from densenet_solutions.models.densenet import DenseLayer
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.records.store import Record
from densenet_solutions.results import (
    AccuracyChange,
    MemoryResult,
    StrategyAccuracy,
    StrategyCost,
    from_json,
)

#: The full-size setting: DenseNet-121, 8 images of 224x224.
FULL_SHAPE = (8, 3, 224, 224)

#: The small setting, for a page that is built again and again.
SMALL_SHAPE = (8, 3, 64, 64)

#: Student 97.5% quantiles by degrees of freedom, for intervals over 3, 4 or 5 seeds.
_QUANTILES = {2: 4.303, 3: 3.182, 4: 2.776}


def small_network() -> DenseNet:
    """A DenseNet-BC with two blocks, seeded."""
    return _seeded(lambda: DenseNet(block_config=(4, 4), num_classes=10))


def full_network() -> DenseNet:
    """DenseNet-121, seeded."""
    return _seeded(densenet121)


def cost(
    name: str, model: nn.Module, input_shape: Sequence[int], *, rounds: int = 0, device: str = "cpu"
) -> StrategyCost:
    """Measure the strategy `name` on `model`.

    Memory is predicted where the step can be, and measured on `device` where it cannot. Work and
    parameters are counted. With `rounds`, the step is timed in turn with the plain model's.

    Raises:
        TypeError: the strategy does not know this network.
    """
    strategy = STRATEGIES[name]
    changed = strategy.apply(model)
    trains = strategy.step is not inference_only
    training: MemoryResult | None = None
    inference: MemoryResult | None = None
    if trains:
        peak = predict_memory if strategy.predictable else _measure_on(device)
        training = peak(lambda: changed, input_shape, step=strategy.step)
    if strategy.predictable or not trains:
        inference = predict_memory(lambda: changed, input_shape, train=False)
    state = [*changed.parameters(), *changed.buffers()]
    integers = sum(t.numel() for t in changed.buffers() if t.dtype == torch.int8)
    return StrategyCost(
        strategy=name,
        training_peak=training.peak_beyond_parameters if training else None,
        inference_peak=inference.peak_beyond_parameters if inference else None,
        method=training.method if training else "predicted",
        state_bytes=sum(tensor.nbytes for tensor in state),
        parameters=count_parameters(changed).total + integers,
        multiply_adds=_multiply_adds(changed, input_shape),
        gradient_error=_gradient_error(name, model, input_shape, device) if trains else None,
        time_ratios=_time_ratios(name, model, input_shape, rounds, device) if trains else (),
        input_shape=tuple(input_shape),
    )


def small_costs() -> tuple[StrategyCost, ...]:
    """`cost` of every strategy whose memory can be predicted, without times, at the small size."""
    model = small_network()
    return tuple(
        cost(name, model, SMALL_SHAPE)
        for name, strategy in STRATEGIES.items()
        if strategy.predictable and not strategy.on_request
    )


def recipe() -> Recipe:
    """The recording `strategies-study`: every strategy at the full size, with times."""
    return Recipe(
        name="strategies-study",
        cases={name: name for name, row in STRATEGIES.items() if not row.on_request},
        measure=lambda name, device: cost(
            name, full_network().to(device), FULL_SHAPE, rounds=3, device=device
        ),
        sources=(
            "studies/saving_memory.py",
            "models/densenet.py",
            *sorted({f"memory/{_file_of(row.apply)}.py" for row in STRATEGIES.values()}),
        ),
        seed=0,
    )


def costs(record: Record) -> dict[str, StrategyCost]:
    """The recorded costs by strategy, in the order of the table; what did not fit is left out."""
    return {
        name: from_json(StrategyCost, case)
        for name, case in record.cases.items()
        if "out_of_memory" not in case
    }


def timelines(
    names: Sequence[str], input_shape: Sequence[int] = FULL_SHAPE
) -> dict[str, MemoryResult]:
    """Strategy → memory over one training step of DenseNet-121, predicted."""
    with torch.device("meta"):
        model = densenet121()
    results = {}
    for name in names:
        changed = STRATEGIES[name].apply(model)
        results[name] = predict_memory(lambda m=changed: m, input_shape, step=STRATEGIES[name].step)  # type: ignore[misc]
    return results


def kept_for_backward(input_shape: Sequence[int] = FULL_SHAPE) -> dict[str, int]:
    """What autograd keeps of DenseNet-121's activations: who reads it → bytes, each storage once.

    A storage that several operations keep counts for the first of them.
    """
    with torch.device("meta"):
        model = densenet121().train()
        x = torch.empty(*input_shape)
    kinds: list[str] = ["other"]
    kept: dict[str, int] = {}
    seen: list[Tensor] = []  # they hold the storages, so no address is used twice

    def note(tensor: Tensor) -> Tensor:
        known = any(tensor.untyped_storage()._cdata == t.untyped_storage()._cdata for t in seen)
        if not isinstance(tensor, nn.Parameter) and tensor.ndim == 4 and not known:
            seen.append(tensor)
            kept[kinds[-1]] = kept.get(kinds[-1], 0) + tensor.untyped_storage().nbytes()
        return tensor

    handles = []
    for path, module in model.named_modules():
        if kind := _kind(model, path, module):
            handles += [
                module.register_forward_pre_hook(lambda *_, kind=kind: kinds.append(kind)),
                module.register_forward_hook(lambda *_: (kinds.pop(), None)[1]),
            ]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(x)
    for handle in handles:
        handle.remove()
    return kept


def accuracy_changes(record: Record) -> Mapping[str, AccuracyChange]:
    """Strategy → change of accuracy against the plain network of the same seed, over all seeds.

    Only seeds for which every strategy is there count, so that all rows rest on the same ones.
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
        mean, half_width = mean_and_half_width(
            [seed[name].accuracy - seed["plain"].accuracy for seed in complete]
        )
        at_change = [
            run.accuracy_at_change for run in of_name if run.accuracy_at_change is not None
        ]
        result[name] = AccuracyChange(
            strategy=name,
            seeds=len(complete),
            accuracy=statistics.fmean(run.accuracy for run in of_name),
            difference=mean,
            half_width=half_width,
            accuracy_at_change=statistics.fmean(at_change) if at_change else None,
        )
    return result


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95% interval (Student's t).

    Raises:
        ValueError: there are fewer than 3 or more than 5 values.
    """
    if len(values) - 1 not in _QUANTILES:
        raise ValueError(f"intervals are made over 3 to 5 seeds, got {len(values)}")
    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), _QUANTILES[len(values) - 1] * error


def _seeded(model_fn: Callable[[], DenseNet]) -> DenseNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_fn()


def _measure_on(device: str) -> Callable[..., MemoryResult]:
    return lambda *args, **options: measure_memory(*args, device=device, **options)


def _batch(model: nn.Module, input_shape: Sequence[int], device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(*input_shape, generator=generator)
    labels = torch.arange(input_shape[0]) % 10
    return images.to(device), labels.to(device)


def _multiply_adds(model: nn.Module, input_shape: Sequence[int]) -> int | None:
    try:
        return count_flops(model, input_shape).multiply_adds
    except RuntimeError:  # autocast does not run on the meta device; its operations are plain ones
        return None


def _gradient_error(
    name: str, model: nn.Module, input_shape: Sequence[int], device: str
) -> float | None:
    """Relative error of the gradient, or `None` where the parameters are others."""
    gradients = []
    for strategy in (STRATEGIES["plain"], STRATEGIES[name]):
        changed = strategy.apply(model).train()
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


def _time_ratios(
    name: str, model: nn.Module, input_shape: Sequence[int], rounds: int, device: str
) -> tuple[float, ...]:
    if not rounds:
        return ()
    if name == "plain":
        return (1.0,) * rounds
    batch = _batch(model, input_shape, device)
    steps = {}
    for strategy in (STRATEGIES["plain"], STRATEGIES[name]):
        changed = strategy.apply(model).train()
        steps[strategy.name] = lambda s=strategy, m=changed: s.step(m, *batch)
    seconds = time_interleaved(steps, repeats=rounds, device=device)
    return tuple(a / b for a, b in zip(seconds[name], seconds["plain"], strict=True))


def _file_of(function: Callable[..., object]) -> str:
    return function.__module__.rpartition(".")[2]


#: Place in a dense layer → what is kept there.
_PLACES = {
    "norm1": "concatenated features",
    "relu1": "normalised features",
    "conv1": "normalised features",
    "norm2": "bottleneck outputs",
    "relu2": "normalised bottlenecks",
    "conv2": "normalised bottlenecks",
}


def _kind(model: nn.Module, path: str, module: nn.Module) -> str | None:
    parent, _, name = path.rpartition(".")
    if parent and isinstance(model.get_submodule(parent), DenseLayer):
        return _PLACES[name]
    if path.startswith("features.transition"):
        return "transitions"
    if path in ("features.conv0", "features.norm0", "features.relu0", "features.pool0"):
        return "stem"
    return None
