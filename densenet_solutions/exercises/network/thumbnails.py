"""The home page's six small pictures: the idea of each answer without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from densenet_solutions.models import DenseNetConfig
from densenet_solutions.site.draw import Board
from densenet_solutions.site.html import Html

_WIDTH, _HEIGHT = 160.0, 96.0


def thumbnail(exercise: str) -> Html:
    """The picture of an exercise: `"1"`, `"2"`, `"3.1"`, `"3.2"`, `"4"` or `"5"`.

    Raises:
        ValueError: there is no such exercise.
    """
    if exercise not in _DRAWINGS:
        raise ValueError(f"an exercise is one of {list(_DRAWINGS)}, got {exercise!r}")
    draw, alt = _DRAWINGS[exercise]
    board = Board(_WIDTH, _HEIGHT)
    draw(board)
    return Html(board.svg(alt))


def _window(board: Board) -> None:
    for i, (color, opacity) in enumerate(
        (("positive", 0.3), ("negative", 0.6), ("positive", 0.9), ("positive", 0.15))
    ):
        board.box(4 + 36 * (i % 2), 12 + 36 * (i // 2), 34, 34, color, opacity=opacity)
    board.line((82, 47), (112, 47), arrow=True)
    board.box(120, 30, 34, 34, "positive", opacity=0.25)


def _square_and_strip(board: Board) -> None:
    board.box(4, 4, 88, 88, "resnet", opacity=0.75)
    board.box(104, 45, 52, 6, "densenet", opacity=0.85)


def _crossing(board: Board) -> None:
    board.line((6, 4), (6, 90), (154, 90), stroke="quiet")
    board.line((6, 58), (154, 30), stroke="resnet", thickness=2.5)
    board.line((6, 80), (154, 8), stroke="densenet", thickness=2.5)


def _copies(board: Board) -> None:
    for i in range(5):
        board.box(4, 78 - 15 * i, 22 + 11 * i, 12, "activations", opacity=0.75)
    board.box(90, 78, 66, 12, "activations", opacity=0.9)


def _hourglass(board: Board) -> None:
    config, x = DenseNetConfig(), 3.0
    for n, (entering, leaving), side in zip(
        config.block_config, config.block_widths, (56, 28, 14, 7), strict=True
    ):
        board.shape((x, 60), (x, 60 - entering / 18), (x + 2.3 * n, 60 - leaving / 18),
                    (x + 2.3 * n, 60), fill="densenet", opacity=0.8)  # fmt: skip
        board.box(x, 62, 2.3 * n, side * 0.55, "input", opacity=0.6)
        x += 2.3 * n + 6


def _house(board: Board) -> None:
    board.shape((80, 6), (128, 44), (32, 44), fill="densenet", opacity=0.8)
    for i in range(4):
        board.box(42, 46 + 12 * i, 76, 10, "input", opacity=0.5)
        board.box(42, 46 + 12 * i, 19 * (i + 1), 10, "densenet", opacity=0.7)


_DRAWINGS: Mapping[str, tuple[Callable[[Board], None], str]] = {
    "1": (_window, "A window of four values, one of them negative, becomes one value."),
    "2": (_square_and_strip, "A large square of weights beside a short thin strip."),
    "3.1": (_crossing, "Two lines of memory over batch cross: one starts lower and is steeper."),
    "3.2": (_copies, "A pile of growing copies beside a single row of features."),
    "4": (_hourglass, "Four blocks in which channels grow while the image shrinks."),
    "5": (_house, "A house whose floors are layers, each with more features than the last."),
}
