"""Ask the allocators themselves: the CPU's through the profiler's events, CUDA's statistics."""

from __future__ import annotations

import contextlib
import gc
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from densenet_solutions.measure.prepared import PreparedStep
from densenet_solutions.measure.torch_private import storage_key


@dataclass(frozen=True)
class AllocatorPeak:
    """Bytes of one step as an allocator saw them; see `MemoryResult` for the fields."""

    peak_bytes: int
    resident_bytes: int | None = None
    reserved_bytes: int | None = None
    context_bytes: int | None = None


def cpu_peak(prepared: PreparedStep) -> AllocatorPeak:
    """Peak of torch's CPU allocator: what was there beforehand, plus the sum of its events.

    Memory that libraries take from the operating system by themselves does not pass through this
    allocator; the resident memory of the process shows it, and the interpreter with it.
    """
    resident = {
        storage_key(tensor.untyped_storage()): tensor.untyped_storage().nbytes()
        for tensors in prepared.resident().values()
        for tensor in tensors
    }
    watch = ResidentMemory()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler writes to standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as prof:
        prepared.run()
    resident_bytes = watch.peak()
    prepared.drop_gradients()
    results = prof.profiler
    assert results is not None
    assert results.kineto_results is not None
    events = [
        (event.start_ns(), event.nbytes())
        for event in results.kineto_results.events()
        if event.name() == "[memory]" and event.device_type() == torch.autograd.DeviceType.CPU
    ]
    now = peak = 0
    for _, change in sorted(events, key=lambda event: event[0]):
        now += change
        peak = max(peak, now)
    return AllocatorPeak(sum(resident.values()) + peak, resident_bytes)


class CudaPeak:
    """What the CUDA caching allocator hands out from now on: make it before the model is there.

    What lives on the device already is the caller's; it is left out of every number.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()  # or what dies by itself during the step would be counted as negative
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        self.allocated = torch.cuda.memory_allocated(device)
        self.reserved = torch.cuda.memory_reserved(device)
        torch.cuda.reset_peak_memory_stats(device)

    def reached(self) -> int:
        """Peak so far, in bytes."""
        return torch.cuda.max_memory_allocated(self.device) - self.allocated

    def of_step(self, prepared: PreparedStep) -> AllocatorPeak:
        """Peak of one step, and what the device has lost besides, to other processes too."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        prepared.run()
        torch.cuda.synchronize(self.device)
        reserved = torch.cuda.max_memory_reserved(self.device) - self.reserved
        free, total = torch.cuda.mem_get_info(self.device)
        context = total - free - torch.cuda.memory_reserved(self.device)
        prepared.drop_gradients()
        return AllocatorPeak(self.reached(), reserved_bytes=reserved, context_bytes=context)


#: How torch words a refusal of memory: on the CPU (Linux, Windows), and by C++ and CUDA libraries.
_REFUSALS = re.compile(
    r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|alloc_cpu\.cpp.*allocate memory"
    r"|std::bad_alloc|CUDA (?:error: )?out of memory|CUBLAS_STATUS_ALLOC_FAILED"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, the CPU included, had no more memory to give."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _REFUSALS.search(str(error)) is not None


def refused_bytes(error: BaseException) -> int:
    """Bytes that the CPU's allocator was asked for in vain; 0 if the error does not say it."""
    asked = re.search(r"you tried to allocate (\d+) bytes", str(error))
    return int(asked[1]) if asked else 0


class ResidentMemory:
    """Peak resident memory of this process since the object was made; `None` where unknown."""

    def __init__(self) -> None:
        self.known = False
        with contextlib.suppress(OSError):  # 5 resets the high-water mark; see proc(5)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self.known = True

    def peak(self) -> int | None:
        with contextlib.suppress(OSError):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            if self.known and (match := re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)):
                return int(match[1]) * 1024
        return None
