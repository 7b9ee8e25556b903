"""Drawings made from a configuration: the hourglass, and who reads whom in a block."""

from __future__ import annotations

from collections.abc import Sequence

from densenet_solutions.site.draw import Board, both, sub
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html


def hourglass(
    block_config: Sequence[int],
    block_widths: Sequence[tuple[int, int]],
    resolutions: Sequence[int],
    *,
    caption: str,
) -> Html:
    """A bar a layer: upwards the channels that have been written, downwards the image's side.

    Args:
        block_config: layers of each dense block.
        block_widths: channels that enter and leave each block.
        resolutions: side of the feature maps in each block.
        caption: the finding.

    Raises:
        ValueError: the three sequences differ in length.
    """
    if not len(block_config) == len(block_widths) == len(resolutions):
        raise ValueError(
            "block_config, block_widths and resolutions have one entry a block, got "
            f"{len(block_config)}, {len(block_widths)} and {len(resolutions)}"
        )
    blocks = list(zip(block_config, block_widths, resolutions, strict=True))
    highest = max(leaving for _, leaving in block_widths)

    def draw(board: Board) -> None:
        up, down, top = (150.0, 90.0, 64.0) if board.wide else (120.0, 70.0, 60.0)
        board.height = top + up + down + 26
        axis, gap = top + up, 22.0 if board.wide else 14.0
        step = (board.width - gap * (len(blocks) - 1)) / (sum(block_config) + len(blocks))
        size = 12.0 if board.wide else 11.0
        x = 0.0
        for n, (entering, leaving), side in blocks:
            for i in range(n + 1):
                channels = entering + i * (leaving - entering) // n
                tall, deep = up * channels / highest, down * side / max(resolutions)
                at = x + i * step
                board.box(at, axis - tall, step - 0.6, tall, "densenet", opacity=0.75)
                board.box(at, axis + 3, step - 0.6, deep, "input", opacity=0.6)
            middle = min(max(x + (n + 1) * step / 2, 25), board.width - 26)
            crest = axis - up * leaving / highest
            words = f"{n} layers", f"{entering}", f"→{leaving}"
            for j, word in enumerate(words):
                board.text(middle, crest - 42 + 15 * j, word, size=size, anchor="middle")
            floor = axis + 3 + down * side / max(resolutions)
            board.text(middle, floor + 11, f"{side}²", size=size, anchor="middle", fill="quiet")
            x += (n + 1) * step + gap
        board.text(
            board.width, floor + 28, "side of the map", size=size, anchor="end", fill="quiet"
        )
        board.text(0, 8, "channels", size=size, fill="densenet", bold=True)

    said = "; ".join(
        f"block {i} at {side}x{side} grows from {a} to {b} channels in {n} layers"
        for i, (n, (a, b), side) in enumerate(blocks, start=1)
    )
    return figure(*both(draw), caption=caption, alt=f"{caption} {said}.")


def dense_connections(num_layers: int, caption: str) -> Html:
    """A dense block as arcs: every layer reads the block's input and all layers before it."""

    def draw(board: Board) -> None:
        step = board.width / (num_layers + 1)
        base = 34.0 + 0.3 * step * num_layers
        board.height = base + 52
        for source in range(num_layers + 1):
            for target in range(source + 1, num_layers + 1):
                a, b = (source + 0.5) * step, (target + 0.5) * step
                rise = 0.62 * (b - a)
                board.curve((a + 6, base - 20), ((a + b) / 2, base - 20 - rise), (b - 8, base - 19),
                            stroke="densenet", thickness=1.75, arrow=True,
                            opacity=1 if target - source == 1 else 0.6)  # fmt: skip
        for i in range(num_layers + 1):
            x = (i + 0.5) * step
            board.box(x - 18, base - 16, 36, 32, "activations", opacity=0.3, radius=4)
            board.text(x, base, f"x{sub(i)}", anchor="middle", size=14)
            board.text(x, base + 34, f"H{sub(i)}" if i else "input", anchor="middle", size=12,
                       fill="quiet")  # fmt: skip

    pairs = num_layers * (num_layers + 1) // 2
    return figure(
        *both(draw), caption=caption,
        alt=f"A dense block of {num_layers} layers. Each layer reads the block's input and every "
        f"earlier layer's output: {pairs} connections where a chain would have {num_layers}.",
    )  # fmt: skip
