"""One step by batch and resolution: parameters against what images add (exercise 3.1)."""

from __future__ import annotations

from collections.abc import Container, Mapping

from densenet_solutions.exercises.memory.lines import NETWORKS, Peaks
from densenet_solutions.exercises.memory.pictures import HUES
from densenet_solutions.site.draw import Board, both
from densenet_solutions.site.frames import Frame, frames
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import mib

#: Frames that stand without a script, and the one that is seen first.
_KEY = ((1, 96), (128, 96), (1, 224), (128, 224))
_FIRST = (128, 224)
_ROW = 78  # height of a network's part of a drawing


def batch_frames(
    predicted: Mapping[int, Mapping[str, Peaks]],
    measured: Mapping[tuple[str, int, int], int | None],
    *,
    gpu: str,
    begun: Container[tuple[str, int, int]] = (),
) -> Html:
    """Frames over batches, and rows of frames over resolutions.

    `predicted` has the peaks by resolution and network. `measured` is what the card named `gpu`
    reserved, by network, resolution and batch, where it was asked. A bar is what tensors hold, a
    dashed mark what is reserved by simulation, a whole one what was measured. Those of `begun` were
    the first step of their process. The longest in a frame fills its width.
    """
    sequence, places = [], []
    for side, networks in predicted.items():
        for i, batch in enumerate(networks["DenseNet"].batches):
            held = {name: peaks.held[i] for name, peaks in networks.items()}
            fixed = {name: peaks.fixed[i] for name, peaks in networks.items()}
            simulated = {name: peaks.reserved[i] for name, peaks in networks.items()}
            said = {name: measured.get((name, side, batch)) for name in NETWORKS}
            more, less = sorted(held, key=held.__getitem__, reverse=True)
            caption = (
                f"{more} holds more: {mib(held[more], 0)} against {mib(held[less], 0)}. Of these, "
                f"{mib(fixed[more], 0)} and {mib(fixed[less], 0)} are parameters and gradients. "
                f"{_reserves_more(simulated, said)}"
            )
            for name in networks:
                if (name, side, batch) in begun:
                    caption += f" {name}'s was probably measured in the first step of a process."
            numbers = "; ".join(f"{name}, {_reserved(simulated, said, name)}" for name in networks)
            label = f"{batch} image{'s' if batch > 1 else ''} of {side} × {side}"
            key = (batch, side) in _KEY
            alt = f"{label}. {caption} {numbers}."
            drawings = both(_draw, held, fixed, simulated, said, gpu)
            sequence.append(Frame(label, caption, *drawings, key=key, alt=alt))
            places.append((batch, side))
    return frames(
        sequence,
        name="One step of both networks, by batch and resolution",
        start=places.index(_FIRST),
        columns=len(places) // len(predicted),
        sliders=("Images", "Pixels"),
    )


def _reserves_more(simulated: Mapping[str, int], said: Mapping[str, int | None]) -> str:
    """Who reserves more, by simulation, and by measurement where there is one."""
    more = max(simulated, key=simulated.__getitem__)
    measured = {name: value for name, value in said.items() if value is not None}
    if len(measured) < len(simulated):
        return f"{more} reserves more, simulated."
    other = max(measured, key=measured.__getitem__)
    if other == more:
        return f"{more} reserves more, simulated and measured."
    return f"{more} reserves more as simulated, {other} as measured."


def _reserved(simulated: Mapping[str, int], said: Mapping[str, int | None], name: str) -> str:
    words = f"reserved: {mib(simulated[name], 0)} simulated"
    value = said[name]
    return words if value is None else f"{words}, {mib(value, 0)} measured"


def _draw(
    board: Board,
    held: Mapping[str, int],
    fixed: Mapping[str, int],
    simulated: Mapping[str, int],
    said: Mapping[str, int | None],
    gpu: str,
) -> None:
    board.height = _ROW * len(held) + 46
    longest = max(*held.values(), *simulated.values(), *(v for v in said.values() if v))
    scale = (board.width - 4) / longest
    for i, name in enumerate(held):
        y = float(_ROW * i)
        board.text(0, y + 10, name, bold=True, size=13, fill=HUES[name])
        board.text(board.width, y + 10, f"tensors {mib(held[name], 0)}", anchor="end", size=12)
        split = scale * fixed[name]
        board.box(0, y + 20, split, 22, "parameters", opacity=0.75)
        board.box(split, y + 20, scale * held[name] - split, 22, "activations", opacity=0.75)
        _mark(board, scale * simulated[name], y + 31, dashed=True)
        if (value := said[name]) is not None:
            _mark(board, scale * value, y + 31)
        words = _reserved(simulated, said, name)
        board.text(board.width, y + 55, words, anchor="end", size=12)
    x, y = 0.0, float(_ROW * len(held)) + 8
    for words, hue in (("parameters and gradients", "parameters"), ("activations", "activations")):
        board.box(x, y - 6, 12, 12, hue, opacity=0.75)
        board.text(x + 17, y, words, size=12)
        x += 17 + 6.6 * len(words) + 12
    _mark(board, 2, y + 22, dashed=True, reach=8)
    board.text(9, y + 22, "reserved, simulated", size=12)
    _mark(board, 150, y + 22, reach=8)
    board.text(157, y + 22, f"measured on an {gpu}", size=12)


def _mark(board: Board, x: float, y: float, *, dashed: bool = False, reach: float = 12) -> None:
    board.line((x, y - reach), (x, y + reach), stroke="ink", thickness=2, dashed=dashed)
