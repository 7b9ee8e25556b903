"""Steps in a process of their own, as a reader's GPU would report them."""

from __future__ import annotations

import pytest
import torch

from densenet_solutions.exercises.memory import own_process
from densenet_solutions.exercises.memory.own_process import OwnProcessCase, Printed

CASE = OwnProcessCase("book-densenet", 2)


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """There is no GPU here: what its allocator would answer is replaced, and the order noted."""
    asked: list[str] = []

    def answers(name: str, *values: int | None) -> None:
        left = iter(values)

        def answer(*_: object) -> int | None:
            asked.append(name)
            return next(left)

        monkeypatch.setattr(torch.cuda, name, answer)

    answers("synchronize", None)
    answers("memory_allocated", 900, 700)
    answers("max_memory_allocated", 5000)
    answers("max_memory_reserved", 6000)
    monkeypatch.setattr(own_process, "clear_cublas_workspaces", lambda: asked.append("clear"))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    return asked


@pytest.mark.parametrize("benchmark", [True, False])
def test_cublas_is_what_comes_back_when_its_workspaces_go(
    allocator: list[str], benchmark: bool
) -> None:
    found = own_process.steps(CASE, "cpu", benchmark)
    assert found == Printed(allocated_bytes=5000, reserved_bytes=6000, cublas_bytes=200)
    assert allocator[:4] == ["synchronize", "memory_allocated", "clear", "max_memory_allocated"]
    assert torch.backends.cudnn.benchmark is benchmark


def test_both_modes_have_a_process_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(case: OwnProcessCase, device: str, benchmark: bool) -> tuple[object, ...]:
        return case, device, benchmark

    monkeypatch.setattr(own_process, "_in_a_new_process", steps)
    found = own_process.measure(CASE, "cuda:0")
    assert (found.plain, found.benchmark) == ((CASE, "cuda:0", False), (CASE, "cuda:0", True))
    with pytest.raises(ValueError, match=r"use --device cuda, got 'cpu'"):
        own_process.measure(CASE, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_new_process_says_what_went_wrong_in_it() -> None:
    with pytest.raises((RuntimeError, AssertionError), match=r"NVIDIA|CUDA"):
        own_process._in_a_new_process(CASE, "cpu", False)
