"""The recordings of exercise 5's networks: search, finalists, judgement, test rows; and crossed.

Each of the first four reads what the one before has chosen, so they are made in this order with
`densenet-solutions record NAME --out densenet_solutions/records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd

from densenet_solutions.exercises.houses.search import (
    CONNECTIONS,
    FINAL_SEARCH,
    FIRST,
    FRESH,
    MEMBERS,
    SEARCH,
    TRIALS,
    build,
    chosen,
    configurations,
    finalists,
)
from densenet_solutions.houses.ames import hidden_prices
from densenet_solutions.houses.cross_validation import HouseScores, out_of_fold, scores
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.encoders import BookEncoder, HouseEncoder
from densenet_solutions.houses.folds import partition
from densenet_solutions.houses.models import Ensemble, Model, Network, Split, log_price
from densenet_solutions.houses.training import TrainingOptions
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.threads import threads


@cache
def _houses() -> tuple[pd.DataFrame, np.ndarray]:
    train = load_houses().train
    return train, log_price(train)


def evaluate(model: Model, name: str, seeds: Sequence[int] = (0,)) -> HouseScores:
    """Cross-validation on a named partition, in one thread."""
    houses, target = _houses()
    folds = partition(name)
    with threads(1):
        return scores(out_of_fold(model, houses, folds, seeds), target, folds)


def pack(errors: Sequence[float] | np.ndarray) -> list[int]:
    """Errors in units of 10⁻⁴, rounded.

    Examples:
        >>> unpack(pack(np.array([0.1234, -1.5]))).tolist()
        [0.1234, -1.5]
    """
    return np.round(np.asarray(errors) * 1e4).astype(int).tolist()


def unpack(errors: Sequence[int]) -> np.ndarray:
    """What `pack` has packed."""
    return np.array(errors) / 1e4


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in values]


def errors_of(result: HouseScores) -> dict[str, Any]:
    """What is recorded of a cross-validation: its error over all rows and in each fold."""
    return {"rmse": round(result.rmse, 5), "folds": _rounded(result.fold_rmse)}


# The search -------------------------------------------------------------------------------------


def _search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    result = evaluate(build(case["family"], case["configuration"]), SEARCH)
    return {**case, "rmse": round(result.rmse, 5)}


def search_recipe() -> Recipe:
    """Every trial of every connection on the first search partition."""
    cases = {
        f"{connection} {i}": {"family": connection, "configuration": configuration}
        for i, configuration in enumerate(configurations())
        for connection in CONNECTIONS
    }
    return Recipe("houses-search", cases, _search, seed=0)


def _final_search(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    before = finalists("houses-search", case["family"], TRIALS // 4)[case["place"]]
    result = evaluate(build(case["family"], before["configuration"]), FINAL_SEARCH, (1,))
    return {**before, "rmse": round(result.rmse, 5), "rmse_before": before["rmse"]}


def finalists_recipe() -> Recipe:
    """The best quarter of each connection on the second search partition."""
    cases = {
        f"{connection} {place}": {"family": connection, "place": place}
        for connection in CONNECTIONS
        for place in range(TRIALS // 4)
    }
    return Recipe("houses-finalists", cases, _final_search, seed=1)


# The judgement ----------------------------------------------------------------------------------


def chosen_networks(connection: str) -> tuple[Network, ...]:
    """The networks that the recorded search chose, best first."""
    found = chosen("houses-finalists", connection, MEMBERS)
    return tuple(build(connection, configuration) for configuration in found)


def _judge(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    connection, where = case["family"], case["partition"]
    networks = chosen_networks(connection)
    if "seed" in case:
        result = evaluate(networks[0], where, (case["seed"],))
        return {**case, "rmse": round(result.rmse, 5)}
    houses, target = _houses()
    folds = partition(where)
    with threads(1):
        members = out_of_fold(Ensemble(networks), houses, folds)
    result = scores(members, target, folds)
    kept = {"errors": pack(result.errors)} if where == "book" and connection == "dense" else {}
    return {
        **case,
        **errors_of(result),
        "member_rmse": _rounded(result.member_rmse),
        "member_folds": [
            _rounded(scores(member[None], target, folds).fold_rmse) for member in members
        ],
        **kept,
    }


def judged_recipe() -> Recipe:
    """The chosen networks on the book's folds and on the fresh partitions; then other seeds.

    The other seeds are of the best dense network, to tell the variance between seeds from that
    between partitions.
    """
    cases: dict[str, dict[str, Any]] = {
        f"{connection} {where}": {"family": connection, "partition": where}
        for where in ("book", *FRESH)
        for connection in CONNECTIONS
    }
    for where in FIRST:
        for seed in (1, 2):
            cases[f"dense {where} seed {seed}"] = {
                "family": "dense", "partition": where, "seed": seed,
            }  # fmt: skip
    return Recipe("houses-judged", cases, _judge, seed=0)


# Factors ----------------------------------------------------------------------------------------

ENCODERS = {
    "the book's": BookEncoder,
    "ours": HouseEncoder,
    "ours and bins": partial(HouseEncoder, n_bins=6),
}
DROPOUT = {
    "none": (0.0, 0.0),
    "of inputs": (0.0, 0.3),
    "of features": (0.3, 0.0),
    "of both": (0.3, 0.3),
}
#: The network of the factors, set beforehand: four layers that add 32 features each.
FACTOR_NETWORK = {"growth_rate": 32, "block_config": (4,)}


def _factor(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    dropout, input_dropout = DROPOUT[case["dropout"]]
    options = {**FACTOR_NETWORK, "dropout": dropout, "input_dropout": input_dropout}
    network = Network(
        options,
        TrainingOptions(),
        ENCODERS[case["features"]],  # type: ignore[arg-type]
    )
    return {**case, "member_rmse": _rounded(evaluate(network, "book", (0, 1)).member_rmse)}


def factors_recipe() -> Recipe:
    """Features crossed with dropout in one dense network, on the book's folds."""
    cases = {
        f"{features}, {dropout}": {"features": features, "dropout": dropout}
        for features in ENCODERS
        for dropout in DROPOUT
    }
    return Recipe("houses-factors", cases, _factor, seed=0)


def _deep(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    configuration = {**DEEP, **case}
    connection = configuration.pop("connection")
    result = evaluate(build(connection, configuration), "book", (0, 1))
    return {**case, "member_rmse": _rounded(result.member_rmse)}


#: The deep network, set beforehand but for what is crossed.
DEEP = {
    "depth": 16, "parameters": 80_000, "input_dropout": 0.3, "norm": "none", "activation": "relu",
    "learning_rate": 1e-3, "weight_decay": 0.01, "n_bins": 6,
}  # fmt: skip


def deep_recipe() -> Recipe:
    """Sixteen layers: connection crossed with hidden dropout and initialisation."""
    cases = {
        f"{connection}, dropout {dropout}, {init}": {
            "connection": connection, "dropout": dropout, "init": init,
        }
        for dropout in (0.0, 0.3)
        for init in ("default", "he")
        for connection in CONNECTIONS
    }  # fmt: skip
    return Recipe("houses-deep", cases, _deep, seed=0)


# The test rows ----------------------------------------------------------------------------------


def on_the_test_rows(model: Model) -> dict[str, Any]:
    """Train on all 1460 rows, predict the test rows, and look at their prices."""
    houses = load_houses()
    with threads(1):
        (predictions,) = model.predict([Split(houses.train, houses.test)], (0,))
    errors = predictions.mean(axis=0) - np.log(hidden_prices().to_numpy(dtype=float))
    return {"rmse": round(float(np.sqrt(np.mean(errors**2))), 5), "errors": pack(errors)}


def _final(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {**case, **on_the_test_rows(Ensemble(chosen_networks(case["family"])))}


def final_recipe() -> Recipe:
    """The test score of each connection's ensemble, read once, after its own choice."""
    cases = {connection: {"family": connection} for connection in CONNECTIONS}
    return Recipe("houses-final", cases, _final, seed=0)
