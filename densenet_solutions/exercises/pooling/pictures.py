"""Pictures of exercise 1: a feature map pooled, densities, shifts, and training results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from densenet_solutions.exercises.pooling.features import FeatureMap
from densenet_solutions.exercises.pooling.study import PairedDifference
from densenet_solutions.site.figures import COLOURS, new_figure, svg
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import percent

Matrix = Sequence[Sequence[float]]

#: What a pooling is called in figures and tables.
NAMES = {"average": "average", "max": "maximum", "stride": "stride"}


def pooled_map(
    feature_map: FeatureMap, pooled: Mapping[str, Matrix], routed: Mapping[str, Matrix]
) -> Html:
    """Above: a feature map, and what each pooling makes of it; below: where the gradient goes.

    `pooled` and `routed` map the name of a pooling to the pooled map and to the gradient at the
    pool's input.
    """
    fig, axes = new_figure(7.0, 3.6, rows=2, columns=2 + len(pooled))
    largest = max(abs(value) for row in feature_map.before for value in row)
    steepest = max(abs(value) for matrix in routed.values() for row in matrix for value in row)
    arriving = max(abs(value) for row in feature_map.gradient for value in row)

    axes[0][0].imshow(feature_map.image, cmap="Greys", interpolation="nearest")
    axes[0][0].set_title("image")
    _cells(axes[0][1], feature_map.before, largest, "activations")
    axes[0][1].set_title("convolved")
    _cells(axes[1][1], feature_map.gradient, arriving, "gradients")
    axes[1][1].set_title("arriving")
    axes[1][0].text(
        0.5,
        0.5,
        "and the\ngradient\nback",
        ha="center",
        va="center",
        transform=axes[1][0].transAxes,
    )
    for ax_above, ax_below, (name, matrix) in zip(
        axes[0][2:], axes[1][2:], pooled.items(), strict=True
    ):
        _cells(ax_above, matrix, largest, "activations")
        ax_above.set_title(NAMES[name], color=COLOURS[name])
        _cells(ax_below, routed[name], steepest, "gradients")
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.grid(visible=False)
    return svg(
        fig,
        alt=f"A real feature map of a trained DenseNet ({feature_map.label}), positive cells "
        "green and negative ones grey, pooled in three ways. The average has lost contrast, the "
        "maximum most of the negative cells, the stride what it skipped. Below, the gradient that "
        "comes back: the average hands it to all four cells of a window, maximum and stride to "
        "one cell, and three stay empty.",
    )


def _cells(ax: Any, values: Matrix, largest: float, colour: str) -> None:
    """A square a value: opacity is its size, grey is negative where features are drawn."""
    from matplotlib.patches import Rectangle

    side = len(values)
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            name = "neutral" if value < 0 and colour == "activations" else colour
            opacity = min(1.0, abs(value) / largest)
            if opacity > 0.005:
                ax.add_patch(Rectangle((x, y), 1, 1, facecolor=COLOURS[name], lw=0, alpha=opacity))
    for edge in range(side + 1):
        for line in (([edge, edge], [0, side]), ([0, side], [edge, edge])):
            ax.plot(*line, color=COLOURS["neutral"], lw=0.5, alpha=0.45)
    ax.set_xlim(-0.1, side + 0.1)
    ax.set_ylim(side + 0.1, -0.1)
    ax.set_aspect("equal")


def densities(x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Html:
    """Densities of pooled values when the four inputs are independent standard normals."""
    fig, ax = new_figure(7.0, 3.0)
    for name, density in curves.items():
        ax.plot(x, density, color=COLOURS[name])
        top = list(density).index(max(density))
        offset = {"average": (-8, -6), "max": (10, 2), "stride": (-52, -26)}[name]
        label = {"stride": "one input", "max": "maximum of four", "average": "average of four"}
        ax.annotate(
            label[name],
            (x[top], density[top]),
            offset,
            textcoords="offset points",
            color=COLOURS[name],
            ha="right" if offset[0] < 0 else "left",
        )
    ax.set_xlabel("value, in standard deviations of an input")
    ax.set_ylabel("density")
    ax.set_ylim(0)
    return svg(
        fig,
        alt="Three bell curves. The average of four is centred at zero and half as wide as one "
        "input; the maximum of four is shifted to the right by one standard deviation, narrower "
        "than one input and slightly skewed.",
    )


def shift_curves(agreement: Mapping[str, Mapping[int, Sequence[float]]]) -> Html:
    """Share of unchanged predictions over the shift in pixels; a dot a seed, a line their mean."""
    fig, ax = new_figure(7.0, 3.2)
    means = {}
    for i, (name, by_shift) in enumerate(agreement.items()):
        shifts = list(by_shift)
        means[name] = [sum(values) / len(values) for values in by_shift.values()]
        ax.plot(shifts, means[name], color=COLOURS[name], lw=1.6)
        for shift, values in by_shift.items():
            where = [shift + 0.05 * (i - 1)] * len(values)
            ax.plot(where, values, "o", color=COLOURS[name], ms=4, alpha=0.7)
    ranked = sorted(means, key=lambda name: means[name][-1])
    last = max(next(iter(agreement.values())))
    lowest = [means[name][-1] for name in ranked]
    heights = [lowest[0]]
    for value in lowest[1:]:
        heights.append(max(value, heights[-1] + 0.025))
    for name, height in zip(ranked, heights, strict=True):
        ax.text(last + 0.15, height, NAMES[name], color=COLOURS[name], va="center")
    ax.set_xlim(0.7, last + 0.9)
    ax.set_xticks(list(next(iter(agreement.values()))))
    ax.set_xlabel("shift of the image to the right (pixels of 32)")
    ax.set_ylabel("same predicted class")
    ax.yaxis.set_major_formatter(lambda value, _: percent(value, 0))
    ends = ", ".join(f"{NAMES[name]} {percent(means[name][-1])}" for name in agreement)
    return svg(
        fig,
        alt="The share of images that keep their predicted class falls with the size of the "
        f"shift for every pooling. At {last} pixels: {ends}.",
    )


def paired_differences(
    rows: Mapping[str, tuple[Sequence[float], PairedDifference, str]],
) -> Html:
    """Accuracy differences in percentage points: a dot a seed, a bar the mean's 95% interval.

    `rows` maps a label to the differences of the pairs, their summary and a colour's name.
    """
    fig, ax = new_figure(7.0, 0.9 + 0.62 * len(rows))
    ax.axvline(0, color="black", lw=0.8)
    for y, (differences, summary, colour) in enumerate(rows.values()):
        low, high = 100 * summary.low, 100 * summary.high
        ax.plot([low, high], [y, y], color=COLOURS[colour], lw=5, alpha=0.35)
        ax.plot(100 * summary.mean, y, "D", color=COLOURS[colour], ms=7)
        dots = [100 * value for value in differences]
        ax.plot(dots, [y + 0.24] * len(dots), "o", color=COLOURS[colour], ms=3.5)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.4, -0.5)
    ax.grid(visible=False)
    ax.set_xlabel("difference in test accuracy (percentage points)")
    parts = [
        f"{label}: {100 * summary.mean:+.1f} points, from {100 * summary.low:+.1f} to "
        f"{100 * summary.high:+.1f}"
        for label, (_, summary, _) in rows.items()
    ]
    return svg(
        fig,
        alt="Differences in test accuracy with their 95% intervals. " + "; ".join(parts) + ".",
    )
