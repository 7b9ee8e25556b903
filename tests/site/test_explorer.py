"""The explorer: Python and the page agree, and Python agrees with the instrument."""

from pathlib import Path
from typing import Any

import pytest
import torch

from densenet_solutions.exercises.explorer.pictures import (
    estimate,
    explorer,
    largest_error,
    static_table,
)
from densenet_solutions.exercises.explorer.study import ExplorerCase, point
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "docs/assets/explorer.js").read_text(encoding="utf-8")
STYLE = (ROOT / "docs/assets/explorer.css").read_text(encoding="utf-8")

#: Go to an address's hash, and read what the page shows.
SHOWN = """hash => new Promise(done => {
  addEventListener("hashchange", () => {
    const bytes = selector => Array.from(document.querySelectorAll(selector),
      e => [e.dataset.category ?? "peak", Number(e.dataset.bytes)]);
    done(Object.fromEntries([...bytes(".ds-explorer-peak"), ...bytes("dd")]));
  }, { once: true });
  location.hash = hash;
})"""


@pytest.fixture(scope="module")
def cases() -> dict[str, ExplorerCase]:
    old, slices = (load_record(name).cases for name in ("explorer-grid", "explorer-shared-storage"))
    cases = {name: case for name, case in old.items() if "shared_storage" not in name} | slices
    return {name: from_json(ExplorerCase, case) for name, case in cases.items()}


def test_the_line_holds(cases: dict[str, ExplorerCase]) -> None:
    """The page states the error; in half precision activations rival the gradients for longer."""
    float32 = {name: case for name, case in cases.items() if not case.autocast}
    assert largest_error(float32) < 0.01
    assert largest_error(cases) < 0.03


@pytest.mark.parametrize(
    ("dtype", "optimizer", "batch", "resolution"),
    [("float32", "none", 8, 224), ("bfloat16", "none", 32, 160), ("float32", "adam", 32, 96)],
)
def test_the_instrument_agrees(
    cases: dict[str, ExplorerCase], dtype: str, optimizer: str, batch: int, resolution: int
) -> None:
    """Off the line, in the other type, and with an optimizer's state: a fresh prediction."""
    fresh = point(
        "densenet121", "plain", batch, resolution,
        dtype=getattr(torch, dtype), optimizer=None if optimizer == "none" else optimizer,
    )  # fmt: skip
    said = estimate(
        cases["densenet121 plain"],
        batch=batch,
        resolution=resolution,
        dtype=dtype,
        optimizer=optimizer,
    )
    assert sum(said.values()) == pytest.approx(fresh.peak_bytes, rel=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 0, "resolution": 224},
        {"batch": 1, "resolution": 100},
        {"batch": 1, "resolution": 224, "dtype": "int8"},
        {"batch": 1, "resolution": 224, "optimizer": "lion"},
        {"batch": 1, "resolution": 224, "dtype": "autocast"},
    ],
)
def test_refusals(cases: dict[str, ExplorerCase], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        estimate(cases["densenet121 plain"], **options)


def _page(cases: dict[str, ExplorerCase]) -> str:
    return (
        f"<!doctype html><html lang=en><title>x</title><style>{STYLE}</style>"
        "<body class=md-typeset>"
        f"{explorer(cases).html}<script>{SCRIPT}</script></body></html>"
    )


@pytest.mark.browser
def test_page_and_python_agree(cases: dict[str, ExplorerCase], browser: Any, tmp_path: Any) -> None:
    (tmp_path / "page.html").write_text(_page(cases), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    for case in cases.values():
        for batch, resolution, dtype, optimizer in (
            (1, 224, "float32", "none"),
            (37, 96, "bfloat16", "adam"),
            (256, 512, "float32", "sgd_momentum"),
            (16, 128, "autocast", "adam"),
        ):
            if (dtype == "autocast") != case.autocast:
                continue
            shown = page.evaluate(
                SHOWN,
                f"#network={case.network}&strategy={case.strategy}&batch={batch}"
                f"&resolution={resolution}&dtype={dtype}&optimizer={optimizer}",
            )
            said = estimate(
                case, batch=batch, resolution=resolution, dtype=dtype, optimizer=optimizer
            )
            assert shown.pop("peak") == sum(said.values())
            assert shown == {name: size for name, size in said.items() if size}
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert problems == []
    page.close()


@pytest.mark.browser
def test_keyboard_and_address(cases: dict[str, ExplorerCase], browser: Any, tmp_path: Any) -> None:
    (tmp_path / "page.html").write_text(_page(cases), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    before = page.inner_text(".ds-explorer-peak")
    page.keyboard.press("Tab")  # network
    page.keyboard.press("Tab")  # step
    page.keyboard.press("Tab")  # batch
    page.keyboard.press("ArrowUp")
    assert page.inner_text(".ds-explorer-peak") != before
    assert "batch=33" in page.url
    page.keyboard.press("Tab")  # the slider
    page.keyboard.press("ArrowRight")
    assert page.input_value("[name=batch]") == "38"  # 2 ** 5.25
    page.evaluate("location.hash = '#batch=16&strategy=plain&dtype=float32&optimizer=none'")
    page.wait_for_function("document.querySelector('[name=batch]').value === '16'")
    gib = int(page.get_attribute(".ds-explorer-peak", "data-bytes")) / 2**30
    assert 1.5 < gib < 2.5
    assert not page.locator(".ds-tight").count()
    page.evaluate("location.hash = '#batch=100'")  # 12.1 GiB
    page.wait_for_function("document.querySelector('[name=batch]').value === '100'")
    assert page.inner_text(".ds-tight").startswith("≈ tight in 14.56 GiB (T4)")
    assert page.locator(".ds-too-large").count() == 0
    page.evaluate("location.hash = '#batch=5&resolution=96&network=nothing'")
    page.wait_for_function("document.querySelector('[name=batch]').value === '5'")
    assert page.input_value("[name=network]") == "densenet121"
    assert page.input_value("[name=resolution]") == "96"
    page.close()


@pytest.mark.site
def test_the_built_page_has_it_and_a_table_without_javascript(
    cases: dict[str, ExplorerCase], site: Path
) -> None:
    html = (site / "explorer/index.html").read_text(encoding="utf-8")
    assert explorer(cases).html in html
    assert "assets/explorer.js" in html
    assert static_table(cases).html in html
    assert html.count(">264</th>") == 2  # two number formats
    assert 'id="explorer" hidden' in html
