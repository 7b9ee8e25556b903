"""Pictures of exercise 3.1: memory over a step, against the batch, against depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from densenet_solutions.measure import MemoryResult
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES, MemoryPoint
from densenet_solutions.site.figures import COLOURS, new_figure, svg
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import GIB, MIB, mib

#: From the bottom of a stack to its top.
_STACK = ("parameters", "buffers", "input", "optimizer", "gradients", "activations", "temporaries")
_HUES = {"DenseNet": "densenet", "ResNet-18": "resnet"}


def step_timelines(steps: Mapping[str, MemoryResult]) -> Html:
    """Live bytes over one training step, one panel a network on one scale, by category."""
    fig, axes = new_figure(height=5.6, rows=len(steps), sharey=True, squeeze=False)
    top = max(result.peak_bytes for result in steps.values()) / GIB
    sentences = []
    shown = [name for name in _STACK if any(r.bytes_by_category[name] for r in steps.values())]
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
        turn = next(i for i, p in enumerate(points) if p.phase == "backward") / (len(points) - 1)
        ax.axvline(turn, color="#000000", linewidth=0.8, linestyle=":")
        ax.text(turn - 0.01, 1.04 * top, "forward", ha="right", va="center", fontsize=10)
        ax.text(turn + 0.01, 1.04 * top, "backward", ha="left", va="center", fontsize=10)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1.12 * top)
        ax.set_xticks([])
        ax.set_ylabel("GiB")
        ax.set_title(f"{name}: peak {mib(result.peak_bytes, 0)}")
        sentences.append(f"{name} climbs to {mib(result.peak_bytes, 0)}")
    axes[-1, 0].set_xlabel("operations of one training step, in order")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3, handlelength=1.2)
    return svg(
        fig,
        "Memory over one training step on the same scale: "
        + "; ".join(sentences)
        + ". Both rise through the forward pass and fall through the backward pass, and nearly "
        "all of it is activations.",
    )


def thin_out(points: Sequence[MemoryPoint], count: int) -> list[MemoryPoint]:
    """At most about `count` points; of each run of neighbours the one with most bytes stays."""
    size = max(1, -(-len(points) // count))
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [max(run, key=lambda point: point.bytes) for run in runs]


def batch_lines(
    batches: Sequence[int],
    peaks: Mapping[int, Mapping[str, Sequence[int]]],
    crossings: Mapping[int, int],
) -> Html:
    """Peak against the batch size, one panel a resolution; the crossing is marked."""
    fig, axes = new_figure(height=3.3, columns=len(peaks), squeeze=False)
    for ax, (side, by_network) in zip(axes[0], peaks.items(), strict=True):
        for name, values in by_network.items():
            colour = COLOURS[_HUES[name]]
            ax.plot(batches, [v / MIB for v in values], marker="o", markersize=4, color=colour)
            end, beside, align = (
                (-1, (-12, 2), "right") if name == "DenseNet" else (0, (-4, 24), "left")
            )
            ax.annotate(
                name, (batches[end], values[end] / MIB), xytext=beside, ha=align,
                textcoords="offset points", color=colour, fontweight="bold",
            )  # fmt: skip
        ax.axvline(crossings[side], color="#000000", linewidth=0.8, linestyle=":")
        ax.text(crossings[side] * 1.1, 0.03, f"batch {crossings[side]}",
                transform=ax.get_xaxis_transform(), fontsize=10)  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(list(batches), [str(batch) for batch in batches], fontsize=10)
        ax.set_title(f"{side} × {side} pixels")
        ax.set_xlabel("batch size")
    axes[0][0].set_ylabel("peak, MiB")
    where = " and ".join(f"{batch} at {side} pixels" for side, batch in crossings.items())
    return svg(
        fig,
        "Peak memory of a training step against the batch size. ResNet-18 starts higher, because "
        f"its parameters weigh more; DenseNet overtakes it at a batch of {where}.",
    )


def depth_lines(layers: Sequence[int], kept: Mapping[str, Sequence[int]]) -> Html:
    """Bytes kept by one dense block against its depth."""
    fig, ax = new_figure(height=3.2)
    for name, values in kept.items():
        colour = COLOURS["densenet" if name == "naive" else "activations"]
        ax.plot(layers, [v / MIB for v in values], marker="o", color=colour)
        shown = "plain" if name == "naive" else name
        _label(ax, shown, (layers[-1], values[-1] / MIB), colour)
    ax.set_xticks(list(layers))
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layers in the dense block")
    ax.set_ylabel("kept for backward, MiB")
    return svg(
        fig,
        "Bytes that a dense block keeps for its backward pass against its depth: the plain curve "
        "bends upwards, the one with recomputation is straight.",
    )


def _label(ax: Any, text: str, at: tuple[float, float], colour: str) -> None:
    ax.annotate(
        text, at, xytext=(-4, 7), textcoords="offset points", ha="right",
        color=colour, fontweight="bold",
    )  # fmt: skip
