"""Pictures of exercise 3.2: memory over a step, what is kept, memory against time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

from densenet_solutions.exercises.saving_memory.costs import StrategyCost
from densenet_solutions.exercises.saving_memory.timelines import StepTimeline
from densenet_solutions.site.figures import COLOURS, new_figure, svg
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import mib, percent, plus_minus, times

_MIB = 2**20


def two_timelines(plain: StepTimeline, ours: StepTimeline) -> Html:
    """Live bytes over one training step, of the plain network and with shared storage."""
    fig, ax = new_figure(height=3.3)
    for line, colour, label in (
        (plain, COLOURS["plain"], "plain"),
        (ours, COLOURS["densenet"], "shared storage"),
    ):
        values = [live / _MIB for live in line.live]
        positions = [i / (len(values) - 1) for i in range(len(values))]
        ax.fill_between(positions, values, step="post", color=colour, alpha=0.35, linewidth=0)
        ax.step(positions, values, where="post", color=colour, linewidth=1.4)
        top = max(range(len(values)), key=values.__getitem__)
        ax.annotate(
            f"{label}: {mib(line.peak, 0)}",
            (min(max(positions[top], 0.2), 0.8), values[top]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontweight="bold",
        )
    ax.set_ylim(0, max(plain.live) / _MIB * 1.13)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 1], ["start", "end"])
    ax.set_xlabel("operations of the step: forward, then backward")
    ax.set_ylabel("MiB beyond the model")
    return svg(
        fig,
        "Memory over one training step of DenseNet-121. The plain network climbs to "
        f"{mib(plain.peak, 0)} at the end of the forward pass and falls again; with shared "
        f"storage the peak is {mib(ours.peak, 0)}, {times(plain.peak / ours.peak)} less.",
    )


def kept_bars(kept: Mapping[str, int]) -> Html:
    """What autograd keeps, by what it is."""
    rows = sorted(kept.items(), key=lambda item: item[1])
    total = sum(kept.values())
    fig, ax = new_figure(height=2.9)
    ax.barh([name for name, _ in rows], [n / _MIB for _, n in rows], color=COLOURS["activations"])
    for i, (_, value) in enumerate(rows):
        ax.annotate(
            f"{value / _MIB:,.0f} MiB, {percent(value / total, 0)}",
            (value / _MIB, i),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    ax.set_xlim(0, max(kept.values()) / _MIB * 1.35)
    ax.set_xlabel("MiB kept for the backward pass")
    ax.grid(False)
    first, second = rows[-1], rows[-2]
    return svg(
        fig,
        f"Of {mib(total, 0)} that DenseNet-121 keeps for its backward pass, {first[0]} and "
        f"{second[0]} are {percent((first[1] + second[1]) / total, 0)}.",
    )


def trade_off(costs: Sequence[StrategyCost], changes_function: Mapping[str, bool]) -> Html:
    """Training peak against step time, both over the plain network's; every strategy a point."""
    plain = next(cost for cost in costs if cost.strategy == "plain")
    points = {
        cost.strategy: (
            cost.time_ratio,
            cost.training_peak / plain.training_peak,
        )
        for cost in costs
        if cost.time_ratio and cost.training_peak and plain.training_peak
    }
    fig, ax = new_figure(height=5.0)
    for name, (x, y) in points.items():
        changes = changes_function[name]
        ax.plot(
            x,
            y,
            marker="D" if changes else "o",
            markersize=6,
            linestyle="none",
            color=COLOURS["temporaries" if changes else "densenet"],
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    xs, ys = zip(*points.values(), strict=True)
    ax.set_xlim(min(xs) / 1.35, max(xs) * 1.6)
    ax.set_ylim(min(ys) / 1.3, max(ys) * 1.25)
    marks = [mark for mark in (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12) if mark < max(xs) * 1.5]
    marks = [mark for mark in marks if mark > min(xs) / 1.3]
    ax.set_xticks(marks, [f"{mark:g}×" for mark in marks])
    shares = [share for share in (0.05, 0.1, 0.2, 0.3, 0.5, 1) if share > min(ys) / 1.2]
    ax.set_yticks(shares, [percent(share, 0) for share in shares])
    ax.minorticks_off()
    ax.set_xlabel("time of a training step, over the plain one's")
    ax.set_ylabel("peak memory, over the plain one's")
    fig.draw_without_rendering()
    _label(ax, points)
    best = min(
        (name for name in points if not changes_function[name]), key=lambda name: points[name][1]
    )
    return svg(
        fig,
        "Memory against time for every strategy. Among the exact ones, drawn as circles, "
        f"{best.replace('_', ' ')} has the lowest peak, {percent(points[best][1])} of the plain "
        f"network's, at {times(points[best][0], 2)} its time.",
    )


def points(difference: float, half_width: float | None) -> str:
    """A difference of accuracies in percentage points, with its interval if there is one.

    Examples:
        >>> points(-0.012, 0.003), points(0.004, None)
        ('−1.2 ± 0.3', '0.4')
    """
    if half_width is None:
        return f"{100 * difference:.1f}".replace("-", "−")
    return plus_minus(100 * difference, 100 * half_width, 1)


def _label(ax: object, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name beside its point, where it covers neither a point nor another name.

    Points that all but coincide share one text.
    """
    to_pixels = ax.transData.transform  # type: ignore[attr-defined]
    scale = ax.figure.dpi / 72  # type: ignore[attr-defined]
    frame = ax.get_window_extent()  # type: ignore[attr-defined]
    centres = {name: to_pixels(point) for name, point in points.items()}
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in centres.values()]
    places = [
        (side * 7, rise)
        for rise, side in product((0, 9, -9, 18, -18, 27, -27, 36, -36, 46, -46), (1, -1))
    ]
    shared: dict[str, list[str]] = {}
    for name, (x, y) in centres.items():
        near = (n for n in shared if math.hypot(x - centres[n][0], y - centres[n][1]) < 7 * scale)
        shared.setdefault(next(near, name), []).append(name)
    for name in sorted(shared, key=lambda name: -centres[name][1]):
        x, y = centres[name]
        text = ", ".join(shared[name]).replace("_", " ")
        width, height = 4.9 * len(text) * scale, 10 * scale

        def box(dx: float, dy: float, x=x, y=y, width=width, height=height):
            left = x + dx * scale if dx > 0 else x + dx * scale - width
            return left, y + dy * scale - height / 2, left + width, y + dy * scale + height / 2

        def clashes(place: tuple[float, float], box=box) -> int:
            a = box(*place)
            outside = a[0] < frame.x0 or a[2] > frame.x1 or a[1] < frame.y0 or a[3] > frame.y1
            hits = (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in taken)
            return 100 * outside + sum(hits)

        dx, dy = min(places, key=clashes)
        taken.append(box(dx, dy))
        ax.annotate(  # type: ignore[attr-defined]
            text,
            points[name],
            xytext=(dx, dy),
            textcoords="offset points",
            ha="left" if dx > 0 else "right",
            va="center",
            fontsize=9.5,
            arrowprops={"arrowstyle": "-", "color": COLOURS["neutral"], "linewidth": 0.6}
            if abs(dy) > 9
            else None,
        )
