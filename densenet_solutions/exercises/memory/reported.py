"""DenseNets whose memory people measured on real GPUs, beside prediction and simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torchvision
from torch import nn

from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import cifar_densenet
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class PublishedPeak:
    """What somebody published, and where; `said` is the number as printed, mostly nvidia-smi's."""

    where: str
    link: str
    setting: str
    said: str
    megabytes: float
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A published peak beside what tensors hold and what the caching allocator would reserve."""

    where: str
    link: str
    setting: str
    said: str
    megabytes: float
    tensor_bytes: int
    reserved_bytes: int


def _densenet_bc() -> nn.Module:
    return cifar_densenet(100, 12, bottleneck=True)


def _recomputed_densenet_bc() -> nn.Module:
    return STRATEGIES["recompute_bottleneck_input"].apply(_densenet_bc())


_VISION = ("torchvision, pull request 797", "https://github.com/pytorch/vision/pull/797")
_PLEISS = ("gpleiss", "https://github.com/gpleiss/efficient_densenet_pytorch")
_WU = ("felixgwu, issue 7", "https://github.com/felixgwu/img_classification_pk_pytorch/issues/7")

PUBLISHED = (
    PublishedPeak(
        *_VISION, "DenseNet-121, 8 × 224²", "1,668 MB", 1668,
        torchvision.models.densenet121, (8, 3, 224, 224),
    ),
    PublishedPeak(
        *_VISION, "the same, `memory_efficient`", "1,115 MB", 1115,
        lambda: torchvision.models.densenet121(memory_efficient=True), (8, 3, 224, 224),
    ),
    PublishedPeak(
        *_PLEISS, "DenseNet-BC (100, 12), 64 × 32²", "2.863 GB", 2863,
        _densenet_bc, (64, 3, 32, 32),
    ),
    PublishedPeak(
        *_PLEISS, "the same, efficient", "1.605 GB", 1605,
        _recomputed_densenet_bc, (64, 3, 32, 32),
    ),
    PublishedPeak(
        *_WU, "DenseNet-BC (100, 12), 128 × 32²", "about 5.0 GB", 5000,
        _densenet_bc, (128, 3, 32, 32),
    ),
)  # fmt: skip


def compared(index: int, device: str = "cpu") -> Compared:
    """Predict a published step, with SGD and momentum, as on a GPU; `device` does not matter."""
    peak = PUBLISHED[index]
    result = predict_memory(peak.build, peak.shape, optimizer="sgd_momentum", device="cuda")
    assert result.reserved_bytes is not None
    return Compared(
        where=peak.where,
        link=peak.link,
        setting=peak.setting,
        said=peak.said,
        megabytes=peak.megabytes,
        tensor_bytes=result.peak_bytes,
        reserved_bytes=result.reserved_bytes,
    )


def recipe() -> Recipe:
    """Recipe `memory-reported`: every published step, predicted."""
    return Recipe(
        name="memory-reported",
        cases={f"{row.where}: {row.setting}": i for i, row in enumerate(PUBLISHED)},
        measure=compared,
        uses=lambda index: STRATEGIES["recompute_bottleneck_input"].functions,
    )
