"""Drawings made from a configuration: the staircase of channels, and who reads whom in a block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from densenet_solutions.site.figures import COLOURS, new_figure, svg
from densenet_solutions.site.html import Html


def staircase(
    block_config: Sequence[int],
    block_widths: Sequence[tuple[int, int]],
    resolutions: Sequence[int],
    *,
    name: str,
) -> Html:
    """Channels along the depth of a DenseNet: each layer climbs by `k`, each transition falls.

    Args:
        block_config: layers of each dense block.
        block_widths: channels that enter and leave each block.
        resolutions: side of the feature maps in each block.
        name: the network, for the description.

    Raises:
        ValueError: the three sequences differ in length.
    """
    if not len(block_config) == len(block_widths) == len(resolutions):
        raise ValueError(
            "block_config, block_widths and resolutions have one entry a block, got "
            f"{len(block_config)}, {len(block_widths)} and {len(resolutions)}"
        )
    fig, ax = new_figure(7.0, 3.3)
    highest = max(leaving for _, leaving in block_widths)
    gap = max(2, sum(block_config) // 16)
    start = 0
    for n, (entering, leaving), side in zip(block_config, block_widths, resolutions, strict=True):
        edges = [start + i for i in range(n + 2)]
        step = (leaving - entering) // n
        heights = list(accumulate([step] * n, initial=entering))
        ax.stairs(heights, edges, fill=True, color=COLOURS["densenet"], alpha=0.35)
        ax.stairs(heights, edges, color=COLOURS["densenet"], lw=1.6)
        ax.annotate(
            f"{side}×{side}\n{n} layers\n{entering}→{leaving}",
            ((edges[0] + edges[-1]) / 2, leaving),
            (0, 5),
            textcoords="offset points",
            ha="center",
            size=9.5,
        )
        start = edges[-1] + gap
    ax.set_ylim(0, 1.36 * highest)
    ax.set_xlim(-gap, start)
    ax.set_xticks([])
    ax.set_xlabel("depth →  (gaps are transitions)")
    ax.set_ylabel("channels")
    blocks = "; ".join(
        f"block {i} at {side}x{side} grows from {a} to {b} channels in {n} layers"
        for i, (n, (a, b), side) in enumerate(
            zip(block_config, block_widths, resolutions, strict=True), start=1
        )
    )
    return svg(fig, alt=f"{name} as a staircase of channels: {blocks}.")


def dense_connections(num_layers: int) -> Html:
    """A dense block as arcs: every layer reads the block's input and all layers before it."""
    from matplotlib.patches import Arc

    fig, ax = new_figure(7.0, 2.9)
    for source in range(num_layers + 1):
        for target in range(source + 1, num_layers + 1):
            span = target - source
            above = Arc(
                ((source + target) / 2, 0.16),
                span,
                0.62 * span,
                theta1=0,
                theta2=180,
                color=COLOURS["densenet"],
                lw=1.6,
                alpha=1 if span == 1 else 0.6,
            )
            ax.add_patch(above)
    for i in range(num_layers + 1):
        ax.plot(i, 0, "o", ms=26, mfc=COLOURS["densenet"], mec="none", alpha=0.18)
        ax.annotate(f"$x_{i}$", (i, 0), ha="center", va="center", size=13)
    for i in range(1, num_layers + 1):
        ax.annotate(f"$H_{i}$", (i, -0.42), ha="center", va="center", size=11)
    ax.annotate("input", (0, -0.42), ha="center", va="center", size=11)
    ax.set_xlim(-0.5, num_layers + 0.5)
    ax.set_ylim(-0.65, 0.31 * num_layers + 0.3)
    ax.axis("off")
    pairs = num_layers * (num_layers + 1) // 2
    return svg(
        fig,
        alt=f"A dense block of {num_layers} layers. Each layer reads the block's input and every "
        f"earlier layer's output: {pairs} connections where a chain would have {num_layers}.",
    )
