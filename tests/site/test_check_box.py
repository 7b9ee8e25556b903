"""The box in which a number of parameters is checked, in a browser and without a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from densenet_solutions.check import parameter_count
from densenet_solutions.check.box import number_box
from densenet_solutions.cli import app
from tests.site.conftest import VIOLATIONS

ASSETS = Path(__file__).parents[2] / "docs" / "assets"
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]

pytestmark = pytest.mark.browser


@pytest.fixture
def page(tmp_path: Path) -> str:
    """A page with two boxes."""
    styles = "".join((ASSETS / name).read_text() for name in ("site.css", "check.css"))
    schemes = 'matchMedia("(prefers-color-scheme: dark)").matches ? "slate" : "default"'
    path = tmp_path / "page.html"
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Check</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>html{{font-size:125%}}body{{background:var(--ds-paper);color:var(--ds-ink)}}{styles}"
        f"</style></head><body><script>document.body.dataset.mdColorScheme = {schemes}</script>"
        f'<article class="md-typeset"><h1>A page</h1>{number_box().html}'
        f"{number_box(758_226).html}</article>"
        f"<script>{(ASSETS / 'check.js').read_text()}</script></body></html>",
        encoding="utf-8",
    )
    return path.as_uri()


def typed(tab: Any, number: str) -> Any:
    """Type a number into the first box and press Enter; its output."""
    field = tab.get_by_label("Number of parameters").first
    field.fill(number)
    field.press("Enter")
    return tab.locator(".ds-check-found").first


@pytest.mark.parametrize("number", [7_978_856, 7_992_168, 23_245_586, 8_000_000, 1_019_722])
def test_the_box_says_what_python_says(browser: Any, page: str, number: int) -> None:
    tab = browser.new_page()
    tab.goto(page)
    items = typed(tab, f"{number:,}").locator("li").all()
    findings = parameter_count(number).findings
    assert len(items) == len(findings)
    for item, finding in zip(items, findings, strict=True):
        assert item.get_attribute("data-kind") == finding.kind
        assert item.text_content().endswith(finding.text + finding.line)
    tab.close()


RIGHT = ["758226", " 7,978,856 ", "7.978.856", "7_978_856", "7'978'856", "7 978 856", "7\u202f978\u202f856",
         "007"]  # fmt: skip
WRONG = ["", "many", "-3", "7e6", "0", "000", "7,97", "7.978", "7989,096", "7,989.096", "7 989,096", "7,978856"]


def test_page_and_command_read_the_same_numbers(browser: Any, page: str) -> None:
    tab = browser.new_page()
    tab.goto(page)
    for number in (*RIGHT, *WRONG, "1" * 20):  # the last is too large for the page alone
        wrong = "Type a whole number" in typed(tab, number).inner_text()
        assert wrong == (number not in RIGHT), number
        invalid = tab.locator("input").first.get_attribute("aria-invalid")
        assert invalid == ("true" if wrong else "false")
    tab.close()
    for number in (*RIGHT, *WRONG):
        done = CliRunner().invoke(app, ["check", "number", "--", number])
        assert (done.exit_code == 2) == (number in WRONG), number


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_it_fits_and_breaks_no_rule_of_accessibility(
    browser: Any, page: str, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(page)
    typed(tab, "23245586")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab, {"include": [["article"]]}, VIOLATIONS)
    violations = found.response["violations"]
    assert [(rule["id"], [n["html"][:99] for n in rule["nodes"]]) for rule in violations] == []
    context.close()


def test_without_a_script_the_command_stands(browser: Any, page: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page)
    assert not tab.locator("form").first.is_visible()
    assert tab.get_by_text("densenet-solutions check number 7989096").is_visible()
    context.close()
