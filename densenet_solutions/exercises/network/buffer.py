"""Shared storage as frames: one buffer, views of its first channels, a second row of gradients.

Which columns are written when is what the ledger saw the real block write.
"""

from __future__ import annotations

from collections.abc import Sequence

from densenet_solutions.exercises.network.ledger import Ledger, ledger
from densenet_solutions.site.draw import Board, both, sub
from densenet_solutions.site.frames import Frame, frames
from densenet_solutions.site.html import Html


def view(end: int, begin: int | None = None) -> str:
    """Columns of a buffer as Python writes them, in one piece."""
    return f"[:,\N{NO-BREAK SPACE}{'' if begin is None else begin}:{end}]"


def written(book: Ledger) -> list[int]:
    """Up to which channel the buffer is filled before layer 1, after layer 1, …"""
    return [
        int(slab.written)
        for moment in book.moments
        if moment.phase in ("before", "forward")
        for slab in moment.held
        if slab.kind == "buffer"
    ]


def buffer_frames(num_layers: int = 4, in_channels: int = 64, growth_rate: int = 32) -> Html:
    """One training step of a block with shared storage, layer by layer, forward and back."""
    book = ledger(
        "shared_storage", num_layers=num_layers, in_channels=in_channels, growth_rate=growth_rate
    )
    ends = written(book)
    sequence: list[Frame] = []

    def add(label: str, caption: str, layer: int, back: bool, key: bool = False) -> None:
        sequence.append(Frame(label, caption, *both(_draw, ends, layer, back), key=key))

    add(
        "the input is copied in",
        f"There is one buffer for all {ends[-1]} channels of the block; its input is copied to "
        f"the front, {view(ends[0])}.",
        0, False,
    )  # fmt: skip
    for i in range(1, num_layers + 1):
        c, end = ends[i - 1], ends[i]
        add(
            f"forward, layer {i}",
            f"Layer {i} reads the view {view(c)}, which costs nothing, and writes {view(end, c)}. "
            "What it computes in between is let go.",
            i, False, i == 2,
        )  # fmt: skip
    for i in range(num_layers, 0, -1):
        c, end = ends[i - 1], ends[i]
        add(
            f"backward, layer {i}",
            f"The gradient of {view(end, c)} is complete, "
            + ("since no later layer reads it" if i == num_layers else "now that all later layers "
               "have added to it")
            + f". Layer {i} computes again from {view(c)} and adds to the gradients there.",
            i, True, i == num_layers,
        )  # fmt: skip
    return frames(sequence, name="A dense block with shared storage", start=2)


def _draw(board: Board, ends: Sequence[int], layer: int, back: bool) -> None:
    scale = board.width / ends[-1]
    board.height = 222
    filled = ends[-1] if back else ends[layer]
    reads = ends[layer - 1] if layer else 0
    buffer, gradient, height = 34.0, 152.0, 26.0
    board.text(0, 12, "one buffer of features", bold=True, size=13)
    if layer and not back:
        board.text(board.width, 12, f"H{sub(layer)} reads {view(reads)}", anchor="end", size=12,
                   fill="quiet")  # fmt: skip
    _row(board, ends, filled, buffer, height, scale, "activations", "x")
    if not layer:
        return
    begin, end, middle = reads * scale, ends[layer] * scale, 106.0
    new = (begin + end) / 2
    # What the layer reads: all before it.
    board.line((0.5, buffer + height + 5), (begin - 2, buffer + height + 5), stroke="ink",
               thickness=2)  # fmt: skip
    box = 84.0 if board.wide else 62.0
    at = max(begin / 2, box / 2 + 2)
    top = buffer + height + 8
    sides = (at + box / 2, middle - 13), (at - box / 2, middle - 13)
    board.shape((0, top), (begin - 2, top), *sides, fill="parameters", opacity=0.2)
    board.box(at - box / 2, middle - 13, box, 26, "temporaries", opacity=0.35, radius=3)
    board.text(at, middle, f"H{sub(layer)}" + (" again" if back else ""), anchor="middle", size=12)
    if not back:
        board.line((at + box / 2, middle), (new, middle), (new, buffer + height + 3), arrow=True,
                   thickness=1.75)  # fmt: skip
        board.text(min(new + 6, board.width - 78), middle + 16, view(ends[layer], reads), size=12)
        return
    board.text(0, gradient + height + 34, "one row of gradients", bold=True, size=13)
    _row(board, ends, ends[layer], gradient, height, scale, "gradients", "∂x")
    board.line((new, gradient - 2), (new, middle), (at + box / 2 + 2, middle), arrow=True,
               stroke="gradients", thickness=1.75)  # fmt: skip
    board.line((at, middle + 13), (at, gradient - 3), arrow=True, stroke="gradients",
               thickness=1.75)  # fmt: skip
    beside = at + 8 if at + 104 < new else new + 8
    board.text(beside, middle + 26, f"+= in {view(reads)}", size=12)
    board.line((0.5, gradient + height + 5), (begin - 2, gradient + height + 5),
               stroke="gradients", thickness=2)  # fmt: skip


def _row(
    board: Board,
    ends: Sequence[int],
    filled: int,
    y: float,
    height: float,
    scale: float,
    color: str,
    name: str,
) -> None:
    board.box(0.5, y, ends[-1] * scale - 1, height, stroke=color, dashed=True)
    for i, end in enumerate(ends):
        begin = ends[i - 1] if i else 0
        if end > filled:
            break
        board.box(begin * scale, y, (end - begin) * scale - 1.5, height, color, opacity=0.7)
        board.text((begin + end) / 2 * scale, y + height / 2, f"{name}{sub(i)}", anchor="middle",
                   size=12)  # fmt: skip
