"""Pictures of exercise 1: a feature map pooled in three ways, and trainings compared by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from densenet_solutions.exercises.pooling.comparison import Difference
from densenet_solutions.exercises.pooling.features import FeatureMap
from densenet_solutions.site.draw import Board, both, ticks
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import decimal, signed

Matrix = Sequence[Sequence[float]]

#: What a pooling is called in figures and tables.
NAMES = {"average": "average", "max": "maximum", "stride": "stride"}
#: Long names of variants, for figures and tables.
SHORT = {
    "maximum before the convolution": "maximum first",
    "average after a ReLU": "average after ReLU",
}


@dataclass(frozen=True)
class _Panel:
    """How one measure is drawn: the factor of its unit, its ticks' distance and their digits."""

    title: str
    says: str
    unit: float
    tick: float
    digits: int


_PANELS = {
    "test accuracy": _Panel("test accuracy, points", "right of 0: better", 100, 0.2, 1),
    "test loss": _Panel("test loss", "left of 0: better", 1, 0.01, 2),
    "training loss": _Panel("training loss", "left of 0: fits more closely", 1, 0.03, 2),
}


def pooled_map(
    feature_map: FeatureMap,
    pooled: Mapping[str, Matrix],
    routed: Mapping[str, Matrix],
    caption: str,
) -> Html:
    """Above: a feature map, and what each pooling makes of it; below: where the gradient goes.

    `pooled` and `routed` map the name of a pooling to the pooled map and to the gradient at the
    pool's input.
    """
    rows = (
        (
            "convolved",
            "blue: positive, orange: negative",
            feature_map.before,
            pooled,
            ("positive", "negative"),
        ),
        (
            "gradient",
            "darker: larger (by the square root)",
            feature_map.gradient,
            routed,
            ("gradients", "gradients"),
        ),
    )

    def draw(board: Board) -> None:
        gap = 14.0 if board.wide else 8.0
        side = (board.width - gap * len(pooled)) / (1 + len(pooled))
        board.height = 2 * (side + 50)
        for j, (title, legend, single, many, colors) in enumerate(rows):
            y = j * (side + 50)
            largest = max(abs(value) for line in single for value in line)
            back = max(abs(value) for m in many.values() for line in m for value in line)
            _cells(board, 0, y + 24, side, single, largest, colors)
            board.text(0, y + 10, title, size=12, bold=True)
            board.text(0, y + side + 34, legend, size=11, fill="quiet")
            for i, (name, matrix) in enumerate(many.items(), start=1):
                board.text(i * (side + gap), y + 10, NAMES[name], size=12)
                strongest = back if j else largest
                _cells(board, i * (side + gap), y + 24, side, matrix, strongest, colors)

    return figure(
        *both(draw), caption=caption,
        alt=f"A real feature map of a trained DenseNet ({feature_map.label}), pooled in three "
        "ways. The average has lost contrast; the maximum keeps the largest cell of each window, "
        "the stride one corner, and here both have a smaller share of negative cells. Below, the "
        "size of the gradient that comes back: the average hands it to all four cells of a window, "
        "maximum and stride to one cell, and three stay empty.",
    )  # fmt: skip


def _cells(
    board: Board,
    x: float,
    y: float,
    side: float,
    values: Matrix,
    largest: float,
    colors: tuple[str, str],
) -> None:
    """A square a value: its opacity is the size (of a gradient the root), its colour the sign."""
    step = side / len(values)
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            share = min(1.0, abs(value) / largest)
            share = share**0.5 if colors[0] == "gradients" else share
            if share > 0.01:
                color = colors[value < 0]
                board.box(x + j * step, y + i * step, step - 0.5, step - 0.5, color, opacity=share)
    board.box(x, y, side - 0.5, side - 0.5, stroke="line")


def differences(compared: Mapping[str, Mapping[str, Difference]], caption: str) -> Html:
    """Each variant minus the average: a panel a measure, a row a variant, a small dot a seed.

    Args:
        compared: measure → variant → difference, as `comparison.against_average` gives it.
    """
    variants = list(next(iter(compared.values())))
    step = 25.0
    tall = 34 + step * len(variants) + 24

    def draw(board: Board) -> None:
        names = 128.0
        room = board.width - names
        panel = room / len(compared) - 14 if board.wide else room - 8
        board.height = tall if board.wide else tall * len(compared) + 12 * (len(compared) - 1)
        _key(board, board.height + 14)
        board.height += 24
        for i, (measure, rows) in enumerate(compared.items()):
            x0 = names + i * (panel + 14) if board.wide else names
            y0 = 0.0 if board.wide else i * (tall + 12)
            _panel(board, _PANELS[measure], list(rows.values()), x0, y0, panel, step)
            for j, name in enumerate(variants if not (board.wide and i) else ()):
                board.text(0, y0 + 48 + j * step, SHORT.get(name, name), size=12)

    said = "; ".join(
        f"{measure}: "
        + ", ".join(f"{name} {_spoken(d, _PANELS[measure])}" for name, d in of.items())
        for measure, of in compared.items()
    )
    return figure(
        *both(draw), caption=caption,
        alt=f"Differences to the average over paired seeds, with 95% intervals. {said}.",
    )  # fmt: skip


def _key(board: Board, y: float) -> None:
    """What the marks of `differences` are."""
    x = 6.0
    for fill, words in (("ink", "differs clearly"), ("paper", "does not")):
        board.circle(x, y, 4.5, fill, stroke="ink" if fill == "ink" else "quiet")
        board.text(x + 10, y, words, size=11)
        x += 104 if fill == "ink" else 78
    board.circle(x, y, 1.6, "quiet")
    board.text(x + 8, y, "one seed", size=11)
    board.line((x + 74, y), (x + 94, y), stroke="quiet", thickness=2)
    board.text(x + 100, y, "95%", size=11)


def _panel(
    board: Board, panel: _Panel, rows: Sequence[Difference], x: float, y: float, width: float,
    step: float,
) -> None:  # fmt: skip
    ends = [panel.unit * v for d in rows for v in (*d.interval, *d.values, 0.0)]
    low, high = min(ends), max(ends)

    def at(value: float) -> float:
        return x + 8 + (value - low) / (high - low) * (width - 16)

    board.text(x, y + 8, panel.title, size=12, bold=True)
    board.text(x, y + 24, panel.says, size=11, fill="quiet")
    floor = y + 34 + step * len(rows)
    board.line((at(0), y + 34), (at(0), floor), stroke="quiet", dashed=True)
    for tick in ticks(low, high, panel.tick):
        text = signed(tick, panel.digits) if tick else "0"
        board.text(at(tick), floor + 10, text, size=11, anchor="middle", fill="quiet")
    for j, row in enumerate(rows):
        middle = y + 48 + j * step
        colour = "ink" if row.told_apart else "quiet"
        start, end = (at(panel.unit * v) for v in row.interval)
        board.line((start, middle), (end, middle), stroke=colour, thickness=2)
        for value in row.values:
            board.circle(at(panel.unit * value), middle + 8, 1.6, "quiet")
        fill = "ink" if row.told_apart else "paper"
        board.circle(at(panel.unit * row.mean), middle, 4.5, fill, stroke=colour)


def _spoken(difference: Difference, panel: _Panel) -> str:
    low, high = (decimal(panel.unit * v, panel.digits + 1) for v in difference.interval)
    mean = signed(panel.unit * difference.mean, panel.digits + 1)
    return f"{mean} ({low} to {high})" + ("" if difference.told_apart else ", not told apart")
