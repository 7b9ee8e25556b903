"""The recordings there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from densenet_solutions import checks
from densenet_solutions.exercises.explorer import study as explorer_study
from densenet_solutions.exercises.memory import fair as memory_fair
from densenet_solutions.exercises.memory import grid as memory_grid
from densenet_solutions.exercises.memory import headline as memory_headline
from densenet_solutions.exercises.memory import published as memory_published
from densenet_solutions.exercises.memory import reported as memory_reported
from densenet_solutions.exercises.parameters import reuse as parameters_reuse
from densenet_solutions.exercises.pooling import features as pooling_features
from densenet_solutions.exercises.pooling import training as pooling_training
from densenet_solutions.exercises.saving_memory import accuracy as saving_memory_accuracy
from densenet_solutions.exercises.saving_memory import bench as saving_memory_bench
from densenet_solutions.exercises.saving_memory import costs as saving_memory_costs
from densenet_solutions.exercises.saving_memory import reach as saving_memory_reach
from densenet_solutions.exercises.saving_memory import timelines as saving_memory_timelines
from densenet_solutions.records.recorder import Recipe


def _houses(function: str, *, rivals: bool = False) -> Callable[[], Recipe]:
    """A recipe of exercise 5, imported when it is made: its libraries come with an extra."""

    def make() -> Recipe:
        checks.library("pandas", extra="houses")
        from densenet_solutions.exercises.houses import recordings
        from densenet_solutions.exercises.houses import rivals as others

        return getattr(others if rivals else recordings, function)()

    return make


#: name of the record → function without arguments that returns its `Recipe`.
RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "pooling-feature-map": pooling_features.map_recipe,
    "pooling-features": pooling_features.features_recipe,
    "feature-reuse": parameters_reuse.recipe,
    "strategies-accuracy": saving_memory_accuracy.recipe,
    "strategies-study": saving_memory_costs.recipe,
    "step-timelines": saving_memory_timelines.recipe,
    "explorer-grid": explorer_study.recipe,
    "explorer-shared-storage": explorer_study.shared_storage_recipe,
    "memory-fair": memory_fair.recipe,
    "gpu-published": memory_published.recipe,
    "memory-grid": memory_grid.recipe,
    "memory-headline": memory_headline.recipe,
    "memory-reported": memory_reported.recipe,
    "memory-grid-rehearsal": memory_grid.rehearsal_recipe,
    "how-far": saving_memory_reach.recipe,
    "bench-memory": saving_memory_bench.recipe,
    "pooling-training": pooling_training.full_recipe,
    "pooling-training-reduced": pooling_training.reduced_recipe,
    "houses-search": _houses("search_recipe"),
    "houses-finalists": _houses("finalists_recipe"),
    "houses-judged": _houses("judged_recipe"),
    "houses-factors": _houses("factors_recipe"),
    "houses-deep": _houses("deep_recipe"),
    "houses-final": _houses("final_recipe"),
    "houses-search-rivals": _houses("search_recipe", rivals=True),
    "houses-finalists-rivals": _houses("finalists_recipe", rivals=True),
    "houses-judged-rivals": _houses("judged_recipe", rivals=True),
    "houses-final-rivals": _houses("final_recipe", rivals=True),
}


def recipe(name: str) -> Recipe:
    """Build the recipe `name`.

    Raises:
        ValueError: there is no such recording.
    """
    if name not in RECIPES:
        raise ValueError(f"recordings are {sorted(RECIPES)}, got {name!r}")
    return RECIPES[name]()
