"""The recordings there are, by name; each is imported when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from densenet_solutions import checks

if TYPE_CHECKING:
    from densenet_solutions.records.recorder import Recipe

RECORDINGS = (
    "bench-memory", "bench-memory-gpu", "explorer-grid", "explorer-shared-storage", "feature-reuse",
    "gpu-published", "houses-deep", "houses-factors", "houses-final", "houses-final-rivals",
    "houses-finalists", "houses-finalists-histogram", "houses-finalists-rivals", "houses-frozen",
    "houses-judged", "houses-judged-histogram", "houses-judged-realmlp", "houses-judged-rivals",
    "houses-judged-tabm", "houses-search", "houses-search-histogram", "houses-search-rivals",
    "how-far", "how-far-gpu", "memory-fair", "memory-grid", "memory-grid-predicted",
    "memory-grid-rehearsal", "memory-headline", "memory-lines", "memory-reported", "memory-witness",
    "pooling-converged", "pooling-feature-map", "pooling-features", "pooling-learning-rates",
    "shared-storage-kept", "shared-storage-slices", "step-operations", "step-timelines",
    "step-times", "strategies-accuracy", "strategies-study",
)  # fmt: skip


def recipe(name: str) -> Recipe:
    """Build the recipe `name`.

    Raises:
        ValueError: there is no such recording.
        ModuleNotFoundError: it is one of exercise 5, whose libraries come with an extra.
    """
    checks.choice("NAME", name, RECORDINGS)
    if name.startswith("houses"):
        checks.library("pandas", extra="houses")
    match name:
        case "bench-memory":
            from densenet_solutions.exercises.saving_memory.bench import recipe as make
        case "bench-memory-gpu":
            from densenet_solutions.exercises.saving_memory.bench import gpu_recipe as make
        case "explorer-grid":
            from densenet_solutions.exercises.explorer.predictions import recipe as make
        case "explorer-shared-storage":
            from densenet_solutions.exercises.explorer.predictions import (
                shared_storage_recipe as make,
            )
        case "feature-reuse":
            from densenet_solutions.exercises.parameters.reuse import recipe as make
        case "gpu-published":
            from densenet_solutions.exercises.memory.published import recipe as make
        case "houses-deep":
            from densenet_solutions.exercises.houses.recordings import deep_recipe as make
        case "houses-factors":
            from densenet_solutions.exercises.houses.recordings import factors_recipe as make
        case "houses-final":
            from densenet_solutions.exercises.houses.recordings import final_recipe as make
        case "houses-final-rivals":
            from densenet_solutions.exercises.houses.rivals import final_recipe as make
        case "houses-finalists":
            from densenet_solutions.exercises.houses.recordings import finalists_recipe as make
        case "houses-finalists-histogram":
            from densenet_solutions.exercises.houses.histogram import finalists_recipe as make
        case "houses-finalists-rivals":
            from densenet_solutions.exercises.houses.rivals import finalists_recipe as make
        case "houses-frozen":
            from densenet_solutions.exercises.houses.frozen import recipe as make
        case "houses-judged":
            from densenet_solutions.exercises.houses.recordings import judged_recipe as make
        case "houses-judged-histogram":
            from densenet_solutions.exercises.houses.histogram import judged_recipe as make
        case "houses-judged-realmlp":
            from densenet_solutions.exercises.houses.today import realmlp_recipe as make
        case "houses-judged-rivals":
            from densenet_solutions.exercises.houses.rivals import judged_recipe as make
        case "houses-judged-tabm":
            from densenet_solutions.exercises.houses.today import tabm_recipe as make
        case "houses-search":
            from densenet_solutions.exercises.houses.recordings import search_recipe as make
        case "houses-search-histogram":
            from densenet_solutions.exercises.houses.histogram import search_recipe as make
        case "houses-search-rivals":
            from densenet_solutions.exercises.houses.rivals import search_recipe as make
        case "how-far":
            from densenet_solutions.exercises.saving_memory.reach import recipe as make
        case "how-far-gpu":
            from densenet_solutions.exercises.saving_memory.fits import recipe as make
        case "memory-fair":
            from densenet_solutions.exercises.memory.fair import recipe as make
        case "memory-grid":
            from densenet_solutions.exercises.memory.grid import recipe as make
        case "memory-grid-predicted":
            from densenet_solutions.exercises.memory.grid import predicted_recipe as make
        case "memory-grid-rehearsal":
            from densenet_solutions.exercises.memory.grid import rehearsal_recipe as make
        case "memory-headline":
            from densenet_solutions.exercises.memory.headline import recipe as make
        case "memory-lines":
            from densenet_solutions.exercises.memory.lines import recipe as make
        case "memory-witness":
            from densenet_solutions.exercises.memory.witness import recipe as make
        case "memory-reported":
            from densenet_solutions.exercises.memory.reported import recipe as make
        case "pooling-converged":
            from densenet_solutions.exercises.pooling.converged import converged_recipe as make
        case "pooling-feature-map":
            from densenet_solutions.exercises.pooling.features import map_recipe as make
        case "pooling-features":
            from densenet_solutions.exercises.pooling.features import features_recipe as make
        case "pooling-learning-rates":
            from densenet_solutions.exercises.pooling.converged import learning_rates_recipe as make
        case "shared-storage-kept":
            from densenet_solutions.exercises.saving_memory.kept import recipe as make
        case "shared-storage-slices":
            from densenet_solutions.exercises.saving_memory.dial import recipe as make
        case "step-operations":
            from densenet_solutions.exercises.saving_memory.operations import recipe as make
        case "step-timelines":
            from densenet_solutions.exercises.saving_memory.timelines import recipe as make
        case "step-times":
            from densenet_solutions.exercises.memory.times import recipe as make
        case "strategies-accuracy":
            from densenet_solutions.exercises.saving_memory.accuracy import recipe as make
        case "strategies-study":
            from densenet_solutions.exercises.saving_memory.costs import recipe as make
    return make()
