"""Recipe `explorer-own`: networks that nobody chose, predicted, to hold the tapes against.

The tapes were written with the traces of a few small networks at hand. `NETWORKS` others are drawn
at random, each with a way to run it and a size, and predicted by PyTorch's own operations. What
three earlier draws and a reader found amiss was mended (what a pool returns lives longer; the last
features are copied; statistics die with what they normalized; one image is not copied). These are
drawn anew, and reported as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from densenet_solutions.exercises.explorer.own import CONFIGS, TAPED
from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import DenseNet
from densenet_solutions.models.config import DenseNetConfig
from densenet_solutions.records.recorder import Recipe

NETWORKS = 90
#: What they are made from: one with bottlenecks, and the book's, which has none.
FROM = ("densenet121", "book-densenet")


def drawn() -> dict[str, dict[str, Any]]:
    """Name → network, way to run it and size; the ways come equally often."""
    generator = random.Random(17)
    ways = list(TAPED)
    cases: dict[str, dict[str, Any]] = {}
    for i in range(NETWORKS):
        way, most = ways[i % len(ways)], generator.choice([4, 12, 32, 48])
        cases[f"own {i + 1}"] = {
            "network": generator.choice(FROM),
            "k": generator.randint(4, 64),
            "layers": [generator.randint(1, most) for _ in range(generator.choice([3, 4, 4]))],
            "theta": generator.choice([0.25, 0.5, 0.65, 0.8, 1.0]),
            "way": way,
            "autocast": way in ("plain", "inference") and generator.random() < 0.3,
            "batch": generator.choice([1, 4, 16, 64, 256]),
            "side": generator.choice([96, 160, 224, 384]),  # of `RESOLUTIONS`
        }
    return cases


def config_of(case: Mapping[str, Any]) -> DenseNetConfig:
    """The network of a case."""
    return replace(
        CONFIGS[case["network"]],
        growth_rate=case["k"],
        num_init_features=2 * case["k"],
        block_config=tuple(case["layers"]),
        compression=case["theta"],
    )


def _predict(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    config, name = config_of(case), case["way"].split()[0]
    strategy = STRATEGIES.get(name) if name not in ("plain", "inference") else None
    options = {"slices": 8} if case["way"].endswith("8 slices") else {}
    result = predict_memory(
        lambda: strategy.apply(DenseNet(config), **options) if strategy else DenseNet(config),
        (case["batch"], config.in_channels, case["side"], case["side"]),
        train=name != "inference",
        step=strategy.step if strategy else None,
        autocast=torch.bfloat16 if case["autocast"] else None,
        device="cuda",
    )
    return {
        **case,
        "allocated_bytes": result.allocated_bytes,
        "reserved_bytes": result.reserved_bytes,
    }


def _uses(case: Mapping[str, Any]) -> tuple[Callable[..., object], ...]:
    name = case["way"].split()[0]
    return STRATEGIES[name].functions if name in STRATEGIES and name != "plain" else ()


def recipe() -> Recipe:
    """Every drawn network."""
    return Recipe("explorer-own", drawn(), _predict, uses=_uses)
