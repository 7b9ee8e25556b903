"""How a dense block widens, how a bottleneck narrows what a layer reads, and what ResNet does.

Widths are to scale: one unit a channel. Counts of weights are those of the modules themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import nn

from densenet_solutions.measure import count_parameters
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models.densenet import DenseLayer, Transition
from densenet_solutions.site.draw import Board
from densenet_solutions.site.frames import Frame, figure, frames
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import count

WIDE, NARROW = 640.0, 358.0


def sub(number: int) -> str:
    """A number as subscript."""
    return "".join(chr(0x2080 + int(digit)) for digit in str(number))


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

    def draw(layers: int, width: float) -> Board:
        wide = width > 400
        row, gap, right = 22.0, 42.0, 200 if wide else 92
        scale = (width - right) / (in_channels + num_layers * growth_rate)
        board = Board(width, (num_layers + 1) * row + num_layers * gap + 4)
        for i in range(layers + 1):
            y = 2 + i * (row + gap)
            names = [f"x{sub(j)}" for j in range(i + 1)]
            parts = [in_channels, *[growth_rate] * i]
            if i:  # the row above stands again, and what the layer makes of it
                old = scale * (sum(parts) - growth_rate)
                new = old + scale * growth_rate
                board.shape((0, y - gap), (old, y - gap), (new, y), (old, y), fill="densenet",
                            opacity=0.32 if i == layers else 0.14)  # fmt: skip
                for edge in (0.5, old - 0.5):
                    board.line((edge, y - gap), (edge, y), stroke="line", dashed=True)
                reads = sum(parts) - growth_rate
                words = f"H{sub(i)} reads {reads}, writes {growth_rate}"
                if not wide:
                    words = f"{reads} → {growth_rate}"
                board.text(new + 8, y - gap / 2, words, size=12, fill="quiet", bold=i == layers)
            slabs(board, 0, y, parts, scale=scale, height=row, names=names)
            board.text(scale * sum(parts) + 8, y + row / 2, f"{sum(parts)}" + " channels" * wide,
                       size=12, fill="ink")  # fmt: skip
        return board

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
                draw(i, WIDE),
                draw(i, NARROW),
                key=i == num_layers,
            )
        )
    return frames(sequence, name="How a dense block widens", start=num_layers)


def bottleneck(
    channels: Sequence[int] = (64, 128, 192, 256, 384, 512, 768, 992),
    growth_rate: int = 32,
    bn_size: int = 4,
) -> Html:
    """Frames over what a layer reads: its weights with a bottleneck and without, to scale."""
    plain, narrow = (
        DenseNetConfig(growth_rate=growth_rate, bn_size=size) for size in (None, bn_size)
    )
    weights = {c: (_convolutions(c, plain), _convolutions(c, narrow)) for c in channels}
    largest = max(channels)

    def draw(c: int, width: float) -> Board:
        wide = width > 400
        panel = width / 2 - 14 if wide else width
        board = Board(width, 200 if wide else 352)
        k, hidden = growth_rate, bn_size * growth_rate
        scale = panel / largest
        for i, (title, path) in enumerate(
            (
                ("without a bottleneck", [(c, ""), (k, "3×3")]),
                ("with a bottleneck", [(c, ""), (hidden, "1×1"), (k, "3×3")]),
            )
        ):
            x, y = (i * (panel + 28), 0.0) if wide else (0.0, 178.0 * i)
            board.text(x, y + 10, title, bold=True, size=13)
            board.text(x + panel, y + 10, f"{count(sum(weights[c][i]))} weights", anchor="end",
                       size=12.5)  # fmt: skip
            top, middle = y + 26, x + panel / 2
            step = (150 if wide else 106) / (len(path) - 1)
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
        return board

    sequence = []
    for c in channels:
        without, with_one = (sum(parts) for parts in weights[c])
        more = "more" if with_one > without else "fewer"
        caption = (
            f"A layer that reads {c} channels has {count(with_one)} weights with a bottleneck, "
            f"{count(abs(with_one - without))} {more} than without."
        )
        key = c in (channels[0], channels[-1])
        sequence.append(Frame(f"{c} channels", caption, draw(c, WIDE), draw(c, NARROW), key=key))
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

    def draw(width: float) -> Board:
        wide = width > 400
        longest = max(len(chain) for chain in chains.values())
        if wide:
            board = Board(width, 2 * 108)
            step = width / longest
        else:
            board = Board(width, 24 + longest * 40)
            step = 40.0
        for i, (title, chain) in enumerate(chains.items()):
            x0, y0 = (0.0, i * 108.0) if wide else (i * (width / 2 + 6), 0.0)
            board.text(x0, y0 + 10, title, bold=True, size=13)
            for j, (name, shape) in enumerate(chain):
                x, y = (x0 + j * step, y0 + 30) if wide else (x0, y0 + 24 + j * step)
                box = step - 18 if wide else 62.0
                convolves = "×" in name and "pool" not in name
                color = "parameters" if convolves else "wash"
                if j:
                    start = (x - 16, y + 14) if wide else (x + box / 2, y - 12)
                    end = (x - 2, y + 14) if wide else (x + box / 2, y - 1)
                    board.line(start, end, arrow=True, stroke="quiet")
                if j == 0:
                    color = "activations"
                board.box(x, y, box, 28, color, opacity=0.45 if color != "wash" else 1,
                          stroke="line", radius=3)  # fmt: skip
                board.text(x + box / 2, y + 14, name, anchor="middle", size=12)
                if wide:
                    board.text(x + box / 2, y + 41, shape, anchor="middle", size=11, fill="quiet")
                else:
                    board.text(x + box + 6, y + 14, shape, size=11, fill="quiet")
        return board

    orders = "; ".join(
        f"{title}: {', '.join(name for name, _ in chain[1:])}" for title, chain in chains.items()
    )
    return figure(
        draw(WIDE), draw(NARROW),
        caption="Normalise, rectify, then convolve: in a dense layer twice, in a transition once, "
        "and the pool comes last.",
        alt=f"The order of operations. {orders}.",
    )  # fmt: skip


def sum_or_concatenation(
    num_layers: int = 3, width_before: int = 64, growth_rate: int = 32
) -> Html:
    """Frames: ResNet adds to what is there, DenseNet appends."""

    def draw(layers: int, width: float) -> Board:
        wide = width > 400
        panel = width / 2 - 12
        total = width_before + num_layers * growth_rate
        scale = panel / total
        row, gap = 22.0, 46.0
        board = Board(width, 44 + (num_layers + 1) * row + num_layers * gap)
        for side, (title, formula) in enumerate(
            (("ResNet", "x + f(x)"), ("DenseNet", "[x, f(x)]"))
        ):
            x = side * (panel + 24)
            color = title.lower()
            board.text(x, 10, title, bold=True, size=13)
            board.text(x, 28, f"keeps {formula}", size=12, fill="quiet")
            for i in range(layers + 1):
                y = 42 + i * (row + gap)
                parts = [width_before, *[growth_rate] * i] if side else [width_before]
                before = scale * (sum(parts) - (growth_rate if side and i else 0))
                if i:
                    middle = y - gap / 2
                    board.line((8, y - gap + 1) if not side else (x + 8, y - gap + 1),
                               (x + 8, y - 2), arrow=True, stroke="quiet")  # fmt: skip
                    at = x + before * 0.5 if not side else x + before + scale * growth_rate / 2
                    board.box(at - 13, middle - 10, 26, 20, "parameters", opacity=0.35, radius=3)
                    board.text(at, middle, "f", anchor="middle", italic=True, size=12)
                    board.shape(
                        (x, y - gap), (x + before, y - gap), (at + 13, middle - 10),
                        (at - 13, middle - 10), fill="parameters", opacity=0.16,
                    )  # fmt: skip
                    board.line((at, middle + 10), (at, y - 2), arrow=True, stroke="quiet")
                    if not side:
                        board.text(at + 18 if wide else at + 17, y - 9, "+", bold=True, size=14)
                names = [f"x{sub(j)}" for j in range(i + 1)] if side else [_sum(i, wide)]
                slabs(board, x, y, parts, scale=scale, height=row, color=color, names=names,
                      opacity=0.45)  # fmt: skip
        return board

    sequence = [
        Frame(
            f"layer {i}" if i else "input",
            f"After {i} {'layer' if i == 1 else 'layers'} ResNet has one sum of "
            f"{width_before} channels, whose parts cannot be told apart; DenseNet has "
            f"{width_before + i * growth_rate} channels, all as they were written."
            if i
            else "Both begin with the same channels.",
            draw(i, WIDE), draw(i, NARROW), key=i == num_layers,
        )
        for i in range(num_layers + 1)
    ]  # fmt: skip
    return frames(sequence, name="Addition and concatenation", start=num_layers)


def _sum(layers: int, wide: bool) -> str:
    parts = ["x₀", *(f"f{sub(i)}" for i in range(1, layers + 1))]
    return " + ".join(parts) if wide or layers < 2 else "x₀ + …"


def _convolutions(in_channels: int, config: DenseNetConfig) -> list[int]:
    """Weights of each convolution of a dense layer."""
    with torch.device("meta"):
        layer = DenseLayer(in_channels, config)
    return [count_parameters(m).total for m in layer.modules() if isinstance(m, nn.Conv2d)]


def _run(module: nn.Module, channels: int, resolution: int) -> list[tuple[str, str]]:
    """What `module` calls one after the other, with the shapes that come out."""
    found = [("input", f"{channels}×{resolution}²")]

    def note(part: nn.Module, inputs: object, output: torch.Tensor) -> None:
        found.append((_name(part), f"{output.shape[1]}×{output.shape[2]}²"))

    parts = [m for m in module.modules() if not list(m.children())]
    handles = [part.register_forward_hook(note) for part in parts]
    module(torch.zeros(2, channels, resolution, resolution, device="meta"))
    for handle in handles:
        handle.remove()
    return found


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
