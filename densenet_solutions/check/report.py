"""What a check says: one report for the terminal, the notebook and programs."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Kind = Literal["wrong", "right", "harmless", "note"]
#: In order of importance: mark and colour.
_SIGNS: dict[Kind, tuple[str, str]] = {
    "wrong": ("✗", "red"),
    "right": ("✓", "green"),
    "harmless": ("○", "yellow"),
    "note": ("·", "dim"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was seen.

    Attributes:
        kind: `"wrong"` fails the check; `"harmless"` differs and gives the same function.
        text: what is seen, in a sentence.
        line: the line of the paper or of the book that says how it should be.
        where: the module and the line of the reader's code.
    """

    kind: Kind
    text: str
    line: str = ""
    where: str = ""

    @property
    def more(self) -> list[str]:
        return [more for more in (self.line, self.where) if more]

    @property
    def sign(self) -> tuple[str, str]:
        """Mark and colour."""
        return _SIGNS[self.kind]


def any_wrong(findings: Iterable[Finding]) -> bool:
    return any(finding.kind == "wrong" for finding in findings)


def wrong_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """In order of importance."""
    return tuple(sorted(findings, key=lambda finding: list(_SIGNS).index(finding.kind)))


@dataclass(frozen=True)
class Report:
    """The result of a check; it shows itself in a notebook and on a terminal.

    Attributes:
        title: what was held against what.
        findings: in order of importance; the first wrong one is the one to mend first.
    """

    title: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not any_wrong(self.findings)

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that fail the check."""
        return tuple(finding for finding in self.findings if finding.kind == "wrong")

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """What is worth telling of a solution that passes."""
        return tuple(finding for finding in self.findings if finding.kind != "right")

    def to_json(self) -> str:
        """The report as a JSON object: `title`, `passed` and the fields of the class."""
        return json.dumps({"passed": self.passed} | asdict(self), ensure_ascii=False, indent=2)

    @property
    def _verdict(self) -> str:
        return "passed" if self.passed else "not passed"

    def __str__(self) -> str:
        lines = [f"{self.title}: {self._verdict}"]
        for finding in self.findings:
            lines.append(f"{finding.sign[0]} {finding.text}")
            lines += [f"    {more}" for more in finding.more]
        return "\n".join(lines)

    __repr__ = __str__

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        color = "green" if self.passed else "red"
        yield Text.assemble((self.title, "bold"), ": ", (self._verdict, f"bold {color}"))
        for finding in self.findings:
            mark, style = finding.sign
            grid = Table.grid()
            grid.add_row(Text(f"{mark} ", style=style), Text(finding.text))  # text, not markup
            for more in finding.more:
                grid.add_row("", Padding(Text(more, style="dim"), (0, 0, 0, 2), expand=False))
            yield grid
        if self.passed and any(finding.kind == "harmless" for finding in self.findings):
            yield Text("○ differs, and does no harm", style="dim")

    def _repr_html_(self) -> str:
        items = []
        for finding in self.findings:
            more = "".join(f"<br><small>{html.escape(text)}</small>" for text in finding.more)
            said = f"{finding.sign[0]} {html.escape(finding.text)}{more}"
            items.append(f'<li data-kind="{finding.kind}">{said}</li>')
        head = f"<p><strong>{html.escape(self.title)}: {self._verdict}</strong></p>"
        style = "list-style:none;padding-left:0"
        return f'<div class="ds-report">{head}<ul style="{style}">{"".join(items)}</ul></div>'
