"""Boosted trees of exercise 5: one fit, read after several numbers of rounds.

A slow learning rate with many rounds then costs no more trials than a fast one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from densenet_solutions import checks
from densenet_solutions.exercises.houses.today import table
from densenet_solutions.houses.cross_validation import splits
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.folds import partition
from densenet_solutions.houses.models import Split, encode, log_price
from densenet_solutions.threads import threads

ROUNDS = (500, 1000, 1500, 2000, 2500, 3000)
#: Families whose library comes with the extra `rivals`, and scikit-learn's own.
TREES = ("lightgbm", "xgboost", "catboost")
HISTOGRAM = "histogram"


@dataclass(frozen=True)
class BoostedTrees:
    """Trees of one configuration on our features without bins.

    Bins tell a tree nothing that the number does not.

    Args:
        family: one of `TREES`, or `HISTOGRAM`.
        configuration: the library's own options; `rounds`, by default the most of `ROUNDS`; and for
            CatBoost `native`: categories as they are, which it encodes in its own way, instead of
            our columns for them.
    """

    family: str
    configuration: Mapping[str, Any]

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        rounds = self.configuration.get("rounds", ROUNDS[-1])
        return [
            np.stack([self.stages(split, seed, (rounds,))[0] for seed in seeds]) for split in splits
        ]

    def stages(self, split: Split, seed: int, rounds: Sequence[int]) -> list[np.ndarray]:
        """Log prices of the new rows after each of `rounds`, of which the last is fitted."""
        options = {k: v for k, v in self.configuration.items() if k not in ("rounds", "native")}
        native = self.configuration.get("native", False)
        x, y, x_new = _with_categories(split) if native else _encoded(split)
        if native:
            options["cat_features"] = [name for name in x if name.endswith(" kind")]
        center = y.mean()
        with threads(1), threadpool_limits(1):
            model = _regressor(self.family, options, rounds[-1], seed).fit(x, y - center)
            return [found + center for found in _after(self.family, model, x_new, rounds)]

    def errors_by_rounds(self, where: str, seed: int = 0) -> dict[int, float]:
        """RMSE of log price on the partition `where` after each of `ROUNDS`."""
        train = load_houses().train
        target, folds = log_price(train), partition(where)
        errors = np.empty((len(ROUNDS), len(train)))
        for k, split in enumerate(splits(train, folds)):
            rows = folds == k
            errors[:, rows] = np.stack(self.stages(split, seed, ROUNDS)) - target[rows]
        rmse = np.sqrt(np.mean(errors**2, axis=1)).round(5)
        return dict(zip(ROUNDS, rmse.tolist(), strict=True))


def _encoded(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    task = encode(HouseEncoder, split)
    return task.x, task.y, task.x_new


def _with_categories(split: Split) -> tuple[Any, np.ndarray, Any]:
    encoder = HouseEncoder().fit(split.train)
    return table(encoder, split.train), log_price(split.train), table(encoder, split.new)


def _regressor(family: str, options: Mapping[str, Any], rounds: int, seed: int) -> Any:
    if family == HISTOGRAM:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            **options, max_iter=rounds, early_stopping=False, random_state=seed
        )
    checks.library(family, extra="rivals")
    if family == "lightgbm":
        import lightgbm

        return lightgbm.LGBMRegressor(
            **options, n_estimators=rounds, subsample_freq=1, random_state=seed, n_jobs=1,
            verbose=-1,
        )  # fmt: skip
    if family == "xgboost":
        import xgboost

        return xgboost.XGBRegressor(**options, n_estimators=rounds, random_state=seed, n_jobs=1)
    import catboost

    return catboost.CatBoostRegressor(
        **options, iterations=rounds, random_seed=seed, thread_count=1, verbose=False,
        allow_writing_files=False,
    )  # fmt: skip


def _after(family: str, model: Any, x: Any, rounds: Sequence[int]) -> list[np.ndarray]:
    """Predictions of the first trees, for each number of them."""
    if family == "lightgbm":
        return [model.predict(x, num_iteration=n) for n in rounds]
    if family == "xgboost":
        return [model.predict(x, iteration_range=(0, n)) for n in rounds]
    if family == "catboost":
        return [model.predict(x, ntree_end=n) for n in rounds]
    stages = enumerate(model.staged_predict(x), start=1)
    return [found for n, found in stages if n in rounds]
