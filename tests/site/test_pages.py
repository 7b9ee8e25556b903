"""The pages' sources, read without running them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest

from densenet_solutions.site.page import LISTING

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.py"))


def loads(tree: ast.AST) -> set[str]:
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def bound(cell: ast.Module) -> Iterator[str]:
    """Names that the cell gives to the page."""
    for statement in cell.body:
        if isinstance(statement, ast.FunctionDef):
            yield statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in statement.names)
        elif isinstance(statement, ast.Assign):
            targets = [node for target in statement.targets for node in ast.walk(target)]
            yield from (
                node.id
                for node in targets
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            )


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_names_nothing_that_it_does_not_use(page: Path) -> None:
    """Code or an expression of the prose uses it; what a reader is shown may end in a name."""
    given: set[str] = set()
    used: set[str] = set()
    for cell in jupytext.read(page, fmt="py:percent").cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            used |= loads(tree)
            if not cell.metadata.get("tags", ()):
                given |= set(bound(tree))
        else:
            for expression in re.findall(r"\{\{ (.+?) \}\}", cell.source, re.DOTALL):
                used |= loads(ast.parse(expression, mode="eval"))
    assert {name for name in given - used if not name.startswith("_")} == set()


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_cell_shows_what_it_makes(page: Path) -> None:
    """Only the last expression of a cell is shown: a table before it would be lost in silence."""
    lost = [
        ast.unparse(statement)
        for cell in jupytext.read(page, fmt="py:percent").cells
        if cell.cell_type == "code" and not cell.metadata.get("tags", ())
        for statement in ast.parse(cell.source).body[:-1]
        if isinstance(statement, ast.Expr)
    ]
    assert lost == []


def lines_to_run() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, cell in enumerate(jupytext.read(page, fmt="py:percent").cells):
            if "lines" in cell.metadata.get("tags", ()):
                yield f"{page.stem}, cell {number}", cell.source


LINES = dict(lines_to_run())


@pytest.mark.parametrize("where", LINES)
def test_lines_to_run_run_by_themselves_and_fit(where: str) -> None:
    """A reader copies one fold and nothing else."""
    code = LINES[where]
    exec(compile(code, where, "exec"), {})
    assert max(map(len, code.splitlines())) <= LISTING
    assert len([line for line in code.splitlines() if line.strip()]) <= 24


def test_there_are_lines_to_run_behind_the_pictures_of_the_lesson() -> None:
    pages = {where.partition(",")[0] for where in LINES}
    assert pages >= {"network", "1-average-pooling", "2-fewer-parameters", "4-table-1"}
