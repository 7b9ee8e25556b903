"""The grid that a GPU records: what each case asks the instruments, and what runs out of memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from densenet_solutions.exercises.memory import grid
from densenet_solutions.exercises.memory.grid import GridCase

CASE = GridCase("book-densenet", 64, 2, train=True, autocast=False)


def test_a_case_on_the_cpu() -> None:
    result = grid.measure_case(CASE, "cpu")
    assert result.predicted_bytes == pytest.approx(result.measured_bytes, rel=0.01)
    assert (result.reserved_bytes, result.predicted_reserved_bytes) == (None, None)
    assert result.step_seconds is not None


def test_a_gpu_is_predicted_as_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none here: what it would measure is replaced by the prediction for the CPU."""
    asked: list[str] = []

    def measured(*arguments: Any, device: str, **options: Any) -> Any:
        asked.append(device)
        return grid.predict_memory(*arguments, **options)

    monkeypatch.setattr(grid, "measure_memory", measured)
    monkeypatch.setattr(grid, "_step_seconds", lambda *arguments: 1.0)
    result = grid.measure_case(CASE, "cuda")
    assert asked == ["cuda"]
    assert result.predicted_reserved_bytes is not None
    assert result.predicted_reserved_bytes > result.predicted_bytes


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), None),
        (RuntimeError("[…] DefaultCPUAllocator: can't allocate memory: you tried […]"), None),
        (RuntimeError("something else"), RuntimeError),
    ],
)
def test_timing_may_run_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception] | None
) -> None:
    def fails(*arguments: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(grid, "time_interleaved", fails)
    if expected is None:
        assert grid.measure_case(CASE, "cpu").step_seconds is None
    else:
        with pytest.raises(expected, match="something else"):
            grid.measure_case(CASE, "cpu")
