"""Every page in headless Chromium: wide and narrow, light and dark."""

import contextlib
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.site.conftest import LESSONS, VIOLATIONS

pytestmark = [pytest.mark.site, pytest.mark.browser]

#: A line more or less: machines have other fonts.
LINE = 25
#: Where a lesson's answer begins at the latest, in pixels.
ANSWER_BY = {"wide": 900, "phone": 1400}
VIEWS = {
    "wide": ({"width": 1280, "height": 900}, ("light", "dark")),
    "phone": ({"width": 390, "height": 844}, ("dark", "light")),
}


@pytest.mark.parametrize("view", VIEWS)
def test_pages_are_quiet_local_and_fit_and_break_no_rule_of_accessibility(
    browser: Any, server: str, pages: list[str], view: str
) -> None:
    """In the scheme that the reader's system has, with the rules, and after it has changed."""
    from axe_playwright_python.sync_playwright import Axe

    size, (first, second) = VIEWS[view]
    context = browser.new_context(viewport=size)
    found: list[Any] = []
    answers: set[str] = set()
    tab = context.new_page()
    tab.on("console", lambda message: found.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: found.append(f"error: {error}"))
    tab.on(
        "request",
        lambda r: None if r.url.startswith((server, "data:", "blob:")) else found.append(r.url),
    )

    def look(page: str, scheme: str) -> None:
        name = {"dark": "slate", "light": "default"}[scheme]
        tab.wait_for_function(f"document.body.dataset.mdColorScheme === {name!r}", timeout=10_000)
        width = tab.evaluate("document.documentElement.scrollWidth")
        if width > size["width"]:
            found.append(f"{page}, {scheme}, scrolls sideways: {width} px")
        for top in tab.locator(".admonition.answer").evaluate_all(
            "boxes => boxes.map(box => Math.round(box.getBoundingClientRect().top + scrollY))"
        ):
            answers.add(page)
            if top > ANSWER_BY[view] + LINE:
                found.append(f"{page}, {scheme}, the answer begins only after {top} px")

    for page in pages:
        tab.emulate_media(color_scheme=first)
        tab.goto(server + page, wait_until="load")
        look(page, first)
        # Pages of the reference are generated alike; two stand for all.
        alike = page.startswith("reference/") and page not in ("reference/", "reference/measure/")
        if not alike:
            for rule in Axe().run(tab, options=VIOLATIONS).response["violations"]:
                nodes = [node["html"][:120] for node in rule["nodes"][:3]]
                found.append((page, rule["id"], nodes))
        tab.emulate_media(color_scheme=second)
        look(page, second)
    context.close()
    assert found == []
    assert answers == {f"exercises/{lesson}/" for lesson in LESSONS}


def test_search_finds_what_a_reader_types(browser: Any, server: str) -> None:
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    for words, page in (("shared storage", "3-2-saving-memory"), ("DenseNet-264", "4-table-1")):
        tab = browser.new_page()
        messages: list[str] = []
        tab.on("console", lambda message, to=messages: to.append(message.text))
        tab.on("requestfailed", lambda request, to=messages: to.append(request.url))
        query = tab.locator("input[name=query]")
        found = tab.locator(f".md-search-result__link[href*='{page}']").first
        for attempt in range(12):
            # The index loads in the background; keys wake it, a value does not. Where a busy machine
            # has lost the worker that searches, the page is opened anew.
            if attempt % 4 == 0:
                tab.goto(server, wait_until="networkidle")
            query.fill("")
            query.press_sequentially(words, delay=20)
            with contextlib.suppress(PlaywrightTimeout):
                found.wait_for(state="attached", timeout=2500)
                break
        said = tab.locator(".md-search-result__meta").text_content()
        assert found.count(), f"{words!r}: the search says {said!r}; the page: {messages}"
        tab.close()


def test_code_can_be_copied(browser: Any, server: str, pages: list[str]) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto(f"{server}exercises/4-table-1/", wait_until="networkidle")
    buttons = ".highlight:not(.ds-stdout):has(.md-code__button, .md-clipboard)"
    block = tab.locator(f"{buttons}:visible").last
    block.locator("[data-clipboard-target], .md-code__button, .md-clipboard").first.click()
    tab.wait_for_timeout(200)
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("code").first.inner_text().strip()
    context.close()


def test_pages_read_without_javascript(browser: Any, server: str, pages: list[str]) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    for page in pages:
        if page.startswith("reference/"):
            continue
        tab.goto(server + page)
        text = tab.locator("article").inner_text()
        assert len(text) > 200, page
        for figure in tab.locator("article figure svg:visible").all():
            assert figure.bounding_box()["width"] > 100, page
        assert not re.search(r"\\[({]", tab.locator("article h1").inner_text())
    context.close()


@pytest.mark.parametrize(("scheme", "darkest", "lightest"), [("dark", 0, 60), ("light", 240, 255)])
def test_without_javascript_the_system_chooses_light_or_dark(
    browser: Any, server: str, scheme: str, darkest: int, lightest: int
) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(f"{server}exercises/3-1-memory/")
    shades = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("L"), dtype=int)
    assert darkest <= np.median(shades) <= lightest  # the paper
    assert shades.max() - shades.min() > 150  # and ink that can be read on it
    assert not tab.locator("[data-md-component=palette]").is_visible()
    context.close()


def test_print_layout_shows_the_article_alone(browser: Any, server: str) -> None:
    tab = browser.new_page()
    tab.goto(f"{server}exercises/2-fewer-parameters/")
    tab.emulate_media(media="print")
    assert not tab.locator(".md-sidebar--primary").is_visible()
    assert not tab.locator(".md-header").is_visible()
    assert tab.locator("article h1").is_visible()
    tab.close()
