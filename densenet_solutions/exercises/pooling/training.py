"""The trainings behind exercise 1: transitions that average, take the maximum, or stride.

Everything but the transition is the same: images, order, initial weights, budget. The book's
ResNet-18 is trained alike for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from torch import nn

from densenet_solutions.files import cache_directory
from densenet_solutions.images import load_fashion_mnist
from densenet_solutions.models import NETWORKS
from densenet_solutions.models.config import Pooling
from densenet_solutions.records.closure import fingerprint, root
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.training import TrainingResult, TrainingSettings, train

#: The book's setting: all 60,000 images at 96x96 for 10 epochs. It asks for a GPU.
FULL = TrainingSettings()

#: What one CPU core manages in a minute or two a network: 5,000 images at 32x32 for 3 epochs.
REDUCED = TrainingSettings(
    epochs=3, batch_size=64, resolution=32, learning_rate=0.1, schedule="cosine"
)


@dataclass(frozen=True)
class TrainingCase:
    """One training. `pooling` is the transition's and means nothing for ResNet-18.

    `train_images` counts from the start of the published training set; `None` takes all.
    """

    network: Literal["densenet", "resnet18"]
    pooling: Pooling
    settings: TrainingSettings
    train_images: int | None


def reduced_recipe() -> Recipe:
    """`pooling-training-reduced`: the comparison at a setting that a CPU manages."""
    return _recipe("pooling-training-reduced", REDUCED, train_images=5000, resnet_seeds=range(3))


def full_recipe() -> Recipe:
    """`pooling-training`: the comparison at the book's setting, for a GPU."""
    return _recipe("pooling-training", FULL, train_images=None, resnet_seeds=range(5))


def run_case(case: TrainingCase, device: str) -> TrainingResult:
    """Train as `case` says, or take up its checkpoint; the metrics of all epochs."""
    return trained(case, device)[1]


def trained(case: TrainingCase, device: str = "cpu") -> tuple[nn.Module, TrainingResult]:
    """The trained network and its metrics. Checkpoints lie in the cache, one a case and code."""
    build = NETWORKS[f"book-{case.network}"].build
    settings = case.settings
    name = (
        f"{case.network}-{case.pooling}-{settings.resolution}px-{settings.epochs}epochs-"
        f"{case.train_images or 'all'}-{settings.seed}.pt"
    )
    code = fingerprint([root(trained)])[:12]
    return train(
        partial(build, pooling=case.pooling) if case.network == "densenet" else build,
        load_fashion_mnist("train", limit=case.train_images),
        load_fashion_mnist("test"),
        settings,
        device=device,
        checkpoint=cache_directory() / "training" / code / device / name,
        test_every_epoch=False,
    )


def _recipe(
    name: str, settings: TrainingSettings, train_images: int | None, resnet_seeds: Sequence[int]
) -> Recipe:
    cases = {}
    for seed in range(5):
        seeded = replace(settings, seed=seed)
        for pooling in get_args(Pooling):
            cases[f"{pooling}-{seed}"] = TrainingCase("densenet", pooling, seeded, train_images)
    for seed in resnet_seeds:
        seeded = replace(settings, seed=seed)
        cases[f"resnet18-{seed}"] = TrainingCase("resnet18", "average", seeded, train_images)
    return Recipe(name=name, cases=cases, measure=run_case, seed=0)
