"""The recordings there are, by name; the recipe of one is imported when it is made."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from densenet_solutions import checks

if TYPE_CHECKING:
    from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class Recording:
    """`make` is the function that returns the recipe: `module:name` stands for `name_recipe`."""

    make: str
    what: str
    takes: str


#: Name, what makes it, how long all its cases took where they were made, and what it measures.
_TABLE = """
bench-at-work  saving_memory.at_work  1 min  how long a GPU is at work in a step, both precisions
bench-memory  saving_memory.bench  1 h  strategies beside torchvision, in turn: peak and time
bench-memory-gpu  saving_memory.bench:gpu  7 min  the same on a GPU, batches and depths more
bench-memory-warm  saving_memory.warm  25 min  the bench where no step gets new pages of memory
explorer-grid  explorer.predictions  3 min  what the site's explorer shows, by network and way
explorer-own  explorer.own_predicted  5 min  networks drawn at random, predicted
explorer-shared-storage  explorer.predictions:shared_storage  2 min  the same with shared storage
feature-reuse  parameters.reuse  5 min  a trained network's weights, by what they read
gpu-published  memory.published  30 min  simulation against published GPU measurements
gradient-errors  saving_memory.gradient_errors  5 min  gradients in float32 against float64
houses-deep  houses.recordings:deep  20 min  16 layers: connections, dropout, initialization
houses-confirmed  houses.walk:confirmed  20 min  the dense average and the best trees, once more
houses-dense-average  houses.dense_search:average  10 min  the second search's dense average
houses-dense-average-judged  houses.dense_search:judged  40 min  it, and CatBoost, on all partitions
houses-dense-judged  houses.dense_walk:judged  20 min  the walk's dense average, and CatBoost
houses-dense-search  houses.dense_search:search  35 min  dense networks, faster rates, more epochs
houses-dense-walk  houses.dense_walk:walk  30 min  dense networks, option by option, and an average
houses-factors  houses.recordings:factors  30 min  one dense network: features and dropout
houses-final  houses.recordings:final  5 min  test scores of the connections, read once
houses-final-rivals  houses.rivals:final  1 h  test scores of the rivals, read once
houses-finalists  houses.recordings:finalists  10 min  the search's best networks, chosen from
houses-finalists-rivals  houses.rivals:finalists  1.5 h  the search's best rivals, chosen from
houses-frozen  houses.frozen  5 min  16 layers, trained and left at their start
houses-judged  houses.recordings:judged  1 h  the chosen networks on all partitions
houses-judged-realmlp  houses.today:realmlp  40 min  RealMLP on all partitions
houses-judged-rivals  houses.rivals:judged  1.5 h  the chosen rivals on all partitions
houses-judged-tabm  houses.today:tabm  20 min  TabM on all partitions
houses-judged-trees  houses.walk:judged  25 min  boosted trees of the walk on all partitions
houses-search  houses.recordings:search  30 min  trials of every connection
houses-search-rivals  houses.rivals:search  1 h  trials of every rival
houses-walk  houses.walk:walk  2 h  boosted trees, option by option, until nothing helps
how-far  saving_memory.reach  20 min  the largest batch and depth of a memory, predicted
how-far-gpu  saving_memory.fits  5 min  the largest batch that a GPU trains in 8 GiB
memory-fair  memory.fair  1 min  ImageNet networks: parameters, work, error, memory
memory-grid  memory.grid  15 min  networks by resolution and batch on a GPU
memory-grid-again  memory.grid:again  3 min  cases of the grid once more, on another card
memory-grid-predicted  memory.grid:predicted  20 min  the same, predicted and simulated
memory-grid-rehearsal  memory.grid:rehearsal  1 min  a few small cases of the grid, on any device
memory-headline  memory.headline  2 min  the book's networks at batch 128, on a CPU
memory-lines  memory.lines  1 min  the book's networks by batch and resolution
memory-own-process  memory.own_process  3 min  what a reader's own lines would print on a GPU
memory-reported  memory.reported  1 min  steps that people reported, predicted
memory-witness  memory.witness  1 min  the book's networks in PyTorch's own tracker
pooling-converged  pooling.converged:converged  2 h  six transitions trained to the end
pooling-feature-map  pooling.features:map  1 min  three channels of a trained network
pooling-features  pooling.features:features  45 min  how trained networks' features pool
pooling-learning-rates  pooling.converged:learning_rates  20 min  a learning rate for each of six
shared-storage-kept  saving_memory.kept  10 min  keeping bottlenecks: memory against time
shared-storage-slices  saving_memory.dial  2 min  slices on a GPU: memory against time
step-timelines  saving_memory.timelines  2 min  memory over one step at full size
step-times  memory.times  1 min  a step of DenseNets and ResNets on a GPU
strategies-accuracy  saving_memory.accuracy  1.5 h  what other functions do to accuracy
strategies-study  saving_memory.costs  2 min  what every strategy saves and costs
two-cores  saving_memory.cores  5 min  steps with the cores together and apart
"""
RECORDINGS = {
    name: Recording(make, what, takes)
    for name, make, takes, what in (re.split(" {2,}", row) for row in _TABLE.split("\n")[1:-1])
}


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
    return getattr(room, f"{function}_recipe" if function else "recipe")()
