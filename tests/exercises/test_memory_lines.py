"""The book's networks by batch and resolution, and the figure with two sliders that shows them."""

from __future__ import annotations

from typing import Any

import pytest
from bs4 import BeautifulSoup

from densenet_solutions.exercises.memory import lines, study
from densenet_solutions.exercises.memory.batch_frames import batch_frames
from densenet_solutions.records import load_record


@pytest.fixture(scope="module")
def by_side() -> dict[int, dict[str, lines.Peaks]]:
    return lines.read(load_record("memory-lines").cases)


def test_what_is_in_both_records_is_the_same(by_side: dict[int, dict[str, lines.Peaks]]) -> None:
    grid = load_record("memory-grid-predicted").cases
    seen = 0
    for side, networks in by_side.items():
        for name, found in networks.items():
            for batch, held, reserved in zip(
                found.batches, found.held, found.reserved, strict=True
            ):
                case = grid.get(f"{lines.NETWORKS[name]} {side} b{batch} train float32")
                if case is not None:
                    assert (held, reserved) == (case["peak_bytes"], case["reserved_bytes"])
                    seen += 1
    assert seen == 2 * 2 * 6


def test_a_line_meets_the_two_largest_batches(by_side: dict[int, dict[str, lines.Peaks]]) -> None:
    found = by_side[160]["DenseNet"]
    fixed, per_image = found.line
    for batch, held in list(zip(found.batches, found.held, strict=True))[-2:]:
        assert fixed + batch * per_image == pytest.approx(held, abs=1)
    assert fixed == pytest.approx(4 * 758_226, rel=0.03)  # parameters, and a little


@pytest.mark.parametrize("side", [96, 224])
def test_the_lines_cross_where_predictions_say(
    by_side: dict[int, dict[str, lines.Peaks]], side: int
) -> None:
    below, above = lines.crossed(by_side[side], "held")
    assert below < study.crossing(side) <= above


@pytest.mark.parametrize("reserved", [(3, 4, 5), (1, 2, 3), (1, 6, 3)])
def test_what_does_not_cross_once_is_refused(reserved: tuple[int, ...]) -> None:
    def row(values: tuple[int, ...]) -> lines.Peaks:
        return lines.Peaks(batches=(1, 2, 4), held=(), fixed=(), reserved=values)

    with pytest.raises(ValueError, match="cross once, DenseNet's from below, got"):
        lines.crossed({"DenseNet": row(reserved), "ResNet-18": row((2, 3, 4))}, "reserved")


def test_frames_say_who_holds_and_who_reserves_more(by_side: dict[int, Any]) -> None:
    asked = ("DenseNet", 224, 128), ("ResNet-18", 224, 128)
    measured = dict(zip(asked, (5570 * 2**20, 4342 * 2**20), strict=True))
    figure = batch_frames(by_side, measured, gpu="H100", begun={asked[0]}).html
    items = BeautifulSoup(figure, "html.parser").select("ol > li")
    said = {item["data-label"]: item.p.text for item in items}
    assert len(said) == len(lines.SIDES) * len(lines.BATCHES)
    one, many = said["1 image of 224 × 224"], said["128 images of 224 × 224"]
    assert "ResNet-18 holds more: 102 MiB against 35 MiB" in one
    assert "ResNet-18 reserves more, simulated." in one
    assert "DenseNet holds more: 4,006 MiB against 2,640 MiB" in many
    assert "DenseNet reserves more, simulated and measured." in many
    assert "DenseNet's was probably measured in the first step of a process." in many
    assert "first step" not in one
    drawn = {item["data-label"]: item.svg.text for item in items}
    assert "reserved: 5,636 MiB simulated, 5,570 MiB measured" in drawn["128 images of 224 × 224"]
    measured_marks = [label for label, text in drawn.items() if "MiB measured" in text]
    assert measured_marks == ["128 images of 224 × 224"]
    alts = [item.svg["aria-label"] for item in items]
    assert len(set(alts)) == len(alts)
    alt = alts[-2]
    assert "ResNet-18, reserved: 4,338 MiB simulated, 4,342 MiB measured" in alt
    first = [item["data-label"] for item in items if "ds-frame-now" in item["class"]]
    assert first == ["128 images of 224 × 224"]


def test_a_measurement_may_say_otherwise_than_the_simulation(by_side: dict[int, Any]) -> None:
    measured = {("DenseNet", 224, 1): 120 * 2**20, ("ResNet-18", 224, 1): 118 * 2**20}
    html = batch_frames(by_side, measured, gpu="H100").html
    assert "ResNet-18 reserves more as simulated, DenseNet as measured." in html
