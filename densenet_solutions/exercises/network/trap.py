"""The trap of batch normalisation under recomputation, run: its statistics are updated twice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from densenet_solutions.memory.recompute import recompute
from densenet_solutions.site.draw import Board, both
from densenet_solutions.site.frames import Frame, frames
from densenet_solutions.site.html import Html


@dataclass(frozen=True)
class Statistics:
    """A running mean as a share of the batch's mean, and the counter of batches."""

    share: float
    batches: int


@dataclass(frozen=True)
class Trap:
    """Statistics before the step, after the forward pass and after the backward pass."""

    plain: tuple[Statistics, ...]
    naive: tuple[Statistics, ...]
    mended: tuple[Statistics, ...]


def trap() -> Trap:
    """One training step of BN-ReLU-Conv, plain, under `checkpoint`, and under our `recompute`."""

    def run(way: str) -> tuple[Statistics, ...]:
        torch.manual_seed(0)
        layer = nn.Sequential(nn.BatchNorm2d(1), nn.ReLU(), nn.Conv2d(1, 1, 1)).double()
        x = torch.randn(4, 1, 8, 8, dtype=torch.float64) + 1
        norm = layer[0]
        assert isinstance(norm, nn.BatchNorm2d)

        def now() -> Statistics:
            mean, batches = norm.running_mean, norm.num_batches_tracked
            assert isinstance(mean, Tensor)
            assert isinstance(batches, Tensor)
            return Statistics(float(mean / x.detach().mean()), int(batches))

        found = [now()]
        x.requires_grad_()
        if way == "plain":
            out = layer(x)
        elif way == "naive":
            out = checkpoint(layer, x, use_reentrant=False)
        else:
            out = recompute(layer, layer, x)
        found.append(now())
        out.sum().backward()
        return (*found, now())

    return Trap(run("plain"), run("naive"), run("mended"))


def trap_frames() -> Html:
    """Four frames: before, forward, backward as it comes, backward as it should be."""
    found = trap()
    captions = (
        "A layer's batch normalisation has seen nothing yet.",
        "The forward pass normalises with the batch's mean and moves the running mean a tenth of "
        "the way towards it. The activations are let go.",
        f"The backward pass needs them and runs the layer again, and the running mean moves again: "
        f"{_percent(found.naive[2])} instead of {_percent(found.plain[2])}, "
        f"{found.naive[2].batches} batches counted where there was one.",
        "With the statistics set aside while the layer runs again, they are what one step leaves, "
        "bit for bit.",
    )
    labels = ("before", "forward", "backward, the trap", "backward, mended")
    sequence = [
        Frame(label, caption, *both(_draw, i, found), key=i > 0)
        for i, (label, caption) in enumerate(zip(labels, captions, strict=True))
    ]
    return frames(sequence, name="Batch normalisation under recomputation", start=2)


def _draw(board: Board, at: int, found: Trap) -> None:
    board.height = 196
    place = (0, board.width * 0.36, board.width * 0.74)
    state = (found.plain[0], found.plain[1], found.naive[2], found.mended[2])[at]
    # The step as a line, with where we are.
    board.line((6, 20), (board.width - 8, 20), stroke="line", thickness=1.5, arrow=True)
    for x, words, on in (
        (place[1], "forward", at == 1),
        (place[2], "backward", at >= 2),
    ):
        board.circle(x, 20, 6, "ink" if on else "line")
        board.text(x, 40, words, anchor="middle", size=12, bold=on)
    # Runs of the layer: once in the forward pass, again in the backward pass.
    box = 128.0 if board.wide else 106.0
    for i, x in enumerate(place[1:], start=1):
        if at < i:
            continue
        again = i == 2
        board.box(x - box / 2, 54, box, 30, "temporaries" if again else "activations",
                  opacity=0.35, radius=3)  # fmt: skip
        words = "runs again" if again else "BN–ReLU–conv"
        board.text(x, 69, words, anchor="middle", size=12)
        held = again and at == 3
        if held:
            board.text(x, 99, "statistics held", anchor="middle", size=12, fill="quiet")
        else:
            board.line((x, 85), (x, 112), arrow=True, stroke="fails" if again else "quiet",
                       thickness=2)  # fmt: skip
            board.text(x + 8, 99, "update", size=12, fill="fails" if again else "quiet",
                       bold=again)  # fmt: skip
    # The running mean between 0 and the batch's mean, to a scale that ends at a quarter.
    left, right, y = 0.0, board.width - 2, 136.0
    full = 0.25
    board.text(0, y - 16, "running mean", size=12, bold=True)
    board.box(left, y, right - left, 16, "wash", stroke="line")
    length = (right - left) * state.share / full
    board.box(left, y, length, 16, "fails" if at == 2 else "activations", opacity=0.7)
    target = (right - left) * found.plain[1].share / full
    board.line((target, y - 4), (target, y + 20), stroke="ink", thickness=1.5)
    board.text(target, y + 30, "after one batch", anchor="middle", size=12, fill="quiet")
    board.text(left, y + 30, "0%", size=12, fill="quiet")
    board.text(right, y + 30, _share(full), anchor="end", size=12, fill="quiet")
    words = f"{_percent(state)} of the batch's mean"
    board.text(right, y + 50, f"{words} · batches counted: {state.batches}", anchor="end", size=12,
               bold=at == 2)  # fmt: skip


def _percent(state: Statistics) -> str:
    return _share(state.share)


def _share(value: float) -> str:
    return f"{100 * value:.3g}%"
