"""HTML tables: real header cells, numbers right-aligned, a caption; they scroll on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from html import escape
from numbers import Integral
from typing import Any, Final

from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import minus

#: As a column: the keys of `rows`, where these are a mapping.
KEY: Final = object()

#: What stands in a column: a path, a function of the row, a mapping by the row's key, or `KEY`;
#: in a tuple with its format behind it.
Column = str | int | Callable[[Any], Any] | Mapping[Any, Any] | tuple[Any, ...] | object

_ONE = r"[−+±≥-]?\s*[\d.,]+(?:e[−+-]?\d+)?\s*(?:%|×|MiB|GiB|KiB|M|G|k|s|ms|pixels)?"
_NUMBER = re.compile(rf"(?:{_ONE}(?:\s*(?:±|to)\s*{_ONE})?)?\s*(?:\[.*\d\])?|—")
_ALIGN = {"l": "left", "r": "right", "c": "center"}


def table(
    rows: Iterable[Any] | Mapping[Any, Any],
    columns: Mapping[str, Column],
    *,
    caption: str | None = None,
    align: str | None = None,
) -> Html:
    """A table of `rows`, whose first column names them.

    Args:
        rows: dataclasses, mappings or sequences, one a row, or a mapping from keys to such rows.
        columns: heading → what stands below it. A path leads to it from the row (`"name"`,
            `"config.growth_rate"`, `"evenness.2"`, `0`), a function makes it of the row, a mapping
            has it under the row's key, and `KEY` is that key. A tuple has the format too: a
            function with its further arguments, as in `("peak", mib, 0)`, or a format
            specification, as in `("mean", ".2f")`.
        caption: one sentence above the table.
        align: one letter of `l`, `r`, `c` a column; by default a column of numbers goes right.

    What is None, or missing in such a mapping, becomes a dash without being formatted; integers get
    thousands separated. Text is escaped, and `` `code` `` and `**bold**` work.

    Raises:
        ValueError: a path leads nowhere, or `align` has another length than `columns`.

    Examples:
        >>> from densenet_solutions.site.numbers import mib
        >>> steps = {"plain": {"peak": 2**30, "layers": [6, 12]}, "shared": {"peak": 2**27}}
        >>> found = table(
        ...     steps,
        ...     {
        ...         "strategy": KEY,
        ...         "peak": ("peak", mib, 0),
        ...         "of plain": (lambda row: row["peak"] / 2**30, ".2f"),
        ...         "seconds": {"plain": 3},
        ...     },
        ... )
        >>> re.findall("<t[hd].*?>(.*?)</t[hd]>", found.html)[4:]
        ['plain', '1,024 MiB', '1.00', '3', 'shared', '128 MiB', '0.12', '—']
    """
    headings = list(columns)
    items = rows.items() if isinstance(rows, Mapping) else enumerate(rows)
    text = [
        [_text(_cell(key, row, heading, columns[heading])) for heading in headings]
        for key, row in items
    ]
    if align is None:
        align = "".join(
            "r" if text and all(_NUMBER.fullmatch(row[i]) for row in text) else "l"
            for i in range(len(headings))
        )
    if len(align) != len(headings) or set(align) - set(_ALIGN):
        raise ValueError(
            f"align has one letter of l, r, c for {len(headings)} columns, got {align!r}"
        )

    styles = [f' style="text-align: {_ALIGN[a]}"' if a != "l" else "" for a in align]
    head = "".join(
        f'<th scope="col"{style}>{_inline(name)}</th>'
        for name, style in zip(headings, styles, strict=True)
    )
    body = "\n".join(f"<tr>{_row(row, styles)}</tr>" for row in text)
    title = f"<caption>{_inline(caption)}</caption>\n" if caption else ""
    label = escape(caption or "Table: " + ", ".join(headings), quote=True)
    return Html(
        f'<div class="ds-table" role="region" aria-label="{label}"><table>\n{title}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _cell(key: Any, row: Any, heading: str, column: Column) -> Any:
    what, *form = column if isinstance(column, tuple) else (column,)
    value = _value(key, row, heading, what)
    if value is None or not form:
        return value
    make, *more = form
    return make(value, *more) if callable(make) else minus(format(value, make))


def _value(key: Any, row: Any, heading: str, what: Any) -> Any:
    if what is KEY:
        return key
    if isinstance(what, Mapping):
        return what.get(key)
    if callable(what):
        return what(row)
    value = row
    for part in str(what).split("."):
        try:
            if isinstance(value, Mapping):
                value = value[part]
            else:
                value = value[int(part)] if part.isdigit() else getattr(value, part)
        except (AttributeError, LookupError, TypeError) as error:
            raise ValueError(f"the column {heading!r} is {what!r}, which {row!r} lacks") from error
    return value


def _row(cells: list[str], styles: list[str]) -> str:
    first = f'<th scope="row"{styles[0]}>{_inline(cells[0])}</th>'
    rest = zip(cells[1:], styles[1:], strict=True)
    return first + "".join(f"<td{style}>{_inline(cell)}</td>" for cell, style in rest)


def _text(cell: Any) -> str:
    if cell is None:
        return "—"
    if isinstance(cell, Integral) and not isinstance(cell, bool):
        return minus(f"{cell:,}")
    if isinstance(cell, float):
        return minus(f"{cell:.4g}")
    return str(cell)


def _inline(text: str) -> str:
    """Escape `text`; `` `code` `` and `**bold**` become elements."""
    text = escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
