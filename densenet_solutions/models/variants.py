"""Every DenseNet with a name: Tables 1 and 2 of the paper (arXiv:1608.06993), and the book's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from densenet_solutions import checks
from densenet_solutions.models.config import DenseNetConfig, Pooling
from densenet_solutions.models.densenet import DenseNet


@dataclass(frozen=True)
class Variant:
    """One row of a published table: a configuration and what was printed or counted for it.

    `parameters` is recounted by a test. `top1_error` and `top5_error` are percentages, single
    crop, from the paper's Table 3 (`None` where it has no row).
    """

    name: str
    config: DenseNetConfig
    parameters: int
    top1_error: float | None = None
    top5_error: float | None = None
    printed_parameters: str | None = None
    torchvision_weights: str | None = None

    def build(self, **options: Any) -> DenseNet:
        """The network of this row; `options` are those of `DenseNetConfig`.

        Raises:
            TypeError: there is no such option.
            ValueError: an option has an impossible value.
        """
        known = [one.name for one in fields(DenseNetConfig)]
        for name in options:
            if name not in known:
                raise TypeError(
                    f"options of a DenseNet are {', '.join(known)}; got {name}. (Weights come by "
                    "load_densenet_weights.)"
                )
        return DenseNet(replace(self.config, **options))


def _table(*rows: Variant) -> Mapping[str, Variant]:
    return MappingProxyType({row.name: row for row in rows})


#: The ImageNet networks of Table 1. DenseNet-161 stands in the paper's earlier versions.
TABLE_1 = _table(
    Variant(
        "densenet121", DenseNetConfig(block_config=(6, 12, 24, 16)), 7_978_856, 25.02, 7.71,
        torchvision_weights="DenseNet121_Weights",
    ),
    Variant(
        "densenet169", DenseNetConfig(block_config=(6, 12, 32, 32)), 14_149_480, 23.80, 6.85,
        torchvision_weights="DenseNet169_Weights",
    ),
    Variant(
        "densenet201", DenseNetConfig(block_config=(6, 12, 48, 32)), 20_013_928, 22.58, 6.34,
        torchvision_weights="DenseNet201_Weights",
    ),
    Variant(
        "densenet264", DenseNetConfig(block_config=(6, 12, 64, 48)), 33_337_704, 22.15, 6.12,
    ),
    Variant(
        "densenet161",
        DenseNetConfig(growth_rate=48, block_config=(6, 12, 36, 24), num_init_features=96),
        28_681_000,
        torchvision_weights="DenseNet161_Weights",
    ),
)  # fmt: skip


def densenet121(**options: Any) -> DenseNet:
    """DenseNet-121: 7,978,856 parameters with the defaults. Options: `DenseNetConfig`."""
    return TABLE_1["densenet121"].build(**options)


def densenet161(**options: Any) -> DenseNet:
    """DenseNet-161 (`k = 48`, stem of 96): 28,681,000 parameters. Options: `DenseNetConfig`."""
    return TABLE_1["densenet161"].build(**options)


def densenet169(**options: Any) -> DenseNet:
    """DenseNet-169: 14,149,480 parameters with the defaults. Options: `DenseNetConfig`."""
    return TABLE_1["densenet169"].build(**options)


def densenet201(**options: Any) -> DenseNet:
    """DenseNet-201: 20,013,928 parameters with the defaults. Options: `DenseNetConfig`."""
    return TABLE_1["densenet201"].build(**options)


def densenet264(**options: Any) -> DenseNet:
    """DenseNet-264: 33,337,704 parameters with the defaults. Options: `DenseNetConfig`."""
    return TABLE_1["densenet264"].build(**options)


#: The book's simplified DenseNet (*Dive into Deep Learning* 1.0.3, section 8.7).
BOOK = Variant(
    "book-densenet",
    DenseNetConfig(
        block_config=(4, 4, 4, 4), bn_size=None, num_classes=10, in_channels=1,
        bias=True, inplace=False, initialization="torch",
    ),
    758_226,
)  # fmt: skip


def book_densenet(pooling: Pooling = "average", **options: Any) -> DenseNet:
    """The book's DenseNet: images `(N, 1, H, W)` → `(N, 10)`; 758,226 parameters.

    Four blocks of four layers, no bottleneck, and PyTorch's defaults: biases, its initialization,
    ReLU into new memory. Options as for `DenseNetConfig`.
    """
    return BOOK.build(pooling=pooling, **options)


def cifar_config(
    depth: int, growth_rate: int, *, bottleneck: bool, **options: Any
) -> DenseNetConfig:
    """Configuration of a CIFAR DenseNet by its depth `L` and growth rate `k` (section 4.2).

    Three equal blocks; `L = 3n + 4`, or `L = 6n + 4` with bottlenecks. Transitions compress to a
    half with bottleneck, not at all without. The stem has 16 channels, or `2k` for DenseNet-BC.
    Further options as for `DenseNetConfig`.

    Raises:
        ValueError: the depth does not divide into three equal blocks.

    Examples:
        >>> cifar_config(100, 12, bottleneck=True).block_config
        (16, 16, 16)
    """
    depth = checks.integer("depth", depth)
    growth_rate = checks.integer("growth_rate", growth_rate)
    convolutions = 2 if checks.flag("bottleneck", bottleneck) else 1
    layers, rest = divmod(depth - 4, 3 * convolutions)
    if rest or layers < 1:
        raise ValueError(
            f"a CIFAR DenseNet {'with' if bottleneck else 'without'} bottleneck has depth "
            f"{3 * convolutions}n + 4 with n at least 1, got depth={depth!r}"
        )
    compression = options.pop("compression", 0.5 if bottleneck else 1.0)
    compresses = checks.share("compression", compression, zero=False) < 1
    defaults = {
        "num_init_features": 2 * growth_rate if bottleneck and compresses else 16,
        "bn_size": 4 if bottleneck else None,
        "num_classes": 10,
        "stem": "cifar",
    }
    return DenseNetConfig(
        growth_rate=growth_rate,
        block_config=(layers,) * 3,
        compression=compression,
        **(defaults | options),
    )


def cifar_densenet(depth: int, growth_rate: int, *, bottleneck: bool, **options: Any) -> DenseNet:
    """A CIFAR DenseNet of Table 2: images `(N, 3, 32, 32)` → `(N, 10)`; see `cifar_config`."""
    return DenseNet(cifar_config(depth, growth_rate, bottleneck=bottleneck, **options))


#: The CIFAR-10 networks of Table 2, with the number of parameters as the paper prints it.
TABLE_2 = _table(
    Variant("L=40, k=12", cifar_config(40, 12, bottleneck=False), 1_019_722,
            printed_parameters="1.0M"),
    Variant("L=100, k=12", cifar_config(100, 12, bottleneck=False), 6_979_642,
            printed_parameters="7.0M"),
    Variant("L=100, k=24", cifar_config(100, 24, bottleneck=False), 27_249_082,
            printed_parameters="27.2M"),
    Variant("BC, L=100, k=12", cifar_config(100, 12, bottleneck=True), 769_162,
            printed_parameters="0.8M"),
    Variant("BC, L=250, k=24", cifar_config(250, 24, bottleneck=True), 15_324_406,
            printed_parameters="15.3M"),
    Variant("BC, L=190, k=40", cifar_config(190, 40, bottleneck=True), 25_624_430,
            printed_parameters="25.6M"),
)  # fmt: skip
