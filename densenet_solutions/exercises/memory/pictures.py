"""Pictures of exercise 3.1: memory over a step, against the batch, against depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from densenet_solutions.exercises.memory.gpu import Held
from densenet_solutions.exercises.memory.lines import Peaks
from densenet_solutions.measure import MemoryResult
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES, MemoryPoint
from densenet_solutions.site.figures import COLOURS, Plot, new_figure, note
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import GIB, MIB, mib

#: From the bottom of a stack to its top.
_STACK = ("parameters", "buffers", "input", "optimizer", "gradients", "activations", "temporaries")
HUES = {"DenseNet": "densenet", "ResNet-18": "resnet"}


def step_timelines(steps: Mapping[str, MemoryResult]) -> Html:
    """Live bytes over one training step, one panel a network on one scale, by category.

    A category is drawn where it ever reaches a hundredth of the peak.
    """
    top = max(result.peak_bytes for result in steps.values()) / GIB
    shown = [
        name for name in _STACK if any(r.most(name) > r.peak_bytes / 100 for r in steps.values())
    ]

    def draw(width: float, height: float) -> Plot:
        fig, axes = new_figure(width, height, rows=len(steps), sharey=True, squeeze=False)
        for ax, (name, result) in zip(axes[:, 0], steps.items(), strict=True):
            points = thin_out(result.timeline, 260)
            places = [i / (len(points) - 1) for i in range(len(points))]
            values = [
                [p.by_category[MEMORY_CATEGORIES.index(category)] / GIB for p in points]
                for category in shown
            ]
            ax.stackplot(
                places, values, colors=[COLOURS[category] for category in shown], labels=shown, lw=0
            )
            back = next(i for i, p in enumerate(points) if p.phase == "backward")
            turn = back / (len(points) - 1)
            ax.axvline(turn, color="#000000", linewidth=0.8, linestyle=":")
            ax.text(turn - 0.01, 1.04 * top, "forward", ha="right", va="center", fontsize=10)
            ax.text(turn + 0.01, 1.04 * top, "backward", ha="left", va="center", fontsize=10)
            ax.set_xlim(0, 1)
            ax.set_ylim(0, 1.12 * top)
            ax.set_xticks([])
            ax.set_ylabel("GiB")
            ax.set_title(f"{name}: peak {mib(result.peak_bytes, 0)}")
        axes[-1, 0].set_xlabel("operations of one training step, in order")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(
            handles[::-1], labels[::-1], loc="outside lower center", ncols=2, handlelength=1.2
        )
        return Plot(fig)

    return figure(
        draw(7, 5.0),
        draw(3.6, 5.0),
        caption="Both networks climb through the forward pass and come down in the backward pass, "
        "and nearly all of the height is activations.",
    )


def thin_out(points: Sequence[MemoryPoint], count: int) -> list[MemoryPoint]:
    """At most about `count` points; of each run of neighbours the one with most bytes stays."""
    size = max(1, -(-len(points) // count))
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [max(run, key=lambda point: point.bytes) for run in runs]


def batch_lines(
    peaks: Mapping[int, Mapping[str, Peaks]],
    crossings: Mapping[int, int],
    measured: Mapping[tuple[str, int, int], Held],
    last: int,
) -> Html:
    """What tensors hold against the batch size, up to `last`; the crossing is marked.

    There is a panel for each resolution of `peaks`. `measured` has what a GPU allocated, by
    network, resolution and batch; it is drawn as rings.
    """

    def draw(width: float, height: float, wide: bool) -> Plot:
        shape = {"columns" if wide else "rows": len(peaks)}
        fig, axes = new_figure(width, height, squeeze=False, **shape)
        for ax, (side, by_network) in zip(axes.flat, peaks.items(), strict=True):
            for name, found in by_network.items():
                colour = COLOURS[HUES[name]]
                held = {n: v for n, v in zip(found.batches, found.held, strict=True) if n <= last}
                ax.plot(list(held), [v / MIB for v in held.values()], color=colour)
                said = {
                    batch: row.measured.peak_bytes / MIB
                    for (key, pixels, batch), row in measured.items()
                    if (key, pixels) == (name, side) and batch <= last
                }
                ax.plot(
                    list(said), list(said.values()), linestyle="none",
                    marker="o", markersize=10, markerfacecolor="none", color=colour,
                )  # fmt: skip
                offset = (-8, 2) if name == "DenseNet" else (0, -44)
                end = last, held[last] / MIB
                note(ax, name, end, offset, ha="right", color=colour, fontweight="bold")
            ax.axvline(crossings[side], color="#000000", linewidth=0.8, linestyle=":")
            ax.text(crossings[side], 0.03, f" {crossings[side]} images",
                    transform=ax.get_xaxis_transform(), fontsize=10)  # fmt: skip
            ax.set_xlim(0, last * 1.04)
            ax.set_ylim(bottom=0)
            ax.set_title(f"{side} × {side} pixels")
            ax.set_xlabel("batch size")
            ax.set_ylabel("peak, MiB")
        return Plot(fig)

    where = " and ".join(f"{batch} images of {side}²" for side, batch in crossings.items())
    return figure(
        draw(7, 3.3, True),
        draw(3.6, 5.4, False),
        caption="Both peaks are nearly straight lines in the batch; ResNet-18 starts higher, "
        f"DenseNet climbs faster and is above from {where} on. Rings: measured on an H100.",
    )


def depth_lines(layers: Sequence[int], kept: Mapping[str, Sequence[int]]) -> Html:
    """Bytes kept by one dense block against its depth."""

    def draw(width: float, height: float) -> Plot:
        fig, ax = new_figure(width, height)
        for name, values in kept.items():
            colour = COLOURS["densenet" if name == "naive" else "activations"]
            ax.plot(layers, [v / MIB for v in values], marker="o", color=colour)
            words, end = "plain" if name == "naive" else name, (layers[-1], values[-1] / MIB)
            note(ax, words, end, (-4, 7), ha="right", color=colour, fontweight="bold")
        ax.set_xticks(list(layers))
        ax.set_ylim(bottom=0)
        ax.set_xlabel("layers in the dense block")
        ax.set_ylabel("kept for backward, MiB")
        return Plot(fig)

    return figure(
        draw(7, 3.0),
        draw(3.6, 2.8),
        caption="What the plain block keeps bends upwards with its depth; with recomputation the "
        "line is straight.",
    )
