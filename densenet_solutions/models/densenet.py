"""DenseNet with bottleneck and compression, for ImageNet and CIFAR (exercise 4).

Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*,
arXiv:1608.06993. Module names equal torchvision's, so weights move freely in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from densenet_solutions.models.config import DenseNetConfig, Stem


class DenseLayer(nn.Module):
    """One composite function `H_ℓ` of the paper: `(N, C, H, W)` → `(N, k, H, W)`.

    With a bottleneck BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3) (DenseNet-B, section 3), without it
    BN-ReLU-Conv(3x3).
    """

    def __init__(
        self, in_channels: int, growth_rate: int, *, bn_size: int | None, drop_rate: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        if bn_size is None:
            self.conv1 = nn.Conv2d(in_channels, growth_rate, 3, padding=1, bias=False)
        else:
            width = bn_size * growth_rate
            self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)
            self.relu2 = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(width, growth_rate, 3, padding=1, bias=False)
        self.has_bottleneck = bn_size is not None
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.relu1(self.norm1(x)))  # (N, 4k, H, W), or (N, k, H, W) at once
        if self.has_bottleneck:
            out = self.conv2(self.relu2(self.norm2(out)))  # (N, k, H, W)
        return nn.functional.dropout(out, self.drop_rate, self.training) if self.drop_rate else out


class DenseBlock(nn.Sequential):
    """Layers that each read all earlier features: `(N, C, H, W)` → `(N, C + layers·k, H, W)`."""

    def __init__(
        self,
        num_layers: int,
        in_channels: int,
        growth_rate: int,
        *,
        bn_size: int | None,
        drop_rate: float,
    ) -> None:
        super().__init__()
        for i in range(num_layers):
            width = in_channels + i * growth_rate
            layer = DenseLayer(width, growth_rate, bn_size=bn_size, drop_rate=drop_rate)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = torch.cat((x, layer(x)), dim=1)  # equation 2: x_ℓ = H_ℓ([x_0, …, x_{ℓ-1}])
        return x


class Transition(nn.Sequential):
    """Between two blocks: `(N, C, H, W)` → `(N, ⌊θC⌋, H/2, W/2)` (section 3, "Compression")."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)


class DenseNet(nn.Module):
    """A DenseNet of any depth: images `(N, in_channels, H, W)` → logits `(N, num_classes)`.

    The options are those of `DenseNetConfig`; the defaults are DenseNet-121. The architecture is
    Table 1 of the paper for `stem="imagenet"`, section 4.2 for `stem="cifar"`. Weights start as
    in He et al. (arXiv:1502.01852).

    Args:
        growth_rate: channels each layer adds, `k` in the paper.
        block_config: number of layers in each dense block.
        num_init_features: channels after the stem.
        bn_size: bottleneck width in multiples of `k`; `None` for no bottleneck.
        drop_rate: dropout probability after each layer, in [0, 1).
        num_classes: number of outputs.
        compression: share of channels a transition keeps, `θ` in the paper, in (0, 1].
        in_channels: channels of the images.
        stem: `"imagenet"` or `"cifar"`.

    Raises:
        TypeError, ValueError: an option is impossible (on construction), or the images have the
            wrong shape (on the forward pass).
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int | None = 4,
        drop_rate: float = 0.0,
        num_classes: int = 1000,
        *,
        compression: float = 0.5,
        in_channels: int = 3,
        stem: Stem = "imagenet",
    ) -> None:
        super().__init__()
        self.config = config = DenseNetConfig(
            growth_rate=growth_rate,
            block_config=block_config,  # type: ignore[arg-type]  # made a tuple and checked there
            num_init_features=num_init_features,
            bn_size=bn_size,
            compression=compression,
            drop_rate=drop_rate,
            num_classes=num_classes,
            in_channels=in_channels,
            stem=stem,
        )
        self.features = nn.Sequential()
        if stem == "imagenet":
            self.features.conv0 = nn.Conv2d(
                in_channels, num_init_features, 7, stride=2, padding=3, bias=False
            )
            self.features.norm0 = nn.BatchNorm2d(num_init_features)
            self.features.relu0 = nn.ReLU(inplace=True)
            self.features.pool0 = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.features.conv0 = nn.Conv2d(
                in_channels, num_init_features, 3, padding=1, bias=False
            )
        widths = config.block_widths
        for i, (layers, (width_in, width_out)) in enumerate(
            zip(config.block_config, widths, strict=True), start=1
        ):
            block = DenseBlock(layers, width_in, growth_rate, bn_size=bn_size, drop_rate=drop_rate)
            self.features.add_module(f"denseblock{i}", block)
            if i < len(widths):
                self.features.add_module(f"transition{i}", Transition(width_out, widths[i][0]))
        self.features.norm5 = nn.BatchNorm2d(config.num_features)
        self.classifier = nn.Linear(config.num_features, num_classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        self._check_images(x)
        features = nn.functional.relu(self.features(x), inplace=True)  # (N, C, H/32, W/32)
        return self.classifier(features.mean(dim=(2, 3)))  # (N, num_classes)

    def _check_images(self, x: Tensor) -> None:
        channels, side = self.config.in_channels, self.config.minimum_resolution
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(
                f"images have shape (N, {channels}, H, W), got x.shape={tuple(x.shape)}"
            )
        if min(x.shape[2:]) < side:
            raise ValueError(
                f"{len(self.config.block_config)} blocks after the {self.config.stem} stem halve "
                f"the image until nothing is left: height and width are at least {side}, "
                f"got x.shape={tuple(x.shape)}"
            )


def _initialise(module: nn.Module) -> None:
    """He initialisation, as the paper's section 4.2 and torchvision have it."""
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # nothing to fill there
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


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
    """DenseNet-121: 7,978,856 parameters with the defaults. Options as for `DenseNet`."""
    return _from_table("densenet121", options)


def densenet161(**options: Any) -> DenseNet:
    """DenseNet-161 (`k = 48`, stem of 96): 28,681,000 parameters. Options as for `DenseNet`."""
    return _from_table("densenet161", options)


def densenet169(**options: Any) -> DenseNet:
    """DenseNet-169: 14,149,480 parameters with the defaults. Options as for `DenseNet`."""
    return _from_table("densenet169", options)


def densenet201(**options: Any) -> DenseNet:
    """DenseNet-201: 20,013,928 parameters with the defaults. Options as for `DenseNet`."""
    return _from_table("densenet201", options)


def densenet264(**options: Any) -> DenseNet:
    """DenseNet-264: 33,337,704 parameters with the defaults. Options as for `DenseNet`."""
    return _from_table("densenet264", options)


def _from_table(name: str, options: dict[str, Any]) -> DenseNet:
    row = TABLE_1[name].config
    defaults: dict[str, Any] = {
        "growth_rate": row.growth_rate,
        "block_config": row.block_config,
        "num_init_features": row.num_init_features,
    }
    return DenseNet(**(defaults | options))


def cifar_config(
    depth: int,
    growth_rate: int,
    *,
    bottleneck: bool,
    compression: float | None = None,
    num_classes: int = 10,
    drop_rate: float = 0.0,
    in_channels: int = 3,
) -> DenseNetConfig:
    """Configuration of a CIFAR DenseNet by its depth `L` and growth rate `k` (section 4.2).

    Three equal blocks; `L = 3n + 4`, or `L = 6n + 4` with bottlenecks. The stem has 16 channels,
    or `2k` for DenseNet-BC. `compression=None` means 0.5 with bottleneck and 1 without.

    Raises:
        ValueError: the depth does not divide into three equal blocks.

    >>> cifar_config(100, 12, bottleneck=True).block_config
    (16, 16, 16)
    """
    convolutions = 2 if bottleneck else 1
    layers, rest = divmod(depth - 4, 3 * convolutions)
    if rest or layers < 1:
        raise ValueError(
            f"a CIFAR DenseNet {'with' if bottleneck else 'without'} bottleneck has depth "
            f"{3 * convolutions}n + 4 with n at least 1, got depth={depth!r}"
        )
    if compression is None:
        compression = 0.5 if bottleneck else 1.0
    return DenseNetConfig(
        growth_rate=growth_rate,
        block_config=(layers,) * 3,
        num_init_features=2 * growth_rate if bottleneck and compression < 1 else 16,
        bn_size=4 if bottleneck else None,
        compression=compression,
        drop_rate=drop_rate,
        num_classes=num_classes,
        in_channels=in_channels,
        stem="cifar",
    )


def cifar_densenet(
    depth: int,
    growth_rate: int,
    *,
    bottleneck: bool,
    compression: float | None = None,
    num_classes: int = 10,
    drop_rate: float = 0.0,
    in_channels: int = 3,
) -> DenseNet:
    """A CIFAR DenseNet of Table 2: images `(N, 3, 32, 32)` → `(N, num_classes)`.

    Arguments and errors as for `cifar_config`.
    """
    return from_config(
        cifar_config(
            depth,
            growth_rate,
            bottleneck=bottleneck,
            compression=compression,
            num_classes=num_classes,
            drop_rate=drop_rate,
            in_channels=in_channels,
        )
    )


def from_config(config: DenseNetConfig) -> DenseNet:
    """Build the network that `config` describes."""
    options: dict[str, Any] = asdict(config)
    return DenseNet(**options)


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


def load_torchvision_weights(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load weights that torchvision published, under their old spelling or the new one.

    The files on torchvision's server say `denselayer1.norm.1.weight` where the module has been
    called `norm1` since; both are taken.

    Raises:
        RuntimeError: after renaming, keys or shapes still do not fit the model.
    """
    renamed = {
        re.sub(r"\.(norm|relu|conv)\.(\d)\.", r".\1\2.", key): tensor
        for key, tensor in state_dict.items()
    }
    model.load_state_dict(renamed, strict=True)
