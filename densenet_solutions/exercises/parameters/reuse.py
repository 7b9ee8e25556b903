"""Which earlier features does a layer read? The picture of figure 5 of the paper (exercise 2).

`load_feature_reuse()` gives the recorded result, `reuse_pictures.heat_maps(result.trained)`
draws it; `feature_reuse(model)` measures any DenseNet of the package.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from densenet_solutions.files import cache_directory
from densenet_solutions.images import load_fashion_mnist
from densenet_solutions.models import DenseNet, cifar_densenet
from densenet_solutions.models.densenet import DenseBlock
from densenet_solutions.records.closure import fingerprint, root
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.records.serialise import from_json
from densenet_solutions.records.store import load_record
from densenet_solutions.training import TrainingResult, TrainingSettings, train


@dataclass(frozen=True)
class BlockReuse:
    """How strongly the convolutions of one dense block read what was computed before.

    `weights[s][r]` is the mean absolute weight that reader `r` puts on source `s`, `None` where
    the source comes after the reader. The first source is the block's input, the last reader is
    what follows the block: a transition or the classifier.
    """

    block: str
    sources: tuple[str, ...]
    readers: tuple[str, ...]
    weights: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class FeatureReuse:
    """`BlockReuse` of every block of a trained network, and of the same network untrained."""

    network: str
    training: TrainingResult
    trained: tuple[BlockReuse, ...]
    untrained: tuple[BlockReuse, ...]


#: Weight decay is strong, as the training is short: what is not needed must have time to fade.
SETTINGS = TrainingSettings(
    epochs=4,
    batch_size=64,
    resolution=16,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=5e-3,
    schedule="cosine",
)
TRAIN_IMAGES = 5000


def feature_reuse(model: DenseNet) -> tuple[BlockReuse, ...]:
    """Mean absolute weight from every layer of a block to every later one, block by block.

    The weights are those of the convolution that reads the concatenated features (the 1x1 of a
    bottleneck layer), and of the transition or the classifier after the block. As in the paper,
    the scale that the batch normalisation before it gives a feature is not counted in.

    Raises:
        TypeError: the model has no dense blocks of this package.
    """
    if not isinstance(model, DenseNet):
        raise TypeError(f"feature reuse is read off a DenseNet, got {type(model).__name__}")
    parts = dict(model.features.named_children())
    blocks = []
    for name, block in parts.items():
        if not isinstance(block, DenseBlock):
            continue
        after = parts.get(name.replace("denseblock", "transition"))
        last = model.classifier if after is None else after.get_submodule("conv")
        readers = [*(_first_convolution(layer) for layer in block), last]
        blocks.append(_block_reuse(name, [cast(Tensor, reader.weight) for reader in readers]))
    return tuple(blocks)


def _first_convolution(layer: nn.Module) -> nn.Module:
    return next(module for module in layer.modules() if isinstance(module, nn.Conv2d))


def _block_reuse(name: str, readers: list[Tensor]) -> BlockReuse:
    """`readers` are weights `(outputs, C_ℓ, ...)`, reading one source more each."""
    edges = [0, *(reader.shape[1] for reader in readers)]  # source s has channels edges[s:s+2]
    columns: list[list[float | None]] = []
    for latest, reader in enumerate(readers):
        by_channel = reader.detach().abs().transpose(0, 1).flatten(1).mean(dim=1)  # (C_ℓ,)
        column: list[float | None] = [
            round(float(by_channel[start:end].mean()), 6)
            for start, end in pairwise(edges[: latest + 2])
        ]
        columns.append(column + [None] * (len(readers) - len(column)))
    layers = tuple(f"layer {i}" for i in range(1, len(readers)))
    following = "classifier" if readers[-1].ndim == 2 else "transition"
    return BlockReuse(
        block=name,
        sources=("input", *layers),
        readers=(*layers, following),
        weights=tuple(zip(*columns, strict=True)),
    )


def recipe() -> Recipe:
    """`feature-reuse`: train a small DenseNet of the paper's CIFAR kind on Fashion-MNIST."""
    return Recipe(
        name="feature-reuse",
        cases={"cifar-densenet-22-12": SETTINGS},
        measure=measure,
        seed=SETTINGS.seed,
    )


def measure(settings: TrainingSettings, device: str) -> FeatureReuse:
    """Train `L = 22, k = 12` without bottleneck, and compare its weights with the initial ones."""
    untrained: list[DenseNet] = []

    def build() -> nn.Module:
        model = cifar_densenet(22, 12, bottleneck=False, in_channels=1)
        untrained.append(copy.deepcopy(model))
        return model

    code = fingerprint([root(measure)])[:12]
    folder = cache_directory() / "training" / code / torch.device(device).type
    model, result = train(
        build,
        load_fashion_mnist("train", limit=TRAIN_IMAGES),
        load_fashion_mnist("test"),
        settings,
        device=device,
        checkpoint=folder / "cifar-densenet-22-12.pt",
        test_every_epoch=False,
    )
    return FeatureReuse(
        network="DenseNet, L = 22, k = 12, CIFAR stem, without bottleneck",
        training=result,
        trained=feature_reuse(cast(DenseNet, model)),
        untrained=feature_reuse(untrained[0]),
    )


def load_feature_reuse() -> FeatureReuse:
    """The recorded result (record `feature-reuse`)."""
    return from_json(FeatureReuse, load_record("feature-reuse").cases["cifar-densenet-22-12"])
