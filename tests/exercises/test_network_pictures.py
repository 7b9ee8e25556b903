"""Pictures of the network's mechanisms show what was computed."""

import re

import pytest
from bs4 import BeautifulSoup

from densenet_solutions.exercises.network import layer, widening
from densenet_solutions.exercises.network.buffer import buffer_frames
from densenet_solutions.exercises.network.ledger import Ledger, ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames
from densenet_solutions.exercises.network.thumbnails import thumbnail
from densenet_solutions.exercises.network.trap import trap, trap_frames
from densenet_solutions.exercises.network.window import pool, window


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


def test_captions_say_of_which_moment_their_numbers_are(soup: BeautifulSoup) -> None:
    words = {item["data-label"]: item.p.text for item in soup.select("li")}
    assert "Channels held now: plain 928 and shared storage 192." in words["forward, layer 4 of 4"]
    assert (
        "Channels at once, with the gradients of features: plain 1,408"
        in words["backward, layer 4 of 4"]
    )


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


def frame_texts(html: str) -> list[tuple[str, list[str]]]:
    """Of each frame: its caption and the words in its wide drawing."""
    return [
        (item.p.text, [text.text for text in item.select_one("svg").select("text")])
        for item in BeautifulSoup(html, "html.parser").select("li")
    ]


def test_a_row_of_the_block_is_as_wide_as_what_its_layer_reads() -> None:
    last = BeautifulSoup(widening.widening(3, 24, 12).html, "html.parser").select("li")[-1]
    rects = last.svg.select("rect")
    rows: dict[str, float] = {}
    for rect in rects:
        rows[rect["y"]] = max(rows.get(rect["y"], 0), float(rect["x"]) + float(rect["width"]))
    reach = [rows[y] for y in sorted(rows, key=float)]
    assert [round(r / reach[0] * 24) for r in reach] == [24, 36, 48, 60]


@pytest.mark.parametrize("c", [64, 230, 992])
def test_weights_of_a_layer_with_and_without_bottleneck(c: int) -> None:
    """9·c·k against 4k·c + 9·4k·k, by hand."""
    (caption, words), _ = frame_texts(layer.bottleneck((c, 999), growth_rate=32).html)
    plain, narrow = 9 * c * 32, 128 * c + 9 * 128 * 32
    assert f"{plain:,} weights" in words
    assert f"{narrow:,} weights" in words
    assert f"{abs(narrow - plain):,} {'more' if c < 230.4 else 'fewer'}" in caption


def test_operations_are_in_the_papers_order_with_the_shapes_of_densenet_121() -> None:
    soup = BeautifulSoup(layer.operations().html, "html.parser")
    words = [text.text for text in soup.select_one(".ds-wide svg").select("text")]
    assert words == [
        "a dense layer", "input", "64×56²", "BN", "64×56²", "ReLU", "64×56²", "1×1 conv", "128×56²",
        "BN", "128×56²", "ReLU", "128×56²", "3×3 conv", "32×56²",
        "a transition", "input", "256×56²", "BN", "256×56²", "ReLU", "256×56²", "1×1 conv",
        "128×56²", "2×2 pool", "128×28²",
    ]  # fmt: skip


def test_resnet_keeps_its_width_and_densenet_grows() -> None:
    caption, words = frame_texts(widening.sum_or_concatenation(3, 64, 32).html)[-1]
    assert "one sum of 64 channels" in caption
    assert "DenseNet has 160 channels" in caption
    assert {"x₀ + f₁ + f₂ + f₃", "x₃"} <= set(words)


@pytest.mark.parametrize(
    ("pooling", "output", "gradient"),
    [
        ("average", 0.5, (0.25, 0.25, 0.25, 0.25)),
        ("maximum", 2.8, (0, 0, 1, 0)),
        ("stride", 0.8, (1, 0, 0, 0)),
    ],
)
def test_a_window_and_its_gradient(
    pooling: str, output: float, gradient: tuple[float, ...]
) -> None:
    found = pool(pooling, (0.8, -2.0, 2.8, 0.4))
    assert found.output == pytest.approx(output)
    assert found.gradient == gradient
    words = [text.text for text in BeautifulSoup(window().html, "html.parser").select("text")]
    assert f"{output:g}" in words


def test_a_window_is_four_values_under_a_known_pooling() -> None:
    with pytest.raises(ValueError, match=r"one of \['average', 'maximum', 'stride'\].*got 'min'"):
        pool("min", (1, 2, 3, 4))
    with pytest.raises(ValueError, match="3 values"):
        pool("average", (1, 2, 3))


def test_the_trap_of_batch_normalisation_is_sprung_and_mended() -> None:
    """Momentum 0.1: once 1 − 0.9 = 10% of the way, twice 1 − 0.81 = 19%."""
    found = trap()
    assert [s.batches for s in found.plain] == [0, 1, 1]
    assert [s.batches for s in found.naive] == [0, 1, 2]
    assert found.naive[2].share == pytest.approx(0.19)
    assert found.plain[2].share == pytest.approx(0.1)
    assert found.mended == found.plain  # bit for bit
    captions = [caption for caption, _ in frame_texts(trap_frames().html)]
    assert len(captions) == 4
    assert "19% instead of 10%, 2 batches" in captions[2]


def test_the_buffer_is_read_from_the_front_and_filled_behind() -> None:
    texts = frame_texts(buffer_frames(3, 16, 8).html)
    captions = [caption.replace("\N{NO-BREAK SPACE}", " ") for caption, _ in texts]
    assert len(captions) == 1 + 3 + 3
    assert "reads the view [:, :24], which costs nothing, and writes [:, 24:32]" in captions[2]
    assert "gradient of [:, 32:40] is complete" in captions[4]


def test_every_answer_has_a_thumbnail_and_no_other() -> None:
    drawn = {thumbnail(name).html for name in ("1", "2", "3.1", "3.2", "4", "5")}
    assert len(drawn) == 6
    with pytest.raises(ValueError, match=r"one of .*'3\.1'.* got '6'"):
        thumbnail("6")
