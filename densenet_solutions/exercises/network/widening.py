"""How a dense block widens, and how ResNet does not. Widths are to scale, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from densenet_solutions.site.draw import Board, both, sub
from densenet_solutions.site.frames import Frame, frames
from densenet_solutions.site.html import Html


def slabs(
    board: Board,
    x: float,
    y: float,
    widths: Sequence[float],
    *,
    scale: float,
    height: float = 20,
    names: Sequence[str] = (),
    color: str = "activations",
    opacity: float = 0.75,
) -> list[float]:
    """Channels as slabs side by side, each with its name; gives their edges."""
    edges = [x + scale * width for width in accumulate(widths, initial=0)]
    for i, (left, right) in enumerate(pairwise(edges)):
        board.box(left, y, right - left - (1.5 if i + 1 < len(widths) else 0), height, color,
                  opacity=opacity)  # fmt: skip
        if i < len(names) and right - left >= 13:
            board.text((left + right) / 2, y + height / 2, names[i], anchor="middle", size=12)
    return edges


def widening(num_layers: int = 4, in_channels: int = 64, growth_rate: int = 32) -> Html:
    """Frames: each layer reads the whole row above it and adds its `k` channels at the end."""

    def draw(board: Board, layers: int) -> None:
        row, gap, right = 22.0, 42.0, 200 if board.wide else 92
        scale = (board.width - right) / (in_channels + num_layers * growth_rate)
        board.height = (num_layers + 1) * row + num_layers * gap + 4
        for i in range(layers + 1):
            y = 2 + i * (row + gap)
            names = [f"x{sub(j)}" for j in range(i + 1)]
            parts = [in_channels, *[growth_rate] * i]
            if i:  # the row above stands again, and what the layer makes of it
                old = scale * (sum(parts) - growth_rate)
                new = old + scale * growth_rate
                board.shape((0, y - gap), (old, y - gap), (new, y), (old, y), fill="parameters",
                            opacity=0.32 if i == layers else 0.14)  # fmt: skip
                for edge in (0.5, old - 0.5):
                    board.line((edge, y - gap), (edge, y), stroke="line", dashed=True)
                reads = sum(parts) - growth_rate
                words = f"H{sub(i)} reads {reads}, writes {growth_rate}"
                if not board.wide:
                    words = f"{reads} → {growth_rate}"
                board.text(new + 8, y - gap / 2, words, size=12, fill="quiet", bold=i == layers)
            slabs(board, 0, y, parts, scale=scale, height=row, names=names)
            words = f"{sum(parts)}" + " channels" * board.wide
            board.text(scale * sum(parts) + 8, y + row / 2, words, size=12)

    sequence = []
    for i in range(num_layers + 1):
        reads = in_channels + (i - 1) * growth_rate
        caption = (
            f"Layer {i} reads all {reads} channels and adds {growth_rate}: "
            f"{reads + growth_rate} from here on."
            if i
            else f"The block is entered with {in_channels} channels."
        )
        sequence.append(
            Frame(
                f"layer {i}" if i else "input",
                caption,
                *both(draw, i),
                key=i == num_layers,
            )
        )
    return frames(sequence, name="How a dense block widens", start=num_layers)


def sum_or_concatenation(
    num_layers: int = 3, width_before: int = 64, growth_rate: int = 32
) -> Html:
    """Frames: ResNet adds to what is there, DenseNet appends."""

    def draw(board: Board, layers: int) -> None:
        panel = board.width / 2 - 12
        scale = panel / (width_before + num_layers * growth_rate)
        row, gap = 22.0, 46.0
        board.height = 44 + (num_layers + 1) * row + num_layers * gap
        left, right = 0.0, panel + 24
        for x, title, formula in ((left, "ResNet", "x + f(x)"), (right, "DenseNet", "[x, f(x)]")):
            board.text(x, 10, title, bold=True, size=13)
            board.text(x, 28, f"keeps {formula}", size=12, fill="quiet")
        for i in range(layers + 1):
            y = 42 + i * (row + gap)
            if i:
                reads = scale * width_before
                _function(board, left, y, gap, reads, reads / 2)
                board.text(reads / 2 + (18 if board.wide else 17), y - 9, "+", bold=True, size=14)
                reads += scale * growth_rate * (i - 1)
                _function(board, right, y, gap, reads, reads + scale * growth_rate / 2)
            slabs(board, left, y, [width_before], scale=scale, height=row, color="resnet",
                  names=[_sum(i, board.wide)], opacity=0.45)  # fmt: skip
            slabs(board, right, y, [width_before, *[growth_rate] * i], scale=scale, height=row,
                  color="densenet", names=[f"x{sub(j)}" for j in range(i + 1)],
                  opacity=0.45)  # fmt: skip

    sequence = [
        Frame(
            f"layer {i}" if i else "input",
            f"After {i} {'layer' if i == 1 else 'layers'} ResNet has one sum of "
            f"{width_before} channels, whose parts cannot be told apart; DenseNet has "
            f"{width_before + i * growth_rate} channels, all as they were written."
            if i
            else "Both begin with the same channels.",
            *both(draw, i),
            key=i == num_layers,
        )
        for i in range(num_layers + 1)
    ]  # fmt: skip
    return frames(sequence, name="Addition and concatenation", start=num_layers)


def _function(board: Board, x: float, y: float, gap: float, reads: float, place: float) -> None:
    """`f` over the row at `y`: it reads the row above and writes at `place`; the row is kept."""
    middle, at = y - gap / 2, x + place
    board.line((x + 8, y - gap + 1), (x + 8, y - 2), arrow=True, stroke="quiet")
    board.box(at - 13, middle - 10, 26, 20, "parameters", opacity=0.35, radius=3)
    board.text(at, middle, "f", anchor="middle", italic=True, size=12)
    sides = (at + 13, middle - 10), (at - 13, middle - 10)
    board.shape((x, y - gap), (x + reads, y - gap), *sides, fill="parameters", opacity=0.16)
    board.line((at, middle + 10), (at, y - 2), arrow=True, stroke="quiet")


def _sum(layers: int, wide: bool) -> str:
    parts = ["x₀", *(f"f{sub(i)}" for i in range(1, layers + 1))]
    return " + ".join(parts) if wide or layers < 2 else "x₀ + …"
