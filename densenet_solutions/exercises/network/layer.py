"""One dense layer: what its bottleneck costs and saves, and in which order it computes.

Counts of weights are those of the modules themselves, shapes those of a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from densenet_solutions.exercises.outputs import outputs
from densenet_solutions.measure import count_parameters
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models.densenet import DenseLayer, Transition
from densenet_solutions.site.draw import Board, both
from densenet_solutions.site.frames import Frame, figure, frames
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import count


def bottleneck(
    channels: Sequence[int] = (64, 128, 192, 224, 256, 384, 512, 768, 992),
    growth_rate: int = 32,
    bn_size: int = 4,
) -> Html:
    """Frames over what a layer reads: its weights with a bottleneck and without, to scale."""
    plain, narrow = (
        DenseNetConfig(growth_rate=growth_rate, bn_size=size) for size in (None, bn_size)
    )
    weights = {c: (_convolutions(c, plain), _convolutions(c, narrow)) for c in channels}
    largest = max(channels)

    def draw(board: Board, c: int) -> None:
        panel = board.width / 2 - 14 if board.wide else board.width
        board.height = 200 if board.wide else 352
        k, hidden = growth_rate, bn_size * growth_rate
        scale = panel / largest
        for i, (title, path) in enumerate(
            (
                ("without a bottleneck", [(c, ""), (k, "3×3")]),
                ("with a bottleneck", [(c, ""), (hidden, "1×1"), (k, "3×3")]),
            )
        ):
            x, y = (i * (panel + 28), 0.0) if board.wide else (0.0, 178.0 * i)
            board.text(x, y + 10, title, bold=True, size=13)
            board.text(x + panel, y + 10, f"{count(sum(weights[c][i]))} weights", anchor="end",
                       size=12.5)  # fmt: skip
            top, middle = y + 26, x + panel / 2
            step = (150 if board.wide else 106) / (len(path) - 1)
            for j, (channels_here, kernel) in enumerate(path):
                half, here = channels_here * scale / 2, top + j * step
                if j:
                    before = path[j - 1][0] * scale / 2
                    board.shape((middle - before, here - step + 16), (middle + before,
                                here - step + 16), (middle + half, here), (middle - half, here),
                                fill="parameters", opacity=0.3)  # fmt: skip
                    words = f"{kernel}: {count(weights[c][i][j - 1])}"
                    board.text(middle, here - step / 2 + 8, words, anchor="middle", size=12)
                board.box(middle - half, here, 2 * half, 16, "activations", opacity=0.75)
                name = "k" if j == len(path) - 1 else f"{bn_size}k" if j else "c"
                label = f"{name} = {channels_here}"
                if 2 * half > 70:
                    board.text(middle, here + 8, label, anchor="middle", size=12)
                else:
                    board.text(middle + half + 6, here + 8, label, size=12)

    sequence = []
    for c in channels:
        without, with_one = (sum(parts) for parts in weights[c])
        more = "more" if with_one > without else "fewer"
        caption = (
            f"A layer that reads {c} channels has {count(with_one)} weights with a bottleneck, "
            f"{count(abs(with_one - without))} {more} than without."
        )
        key = c in (channels[0], channels[-1])
        sequence.append(Frame(f"{c} channels", caption, *both(draw, c), key=key))
    start = len(channels) - 3
    return frames(sequence, name="What a bottleneck costs and saves", start=max(0, start))


def operations(config: DenseNetConfig | None = None, *, resolution: int = 56) -> Html:
    """The order of operations in a dense layer and in a transition, with the shapes of a run."""
    config = config or DenseNetConfig()
    entering, leaving = config.block_widths[0]
    with torch.device("meta"):
        layer = DenseLayer(entering, config)
        transition = Transition(leaving, int(leaving * config.compression), config)
    chains = {
        "a dense layer": _run(layer, entering, resolution),
        "a transition": _run(transition, leaving, resolution),
    }

    def draw(board: Board) -> None:
        longest = max(len(chain) for chain in chains.values())
        if board.wide:
            board.height = 2 * 108
            step = board.width / longest
        else:
            board.height = 24 + longest * 40
            step = 40.0
        for i, (title, chain) in enumerate(chains.items()):
            x0, y0 = (0.0, i * 108.0) if board.wide else (i * (board.width / 2 + 6), 0.0)
            board.text(x0, y0 + 10, title, bold=True, size=13)
            for j, (name, shape) in enumerate(chain):
                x, y = (x0 + j * step, y0 + 30) if board.wide else (x0, y0 + 24 + j * step)
                box = step - 18 if board.wide else 62.0
                convolves = "×" in name and "pool" not in name
                color = "parameters" if convolves else "wash"
                if j:
                    start = (x - 16, y + 14) if board.wide else (x + box / 2, y - 12)
                    end = (x - 2, y + 14) if board.wide else (x + box / 2, y - 1)
                    board.line(start, end, arrow=True, stroke="quiet")
                if j == 0:
                    color = "activations"
                board.box(x, y, box, 28, color, opacity=0.45 if color != "wash" else 1,
                          stroke="line", radius=3)  # fmt: skip
                board.text(x + box / 2, y + 14, name, anchor="middle", size=12)
                if board.wide:
                    board.text(x + box / 2, y + 41, shape, anchor="middle", size=11, fill="quiet")
                else:
                    board.text(x + box + 6, y + 14, shape, size=11, fill="quiet")

    orders = "; ".join(
        f"{title}: {', '.join(name for name, _ in chain[1:])}" for title, chain in chains.items()
    )
    return figure(
        *both(draw),
        caption="Normalise, rectify, then convolve: in a dense layer twice, in a transition once, "
        "and the pool comes last.",
        alt=f"The order of operations. {orders}.",
    )  # fmt: skip


def _convolutions(in_channels: int, config: DenseNetConfig) -> list[int]:
    """Weights of each convolution of a dense layer."""
    with torch.device("meta"):
        layer = DenseLayer(in_channels, config)
    return [count_parameters(m).total for m in layer.modules() if isinstance(m, nn.Conv2d)]


def _run(module: nn.Module, channels: int, resolution: int) -> list[tuple[str, str]]:
    """What `module` calls one after the other, with the shapes that come out."""
    x = torch.zeros(2, channels, resolution, resolution, device="meta")
    parts = {path: m for path, m in module.named_modules() if not list(m.children())}
    shapes = [(_name(part), out.shape) for _, part, out in outputs(module, x, parts)]
    return [(name, f"{shape[1]}×{shape[2]}²") for name, shape in [("input", x.shape), *shapes]]


def _name(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return "{}×{} conv".format(*module.kernel_size)
    names = {
        nn.BatchNorm2d: "BN",
        nn.ReLU: "ReLU",
        nn.AvgPool2d: "2×2 pool",
        nn.MaxPool2d: "2×2 max",
    }
    return names[type(module)]
