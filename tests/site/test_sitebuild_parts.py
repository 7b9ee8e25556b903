"""The parts of the site's build, each by itself and without MkDocs."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from densenet_solutions.site.build.cache import PageCache, environment, package_digest, page_key
from densenet_solutions.site.build.compose import compose
from densenet_solutions.site.build.downloads import write_notebook
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
            cell("1 + 1", new_output("execute_result", data={"text/plain": "2"})),
            cell("hidden()", shows(text_html="<b>!!! x</b>"), tags=("hide-input",)),
            cell("say()", shows(text_markdown="!!! note\n    text"), tags=("hide-input",)),
        ]
    )
    document = compose(notebook, "a.py")
    assert "```python\n1 + 1\n```" in document.markdown
    assert "```{ .text .ds-stdout }\n2\n```" in document.markdown
    assert "hidden()" not in document.markdown
    assert "<b>" not in document.markdown
    assert "!!! note\n    text" in document.markdown
    assert document.fill("<!--ds-output-0-->") == '<div class="ds-output"><b>!!! x</b></div>'


def test_a_fence_is_longer_than_any_in_the_code() -> None:
    text = compose(new_notebook(cells=[cell('x = """\n```\n"""', tags=("show",))]), "a.py").markdown
    assert text.startswith("````python\n")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (cell("x", tags=("hide_input",)), r"cell 1 has the tags \['hide_input'\]"),
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


def test_key_follows_page_package_and_environment() -> None:
    key = page_key(b"page", "package", "env")
    assert key == page_key(b"page", "package", "env")
    others = {page_key(b"pagE", "package", "env"), page_key(b"page", "x", "env")}
    assert len(others | {page_key(b"page", "package", "y"), key}) == 4


def test_digest_follows_sources_records_and_nothing_else(tmp_path: Path) -> None:
    for name in ("models/a.py", "records/a.json", "cli/a.py", "__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    digest = package_digest(tmp_path)
    (tmp_path / "__pycache__/a.pyc").write_text("2")
    (tmp_path / "cli/a.py").write_text("2")
    assert package_digest(tmp_path) == digest
    (tmp_path / "records/a.json").write_text("2")
    after_record = package_digest(tmp_path)
    assert after_record != digest
    (tmp_path / "models/a.py").write_text("2")
    assert package_digest(tmp_path) != after_record


def test_environment_names_versions_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment()
    assert "torch=" in before
    assert "mkdocs-jupyter=" in before
    monkeypatch.setenv("DENSENET_SOLUTIONS_REPO_URL", "https://example.org/x")
    assert environment() != before


NOTEBOOK = new_notebook(cells=[new_markdown_cell("# A")], metadata={"densenet": {"cells": 1}})


def test_cache_returns_what_it_got_and_forgets_the_old(tmp_path: Path) -> None:
    cache = PageCache(tmp_path)
    assert cache.load("a/b.py", "k" * 64) is None
    cache.store("a/b.py", "k" * 64, NOTEBOOK)
    cache.store("a/b.py", "l" * 64, NOTEBOOK)
    assert cache.load("a/b.py", "l" * 64) == NOTEBOOK
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 3}', "half", "edit", "binary"])
def test_damaged_entry_is_no_entry(tmp_path: Path, damage: str) -> None:
    cache = PageCache(tmp_path)
    cache.store("a.py", "k" * 64, NOTEBOOK)
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    if damage == "half":
        path.write_text(text[: len(text) // 2])
    elif damage == "edit":
        entry = json.loads(text)
        entry["notebook"] = entry["notebook"].replace("# A", "# B")
        path.write_text(json.dumps(entry))
    elif damage == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    else:
        path.write_text(damage)
    assert cache.load("a.py", "k" * 64) is None


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    PageCache(tmp_path / "file").store("a.py", "k" * 64, NOTEBOOK)


# downloads


def test_download_is_a_valid_notebook_and_always_the_same(tmp_path: Path) -> None:
    page = '# %% [markdown]\n# # Title\n\n# %% tags=["hide-input"]\nx = 1\n'
    write_notebook(page, str(tmp_path / "a.ipynb"), None)
    write_notebook(page, str(tmp_path / "b.ipynb"), None)
    assert (tmp_path / "a.ipynb").read_bytes() == (tmp_path / "b.ipynb").read_bytes()
    notebook = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [c.cell_type for c in notebook.cells] == ["markdown", "markdown", "code"]
    write_notebook(page, str(tmp_path / "c.ipynb"), "https://example.org/repo")
    assert "git+https://example.org/repo" in (tmp_path / "c.ipynb").read_text()
