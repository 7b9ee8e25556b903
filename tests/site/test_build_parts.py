"""The parts of the site's build, each by itself and without MkDocs."""

import importlib.metadata
from pathlib import Path

import markdown
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from densenet_solutions.site.build.cache import PageCache, page_key, surroundings
from densenet_solutions.site.build.compose import compose
from densenet_solutions.site.build.mathml import plain_math, render_math, to_mathml


def cell(source: str, *outputs: nbformat.NotebookNode, tags: tuple[str, ...] = ()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def shows(**data: str) -> nbformat.NotebookNode:
    return new_output("display_data", data={k.replace("_", "/"): v for k, v in data.items()})


# compose


def test_cells_and_outputs_become_one_document() -> None:
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Title"),
            cell("1 + 1", shows(text_plain="2"), tags=("show",)),
            cell("hidden()", shows(text_html="<b>!!! x</b>")),
            cell("hidden()", shows(text_markdown="!!! note\n    text")),
        ]
    )
    document = compose(notebook, "a.py")
    assert "```python\n1 + 1\n```" in document.markdown
    assert "```{ .text .ds-stdout }\n2\n```" in document.markdown
    assert "hidden()" not in document.markdown
    assert "<b>" not in document.markdown
    assert "!!! note\n    text" in document.markdown
    assert document.fill("<!--ds-output-0-->") == '<div class="ds-output"><b>!!! x</b></div>'


def test_lines_to_run_are_folded_with_what_they_put_out() -> None:
    folded = cell("1 + 1", shows(text_plain="2"), shows(text_html="<b>3</b>"), tags=("lines",))
    document = compose(new_notebook(cells=[folded, cell("", tags=("show",))]), "a.py")
    html = markdown.markdown(
        document.markdown, extensions=["pymdownx.details", "pymdownx.superfences"]
    )
    fold = html[html.index("<details") : html.index("</details>")]
    assert fold.index("1") < fold.index("ds-stdout") < fold.index("<!--ds-output-0-->")
    assert html.endswith("</details>")


def test_a_fence_is_longer_than_any_in_the_code() -> None:
    text = compose(new_notebook(cells=[cell('x = """\n```\n"""', tags=("show",))]), "a.py").markdown
    assert text.startswith("````python\n")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (cell("x", tags=("hide-input",)), r"cell 1 has the tags \['hide-input'\]"),
        (cell("x", new_output("stream", name="stderr", text="careful")), "writes to stderr"),
        (cell("x", shows(image_png="00", text_plain="Figure")), "site.figures.svg"),
    ],
)
def test_what_a_page_cannot_show_is_refused(bad: nbformat.NotebookNode, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose(new_notebook(cells=[bad]), "a.py")


# mathml


def test_formula_becomes_mathml() -> None:
    html = render_math('<p><span class="arithmatex">\\(k &lt; 4k\\)</span></p>', "a.md")
    assert html.startswith("<p><math")
    assert "<mo>&#x0003C;</mo>" in html
    block = render_math('<div class="arithmatex">\\[\\frac{1}{2}\\]</div>', "a.md")
    assert 'display="block"' in block
    assert "<mfrac>" in block


@pytest.mark.parametrize("tex", [r"\nosuchcommand{x}", r"\left( x"])
def test_unknown_tex_is_refused(tex: str) -> None:
    with pytest.raises(ValueError, match=r"page.md: .*formula"):
        to_mathml(tex, page="page.md")


def test_headings_lose_their_tex() -> None:
    assert plain_math(r"Growth rate \(k\)") == "Growth rate k"


# cache


def test_key_follows_page_and_surroundings() -> None:
    assert page_key("page", "around") == page_key("page", "around")
    assert (
        len({page_key(*both) for both in (("page", "around"), ("pagE", "around"), ("page", "a"))})
        == 3
    )


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("models/a.py", True),
        ("records/a.json", True),
        ("site/page.py", True),
        ("site/build/run.py", True),
        ("site/build/interpret.py", True),
        ("site/build/compose.py", False),
        ("cli/a.py", False),
        ("models/__pycache__/a.pyc", False),
        ("models/.a.py.swp", False),
    ],
)
def test_surroundings_are_what_pages_can_see(tmp_path: Path, name: str, counts: bool) -> None:
    before = surroundings(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("1")
    first = surroundings(tmp_path)
    (tmp_path / name).write_text("2")
    assert (before != first, first != surroundings(tmp_path)) == (counts, counts)


def test_every_installed_distribution_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SciPy was forgotten once, when they were listed by hand."""
    lines = surroundings(tmp_path).splitlines()
    for name in ("torch", "scipy", "matplotlib"):
        assert f"{name}={importlib.metadata.version(name)}" in lines
    new = tmp_path / "libraries/something-1.5.dist-info"
    new.mkdir(parents=True)
    (new / "METADATA").write_text("Metadata-Version: 2.1\nName: something\nVersion: 1.5\n")
    monkeypatch.syspath_prepend(new.parent)
    assert "something=1.5" in surroundings(tmp_path / "package").splitlines()


def test_variables_that_pages_show_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = surroundings(tmp_path)
    monkeypatch.setenv("DENSENET_SOLUTIONS_REPO_URL", "https://example.org/x")
    assert surroundings(tmp_path) != before


NOTEBOOK = new_notebook(cells=[new_markdown_cell("# A")], metadata={"densenet": {"cells": 1}})


def test_cache_returns_what_it_got_and_forgets_the_old(tmp_path: Path) -> None:
    cache = PageCache(tmp_path)
    assert cache.load("a/b.py", "k") is None
    cache.store("a/b.py", "k", NOTEBOOK)
    cache.store("a/b.py", "l", NOTEBOOK)
    cache.store("a.py", "l", NOTEBOOK)
    assert cache.load("a/b.py", "k") is None
    assert cache.load("a/b.py", "l") == NOTEBOOK
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00"])
def test_what_cannot_be_read_is_no_entry(tmp_path: Path, damage: bytes) -> None:
    cache = PageCache(tmp_path)
    cache.store("a.py", "k", NOTEBOOK)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert cache.load("a.py", "k") is None


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    PageCache(tmp_path / "file").store("a.py", "k", NOTEBOOK)
