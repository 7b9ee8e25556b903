"""Peak memory of one training step or inference: predicted without allocating, or measured."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from densenet_solutions import checks
from densenet_solutions.asked import asked_about, asked_device
from densenet_solutions.measure.allocator import (
    CudaPeak,
    cpu_peak,
    is_out_of_memory,
    refused_bytes,
)
from densenet_solutions.measure.copies import Factory
from densenet_solutions.measure.cuda_cache import CudaCache
from densenet_solutions.measure.cuda_kernels import (
    choose_foreach,
    cuda_kernels,
    kernel_workspace,
    unknown_kernels,
)
from densenet_solutions.measure.memory import MemoryResult, result_of
from densenet_solutions.measure.options import StepError, StepOptions
from densenet_solutions.measure.prepared import prepare
from densenet_solutions.measure.torch_private import FakeTensorMode
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES, MemoryPoint, StorageTracker, Trace
from densenet_solutions.threads import threads as set_threads


class Step(StepOptions):
    """A step to be predicted or measured; `StepOptions` says what it is made of."""

    def predict(
        self, device: str | torch.device = "meta", *, cache: CudaCache | None = None
    ) -> MemoryResult:
        """Predict the memory of the step by running it without data: shapes only.

        Nothing of the model's size is allocated, so any batch fits, and no device is needed. What
        an operation takes while it runs, scratch space of kernels for one, is not seen, but for a
        convolution's backward pass on CUDA: the prediction is a lower bound.

        Args:
            device: whose kernels are meant. `"meta"`: the general definition of each operation.
                `"cpu"`: the CPU's kernels, by fake tensors, and slices of shared storage as with
                the threads that PyTorch has now. `"cuda"`: as on the meta device, but
                dropout, attention, the optimizer's choice and the slices of shared storage are a
                GPU's; the result then has `allocated_bytes` and `reserved_bytes`, simulated.
            cache: with `device="cuda"`, the process and its allocator (by default `CudaCache()`).

        Raises:
            ValueError: an argument is impossible; the step needs real numbers, where `measure` is
                the way; or it is wrong. The message says what was raised, and where.
        """
        kind = device.type if isinstance(device, torch.device) else device
        checks.choice("device", kind, ("meta", "cpu", "cuda"))
        if cache is not None and (kind != "cuda" or not isinstance(cache, CudaCache)):
            raise ValueError(f"cache is a CudaCache, with device='cuda' only, got {cache!r}")
        failures: dict[str, StepError] = {}
        notes: tuple[str, ...] = ()
        if kind != "cpu" and self.autocast is None:
            try:
                return self._predicted(kind, torch.device("meta"), cache)
            except StepError as failed:
                failures["on the meta device"] = failed
                notes = (f"with fake CPU tensors, since on the meta device: {failed.in_a_line}",)
        elif kind != "cpu":
            notes = ("with fake CPU tensors: autocast casts what it would cast on a CPU",)
        try:
            with _fake_mode() as mode:
                return self._predicted(kind, torch.device("cpu"), cache, mode, notes)
        except StepError as failed:
            failures["with fake tensors"] = failed
        advice = ". If it needs numbers or a real device, measure_memory is the way"
        raise self.refusal(failures, advice) from failures["with fake tensors"].error

    def _predicted(
        self,
        kind: str,
        device: torch.device,
        cache: CudaCache | None,
        mode: FakeTensorMode | None = None,
        notes: tuple[str, ...] = (),
    ) -> MemoryResult:
        tracker, unknown = self._followed(kind, device, mode)
        more: dict[str, Any] = {}
        if kind == "cuda":
            notes = (*notes, *unknown, _LEFT_OUT)
            use = (cache or CudaCache()).play(tracker.trace())
            more = {
                "allocated_bytes": use.allocated_bytes,
                "reserved_bytes": use.reserved_bytes,
                "cache_timeline": use.timeline,
                "out_of_memory": not use.fits,
            }
        return result_of(self, tracker.timeline(), "predicted", kind, notes=notes, **more)

    def trace(self) -> Trace:
        """What the step asks of a GPU's allocator, for `CudaCache.play`; run on the meta device.

        Raises:
            ValueError: it does not run there.
        """
        try:
            return self._followed("cuda", torch.device("meta"))[0].trace()
        except StepError as failed:
            raise self.refusal({"on the meta device": failed}) from failed.error

    def _followed(
        self, kind: str, device: torch.device, mode: FakeTensorMode | None = None
    ) -> tuple[StorageTracker, tuple[str, ...]]:
        """The tracker of a step without data, and what is not known of its kernels."""
        with prepare(self, device, mode) as prepared, contextlib.ExitStack() as kernels:
            if prepared.compiled:
                raise ValueError(
                    "a compiled model cannot be predicted: the compiler plans its memory; "
                    "use measure_memory"
                )
            if kind != "meta" or asked_device() is None:
                kernels.enter_context(asked_about(kind))
            if kind == "cuda":
                kernels.enter_context(cuda_kernels(device))
            if prepared.optimizer is not None:
                if kind == "cuda":
                    choose_foreach(prepared.optimizer)
                prepared.run()  # the optimizer's state is made by the first step
            workspace = kernel_workspace if kind == "cuda" else None
            return prepared.followed(workspace), unknown_kernels(prepared.model)

    def measure(self, device: str | torch.device = "cpu", *, threads: int = 1) -> MemoryResult:
        """Run the step on a device and take its peak from the memory allocator.

        The step runs three times: to warm up, to ask the allocator, and to follow the storages for
        `bytes_by_category` and the timeline. What the allocator handed out beyond the storages is
        `workspace`. On the CPU the allocator's events come from torch's profiler; on CUDA its own
        statistics are used. When the device runs out of memory, the result says so.

        Args:
            device: the CPU or a CUDA device.
            threads: of the CPU. Every thread takes scratch space of its own in convolutions, so
                that only one thread is comparable with a prediction: DenseNet-121's step on two
                images of 96 × 96 pixels takes 0.01 % more than predicted with one thread, 3.5 %
                with two and 4 % with sixteen.

        Raises:
            ValueError: an argument is impossible, or the step raises; the message says what.
        """
        where = checks.device(device)
        threads = checks.integer("threads", threads)
        on_cuda = where.type == "cuda"
        method, name = f"{where.type}-allocator", "CPU"
        on_device = CudaPeak(where) if on_cuda else None
        if on_cuda:
            name = torch.cuda.get_device_name(where)
        more: dict[str, Any] = {"threads": None if on_cuda else threads}
        try:
            with set_threads(threads), prepare(self, where) as prepared:
                prepared.run()  # warm up: the optimizer's state, cached algorithms
                prepared.drop_gradients()
                found = on_device.of_step(prepared) if on_device else cpu_peak(prepared)
                timeline = prepared.followed().timeline()
        except Exception as raised:
            error = raised.error if isinstance(raised, StepError) else raised
            if not is_out_of_memory(error):
                if isinstance(raised, StepError):
                    raise self.refusal(
                        {"on " + (name if on_cuda else "the CPU"): raised}
                    ) from error
                raise
            reached = on_device.reached() if on_device else refused_bytes(error)
        else:
            return result_of(
                self,
                timeline,
                method,
                name,
                found.peak_bytes,
                peak_resident_bytes=found.resident_bytes,
                reserved_bytes=found.reserved_bytes,
                context_bytes=found.context_bytes,
                **more,
            )
        if on_cuda:
            torch.cuda.empty_cache()
        nothing = MemoryPoint(0, "forward", "", (0,) * len(MEMORY_CATEGORIES))
        return result_of(self, (nothing,), method, name, reached, out_of_memory=True, **more)


#: What a simulated allocator does not know of.
_LEFT_OUT = (
    "reserved_bytes is simulated, without the CUDA context (0.3 to 0.8 GiB); of what cuDNN takes "
    "while a kernel runs, only copies in the backward pass of convolutions are counted"
)


def predict_memory(
    model: nn.Module | Factory,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    device: str | torch.device = "meta",
    cache: CudaCache | None = None,
    **options: Any,
) -> MemoryResult:
    """`Step(model, input_shape, **options).predict(device, cache=cache)`.

    >>> mlp = torch.nn.Linear(1000, 1000, bias=False)
    >>> result = predict_memory(mlp, (1, 1000))
    >>> result.bytes_by_category["parameters"], result.peak_bytes >= 8_000_000
    (4000000, True)
    """
    return _step(model, input_shape, options).predict(device, cache=cache)


def measure_memory(
    model: nn.Module | Factory,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    device: str | torch.device = "cpu",
    threads: int = 1,
    **options: Any,
) -> MemoryResult:
    """`Step(model, input_shape, **options).measure(device, threads=threads)`."""
    return _step(model, input_shape, options).measure(device, threads=threads)


def _step(model: Any, input_shape: Any, options: dict[str, Any]) -> Step:
    known = [one.name for one in fields(StepOptions) if one.kw_only and one.init]
    for name in options:
        if name not in known:
            way = ": give what STRATEGIES[…].apply(model) returns" * (name == "strategy")
            raise TypeError(f"options of a step are {', '.join(known)}; got {name!r}{way}")
    return Step(model, input_shape, **options)


@contextlib.contextmanager
def _fake_mode() -> Iterator[FakeTensorMode]:
    """A mode for fake tensors; what fails in it is raised, and need not be logged too."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield FakeTensorMode()
    finally:
        log.setLevel(level)
