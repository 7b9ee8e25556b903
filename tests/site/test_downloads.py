"""Every page can be taken away: as a notebook that Jupyter shows and runs, and as a script."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from densenet_solutions.site.build.downloads import for_jupyter, notebook
from densenet_solutions.site.build.run import read_page, run

ROOT = Path(__file__).parents[2]
PAGES = sorted(page.stem for page in (ROOT / "docs").rglob("*.py"))
PAGE = """\
# %% [markdown]
# # Title { #top }
#
# {{ 1 + 1 }} is $x_{i=1}$, see [there](../other.py#part).
#
# {{ Html("<table>\\n\\n<td>1</td></table>") }}
#
# !!! note "Boxed"
#     {{ Html("<i>in\\n\\nit</i>") }}

# %%
from densenet_solutions.site.html import Html, Markdown
Markdown("See [it](other.py).")
"""


@pytest.fixture(scope="module")
def executed() -> nbformat.NotebookNode:
    first, _, rest = PAGE.partition("\n# %%\n")
    code = "# %%\n" + rest
    return run(read_page(code + first), "a.py", timeout=60)


def test_a_notebook_holds_what_the_page_shows(executed: nbformat.NotebookNode) -> None:
    made = notebook(executed, None, lambda link: f"https://example.org/{link}")
    nbformat.validate(made)
    assert "pip install" in made.cells[0].source
    assert [cell.cell_type for cell in made.cells] == [
        "markdown", "code", "code", "markdown", "code", "markdown",
    ]  # fmt: skip
    assert (
        made.cells[2].outputs[0].data["text/markdown"] == "See [it](https://example.org/other.py)."
    )
    assert made.cells[3].source == (
        "# Title\n\n2 is $x_{i=1}$, see [there](https://example.org/../other.py#part)."
    )
    assert made.cells[4].source == 'Html("<table>\\n\\n<td>1</td></table>")'
    assert made.cells[4].outputs[0].data["text/html"] == "<table>\n\n<td>1</td></table>"
    assert made.cells[5].source == "> **Boxed**\n>\n> <i>in it</i>"
    assert nbformat.writes(made) == nbformat.writes(
        notebook(executed, None, lambda link: f"https://example.org/{link}")
    )


def test_with_a_repository_the_first_cell_installs_the_package(
    executed: nbformat.NotebookNode,
) -> None:
    made = notebook(executed, "https://example.org/repo", lambda link: None)
    assert made.cells[0].cell_type == "code"
    assert made.cells[0].metadata["tags"] == ["install"]
    assert re.fullmatch(
        r'%pip install .*"densenet-solutions\[.*plots.*\] @ git\+https://example.org/repo"',
        made.cells[0].source,
    )


@pytest.mark.parametrize(
    ("site", "jupyter"),
    [
        ("# A { #a .b }", "# A"),
        ('text{ .c data-x="y" } more', "text more"),
        ("`{ .c }` and ``[x](a.py)`` stay", "`{ .c }` and ``[x](a.py)`` stay"),
        ("$\\frac{a}{b}_{n=1}$", "$\\frac{a}{b}_{n=1}$"),
        ("```python\n[x](a.py) { .c }\n```", "```python\n[x](a.py) { .c }\n```"),
        ("[`f`, line [1]](/reference/a.md#b){ .c }", "[`f`, line [1]](URL/reference/a.md#b)"),
        ("[x](https://example.org/a.py) [y](#z)", "[x](https://example.org/a.py) [y](#z)"),
        ('<div class="a" markdown="1">\n\n**b**\n\n</div>', "**b**"),
        (
            '??? question "Hint: `a` < b"\n    one\n\n    two\n\nrest',
            "<details>\n<summary>Hint: <code>a</code> &lt; b</summary>\n\none\n\ntwo\n\n</details>"
            "\n\nrest",
        ),
        ("This^[See [x](a.py), $k$.] holds.", "This (See [x](URLa.py), $k$.) holds."),
        ("[guess: kept] [guess: of $k$]", "kept: ____ of $k$: ____"),
        ("!!! note\n    one\n\n    two", "> **Note**\n>\n> one\n>\n> two"),
        ('!!! does-not-hold "A *b*."\n    why', "> **A *b*.** *does not hold*\n>\n> why"),
        (
            '!!! note "A"\n    ??? tip "B"\n        ```\n        c\n        ```',
            "> **A**\n>\n> <details>\n> <summary>B</summary>\n>\n> ```\n> c\n> ```\n>\n"
            "> </details>",
        ),
        ('=== "A"\n    one\n\n=== "B"\n    two', "**A**\n\none\n\n**B**\n\ntwo"),
    ],
)  # fmt: skip
def test_the_sites_markdown_becomes_jupyters(site: str, jupyter: str) -> None:
    assert for_jupyter(site, lambda link: f"URL{link}") == jupyter


def test_without_a_living_site_a_link_is_its_text() -> None:
    assert for_jupyter("[a *b*](c.py)", lambda link: None) == "a *b*"


@pytest.mark.site
def test_every_page_is_offered_as_notebook_and_script(site: Path, soups) -> None:
    offered = set()
    for page, soup in soups.items():
        for link in soup.select(".ds-build a[download]"):
            file = site / page / link["href"]
            offered.add(file)
            if file.suffix == ".ipynb":
                nbformat.validate(nbformat.read(file, as_version=4))
            else:
                compile(file.read_text("utf-8"), str(file), "exec")
    assert offered == {*site.rglob("*.ipynb"), *site.rglob("*.py")}
    assert sorted(path.stem for path in site.rglob("*.ipynb")) == PAGES


@pytest.mark.site
def test_no_markup_of_the_site_is_left_in_a_notebook(site: Path) -> None:
    found = []
    for path in site.rglob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            shown = [cell.source] if cell.cell_type == "markdown" else []
            outputs = cell.get("outputs", ())
            shown += [
                o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})
            ]
            for text in shown:
                text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)
                signs = r"^!!! |^\?\?\? |^=== |\{ ?[.#]|markdown=|\{\{|<!--ds|\]\((?!https?:|#)"
                found += [(path.name, hit) for hit in re.findall(signs, text, re.MULTILINE)]
    assert found == []


@pytest.mark.site
def test_a_notebook_runs_outside_of_the_repository(site: Path) -> None:
    """One for all: `.ci/run` runs every one, with nothing installed but the wheel."""
    command = [sys.executable, Path(__file__).with_name("notebooks.py"), site, "network"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("network.ipynb: ")


@pytest.mark.parametrize(
    ("missing", "code", "extra"),
    [
        (
            "matplotlib",
            "from densenet_solutions.site.figures import new_figure\nnew_figure()",
            "plots",
        ),
        ("jupytext", "import densenet_solutions.site.build.run", "docs"),
    ],
)
def test_what_is_not_installed_is_said_with_its_extra(missing: str, code: str, extra: str) -> None:
    code = f"import sys\nsys.modules[{missing!r}] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: {missing} is not installed; "
        f"{'figures' if extra == 'plots' else 'pages'} need the extra '{extra}': "
        f"pip install '.[{extra}]' in a clone of this repository"
    )
