"""The pool and the 1x1 convolution change places: one window, two orders, two poolings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from densenet_solutions.site.draw import Board, both
from densenet_solutions.site.frames import Frame, frames
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import rounded

_POOLS = {"average": F.avg_pool2d, "maximum": F.max_pool2d}
_FIRST, _SECOND = (1.0, 2.0, -1.0, 2.0), (2.0, 1.0, 0.0, 1.0)


def both_orders(
    channels: Sequence[Sequence[float]], weights: Sequence[float]
) -> dict[str, tuple[float, float]]:
    """For each pooling: convolve then pool, and pool then convolve, one window of four values."""
    x = torch.tensor(channels, dtype=torch.float64).reshape(1, len(channels), 2, 2)
    kernel = torch.tensor(weights, dtype=torch.float64).reshape(1, -1, 1, 1)
    return {
        name: (
            pool(F.conv2d(x, kernel), 2).item(),  # type: ignore[operator]
            F.conv2d(pool(x, 2), kernel).item(),  # type: ignore[operator]
        )
        for name, pool in _POOLS.items()
    }


def swap_frames(values: Sequence[float] = (-4, -3, -2, -1, 0, 1, 2, 3, 4)) -> Html:
    """Frames over one value of the window; weights are 1 and -1."""
    sequence = []
    for value in values:
        first = (value, *_FIRST[1:])
        found = both_orders((first, _SECOND), (1, -1))
        apart = abs(found["maximum"][0] - found["maximum"][1])
        caption = "With the average both orders give the same; with the maximum " + (
            f"they differ by {apart:g}." if apart else "they happen to agree."
        )
        label = f"first value {rounded(value)}"
        key = value in (values[0], values[-1])
        alt = f"{label}: " + "; ".join(
            f"{name}: {rounded(a)} if the convolution comes first, {rounded(b)} if the pool does"
            for name, (a, b) in found.items()
        )
        sequence.append(Frame(label, caption, *both(_draw, first, found), key=key, alt=alt))
    return frames(sequence, name="The pool and the convolution change places", start=1)


def _draw(board: Board, first: Sequence[float], found: dict[str, tuple[float, float]]) -> None:
    board.height = 128 if board.wide else 250
    for i, (name, cells) in enumerate((("channel a", first), ("channel b", _SECOND))):
        x = i * 110.0
        board.text(x, 10, name, bold=True, size=13)
        for j, value in enumerate(cells):
            at = x + 42 * (j % 2), 24 + 42.0 * (j // 2)
            board.box(*at, 40, 40, "positive" if value >= 0 else "negative",
                      opacity=0.06 + 0.13 * abs(value), stroke="line")  # fmt: skip
            board.text(at[0] + 20, at[1] + 20, rounded(value), anchor="middle", size=13,
                       bold=not i + j)  # fmt: skip
    x0, y0 = (236.0, 0.0) if board.wide else (0.0, 126.0)
    board.text(x0, y0 + 10, "convolution: a − b", bold=True, size=13)
    columns = x0 + (190 if board.wide else 196), x0 + (310 if board.wide else 296)
    for x, name in zip(columns, found, strict=True):
        board.text(x, y0 + 10, name, anchor="middle", size=12, fill="quiet")
    for row, order in enumerate(("convolve, pool", "pool, convolve")):
        y = y0 + 44 + 42.0 * row
        board.text(x0, y, order, size=13)
        for x, pair in zip(columns, found.values(), strict=True):
            same = pair[0] == pair[1]
            board.box(x - 34, y - 17, 68, 34, "wash", stroke="line" if same else "fails", radius=4,
                      thickness=1 if same else 2)  # fmt: skip
            board.text(x, y, rounded(pair[row]), anchor="middle", size=13)
