"""The grid that a GPU records: what each case asks the instruments, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from densenet_solutions.exercises.memory import grid, times
from densenet_solutions.exercises.memory.grid import GridCase

CASE = GridCase("book-densenet", 64, 2)


def test_a_case_on_the_cpu_is_as_predicted() -> None:
    measured = grid.measure_case(CASE, "cpu")
    predicted = grid.predict_case(CASE, "cpu")
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert measured.method == "cpu-allocator"
    assert (measured.reserved_bytes, measured.free_before_bytes) == (None, None)
    assert predicted.reserved_bytes > predicted.peak_bytes


def test_only_a_case_that_is_alone_asks_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU here: what it would answer is replaced."""
    free = iter([900, 700])
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(cuda, "mem_get_info", lambda device: (next(free, None), 1000))
    predict = grid.predict_memory
    monkeypatch.setattr(grid, "measure_memory", lambda device, **asked: predict(**asked))
    alone = grid.measure_case(GridCase("book-densenet", 224, 1), "cuda")
    assert (alone.free_before_bytes, alone.free_after_bytes, alone.device_bytes) == (900, 700, 1000)
    for beside in (
        grid.measure_case(CASE, "cuda"),
        grid.measure_beside_others(GridCase("book-densenet", 224, 1), "cuda"),
    ):
        assert (beside.free_before_bytes, beside.free_after_bytes) == (None, None)


def test_every_measured_case_is_predicted_and_no_name_comes_twice() -> None:
    cases = grid.grid()
    names = [case.name for case in cases]
    assert len(set(names)) == len(names) == 10 * 2 * 6 * 4
    assert names == list(grid.predicted_recipe().cases)
    again = grid.again_recipe().cases
    assert set(again) < set(names)
    assert len(again) == 10 * 3 * 4


def test_times_of_networks_in_turn() -> None:
    case = times.TimedCase(("book-densenet", "book-resnet18"), 64, 1, autocast=False)
    seconds = times.time_case(case, "cpu")
    assert list(seconds) == list(case.networks)
    assert all(len(rounds) == times.REPEATS for rounds in seconds.values() if rounds)


def test_what_does_not_fit_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    step = times._step

    def fails() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def steps(model: Any, shape: Any, case: Any, device: str) -> Callable[[], None]:
        return fails if shape[1] == 3 else step(model, shape, case, device)

    monkeypatch.setattr(times, "_step", steps)
    case = times.TimedCase(("densenet121", "book-densenet"), 64, 1, autocast=False)
    seconds = times.time_case(case, "cpu")
    assert seconds["densenet121"] is None
    assert seconds["book-densenet"]
