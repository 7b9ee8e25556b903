"""Does training the layers of a deep network bring anything? Its protocol, and its recording.

**Question.** An error below or above that of a linear model does not say whether the layers train:
a random layer also gives the head features. So the trials of 16 layers in the search that have a
path from the table to the head, the four dense ones and the four with one shortcut, run twice on
the same partition with the same seed: as in the search, and with every layer left at its start, so
that the head alone is trained.

**Reading.** The quantity is the error with the layers left minus the error with the layers trained,
trial by trial. Only its sign and size in these eight trials are told. One seed and one partition
say nothing of others, and the two connections are not compared by an interval.

**What had been looked at before.** A reader of the page had run this experiment once, with this
seed and partition, before this rule was written down, and had told its result: trained layers were
better in all four dense trials, and brought next to nothing with one shortcut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet_solutions.exercises.houses.recordings import evaluate
from densenet_solutions.exercises.houses.search import SEARCH, build, configurations
from densenet_solutions.houses.models import Network, Split, encode
from densenet_solutions.houses.training import distinct, fit_predict
from densenet_solutions.models.mlp import DenseMLP
from densenet_solutions.records.recorder import Recipe

CONNECTIONS = ("shortcut", "dense")
DEPTH = 16


def only_the_head(model: DenseMLP) -> DenseMLP:
    """`model` itself, with all its parameters fixed but the head's."""
    model.requires_grad_(False).head.requires_grad_(True)
    return model


@dataclass(frozen=True)
class HeadOnly:
    """A network whose head is trained as `Network` trains it, from the same start."""

    network: Network

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        seeds = distinct(seeds)

        def model(width: int) -> DenseMLP:
            return only_the_head(DenseMLP(width, **self.network.options))

        return [
            np.stack([fit_predict(model, task, seed, self.network.training) for seed in seeds])
            for task in (encode(self.network.encoder, split) for split in splits)
        ]


def _measure(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    network = build(case["family"], case["configuration"])
    return {
        **case,
        "trained": round(evaluate(network, SEARCH).rmse, 5),
        "left": round(evaluate(HeadOnly(network), SEARCH).rmse, 5),
    }


def recipe() -> Recipe:
    """Trials of 16 layers with their layers trained, and left at their start."""
    cases = {
        f"{connection} {i}": {"family": connection, "configuration": configuration}
        for connection in CONNECTIONS
        for i, configuration in enumerate(configurations())
        if configuration["depth"] == DEPTH
    }
    return Recipe("houses-frozen", cases, _measure, seed=0)
