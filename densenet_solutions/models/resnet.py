"""The book's ResNet-18, with which it compares its DenseNet.

*Dive into Deep Learning* 1.0.3, section 8.6; He et al., arXiv:1512.03385. Module names equal
torchvision's. All convolutions have biases and projections are not normalized, as in the book.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densenet_solutions import checks


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: `(N, C, H, W)` → `(N, C', H/stride, W/stride)`.

    With `project=True` the shortcut is a 1x1 convolution; it must be one where the shape changes.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, project: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Sequential()  # the identity
        if project:
            self.downsample.append(nn.Conv2d(in_channels, out_channels, 1, stride=stride))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.downsample(x))


class ResNet18(nn.Module):
    """Made by `book_resnet18`: a stem, eight residual blocks, a classifier."""

    def __init__(self, num_classes: int, in_channels: int, project_every_block: bool) -> None:
        super().__init__()
        checks.integer("num_classes", num_classes)
        checks.integer("in_channels", in_channels)
        checks.flag("project_every_block", project_every_block)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64), ResidualBlock(64, 64))
        self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                ResidualBlock(width // 2, width, stride=2, project=True),
                ResidualBlock(width, width, project=project_every_block),
            )
            for width in (128, 256, 512)
        )
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            self._check(x)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        x = self.layer2(self.layer1(x))  # (N, 128, H/8, W/8)
        x = self.layer4(self.layer3(x))  # (N, 512, H/32, W/32)
        return self.fc(x.mean(dim=(2, 3)))  # (N, num_classes)

    def _check(self, x: Tensor) -> None:
        checks.images(x, channels=self.conv1.in_channels, like=checks.first_weight(self.conv1))
        if self.bn1.training and x.shape[0] < 2:
            height, width = (-(-side // 32) for side in x.shape[2:])
            checks.batch_statistics(x.shape[0] * height * width, x)


def book_resnet18(
    project_every_block: bool = False, *, num_classes: int = 10, in_channels: int = 1
) -> ResNet18:
    """The book's ResNet-18: images `(N, 1, H, W)` → `(N, 10)`; 11,178,378 parameters.

    Only the first block of stages 2 to 4 changes the shape, so only there is the shortcut a
    projection. A published solution projects in the second block too: `project_every_block=True`
    reproduces its 11,523,338.

    Raises:
        TypeError, ValueError: an option is impossible, or (on the forward pass) the images are.
    """
    return ResNet18(num_classes, in_channels, project_every_block)
