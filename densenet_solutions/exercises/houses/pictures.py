"""Pictures of exercise 5: results in, drawings out, wide and for a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from densenet_solutions.houses.comparison import HouseDifference
from densenet_solutions.site.draw import Board, both, sub, ticks
from densenet_solutions.site.frames import figure
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import decimal, interval, signed

#: family → how a page writes it, and its colour.
NAMES = {
    "plain": "plain",
    "shortcut": "one shortcut",
    "residual": "residual",
    "dense": "dense",
    "ridge": "ridge",
    "svr": "SVR",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "histogram": "histogram",
    "realmlp": "RealMLP",
    "tabm": "TabM",
}
_COLORS = {
    "plain": "plain", "shortcut": "shortcut", "residual": "resnet", "dense": "densenet",
}  # fmt: skip


def network(features: int, growth_rate: int, layers: int, caption: str) -> Html:
    """What each layer reads: the table, and the features of all layers before it."""

    def draw(board: Board) -> None:
        size, step = (13.0, 34.0) if board.wide else (11.5, 32.0)
        left, right = (66.0, 160.0) if board.wide else (54.0, 110.0)
        board.height = (layers + 1) * step + 26
        gap = 3.0
        scale = (board.width - left - right - gap * layers) / (features + layers * growth_rate)
        for i in range(layers + 1):
            y = 4 + i * step
            name = f"layer {i + 1}" if i < layers else "head"
            board.text(0, y + 11, name, size=size)
            board.box(left, y, features * scale, 22, "input", opacity=0.6)
            x = left + features * scale + gap
            for _ in range(i):
                board.box(x, y, growth_rate * scale, 22, "densenet", opacity=0.75)
                x += growth_rate * scale + gap
            reads = features + i * growth_rate
            writes = f"writes {growth_rate}" if i < layers else "the price"
            board.text(board.width, y + 11, f"reads {reads}, {writes}" if board.wide else
                       f"{reads} → {growth_rate if i < layers else 1}",
                       size=size, anchor="end", fill="quiet")  # fmt: skip
        floor = (layers + 1) * step + 10
        board.text(left, floor, f"the table, about {features} columns", size=size, fill="quiet")

    return figure(
        *both(draw), caption=caption,
        alt=f"A dense MLP: {layers} layers that each write {growth_rate} features and read the "
        f"table, about {features} columns, and all features before them; so does the head.",
    )  # fmt: skip


def four_connections(caption: str) -> Html:
    """Three layers and a head in each of the four ways."""
    extra = {
        "plain": [],
        "shortcut": [(0, 4)],
        "residual": [(0, 2), (1, 3), (2, 4)],
        "dense": [(a, b) for a in range(4) for b in range(a + 2, 5)],
    }

    def draw(board: Board) -> None:
        columns = 2
        panel, tall = board.width / columns, 118.0
        board.height = 2 * tall
        step = (panel - 44) / 4
        labels = [f"x{sub(0)}", *(f"H{sub(i)}" for i in (1, 2, 3)), "ŷ"]
        for n, (name, arcs) in enumerate(extra.items()):
            left, top = (n % columns) * panel + 18, (n // columns) * tall
            base = top + 92
            board.text(left - 14, top + 10, NAMES[name], size=13, bold=True, fill=_COLORS[name])
            for a, b in arcs:
                start, end = left + a * step, left + b * step
                rise = 26 + 11 * (b - a)
                board.curve((start, base - 13), ((start + end) / 2, base - 13 - rise),
                            (end, base - 14), stroke=_COLORS[name], thickness=1.75, arrow=True,
                            opacity=0.85)  # fmt: skip
            for i, label in enumerate(labels):
                x = left + i * step
                if i:
                    board.line((x - step + 12, base), (x - 13, base), stroke="quiet", arrow=True)
                board.box(x - 11, base - 12, 22, 24, "wash", stroke="line", radius=4)
                board.text(x, base, label, size=12, anchor="middle")

    return figure(
        *both(draw), caption=caption,
        alt="Four small networks of three layers. Plain is a chain. One shortcut adds an arrow "
        "from the table to the head. Residual adds an arrow around every layer. Dense adds an "
        "arrow from every layer, and from the table, to everything after it.",
    )  # fmt: skip


def search_strip(trials: Mapping[str, Sequence[Mapping[str, float]]], caption: str) -> Html:
    """Every trial as a dot, deeper networks as larger dots, the median as a line."""
    scale = (0.12, 0.13, 0.15, 0.2, 0.3, 0.4)

    def draw(board: Board) -> None:
        left, right, step = (96.0, 14.0, 46.0) if board.wide else (84.0, 10.0, 44.0)
        board.height = 4 * step + 44
        low, high = np.log(0.115 - 0.11), np.log(0.45 - 0.11)

        def at(rmse: float) -> float:
            share = (np.log(min(max(rmse, 0.1151), 0.45) - 0.11) - low) / (high - low)
            return float(left + share * (board.width - left - right))

        floor = 4 * step + 8
        for tick in scale:
            board.line((at(tick), 4), (at(tick), floor), stroke="line", thickness=0.75)
            board.text(at(tick), floor + 12, f"{tick:g}", size=11, anchor="middle", fill="quiet")
        board.text(left, floor + 28, "RMSE of log price (stretched axis)", size=11, fill="quiet")
        for i, (name, of) in enumerate(trials.items()):
            y = 26.0 + i * step
            board.text(0, y, NAMES[name], size=12.5, bold=True, fill=_COLORS[name])
            for trial in of:
                radius = {2: 3.0, 4: 4.0, 8: 5.5, 16: 7.0}[int(trial["depth"])]
                board.circle(at(trial["rmse"]), y, radius, stroke=_COLORS[name])
            middle = at(float(np.median([trial["rmse"] for trial in of])))
            board.line((middle, y - 14), (middle, y + 14), stroke="ink", thickness=2)

    medians = ", ".join(
        f"{NAMES[name]} {np.median([t['rmse'] for t in of]):.3f} (best "
        f"{min(t['rmse'] for t in of):.4f})"
        for name, of in trials.items()
    )
    alt = f"Errors of all trials by connection. Medians: {medians}."
    return figure(*both(draw), caption=caption, alt=alt)


def intervals(
    differences: Mapping[str, HouseDifference], margin: float, caption: str, against: str
) -> Html:
    """Error minus that of `against`: a point and an interval a row, and the margin as a band."""
    low = min(-1.2 * margin, *(d.low for d in differences.values()))
    high = max(1.2 * margin, *(d.high for d in differences.values()))

    def draw(board: Board) -> None:
        left, right = (108.0, 172.0) if board.wide else (100.0, 60.0)
        step = 34.0
        board.height = len(differences) * step + 66

        def at(value: float) -> float:
            return left + (value - low) / (high - low) * (board.width - left - right)

        floor = len(differences) * step + 26
        board.box(at(-margin), 20, at(margin) - at(-margin), floor - 20, "line", opacity=0.4)
        board.line((at(0), 20), (at(0), floor), stroke="quiet", dashed=True)
        board.text(at(0) - 6, 8, f"better than {against}", size=11, anchor="end", fill="quiet")
        board.text(at(0) + 6, 8, "worse", size=11, fill="quiet")
        for i, (name, d) in enumerate(differences.items()):
            y = 38 + i * step
            color = _COLORS.get(name, "ink")
            board.text(0, y, NAMES[name], size=13, bold=True, fill=color)
            board.line((at(d.low), y), (at(d.high), y), stroke=color, thickness=2.5)
            board.circle(at(d.difference), y, 4.5, color)
            text = signed(d.difference, 4)
            if board.wide:
                text += f" {interval(d.low, d.high, 4)}"
            board.text(board.width, y, text, size=12, anchor="end")
        steps = (0.002, 0.004, 0.01, 0.02)
        for tick in ticks(low, high, next((s for s in steps if at(s) - at(0) > 45), 0.05)):
            board.text(at(tick), floor + 10, decimal(tick, 3), size=11, anchor="middle",
                       fill="quiet")  # fmt: skip
        band = f"grey band: ±{margin:g}, the margin of equivalence"
        board.text(left if board.wide else 0, floor + 28, band, size=11, fill="quiet")

    said = "; ".join(
        f"{NAMES[name]} {signed(d.difference, 4)}, from {decimal(d.low, 4)} to {decimal(d.high, 4)}"
        for name, d in differences.items()
    )
    alt = f"Error minus that of {against}, with intervals. {said}."
    return figure(*both(draw), caption=caption, alt=alt)


def ruler(marks: Mapping[str, float], caption: str) -> Html:
    """Scores of known models on one scale, the best at the top."""
    rows = sorted(marks.items(), key=lambda item: item[1])

    def draw(board: Board) -> None:
        step, left = 25.0, 8.0
        bar = (board.width - left) * (0.3 if board.wide else 0.2)
        board.height = len(rows) * step + 6
        top = np.log(rows[-1][1] / 0.1)
        for i, (name, rmse) in enumerate(rows):
            y = 14 + i * step
            board.text(left + 42, y, decimal(rmse, 4), size=12.5, anchor="end", bold=True)
            length = float(bar * np.log(rmse / 0.1) / top)
            board.box(left + 50, y - 7, length, 14, "plain", opacity=0.45)
            board.text(left + 58 + bar, y, name, size=12 if board.wide else 11)

    said = "; ".join(f"{name} {rmse:.4f}" for name, rmse in rows)
    alt = f"Errors of known models, best first. {said}."
    return figure(*both(draw), caption=caption, alt=alt)
