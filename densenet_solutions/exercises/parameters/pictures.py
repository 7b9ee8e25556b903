"""Pictures of exercise 2: where parameters sit, how they grow, and what they buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from densenet_solutions.site.figures import COLOURS, new_figure, svg
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import count, millions, times

_NETWORKS = {"DenseNet": "densenet", "ResNet-18": "resnet"}


def stage_bars(by_stage: Mapping[str, Mapping[str, int]]) -> Html:
    """Parameters of each stage, the two networks side by side; direct labels in millions."""
    stages = list(next(iter(by_stage.values())))
    fig, ax = new_figure(7.0, 4.2)
    height = 0.38
    for i, (network, counts) in enumerate(by_stage.items()):
        where = [row + (i - 0.5) * height for row in range(len(stages))]
        values = [counts[stage] / 1e6 for stage in stages]
        colour = COLOURS[_NETWORKS[network]]
        bars = ax.barh(where, values, height * 0.92, color=colour, label=network)
        ax.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, color=colour, size=10)
    ax.set_yticks(range(len(stages)), stages)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set_xlabel("parameters (millions)")
    ax.margins(x=0.1)
    ax.legend(loc="upper right")
    totals = {name: sum(counts.values()) for name, counts in by_stage.items()}
    last = stages[-2]
    share = by_stage["ResNet-18"][last] / totals["ResNet-18"]
    return svg(
        fig,
        alt=f"Bars of parameters by stage. ResNet-18 has {millions(totals['ResNet-18'])} in all, "
        f"{share:.0%} of them in {last}; DenseNet has {millions(totals['DenseNet'])}, spread "
        "nearly evenly over its four blocks.",
    )


class _LayerCost(Protocol):
    @property
    def stage(self) -> int: ...
    @property
    def resnet(self) -> int: ...
    @property
    def densenet(self) -> int: ...


def convolution_costs(costs: Sequence[_LayerCost]) -> Html:
    """Weights of the last 3x3 convolution of each stage, on a logarithmic scale."""
    fig, ax = new_figure(7.0, 3.2)
    stages = [cost.stage for cost in costs]
    series: tuple[tuple[str, list[int], str], ...] = (
        ("ResNet-18: 9c²", [cost.resnet for cost in costs], "resnet"),
        ("DenseNet: 9kc, k = 32", [cost.densenet for cost in costs], "densenet"),
    )
    for label, values, colour in series:
        ax.plot(stages, values, "o-", color=COLOURS[colour])
        ax.annotate(
            label,
            (stages[-1], values[-1]),
            (-8, 8) if colour == "densenet" else (-34, -6),
            textcoords="offset points",
            color=COLOURS[colour],
            ha="right",
        )
    ax.set_yscale("log")
    ax.set_xticks(stages)
    ax.set_xlabel("stage")
    ax.set_ylabel("weights of one 3×3 convolution")
    return svg(
        fig,
        alt="The last 3x3 convolution of each stage. ResNet's grows from "
        f"{count(costs[0].resnet)} to {count(costs[-1].resnet)} weights, DenseNet's from "
        f"{count(costs[0].densenet)} to only {count(costs[-1].densenet)}.",
    )


class _Sweep(Protocol):
    @property
    def option(self) -> str: ...
    @property
    def values(self) -> tuple[float, ...]: ...
    @property
    def parameters(self) -> tuple[int, ...]: ...


def sweeps(rows: Sequence[tuple[_Sweep, str, float]]) -> Html:
    """One panel an option: `(sweep, axis label, value in DenseNet-121)`; the last is ringed."""
    fig, axes = new_figure(7.0, 2.9, columns=len(rows), sharey=True)
    for ax, (sweep, label, standard) in zip(axes, rows, strict=True):
        values = [n / 1e6 for n in sweep.parameters]
        ax.plot(sweep.values, values, "o-", color=COLOURS["densenet"])
        at = sweep.values.index(standard)
        ax.plot(standard, values[at], "o", ms=12, mfc="none", mec=COLOURS["densenet"], mew=1.6)
        ax.set_xlabel(label)
        ax.set_ylim(0)
    axes[0].set_ylabel("parameters (millions)")
    ends = "; ".join(
        f"{label} from {sweep.values[0]:g} to {sweep.values[-1]:g} multiplies the parameters by "
        f"{sweep.parameters[-1] / sweep.parameters[0]:.1f}"
        for sweep, label, _ in rows
    )
    return svg(fig, alt=f"Parameters of DenseNet-121 as one option varies: {ends}.")


class _Published(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    @property
    def multiply_adds(self) -> int: ...
    @property
    def top1_error(self) -> float: ...


def accuracy(models: Sequence[_Published], *, cost: str) -> Html:
    """Top-1 error against `cost`, which is `"parameters"` or `"multiply_adds"`."""
    unit, word = {
        "parameters": (1e6, "parameters (millions)"),
        "multiply_adds": (1e9, "multiply-adds (billions, one image at 224²)"),
    }[cost]
    fig, ax = new_figure(7.0, 3.8)
    for family, title in (("densenet", "DenseNet"), ("resnet", "ResNet")):
        rows = sorted((m for m in models if m.family == family), key=lambda m: m.top1_error)
        x = [getattr(m, cost) / unit for m in rows]
        y = [m.top1_error for m in rows]
        colour = COLOURS[family]
        ax.plot(x, y, "o-", color=colour)
        for m, at_x, at_y in zip(rows, x, y, strict=True):
            below = family == "densenet"
            ax.annotate(
                m.name.removeprefix(f"{title}-"),
                (at_x, at_y),
                (-7, -5) if below else (7, 4),
                textcoords="offset points",
                color=colour,
                ha="right" if below else "left",
                va="top" if below else "bottom",
            )
        ax.annotate(
            title,
            (x[-1], y[-1]),
            (0, 10) if family == "densenet" else (34, 4),
            textcoords="offset points",
            color=colour,
            weight="bold",
            ha="center" if family == "densenet" else "left",
        )
    ax.set_xlim(0)
    ax.margins(x=0.1, y=0.12)
    ax.set_xlabel(word)
    ax.set_ylabel("ImageNet top-1 error (%)")
    listed = "; ".join(
        f"{m.name} {getattr(m, cost) / unit:.1f} at {m.top1_error:.2f}%" for m in models
    )
    return svg(fig, alt=f"Error against {word}. {listed}.")


def relative_costs(rows: Mapping[str, tuple[float, float]]) -> Html:
    """DenseNet's share of each cost of ResNet-18: `label → (densenet, resnet)`; the line is 1."""
    fig, ax = new_figure(7.0, 0.9 + 0.55 * len(rows))
    ratios = [dense / residual for dense, residual in rows.values()]
    bars = ax.barh(range(len(rows)), ratios, 0.6, color=COLOURS["densenet"])
    ax.bar_label(bars, [times(ratio, 2) for ratio in ratios], padding=4)
    ax.axvline(1, color=COLOURS["resnet"], lw=2)
    ax.annotate(
        "ResNet-18",
        (1, 1),
        (5, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=COLOURS["resnet"],
        va="top",
    )
    ax.set_yticks(range(len(rows)), list(rows))
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set_xlim(0, 1.15 * max(*ratios, 1.2))
    ax.set_xlabel("DenseNet ÷ ResNet-18")
    parts = "; ".join(f"{label} {times(r, 2)}" for label, r in zip(rows, ratios, strict=True))
    return svg(fig, alt=f"The book's DenseNet against its ResNet-18: {parts}.")
