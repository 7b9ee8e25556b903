"""The trained networks that exercise 1 looks into: transitions that average, take the maximum, or
stride, at a size that one CPU core trains in a minute or two.

Everything but the transition is the same: images, order, initial weights, budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

from torch import nn

from densenet_solutions.files import cache_directory
from densenet_solutions.images import load_fashion_mnist
from densenet_solutions.models import book_densenet
from densenet_solutions.models.config import Pooling
from densenet_solutions.records.closure import fingerprint, root
from densenet_solutions.training import TrainingResult, TrainingSettings, train

#: What one CPU core manages in a minute or two a network: 5,000 images at 32x32 for 3 epochs.
REDUCED = TrainingSettings(
    epochs=3, batch_size=64, resolution=32, learning_rate=0.1, schedule="cosine"
)


TRAIN_IMAGES = 5000


@dataclass(frozen=True)
class TrainingCase:
    """One training; `pooling` is the transition's."""

    pooling: Pooling
    settings: TrainingSettings


def cases() -> dict[str, TrainingCase]:
    """Every pooling with five seeds, by `POOLING-SEED`."""
    return {
        f"{pooling}-{seed}": TrainingCase(pooling, replace(REDUCED, seed=seed))
        for seed in range(5)
        for pooling in get_args(Pooling)
    }


def trained(case: TrainingCase, device: str = "cpu") -> tuple[nn.Module, TrainingResult]:
    """The trained network and its metrics. Checkpoints lie in the cache, one a case and code."""
    settings = case.settings
    name = f"{case.pooling}-{settings.seed}.pt"
    code = fingerprint([root(trained)])[:12]
    return train(
        partial(book_densenet, pooling=case.pooling),
        load_fashion_mnist("train", limit=TRAIN_IMAGES),
        load_fashion_mnist("test"),
        settings,
        device=device,
        checkpoint=cache_directory() / "training" / code / device / name,
        test_every_epoch=False,
    )
