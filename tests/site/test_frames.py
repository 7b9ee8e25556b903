"""Drawings and sequences of frames: what is written, without a browser."""

import re

import pytest
from bs4 import BeautifulSoup

from densenet_solutions.site.draw import SMALLEST, Board
from densenet_solutions.site.figures import colour
from densenet_solutions.site.frames import Frame, figure, frames

ALT = "Two boxes stand beside each other."


def board(width: float = 300, words: str = "a < b") -> Board:
    drawing = Board(width, 80)
    drawing.box(10, 10, 40, 20, "activations", stroke="ink", dashed=True)
    drawing.line((60, 20), (90, 20), arrow=True)
    drawing.curve((0, 0), (5, 9), (10, 0), arrow=True)
    drawing.circle(40, 60, 5, "gradients")
    drawing.text(100, 20, words, size=12)
    return drawing


def sequence(count: int = 3) -> list[Frame]:
    return [
        Frame(f"step {i}", f"At step {i} there are {i} of them.", board(640), board(), key=i == 1)
        for i in range(count)
    ]


def test_text_stays_text_and_is_escaped() -> None:
    soup = BeautifulSoup(board().svg(ALT), "html.parser")
    assert soup.text.strip() == "a < b"
    assert soup.svg["aria-label"] == ALT
    assert soup.svg["viewbox"] == "0 0 300 80"


def test_an_arrow_ends_in_its_tip() -> None:
    drawing = Board(100, 100)
    drawing.line((10, 50), (10, 90), arrow=True)
    head = re.findall(r'd="M([\d. L]+)Z"', drawing.svg(ALT))[0]
    corners = {tuple(map(float, point.split())) for point in head.split("L")}
    assert corners == {(10, 90), (6.5, 83), (13.5, 83)}


def test_colours_are_variables_with_a_colour_behind() -> None:
    styles = re.findall(r'style="([^"]+)"', board().svg(ALT))
    used = [value for style in styles for value in re.findall(r"(?:fill|stroke):([^;]+)", style)]
    assert used
    assert all(re.fullmatch(r"none|var\(--ds-[a-z]+,#[0-9a-f]{6}\)", value) for value in used)


def test_frames_are_the_same_bytes_again_and_one_is_shown() -> None:
    html = frames(sequence(), name="Steps", start=2).html
    assert html == frames(sequence(), name="Steps", start=2).html
    soup = BeautifulSoup(html, "html.parser")
    items = soup.select("ol > li")
    assert [item.has_attr("hidden") for item in items] == [True, False, True]  # key frames stand
    assert [item["data-label"] for item in items] == ["step 0", "step 1", "step 2"]
    assert [i for i, item in enumerate(items) if "ds-frame-now" in item["class"]] == [2]
    slider = soup.select_one("input[type=range]")
    assert (slider["max"], slider["value"], slider["aria-valuetext"]) == ("2", "2", "step 2")
    assert soup.select_one("label")["for"] == slider["id"]
    assert len(items[0].select(".ds-wide svg, .ds-narrow[hidden] svg")) == 2


def test_rows_of_frames_have_two_sliders() -> None:
    html = frames(sequence(6), name="Steps", start=4, columns=3, sliders=("Images", "Pixels")).html
    soup = BeautifulSoup(html, "html.parser")
    assert soup.figure["data-columns"] == "3"
    assert [label.text for label in soup.select("label")] == ["Images", "Pixels"]
    sliders = soup.select("input[type=range]")
    assert [(s["max"], s["value"]) for s in sliders] == [("2", "1"), ("1", "1")]
    assert [s["id"] for s in sliders] == [label["for"] for label in soup.select("label")]
    assert {s["aria-valuetext"] for s in sliders} == {"step 4"}


def test_two_figures_have_ids_of_their_own() -> None:
    html = frames(sequence(3), name="One").html + frames(sequence(4), name="Two").html
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) == 2


def test_a_figure_says_its_finding() -> None:
    soup = BeautifulSoup(
        figure(board(640), board(), caption="In b there is more than in a: b > a.").html,
        "html.parser",
    )
    assert soup.figcaption.text == "In b there is more than in a: b > a."


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: colour("red"), ValueError, "a colour is one of .*, got 'red'"),
        (lambda: board().svg("short"), ValueError, "alt says in a sentence"),
        (lambda: board().text(0, 0, "x", size=9), ValueError, f"at least {SMALLEST} .* got 9"),
        (lambda: frames(sequence(1), name="x"), ValueError, "at least two frames"),
        (lambda: frames([s for s in sequence() if not s.key], name="x"), ValueError, "0 of them"),
        (lambda: frames(sequence(), name="x", start=3), ValueError, "one of 3 frames, got 3"),
        (
            lambda: frames(sequence(5), name="x", columns=2, sliders=("A", "B")),
            ValueError, "rows are full .* got 5 frames in rows of 2",
        ),
        (lambda: frames(sequence(4), name="x", columns=2), ValueError, "a slider of their own"),
        (lambda: figure(board(640), board(400), caption=ALT), ValueError, "at most 358 .* 400"),
    ],
)
def test_hostile_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
