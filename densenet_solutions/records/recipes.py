"""The recordings there are: name → where its `Recipe` is built. Nothing is imported until asked."""

from __future__ import annotations

import importlib
from typing import cast

from densenet_solutions.records.recorder import Recipe

#: name of the record → "module:function"; the function takes no argument and returns a `Recipe`.
RECIPES: dict[str, str] = {
    "fashion-mnist-sample": "densenet_solutions.studies.pooling_features:sample_recipe",
    "pooling-feature-map": "densenet_solutions.studies.pooling_features:map_recipe",
    "pooling-features": "densenet_solutions.studies.pooling_features:features_recipe",
    "feature-reuse": "densenet_solutions.studies.feature_reuse:recipe",
    "strategies-accuracy": "densenet_solutions.studies.strategies_accuracy:recipe",
    "strategies-study": "densenet_solutions.studies.strategies_cost:recipe",
    "step-timelines": "densenet_solutions.studies.step_timelines:recipe",
    "strategies-study-shared": "densenet_solutions.studies.strategies_cost:shared_storage_recipe",
    "explorer-grid": "densenet_solutions.studies.explorer:recipe",
    "explorer-grid-shared": "densenet_solutions.studies.explorer:shared_storage_recipe",
    "memory-fair": "densenet_solutions.studies.memory:fair_recipe",
    "memory-grid": "densenet_solutions.studies.memory_grid:recipe",
    "memory-grid-rehearsal": "densenet_solutions.studies.memory_grid:rehearsal_recipe",
    "how-far": "densenet_solutions.studies.reach:recipe",
    "bench-memory": "densenet_solutions.studies.memory_bench:recipe",
    "pooling-training": "densenet_solutions.studies.pooling_training:full_recipe",
    "pooling-training-reduced": "densenet_solutions.studies.pooling_training:reduced_recipe",
    "houses-depth": "densenet_solutions.studies.houses_options:depth_recipe",
    "houses-final": "densenet_solutions.studies.houses_search:final_recipe",
    "houses-growth": "densenet_solutions.studies.houses_options:growth_recipe",
    "houses-partitions": "densenet_solutions.studies.houses_search:partitions_recipe",
    "houses-partitions-rivals": "densenet_solutions.studies.houses_search:rival_partitions_recipe",
    "houses-search": "densenet_solutions.studies.houses_search:search_recipe",
    "houses-search-rivals": "densenet_solutions.studies.houses_search:rival_search_recipe",
    "houses-steps": "densenet_solutions.studies.houses_options:steps_recipe",
}


def recipe(name: str) -> Recipe:
    """Build the recipe `name`.

    Raises:
        ValueError: there is no such recording.
    """
    if name not in RECIPES:
        raise ValueError(f"recordings are {sorted(RECIPES)}, got {name!r}")
    module, _, function = RECIPES[name].partition(":")
    return cast(Recipe, getattr(importlib.import_module(module), function)())
