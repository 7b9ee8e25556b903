"""The parts of a lesson in a browser: a page that only these tests build."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from densenet_solutions.exercises.memory import lines
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import mib
from tests.site.conftest import VIOLATIONS

BUILD = Path(__file__).parent / "lesson" / "build.py"
pytestmark = [pytest.mark.browser]

WIDE = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("lesson")
    done = subprocess.run(
        [sys.executable, str(BUILD), str(folder)], capture_output=True, text=True, timeout=200,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (folder / "site" / "index.html").as_uri()


def opened(browser: Any, page: str, **options: Any) -> tuple[Any, list[str]]:
    """A tab with the page, and what goes wrong in it."""
    tab = browser.new_context(**options).new_page()
    found: list[str] = []
    tab.on("console", lambda message: found.append(message.text))
    tab.on("pageerror", lambda error: found.append(str(error)))
    tab.goto(page)
    return tab, found


def shown(tab: Any) -> list[str]:
    """Labels of the frames of the first figure that are seen."""
    return tab.evaluate(
        "[...document.querySelector('.ds-frames').querySelectorAll('.ds-frame')]"
        ".filter(f => f.checkVisibility()).map(f => f.dataset.label)"
    )


def test_the_slider_the_buttons_and_the_keys_choose_the_frame(browser: Any, page: str) -> None:
    tab, found = opened(browser, page, **WIDE)
    figure = tab.locator(".ds-frames").first
    caption = figure.locator(".ds-frames-now")
    assert shown(tab) == ["the turn"]
    assert "896" in caption.inner_text()
    figure.locator(".ds-frames-on").click()
    assert shown(tab) == ["backward, layer 4 of 4"]
    tab.keyboard.press("ArrowLeft")  # the button has the focus
    tab.keyboard.press("ArrowLeft")
    assert shown(tab) == ["forward, layer 4 of 4"]
    slider = figure.locator("input[type=range]")
    slider.focus()
    tab.keyboard.press("Home")
    assert shown(tab) == ["before"]
    assert slider.get_attribute("aria-valuetext") == "before"
    assert figure.locator(".ds-frames-back").get_attribute("aria-disabled") == "true"
    figure.locator(".ds-frames-back").click(force=True)
    assert shown(tab) == ["before"]
    assert caption.get_attribute("aria-live") == "polite"
    assert caption.inner_text().startswith("Before.")
    assert found == []


def test_the_picture_itself_is_dragged(browser: Any, page: str) -> None:
    tab, _ = opened(browser, page, **WIDE)
    tab.locator(".ds-frames-all").first.scroll_into_view_if_needed()
    box = tab.locator(".ds-frames-all").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 60
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 2 * box["width"] / 11, y, steps=8)
    tab.mouse.up()
    assert shown(tab) == ["forward, layer 3 of 4"]


def test_two_sliders_choose_batch_and_resolution_and_show_what_was_predicted(
    browser: Any, page: str
) -> None:
    predicted = lines.read(load_record("memory-lines").cases)
    tab, found = opened(browser, page, **PHONE)
    figure = tab.locator("[aria-label='One step of both networks, by batch and resolution']")
    images, pixels = figure.locator("input[type=range]").all()
    caption = figure.locator(".ds-frames-now")

    def check(batch: int, side: int) -> None:
        label = f"{batch} image{'s' if batch > 1 else ''} of {side} × {side}"
        seen = figure.locator(".ds-frame:visible")
        assert [one.get_attribute("data-label") for one in seen.all()] == [label]
        assert {s.get_attribute("aria-valuetext") for s in (images, pixels)} == {label}
        at = lines.BATCHES.index(batch)
        low, high = sorted(peaks.held[at] for peaks in predicted[side].values())
        assert f"{mib(high, 0)} against {mib(low, 0)}" in caption.inner_text()
        drawn = figure.locator(".ds-frame:visible .ds-narrow svg").text_content()
        for peaks in predicted[side].values():
            assert f"tensors {mib(peaks.held[at], 0)}" in drawn
            assert f"reserved: {mib(peaks.reserved[at], 0)} simulated" in drawn

    check(128, 224)
    images.focus()
    tab.keyboard.press("Home")
    check(1, 224)
    for batch in lines.BATCHES[1:]:
        tab.keyboard.press("ArrowRight")
        check(batch, 224)
    pixels.focus()
    for side in reversed(lines.SIDES[:-1]):
        tab.keyboard.press("ArrowLeft")
        check(256, side)
    back, on = (figure.locator(f".ds-frames-{way}").nth(1) for way in ("back", "on"))
    assert (back.get_attribute("aria-disabled"), on.get_attribute("aria-disabled")) == (
        "true", "false",
    )  # fmt: skip
    on.click()
    check(256, 96)
    tab.keyboard.press("ArrowRight")  # the button has the focus, and moves its own slider
    check(256, 128)
    box = images.bounding_box()
    tab.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    check(1, 128)
    assert found == []


def test_without_a_script_the_key_frames_stand(browser: Any, page: str) -> None:
    tab, _ = opened(browser, page, java_script_enabled=False, **PHONE)
    items = tab.locator(".ds-frames").first.locator(".ds-frame")
    seen = [item.get_attribute("data-label") for item in items.all() if item.is_visible()]
    assert seen == [
        "forward, layer 2 of 4", "the turn", "backward, layer 4 of 4", "backward, layer 2 of 4",
    ]  # fmt: skip
    assert not tab.locator(".ds-frames-bar").first.is_visible()
    assert items.nth(5).locator(".ds-frame-caption").is_visible()


@pytest.mark.parametrize(("view", "drawing"), [(WIDE, ".ds-wide"), (PHONE, ".ds-narrow")])
def test_one_drawing_fits_and_its_text_can_be_read(
    browser: Any, page: str, view: dict, drawing: str
) -> None:
    tab, _ = opened(browser, page, **view)
    sizes = tab.evaluate(
        """[...document.querySelectorAll("figure svg")].filter(s => s.checkVisibility()).map(s => ({
          where: s.parentElement.className,
          small: Math.min(...[...s.querySelectorAll("text")].map(
            t => parseFloat(t.style.fontSize) * s.getScreenCTM().a)),
          over: Math.max(...[...s.querySelectorAll("text")].map(
            t => t.getBoundingClientRect().right - s.getBoundingClientRect().right)),
        }))"""
    )
    assert len(sizes) == tab.locator(".ds-frames, .ds-drawing").count()
    for size in sizes:
        assert size["where"] in (drawing[1:], "ds-frame ds-frame-key ds-frame-now", "ds-drawing")
        assert size["small"] >= 10.95
        assert size["over"] <= 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= view["viewport"]["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", [WIDE, PHONE], ids=["wide", "phone"])
def test_no_accessibility_rule_is_broken(browser: Any, page: str, view: dict, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab, _ = opened(browser, page, color_scheme=scheme, **view)
    found = Axe().run(tab, {"include": [["article"]]}, VIOLATIONS)
    violations = found.response["violations"]
    assert [(rule["id"], [n["html"][:150] for n in rule["nodes"][:3]]) for rule in violations] == []


def test_a_guess_stands_beside_the_answer(browser: Any, page: str) -> None:
    tab, found = opened(browser, page, **WIDE)
    turn = tab.locator(".admonition.turn")
    said = turn.locator(".ds-guess-said")
    turn.get_by_label("different").fill("200")
    assert not said.is_visible()
    turn.locator("details.solution > summary").press("Enter")
    said.wait_for(state="visible")  # the fold says only after a moment that it was opened
    assert said.inner_text() == "Your guess was different: 200."
    assert found == []


def test_a_side_note_opens_by_keyboard_on_a_phone_and_stands_beside_the_text_elsewhere(
    browser: Any, page: str
) -> None:
    for options in (PHONE, PHONE | {"java_script_enabled": False}):
        tab, _ = opened(browser, page, **options)
        note = tab.locator(".ds-side-text").first
        assert not note.is_visible()
        box = tab.locator(".ds-side-box").first
        box.focus()
        tab.keyboard.press("Space")
        assert note.is_visible()
        tab.locator(".ds-side-mark").first.click()
        assert not note.is_visible()
    tab, _ = opened(browser, page, **WIDE)
    for note in tab.locator(".ds-side-text").all():
        assert note.is_visible()


def test_the_rail_says_where_one_is_on_a_phone(browser: Any, page: str) -> None:
    tab, _ = opened(browser, page, **PHONE)
    rail = tab.locator(".ds-rail")
    assert not rail.is_visible()  # nothing to say at the top
    tab.evaluate("document.querySelector('#check-yours').scrollIntoView()")
    rail.wait_for(state="visible")
    assert rail.locator("summary").inner_text() == "4 of 6 · Check yours"
    rail.locator("summary").press("Enter")
    rail.locator("a", has_text="How it works").press("Enter")
    tab.wait_for_function("document.querySelector('.ds-rail summary').textContent.startsWith('1')")
    assert tab.locator("#how-it-works").bounding_box()["y"] > rail.bounding_box()["y"] + 30
    assert not rail.locator("ol").is_visible()
    tab, _ = opened(browser, page, **WIDE)
    assert not tab.locator(".ds-rail").is_visible()


def test_a_listing_of_78_characters_is_not_cropped(browser: Any, page: str) -> None:
    tab, _ = opened(browser, page, **WIDE)
    over = tab.evaluate(
        "[...document.querySelectorAll('pre > code')].map(c => c.scrollWidth - c.clientWidth)"
    )
    assert len(over) == 2
    assert max(over) <= 0


def test_print_shows_notes_and_key_frames_are_not_cut(browser: Any, page: str) -> None:
    tab, _ = opened(browser, page, **WIDE)
    tab.emulate_media(media="print")
    assert tab.locator(".ds-side-text").first.is_visible()
    assert not tab.locator(".ds-frames-bar").first.is_visible()
    assert tab.locator(".ds-frame-now svg").first.is_visible()


def test_the_script_is_small() -> None:
    script = BUILD.parents[3] / "docs" / "assets" / "frames.js"
    assert script.stat().st_size < 4000  # bytes, uncompressed
