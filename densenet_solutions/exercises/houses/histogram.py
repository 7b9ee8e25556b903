"""Scikit-learn's histogram boosting, added to exercise 5 when the other results were known.

**Choosing**, as the other boosted trees were chosen (`rivals.py`): the same features without bins,
`TREE_TRIALS` configurations of a Latin hypercube on the partition `SEARCH`, each fitted once a fold
with the most rounds and read at each of `ROUNDS`; the best two again on `FINAL_SEARCH` with another
seed; the lower mean of both is chosen. The space is wider than that of the others, whose chosen
configurations lay at its edge. The rates start at 0.02, since the recorded trials of LightGBM,
XGBoost and CatBoost at slower rates had not ended after 3,000 rounds. Numbers are cut into 63 bins
instead of 255, to save time. Whatever ends at an edge of the space is told on the page.

**Judging**, as `search.py` says: once, on `FRESH` and on the book's folds, one model. The test rows
are not scored. With RealMLP and TabM (`today.py`) there are eleven comparisons instead of the eight
that were planned; every interval is widened to 1 - 0.05 / 11, so that all hold together at 95%.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from densenet_solutions.exercises.houses.boosting import ROUNDS
from densenet_solutions.exercises.houses.recordings import evaluate
from densenet_solutions.exercises.houses.rivals import TREE_TRIALS
from densenet_solutions.exercises.houses.search import (
    FINAL_SEARCH,
    FRESH,
    SEARCH,
    chosen,
    finalists,
    latin,
)
from densenet_solutions.houses.cross_validation import HouseScores, splits
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.folds import partition
from densenet_solutions.houses.models import Estimator, encode, log_price
from densenet_solutions.records.recorder import Recipe

FAMILY = "histogram"
PLACES = 2
#: Options and their values as in `search.latin`. `max_features` is drawn anew at every split.
SPACE: Mapping[str, tuple[Any, ...]] = {
    "learning_rate": (0.02, 0.08, "log"), "max_leaf_nodes": (4, 8, 16, 32),
    "l2_regularization": (0.1, 30, "log"), "max_features": (0.05, 0.1, 0.2, 0.4),
    "min_samples_leaf": (2, 4, 8, 16),
}  # fmt: skip


def configurations() -> list[dict[str, Any]]:
    """What is tried; the same at every call."""
    return latin(SPACE, TREE_TRIALS, np.random.default_rng(5))


def _regressor(configuration: Mapping[str, Any], seed: int) -> Any:
    c = dict(configuration)
    return HistGradientBoostingRegressor(
        max_iter=c.pop("rounds", ROUNDS[-1]), **c, max_bins=63, early_stopping=False,
        random_state=seed,
    )  # fmt: skip


def build(configuration: Mapping[str, Any]) -> Estimator:
    """The model of a configuration."""
    return Estimator(partial(_regressor, configuration))


def by_rounds(configuration: Mapping[str, Any], where: str) -> dict[int, float]:
    """RMSE of log price on a partition after each of `ROUNDS`, one fit a fold."""
    train = load_houses().train
    target, folds = log_price(train), partition(where)
    errors = np.empty((len(ROUNDS), len(train)))
    for k, split in enumerate(splits(train, folds)):
        task = encode(HouseEncoder, split)
        center = task.y.mean()
        model = _regressor(configuration, 0).fit(task.x, task.y - center)
        stages = enumerate(model.staged_predict(task.x_new), start=1)
        found = [predicted for n, predicted in stages if n in ROUNDS]
        rows = folds == k
        errors[:, rows] = np.stack(found) + center - target[rows]
    return dict(zip(ROUNDS, np.sqrt(np.mean(errors**2, axis=1)).round(5).tolist(), strict=True))


def _evaluated(configuration: Mapping[str, Any], where: str, seed: int) -> HouseScores:
    with threadpool_limits(1):
        return evaluate(build(configuration), where, (seed,))


def _search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    with threadpool_limits(1):
        found = by_rounds(case["configuration"], SEARCH)
    rounds = min(found, key=lambda n: found[n])
    return {
        "family": FAMILY,
        "configuration": {**case["configuration"], "rounds": rounds},
        "rmse": found[rounds],
        "by_rounds": {str(n): rmse for n, rmse in found.items()},
    }


def search_recipe() -> Recipe:
    """Every trial on the first search partition."""
    cases = {f"{FAMILY} {i}": {"configuration": c} for i, c in enumerate(configurations())}
    return Recipe("houses-search-histogram", cases, _search, seed=0)


def _final_search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    before = finalists("houses-search-histogram", FAMILY, PLACES)[case["place"]]
    return {
        "family": FAMILY,
        "configuration": before["configuration"],
        "rmse": round(_evaluated(before["configuration"], FINAL_SEARCH, 1).rmse, 5),
        "rmse_before": before["rmse"],
    }


def finalists_recipe() -> Recipe:
    """The finalists on the second search partition."""
    cases = {f"{FAMILY} {place}": {"place": place} for place in range(PLACES)}
    return Recipe("houses-finalists-histogram", cases, _final_search, seed=1)


def chosen_configuration() -> dict[str, Any]:
    """What the recorded search chose."""
    return chosen("houses-finalists-histogram", FAMILY, 1)[0]


def _judge(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    result = _evaluated(chosen_configuration(), case["partition"], 0)
    folds = [round(rmse, 5) for rmse in result.fold_rmse]
    return {**case, "rmse": round(result.rmse, 5), "folds": folds}


def judged_recipe() -> Recipe:
    """The chosen configuration on the book's folds and on the fresh partitions."""
    cases = {
        f"{FAMILY} {where}": {"family": FAMILY, "partition": where} for where in ("book", *FRESH)
    }
    return Recipe("houses-judged-histogram", cases, _judge, seed=0)
