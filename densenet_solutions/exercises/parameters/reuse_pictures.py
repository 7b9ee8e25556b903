"""Heat maps of feature reuse, after figure 5 of the paper (arXiv:1608.06993)."""

from __future__ import annotations

from collections.abc import Sequence

from densenet_solutions.exercises.parameters.reuse import BlockReuse
from densenet_solutions.site.figures import COLOURS, new_figure, svg
from densenet_solutions.site.html import Html


def heat_maps(blocks: Sequence[BlockReuse]) -> Html:
    """One panel a block: a column is a reader, a row a source, a darker square a larger weight.

    Readers have different numbers of inputs and so different scales: each column is drawn in
    shares of its own largest weight, from white (0) to the full colour (1).
    """
    fig, axes = new_figure(7.0, 3.2, columns=len(blocks), squeeze=False)
    for ax, block in zip(axes[0], blocks, strict=True):
        columns = list(zip(*block.weights, strict=True))
        for reader, column in enumerate(columns):
            largest = max(weight for weight in column if weight is not None)
            for source, weight in enumerate(column):
                if weight is not None:
                    _square(ax, reader, source, weight / largest)
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
    return svg(
        fig,
        alt=f"{len(blocks)} triangles of squares, one per dense block: how much weight each layer "
        "puts on every earlier one. All squares are filled: even the faintest has "
        f"{faintest_share(blocks):.0%} of the largest weight of its column.",
    )


def faintest_share(blocks: Sequence[BlockReuse]) -> float:
    """The smallest weight as a share of the largest of its column, over all columns."""
    return min(
        weight / max(w for w in column if w is not None)
        for block in blocks
        for column in zip(*block.weights, strict=True)
        for weight in column
        if weight is not None
    )


def _square(ax: object, x: int, y: int, share: float) -> None:
    from matplotlib.patches import Rectangle

    square = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, color=COLOURS["densenet"], lw=0)
    square.set_alpha(share)
    ax.add_patch(square)  # type: ignore[attr-defined]


def _short(name: str) -> str:
    """`"layer 3"` → `"3"`; the block's input, a transition and the classifier by two letters."""
    return {"input": "in", "transition": "tr", "classifier": "cl"}.get(
        name, name.removeprefix("layer ")
    )
