"""Pictures of the network's mechanisms show what was computed."""

import re

import pytest
from bs4 import BeautifulSoup

from densenet_solutions.exercises.network.ledger import Ledger, ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames


@pytest.fixture(scope="module")
def both() -> list[Ledger]:
    return [ledger("plain"), ledger("shared_storage")]


@pytest.fixture(scope="module")
def soup(both: list[Ledger]) -> BeautifulSoup:
    return BeautifulSoup(ledger_frames(both).html, "html.parser")


def test_there_is_a_frame_for_each_moment(soup: BeautifulSoup, both: list[Ledger]) -> None:
    assert len(soup.select("li")) == len(both[0].moments) == 11


def test_the_turn_shows_both_numbers(soup: BeautifulSoup) -> None:
    turn = next(item for item in soup.select("li") if item["data-label"] == "the turn")
    for drawing in turn.select(".ds-wide svg, .ds-narrow svg"):
        assert "896 channels · 85.8 MiB" in drawing.text
        assert "192 channels · 18.4 MiB" in drawing.text
    assert "plain 896 and shared storage 192" in turn.p.text


def test_slabs_are_as_wide_as_their_tensors(soup: BeautifulSoup, both: list[Ledger]) -> None:
    """All green of the plain pile at the turn, measured in the drawing, is 896 channels."""
    turn = next(item for item in soup.select("li") if item["data-label"] == "the turn")
    drawing = turn.select_one(".ds-wide svg")
    slabs = [
        rect
        for rect in drawing.select("rect")
        if float(rect["height"]) == 15 and "--ds-activations" in rect["style"]
    ]
    left = [float(rect["width"]) for rect in slabs if float(rect["x"]) < 300]
    right = [float(rect["width"]) for rect in slabs if float(rect["x"]) >= 300]
    assert len(left) == 8
    assert sum(left) / sum(right) == pytest.approx(896 / 192, rel=0.01)


def test_x0_is_repeated_in_every_copy(soup: BeautifulSoup) -> None:
    turn = next(item for item in soup.select("li") if item["data-label"] == "the turn")
    words = [text.text for text in turn.select(".ds-wide svg text")]
    assert words.count("x₀") == 1 + 8 + 1 + 1  # the way, the kept, the output, the buffer


def test_text_keeps_inside_its_drawing(soup: BeautifulSoup) -> None:
    for drawing in soup.select("svg"):
        width = float(drawing["viewbox"].split()[2])
        for text in drawing.select("text"):
            size = float(re.search(r"font-size:([\d.]+)", text["style"])[1])
            reach = float(text["x"]) + (
                0 if text.get("text-anchor") else 0.45 * size * len(text.text)
            )
            assert reach <= width + 1, text


def test_ledgers_of_different_blocks_do_not_stand_side_by_side(both: list[Ledger]) -> None:
    with pytest.raises(ValueError, match="of one block"):
        ledger_frames([both[0], ledger("shared_storage", num_layers=3)])
    with pytest.raises(ValueError, match="same moments"):
        ledger_frames([both[0], ledger("recompute_block")])
