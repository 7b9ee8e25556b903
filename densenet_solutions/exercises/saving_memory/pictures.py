"""Pictures of exercise 3.2: memory over a step, what is kept, memory against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from densenet_solutions.exercises.saving_memory.bench import MemoryBench, MemoryBenchRow
from densenet_solutions.exercises.saving_memory.kept import Kept
from densenet_solutions.exercises.saving_memory.timelines import StepTimeline
from densenet_solutions.site.figures import COLOURS, Plot, new_figure, note
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import GIB, MIB, decimal, mib, percent, plus_minus, times


def two_timelines(plain: StepTimeline, ours: StepTimeline) -> Html:
    """Live bytes over one training step, of the plain network and with shared storage."""

    def draw(width: float, height: float) -> Plot:
        fig, ax = new_figure(width, height)
        for line, colour, label in (
            (plain, COLOURS["plain"], "plain"),
            (ours, COLOURS["densenet"], "shared storage"),
        ):
            values = [live / MIB for live in line.live]
            positions = [i / (len(values) - 1) for i in range(len(values))]
            ax.fill_between(positions, values, step="post", color=colour, alpha=0.35, linewidth=0)
            ax.step(positions, values, where="post", color=colour, linewidth=1.4)
            top = max(range(len(values)), key=values.__getitem__)
            at = min(max(positions[top], 0.3), 0.7), values[top]
            words = f"{label}: {mib(line.peak, 0)}"
            note(ax, words, at, (0, 6), ha="center", color=colour, fontweight="bold")
        ax.set_ylim(0, max(plain.live) / MIB * 1.13)
        ax.set_xlim(0, 1)
        ax.set_xticks([0.06, 0.94], ["start", "end"])
        ax.set_xlabel("operations of one training step")
        ax.set_ylabel("MiB beyond the model")
        return Plot(fig)

    return figure(
        draw(7, 3.2),
        draw(3.6, 2.8),
        caption=f"The plain network climbs to {mib(plain.peak, 0)} where its forward pass ends; "
        f"shared storage peaks at {mib(ours.peak, 0)}, in the last quarter of the step.",
    )


#: Where each way of a bench has its name: offset in points from its point, and alignment.
Places = Mapping[str, tuple[str, tuple[float, float], str]]
ON_A_CPU: Places = {
    "torchvision": ("plain", (8, -3), "left"),
    "recompute_bottleneck_input": ("recompute\nbottleneck input", (0, 9), "center"),
    "recompute_block": ("recompute block", (14, -16), "right"),
    "recompute_layer": ("recompute layer", (10, -15), "center"),
    "shared_storage": ("shared storage", (0, 7), "center"),
}
ON_A_GPU: Places = {
    "torchvision": ("plain", (8, -3), "left"),
    "recompute_bottleneck_input": ("recompute\nbottleneck input", (9, 4), "left"),
    "recompute_block": ("recompute block", (12, -9), "left"),
    "recompute_layer": ("recompute layer", (-8, 4), "right"),
    "shared_storage": ("shared storage", (8, -14), "right"),
}


def memory_and_time(benches: Mapping[str, tuple[MemoryBench, Places]], *, caption: str) -> Html:
    """Peak against time for the exact ways, with the quartiles of the time; one panel a bench."""

    def draw(width: float, height: float, **shape: int) -> Plot:
        fig, axes = new_figure(width, height, squeeze=False, **shape)
        for ax, (title, (bench, places)) in zip(axes.flat, benches.items(), strict=True):
            _panel(ax, bench, places)
            ax.set_title(title)
        return Plot(fig)

    count = len(benches)
    return figure(draw(7, 3.1, columns=count), draw(3.6, 3.0 * count, rows=count), caption=caption)


def _panel(ax: Any, bench: MemoryBench, places: Places) -> None:
    rows = {row.name: row for row in bench.rows}
    peaks = [row.peak_beyond_parameters or 0 for row in bench.rows]
    unit, name_of_unit = (GIB, "GiB") if max(peaks) > 4 * GIB else (MIB, "MiB")
    fastest = min(1, *(rows[name].time_ratio_low or 1 for name in places))
    slowest = max(rows[name].time_ratio_high or 0 for name in places)
    for name, (label, place, align) in places.items():
        colour = COLOURS["plain" if name == "torchvision" else "densenet"]
        [at] = _with_quartiles(ax, [rows[name]], unit, colour)
        note(ax, label, at, place, ha=align, color=colour)
    ax.set_xlim(fastest - 0.2 * (slowest - 1), slowest + 0.12 * (slowest - 1))
    ax.set_ylim(0, 1.15 * max(peaks) / unit)
    ticks = (1, 1.2, 1.4) if slowest < 1.7 else (1, 2, 3, 4)
    ax.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    ax.set_xlabel("time of a step (bars: middle half)")
    ax.set_ylabel(f"peak, {name_of_unit}")


def kept_curve(by_threads: Mapping[str, Kept]) -> Html:
    """Peak against time as shared storage keeps more bottlenecks' outputs; a panel each."""

    def draw(width: float, height: float, **shape: int) -> Plot:
        fig, axes = new_figure(width, height, squeeze=False, sharex=True, sharey=True, **shape)
        for ax, (title, kept) in zip(axes.flat, by_threads.items(), strict=True):
            rows = [row for _, row in sorted(kept.by_share().items())]
            none, *_, every = _with_quartiles(ax, rows, MIB, COLOURS["densenet"])
            note(ax, "none kept", none, (6, -14))
            note(ax, "all kept", every, (6, 6))
            ax.set_title(title)
        for ax in axes[-1]:
            ax.set_xlabel("time of a step (bars: middle half)")
        for ax in axes[:, 0]:
            ax.set_ylabel("peak, MiB")
        shared = axes[0, 0]
        shared.set_ylim(0, 1.2 * shared.get_ylim()[1])
        return Plot(fig)

    count = len(by_threads)
    ends = [(kept.by_share()[0.0], kept.by_share()[1.0]) for kept in by_threads.values()]
    said = ", ".join(
        f"{mib(none.peak_beyond_parameters or 0, 0)} become "
        f"{mib(every.peak_beyond_parameters or 0, 0)} at {times(every.time_ratio or 0, 2)} "
        f"torchvision's time instead of {times(none.time_ratio or 0, 2)}"
        for none, every in ends
    )
    return figure(
        draw(7, 2.9, columns=count),
        draw(3.6, 2.6 * count, rows=count),
        caption=f"Keeping the output of every bottleneck: {said}.",
    )


def _with_quartiles(
    ax: Any, rows: Sequence[MemoryBenchRow], unit: int, colour: str
) -> list[tuple[float, float]]:
    """Draw peak against time, in order, with the quartiles of the time; the points."""
    points: list[tuple[float, float]] = []
    below, above = [], []
    for row in rows:
        assert row.peak_beyond_parameters is not None
        assert row.time_ratio is not None
        assert row.time_ratio_low is not None
        assert row.time_ratio_high is not None
        points.append((row.time_ratio, row.peak_beyond_parameters / unit))
        below.append(row.time_ratio - row.time_ratio_low)
        above.append(row.time_ratio_high - row.time_ratio)
    x, y = zip(*points, strict=True)
    ax.errorbar(x, y, xerr=[below, above], marker="o", color=colour, elinewidth=1, capsize=3)
    return points


def kept_bars(kept: Mapping[str, int]) -> Html:
    """What autograd keeps, by what it is."""
    rows = sorted(kept.items(), key=lambda item: item[1])
    total = sum(kept.values())

    def draw(width: float, height: float, right: float) -> Plot:
        fig, ax = new_figure(width, height)
        ax.barh(
            [name for name, _ in rows], [n / MIB for _, n in rows], color=COLOURS["activations"]
        )
        for i, (_, value) in enumerate(rows):
            words = f"{mib(value, 0)}, {percent(value / total, 0)}"
            note(ax, words, (value / MIB, i), (4, 0), va="center")
        ax.set_xlim(0, max(kept.values()) / MIB * right)
        ax.set_xlabel("MiB kept")
        ax.grid(False)
        return Plot(fig)

    first, second = rows[-1], rows[-2]
    return figure(
        draw(7, 2.9, 1.35),
        draw(3.6, 2.9, 3.2),
        caption=f"Of {mib(total, 0)} that DenseNet-121 keeps for its backward pass, {first[0]} "
        f"and {second[0]} are {percent((first[1] + second[1]) / total, 0)}.",
    )


def points(difference: float, half_width: float | None) -> str:
    """A difference of accuracies in percentage points, with its interval if there is one.

    Examples:
        >>> points(-0.012, 0.003), points(0.004, None), points(-0.0001, None)
        ('−1.2 ± 0.3', '0.4', '0.0')
    """
    if half_width is None:
        return decimal(100 * difference, 1)
    return plus_minus(100 * difference, 100 * half_width, 1)
