"""Exercise 1, what needs trained networks: how their features pool, and what disturbs them.

The networks are those of `training`, taken from their checkpoints where there are any.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad, relu, unfold

from densenet_solutions.exercises.pooling.aliasing import HALF_SHIFTS, POOLS, half_shift_error
from densenet_solutions.exercises.pooling.gradients import (
    POOLINGS,
    GradientReach,
    gradient_reach,
)
from densenet_solutions.exercises.pooling.training import TrainingCase, cases, trained
from densenet_solutions.images import CLASSES, as_inputs, load_fashion_mnist
from densenet_solutions.models import DenseNet, book_densenet
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class Moments:
    """Mean, variance and skewness of pooled values whose inputs have mean 0 and variance 1."""

    pooling: str
    mean: float
    variance: float
    skewness: float


@dataclass(frozen=True)
class PooledFeatures:
    """The three poolings on the same convolution outputs of a trained network's transition.

    `negative` is the share of inputs below zero, `mixed` that of windows with inputs on both sides
    of it, and `cancelled` what opposite signs take from the sum of absolute values, as a share: one
    less Σ|sum of a window| / Σ|input|. All other values are means over channels.
    `neighbour_correlation` is between the inputs of a window,
    `moments` of pooled values after each channel was standardised before pooling,
    `explained` the share of the inputs' variance that the best linear reconstruction from the
    pooled value recovers, and `aliasing` the `half_shift_error`, by interpolation and pooling.
    """

    transition: str
    negative: float
    mixed: float
    cancelled: float
    neighbour_correlation: float
    moments: tuple[Moments, ...]
    explained: Mapping[str, float]
    aliasing: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class TrainedPooling:
    """What a trained network does with disturbed images, and how its features pool.

    `shift_agreement`: pixels → share of images whose predicted class stays when they move right.
    `reach` is that of the trained network, `fresh` that of the seed's before training, one for each
    of the first batches.
    """

    pooling: str
    seed: int
    images: int
    shift_agreement: Mapping[str, float]
    reach: tuple[GradientReach, ...]
    fresh: tuple[GradientReach, ...]
    transitions: tuple[PooledFeatures, ...]


@dataclass(frozen=True)
class FeatureMap:
    """One channel at the first transition of a trained network, and the gradient that comes back.

    `before` is the convolution's output `(H, W)`, `gradient` that of the loss with respect to the
    pooled map `(H/2, W/2)`.
    """

    image: tuple[tuple[int, ...], ...]
    label: str
    channel: int
    before: tuple[tuple[float, ...], ...]
    gradient: tuple[tuple[float, ...], ...]


_SHIFTS = (1, 2, 3, 4)  # pixels of the 32x32 image; the stem halves the resolution twice
_BATCHES, _BATCH = 4, 64  # test images whose gradient is followed


def map_recipe() -> Recipe:
    """`pooling-feature-map`: three channels of a trained network with their gradients."""
    return Recipe("pooling-feature-map", {"maps": "average-0"}, feature_maps, seed=0)


def feature_maps(case: str, device: str) -> list[FeatureMap]:
    """Feature maps of one test image at the first transition of a network with average pooling.

    Channels are chosen by a rule: the three of largest variance among those that are negative in a
    quarter to three quarters of their positions.
    """
    model, _ = trained(cases()[case], device)
    images = load_fashion_mnist("test")
    chosen = int((images.labels == CLASSES.index("Ankle boot")).nonzero()[0])
    x = as_inputs(images.pixels[chosen : chosen + 1], 32)
    maps: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        output.retain_grad()
        maps["before"], maps["after"] = inputs[0].detach(), output

    hook = model.get_submodule("features.transition1.pool").register_forward_hook(keep)
    cross_entropy(model.eval()(x), images.labels[chosen : chosen + 1]).backward()
    hook.remove()
    before, gradient = maps["before"][0], cast(Tensor, maps["after"].grad)[0]
    both_signs = (before < 0).flatten(1).double().mean(dim=1).sub(0.5).abs() < 0.25
    order = torch.where(both_signs, before.flatten(1).var(dim=1), -1).argsort(descending=True)
    return [
        FeatureMap(
            image=tuple(map(tuple, images.pixels[chosen, 0].tolist())),
            label=CLASSES[int(images.labels[chosen])],
            channel=channel,
            before=_rounded(before[channel]),
            gradient=_rounded(gradient[channel]),
        )
        for channel in order[:3].tolist()
    ]


def _rounded(values: Tensor, digits: int = 4) -> tuple[tuple[float, ...], ...]:
    scale = float(values.abs().max())
    places = digits - 1 - int(np.floor(np.log10(scale)))
    return tuple(tuple(round(value, places) for value in row) for row in values.tolist())


def features_recipe() -> Recipe:
    """`pooling-features`: what the trained networks do."""
    return Recipe("pooling-features", cases(), measure_features, seed=0)


def measure_features(case: TrainingCase, device: str) -> TrainedPooling:
    """Disturb the images of a trained network, and pool its features in all three ways."""
    model = cast(DenseNet, trained(case, device)[0])
    images = load_fashion_mnist("test")
    x = as_inputs(images.pixels, case.settings.resolution)
    seen = _classes(model, x)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.settings.seed)
        fresh = book_densenet(pooling=case.pooling)

    def reach(network: DenseNet) -> tuple[GradientReach, ...]:
        batches = zip(x.split(_BATCH), images.labels.split(_BATCH), strict=True)
        return tuple(
            gradient_reach(network, batch.clone(), labels, pooling=case.pooling)
            for batch, labels in itertools.islice(batches, _BATCHES)
        )

    return TrainedPooling(
        pooling=case.pooling,
        seed=case.settings.seed,
        images=len(images),
        shift_agreement={
            str(shift): _share(_classes(model, shifted(x, shift)) == seen) for shift in _SHIFTS
        },
        transitions=tuple(
            pooled_features(name, outputs)
            for name, outputs in _convolution_outputs(model, x[:256]).items()
        ),
        reach=reach(model),
        fresh=reach(fresh),
    )


def shifted(x: Tensor, pixels: int) -> Tensor:
    """Move images `(N, C, H, W)` to the right; black comes in from the left."""
    return pad(x, (pixels, 0))[..., : x.shape[-1]]


@torch.no_grad()
def _classes(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([model.eval()(part).argmax(dim=1) for part in x.split(250)])


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


@torch.no_grad()
def _convolution_outputs(model: DenseNet, x: Tensor) -> dict[str, Tensor]:
    """Full-resolution outputs of the first two transitions' convolutions, whatever their stride."""
    outputs = {}
    model.eval()
    for name, module in model.features.named_children():
        if name in ("transition1", "transition2"):
            norm, conv = module.get_submodule("norm"), module.get_submodule("conv")
            weight, bias = cast(Tensor, conv.weight), cast(Tensor, conv.bias)
            outputs[name] = nn.functional.conv2d(relu(norm(x)), weight, bias)
        x = module(x)
    return outputs


@torch.no_grad()
def pooled_features(transition: str, features: Tensor) -> PooledFeatures:
    """Statistics of convolution outputs `(N, C, H, W)` under the three poolings.

    The channels are standardised first; everything is then averaged over them.
    """
    x = features.double()
    signs = opposite_signs(x)
    x = (x - _channel_mean(x)) / (x - _channel_mean(x)).pow(2).mean((0, 2, 3), keepdim=True).sqrt()
    n, channels, _, _ = x.shape
    windows = unfold(x, 2, stride=2).reshape(n, channels, 4, -1)  # the four inputs of each window
    windows = windows.permute(1, 2, 0, 3).flatten(2)  # (C, 4, windows)
    correlations = torch.stack([channel.corrcoef() for channel in windows])  # (C, 4, 4)
    return PooledFeatures(
        transition=transition,
        **signs,
        neighbour_correlation=float(correlations[:, ~torch.eye(4, dtype=torch.bool)].mean()),
        moments=tuple(_moments(name, pool(x)) for name, pool in POOLINGS.items()),
        explained={name: _explained(pool(x), windows) for name, pool in POOLINGS.items()},
        aliasing={
            way: {name: half_shift_error(x, pool, shift) for name, pool in POOLS.items()}
            for way, shift in HALF_SHIFTS.items()
        },
    )


def opposite_signs(x: Tensor) -> dict[str, float]:
    """`negative`, `mixed` and `cancelled` of `PooledFeatures`, of inputs `(N, C, H, W)`."""
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)  # (N, C, H/2, W/2, 4)
    return {
        "negative": _share(x < 0),
        "mixed": _share((windows.amin(dim=-1) < 0) & (windows.amax(dim=-1) > 0)),
        "cancelled": 1 - float(windows.sum(dim=-1).abs().sum() / windows.abs().sum()),
    }


def _channel_mean(x: Tensor) -> Tensor:
    return x.mean(dim=(0, 2, 3), keepdim=True)


def _moments(pooling: str, pooled: Tensor) -> Moments:
    centred = pooled - _channel_mean(pooled)
    variance, third = (centred.pow(power).mean(dim=(0, 2, 3)) for power in (2, 3))
    skewness = (third / variance**1.5).mean()
    return Moments(pooling, float(pooled.mean()), float(variance.mean()), float(skewness))


def _explained(pooled: Tensor, windows: Tensor) -> float:
    """Mean squared correlation of a pooled value with its four inputs `(C, 4, windows)`."""
    values = pooled.permute(1, 0, 2, 3).flatten(1)  # (C, windows)
    shares = [
        torch.cat((value[None], four)).corrcoef()[0, 1:] ** 2
        for value, four in zip(values, windows, strict=True)
    ]
    return float(torch.stack(shares).mean())
