"""The recurring parts of a page: sentences with live numbers, source code, verdicts, provenance."""

from __future__ import annotations

import datetime
import inspect
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from densenet_solutions.records.store import Record, provenance
from densenet_solutions.site.html import Markdown

Verdict = Literal["holds", "holds with a condition", "does not hold", "not decidable here"]

_PACKAGE = Path(__file__).parents[1]
_DISTRIBUTIONS = {"torch": "PyTorch", "scikit-learn": "scikit-learn", "numpy": "NumPy"}


def say(markdown: str) -> Markdown:
    """A paragraph (or more) of the site's Markdown, indentation in common taken off.

    Admonitions, math and relative links work; the numbers come from f-string expressions.
    """
    return Markdown(textwrap.dedent(markdown).strip())


def source(obj: Any) -> Markdown:
    """The code of a class or function of the package, as it stands in its file, with a link.

    A decorated function is shown with its decorators.

    Raises:
        ValueError: `obj` is not defined in the package.
    """
    obj = inspect.unwrap(obj)
    path = Path(inspect.getsourcefile(obj) or "")
    if not path.is_relative_to(_PACKAGE):
        raise ValueError(f"source shows objects of densenet_solutions, got {obj!r}")
    lines, start = inspect.getsourcelines(obj)
    code = textwrap.dedent("".join(lines)).rstrip()
    file = f"densenet_solutions/{path.relative_to(_PACKAGE).as_posix()}"
    repository = os.environ.get("DENSENET_SOLUTIONS_REPO_URL", "").rstrip("/")
    if repository:
        link = f"{repository}/blob/main/{file}#L{start}-L{start + len(lines) - 1}"
    else:
        link = f"/reference/{_reference_page(path)}.md"
    return Markdown(f"```python\n{code}\n```\n\n[`{file}`, line {start}]({link}){{ .ds-source }}\n")


def claims(rows: Sequence[tuple[str, Verdict, str]]) -> Markdown:
    """What people say, checked: each claim with its verdict and the evidence, all Markdown.

    Raises:
        ValueError: a verdict is none of the four.
    """
    blocks = []
    for claim, verdict, evidence in rows:
        if verdict not in get_args(Verdict):
            raise ValueError(f"a verdict is one of {get_args(Verdict)}, got {verdict!r}")
        kind = verdict.replace(" ", "-")
        blocks.append(
            f'<div class="ds-claim ds-{kind}" markdown="1">\n\n'
            f"**{claim.strip()}** *{verdict}*{{ .ds-verdict }}\n\n"
            f"{textwrap.dedent(evidence).strip()}\n\n</div>"
        )
    return Markdown("\n\n".join(blocks))


def answers(rows: Sequence[tuple[str, str, str, str]]) -> Markdown:
    """The home page's cards: `(question, link, number, sentence)`, all Markdown."""
    cards = [
        f'<div class="ds-answer" markdown="1">\n\n## [{question}]({link})\n\n'
        f'<span class="ds-number">{number}</span>\n\n{textwrap.dedent(sentence).strip()}\n\n</div>'
        for question, link, number, sentence in rows
    ]
    inside = "\n\n".join(cards)
    return Markdown(f'<div class="ds-answers" markdown="1">\n\n{inside}\n\n</div>')


def record_note(record: Record) -> Markdown:
    """One line under a recorded figure: where its numbers were made."""
    return Markdown(f"Recorded on {record.origin}.\n{{ .ds-origin }}")


def how_made(*records: Record) -> Markdown:
    """The section "How these numbers were made": this build's environment, and each record's."""
    here = provenance("cpu")
    versions = [
        f"{title} {here.packages[name]}"
        for name, title in _DISTRIBUTIONS.items()
        if name in here.packages
    ]
    text = (
        f"Everything on this page that is not marked as recorded was computed when the page was "
        f"built, on {datetime.date.today()}: densenet-solutions {here.package}, Python {here.python}, "
        f"{', '.join(versions)}, {here.device}."
    )
    if not records:
        return Markdown(text + " Nothing on this page is recorded.")
    groups: dict[tuple[str, str], list[str]] = {}
    for record in records:
        out_of_memory = sum(
            1
            for case in record.cases.values()
            if isinstance(case, dict) and case.get("out_of_memory")
        )
        missing = f", {out_of_memory} of them out of memory" if out_of_memory else ""
        seed = "" if record.seed is None else f", seed {record.seed}"
        cases = f"{len(record.cases)} case{'s' if len(record.cases) != 1 else ''}"
        made = record.origin, record.command.replace(record.name, "NAME")
        groups.setdefault(made, []).append(f"`{record.name}` ({cases}{missing}{seed})")
    lines = [
        f"- on {origin}, by `{command}`: {', '.join(names)}"
        for (origin, command), names in groups.items()
    ]
    return Markdown(
        text + "\n\nRecorded, because they need more time or other hardware:\n\n" + "\n".join(lines)
    )


def _reference_page(path: Path) -> str:
    top = path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
    return (
        top
        if top
        in (
            "models",
            "memory",
            "measure",
            "houses",
            "records",
            "training",
            "exercises",
            "site",
        )
        else "training"
    )
