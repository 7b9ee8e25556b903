"""Pictures of exercise 2: where parameters sit, how they grow, and what they buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from densenet_solutions.exercises.parameters.study import LayerCost, PublishedModel, Sweep
from densenet_solutions.site.draw import Board, both
from densenet_solutions.site.figures import COLOURS, Plot, new_figure, note
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import count, times

_NETWORKS = {"DenseNet": "densenet", "ResNet-18": "resnet"}


def stage_bars(by_stage: Mapping[str, Mapping[str, int]], caption: str) -> Html:
    """Parameters of each stage, the two networks side by side; direct labels in millions."""
    stages = list(next(iter(by_stage.values())))
    height = 0.38

    def draw(width: float) -> Plot:
        fig, ax = new_figure(width, 4.2)
        for i, (network, counts) in enumerate(by_stage.items()):
            where = [row + (i - 0.5) * height for row in range(len(stages))]
            values = [counts[stage] / 1e6 for stage in stages]
            colour = COLOURS[_NETWORKS[network]]
            bars = ax.barh(where, values, height * 0.92, color=colour, label=network)
            labels = [f"{value:.2g}" for value in values]
            ax.bar_label(bars, labels, padding=3, color=colour, size=10)
        ax.set_yticks(range(len(stages)), stages)
        ax.invert_yaxis()
        ax.grid(visible=False)
        ax.set_xlabel("parameters (millions)")
        ax.margins(x=0.14)
        ax.legend(loc="upper right")
        return Plot(fig)

    parts = "; ".join(
        f"{name}: " + ", ".join(f"{stage} {count(n)}" for stage, n in counts.items())
        for name, counts in by_stage.items()
    )
    return figure(draw(7), draw(3.6), caption=caption, alt=f"Parameters by stage. {parts}.")


def weights_to_scale(costs: Sequence[LayerCost], caption: str, growth_rate: int = 32) -> Html:
    """Weight matrices as areas: channels read to the right, channels written downwards."""

    def draw(board: Board) -> None:
        gap, size = (26.0, 12.0) if board.wide else (10.0, 11.0)
        widest = [max(cost.resnet_width, cost.densenet_reads) for cost in costs]
        scale = (board.width - gap * (len(costs) - 1)) / sum(widest)
        floor = 40 + scale * max(cost.resnet_width for cost in costs)
        strip = growth_rate * scale
        board.height = floor + 70 + strip
        board.text(0, 10, "ResNet-18 writes as much as it reads", size=13, bold=True,
                   fill="resnet")  # fmt: skip
        board.text(0, floor + 56 + strip, f"DenseNet writes {growth_rate} channels", size=13,
                   bold=True, fill="densenet")  # fmt: skip
        x = 0.0
        for cost, across in zip(costs, widest, strict=True):
            side = scale * cost.resnet_width
            board.text(x, floor - side - 9, count(cost.resnet), size=size)
            board.box(x, floor - side, side, side, "resnet", opacity=0.7)
            board.box(x, floor + 8, scale * cost.densenet_reads, strip, "densenet", opacity=0.8)
            board.text(x, floor + 18 + strip, count(cost.densenet), size=size)
            board.text(x, floor + 34 + strip, f"stage {cost.stage}", size=size, fill="quiet")
            x += scale * across + gap

    parts = "; ".join(
        f"stage {c.stage}: ResNet {c.resnet_width} by {c.resnet_width}, "
        f"DenseNet {c.densenet_reads} by {growth_rate}"
        for c in costs
    )
    return figure(
        *both(draw), caption=caption,
        alt=f"The last 3x3 convolution of each stage as an area, channels read by channels "
        f"written. {parts}.",
    )  # fmt: skip


def sweeps(rows: Sequence[tuple[Sweep, str, float]], caption: str) -> Html:
    """One panel an option: `(sweep, axis label, value in DenseNet-121)`; the last is ringed."""

    def draw(width: float, height: float, **panels: int) -> Plot:
        fig, axes = new_figure(width, height, sharey=True, **panels)
        for ax, (sweep, label, standard) in zip(axes, rows, strict=True):
            values = [n / 1e6 for n in sweep.parameters]
            ax.plot(sweep.values, values, "o-", color=COLOURS["densenet"])
            at = sweep.values.index(standard)
            ax.plot(standard, values[at], "o", ms=12, mfc="none", mec=COLOURS["densenet"], mew=1.6)
            ax.annotate(
                "121", (standard, values[at]), xytext=(0, 9), textcoords="offset points",
                ha="center", color=COLOURS["densenet"],
            )  # fmt: skip
            ax.set_xlabel(label)
            ax.set_ylim(0)
        axes[0].set_ylabel("parameters (millions)")
        return Plot(fig)

    ends = "; ".join(
        f"{label} from {sweep.values[0]:g} to {sweep.values[-1]:g} multiplies the parameters by "
        f"{sweep.parameters[-1] / sweep.parameters[0]:.1f}"
        for sweep, label, _ in rows
    )
    return figure(
        draw(7, 2.9, columns=len(rows)), draw(3.6, 6.4, rows=len(rows)), caption=caption,
        alt=f"Parameters of DenseNet-121 as one option varies: {ends}.",
    )  # fmt: skip


def accuracy(models: Sequence[PublishedModel], caption: str, *, cost: str) -> Html:
    """Top-1 error against `cost`, which is `"parameters"` or `"multiply_adds"`."""
    unit, word = {
        "parameters": (1e6, "parameters (millions)"),
        "multiply_adds": (1e9, "multiply-adds (billions, one 224² image)"),
    }[cost]

    def draw(width: float) -> Plot:
        fig, ax = new_figure(width, 3.8)
        for family, title in (("densenet", "DenseNet"), ("resnet", "ResNet")):
            rows = sorted((m for m in models if m.family == family), key=lambda m: m.top1_error)
            x = [getattr(m, cost) / unit for m in rows]
            y = [m.top1_error for m in rows]
            below = family == "densenet"
            colour = COLOURS[family]
            ax.plot(x, y, "o-", color=colour)
            for m, at_x, at_y in zip(rows, x, y, strict=True):
                left = below and m is not rows[0]
                if below and m is rows[-1] and cost == "parameters":  # the axis is to its left
                    note(ax, m.name.removeprefix(f"{title}-"), (at_x, at_y), (6, 1), color=colour)
                    continue
                note(ax, m.name.removeprefix(f"{title}-"), (at_x, at_y),
                     (-6 if left else 6, -5 if below else 4), ha="right" if left else "left",
                     va="top" if below else "bottom", color=colour)  # fmt: skip
            end, down, side = (0, -5, "top") if below else (-1, 4, "bottom")
            note(ax, title, (x[end], y[end]), (34, down), weight="bold", va=side, color=colour)
        ax.set_xlim(0)
        ax.margins(x=0.1, y=0.14)
        ax.set_xlabel(word)
        ax.set_ylabel("ImageNet top-1 error (%)")
        return Plot(fig)

    listed = "; ".join(
        f"{m.name} {getattr(m, cost) / unit:.1f} at {m.top1_error:.2f}%" for m in models
    )
    return figure(draw(7), draw(3.6), caption=caption, alt=f"Error against {word}. {listed}.")


def relative_costs(rows: Mapping[str, tuple[float, float]], caption: str) -> Html:
    """DenseNet's share of each cost of ResNet-18: `label → (densenet, resnet)`; the line is 1."""
    ratios = [dense / residual for dense, residual in rows.values()]

    def draw(width: float) -> Plot:
        fig, ax = new_figure(width, 0.9 + 0.55 * len(rows))
        bars = ax.barh(range(len(rows)), ratios, 0.6, color=COLOURS["densenet"])
        ax.bar_label(bars, [times(ratio, 2) for ratio in ratios], padding=4)
        ax.axvline(1, color=COLOURS["resnet"], lw=2)
        note(ax, "ResNet-18", (1, 1), (-5, -2), xycoords=("data", "axes fraction"),
             color=COLOURS["resnet"], va="top", ha="right")  # fmt: skip
        ax.set_yticks(range(len(rows)), list(rows))
        ax.invert_yaxis()
        ax.grid(visible=False)
        ax.set_xlim(0, 1.2 * max(*ratios, 1.2))
        ax.set_xlabel("DenseNet ÷ ResNet-18")
        return Plot(fig)

    parts = "; ".join(f"{label} {times(r, 2)}" for label, r in zip(rows, ratios, strict=True))
    return figure(
        draw(7), draw(3.6), caption=caption,
        alt=f"The book's DenseNet against its ResNet-18: {parts}.",
    )  # fmt: skip
