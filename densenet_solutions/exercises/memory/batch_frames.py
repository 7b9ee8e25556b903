"""One step at growing batches: parameters against what images add (exercise 3.1)."""

from __future__ import annotations

from collections.abc import Mapping

from densenet_solutions.exercises.memory.gpu import Held
from densenet_solutions.site.draw import COLUMN, PHONE, Board
from densenet_solutions.site.frames import Frame, frames
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import mib

_HUES = {"DenseNet": "densenet", "ResNet-18": "resnet"}
#: What does not grow with the batch. The peak of a large batch comes before most gradients.
_FIXED = ("parameters", "buffers", "gradients")


def batch_frames(networks: Mapping[str, Mapping[int, Held]]) -> Html:
    """Frames over the batches that both networks were recorded with.

    `networks` has the cases of each network by batch. A bar is what tensors hold at the peak,
    predicted; a mark is what the GPU reserved. The longest in a frame fills its width.
    """
    batches = sorted(set.intersection(*(set(rows) for rows in networks.values())))
    sequence = []
    for batch in batches:
        rows = {name: by_batch[batch] for name, by_batch in networks.items()}
        held = {name: row.predicted.peak_bytes for name, row in rows.items()}
        more = max(held, key=held.__getitem__)
        least = min(held, key=held.__getitem__)
        caption = (
            f"{more} holds more: {mib(held[more], 0)} against {mib(held[least], 0)}. Of these, "
            + " and ".join(f"{mib(_fixed(rows[name]), 0)}" for name in (more, least))
            + " are parameters and gradients."
        )
        label = f"{batch} image{'s' if batch > 1 else ''}"
        wide, narrow = (_draw(rows, width) for width in (COLUMN, PHONE))
        sequence.append(Frame(label, caption, wide, narrow, key=batch in (batches[0], batches[-1])))
    return frames(sequence, name="One step of both networks, by batch", start=0)


def _fixed(row: Held) -> int:
    return sum(row.predicted.by_category.get(name, 0) for name in _FIXED)


def _draw(rows: Mapping[str, Held], width: float) -> Board:
    board = Board(width, 60 * len(rows) + 34)
    reserved = {name: row.measured.reserved_bytes or 0 for name, row in rows.items()}
    scale = (width - 4) / max(*reserved.values(), *(r.predicted.peak_bytes for r in rows.values()))
    for i, (name, row) in enumerate(rows.items()):
        y = 60.0 * i
        whole, fixed = row.predicted.peak_bytes, _fixed(row)
        board.text(0, y + 10, name, bold=True, size=13, fill=_HUES[name])
        board.text(width, y + 10, f"{mib(whole, 0)} held, {mib(reserved[name], 0)} reserved",
                   anchor="end", size=12)  # fmt: skip
        board.box(0, y + 20, scale * fixed, 22, "parameters", opacity=0.75)
        board.box(scale * fixed, y + 20, scale * (whole - fixed), 22, "activations", opacity=0.75)
        mark = scale * reserved[name]
        board.line((mark, y + 16), (mark, y + 46), stroke="ink", thickness=2)
    x, y = 0.0, 60.0 * len(rows) + 14
    for words, hue in (("parameters and gradients", "parameters"), ("images", "activations")):
        board.box(x, y - 6, 12, 12, hue, opacity=0.75)
        board.text(x + 17, y, words, size=12)
        x += 17 + 6.6 * len(words) + 12
    board.line((x + 2, y - 8), (x + 2, y + 8), stroke="ink", thickness=2)
    board.text(x + 9, y, "reserved, H100", size=12)
    return board
