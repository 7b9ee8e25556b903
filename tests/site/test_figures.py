import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from densenet_solutions.site.figures import _PAGE, COLOURS, Plot, colour, new_figure

ALT = "A line that rises from one to three."


def line(alt: str = ALT) -> str:
    fig, ax = new_figure(4, 2)
    ax.plot([0, 1], [1, 3], color=COLOURS["densenet"], label="DenseNet")
    ax.set_xlabel("growth rate (channels)")
    ax.legend()
    return Plot(fig).svg(alt)


def test_svg_is_one_labelled_image_that_follows_the_mode() -> None:
    picture = ET.fromstring(line())
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == ALT
    text = line()
    assert "currentColor" in text
    assert "var(--ds-densenet,#0072b2)" in text
    assert "#000000" not in text
    assert "sans-serif" not in text
    assert "DejaVu" not in text
    assert ">growth rate (channels)</text>" in text


def test_same_figure_same_bytes() -> None:
    assert line() == line()


def test_identifiers_of_two_figures_differ() -> None:
    first, second = line(), line("Another finding, on the same page.")
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text)) == own


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [*COLOURS, *_PAGE])
def test_a_colour_is_another_in_dark_mode(name: str) -> None:
    styles = (ROOT / "docs" / "assets" / "site.css").read_text(encoding="utf-8")
    (dark,) = re.findall(r'\[data-md-color-scheme="slate"\] \{(.*?)\}', styles, re.DOTALL)
    (value,) = re.findall(rf"--ds-{name}: (#\w+);", dark)
    assert value not in colour(name)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_legible_on_white(name: str) -> None:
    assert 1.05 / (luminance(COLOURS[name]) + 0.05) >= 3
