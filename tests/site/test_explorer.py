"""The explorer: page and Python agree, Python with the instrument, and both with an H100."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from densenet_solutions.exercises.explorer.cards import (
    CARDS,
    GIB,
    Margin,
    gone,
    largest_batch,
    margin,
    misses,
    off_the_points,
)
from densenet_solutions.exercises.explorer.estimate import need
from densenet_solutions.exercises.explorer.own import CONFIGS, OWN, own_case
from densenet_solutions.exercises.explorer.pictures import (
    WAYS,
    batch_table,
    explorer,
    reserved_table,
)
from densenet_solutions.exercises.explorer.predictions import (
    NETWORKS,
    RESNET,
    ExplorerCase,
    case_name,
    predict,
    stretches,
)
from densenet_solutions.exercises.memory.gpu import Held, held
from densenet_solutions.measure import count_parameters, predict_memory
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from tests.site.explorer_in_python import alive

ROOT = Path(__file__).parents[2]
SCRIPT = "".join((ROOT / f"docs/assets/{n}.js").read_text("utf-8") for n in ("explorer-own", "explorer"))
STYLE = "".join((ROOT / f"docs/assets/{n}.css").read_text("utf-8") for n in ("site", "explorer"))

#: Go to an address's hash, and read what the page shows.
SHOWN = """hash => new Promise(done => {
  addEventListener("hashchange", () => done(["a", "b"].map(name => {
    const box = document.querySelector(`figure[data-case=${name}]`);
    const cells = document.querySelectorAll(`td[data-case=${name}]`);
    return {
      need: ["allocated", "reserved"].map(
        kind => Number(box.querySelector("strong").dataset[kind])),
      live: (box.querySelector("svg").dataset.live ?? "").split(" ").map(Number),
      batches: Object.fromEntries(Array.from(cells, cell =>
        [cell.dataset.card, [Number(cell.dataset.fits), Number(cell.dataset.mayFit)]])),
      verdicts: Object.fromEntries(Array.from(cells, c => [c.dataset.card, c.className])),
    };
  })), { once: true });
  location.hash = hash;
})"""


@pytest.fixture(scope="module")
def cases() -> dict[str, ExplorerCase]:
    return {
        name: from_json(ExplorerCase, case)
        for record in ("explorer-grid", "explorer-shared-storage")
        for name, case in load_record(record).cases.items()
    }


@pytest.fixture(scope="module")
def on_gpu() -> tuple[Held, ...]:
    return held(load_record("memory-grid"), load_record("memory-grid-predicted").cases)


@pytest.fixture(scope="module")
def margins(on_gpu: tuple[Held, ...], cases: dict[str, ExplorerCase]) -> Margin:
    return margin(on_gpu, cases)


def test_every_network_has_every_step(cases: dict[str, ExplorerCase]) -> None:
    for network in NETWORKS:
        for way in WAYS:
            missing = network == RESNET and way not in ("plain", "inference")
            assert (case_name(network, way, False) in cases) != missing
    for name, case in cases.items():  # a batch that fits is found by halving
        assert case.name == name
        for low, high in zip(case.points, case.points[1:], strict=False):
            assert low.pixels < high.pixels
            assert low.allocated_bytes < high.allocated_bytes < high.reserved_bytes
            assert low.reserved_bytes <= high.reserved_bytes


def test_lines_agree_with_predictions_at_other_sizes(cases: dict[str, ExplorerCase]) -> None:
    pairs = off_the_points(cases, load_record("memory-grid-predicted").cases)
    large = [(said, fresh) for said, fresh in pairs if fresh.reserved > GIB]
    assert len(large) > 50
    allocated, reserved = (
        sorted(abs(said[i] / fresh[i] - 1) for said, fresh in large) for i in (0, 1)
    )
    assert statistics.median(allocated) < 0.01
    assert allocated[int(0.9 * len(large))] < 0.02
    assert statistics.median(reserved) < 0.02
    assert reserved[-1] < 0.1
    for said, fresh in pairs:
        if fresh.allocated > 2**28:
            assert said.allocated == pytest.approx(fresh.allocated, rel=0.13)


@pytest.mark.parametrize(
    ("network", "way", "batch", "resolution", "optimizer"),
    [
        ("densenet121", "plain", 32, 192, "adam"),
        ("densenet121", "recompute_bottleneck_input", 16, 224, "sgd_momentum"),
        ("densenet121", "recompute_layer", 32, 256, "none"),
        ("densenet121", "shared_storage", 32, 160, "none"),
        ("densenet121", "shared_storage in 8 slices", 32, 192, "none"),
        ("densenet121", "inference", 100, 128, "none"),
        ("book-densenet", "shared_storage", 100, 96, "adam"),
        ("book-resnet18", "plain", 3, 96, "sgd_momentum"),  # few images: weights decide
    ],
)
def test_the_instrument_agrees(
    cases: dict[str, ExplorerCase],
    network: str,
    way: str,
    batch: int,
    resolution: int,
    optimizer: str,
) -> None:
    """A fresh prediction for a GPU, at a size that was not recorded."""
    case = cases[case_name(network, way, False)]
    fresh = predict(
        network, way, batch, resolution, optimizer=None if optimizer == "none" else optimizer
    )
    said = need(case, batch, resolution, optimizer)
    assert said.allocated == pytest.approx(fresh.allocated_bytes, rel=0.03)
    assert said.reserved == pytest.approx(fresh.reserved_bytes, rel=0.15)
    most = max(sum(row) for row in alive(case, batch, resolution, optimizer))
    assert 1024 * most == pytest.approx(fresh.peak_bytes, rel=0.06)
    last = stretches(fresh.timeline)[-1]
    assert alive(case, batch, resolution, optimizer)[-1][3] == pytest.approx(last[2], rel=0.06)


def test_the_band_holds_what_an_h100_took(
    cases: dict[str, ExplorerCase], margins: Margin, on_gpu: tuple[Held, ...]
) -> None:
    """Whole cards: what the driver no longer called free, from 1 GiB reserved on."""
    tried = 0
    for row in on_gpu:
        case = cases.get(case_name(row.case.network, "plain", False))
        if case is None or not row.case.alone:
            continue
        if (row.measured.reserved_bytes or 0) > GIB:
            least, most = margins.bounds(case, need(case, row.case.batch, row.case.resolution))
            assert 0.98 * least < row.taken_bytes < 1.01 * most, row.case.name
            tried += 1
    assert tried > 20


def test_no_step_reserved_more_than_the_band_has(
    cases: dict[str, ExplorerCase], margins: Margin, on_gpu: tuple[Held, ...]
) -> None:
    """The lines of the page, not fresh simulations: training and inference, both precisions."""
    tried = set()
    for row in on_gpu:
        method = "plain" if row.case.train else "inference"
        case = cases.get(case_name(row.case.network, method, row.case.autocast))
        reserved = row.measured.reserved_bytes or 0
        if case is not None and reserved > GIB:
            _, most = margins.bounds(case, need(case, row.case.batch, row.case.resolution))
            assert reserved <= most - margins.context_bytes, row.case.name
            tried.add((method, row.case.autocast))
    assert len(tried) == 4


def test_every_card_had_what_the_band_counts_besides(
    margins: Margin, on_gpu: tuple[Held, ...]
) -> None:
    alone = [row for row in on_gpu if row.case.alone]
    for row in alone:
        assert row.taken_bytes <= (row.measured.reserved_bytes or 0) + margins.context_bytes
    assert len(gone(on_gpu)) == len(alone)


def test_errors_are_told_by_size(
    cases: dict[str, ExplorerCase], margins: Margin, on_gpu: tuple[Held, ...]
) -> None:
    large, small = misses(on_gpu, cases, above=GIB), misses(on_gpu, cases, up_to=GIB)
    assert large == {at: more for at, more in margins.miss.items() if at[0] != OWN}
    for train in (False, True):  # what was not measured has the worst of what was
        of_dense = [more for (name, which), more in large.items() if name != RESNET and which == train]
        assert margins.miss[OWN, train] == max(of_dense)
    every = misses(on_gpu, cases)
    assert every == {at: max(more, small.get(at, 0.0)) for at, more in large.items()}
    assert every != large


def test_the_largest_batch_is_that_of_an_h100(
    cases: dict[str, ExplorerCase], margins: Margin
) -> None:
    """The page says so, of all cases of the record that it has; here with what is next to it."""
    for way, fit in load_record("how-far-gpu").cases.items():
        if way in WAYS:
            case, budget = cases[f"densenet121 {way}"], fit["budget_bytes"]
            fits, may = largest_batch(case, 224, budget + margins.context_bytes, margins)
            assert fits <= fit["batch"] <= may
            assert need(case, may, 224).allocated <= budget < need(case, may + 1, 224).allocated
    assert largest_batch(cases["densenet121 plain"], 224, GIB / 2, margins) == (0, 0)


@pytest.mark.parametrize("options", [(0, 224), (1, 100), (1, 224, "lion")])
def test_refusals(cases: dict[str, ExplorerCase], options: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="got"):
        need(cases["densenet121 plain"], *options)


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture
def page(
    cases: dict[str, ExplorerCase],
    margins: Margin,
    browser: Any,
    tmp_path: Path,
) -> Any:
    html = (
        f"<!doctype html><html lang=en style='font-size:20px'><title>x</title><style>{STYLE}"
        "</style><body class=md-typeset style='margin:0 16px' data-md-color-scheme=default>"
        f"<p style='height:200px'>x</p>{explorer(cases, margins).html}"
        f"<p style='height:2000px'>x</p><script>{SCRIPT}</script></html>"
    )
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto((tmp_path / "page.html").as_uri())
    yield tab
    assert problems == []
    tab.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("batch", "resolution", "numbers", "optimizer"),
    [
        (1, 224, "float32", "none"),
        (5, 96, "float32", "adam"),
        (256, 512, "float32", "sgd_momentum"),
        (16, 128, "autocast", "adam"),
    ],
)
def test_page_and_python_agree(
    cases: dict[str, ExplorerCase],
    margins: Margin,
    page: Any,
    batch: int,
    resolution: int,
    numbers: str,
    optimizer: str,
) -> None:
    for i, network in enumerate(NETWORKS):
        ways = [way for way in WAYS if case_name(network, way, False) in cases]
        way, other = ways[i % len(ways)], ways[(i + 1) % len(ways)]
        own = {"k": 19 + 3 * i, "layers": (i + 1, 7, 12 - i, 3)[: 4 - i % 2], "theta": round(0.4 + 0.1 * i, 1)}
        typed = f"b-k={own['k']}&b-layers={'+'.join(map(str, own['layers']))}&b-theta={own['theta']}"
        shown = page.evaluate(
            SHOWN,
            f"#a={network}&a-way={way}&b={network}&b-way={other}&{typed}&batch={batch}"
            f"&side={resolution}&numbers={numbers}&optimizer={optimizer}&moment=7",
        )
        for said, method, changed in ((shown[0], way, None), (shown[1], other, own)):
            autocast = numbers == "autocast"
            case = cases.get(case_name(network, method, autocast))
            if case is None:
                assert said["need"] == [0, 0]
                assert said["batches"] == {}
                continue
            if changed and network != RESNET:
                k, layers, theta = changed.values()
                config = replace(
                    CONFIGS[network],
                    growth_rate=k,
                    num_init_features=2 * k,
                    block_config=layers,
                    compression=theta,
                )
                case = own_case(config, method, (batch, resolution), autocast=autocast)
            found = need(case, batch, resolution, optimizer)
            assert said["need"] == list(found)
            assert said["live"] == list(alive(case, batch, resolution, optimizer)[6])
            least, most = margins.bounds(case, found)
            for card, gib in CARDS.items():
                batches = largest_batch(case, resolution, gib * GIB, margins, optimizer)
                assert said["batches"][card] == list(batches)
                fits, tight = gib * GIB >= most, gib * GIB >= least
                verdict = "ds-fits" if fits else "ds-tight" if tight else "ds-too-large"
                assert said["verdicts"][card] == verdict
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
def test_the_result_is_in_view_at_every_control_of_a_phone(page: Any) -> None:
    for name in page.evaluate("Array.from(document.forms[0].elements, e => e.name)"):
        if not name:
            continue
        where = page.evaluate(
            """name => {
              scrollTo(0, 0);
              const control = document.forms[0].elements[name];
              control.focus();
              control.scrollIntoView({ block: "nearest" });
              const box = e => e.getBoundingClientRect();
              const result = box(document.querySelector(".ds-explorer-result"));
              return [result.top, result.bottom, box(control).top, box(control).bottom];
            }""",
            name,
        )
        top, bottom, control_top, control_bottom = where
        assert 0 <= top < bottom <= control_top < control_bottom <= 845, name


@pytest.mark.browser
@pytest.mark.parametrize("way", WAYS)
def test_the_smallest_and_the_largest_network_are_computed(page: Any, way: str) -> None:
    for k, layers, theta in ((4, "1 1 1 1", "0.2"), (128, "64 64 64 64", "1"), (5, "1", "0.2")):
        typed = f"a-k={k}&a-layers={layers}&a-theta={theta}".replace(" ", "+")
        shown, _ = page.evaluate(SHOWN, f"#a=densenet121&a-way={way}&{typed}&batch=3&side=96&moment=0")
        allocated, reserved = shown["need"]
        assert 0 < allocated <= reserved
        assert len(shown["batches"]) == len(CARDS)


@pytest.mark.browser
def test_keyboard_and_address(page: Any) -> None:
    reserved = "figure[data-case=a] strong"
    before = page.inner_text(reserved)
    page.focus("[name=batch]")
    page.keyboard.press("ArrowUp")
    assert page.inner_text(reserved) != before
    assert "batch=33" in page.evaluate("location.href")
    page.keyboard.press("Tab")  # the slider
    page.keyboard.press("ArrowRight")
    assert page.input_value("[name=batch]") == "64"
    live = "figure[data-case=b] svg"
    at_peak = page.get_attribute(live, "data-live")
    page.focus("[name=moment]")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute(live, "data-live") != at_peak
    assert "moment=1" in page.evaluate("location.href")
    for typed, used in (("0", "1"), ("-5", "1"), ("99999999", "65536"), ("", "1"), ("2.6", "3")):
        page.fill("[name=batch]", typed)
        page.keyboard.press("Tab")
        assert page.input_value("[name=batch]") == used
    for field, typed, used in (
        ("k", "33", "33"), ("k", "999", "128"), ("layers", "4, 5 and 300", "4 5 64"),
        ("layers", "1 2 3 4 5", "1 2 3 4"), ("layers", "none", "6 12 24 16"), ("theta", "7", "1"),
        ("theta", "0", "0.2"), ("theta", "0,65", "0.65"), ("theta", "", "0.5"), ("k", "", "32"),
    ):  # fmt: skip
        page.fill(f"[name=a-{field}]", typed)
        page.keyboard.press("Tab")
        assert page.input_value(f"[name=a-{field}]") == used
    for field, keys, used in (("k", "24", "24"), ("layers", "8 8 8", "8 8 8"), ("theta", ".7", "0.7")):
        page.focus(f"[name=a-{field}]")  # a key at a time, as a reader types
        for key in ("Control+A", "Delete", *keys, "Tab"):
            page.keyboard.press("Space" if key == " " else key)
        assert page.input_value(f"[name=a-{field}]") == used
    assert "DenseNet‑121 with k = 24, 8·8·8 layers, θ = 0.7" in page.inner_text(
        "figure[data-case=a]"
    ).replace("\xa0", " ")
    assert "a-layers=8+8+8" in page.evaluate("location.href")
    page.select_option("[name=a]", "densenet161")
    assert page.input_value("[name=a-k]") == "48"
    assert page.input_value("[name=a-layers]") == "6 12 36 24"
    page.select_option("[name=b]", "book-resnet18")
    assert page.input_value("[name=b-way]") == "plain"
    assert all(page.is_disabled(f"[name=b-{field}]") for field in ("k", "layers", "theta"))
    assert not page.is_disabled("[name=optimizer]")
    for name in "ab":
        page.select_option(f"[name={name}-way]", "inference")
    assert page.is_disabled("[name=optimizer]")
    page.evaluate("location.hash = '#batch=5&side=96&a=nothing&length=3&elements=2'")
    page.wait_for_function("document.querySelector('[name=batch]').value === '5'")
    assert page.input_value("[name=a]") == "densenet161"
    assert page.input_value("[name=side]") == "96"
    page.evaluate("location.hash = '#explorer'")  # the address of a place on the page
    page.wait_for_timeout(50)
    assert page.evaluate("location.href").endswith("#explorer")
    page.fill("[name=batch]", "6")
    shared = page.evaluate("location.href")
    assert "a=densenet161" in shared
    page.goto("about:blank")
    page.goto(shared)
    assert page.input_value("[name=a]") == "densenet161"
    assert page.input_value("[name=b]") == "book-resnet18"
    assert page.input_value("[name=batch]") == "6"
    assert page.evaluate("location.href") == shared


@pytest.mark.site
def test_the_built_page_has_it_and_tables_without_javascript(
    cases: dict[str, ExplorerCase], margins: Margin, site: Path
) -> None:
    from densenet_solutions.site.build.plugin import without_search_noise

    html = (site / "explorer/index.html").read_text(encoding="utf-8")
    assert without_search_noise(explorer(cases, margins).html) in html
    assert "assets/explorer.js" in html
    assert reserved_table(cases, 32, 224).html in html
    assert batch_table(cases, margins, 224).html in html
    assert 'id="explorer" data-search-exclude hidden' in html
