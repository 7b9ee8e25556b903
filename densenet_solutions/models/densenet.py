"""DenseNet with bottleneck and compression, for ImageNet and CIFAR (exercise 4), and the book's.

Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*,
arXiv:1608.06993. Module names equal torchvision's, so weights move freely in both directions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.models.config import DenseNetConfig


class DenseLayer(nn.Module):
    """One composite function `H_ℓ` of the paper: `(N, C, H, W)` → `(N, k, H, W)`.

    With a bottleneck BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3) (DenseNet-B, section 3), without it
    BN-ReLU-Conv(3x3).
    """

    __constants__ = ("drop_rate", "has_bottleneck")

    def __init__(self, in_channels: int, config: DenseNetConfig) -> None:
        super().__init__()
        k, bias, inplace = config.growth_rate, config.bias, config.inplace
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace)
        if config.bn_size is None:
            self.conv1 = nn.Conv2d(in_channels, k, 3, padding=1, bias=bias)
        else:
            width = config.bn_size * k
            self.conv1 = nn.Conv2d(in_channels, width, 1, bias=bias)
            self.norm2 = nn.BatchNorm2d(width)
            self.relu2 = nn.ReLU(inplace)
            self.conv2 = nn.Conv2d(width, k, 3, padding=1, bias=bias)
        self.has_bottleneck = config.bn_size is not None
        self.drop_rate = float(config.drop_rate)

    def bottleneck(self, x: Tensor) -> Tensor:
        """What reads the features: `(N, 4k, H, W)`; `(N, k, H, W)` without a bottleneck."""
        x = self.relu1(self.norm1(x))
        return self.conv1(x)

    def rest(self, out: Tensor) -> Tensor:
        """What follows the bottleneck: → `(N, k, H, W)`."""
        if self.has_bottleneck:
            out = self.conv2(self.relu2(self.norm2(out)))
        return nn.functional.dropout(out, self.drop_rate, self.training) if self.drop_rate else out

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.bottleneck(x))


class DenseBlock(nn.Sequential):
    """Layers that each read all earlier features: `(N, C, H, W)` → `(N, C + layers·k, H, W)`."""

    def __init__(self, num_layers: int, in_channels: int, config: DenseNetConfig) -> None:
        super().__init__()
        for i in range(num_layers):
            layer = DenseLayer(in_channels + i * config.growth_rate, config)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = torch.cat((x, layer(x)), dim=1)  # equation 2: x_ℓ = H_ℓ([x_0, …, x_{ℓ-1}])
        return x


class Transition(nn.Sequential):
    """Between two blocks: `(N, C, H, W)` → `(N, ⌊θC⌋, H/2, W/2)` (section 3, "Compression")."""

    def __init__(self, in_channels: int, out_channels: int, config: DenseNetConfig) -> None:
        super().__init__()
        stride = 2 if config.pooling == "stride" else 1
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(config.inplace)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=config.bias)
        if config.pooling != "stride":
            self.pool = nn.AvgPool2d(2) if config.pooling == "average" else nn.MaxPool2d(2)


class DenseNet(nn.Module):
    """A DenseNet of any depth: images `(N, in_channels, H, W)` → logits `(N, num_classes)`.

    The architecture is Table 1 of the paper for `stem="imagenet"`, section 4.2 for
    `stem="cifar"`; all options are in `DenseNetConfig`.

    Raises:
        TypeError, ValueError: (on the forward pass) the images do not fit the network.
    """

    def __init__(self, config: DenseNetConfig) -> None:
        super().__init__()
        if not isinstance(config, DenseNetConfig):
            raise TypeError(f"config is a DenseNetConfig, got {config!r}")
        self.config = config
        self.inplace = config.inplace
        init, bias, widths = config.num_init_features, config.bias, config.block_widths
        self.features = nn.Sequential()
        if config.stem == "imagenet":
            self.features.conv0 = nn.Conv2d(
                config.in_channels, init, 7, stride=2, padding=3, bias=bias
            )
            self.features.norm0 = nn.BatchNorm2d(init)
            self.features.relu0 = nn.ReLU(config.inplace)
            self.features.pool0 = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.features.conv0 = nn.Conv2d(config.in_channels, init, 3, padding=1, bias=bias)
        for i, num_layers in enumerate(config.block_config):
            width_in, width_out = widths[i]
            block = DenseBlock(num_layers, width_in, config)
            self.features.add_module(f"denseblock{i + 1}", block)
            if i + 1 < len(widths):
                transition = Transition(width_out, widths[i + 1][0], config)
                self.features.add_module(f"transition{i + 1}", transition)
        self.features.norm5 = nn.BatchNorm2d(config.num_features)
        self.classifier = nn.Linear(config.num_features, config.num_classes)
        if config.initialization == "he":
            self.apply(_initialize)

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            self._check(x)
        x = nn.functional.relu(self.features(x), inplace=self.inplace)  # (N, C, h, w)
        return self.classifier(x.mean(dim=(2, 3)))  # (N, num_classes)

    def _check(self, x: Tensor) -> None:
        config, last = self.config, self.features.norm5
        checks.images(
            x,
            channels=config.in_channels,
            at_least=config.minimum_resolution,
            like=checks.first_weight(self.features, self.features.get_submodule("conv0")),
        )
        if type(last) is nn.BatchNorm2d and last.training and x.shape[0] < 2:
            height, width = (config.last_resolution(side) for side in x.shape[2:])
            checks.batch_statistics(x.shape[0] * height * width, x)


def _initialize(module: nn.Module) -> None:
    """He initialization, as the paper's section 4.2 and torchvision have it."""
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # nothing to fill there
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
