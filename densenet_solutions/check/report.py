"""What a check says: one report for the terminal, the notebook and programs."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Kind = Literal["right", "wrong", "harmless", "note"]
_MARKS = {"right": "✓", "wrong": "✗", "harmless": "○", "note": "·"}
_COLORS = {"right": "green", "wrong": "red", "harmless": "yellow", "note": "dim"}


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
        return not self.wrong

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that fail the check."""
        return tuple(finding for finding in self.findings if finding.kind == "wrong")

    def to_json(self) -> str:
        """The report as a JSON object: `title`, `passed` and the fields of the class."""
        return json.dumps({"passed": self.passed} | asdict(self), ensure_ascii=False, indent=2)

    @property
    def _verdict(self) -> str:
        return "passed" if self.passed else "not passed"

    def __str__(self) -> str:
        lines = [f"{self.title}: {self._verdict}"]
        for finding in self.findings:
            lines.append(f"{_MARKS[finding.kind]} {finding.text}")
            lines += [f"    {more}" for more in (finding.line, finding.where) if more]
        return "\n".join(lines)

    __repr__ = __str__

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        color = "green" if self.passed else "red"
        yield Text.assemble((self.title, "bold"), ": ", (self._verdict, f"bold {color}"))
        for finding in self.findings:
            mark = Text(f"{_MARKS[finding.kind]} ", style=_COLORS[finding.kind])
            grid = Table.grid()
            grid.add_row(mark, Text(finding.text))  # text, not markup
            for more in (finding.line, finding.where):
                if more:
                    grid.add_row("", Padding(Text(more, style="dim"), (0, 0, 0, 2), expand=False))
            yield grid

    def _repr_html_(self) -> str:
        items = "".join(
            f'<li data-kind="{finding.kind}">{_MARKS[finding.kind]} {html.escape(finding.text)}'
            + "".join(
                f"<br><small>{html.escape(more)}</small>"
                for more in (finding.line, finding.where)
                if more
            )
            + "</li>"
            for finding in self.findings
        )
        return (
            f'<div class="ds-report"><p><strong>{html.escape(self.title)}: {self._verdict}'
            f'</strong></p><ul style="list-style:none;padding-left:0">{items}</ul></div>'
        )
