"""Cross-validation that scores every training row once, and comparisons of paired errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from densenet_solutions import checks
from densenet_solutions.houses.folds import contiguous_folds, fold_numbers
from densenet_solutions.houses.models import Model, Split, log_price
from densenet_solutions.houses.training import distinct


@dataclass(frozen=True)
class HouseScores:
    """Errors of a model on houses, all in natural logarithm of the price.

    `rmse` is pooled over all rows and belongs to the average of the members; `member_rmse` has one
    number a seed, `fold_rmse` one a fold. `errors` are predicted minus true, one a row.
    """

    rmse: float
    member_rmse: tuple[float, ...]
    fold_rmse: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True)
class HouseDifference:
    """Error of one model minus the error of another, with a 95% interval over houses."""

    difference: float
    low: float
    high: float


def splits(houses: pd.DataFrame, folds: np.ndarray) -> list[Split]:
    """Training and validation rows of each fold; validation rows come without their prices.

    Raises:
        TypeError, ValueError: a house has no price, or `folds` not one whole number a row.
    """
    log_price(houses)  # raises where one is missing
    folds = fold_numbers(folds, len(houses))
    return [
        Split(houses[folds != k], houses[folds == k].drop(columns="SalePrice"))
        for k in np.unique(folds)
    ]


def out_of_fold(
    model: Model, houses: pd.DataFrame, folds: np.ndarray, seeds: Sequence[int] = (0,)
) -> np.ndarray:
    """Log prices `(seeds, rows)`, each predicted by networks that never saw the row.

    Raises:
        TypeError: `model` has no method `predict`.
        ValueError: as for `splits`; seeds come twice; or a prediction is not finite.
    """
    if isinstance(model, type) or not callable(getattr(model, "predict", None)):
        raise TypeError(f"a model has the method predict(splits, seeds), got {model!r}")
    seeds = distinct(seeds)
    parts = splits(houses, folds)
    folds = fold_numbers(folds, len(houses))
    predictions = np.full((len(seeds), len(houses)), np.nan)
    for k, part, answer in zip(np.unique(folds), parts, model.predict(parts, seeds), strict=True):
        expected = (len(seeds), len(part.new))
        if np.shape(answer) != expected:
            raise ValueError(f"a model predicts (seeds, rows) = {expected}, got {np.shape(answer)}")
        predictions[:, folds == k] = answer
    if not np.isfinite(predictions).all():
        raise ValueError(
            "predictions are finite, got NaN or infinity: the training diverged, "
            "and a smaller learning_rate may help"
        )
    return predictions


def cross_validate(
    model: Model,
    houses: pd.DataFrame,
    *,
    folds: np.ndarray | None = None,
    seeds: Sequence[int] = (0,),
) -> HouseScores:
    """Root mean squared errors of log price over all rows, of the ensemble and of its members.

    Args:
        folds: fold number of each row; the book's five contiguous folds by default.
        seeds: members of the ensemble; their predictions are averaged.

    Raises:
        TypeError, ValueError: as for `out_of_fold`.
    """
    target = log_price(houses)
    folds = contiguous_folds(len(houses)) if folds is None else fold_numbers(folds, len(houses))
    return scores(out_of_fold(model, houses, folds, seeds), target, folds)


def scores(predictions: np.ndarray, target: np.ndarray, folds: np.ndarray) -> HouseScores:
    """Summarise predictions `(seeds, rows)` against `target` `(rows,)`."""
    error = predictions.mean(axis=0) - target
    return HouseScores(
        rmse=_rmse(error),
        member_rmse=tuple(_rmse(member - target) for member in predictions),
        fold_rmse=tuple(_rmse(error[folds == k]) for k in np.unique(folds)),
        errors=tuple(round(float(e), 5) for e in error),
    )


def paired_difference(
    errors: np.ndarray, rival: np.ndarray, *, resamples: int = 4000, seed: int = 0
) -> HouseDifference:
    """RMSE of one model minus that of another on the same rows, with a 95% bootstrap interval.

    Houses are drawn with replacement, and a drawn house brings the errors of both models on every
    partition, so the interval holds for new houses and is not narrowed by repeating partitions.

    Args:
        errors, rival: errors of log price, `(rows,)` or `(partitions, rows)`.

    Raises:
        TypeError, ValueError: the errors are not two equal shapes of finite numbers, or there are
            none.
    """
    checks.integer("resamples", resamples)
    checks.integer("seed", seed, at_least=0)
    ours, theirs = _squares("errors", errors), _squares("rival", rival)  # (partitions, rows)
    if ours.shape != theirs.shape:
        raise ValueError(f"paired errors have one shape, got {ours.shape} and {theirs.shape}")
    weights = _bootstrap_weights(ours.shape[1], resamples, seed)
    draws = np.sqrt(weights @ ours.T).mean(1) - np.sqrt(weights @ theirs.T).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    difference = np.sqrt(ours.mean(1)).mean() - np.sqrt(theirs.mean(1)).mean()
    return HouseDifference(float(difference), float(low), float(high))


def _squares(name: str, errors: np.ndarray) -> np.ndarray:
    try:
        array = np.atleast_2d(np.asarray(errors, dtype=float))
    except (TypeError, ValueError):
        raise TypeError(f"{name} are an array of numbers, got {errors!r}") from None
    if array.ndim > 2 or not array.size:
        raise ValueError(f"{name} have shape (rows,) or (partitions, rows), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} are finite, got NaN or infinity")
    return array**2


@cache
def _bootstrap_weights(rows: int, resamples: int, seed: int) -> np.ndarray:
    """How often each row is drawn, as a share: `(resamples, rows)`."""
    drawn = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    return drawn / rows


def _rmse(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))
