"""What one option does to the networks of exercise 5: depth, growth rate, the recipe's steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from densenet_solutions.exercises.houses import recordings
from densenet_solutions.exercises.houses.recordings import evaluate, summary
from densenet_solutions.exercises.houses.search import (
    NETWORK_DEFAULT,
    NETWORKS,
    SEARCH,
    build,
)
from densenet_solutions.records.recorder import Recipe

#: Networks an ensemble, for all of this file.
SEEDS = 3

DEPTHS = (2, 4, 8, 16)
#: Half of the epochs elsewhere: there are many networks to tune.
DEPTH_EPOCHS = 60
#: What each connection is tuned over at each depth.
TUNED_OVER = tuple(
    {"norm": norm, "learning_rate": rate}
    for norm in ("none", "layer")
    for rate in (1e-3, 2e-3, 4e-3)
)


def _at_depth(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The recipe as it is, and with the best normalisation and learning rate of `TUNED_OVER`.

    Tuning looks at a search partition and one seed; both are then scored on the book's folds.
    """
    recipe = {**NETWORK_DEFAULT, "depth": case["depth"], "epochs": DEPTH_EPOCHS}

    def run(partition: str, seeds: int, options: Mapping[str, Any]) -> dict[str, Any]:
        model = build(case["connection"], {**recipe, **options})
        return summary(*evaluate(model, partition, range(seeds)))

    found = [run(SEARCH, 1, options)["rmse"] for options in TUNED_OVER]
    best = TUNED_OVER[found.index(min(found))]
    return {
        **case,
        "tuning": [{**options, "rmse": e} for options, e in zip(TUNED_OVER, found, strict=True)],
        "as_it_is": run("book", SEEDS, {}),
        "tuned": {**best, **run("book", SEEDS, best)},
    }


def depth_recipe() -> Recipe:
    """Plain, residual and dense at equal parameters over depth, as they are and tuned alike."""
    cases = {
        f"{connection} {depth}": {"connection": connection, "depth": depth}
        for depth in DEPTHS
        for connection in NETWORKS
    }
    return Recipe("houses-depth", cases, _at_depth, seed=0)


GROWTH_RATES = (4, 8, 16, 32, 64)


def _on_the_books_folds(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    model = build("dense", {**NETWORK_DEFAULT, **case})
    return {**case, **summary(*evaluate(model, "book", range(SEEDS)))}


def growth_recipe() -> Recipe:
    """The dense network over its growth rate, nothing else changed."""
    cases = {str(k): {"growth_rate": k} for k in GROWTH_RATES}
    return Recipe("houses-growth", cases, _on_the_books_folds, seed=0)


#: One step after the other from a plain start to the recipe.
STEPS: Mapping[str, Mapping[str, Any]] = {
    "a dense MLP": {
        "n_bins": 0, "dropout": 0.1, "input_dropout": 0.0, "epochs": 60, "learning_rate": 2e-3,
    },
    "piecewise-linear bins": {"n_bins": NETWORK_DEFAULT["n_bins"]},
    "more dropout": {k: NETWORK_DEFAULT[k] for k in ("dropout", "input_dropout")},
    "twice the epochs and learning rate": {"epochs": 120, "learning_rate": 4e-3},
}  # fmt: skip


def steps_recipe() -> Recipe:
    """What each part of the recipe brings, on the book's folds, which did not choose it."""
    cases: dict[str, dict[str, Any]] = {}
    options: dict[str, Any] = {}
    for name, change in STEPS.items():
        options = {**options, **change}
        cases[name] = options
    return Recipe("houses-steps", cases, _on_the_books_folds, seed=0)


#: The recordings of exercise 5.
RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "houses-depth": depth_recipe,
    "houses-final": recordings.final_recipe,
    "houses-growth": growth_recipe,
    "houses-partitions": recordings.partitions_recipe,
    "houses-partitions-rivals": recordings.rival_partitions_recipe,
    "houses-search": recordings.search_recipe,
    "houses-search-rivals": recordings.rival_search_recipe,
    "houses-steps": steps_recipe,
}
