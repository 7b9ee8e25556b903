"""Peak memory of one training step or inference: predicted without allocating, or measured."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from densenet_solutions.measure.allocator import cpu_peak, cuda_peak
from densenet_solutions.measure.step import OptimizerFactory, PreparedStep, Step, StepSpec
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES, MemoryPoint, StorageTracker


@dataclass(frozen=True, kw_only=True)
class MemoryResult:
    """Memory of one training step or one inference, in bytes.

    `peak_bytes` counts every live storage once: the model, its input and all that the step makes.
    `bytes_by_category` splits the peak and sums to it:

    - `parameters`, `buffers`: the model's; `input`: the input and its targets;
    - `optimizer`: state that the optimizer keeps from step to step;
    - `gradients`: the `.grad` of parameters;
    - `activations`: made by the forward pass and still there in the backward pass;
    - `temporaries`: all else that an operation returned, recomputed activations among them;
    - `workspace`: what the allocator handed out beyond that, inside of operations: scratch space
      of kernels and, on CUDA, rounding. A prediction knows none of it.

    `method` is `"predicted"`, `"cpu-allocator"` or `"cuda-allocator"`. `peak_resident_bytes` is the
    process's peak resident memory during the step (Linux), which includes the interpreter, the
    libraries and their own scratch space. On CUDA, `reserved_bytes` is what the caching allocator
    held at its peak and `context_bytes` what the device lost besides. With `out_of_memory` the
    step was cut short and `peak_bytes` is only a lower bound.
    """

    peak_bytes: int
    bytes_by_category: Mapping[str, int]
    timeline: tuple[MemoryPoint, ...]
    method: str
    device: str
    dtype: str
    autocast: str | None
    input_shape: tuple[int, ...]
    train: bool
    optimizer: str | None
    packages: Mapping[str, str]
    peak_resident_bytes: int | None = None
    reserved_bytes: int | None = None
    context_bytes: int | None = None
    out_of_memory: bool = False

    @property
    def peak_beyond_parameters(self) -> int:
        """The peak without parameters, buffers and input: what the step itself needs."""
        resident = ("parameters", "buffers", "input")
        return self.peak_bytes - sum(self.bytes_by_category[name] for name in resident)


def predict_memory(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int],
    *,
    train: bool = True,
    optimizer: str | OptimizerFactory | None = None,
    dtype: torch.dtype = torch.float32,
    autocast: torch.dtype | None = None,
    input_dtype: torch.dtype | None = None,
    step: Step | None = None,
) -> MemoryResult:
    """Predict the memory of a step by running it on the meta device: shapes, but no data.

    Nothing of the model's size is allocated, so any batch fits. What cannot run on the meta device
    (autocast, for one) runs with fake CPU tensors instead, which is slower.

    Args:
        model_fn: builds the model; called with the meta device as default.
        input_shape: shape of its one input, batch first.
        train: forward, a scalar loss and backward, starting without gradients; else a forward pass
            in evaluation mode without autograd. The loss is the cross-entropy of logits
            `(N, classes)`, and for other outputs their sum.
        optimizer: `"sgd"`, `"sgd_momentum"`, `"adam"`, `"adamw"`, or parameters → optimizer; its
            step follows the backward pass, and its state is there from the start.
        dtype: of parameters, buffers and input.
        autocast: run the forward pass under autocast to this type.
        input_dtype: of the input, if it is not `dtype`: `torch.int64` for token numbers.
        step: training step in place of the default one: `(model, inputs, targets) → anything`;
            targets are class numbers `(N,)`.

    Raises:
        TypeError: `model_fn` builds no module.
        ValueError: an argument is impossible, or the step cannot be predicted because it needs
            real numbers or a real device; then `measure_memory` is the way.

    >>> mlp = lambda: torch.nn.Linear(1000, 1000, bias=False)
    >>> result = predict_memory(mlp, (1, 1000))
    >>> result.bytes_by_category["parameters"], result.peak_bytes >= 8_000_000
    (4000000, True)
    """
    spec = StepSpec.of(
        model_fn, input_shape, train=train, optimizer=optimizer, dtype=dtype,
        autocast=autocast, input_dtype=input_dtype, step=step,
    )  # fmt: skip
    timeline = _without_data(spec)
    peak = _peak(timeline)
    return _result(spec, timeline, "predicted", "meta", peak.bytes)


def measure_memory(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int],
    *,
    device: str | torch.device = "cpu",
    train: bool = True,
    optimizer: str | OptimizerFactory | None = None,
    dtype: torch.dtype = torch.float32,
    autocast: torch.dtype | None = None,
    input_dtype: torch.dtype | None = None,
    step: Step | None = None,
) -> MemoryResult:
    """Run a step on a device and take its peak from the memory allocator.

    The step runs three times: to warm up, to ask the allocator, and to follow the storages for
    `bytes_by_category` and the timeline. What the allocator handed out beyond the storages is
    `workspace`. On the CPU the allocator's events come from torch's profiler; on CUDA its own
    statistics are used. When the device runs out of memory, the result says so.

    The other arguments and errors are those of `predict_memory`; `device` is the CPU or a CUDA
    device.
    """
    where = torch.device(device)
    if where.type not in ("cpu", "cuda"):
        raise ValueError(f"device is the CPU or a CUDA device, got {str(device)!r}")
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(device)!r} needs a CUDA device, and there is none")
    spec = StepSpec.of(
        model_fn, input_shape, train=train, optimizer=optimizer, dtype=dtype,
        autocast=autocast, input_dtype=input_dtype, step=step,
    )  # fmt: skip
    method = f"{where.type}-allocator"
    peak = cuda_peak if where.type == "cuda" else cpu_peak
    before = 0
    if where.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(where)
    try:
        prepared = PreparedStep(spec, where)
        prepared.run()  # warm up: the optimizer's state, cached algorithms
        prepared.drop_gradients()
        found = peak(prepared)
        timeline = _track(prepared)
    except torch.OutOfMemoryError:
        reached = torch.cuda.max_memory_allocated(where) - before
        torch.cuda.empty_cache()
        nothing = MemoryPoint(0, "forward", "", (0,) * len(MEMORY_CATEGORIES))
        return _result(spec, (nothing,), method, _name(where), reached, out_of_memory=True)
    return _result(
        spec,
        timeline,
        method,
        _name(where),
        found.peak_bytes,
        peak_resident_bytes=found.resident_bytes,
        reserved_bytes=found.reserved_bytes,
        context_bytes=found.context_bytes,
    )


def _without_data(spec: StepSpec) -> tuple[MemoryPoint, ...]:
    """The step's timeline on the meta device, or else with fake tensors."""
    if spec.autocast is None:
        with contextlib.suppress(RuntimeError, NotImplementedError):
            return _track(_not_compiled(PreparedStep(spec, torch.device("meta"))))
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what fails is raised below, and need not be logged too
    try:
        with FakeTensorMode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _track(_not_compiled(PreparedStep(spec, torch.device("cpu"), fake=True)))
    except (RuntimeError, NotImplementedError) as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise ValueError(
            "this step cannot be predicted, because it does not run without data "
            f"({type(error).__name__}: {reason}); use measure_memory"
        ) from error
    finally:
        log.setLevel(level)


def _not_compiled(prepared: PreparedStep) -> PreparedStep:
    if prepared.compiled:
        raise ValueError(
            "a compiled model cannot be predicted: the compiler plans its memory; "
            "use measure_memory"
        )
    return prepared


def _track(prepared: PreparedStep) -> tuple[MemoryPoint, ...]:
    """Run a step and follow its storages."""
    if prepared.needs_warm_up:
        prepared.run()
        prepared.drop_gradients()
    resident = {
        "input": (prepared.inputs, prepared.targets),
        "optimizer": prepared.optimizer_state(),
    }
    tracker = StorageTracker(prepared.model, resident)

    def enter(phase: str) -> None:
        tracker.phase = phase

    with tracker:
        prepared.run(enter)
    prepared.drop_gradients()
    return tracker.timeline()


def _peak(timeline: Sequence[MemoryPoint]) -> MemoryPoint:
    return max(timeline, key=lambda point: point.bytes)


def _result(
    spec: StepSpec,
    timeline: tuple[MemoryPoint, ...],
    method: str,
    device: str,
    peak_bytes: int,
    **more: Any,
) -> MemoryResult:
    at_peak = _peak(timeline)
    by_category = dict(zip(MEMORY_CATEGORIES, at_peak.by_category, strict=True))
    by_category["workspace"] += peak_bytes - at_peak.bytes
    return MemoryResult(
        peak_bytes=peak_bytes,
        bytes_by_category=by_category,
        timeline=timeline,
        method=method,
        device=device,
        dtype=str(spec.dtype).removeprefix("torch."),
        autocast=None if spec.autocast is None else str(spec.autocast).removeprefix("torch."),
        input_shape=spec.input_shape,
        train=spec.train,
        optimizer=spec.optimizer_name,
        packages={"torch": importlib.metadata.version("torch")},
        **more,
    )


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
