"""The models compared on this task, behind one interface: training rows in, predictions out.

A prediction is the logarithm of a price in dollars. All folds are handed over at once, so that
networks of all folds can train together; every row of `train` still only sees its own fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch

from densenet_solutions.houses.encoders import BookEncoder, HouseEncoder
from densenet_solutions.houses.training import Optimisation, Task, fit_predict
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
    """The target, `(rows,)`: natural logarithm of the price in dollars."""
    return np.log(houses["SalePrice"].to_numpy(dtype=float))


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
        centred: subtract the mean log price first, which the book does not.
        everything: rows whose features the book's encoder is fitted on besides the training rows.
            The book lets it see all rows, also those to be predicted; `None` forbids that.
    """

    epochs: int = 10
    learning_rate: float = 0.01
    batch_size: int = 64
    centred: bool = False
    everything: pd.DataFrame | None = field(default=None, compare=False)

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        return [
            np.stack(
                [self._fit_predict(*self._features(s), log_price(s.train), seed) for seed in seeds]
            )
            for s in splits
        ]

    def _features(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        seen = split.train if self.everything is None else self.everything
        encoder = BookEncoder().fit(seen)
        return encoder.transform(split.train), encoder.transform(split.new)

    def _fit_predict(
        self, x: np.ndarray, x_new: np.ndarray, y: np.ndarray, seed: int
    ) -> np.ndarray:
        generator = np.random.default_rng(seed)
        weight = np.asarray(generator.normal(0, 0.01, x.shape[1]))
        bias: float = 0.0
        offset = float(y.mean()) if self.centred else 0.0
        for _ in range(self.epochs):
            order = generator.permutation(len(x))
            for start in range(0, len(x), self.batch_size):
                rows = order[start : start + self.batch_size]
                error = x[rows] @ weight + bias - (y[rows] - offset)
                step = 2 * self.learning_rate / len(rows)
                weight -= np.asarray(step * (x[rows].T @ error))
                bias -= step * float(error.sum())
        return x_new @ weight + bias + offset


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
        for split in splits:
            encoder = self.encoder().fit(split.train)
            x, x_new = encoder.transform(split.train), encoder.transform(split.new)
            y = log_price(split.train)
            centre = y.mean()
            predictions.append(
                np.stack([self.make(s).fit(x, y - centre).predict(x_new) + centre for s in seeds])
            )
        return predictions


@dataclass(frozen=True)
class Network:
    """An ensemble of MLPs: one network a seed, their predictions to be averaged.

    Args:
        options: arguments of `DenseMLP` beside `in_features`.
        optimisation: how each network is trained.
        encoder: `() →` unfitted encoder.
    """

    options: dict[str, Any] = field(default_factory=dict)
    optimisation: Optimisation = field(default_factory=Optimisation)
    encoder: Callable[[], Any] = HouseEncoder

    def tasks(self, splits: Sequence[Split]) -> list[Task]:
        """Features and targets of each split; the encoder is fitted on its training rows only."""
        tasks = []
        for split in splits:
            encoder = self.encoder().fit(split.train)
            x, x_new = encoder.transform(split.train), encoder.transform(split.new)
            tasks.append(Task(x, log_price(split.train), x_new))
        return tasks

    def predict(
        self, splits: Sequence[Split], seeds: Sequence[int], on_epoch: Any = None
    ) -> list[np.ndarray]:
        with torch.random.fork_rng(devices=[]):
            return fit_predict(
                lambda width: DenseMLP(width, **self.options),
                self.tasks(splits),
                seeds,
                self.optimisation,
                on_epoch=on_epoch,
            )
