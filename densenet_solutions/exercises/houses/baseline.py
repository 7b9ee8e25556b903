"""The book's baseline of exercise 5 and ridge regression, live on the book's folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge

from densenet_solutions.houses.cross_validation import (
    HouseScores,
    cross_validate,
    splits,
)
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.encoders import BookEncoder, HouseEncoder
from densenet_solutions.houses.folds import contiguous_folds
from densenet_solutions.houses.models import BookLinear, Estimator, Mean, encode, log_price
from densenet_solutions.houses.training import Task

#: How often the book's linear model is trained.
SEEDS = 20


def ladder() -> dict[str, float]:
    """Errors from the mean and the book's linear model to ridge regression on our features.

    Those of the book's model are means over its seeds.
    """
    return {
        "the mean": cross_validate(Mean(), load_houses().train).rmse,
        "the book: linear, SGD, 10 epochs": float(np.mean(books_model(leak=True))),
        "the same, target centred": float(np.mean(_by_seed(books_errors(centered=True)))),
        "solved exactly with a penalty (ridge)": ridge(BookEncoder).rmse,
        "ridge, our features": ridge(HouseEncoder).rmse,
    }


def books_errors(*, leak: bool = True, centered: bool = False) -> np.ndarray:
    """Predicted minus true log price of the book's linear model, its folds, `(seeds, rows)`.

    Seeds are 0 to `SEEDS` - 1. Its encoder is fitted on all rows, as in the book, or without the
    leak on training folds.
    """
    in_full, _ = _books_predictions(leak, centered)
    return np.asarray(in_full - log_price(load_houses().train))


def response_to_the_mean(*, by_ones: bool = False) -> tuple[float, ...]:
    """Standard deviation, between houses, of what the target's mean adds to a prediction, by seed.

    Training is linear in the target, so that is the prediction minus that with a centred target.
    With `by_ones` it is what columns of ones and the constant predict of it.
    """
    raw, centered = (_books_predictions(True, centered)[int(by_ones)] for centered in (False, True))
    return tuple((raw - centered).std(axis=1).tolist())


@cache
def _books_predictions(leak: bool, centered: bool) -> np.ndarray:
    """Log prices by the book's model, in full and with every number at its mean.

    `(2, seeds, rows)`.
    """
    train, model = load_houses().train, BookLinear(centered=centered)
    numbers = len(_fitted_on_all_rows().estimator.mean_)
    folds = []  # of consecutive rows
    for split in splits(train, contiguous_folds(len(train))):
        task = encode(_fitted_on_all_rows if leak else BookEncoder, split)
        at_their_means = task.x_new * (np.arange(task.x_new.shape[1]) >= numbers)
        task = replace(task, x_new=np.concatenate((task.x_new, at_their_means)))
        both = np.stack([model._fit_predict(task, seed) for seed in range(SEEDS)])
        folds.append(np.split(both, 2, axis=1))
    return np.concatenate(folds, axis=2)


def books_model(*, leak: bool, without: Sequence[int] = ()) -> tuple[float, ...]:
    """Errors of the book's linear model by seed, scored without the houses of some Ids."""
    kept = np.delete(books_errors(leak=leak), [i - 1 for i in without], axis=1)
    return tuple(_by_seed(kept).tolist())


def _by_seed(errors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(errors**2, axis=1)))


def deviations(house: int, column: str) -> tuple[float, float]:
    """A number of a house in standard deviations of its training folds, and of all rows."""
    train = load_houses().train
    folds = contiguous_folds(len(train))
    value = train[column].iloc[house - 1]
    own = BookEncoder().fit(train[folds != folds[house - 1]])
    shared = _fitted_on_all_rows().estimator
    by_folds, by_all = ((value - e.mean_[column]) / e.std_[column] for e in (own, shared))
    return float(by_folds), float(by_all)


@cache
def ridge(encoder: Any, alpha: float = 30.0) -> HouseScores:
    """Ridge regression on the book's folds."""
    return cross_validate(ridge_model(encoder, alpha), load_houses().train)


def ridge_model(encoder: Any, alpha: float = 30.0) -> Estimator:
    """Ridge regression on the features of an encoder."""
    return Estimator(partial(_ridge, alpha), encoder)


def _ridge(alpha: float, seed: int) -> Any:
    return Ridge(alpha=alpha)


@cache
def _fitted_on_all_rows() -> FrozenEstimator:
    """The book's encoder as the book fits it: on training and test rows together."""
    return FrozenEstimator(BookEncoder().fit(pd.concat(load_houses(), ignore_index=True)))


def leak() -> float:
    """By how much the book's leak lowers the error of ridge regression, the book's folds."""
    return ridge(BookEncoder).rmse - ridge(_fitted_on_all_rows).rmse


def ones_of_a_house() -> set[int]:
    """How many columns of ones and zeros are one, of all houses."""
    rows = np.asarray(_fitted_on_all_rows().transform(load_houses().train))
    binary = np.isin(rows, (0, 1)).all(axis=0)
    return set(rows[:, binary].sum(axis=1).astype(int).tolist())


def constant_alone() -> float:
    """How far the constant would come without columns: each step takes 2η of what is missing."""
    train, model = load_houses().train, BookLinear()
    steps = model.epochs * -(-len(train) * 4 // 5 // model.batch_size)
    return float(log_price(train).mean() * (1 - (1 - 2 * model.learning_rate) ** steps))


def books_constant() -> tuple[float, ...]:
    """How far the constant b of the book's regression has come after 10 epochs, by fold."""
    train = load_houses().train
    found = []
    for split in splits(train, contiguous_folds(len(train))):
        task = encode(_fitted_on_all_rows, split)
        nowhere = Task(task.x, task.y, np.zeros((1, task.x.shape[1])))
        found.append(float(BookLinear()._fit_predict(nowhere, 0)[0]))
    return tuple(found)
