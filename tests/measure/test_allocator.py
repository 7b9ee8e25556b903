"""What the allocators are asked, and when; CUDA's statistics are those of a small fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from densenet_solutions.measure import allocator, measure_memory
from densenet_solutions.measure.allocator import CudaPeak, is_out_of_memory
from densenet_solutions.measure.options import StepOptions
from densenet_solutions.measure.prepared import prepare

MIB = 2**20
DEVICE = torch.device("cuda", 0)


class FakeCuda:
    """Statistics as `torch.cuda` keeps them: current and peak, allocated and reserved."""

    def __init__(self) -> None:
        self.allocated = self.peak = self.reserved = self.peak_reserved = 0
        self.calls: list[str] = []

    def allocate(self, size: int) -> None:
        self.allocated += size
        self.reserved = max(self.reserved, self.allocated)
        self.peak = max(self.peak, self.allocated)
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def free(self, size: int) -> None:
        self.allocated -= size

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self.calls.append("reset")
        self.peak, self.peak_reserved = self.allocated, self.reserved

    def empty_cache(self) -> None:
        self.reserved = self.allocated

    def replace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers: dict[str, Callable[..., Any]] = {
            "synchronize": lambda device=None: None,
            "empty_cache": self.empty_cache,
            "reset_peak_memory_stats": self.reset_peak_memory_stats,
            "memory_allocated": lambda device=None: self.allocated,
            "max_memory_allocated": lambda device=None: self.peak,
            "memory_reserved": lambda device=None: self.reserved,
            "max_memory_reserved": lambda device=None: self.peak_reserved,
            "mem_get_info": lambda device=None: (10_000 * MIB - self.reserved, 10_500 * MIB),
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "get_device_name": lambda device=None: "a fake GPU",
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """The model runs on the CPU; its steps tell the fake what they would have allocated."""
    fake = FakeCuda()
    fake.replace(monkeypatch)
    real = prepare

    def on_the_cpu(options: StepOptions, device: torch.device, mode: Any = None) -> Any:
        fake.calls.append("prepare")
        return real(options, torch.device("cpu"), mode)

    monkeypatch.setattr("densenet_solutions.measure.step.prepare", on_the_cpu)
    return fake


def linear() -> nn.Module:
    return nn.Linear(3, 2)


def test_what_others_hold_is_not_counted(cuda: FakeCuda) -> None:
    """Version 1.0 counted the caller's tensors as the step's workspace."""
    cuda.allocate(700 * MIB)

    def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        cuda.allocate(50 * MIB)
        cuda.free(50 * MIB)

    result = measure_memory(linear, (4, 3), device="cuda", step=step)
    assert result.peak_bytes == result.reserved_bytes == 50 * MIB
    assert result.context_bytes == 500 * MIB
    assert (result.method, result.device, result.threads) == ("cuda-allocator", "a fake GPU", None)
    assert not result.out_of_memory


def test_the_peak_is_the_steps_and_not_the_warm_ups(cuda: FakeCuda) -> None:
    sizes = iter([900 * MIB, 50 * MIB, 60 * MIB])  # warm-up, measured, followed

    def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        size = next(sizes)
        cuda.allocate(size)
        cuda.free(size)

    result = measure_memory(linear, (4, 3), device="cuda", step=step)
    assert result.peak_bytes == result.reserved_bytes == 50 * MIB


@pytest.mark.parametrize("dies_in", [1, 2, 3])
def test_out_of_memory_says_how_far_it_came(cuda: FakeCuda, dies_in: int) -> None:
    """In version 1.0 a step that died in its warm-up had the peak of the step before."""
    cuda.allocate(9000 * MIB)
    cuda.free(8000 * MIB)  # the peak of an earlier case, and what the caller still holds
    runs = 0

    def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        nonlocal runs
        runs += 1
        cuda.allocate(40 * MIB)
        if runs == dies_in:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        cuda.free(40 * MIB)

    result = measure_memory(linear, (4, 3), device="cuda", step=step)
    assert result.out_of_memory
    assert result.peak_bytes == 40 * MIB
    assert result.bytes_by_category["workspace"] == 40 * MIB


def test_statistics_are_reset_before_the_model_is_there(cuda: FakeCuda) -> None:
    measure_memory(linear, (4, 3), device="cuda")
    assert cuda.calls[:2] == ["reset", "prepare"]


def test_one_model_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is built on the CPU and copied over, so at no time are there two."""
    built: list[torch.device] = []

    class Noted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            built.append(self.weight.device)

    moved: list[torch.device] = []

    def renewer(dtype: torch.dtype, device: torch.device, mode: Any) -> Callable[[Tensor], Tensor]:
        moved.append(device)
        return lambda tensor: tensor.clone()

    monkeypatch.setattr("densenet_solutions.measure.prepared._renewer", renewer)
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: torch.no_grad())
    real = torch.zeros

    def zeros(*size: Any, device: Any, **options: Any) -> Tensor:
        moved.append(device)
        return real(*size, **options)

    monkeypatch.setattr(torch, "zeros", zeros)
    with prepare(StepOptions(Noted, (4, 3)), DEVICE) as prepared:
        assert prepared.device == DEVICE
    assert [device.type for device in built] == ["cpu"]
    assert set(moved) == {DEVICE}


def test_reached_is_relative(cuda: FakeCuda) -> None:
    cuda.allocate(100)
    peak = CudaPeak(DEVICE)
    cuda.allocate(30)
    cuda.free(30)
    assert peak.reached() == 30


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_other_errors_are_told(cuda: FakeCuda, device: str) -> None:
    def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        raise RuntimeError("something else")

    name = {"cpu": "the CPU", "cuda": "a fake GPU"}[device]
    with pytest.raises(ValueError, match=f"raised on {name}: RuntimeError: something else"):
        measure_memory(linear, (4, 3), device=device, step=step)


def test_a_cpu_runs_out_of_memory_too() -> None:
    """Ten to the ninth images of 224 × 224 take 602 TB: more than an address space has."""
    result = measure_memory(nn.Conv2d(3, 1, 1), (10**9, 3, 224, 224))
    assert result.out_of_memory
    assert result.peak_bytes == 4 * 10**9 * 3 * 224 * 224


def test_the_step_runs_out_of_memory_on_a_cpu() -> None:
    def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        torch.empty(2**50, dtype=torch.uint8)

    result = measure_memory(linear, (4, 3), step=step)
    assert result.out_of_memory
    assert result.peak_bytes == 2**50


def refusals() -> Iterator[tuple[BaseException, bool]]:
    try:
        torch.empty(2**60, dtype=torch.uint8)
    except RuntimeError as error:
        yield error, True
    yield torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), True
    yield MemoryError(), True
    yield RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …"), True
    yield RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True
    yield RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: not enough "
                       "memory: you tried to allocate 9 bytes."), True  # fmt: skip
    yield RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False
    yield RuntimeError("this model is out of memory of its youth"), False
    yield ValueError("CUDA out of memory"), False
    yield KeyError("memory"), False


@pytest.mark.parametrize(("error", "expected"), list(refusals()))
def test_which_errors_say_that_memory_ran_out(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_bytes_that_were_refused() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert allocator.refused_bytes(caught.value) == 2**60
    assert allocator.refused_bytes(RuntimeError("no number")) == 0
