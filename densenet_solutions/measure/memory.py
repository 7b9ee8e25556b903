"""What is said of the memory of one training step or inference, predicted or measured."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from densenet_solutions import checks
from densenet_solutions.measure.options import StepOptions
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES, MemoryPoint


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
      of kernels and, on CUDA, rounding and, measured first in a process, what PyTorch keeps for
      cuBLAS from then on (65 MiB on an H200). A prediction knows none of it.

    `method` is `"predicted"`, `"cpu-allocator"` or `"cuda-allocator"`. `peak_resident_bytes` is the
    process's peak resident memory during the step (Linux), which includes the interpreter, the
    libraries and their own scratch space. `threads` is how many the CPU worked with: each takes
    scratch space of its own in convolutions. On CUDA, `reserved_bytes` is what the caching
    allocator held at its peak and `context_bytes` what the device lost besides, to other processes
    too. Predicted for CUDA, `allocated_bytes` (what the allocator hands out: sizes rounded, and
    cuBLAS's workspace) and `reserved_bytes` are simulated; `cache_timeline` has both before the
    step and after each operation. With
    `out_of_memory` the step was cut short (a predicted one would have been), and `peak_bytes` is
    only a lower bound: what was reached on CUDA, what was asked for in vain on the CPU.

    `input_shapes` has one shape for each input. `notes` say what was done otherwise than asked.
    """

    peak_bytes: int
    bytes_by_category: Mapping[str, int]
    timeline: tuple[MemoryPoint, ...] = field(repr=False)  # thousands of points
    method: str
    device: str
    dtype: str
    autocast: str | None
    input_shapes: tuple[tuple[int, ...], ...]
    train: bool
    optimizer: str | None
    packages: Mapping[str, str]
    peak_resident_bytes: int | None = None
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    context_bytes: int | None = None
    threads: int | None = None
    out_of_memory: bool = False
    notes: tuple[str, ...] = ()
    cache_timeline: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @property
    def peak_beyond_parameters(self) -> int:
        """The peak without parameters, buffers and input: what the step itself needs."""
        resident = ("parameters", "buffers", "input")
        return self.peak_bytes - sum(self.bytes_by_category[name] for name in resident)

    def most(self, category: str) -> int:
        """Most bytes of one category at any time of the step, its peak or not.

        Raises:
            ValueError: there is no such category.
        """
        index = MEMORY_CATEGORIES.index(checks.choice("category", category, MEMORY_CATEGORIES))
        return max(point.by_category[index] for point in self.timeline)


def result_of(
    options: StepOptions,
    timeline: tuple[MemoryPoint, ...],
    method: str,
    device: str,
    peak_bytes: int | None = None,
    **more: Any,
) -> MemoryResult:
    """The result of a step with this timeline; what the peak has beyond it is `workspace`."""
    at_peak = max(timeline, key=lambda point: point.bytes)
    by_category = dict(zip(MEMORY_CATEGORIES, at_peak.by_category, strict=True))
    peak_bytes = at_peak.bytes if peak_bytes is None else peak_bytes
    by_category["workspace"] += peak_bytes - at_peak.bytes
    return MemoryResult(
        peak_bytes=peak_bytes,
        bytes_by_category=by_category,
        timeline=timeline,
        method=method,
        device=device,
        dtype=str(options.dtype).removeprefix("torch."),
        autocast=None if options.autocast is None else str(options.autocast).removeprefix("torch."),
        input_shapes=options.shapes,
        train=options.train,
        optimizer=options.optimizer_name,
        packages={"torch": importlib.metadata.version("torch")},
        **more,
    )
