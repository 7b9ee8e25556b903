"""Is our DenseNet as fast as torchvision's? Interleaved, with an interval (exercise 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchvision.models as published
from torch import nn

from densenet_solutions.measure import time_interleaved
from densenet_solutions.models import densenet121


@dataclass(frozen=True)
class RatioOfTimes:
    """How much longer one function takes than another, timed in turn over `rounds` rounds.

    `median`, `low` and `high` are of the round-by-round ratio (95% bootstrap interval of the
    median); `seconds` is the first function's median time.
    """

    median: float
    low: float
    high: float
    rounds: int
    seconds: float


def ratio_of_times(
    ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0
) -> RatioOfTimes:
    """Median of the round-by-round ratios, with a 95% bootstrap interval over the rounds.

    Raises:
        ValueError: the two were not timed in the same rounds.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(
            f"times come in pairs, one a round, got {len(ours)} and {len(theirs)} of them"
        )
    ratios = np.asarray(ours) / np.asarray(theirs)
    draws = np.random.default_rng(seed).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    return RatioOfTimes(
        median=float(np.median(ratios)),
        low=float(low),
        high=float(high),
        rounds=len(ratios),
        seconds=float(np.median(ours)),
    )


def against_torchvision(
    *, batch: int = 4, resolution: int = 224, repeats: int = 15, device: str = "cpu"
) -> dict[str, RatioOfTimes]:
    """DenseNet-121, ours over torchvision's: a forward pass without gradients, and a training step.

    Both have the same weights and see the same images, in turn.
    """
    torch.manual_seed(0)
    theirs = published.densenet121().to(device)
    ours = densenet121().to(device)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(batch, 3, resolution, resolution, device=device)
    targets = torch.arange(batch, device=device)

    def forward(model: nn.Module) -> None:
        with torch.no_grad():
            model(images)

    def step(model: nn.Module) -> None:
        model.zero_grad()
        nn.functional.cross_entropy(model(images), targets).backward()

    results = {}
    for name, run in (("forward", forward), ("training step", step)):
        seconds = time_interleaved(
            {"ours": lambda run=run: run(ours), "theirs": lambda run=run: run(theirs)},  # type: ignore[misc]
            repeats=repeats,
            warmup=2,
            device=device,
        )
        results[name] = ratio_of_times(seconds["ours"], seconds["theirs"])
    return results
