"""A GPU's measurements beside predictions: pairs, errors, and what the committed record holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from densenet_solutions.exercises.memory import gpu
from densenet_solutions.records import load_record
from densenet_solutions.records.store import Made, Provenance, Record

MEASURED = {
    "peak_bytes": 1000, "by_category": {"workspace": 60}, "method": "cuda-allocator",
    "out_of_memory": False, "reserved_bytes": 2000, "context_bytes": 5, "resident_bytes": None,
    "free_before_bytes": 9000, "free_after_bytes": 7000, "device_bytes": 10_000,
}  # fmt: skip
PREDICTED = {
    "peak_bytes": 900, "by_category": {}, "allocated_bytes": 990, "reserved_bytes": 2100,
}  # fmt: skip


def record(cases: Mapping[str, Any], made: Mapping[str, Made] | None = None) -> Record:
    there = Provenance("1.0", "3.12", {}, "NVIDIA H100 80GB HBM3", "Linux")
    one = Made(("files.py",), "x", "2026-01-01")
    return Record("grid", "x", there, None, cases, made or dict.fromkeys(cases, one))


def test_a_case_is_held_against_its_prediction_and_one_that_ran_out_is_not() -> None:
    name = "book-densenet 224 b1 train float32"
    gone = "book-densenet 224 b8 train float32"
    measured = {name: MEASURED, gone: MEASURED | {"out_of_memory": True}}
    [row] = gpu.held(record(measured), {name: PREDICTED, gone: PREDICTED})
    assert (row.case.name, row.gpu) == (name, "H100")
    assert (row.workspace, row.followed_bytes) == (60, 940)
    assert row.tensor_error == pytest.approx(-0.1)
    assert row.allocated_error == pytest.approx(-0.01)
    assert row.reserved_error == pytest.approx(0.05)
    assert row.taken_bytes == 3000


def test_what_two_occasions_differ_by() -> None:
    both, once = "book-densenet 224 b8 train float32", "book-densenet 224 b32 train float32"
    more = MEASURED | {"peak_bytes": 1003, "reserved_bytes": 1500}
    [row] = gpu.twice(record({both: MEASURED, once: MEASURED}), record({both: more}))
    assert (row.case.name, row.gpus) == (both, ("H100", "H100"))
    assert (row.allocated_more, row.reserved_more) == (3, -500)


def test_a_process_begins_with_what_is_earliest_on_the_records_own_device() -> None:
    def made(date: str, device: str | None = None) -> Made:
        return Made(("files.py",), "x", date, None, device)

    alone = {
        "book-densenet 224 b1 train float32": made("2"),
        "book-densenet 224 b8 train float32": made("3"),
    }
    beside = {
        "book-densenet 96 b1 train float32": made("5"),
        "book-densenet 96 b8 train float32": made("5"),
        "book-densenet 96 b32 train float32": made("6"),
        "book-densenet 96 b64 train float32": made("1", "NVIDIA H200"),
    }
    dates = alone | beside
    assert gpu.begun_with(record(dict.fromkeys(dates, MEASURED), dates)) == {
        "book-densenet 224 b1 train float32",
        "book-densenet 96 b1 train float32",
        "book-densenet 96 b8 train float32",
    }


def test_a_first_step_holds_the_workspaces_of_two_threads() -> None:
    """Of 7 cases that may have been first, by their whole seconds, two hold less than 64 MiB."""
    grid = load_record("memory-grid")
    rows = gpu.held(grid, load_record("memory-grid-predicted").cases)
    less = {f"book-densenet 96 b{batch} train float32" for batch in (64, 256)}
    assert gpu.begun_with(grid) - gpu.first_steps(rows, grid) == less
    assert len(gpu.first_steps(rows, grid)) == 5
    for name in less:
        assert grid.cases[name]["by_category"]["workspace"] < 2 * 32 * 2**20


@pytest.mark.parametrize("card", ["H100", "H200"])
def test_what_a_gpu_allocates_is_predicted_within_three_percent_above_a_gibibyte(card: str) -> None:
    """The bar for training in float32, on two cards that the predictor has never seen."""
    rows = gpu.held(load_record("memory-grid"), load_record("memory-grid-predicted").cases)
    large = [
        row for row in rows
        if row.gpu == card and row.case.train and not row.case.autocast
        and row.measured.peak_bytes > 2**30
    ]  # fmt: skip
    assert len(large) > 10
    assert max(abs(row.allocated_error) for row in large) < 0.03
