"""One window of 2×2 values under three poolings, and the gradient's way back through each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from densenet_solutions.site.draw import Board, both
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import rounded

POOLINGS = {
    "average": lambda x: F.avg_pool2d(x, 2),
    "maximum": lambda x: F.max_pool2d(x, 2),
    "stride": lambda x: x[..., ::2, ::2],
}
_SAYS = {
    "average": "all count, all get a share",
    "maximum": "the largest counts, gets all",
    "stride": "one corner counts, always",
}


@dataclass(frozen=True)
class Window:
    """What one pooling makes of a window, and where a gradient of 1 goes: row by row."""

    values: tuple[float, ...]
    output: float
    gradient: tuple[float, ...]


def pool(pooling: str, values: Sequence[float]) -> Window:
    """Pool four values, row by row, and differentiate.

    Raises:
        ValueError: `pooling` is unknown, or there are not four values.
    """
    if pooling not in POOLINGS or len(values) != 4:
        raise ValueError(
            f"pooling is one of {list(POOLINGS)} and a window has 4 values, "
            f"got {pooling!r} and {len(values)} values"
        )
    x = torch.tensor(values, dtype=torch.float64).reshape(1, 1, 2, 2).requires_grad_()
    out = POOLINGS[pooling](x)
    out.sum().backward()
    assert x.grad is not None
    return Window(tuple(values), out.item(), tuple(x.grad.flatten().tolist()))


def window(values: Sequence[float] = (0.8, -2.0, 2.8, 0.4)) -> Html:
    """The three poolings of one window side by side, forward and back."""
    found = {name: pool(name, values) for name in POOLINGS}

    def draw(board: Board) -> None:
        cell = 44.0 if board.wide else 42.0
        board.height = 246 if board.wide else 3 * 134
        for i, (name, one) in enumerate(found.items()):
            x, y = (i * 222.0, 0.0) if board.wide else (0.0, i * 134.0)
            board.text(x, y + 10, name, bold=True, size=13)
            if board.wide:
                board.text(x, y + 28, _SAYS[name], size=11.5,
                           fill="quiet")  # fmt: skip
            else:
                board.text(x + 84, y + 10, _SAYS[name], size=11.5, fill="quiet")
            top = y + (44 if board.wide else 24)
            back = (x, top + 2 * cell + 28) if board.wide else (x + 196, top)
            _grid(board, x, top, cell, one.values, "positive", max(map(abs, values)))
            middle = top + cell
            board.line((x + 2 * cell + 6, middle), (x + 2 * cell + 26, middle), arrow=True)
            _cell(board, x + 2 * cell + 32, middle - cell / 2, cell, one.output, "positive",
                  max(map(abs, values)))  # fmt: skip
            _grid(board, *back, cell, one.gradient, "gradients", 1.0)
            if board.wide:
                board.text(x + 2 * cell + 10, back[1] + cell - 16, "gradient", size=11.5,
                           fill="quiet")  # fmt: skip
                board.text(x + 2 * cell + 10, back[1] + cell, "on its", size=11.5, fill="quiet")
                board.text(x + 2 * cell + 10, back[1] + cell + 16, "way back", size=11.5,
                           fill="quiet")  # fmt: skip
            else:
                board.text(x + 196 + 2 * cell + 8, middle - 8, "gradient", size=11.5, fill="quiet")
                board.text(x + 196 + 2 * cell + 8, middle + 8, "back", size=11.5, fill="quiet")

    average, maximum = found["average"].output, found["maximum"].output
    numbers = "; ".join(
        f"{name} gives {rounded(one.output)} and sends back "
        f"{', '.join(rounded(g) for g in one.gradient)}"
        for name, one in found.items()
    )
    return figure(
        *both(draw),
        caption=f"The average of the window is {rounded(average)}, its maximum "
        f"{rounded(maximum)}: positive and negative values cancel in the average, and every "
        "value gets the same share of the gradient.",
        alt=f"A window of {', '.join(rounded(v) for v in values)}: {numbers}.",
    )  # fmt: skip


def _grid(
    board: Board, x: float, y: float, cell: float, values: Sequence[float], color: str, top: float
) -> None:
    for i, value in enumerate(values):
        _cell(board, x + (i % 2) * cell, y + (i // 2) * cell, cell, value, color, top)


def _cell(
    board: Board, x: float, y: float, cell: float, value: float, color: str, top: float
) -> None:
    """A value as the strength of a colour; negative values of the forward pass in the other."""
    hue = "negative" if value < 0 else color
    board.box(x, y, cell - 2, cell - 2, "wash", stroke="line")
    board.box(x, y, cell - 2, cell - 2, hue, opacity=max(0.02, 0.6 * abs(value) / top))
    board.text(x + cell / 2 - 1, y + cell / 2 - 1, rounded(value), anchor="middle", size=13)
