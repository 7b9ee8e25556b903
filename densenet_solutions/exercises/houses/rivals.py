"""What exercise 5 is compared with: ridge regression, a support vector machine, boosted trees.

Chosen and judged as `search.py` says. A boosted tree is fitted once a fold with the most rounds and
read at each of `ROUNDS`, so that slow learning rates with many rounds cost no more trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from densenet_solutions import checks
from densenet_solutions.exercises.houses.recordings import evaluate, on_the_test_rows, one_thread
from densenet_solutions.exercises.houses.search import (
    FINAL_SEARCH,
    FRESH,
    SEARCH,
    TRIALS,
    chosen,
    finalists,
)
from densenet_solutions.houses.cross_validation import splits
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.folds import partition
from densenet_solutions.houses.models import Estimator, encode, log_price
from densenet_solutions.records.recorder import Recipe

ROUNDS = (500, 1000, 1500, 2000, 2500, 3000)
TREE_TRIALS = 8
TREES = ("lightgbm", "xgboost", "catboost")

Draw = Callable[[np.random.Generator], Any]


def one_of(*values: Any) -> Draw:
    return lambda generator: values[generator.integers(len(values))]


def between(low: float, high: float) -> Draw:
    """Log-uniform."""
    return lambda generator: float(f"{np.exp(generator.uniform(np.log(low), np.log(high))):.3g}")


#: Bins tell a tree nothing that the number does not, so trees have none.
SPACES: Mapping[str, Mapping[str, Draw]] = {
    "ridge": {"alpha": between(3, 1000), "n_bins": one_of(0, 6)},
    "svr": {
        "C": between(0.3, 30), "gamma": between(3e-5, 3e-3), "epsilon": between(0.01, 0.1),
        "n_bins": one_of(0, 6),
    },
    "lightgbm": {
        "learning_rate": between(0.005, 0.05), "num_leaves": one_of(4, 8, 16, 31),
        "reg_lambda": between(0.1, 30), "colsample_bytree": one_of(0.05, 0.1, 0.2, 0.4),
        "subsample": one_of(0.4, 0.6, 0.8), "min_child_samples": one_of(2, 4, 8, 16),
    },
    "xgboost": {
        "learning_rate": between(0.005, 0.05), "max_depth": one_of(2, 3, 4, 5, 6),
        "reg_lambda": between(0.1, 30), "colsample_bytree": one_of(0.05, 0.1, 0.2, 0.4),
        "subsample": one_of(0.4, 0.6, 0.8), "min_child_weight": one_of(1, 2, 4, 8),
    },
    "catboost": {
        "learning_rate": between(0.01, 0.08), "depth": one_of(3, 4, 5, 6),
        "l2_leaf_reg": between(1, 30), "rsm": one_of(0.05, 0.1, 0.2, 0.4),
    },
}  # fmt: skip


def trials(family: str) -> int:
    return TREE_TRIALS if family in TREES else TRIALS


def configurations(family: str) -> list[dict[str, Any]]:
    """What is tried for a rival: random draws, the same at every call."""
    generator = np.random.default_rng(5)
    space = SPACES[family]
    return [{name: draw(generator) for name, draw in space.items()} for _ in range(trials(family))]


def build(family: str, configuration: Mapping[str, Any]) -> Estimator:
    """The model of a configuration; boosted trees come with the extra `rivals`."""
    c = dict(configuration)
    encoder = partial(HouseEncoder, n_bins=c.pop("n_bins", 0))
    return Estimator(partial(_regressor, family, c), encoder)


def _regressor(family: str, configuration: Mapping[str, Any], seed: int) -> Any:
    c = dict(configuration)
    if family == "ridge":
        from sklearn.linear_model import Ridge

        return Ridge(**c)
    if family == "svr":
        from sklearn.svm import SVR

        return SVR(**c)
    checks.library(family, extra="rivals")
    rounds = c.pop("rounds", ROUNDS[-1])
    if family == "lightgbm":
        import lightgbm

        return lightgbm.LGBMRegressor(
            **c, n_estimators=rounds, subsample_freq=1, random_state=seed, n_jobs=1, verbose=-1
        )
    if family == "xgboost":
        import xgboost

        return xgboost.XGBRegressor(**c, n_estimators=rounds, random_state=seed, n_jobs=1)
    import catboost

    return catboost.CatBoostRegressor(
        **c, iterations=rounds, random_seed=seed, thread_count=1, verbose=False,
        allow_writing_files=False,
    )  # fmt: skip


def _after(family: str, model: Any, x: np.ndarray, rounds: int) -> np.ndarray:
    """Predictions of the first `rounds` trees."""
    if family == "lightgbm":
        return model.predict(x, num_iteration=rounds)
    if family == "xgboost":
        return model.predict(x, iteration_range=(0, rounds))
    return model.predict(x, ntree_end=rounds)


def by_rounds(family: str, configuration: Mapping[str, Any], where: str) -> dict[int, float]:
    """RMSE of log price on a partition after each of `ROUNDS`, one fit a fold."""
    train = load_houses().train
    target, folds = log_price(train), partition(where)
    errors = np.empty((len(ROUNDS), len(train)))
    for k, split in enumerate(splits(train, folds)):
        task = encode(HouseEncoder, split)
        center = task.y.mean()
        model = _regressor(family, configuration, 0).fit(task.x, task.y - center)
        rows = folds == k
        for i, rounds in enumerate(ROUNDS):
            errors[i, rows] = _after(family, model, task.x_new, rounds) + center - target[rows]
    return dict(zip(ROUNDS, np.sqrt(np.mean(errors**2, axis=1)).round(5).tolist(), strict=True))


def _search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    family, configuration = case["family"], case["configuration"]
    if family not in TREES:
        return {**case, "rmse": round(evaluate(build(family, configuration), SEARCH).rmse, 5)}
    with one_thread():
        found = by_rounds(family, configuration, SEARCH)
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
    before = finalists("houses-search-rivals", family, trials(family) // 4)[case["place"]]
    result = evaluate(build(family, before["configuration"]), FINAL_SEARCH, (1,))
    return {
        "family": family,
        "configuration": before["configuration"],
        "rmse": round(result.rmse, 5),
        "rmse_before": before["rmse"],
    }


def finalists_recipe() -> Recipe:
    """The best quarter of each rival on the second search partition."""
    cases = {
        f"{family} {place}": {"family": family, "place": place}
        for family in SPACES
        for place in range(trials(family) // 4)
    }
    return Recipe("houses-finalists-rivals", cases, _final_search, seed=1, needs=_libraries)


def chosen_rival(family: str) -> Estimator:
    """The model that the recorded search chose."""
    return build(family, chosen("houses-finalists-rivals", family, 1)[0])


def _judge(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    result = evaluate(chosen_rival(case["family"]), case["partition"])
    folds = [round(rmse, 5) for rmse in result.fold_rmse]
    return {**case, "rmse": round(result.rmse, 5), "folds": folds}


def judged_recipe() -> Recipe:
    """The chosen rivals on the book's folds and on the fresh partitions."""
    cases = {
        f"{family} {where}": {"family": family, "partition": where}
        for family in SPACES
        for where in ("book", *FRESH)
    }
    return Recipe("houses-judged-rivals", cases, _judge, seed=0, needs=_libraries)


def _final(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {**case, **on_the_test_rows(chosen_rival(case["family"]))}


def final_recipe() -> Recipe:
    """The test score of each chosen rival, read once, after all choices."""
    cases = {family: {"family": family} for family in SPACES}
    return Recipe("houses-final-rivals", cases, _final, seed=0, needs=_libraries)


def _libraries(case: Mapping[str, Any]) -> tuple[str, ...]:
    """What a rival needs besides the package's own dependencies; no page does."""
    return (case["family"],) if case["family"] in TREES else ()
