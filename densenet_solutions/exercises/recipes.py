"""The recordings there are, by name; the recipe of one is imported when it is made."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from densenet_solutions import checks

if TYPE_CHECKING:
    from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class Recording:
    """What a recording measures, and about how long all its cases took where they were made.

    `make` is the function that returns its recipe, as `module:function` below the exercises.
    """

    make: str
    what: str
    takes: str


RECORDINGS = {
    "bench-memory": Recording(
        "saving_memory.bench:recipe", "strategies beside torchvision, in turn: peak and time", "1 h"
    ),
    "bench-memory-gpu": Recording(
        "saving_memory.bench:gpu_recipe", "the same on a GPU, batches and depths more", "3 min"
    ),
    "explorer-grid": Recording(
        "explorer.predictions:recipe", "what the site's explorer shows, by network and way", "3 min"
    ),
    "explorer-shared-storage": Recording(
        "explorer.predictions:shared_storage_recipe", "the same with shared storage", "2 min"
    ),
    "feature-reuse": Recording(
        "parameters.reuse:recipe", "a trained network's weights, by what they read", "5 min"
    ),
    "gpu-published": Recording(
        "memory.published:recipe", "simulation against published GPU measurements", "30 min"
    ),
    "gradient-errors": Recording(
        "saving_memory.gradient_errors:recipe", "gradients in float32 against float64", "5 min"
    ),
    "houses-deep": Recording(
        "houses.recordings:deep_recipe", "16 layers: connections, dropout, initialization", "20 min"
    ),
    "houses-factors": Recording(
        "houses.recordings:factors_recipe", "one dense network: features and dropout", "30 min"
    ),
    "houses-final": Recording(
        "houses.recordings:final_recipe", "test scores of the connections, read once", "5 min"
    ),
    "houses-final-rivals": Recording(
        "houses.rivals:final_recipe", "test scores of the rivals, read once", "1 h"
    ),
    "houses-finalists": Recording(
        "houses.recordings:finalists_recipe", "the search's best networks, chosen from", "10 min"
    ),
    "houses-finalists-histogram": Recording(
        "houses.histogram:finalists_recipe", "the best histogram boosting, chosen from", "2 min"
    ),
    "houses-finalists-rivals": Recording(
        "houses.rivals:finalists_recipe", "the search's best rivals, chosen from", "1.5 h"
    ),
    "houses-frozen": Recording(
        "houses.frozen:recipe", "16 layers, trained and left at their start", "5 min"
    ),
    "houses-judged": Recording(
        "houses.recordings:judged_recipe", "the chosen networks on all partitions", "40 min"
    ),
    "houses-judged-histogram": Recording(
        "houses.histogram:judged_recipe", "histogram boosting on all partitions", "2 min"
    ),
    "houses-judged-realmlp": Recording(
        "houses.today:realmlp_recipe", "RealMLP on all partitions", "20 min"
    ),
    "houses-judged-rivals": Recording(
        "houses.rivals:judged_recipe", "the chosen rivals on all partitions", "1.5 h"
    ),
    "houses-judged-tabm": Recording(
        "houses.today:tabm_recipe", "TabM on all partitions", "10 min"
    ),
    "houses-search": Recording(
        "houses.recordings:search_recipe", "trials of every connection", "30 min"
    ),
    "houses-search-histogram": Recording(
        "houses.histogram:search_recipe", "trials of histogram boosting", "15 min"
    ),
    "houses-search-rivals": Recording(
        "houses.rivals:search_recipe", "trials of every rival", "1 h"
    ),
    "how-far": Recording(
        "saving_memory.reach:recipe", "the largest batch and depth of a memory, predicted", "20 min"
    ),
    "how-far-gpu": Recording(
        "saving_memory.fits:recipe", "the largest batch that a GPU trains in 8 GiB", "5 min"
    ),
    "memory-fair": Recording(
        "memory.fair:recipe", "ImageNet networks: parameters, work, error, memory", "1 min"
    ),
    "memory-grid": Recording(
        "memory.grid:recipe", "networks by resolution and batch on a GPU", "15 min"
    ),
    "memory-grid-predicted": Recording(
        "memory.grid:predicted_recipe", "the same, predicted and simulated", "20 min"
    ),
    "memory-grid-rehearsal": Recording(
        "memory.grid:rehearsal_recipe", "a few small cases of the grid, on any device", "1 min"
    ),
    "memory-headline": Recording(
        "memory.headline:recipe", "the book's networks at batch 128, on a CPU", "2 min"
    ),
    "memory-lines": Recording(
        "memory.lines:recipe", "the book's networks by batch and resolution", "1 min"
    ),
    "memory-reported": Recording(
        "memory.reported:recipe", "steps that people reported, predicted", "1 min"
    ),
    "memory-witness": Recording(
        "memory.witness:recipe", "the book's networks in PyTorch's own tracker", "1 min"
    ),
    "pooling-converged": Recording(
        "pooling.converged:converged_recipe", "six transitions trained to the end", "2 h"
    ),
    "pooling-feature-map": Recording(
        "pooling.features:map_recipe", "three channels of a trained network", "1 min"
    ),
    "pooling-features": Recording(
        "pooling.features:features_recipe", "how trained networks' features pool", "45 min"
    ),
    "pooling-learning-rates": Recording(
        "pooling.converged:learning_rates_recipe", "a learning rate for each of six", "20 min"
    ),
    "shared-storage-kept": Recording(
        "saving_memory.kept:recipe", "keeping bottlenecks: memory against time", "10 min"
    ),
    "shared-storage-slices": Recording(
        "saving_memory.dial:recipe", "slices on a GPU: memory against time", "2 min"
    ),
    "step-operations": Recording(
        "saving_memory.operations:recipe", "operations that a step starts", "1 min"
    ),
    "step-timelines": Recording(
        "saving_memory.timelines:recipe", "memory over one step at full size", "2 min"
    ),
    "step-times": Recording(
        "memory.times:recipe", "a step of DenseNets and ResNets on a GPU", "1 min"
    ),
    "strategies-accuracy": Recording(
        "saving_memory.accuracy:recipe", "what other functions do to accuracy", "1.5 h"
    ),
    "strategies-study": Recording(
        "saving_memory.costs:recipe", "what every strategy saves and costs", "2 min"
    ),
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """Build the recipe `name`.

    Raises:
        ValueError: there is no such recording.
        ModuleNotFoundError: it is one of exercise 5, whose libraries come with an extra.
    """
    checks.choice("NAME", name, RECORDINGS)
    if name.startswith("houses"):
        checks.library("pandas", extra="houses")
    module, _, function = RECORDINGS[name].make.partition(":")
    room = importlib.import_module(f"densenet_solutions.exercises.{module}")
    return getattr(room, function)()
