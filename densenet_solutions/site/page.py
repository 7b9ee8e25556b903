"""The recurring parts of a page: source code, and where its numbers come from."""

from __future__ import annotations

import datetime
import ast
import inspect
import os
import textwrap
from pathlib import Path
from typing import Any

from densenet_solutions.records import store
from densenet_solutions.records.store import Record, provenance
from densenet_solutions.site.html import Markdown

_PACKAGE = Path(__file__).parents[1]
_DISTRIBUTIONS = {"torch": "PyTorch", "scikit-learn": "scikit-learn", "numpy": "NumPy"}


#: Characters of a listing's line that fit into the column of text.
LISTING = 78


def source(obj: Any) -> Markdown:
    """The code of a class or function of the package, with a link to where it stands.

    The first sentence of its docstring comes before the listing. Docstrings are left out of it,
    lines are broken to fit, and a comment that makes its line too long stands above that line. A
    decorated function is shown with its decorators, an `__init__` below the first line of its class.

    Raises:
        ValueError: `obj` is not defined in the package, or a line of it is too long for the page.
    """
    obj = inspect.unwrap(obj)
    path = Path(inspect.getsourcefile(obj) or "")
    if not path.is_relative_to(_PACKAGE):
        raise ValueError(f"source shows objects of densenet_solutions, got {obj!r}")
    lines, start = inspect.getsourcelines(obj)
    import black  # of the extra docs; a notebook does not come here

    shown = textwrap.dedent("".join(lines))
    if obj.__qualname__.endswith(".__init__"):
        owner = getattr(inspect.getmodule(obj), obj.__qualname__.partition(".")[0])
        shown = inspect.getsource(owner).split("\n", 1)[0] + "\n" + textwrap.indent(shown, " " * 4)
    code = _listing(shown)
    code = black.format_str(code, mode=black.Mode(line_length=LISTING)).rstrip()
    wide = [line for line in code.splitlines() if len(line) > LISTING]
    if wide:
        raise ValueError(f"a line of a listing has at most {LISTING} characters, got {wide[0]!r}")
    inside = path.relative_to(_PACKAGE)
    file = f"densenet_solutions/{inside.as_posix()}"
    repository = os.environ.get("DENSENET_SOLUTIONS_REPO_URL", "").rstrip("/")
    if repository:
        link = f"{repository}/blob/main/{file}#L{start}-L{start + len(lines) - 1}"
    else:  # a room without a page in the reference fails the strict build
        link = f"/reference/{inside.parts[0].removesuffix('.py')}.md"
    said = inspect.cleandoc(obj.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    said += "\n\n" if said else ""
    return Markdown(
        f"{said}```python\n{code}\n```\n\n[`{file}`, line {start}]({link}){{ .ds-source }}\n"
    )


def _listing(code: str) -> str:
    """Code without docstrings; comments behind a line that is too long go above it."""
    lines: list[str | None] = list(code.splitlines())
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            assert text.end_lineno is not None
            end = text.end_lineno
            while len(node.body) > 1 and end < len(lines) and not (lines[end] or "").strip():
                end += 1
            lines[text.lineno - 1 : end] = [None] * (end - text.lineno + 1)
    shown = []
    for line in lines:
        if line is None:
            continue
        before, mark, comment = line.partition("  # ")
        if comment.startswith(("fmt:", "noqa", "type:")):
            line = before
        elif mark and len(line) > LISTING:
            shown.append(f"{before[: len(before) - len(before.lstrip())]}# {comment}")
            line = before
        shown.append(line)
    return "\n".join(shown).rstrip()


def record_note(*records: Record) -> Markdown:
    """One paragraph under what was recorded: where its numbers were made, a sentence an origin.

    Without `records` it speaks of the one that the page loaded last.

    Raises:
        ValueError: no record was given, and none was loaded.
    """
    if not records:
        if not store.loaded:
            raise ValueError("record_note() speaks of the record loaded last, and there is none")
        records = (store.loaded[-1],)
    said = " ".join(dict.fromkeys(f"Recorded on {record.origin}." for record in records))
    return Markdown(f"{said}\n{{ .ds-origin }}")


def how_made() -> Markdown:
    """The section "How these numbers were made": this build, and every record the page loaded."""
    here = provenance("cpu")
    versions = [
        f"{title} {here.packages[name]}"
        for name, title in _DISTRIBUTIONS.items()
        if name in here.packages
    ]
    text = (
        f"What comes from no recording was computed when this page was "
        f"built, on {datetime.date.today()}: densenet-solutions {here.package}, "
        f"Python {here.python}, {', '.join(versions)}, {here.device}."
    )
    if not store.loaded:
        return Markdown(text + " Nothing on this page is recorded.")
    groups: dict[tuple[str, str], list[str]] = {}
    for record in {record.name: record for record in store.loaded}.values():
        failed = len(record.out_of_memory)
        missing = f", {failed} of them out of memory" if failed else ""
        cases = f"{len(record.cases)} case{'s' if len(record.cases) != 1 else ''}"
        made = record.origin, record.command.replace(record.name, "NAME")
        groups.setdefault(made, []).append(f"`{record.name}` ({cases}{missing})")
    lines = [
        f"- on {origin}, by `{command}`: {', '.join(names)}"
        for (origin, command), names in groups.items()
    ]
    return Markdown(
        text + "\n\nRecorded, because they need more time or other hardware:\n\n" + "\n".join(lines)
    )
