"""The two networks that the book compares: its simplified DenseNet and its ResNet-18.

*Dive into Deep Learning* 1.0.3, sections 8.7 (DenseNet) and 8.6 (ResNet). Both read images of one
channel by default and have ten classes; all convolutions have biases, as in the book.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Pooling = Literal["average", "max", "stride"]


class ConvBlock(nn.Sequential):
    """BN-ReLU-Conv(3x3): `(N, C, H, W)` → `(N, k, H, W)`. No bottleneck: the book leaves it out."""

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, growth_rate, 3, padding=1)


class BookDenseBlock(nn.Sequential):
    """Convolution blocks that each read all before: `(N, C, …)` → `(N, C + layers·k, …)`."""

    def __init__(self, num_layers: int, in_channels: int, growth_rate: int) -> None:
        super().__init__(
            *(ConvBlock(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = torch.cat((x, layer(x)), dim=1)
        return x


class BookTransition(nn.Sequential):
    """BN-ReLU-Conv(1x1)-pool: `(N, C, H, W)` → `(N, C', H/2, W/2)`.

    `pooling` is `"average"` as in the book, `"max"`, or `"stride"`: the convolution itself steps
    by two and drops three positions of four. All three have the same parameters.
    """

    def __init__(self, in_channels: int, out_channels: int, pooling: Pooling = "average") -> None:
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling is one of {get_args(Pooling)}, got {pooling!r}")
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=2 if pooling == "stride" else 1)
        if pooling != "stride":
            self.pool = nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2)


class BookDenseNet(nn.Module):
    """The book's simplified DenseNet: `(N, in_channels, H, W)` → `(N, num_classes)`.

    Four dense blocks of four 3x3 convolutions each, no bottleneck; a transition halves the
    channels. 758,226 parameters with the defaults.

    Args:
        num_init_features: channels after the stem.
        growth_rate: channels each convolution adds, `k`.
        block_config: convolutions in each dense block.
        num_classes: number of outputs.
        in_channels: channels of the images.
        pooling: how transitions halve the resolution (exercise 1).

    Raises:
        ValueError: an option is impossible, or (on the forward pass) the images are.
    """

    def __init__(
        self,
        num_init_features: int = 64,
        growth_rate: int = 32,
        block_config: Sequence[int] = (4, 4, 4, 4),
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        pooling: Pooling = "average",
    ) -> None:
        super().__init__()
        if not block_config or min(block_config) < 1:
            raise ValueError(
                f"block_config holds the layers of each block, all at least 1, got {block_config!r}"
            )
        self.in_channels = in_channels
        self.features = _stem(in_channels, num_init_features)
        width = num_init_features
        for i, num_layers in enumerate(block_config, start=1):
            block = BookDenseBlock(num_layers, width, growth_rate)
            self.features.add_module(f"denseblock{i}", block)
            width += num_layers * growth_rate
            if i < len(block_config):
                transition = BookTransition(width, width // 2, pooling)
                self.features.add_module(f"transition{i}", transition)
                width //= 2
        self.features.norm = nn.BatchNorm2d(width)
        self.features.relu = nn.ReLU()
        self.classifier = nn.Linear(width, num_classes)
        self.minimum_resolution = 4 * (2 ** (len(block_config) - 1) - 1) + 1

    def forward(self, x: Tensor) -> Tensor:
        _check_images(x, self.in_channels, self.minimum_resolution)
        return self.classifier(self.features(x).mean(dim=(2, 3)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: `(N, C, H, W)` → `(N, C', H/stride, W/stride)`.

    With `project=True` the shortcut is a 1x1 convolution; it must be one where the shape changes.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, project: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride=stride) if project else nn.Identity()
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        return self.relu(out + self.shortcut(x))


class BookResNet18(nn.Module):
    """The book's ResNet-18: `(N, in_channels, H, W)` → `(N, num_classes)`.

    11,178,378 parameters with the defaults. Only the first block of stages 2 to 4 changes the
    shape, so only there is the shortcut a projection. A published solution projects in the second
    block too: `project_every_block=True` reproduces its 11,523,338.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        project_every_block: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.features = _stem(in_channels, 64)
        width = 64
        for i, stage_width in enumerate((64, 128, 256, 512), start=1):
            changes_shape = i > 1
            stage = nn.Sequential(
                ResidualBlock(
                    width, stage_width, stride=2 if changes_shape else 1, project=changes_shape
                ),
                ResidualBlock(
                    stage_width, stage_width, project=changes_shape and project_every_block
                ),
            )
            self.features.add_module(f"stage{i}", stage)
            width = stage_width
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        _check_images(x, self.in_channels, 1)
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def _stem(in_channels: int, out_channels: int) -> nn.Sequential:
    """Conv(7x7, stride 2)-BN-ReLU-MaxPool(3x3, stride 2): `(N, C, H, W)` → `(N, C', H/4, W/4)`."""
    stem = nn.Sequential()
    stem.conv0 = nn.Conv2d(in_channels, out_channels, 7, stride=2, padding=3)
    stem.norm0 = nn.BatchNorm2d(out_channels)
    stem.relu0 = nn.ReLU()
    stem.pool0 = nn.MaxPool2d(3, stride=2, padding=1)
    return stem


def _check_images(x: Tensor, channels: int, side: int) -> None:
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"images have shape (N, {channels}, H, W), got x.shape={tuple(x.shape)}")
    if min(x.shape[2:]) < side:
        raise ValueError(
            f"height and width are at least {side}, or nothing is left to pool, "
            f"got x.shape={tuple(x.shape)}"
        )
