"""Ask the allocators themselves: the CPU's through the profiler's events, CUDA's statistics."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from densenet_solutions.measure.step import PreparedStep


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
    resident = [
        *prepared.model.parameters(),
        *prepared.model.buffers(),
        prepared.inputs,
        prepared.targets,
        *prepared.optimizer_state(),
    ]
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in resident}
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
    return AllocatorPeak(sum(storages.values()) + peak, resident_bytes)


def cuda_peak(prepared: PreparedStep) -> AllocatorPeak:
    """Peak of the CUDA caching allocator, and what the device has lost besides."""
    device = prepared.device
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    prepared.run()
    torch.cuda.synchronize(device)
    reserved = torch.cuda.max_memory_reserved(device)
    free, total = torch.cuda.mem_get_info(device)
    context = total - free - torch.cuda.memory_reserved(device)
    prepared.drop_gradients()
    return AllocatorPeak(
        torch.cuda.max_memory_allocated(device),
        reserved_bytes=reserved,
        context_bytes=context,
    )


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
