"""The recordings of exercise 5: the search, the comparison on partitions, and the test rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from densenet_solutions.exercises.houses.search import (
    FRESH,
    NETWORKS,
    RIVALS,
    SEARCH,
    SEEDS,
    SPACES,
    best_configuration,
    build,
    configurations,
)
from densenet_solutions.houses.ames import hidden_prices
from densenet_solutions.houses.cross_validation import out_of_fold, scores
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.folds import partition
from densenet_solutions.houses.models import Model, Split, log_price
from densenet_solutions.records.recorder import Recipe


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for PyTorch inside: sums over several round differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def _houses() -> tuple[pd.DataFrame, np.ndarray]:
    train = load_houses().train
    return train, log_price(train)


def evaluate(model: Model, name: str, seeds: range) -> tuple[np.ndarray, np.ndarray]:
    """Predictions `(seeds, rows)` and folds of a partition."""
    houses, _ = _houses()
    folds = partition(name)
    with one_thread():
        return out_of_fold(model, houses, folds, seeds), folds


def summary(predictions: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    result = scores(predictions, _houses()[1], folds)
    return {"rmse": round(result.rmse, 5), "member_rmse": [round(r, 5) for r in result.member_rmse]}


def _search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    model = build(case["family"], case["configuration"])
    return {**case, **summary(*evaluate(model, SEARCH, range(1)))}


def search_recipe() -> Recipe:
    """What was tried for the networks, and how it scored."""
    return _search_recipe("houses-search", NETWORKS)


def rival_search_recipe() -> Recipe:
    """What was tried for linear models, kernels and boosted trees, and how it scored."""
    return _search_recipe("houses-search-rivals", RIVALS)


def _search_recipe(name: str, families: Sequence[str]) -> Recipe:
    cases = {
        f"{family} {i}": {"family": family, "configuration": configuration}
        for family in families
        for i, configuration in enumerate(configurations(family))
    }
    return Recipe(name, cases, _search, seed=0, needs=_libraries)


def _compare(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    family = case["family"]
    configuration = best_configuration(family)
    predictions, folds = evaluate(
        build(family, configuration), case["partition"], range(case["seeds"])
    )
    errors = predictions.mean(axis=0) - _houses()[1]
    return {
        **case,
        "configuration": configuration,
        **summary(predictions, folds),
        "errors": pack(errors),
    }


def partitions_recipe() -> Recipe:
    """The best network of each kind on the book's folds and on five fresh partitions."""
    return _partitions_recipe("houses-partitions", NETWORKS)


def rival_partitions_recipe() -> Recipe:
    """The best rival of each kind on the same partitions."""
    return _partitions_recipe("houses-partitions-rivals", RIVALS)


def _partitions_recipe(name: str, families: Sequence[str]) -> Recipe:
    cases = {
        f"{family} {where}": {"family": family, "partition": where, "seeds": _seeds(family)}
        for where in ("book", *FRESH)
        for family in families
    }
    return Recipe(name, cases, _compare, seed=0, needs=_libraries)


def _libraries(case: Mapping[str, Any]) -> tuple[str, ...]:
    """What a rival needs besides the package's own dependencies; no page does."""
    family = case["family"]
    return (family,) if family in ("lightgbm", "xgboost", "catboost") else ()


def _seeds(family: str) -> int:
    return 1 if family in ("ridge", "svr") else SEEDS  # these two know no chance


def _final(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Train on all 1460 rows, predict the test rows, and look at their prices: once."""
    family = case["family"]
    houses = load_houses()
    model = build(family, best_configuration(family))
    with one_thread():
        (predictions,) = model.predict([Split(houses.train, houses.test)], range(case["seeds"]))
    truth = np.log(hidden_prices().to_numpy(dtype=float))
    errors = predictions.mean(axis=0) - truth
    return {**case, "rmse": round(float(np.sqrt(np.mean(errors**2))), 5), "errors": pack(errors)}


def final_recipe() -> Recipe:
    """The test score of each family's chosen model, read once, after all choices."""
    cases = {family: {"family": family, "seeds": _seeds(family)} for family in SPACES}
    return Recipe("houses-final", cases, _final, seed=0, needs=_libraries)


def pack(errors: np.ndarray) -> list[int]:
    """Errors in units of 10⁻⁴, rounded.

    Examples:
        >>> unpack(pack(np.array([0.1234, -1.5]))).tolist()
        [0.1234, -1.5]
    """
    return np.round(np.asarray(errors) * 1e4).astype(int).tolist()


def unpack(errors: Sequence[int]) -> np.ndarray:
    """What `pack` has packed."""
    return np.array(errors) / 1e4
