"""Pictures of exercise 5: results in, inline SVG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from densenet_solutions.site.figures import COLOURS, new_figure, svg
from densenet_solutions.site.html import Html

_ERROR = "RMSE of log price"

#: family → how a page writes it.
NAMES = {
    "svr": "SVR",
    "hist-boosting": "histogram boosting",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    **{name: name for name in ("dense", "residual", "plain", "ridge")},
}


def depth_figure(
    depths: Sequence[int],
    as_it_is: Mapping[str, Sequence[float]],
    tuned: Mapping[str, Sequence[float]],
) -> Html:
    """Error over depth, one line a connection; left the recipe as it is, right tuned."""
    fig, axes = new_figure(width=7.0, height=3.3, columns=2, sharey=True)
    titles = ("the recipe as it is", "tuned at each depth")
    for ax, title, lines in zip(axes, titles, (as_it_is, tuned), strict=True):
        for name, values in lines.items():
            ax.plot(depths, values, marker="o", color=COLOURS[name], label=name)
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(depths), [str(d) for d in depths])
        ax.set_xlabel("layers")
        ax.set_title(title)
    axes[0].set_ylabel(f"{_ERROR}, one network")
    axes[0].legend()
    ends = [
        ", ".join(f"{name} {values[-1]:.3f}" for name, values in lines.items())
        for lines in (as_it_is, tuned)
    ]
    alt = (
        f"Cross-validated error over depth. At {depths[-1]} layers with the recipe as it is: "
        f"{ends[0]}; tuned: {ends[1]}."
    )
    return svg(fig, alt=alt)


def dense_mlp_drawing(features: int, growth_rate: int, layers: int) -> Html:
    """What each layer reads: the table, and the features of all layers before it."""
    fig, ax = new_figure(width=7.0, height=0.38 * (layers + 1) + 0.8)
    gap = 6
    for i in range(layers + 1):
        y, left = layers - i, 0
        ax.barh(y, features, color=COLOURS["input"], height=0.6)
        left += features + gap
        for _ in range(i):
            ax.barh(y, growth_rate, left=left, color=COLOURS["dense"], height=0.6)
            left += growth_rate + gap
        width = features + i * growth_rate
        says = f"reads {width}" + (
            f", writes {growth_rate}" if i < layers else ", writes the price"
        )
        ax.text(left + 8, y, says, va="center", fontsize=10)
    ax.set_yticks(range(layers + 1), ["head", *(f"layer {i}" for i in range(layers, 0, -1))])
    ax.set_xlim(0, 1.55 * features + layers * growth_rate)
    ax.set_xticks([features / 2], [f"the table, {features} columns"])
    ax.tick_params(axis="both", length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return svg(
        fig,
        alt=f"A dense MLP: {layers} layers that each write {growth_rate} features and read the "
        f"table's {features} columns and all features before them; so does the head.",
    )


def learning_curve_figure(epochs: Sequence[int], rmse: Sequence[float]) -> Html:
    """Error on unseen rows over the epochs of the live run."""
    fig, ax = new_figure(width=5.0, height=2.8)
    ax.plot(epochs, rmse, color=COLOURS["dense"])
    ax.set_ylim(0.9 * min(rmse), 1.5 * min(rmse))  # the first epochs are far above
    ax.set_xlabel("epoch")
    ax.set_ylabel(_ERROR)
    return svg(
        fig,
        alt=f"The error on unseen houses falls from {rmse[0]:.3f} at epoch {epochs[0]} "
        f"to {rmse[-1]:.4f} at epoch {epochs[-1]}.",
    )


def ladder_figure(names: Sequence[str], rmse: Sequence[float], networks: int) -> Html:
    """The ladder from the mean to our network, one bar a rung; the last `networks` are MLPs."""
    fig, ax = new_figure(width=7.0, height=0.42 * len(names) + 0.7)
    places = np.arange(len(names))[::-1]
    colours = [COLOURS["neutral"]] * (len(names) - networks) + [COLOURS["dense"]] * networks
    ax.barh(places, rmse, color=colours, height=0.62)
    for place, value in zip(places, rmse, strict=True):
        ax.text(value + 0.004, place, f"{value:.4f}", va="center", fontsize=10)
    ax.set_yticks(places, list(names))
    ax.set_xlim(0, max(rmse) * 1.15)
    ax.set_xlabel(f"{_ERROR}, five folds")
    ax.grid(False)
    pairs = "; ".join(f"{name}: {value:.4f}" for name, value in zip(names, rmse, strict=True))
    return svg(fig, alt=f"Cross-validated error, rung by rung. {pairs}.")


def residual_figure(
    prices: np.ndarray, errors: np.ndarray, ids: Sequence[int], named: Sequence[int]
) -> Html:
    """Error over price in cross-validation, the named houses labelled by Id."""
    fig, ax = new_figure(width=6.4, height=3.4)
    ax.scatter(prices / 1000, errors, s=7, alpha=0.5, color=COLOURS["dense"], linewidths=0)
    ax.axhline(0, color=COLOURS["neutral"], linewidth=0.8)
    rows = [list(ids).index(house) for house in named]
    for house, i in zip(named, rows, strict=True):
        crowded = any(
            1 < prices[j] / prices[i] < 1.4 and abs(errors[j] - errors[i]) < 0.08 for j in rows
        )
        ax.annotate(f"Id {house}", (prices[i] / 1000, errors[i]), xytext=(-5 if crowded else 5, -3),
                    ha="right" if crowded else "left", textcoords="offset points",
                    fontsize=9)  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks([50, 100, 200, 400, 700], ["50", "100", "200", "400", "700"])
    ax.minorticks_off()
    ax.set_xlabel("sale price, thousands of dollars")
    ax.set_ylabel("predicted minus true log price")
    inside = np.mean(np.abs(errors) < 0.2)
    labels = ", ".join(f"Id {house}" for house in named)
    return svg(fig, alt=f"Errors over price: {inside:.0%} lie within ±0.2; labelled: {labels}.")
