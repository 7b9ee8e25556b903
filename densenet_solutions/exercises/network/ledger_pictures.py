"""The ledger as frames: the tensors that a step holds pile up as slabs, one column a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from densenet_solutions.exercises.network.ledger import Ledger
from densenet_solutions.exercises.network.ledger_words import (
    NAMES,
    TITLES,
    alt,
    caption,
    label,
    shown,
)
from densenet_solutions.exercises.network.watch import Moment, Slab
from densenet_solutions.site.draw import Board, both, sub
from densenet_solutions.site.frames import Frame, frames
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import count, mib

_ROW, _GAP = 15.0, 3.0
_LOOK = {  # kind → colour, opacity
    "input": ("activations", 0.75),
    "features": ("activations", 0.75),
    "concatenation": ("activations", 0.75),
    "buffer": ("activations", 0.75),
    "normalised": ("activations", 0.38),
    "bottleneck": ("activations", 0.75),
    "normalised bottleneck": ("activations", 0.38),
    "gradient": ("gradients", 0.6),
    "scratch": ("temporaries", 0.5),
}


def ledger_frames(ledgers: Sequence[Ledger], *, small: bool = False) -> Html:
    """What up to three strategies hold, side by side, through one step of the same block.

    `small` leaves out labels and the course of the step, for the home page.

    Raises:
        ValueError: the ledgers are not one to three of one block, or do not go through the same
            moments.
    """
    blocks = {(b.in_channels, b.growth_rate, b.num_layers, b.channel_bytes) for b in ledgers}
    moments = {tuple((m.phase, m.layer) for m in b.moments) for b in ledgers}
    if len(ledgers) not in (1, 2, 3) or len(blocks) != 1 or len(moments) != 1:
        raise ValueError(
            "one to three ledgers of one block that go through the same moments stand side by "
            f"side, got {[b.strategy for b in ledgers]} of {len(blocks)} blocks"
        )
    book = ledgers[0]
    sequence = []
    for i, moment in enumerate(book.moments):
        wide, narrow = both(_Sheet(ledgers, i, small).draw)
        key = moment.phase == "turn" or (moment.phase, moment.layer) in (
            ("forward", 2),
            ("backward", book.num_layers),
            ("backward", book.num_layers // 2),
        )
        sequence.append(
            Frame(
                label=label(moment, book),
                caption=caption(ledgers, i),
                wide=narrow if small else wide,
                narrow=None if small else narrow,
                key=moment.phase == "turn" if small else key,
                alt=alt(ledgers, i),
            )
        )
    names = " and ".join(TITLES[b.strategy] for b in ledgers)
    turn = next(i for i, m in enumerate(book.moments) if m.phase == "turn")
    return frames(
        sequence, name=f"What one training step of a dense block holds: {names}", start=turn
    )


@dataclass
class _Sheet:
    """One drawing: a pile for each ledger at one moment."""

    ledgers: Sequence[Ledger]
    at: int
    small: bool

    def draw(self, board: Board) -> None:
        first = self.ledgers[0]
        gap = 28.0 if board.wide else 14.0
        self.panel = (board.width - gap * (len(self.ledgers) - 1)) / len(self.ledgers)
        self.names = self.panel > 280 and not self.small
        widest = max(
            max(s.channels for s in (*m.held, *m.passing)) for b in self.ledgers for m in b.moments
        )
        self.scale = (self.panel - (76 if self.names else 0)) / widest
        rows = max(len(_rows(m)) for b in self.ledgers for m in b.moments)
        top = 44.0
        floor = top + 40 + rows * (_ROW + _GAP)
        bars = 0.0 if self.small else 64.0
        board.height = floor + 14 + bars + 26
        self._steps(board, first.moments[self.at], first.num_layers)
        for i, book in enumerate(self.ledgers):
            x = i * (self.panel + gap)
            self._title(board, x, top, book)
            self._pile(board, x, floor, book)
            if bars:
                if not i:
                    words = "channels held, moment by moment"
                    board.text(0, floor + 24, words, size=11.5 if board.wide else 11, fill="quiet")
                self._course(board, x, floor + 14 + bars, book)
        self._legend(board, floor + 14 + bars + 14)

    def _steps(self, board: Board, moment: Moment, layers: int) -> None:
        """Where in the step we are."""
        spacing = min(64.0, (board.width - 130) / layers)
        ends = {"before": 0.0, "turn": layers + 0.5, "after": 0.0}
        place = ends.get(moment.phase, float(moment.layer))
        back = moment.phase in ("backward", "after")
        word = "← backward" if back else "turn" if moment.phase == "turn" else "forward →"
        board.text(board.width, 14, word, anchor="end", size=12, fill="quiet")
        board.line((10, 14), (10 + spacing * layers + 18, 14), stroke="line", thickness=1.5)
        for i in range(layers + 1):
            x = 12 + i * spacing
            on = i == place
            color = ("gradients" if back else "activations") if on else "line"
            board.circle(x, 14, 12, "paper", stroke=color)
            if on:
                board.circle(x, 14, 10.5, color)
            board.text(
                x, 14, f"H{sub(i)}" if i else f"x{sub(0)}", anchor="middle", bold=on, size=12,
                fill="paper" if on else "quiet",
            )  # fmt: skip

    def _title(self, board: Board, x: float, y: float, book: Ledger) -> None:
        moment = book.moments[self.at]
        total = shown(moment)
        size = mib(total * book.channel_bytes, 1)
        board.text(x, y, TITLES[book.strategy], bold=True, size=13 if self.panel > 150 else 11.5)
        words = f"{count(round(total))} channels · {size}"
        if len(self.ledgers) == 3 and not board.wide:
            board.text(x, y + 17, f"{count(round(total))} ch.", size=12)
        else:
            board.text(x, y + 17, words, size=12 if board.wide else 11.5)

    def _pile(self, board: Board, x: float, floor: float, book: Ledger) -> None:
        moment = book.moments[self.at]
        board.line((x, floor + 1), (x + self.panel, floor + 1), stroke="quiet", thickness=1)
        for i, row in enumerate(_rows(moment)):
            y = floor - (i + 1) * (_ROW + _GAP) + _GAP - 1
            for slab in row:
                self._slab(board, x, y, slab, book, slab in moment.passing)
            if self.names:
                slab = row[-1]
                incoming = slab.key == min(
                    s.key
                    for m in book.moments
                    for s in (*m.held, *m.passing)
                    if s.kind == "gradient"
                )
                name = "incoming" if incoming else NAMES[slab.kind]
                end = max(_start(s, book) + s.channels for s in row)
                gone = slab in moment.passing and slab.kind != "gradient"
                board.text(
                    x + end * self.scale + 6, y + _ROW / 2, name, size=11.5,
                    fill="quiet", italic=gone,
                )  # fmt: skip

    def _slab(
        self, board: Board, x: float, y: float, slab: Slab, book: Ledger, passing: bool
    ) -> None:
        color, opacity = _LOOK[slab.kind]
        left = x + _start(slab, book) * self.scale
        width = slab.channels * self.scale
        if slab.kind == "features":
            left, width = left + 1.5, width - 1.5
        if passing and slab.kind != "gradient":
            color, opacity = "temporaries", 0.3
        if slab.written < slab.channels:
            board.box(left, y, width, _ROW, stroke=color, dashed=True)
        filled = width * slab.written / slab.channels
        board.box(left, y, filled, _ROW, color, opacity=opacity)
        if passing:
            board.box(left + 0.5, y + 0.5, width - 1, _ROW - 1, stroke=color, dashed=True)
        if slab.kind in ("bottleneck", "normalised bottleneck", "scratch"):
            if width > 60:
                name = "" if self.names or slab.kind != "bottleneck" else "bottleneck"
                board.text(left + width / 2, y + _ROW / 2, name, anchor="middle", size=11)
            return
        for source, begin, end in _sources(book):
            begin, end = max(begin, _start(slab, book)), min(end, _start(slab, book) + slab.written)
            if end <= begin or slab.channels not in _whole(book):
                continue
            if begin > _start(slab, book):
                at = x + begin * self.scale
                board.line((at, y), (at, y + _ROW), stroke="paper", thickness=1.5)
            if (end - begin) * self.scale >= 14 and slab.kind != "gradient":
                middle = x + (begin + end) / 2 * self.scale
                board.text(middle, y + _ROW / 2, f"x{sub(source)}", anchor="middle", size=11)

    def _course(self, board: Board, x: float, floor: float, book: Ledger) -> None:
        """The whole step as bars, with this moment marked."""
        highest = max(m.peak_channels for b in self.ledgers for m in b.moments)
        step = self.panel / len(book.moments)
        board.line((x, floor), (x + self.panel, floor), stroke="line", thickness=1)
        for i, moment in enumerate(book.moments):
            unit = 40 / highest
            now = i == self.at
            left = x + i * step + 1
            kept = sum(s.channels for s in moment.held if s.kind != "gradient") * unit
            rest = moment.peak_channels * unit - kept
            strength = 1 if now else 0.3
            board.box(left, floor - kept, step - 2, kept, "activations", opacity=strength)
            color = "gradients" if moment.phase in ("backward", "after") else "temporaries"
            board.box(left, floor - kept - rest, step - 2, rest, color, opacity=strength)

    def _legend(self, board: Board, y: float) -> None:
        entries = [
            ("activations", 0.75, False, "features"),
            ("activations", 0.38, False, "normalised"),
            ("temporaries", 0.3, True, "not kept"),
            ("gradients", 0.6, False, "gradients"),
        ]
        x = 0.0
        for color, opacity, dashed, words in entries:
            board.box(x, y - 5, 10, 10, color, opacity=opacity)
            if dashed:
                board.box(x + 0.5, y - 4.5, 9, 9, stroke=color, dashed=True)
            board.text(x + 14, y, words, size=11.5 if board.wide else 11, fill="quiet")
            x += 14 + len(words) * 6.4 + (18 if board.wide else 8)


def _rows(moment: Moment) -> list[list[Slab]]:
    """From the floor up: single features on one row, then what is kept, then what passes."""
    single = [s for s in moment.held if s.kind in ("input", "features")]
    kept = [s for s in moment.held if s.kind not in ("input", "features", "gradient")]
    gradients = [s for s in moment.held if s.kind == "gradient"]
    passing = sorted(moment.passing, key=lambda s: (s.kind == "gradient", s.key))
    rows = [single] if single else []
    rows += [[s] for s in kept]
    rows += [[s] for s in sorted(gradients, key=lambda s: -s.channels)]
    rows += [[s] for s in passing if s.channels >= 4]
    return rows


def _sources(book: Ledger) -> list[tuple[int, float, float]]:
    """Which channels the block's input and each layer wrote: `(layer, begin, end)`."""
    c, k = book.in_channels, book.growth_rate
    edges = [0.0, *(c + i * k for i in range(book.num_layers + 1))]
    return [(i, *pair) for i, pair in enumerate(pairwise(edges))]


def _whole(book: Ledger) -> set[float]:
    """Widths that a concatenation of some first features has, or a layer's new ones."""
    return {end for _, _, end in _sources(book)} | {book.growth_rate}


def _start(slab: Slab, book: Ledger) -> float:
    """New features stand in the columns that are theirs."""
    return _sources(book)[slab.layer][1] if slab.kind == "features" else 0
