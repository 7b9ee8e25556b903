"""A small drawing board: shapes and words in, one inline SVG out.

Colours are meanings, see `site.figures.colour`. Text stays text. Units are CSS pixels at full size,
so that text of 12 is read at 12 where the drawing is as wide as it was made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Concatenate, Literal, ParamSpec

from densenet_solutions.site.figures import colour, image

P = ParamSpec("P")
Anchor = Literal["start", "middle", "end"]
#: No text may be smaller: it is the smallest that is read on a phone.
SMALLEST = 11.0
#: Widths of a drawing: for the column of text, and for a phone of 390 pixels.
COLUMN, PHONE = 640.0, 358.0


def sub(number: int) -> str:
    """A number as subscript.

    Examples:
        >>> f"x{sub(12)}"
        'x₁₂'
    """
    return "".join(chr(0x2080 + int(digit)) for digit in str(number))


class Board:
    """A drawing of `width` × `height`. Shapes are drawn over each other in their order.

    `wide` says that there is more room than on a phone.
    """

    def __init__(self, width: float, height: float = 0) -> None:
        self.width, self.height = width, height
        self.wide = width > PHONE
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "none",
        *,
        stroke: str = "none",
        opacity: float = 1,
        dashed: bool = False,
        radius: float = 0,
        thickness: float = 1,
    ) -> None:
        """A rectangle with its upper left corner at `(x, y)`."""
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
            + (f' rx="{_n(radius)}"' if radius else "")
            + f' style="{_paint(fill, stroke, opacity, dashed, thickness)}"/>'
        )

    def line(
        self,
        *points: tuple[float, float],
        stroke: str = "ink",
        thickness: float = 1.25,
        dashed: bool = False,
        arrow: bool = False,
    ) -> None:
        """A line through points; `arrow` gives it a head at its end."""
        self._path("M" + "L".join(_each(points)), _paint("none", stroke, 1, dashed, thickness))
        if arrow:
            self._head(points[-2], points[-1], stroke)

    def curve(
        self,
        start: tuple[float, float],
        bend: tuple[float, float],
        end: tuple[float, float],
        *,
        stroke: str = "ink",
        thickness: float = 1.25,
        arrow: bool = False,
        opacity: float = 1,
    ) -> None:
        """A quadratic curve from `start` to `end`, drawn towards `bend`."""
        path = "M{}Q{} {}".format(*_each((start, bend, end)))
        self._path(path, _paint("none", stroke, opacity, False, thickness))
        if arrow:
            self._head(bend, end, stroke, opacity)

    def shape(self, *points: tuple[float, float], fill: str, opacity: float = 1) -> None:
        """A filled polygon."""
        self._path("M" + "L".join(_each(points)) + "Z", _paint(fill, "none", opacity, False, 1))

    def circle(
        self, x: float, y: float, radius: float, fill: str = "none", *, stroke: str = "none"
    ) -> None:
        """A circle around `(x, y)`."""
        self._parts.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" '
            f'style="{_paint(fill, stroke, 1, False, 1.25)}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 12,
        anchor: Anchor = "start",
        fill: str = "ink",
        bold: bool = False,
        italic: bool = False,
    ) -> None:
        """Words on one line, with their middle at height `y`.

        Raises:
            ValueError: the text is too small to be read on a phone.
        """
        if size < SMALLEST:
            raise ValueError(f"text is at least {SMALLEST} pixels high, got {size} for {words!r}")
        style = f"font-size:{_n(size)}px;fill:{colour(fill)}"
        style += ";font-weight:650" * bold + ";font-style:italic" * italic
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y + 0.35 * size)}"'
            + (f' text-anchor="{anchor}"' if anchor != "start" else "")
            + f' style="{style}">{escape(words)}</text>'
        )

    def svg(self, alt: str) -> str:
        """The drawing; `alt` says in a sentence what is to be seen.

        Raises:
            ValueError: `alt` is not a sentence.
        """
        box = f"0 0 {_n(self.width)} {_n(self.height)}"
        return image(box, self.width, alt, "".join(self._parts))

    def _path(self, path: str, style: str) -> None:
        self._parts.append(f'<path d="{path}" style="{style}"/>')

    def _head(
        self, before: tuple[float, float], tip: tuple[float, float], fill: str, opacity: float = 1
    ) -> None:
        dx, dy = tip[0] - before[0], tip[1] - before[1]
        length = (dx * dx + dy * dy) ** 0.5 or 1
        dx, dy = dx / length, dy / length
        back = tip[0] - 7 * dx, tip[1] - 7 * dy
        left, right = ((back[0] - s * 3.5 * dy, back[1] + s * 3.5 * dx) for s in (1, -1))
        self.shape(tip, left, right, fill=fill, opacity=opacity)


def both(
    draw: Callable[Concatenate[Board, P], None], *args: P.args, **kwargs: P.kwargs
) -> tuple[Board, Board]:
    """What `draw` draws on a board for the column, and on one for a phone; it sets their heights."""
    boards = Board(COLUMN), Board(PHONE)
    for board in boards:
        draw(board, *args, **kwargs)
    return boards


def ticks(low: float, high: float, step: float) -> list[float]:
    """The multiples of `step` from `low` to `high`."""
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _paint(fill: str, stroke: str, opacity: float, dashed: bool, thickness: float) -> str:
    style = f"fill:{fill if fill == 'none' else colour(fill)}"
    if stroke != "none":
        style += f";stroke:{colour(stroke)};stroke-width:{_n(thickness)}"
    style += ";stroke-dasharray:3 2.5" * dashed
    return style + (f";opacity:{opacity:.2g}" if opacity < 1 else "")


def _each(points: Sequence[tuple[float, float]]) -> Iterable[str]:
    return (f"{_n(x)} {_n(y)}" for x, y in points)


def _n(number: float) -> str:
    """A number with at most one decimal: a tenth of a pixel is enough."""
    return f"{number:.1f}".removesuffix(".0")
