"""The two things a cell can show: HTML and Markdown. A notebook finds them by their `_repr_…_`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Html:
    """A piece of HTML that shows itself in a notebook and on the site."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"<Html, {len(self.html)} characters>"


@dataclass(frozen=True)
class Markdown:
    """Markdown that the site renders with all its extensions (admonitions, math, checked links)."""

    markdown: str

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return self.markdown
