"""A GPU's measurements beside predictions: pairs, errors, and what the committed record holds."""

from __future__ import annotations

import pytest

from densenet_solutions.exercises.memory import gpu
from densenet_solutions.exercises.memory.batch_frames import batch_frames
from densenet_solutions.records import load_record

MEASURED = {
    "peak_bytes": 1000, "by_category": {}, "method": "cuda-allocator", "out_of_memory": False,
    "reserved_bytes": 2000, "context_bytes": 5, "resident_bytes": None,
    "free_before_bytes": 9000, "free_after_bytes": 7000, "device_bytes": 10_000,
}  # fmt: skip
PREDICTED = {
    "peak_bytes": 900, "by_category": {}, "allocated_bytes": 990, "reserved_bytes": 2100,
}  # fmt: skip


def test_a_case_is_held_against_its_prediction_and_one_that_ran_out_is_not() -> None:
    name = "book-densenet 224 b1 train float32"
    gone = "book-densenet 224 b8 train float32"
    measured = {name: MEASURED, gone: MEASURED | {"out_of_memory": True}}
    [row] = gpu.held(measured, {name: PREDICTED, gone: PREDICTED})
    assert row.case.name == name
    assert row.tensor_error == pytest.approx(-0.1)
    assert row.allocated_error == pytest.approx(-0.01)
    assert row.reserved_error == pytest.approx(0.05)
    assert row.taken_bytes == 3000


def test_a_case_with_benchmark_has_the_prediction_of_the_case_without() -> None:
    name = "book-densenet 224 b8 train float32"
    [row] = gpu.held({f"{name} benchmark": MEASURED}, {name: PREDICTED})
    assert row.case.benchmark


def test_what_a_gpu_allocates_is_predicted_within_three_percent_above_a_gibibyte() -> None:
    """The bar for training in float32, on a recording that the predictor has never seen."""
    rows = gpu.held(load_record("memory-grid").cases, load_record("memory-grid-predicted").cases)
    large = [
        row for row in rows
        if row.case.train and not row.case.autocast and row.measured.peak_bytes > 2**30
    ]  # fmt: skip
    assert len(large) > 40
    assert max(abs(row.allocated_error) for row in large) < 0.03


def test_frames_say_who_holds_more_at_every_batch() -> None:
    rows = gpu.held(load_record("memory-grid").cases, load_record("memory-grid-predicted").cases)
    networks = {
        name: {
            row.case.batch: row
            for row in rows
            if row.case.network == key and row.case.alone and not row.case.benchmark
        }
        for name, key in (("DenseNet", "book-densenet"), ("ResNet-18", "book-resnet18"))
    }
    html = batch_frames(networks).html
    assert "ResNet-18 holds more: 102 MiB against 35 MiB" in html
    assert "DenseNet holds more: 4,006 MiB against 2,640 MiB" in html
    assert html.count('data-label="') == 6
