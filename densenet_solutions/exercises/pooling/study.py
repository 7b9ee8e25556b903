"""Exercise 1: what average, maximum and strided pooling do in a transition, argument by argument.

Everything here is computed when the page is built. `features` holds what needs trained networks,
`training` and `converged` the trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from densenet_solutions.exercises.pooling.comparison import Difference, differences
from densenet_solutions.exercises.pooling.converged import SEEDS, VARIANTS
from densenet_solutions.exercises.pooling.features import FeatureMap, TrainedPooling
from densenet_solutions.exercises.pooling.gradients import (
    POOLINGS,
    route_gradient,
)
from densenet_solutions.measure import count_flops, predict_memory, saved_bytes
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import densenet121
from densenet_solutions.models.densenet import Transition
from densenet_solutions.records.serialise import from_json
from densenet_solutions.records.store import load_record
from densenet_solutions.training import TrainingResult


@dataclass(frozen=True)
class PoolFirstSaving:
    """A network whose transitions pool after (`plain`) or before (`pool_first`) they convolve.

    Bytes and multiply-adds are pairs `(plain, pool first)`. `kept_bytes` holds, for each
    transition, what autograd keeps for the backward pass, every storage once.
    """

    transition_multiply_adds: tuple[int, int]
    multiply_adds: tuple[int, int]
    kept_bytes: Mapping[str, tuple[int, int]]
    peak_beyond_parameters: tuple[int, int]
    largest_difference: float
    largest_logit: float


# --- the pool and the convolution change places ------------------------------------------------


def commutation() -> dict[str, float]:
    """How far `pool(conv(x))` and `conv(pool(x))` are apart in float64, for each pooling.

    The shapes are those of DenseNet-121's first transition, for one image of 224x224 pixels.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 256, 56, 56, dtype=torch.float64, generator=generator)
    conv = nn.Conv2d(256, 128, 1, bias=False, dtype=torch.float64)
    nn.init.normal_(conv.weight, std=256**-0.5, generator=generator)
    with torch.no_grad():
        return {
            name: float((pool(conv(x)) - conv(pool(x))).abs().max())
            for name, pool in POOLINGS.items()
        }


def pool_first_saving(batch: int = 8, side: int = 224) -> PoolFirstSaving:
    """Work and memory of DenseNet-121 when its transitions pool before they convolve.

    Work and what each transition keeps are for one image, the peak is for a training step with
    `batch` images, of `side` pixels each.
    That the function is the same is checked in float64 on two images of 64 pixels.
    """
    pool_first = STRATEGIES["pool_first"].apply
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = (plain := densenet121().double().eval(), pool_first(plain))
        x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        logits, changed = (model(x) for model in models)

    work = [count_flops(model, (1, 3, side, side)) for model in models]
    in_transitions = [
        sum(n for stage, n in count.by_stage.items() if stage.startswith("transition"))
        for count in work
    ]
    kept = {}
    for i in (1, 2, 3):
        transitions = [cast(Transition, m.get_submodule(f"features.transition{i}")) for m in models]
        shape = (1, transitions[0].norm.num_features, *[side // 2 ** (i + 1)] * 2)
        kept[f"transition{i}"] = _pair([saved_bytes(module, shape) for module in transitions])
    peaks = [
        predict_memory(model_fn, (batch, 3, side, side)).peak_beyond_parameters
        for model_fn in (densenet121, lambda: pool_first(densenet121()))
    ]
    return PoolFirstSaving(
        transition_multiply_adds=_pair(in_transitions),
        multiply_adds=_pair([count.multiply_adds for count in work]),
        kept_bytes=kept,
        peak_beyond_parameters=_pair(peaks),
        largest_difference=float((logits - changed).abs().max()),
        largest_logit=float(logits.abs().max()),
    )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    plain, changed = values
    return plain, changed


# --- what is pooled -----------------------------------------------------------------------------


def relu_after_pool(scale: float) -> dict[str, float]:
    """How far `relu(s·pool(x))` and `pool(relu(s·x))` are apart, for a channel's scale `s`.

    The reader of a pooled value is a normalization and a ReLU. Zero means: what the ReLU would
    remove is removed whether it stands before the pool or behind it.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, 16, 16, dtype=torch.float64, generator=generator)
    return {
        name: float((torch.relu(scale * pool(x)) - pool(torch.relu(scale * x))).abs().max())
        for name, pool in POOLINGS.items()
    }


@dataclass(frozen=True)
class PooledRow:
    """A periodic row pooled by twos, as it is and moved to the left by one."""

    still: tuple[float, ...]
    moved: tuple[float, ...]


def pooled_rows(row: Sequence[float]) -> dict[str, PooledRow]:
    """What each pooling makes of a row of pixels (the same in both rows of a window)."""

    def pooled(name: str, values: Tensor) -> tuple[float, ...]:
        return tuple(POOLINGS[name](values.expand(1, 1, 2, -1)).flatten().tolist())

    x = torch.tensor(row, dtype=torch.float64)
    return {name: PooledRow(pooled(name, x), pooled(name, x.roll(-1))) for name in POOLINGS}


# --- trainings ---------------------------------------------------------------------------------


def learning_rates() -> dict[str, dict[float, TrainingResult]]:
    """Record `pooling-learning-rates` by variant and learning rate; "test" is what was held out."""
    runs: dict[str, dict[float, TrainingResult]] = {}
    for case, data in load_record("pooling-learning-rates").cases.items():
        variant, _, rate = case.rpartition(" ")
        runs.setdefault(variant, {})[float(rate)] = from_json(TrainingResult, data)
    return runs


def converged() -> dict[str, list[TrainingResult]]:
    """Record `pooling-converged` by variant, seeds in order."""
    cases = load_record("pooling-converged").cases
    return {
        variant: [from_json(TrainingResult, cases[f"{variant} {seed}"]) for seed in SEEDS]
        for variant in VARIANTS
    }


def trained_features() -> dict[str, list[TrainedPooling]]:
    """Record `pooling-features` by pooling, seeds in order."""
    results: dict[str, list[TrainedPooling]] = {pooling: [] for pooling in POOLINGS}
    for data in load_record("pooling-features").cases.values():
        result = from_json(TrainedPooling, data)
        results[result.pooling].append(result)
    return results


def average_is_steadier() -> dict[tuple[str, str], Difference]:
    """`(other pooling, pixels)` → how much more often the average's prediction stays.

    Shares of predictions that stay when the image moves (record `pooling-features`), the average's
    minus the other's, seed by seed. All comparisons are one family.
    """
    trained = {
        pooling: sorted(runs, key=lambda run: run.seed)
        for pooling, runs in trained_features().items()
    }
    average = trained.pop("average")
    return differences(
        {
            (other, by): (
                [run.shift_agreement[by] for run in average],
                [run.shift_agreement[by] for run in runs],
            )
            for other, runs in trained.items()
            for by in average[0].shift_agreement
        }
    )


def feature_maps() -> list[FeatureMap]:
    """Record `pooling-feature-map`."""
    return [
        from_json(FeatureMap, data) for data in load_record("pooling-feature-map").cases["maps"]
    ]


def pooled_and_routed(
    feature_map: FeatureMap,
) -> tuple[dict[str, list[list[float]]], dict[str, list[list[float]]]]:
    """What each pooling makes of a feature map, and of the gradient that comes back to it."""
    before, gradient = torch.tensor(feature_map.before), torch.tensor(feature_map.gradient)
    pooled = {name: pool(before[None, None])[0, 0].tolist() for name, pool in POOLINGS.items()}
    routed = {name: route_gradient(before, gradient, name).tolist() for name in POOLINGS}
    return pooled, routed
