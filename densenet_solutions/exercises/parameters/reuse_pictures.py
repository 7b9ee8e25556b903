"""Heat maps of feature reuse, after figure 5 of the paper (arXiv:1608.06993)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from densenet_solutions.exercises.parameters.reuse import BlockReuse
from densenet_solutions.site.figures import COLOURS, Plot, new_figure
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html


def heat_maps(blocks: Sequence[BlockReuse], caption: str) -> Html:
    """One panel a block: a column is a reader, a row a source, a darker square a larger weight.

    Readers have different numbers of inputs and so different scales: each column is drawn in
    shares of its own largest weight, from faint (0.6 and below) to the full colour (1).
    """

    def draw(width: float, height: float, **panels: int) -> Plot:
        fig, axes = new_figure(width, height, squeeze=False, **panels)
        for ax, block in zip(axes.flat, blocks, strict=True):
            for reader, column in enumerate(shares(block)):
                for source, share in enumerate(column):
                    ax.add_patch(_square(reader, source, opacity(share)))
            ax.set_title(block.block.replace("denseblock", "Block "))
            ax.set_xticks(range(len(block.readers)), [_short(name) for name in block.readers])
            ax.set_yticks(range(len(block.sources)), [_short(name) for name in block.sources])
            ax.set_xlim(-0.5, len(block.readers) - 0.5)
            ax.set_ylim(len(block.sources) - 0.5, -0.5)
            ax.set_aspect("equal")
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
            ax.tick_params(length=0)
            ax.set_xlabel(f"reader ({_short(block.readers[-1])}: {block.readers[-1]})")
        axes[0][0].set_ylabel("source (in: block input)")
        fig.legend(
            [_square(0, 0, opacity(share)) for share in _KEY],
            ["60% or less", *(f"{share:.0%}" for share in _KEY[1:])],
            title="weight, of its column's largest",
            loc="outside lower center",
            ncols=len(_KEY),
            frameon=False,
        )
        return Plot(fig)

    said = "; ".join(
        f"block {block.block[-1]}'s {block.readers[-1]} reads the block's input with "
        f"{shares(block)[-1][0]:.0%} of its largest weight"
        for block in blocks
    )
    return figure(
        draw(7, 3.2, columns=len(blocks)), draw(3.6, 9.6, rows=len(blocks)), caption=caption,
        alt=f"{len(blocks)} triangles of squares, one per dense block: how much weight each "
        f"layer puts on every earlier one. {said}.",
    )  # fmt: skip


def shares(block: BlockReuse) -> list[list[float]]:
    """Reader by reader, the weights on its sources as shares of the largest of them."""
    columns = [[w for w in column if w is not None] for column in zip(*block.weights, strict=True)]
    return [[weight / max(column) for weight in column] for column in columns]


def opacity(share: float) -> float:
    """What shows a share: faint for 0.6 and less, full for 1."""
    return max(0.04, (share - 0.6) / 0.4)


#: Shares in the key.
_KEY = (0.6, 0.8, 1.0)


def _square(x: int, y: int, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (x - 0.46, y - 0.46), 0.92, 0.92, facecolor=COLOURS["densenet"], edgecolor="none",
        alpha=alpha,
    )  # fmt: skip


def _short(name: str) -> str:
    """`"layer 3"` → `"3"`; the block's input, a transition and the classifier by two letters."""
    return {"input": "in", "transition": "tr", "classifier": "cl"}.get(
        name, name.removeprefix("layer ")
    )
