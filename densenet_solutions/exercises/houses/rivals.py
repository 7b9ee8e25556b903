"""What exercise 5 is compared with: ridge regression, a support vector machine, boosted trees.

Chosen and judged as `search.py` says. A boosted tree is fitted once a fold with the most rounds and
read at each of `ROUNDS`, so that slow learning rates with many rounds cost no more trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.svm import SVR

from densenet_solutions.exercises.houses.boosting import TREES, BoostedTrees
from densenet_solutions.exercises.houses.recordings import errors_of, evaluate, on_the_test_rows
from densenet_solutions.exercises.houses.search import (
    FINAL_SEARCH,
    FIRST,
    FRESH,
    SEARCH,
    TRIALS,
    chosen,
    finalists,
    latin,
)
from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.models import Estimator
from densenet_solutions.records.recorder import Recipe

TREE_TRIALS = 6

#: Options and their values as in `search.latin`. Bins tell a tree nothing that the number does not,
#: so trees have none.
SPACES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "ridge": {"alpha": (3, 1000, "log"), "n_bins": (0, 6)},
    "svr": {
        "C": (0.3, 30, "log"), "gamma": (3e-5, 3e-3, "log"), "epsilon": (0.01, 0.1, "log"),
        "n_bins": (0, 6),
    },
    "lightgbm": {
        "learning_rate": (0.005, 0.05, "log"), "num_leaves": (4, 8, 16),
        "reg_lambda": (0.1, 30, "log"), "colsample_bytree": (0.05, 0.1, 0.2),
        "subsample": (0.4, 0.6, 0.8), "min_child_samples": (2, 4, 8),
    },
    "xgboost": {
        "learning_rate": (0.005, 0.05, "log"), "max_depth": (3, 4, 5),
        "reg_lambda": (0.1, 30, "log"), "colsample_bytree": (0.05, 0.1, 0.2),
        "subsample": (0.4, 0.6, 0.8), "min_child_weight": (1, 2, 4),
    },
    "catboost": {
        "learning_rate": (0.01, 0.08, "log"), "depth": (4, 5, 6),
        "l2_leaf_reg": (1, 30, "log"), "rsm": (0.05, 0.1, 0.2),
    },
}  # fmt: skip


def trials(family: str) -> int:
    return TREE_TRIALS if family in TREES else TRIALS


def places(family: str) -> int:
    """Finalists: a quarter of the trials, and at least two."""
    return max(2, trials(family) // 4)


def configurations(family: str) -> list[dict[str, Any]]:
    """What is tried for a rival; the same at every call."""
    return latin(SPACES[family], trials(family), np.random.default_rng(5))


def build(family: str, configuration: Mapping[str, Any]) -> Estimator | BoostedTrees:
    """The model of a configuration; boosted trees come with the extra `rivals`."""
    if family in TREES:
        return BoostedTrees(family, configuration)
    c = dict(configuration)
    encoder = partial(HouseEncoder, n_bins=c.pop("n_bins"))
    return Estimator(lambda seed: {"ridge": Ridge, "svr": SVR}[family](**c), encoder)


def _search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    family, configuration = case["family"], case["configuration"]
    if family not in TREES:
        return {**case, "rmse": round(evaluate(build(family, configuration), SEARCH).rmse, 5)}
    found = BoostedTrees(family, configuration).errors_by_rounds(SEARCH)
    rounds = min(found, key=lambda n: found[n])
    return {
        "family": family,
        "configuration": {**configuration, "rounds": rounds},
        "rmse": found[rounds],
        "by_rounds": {str(n): rmse for n, rmse in found.items()},
    }


def search_recipe() -> Recipe:
    """Every trial of every rival on the first search partition."""
    cases = {
        f"{family} {i}": {"family": family, "configuration": configuration}
        for family in SPACES
        for i, configuration in enumerate(configurations(family))
    }
    return Recipe("houses-search-rivals", cases, _search, seed=0, needs=_libraries)


def _final_search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    family = case["family"]
    before = finalists("houses-search-rivals", family, places(family))[case["place"]]
    result = evaluate(build(family, before["configuration"]), FINAL_SEARCH, (1,))
    return {
        "family": family,
        "configuration": before["configuration"],
        "rmse": round(result.rmse, 5),
        "rmse_before": before["rmse"],
    }


def finalists_recipe() -> Recipe:
    """The finalists of each rival on the second search partition."""
    cases = {
        f"{family} {place}": {"family": family, "place": place}
        for family in SPACES
        for place in range(places(family))
    }
    return Recipe("houses-finalists-rivals", cases, _final_search, seed=1, needs=_libraries)


def chosen_rival(family: str) -> Estimator | BoostedTrees:
    """The model that the recorded search chose."""
    return build(family, chosen("houses-finalists-rivals", family, 1)[0])


def _judge(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    result = evaluate(chosen_rival(case["family"]), case["partition"])
    return {**case, **errors_of(result)}


def judged_recipe() -> Recipe:
    """The chosen rivals on the book's folds and on fresh partitions.

    Trees were chosen again later (`walk.py`), so the first choices are judged on `FIRST` only.
    """
    cases = {
        f"{family} {where}": {"family": family, "partition": where}
        for family in SPACES
        for where in ("book", *(FIRST if family in TREES else FRESH))
    }
    return Recipe("houses-judged-rivals", cases, _judge, seed=0, needs=_libraries)


def _final(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {**case, **on_the_test_rows(chosen_rival(case["family"]))}


def final_recipe() -> Recipe:
    """The test score of each chosen rival, read once, after its own choice."""
    cases = {family: {"family": family} for family in SPACES}
    return Recipe("houses-final-rivals", cases, _final, seed=0, needs=_libraries)


def _libraries(case: Mapping[str, Any]) -> tuple[str, ...]:
    """What a rival needs besides the package's own dependencies; no page does."""
    return (case["family"],) if case["family"] in TREES else ()
