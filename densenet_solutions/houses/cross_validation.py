"""Cross-validation that scores every training row once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from densenet_solutions.houses.folds import contiguous_folds, fold_numbers
from densenet_solutions.houses.models import Ensemble, Model, Split, log_price
from densenet_solutions.houses.training import distinct


@dataclass(frozen=True)
class HouseScores:
    """Errors of a model on houses, all in natural logarithm of the price.

    `rmse` is pooled over all rows and belongs to the average of the members; `member_rmse` has one
    number a member, `fold_rmse` one a fold. `errors` are predicted minus true, one a row.
    """

    rmse: float
    member_rmse: tuple[float, ...]
    fold_rmse: tuple[float, ...]
    errors: tuple[float, ...]


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
    """Log prices `(members, rows)`, each predicted by networks that never saw the row.

    A member a seed, or for an `Ensemble` one a network and seed.

    Raises:
        TypeError: `model` has no method `predict`.
        ValueError: as for `splits`; seeds come twice; or a prediction is not finite.
    """
    if isinstance(model, type) or not callable(getattr(model, "predict", None)):
        raise TypeError(f"a model has the method predict(splits, seeds), got {model!r}")
    seeds = distinct(seeds)
    parts = splits(houses, folds)
    folds = fold_numbers(folds, len(houses))
    members = len(seeds) * (len(model.networks) if isinstance(model, Ensemble) else 1)
    predictions = np.full((members, len(houses)), np.nan)
    for k, part, answer in zip(np.unique(folds), parts, model.predict(parts, seeds), strict=True):
        expected = (members, len(part.new))
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
    """Summarise predictions `(members, rows)` against `target` `(rows,)`."""
    error = predictions.mean(axis=0) - target
    return HouseScores(
        rmse=_rmse(error),
        member_rmse=tuple(_rmse(member - target) for member in predictions),
        fold_rmse=tuple(_rmse(error[folds == k]) for k in np.unique(folds)),
        errors=tuple(round(float(e), 5) for e in error),
    )


def _rmse(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))
