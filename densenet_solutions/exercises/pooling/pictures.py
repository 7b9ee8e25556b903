"""The picture of exercise 1: a real feature map, pooled in three ways, and the gradient back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from densenet_solutions.exercises.pooling.features import FeatureMap
from densenet_solutions.site.draw import COLUMN, PHONE, Board
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html

Matrix = Sequence[Sequence[float]]

#: What a pooling is called in figures and tables.
NAMES = {"average": "average", "max": "maximum", "stride": "stride"}


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
        ("convolved", feature_map.before, pooled, ("positive", "negative")),
        ("gradient", feature_map.gradient, routed, ("gradients", "gradients")),
    )

    def draw(width: float) -> Board:
        gap = 14.0 if width > 400 else 8.0
        side = (width - gap * len(pooled)) / (1 + len(pooled))
        board = Board(width, 2 * (side + 34))
        for j, (title, single, many, colors) in enumerate(rows):
            y = j * (side + 34)
            largest = max(abs(value) for line in single for value in line)
            back = max(abs(value) for m in many.values() for line in m for value in line)
            _cells(board, 0, y + 24, side, single, largest, colors)
            board.text(0, y + 10, title, size=12, bold=True)
            for i, (name, matrix) in enumerate(many.items(), start=1):
                board.text(i * (side + gap), y + 10, NAMES[name], size=12)
                strongest = back if j else largest
                _cells(board, i * (side + gap), y + 24, side, matrix, strongest, colors)
        return board

    return figure(
        draw(COLUMN), draw(PHONE), caption=caption,
        alt=f"A real feature map of a trained DenseNet ({feature_map.label}), pooled in three "
        "ways. The average has lost contrast, the maximum most of the negative cells, the stride "
        "what it skipped. Below, the gradient that comes back: the average hands it to all four "
        "cells of a window, maximum and stride to one cell, and three stay empty.",
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
    """A square a value: its opacity is the size, its colour the sign."""
    step = side / len(values)
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            share = min(1.0, abs(value) / largest)
            if share > 0.01:
                color = colors[value < 0]
                board.box(x + j * step, y + i * step, step - 0.5, step - 0.5, color, opacity=share)
    board.box(x, y, side - 0.5, side - 0.5, stroke="line")
