"""The models compared on this task, behind one interface: training rows in, predictions out.

A prediction is the logarithm of a price in dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from densenet_solutions import checks
from densenet_solutions.houses.encoders import BookEncoder, HouseEncoder
from densenet_solutions.houses.training import Task, TrainingOptions, distinct, fit_predict
from densenet_solutions.models.mlp import DenseMLP


class Split(NamedTuple):
    """Rows with prices to learn from, and rows to predict."""

    train: pd.DataFrame
    new: pd.DataFrame


class Model(Protocol):
    """Something that can be cross-validated."""

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        """Log price of each split's new rows, `(seeds, rows)` per split."""
        ...


def log_price(houses: pd.DataFrame) -> np.ndarray:
    """The target, `(rows,)`: natural logarithm of the price in dollars.

    Raises:
        TypeError: `houses` is not a frame, or the prices are no numbers.
        ValueError: there are no prices or no rows, or a price is not positive and finite.
    """
    if not isinstance(houses, pd.DataFrame):
        raise TypeError(f"houses are a pandas.DataFrame, got {type(houses).__name__}")
    if "SalePrice" not in houses or houses.empty:
        raise ValueError(
            "houses to learn from are rows with a SalePrice (the test rows have none), "
            f"got shape {houses.shape}"
        )
    prices = houses["SalePrice"]
    if not pd.api.types.is_numeric_dtype(prices):
        raise TypeError(f"SalePrice is a number of dollars, got the type {prices.dtype}")
    dollars = prices.to_numpy(dtype=float, na_value=np.nan)
    wrong = ~(np.isfinite(dollars) & (dollars > 0))
    if wrong.any():
        raise ValueError(f"every SalePrice is positive and finite, got {dollars[wrong][0]}")
    return np.log(dollars)


def encode(encoder: Callable[[], Any], split: Split) -> Task:
    """Features and log prices of a split; `encoder()` is fitted on its training rows only."""
    prices = log_price(split.train)
    fitted = encoder().fit(split.train, prices)
    return Task(fitted.transform(split.train), prices, fitted.transform(split.new))


@dataclass(frozen=True)
class Mean:
    """Predicts the mean log price of its training rows."""

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        return [np.full((len(seeds), len(s.new)), log_price(s.train).mean()) for s in splits]


@dataclass(frozen=True)
class BookLinear:
    """The book's linear regression (section 5.7): SGD on the raw log price.

    Args:
        epochs: 10 in the book; batches of 64 rows.
        centered: subtract the mean log price first, which the book does not.
        encoder: `() →` encoder. The book's own sees all rows, also those to be predicted: that is
            an encoder fitted beforehand, in scikit-learn's `FrozenEstimator`.
    """

    epochs: int = 10
    learning_rate: float = 0.01
    batch_size: int = 64
    centered: bool = False
    encoder: Callable[[], Any] = BookEncoder

    def __post_init__(self) -> None:
        checks.integer("epochs", self.epochs)
        checks.number("learning_rate", self.learning_rate, above=0)
        checks.integer("batch_size", self.batch_size)
        checks.flag("centered", self.centered)

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        tasks = [encode(self.encoder, split) for split in splits]
        return [np.stack([self._fit_predict(task, seed) for seed in seeds]) for task in tasks]

    def _fit_predict(self, task: Task, seed: int) -> np.ndarray:
        x, y = task.x, task.y
        generator = np.random.default_rng(seed)
        weight = np.asarray(generator.normal(0, 0.01, x.shape[1]))
        bias: float = 0.0
        offset = float(y.mean()) if self.centered else 0.0
        for _ in range(self.epochs):
            order = generator.permutation(len(x))
            for start in range(0, len(x), self.batch_size):
                rows = order[start : start + self.batch_size]
                error = x[rows] @ weight + bias - (y[rows] - offset)
                step = 2 * self.learning_rate / len(rows)
                weight -= np.asarray(step * (x[rows].T @ error))
                bias -= step * float(error.sum())
        return task.x_new @ weight + bias + offset


@dataclass(frozen=True)
class Estimator:
    """Any regressor with scikit-learn's `fit` and `predict` on our features or the book's.

    Args:
        make: `seed` → unfitted regressor.
        encoder: `() →` unfitted encoder.
    """

    make: Callable[[int], Any]
    encoder: Callable[[], Any] = HouseEncoder

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        predictions = []
        for task in (encode(self.encoder, split) for split in splits):
            center = task.y.mean()
            members = [self.make(s).fit(task.x, task.y - center) for s in seeds]
            predictions.append(np.stack([m.predict(task.x_new) + center for m in members]))
        return predictions


@dataclass(frozen=True)
class Network:
    """MLPs of one configuration: a network a seed, which depends on no other seed.

    Args:
        options: arguments of `DenseMLP` beside `in_features`.
        training: how each network is trained.
        encoder: `() →` unfitted encoder.
    """

    options: dict[str, Any] = field(default_factory=dict)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    encoder: Callable[[], Any] = HouseEncoder

    def __post_init__(self) -> None:
        if not isinstance(self.options, dict):
            raise TypeError(f"options is a dict of arguments of DenseMLP, got {self.options!r}")
        if not isinstance(self.training, TrainingOptions):
            raise TypeError(f"training is a TrainingOptions, got {self.training!r}")

    def predict(
        self,
        splits: Sequence[Split],
        seeds: Sequence[int],
        on_epoch: Callable[[], None] = lambda: None,
    ) -> list[np.ndarray]:
        """Log price of each split's new rows, `(seeds, rows)`; `on_epoch()` after each epoch.

        Raises:
            ValueError: a seed comes twice.
        """
        seeds = distinct(seeds)

        def network(width: int) -> DenseMLP:
            return DenseMLP(width, **self.options)

        return [
            np.stack([fit_predict(network, t, s, self.training, on_epoch=on_epoch) for s in seeds])
            for t in (encode(self.encoder, split) for split in splits)
        ]


@dataclass(frozen=True)
class Ensemble:
    """Several networks; their members, `(networks · seeds, rows)`, are to be averaged."""

    networks: tuple[Network, ...]

    def predict(
        self,
        splits: Sequence[Split],
        seeds: Sequence[int],
        on_epoch: Callable[[], None] = lambda: None,
    ) -> list[np.ndarray]:
        members = [network.predict(splits, seeds, on_epoch) for network in self.networks]
        return [np.concatenate(answers) for answers in zip(*members, strict=True)]
