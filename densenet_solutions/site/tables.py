"""HTML tables: real header cells, numbers right-aligned, a caption; they scroll on a phone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from densenet_solutions.site.html import Html

Cell = str | int | float | None

_NUMBER = re.compile(
    r"[−+\-±]?[\d.,]+(?:\s*±\s*[\d.,]+)?\s*(?:%|×|MiB|GiB|KiB|M|G|k|s|ms|pixels)?|\[.*\d\]|—|"
)
_ALIGN = {"l": "left", "r": "right", "c": "center"}


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    caption: str | None = None,
    align: str | None = None,
) -> Html:
    """A table whose first column names the rows.

    Args:
        columns: headings.
        rows: cells; text is escaped (`` `code` `` and `**bold**` work), integers get thousands
            separated, `None` is a dash. Format floats with `site.numbers` where digits matter.
        caption: one sentence above the table.
        align: one letter of `l`, `r`, `c` a column; by default a column of numbers goes right.

    Raises:
        ValueError: a row or `align` has another length than `columns`.

    >>> table(["model", "parameters"], [["DenseNet-121", 7978856]]).html.count("<td")
    1
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"every row has {len(columns)} cells like `columns`, got {row!r}")
    text = [[_text(cell) for cell in row] for row in rows]
    if align is None:
        align = "".join(
            "r" if text and all(_NUMBER.fullmatch(row[i]) for row in text) else "l"
            for i in range(len(columns))
        )
    if len(align) != len(columns) or set(align) - set(_ALIGN):
        raise ValueError(
            f"align has one letter of l, r, c for {len(columns)} columns, got {align!r}"
        )

    styles = [f' style="text-align: {_ALIGN[a]}"' if a != "l" else "" for a in align]
    head = "".join(
        f'<th scope="col"{style}>{_inline(name)}</th>'
        for name, style in zip(columns, styles, strict=True)
    )
    body = "\n".join(f"<tr>{_row(row, styles)}</tr>" for row in text)
    title = f"<caption>{_inline(caption)}</caption>\n" if caption else ""
    label = escape(caption or "Table: " + ", ".join(columns), quote=True)
    return Html(
        f'<div class="ds-table" role="region" aria-label="{label}"><table>\n{title}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _row(cells: Sequence[str], styles: Sequence[str]) -> str:
    first = f'<th scope="row"{styles[0]}>{_inline(cells[0])}</th>'
    rest = zip(cells[1:], styles[1:], strict=True)
    return first + "".join(f"<td{style}>{_inline(cell)}</td>" for cell, style in rest)


def _text(cell: Cell) -> str:
    if cell is None:
        return "—"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}".replace("-", "−")
    if isinstance(cell, float):
        return f"{cell:.4g}".replace("-", "−")
    return str(cell)


def _inline(text: str) -> str:
    """Escape `text`; `` `code` `` and `**bold**` become elements."""
    text = escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
