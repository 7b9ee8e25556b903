"""Two wrong ways to build "DenseNet-121" that are in circulation, rebuilt to be understood.

Both are about one line. They exist here to be counted, not to be used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from densenet_solutions.measure import count_parameters
from densenet_solutions.models import TABLE_1, DenseNet, book_densenet, densenet121

_BLOCKS = TABLE_1["densenet121"].config.block_config
_GROWTH_RATE = 32


class EveryConvolutionIsAFeature(nn.Module):
    """A block that takes the 1x1 convolution for a layer: `(N, C, …)` → `(N, C + 2·layers·k, …)`.

    The bottleneck should feed the 3x3 convolution and vanish. Here its output, `k` wide, is
    concatenated too, so the block grows twice as fast as the paper's.
    """

    def __init__(self, num_layers: int, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        width = in_channels
        for kernel_size in (1, 3) * num_layers:
            self.convolutions.append(
                nn.Sequential(
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.Conv2d(width, growth_rate, kernel_size, padding=kernel_size // 2),
                )
            )
            width += growth_rate

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = torch.cat((x, convolution(x)), dim=1)  # the wrong line: every output is kept
        return x


def every_convolution_is_a_feature() -> nn.Sequential:
    """The first wrong build: one channel in, ten classes out, biases, halving transitions."""
    width = 64
    layers: list[nn.Module] = [nn.Conv2d(1, width, 7, 2, 3), nn.BatchNorm2d(width), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    for i, num_layers in enumerate(_BLOCKS, start=1):
        layers.append(EveryConvolutionIsAFeature(num_layers, width, _GROWTH_RATE))
        width += 2 * num_layers * _GROWTH_RATE
        if i < len(_BLOCKS):
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1)]
            layers.append(nn.AvgPool2d(2))
            width //= 2
    layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def no_bottleneck() -> DenseNet:
    """The second wrong build: the book's network with Table 1's numbers of layers.

    The book's block has no bottleneck, so this has 58 convolutions where DenseNet-121 has 116.
    """
    return book_densenet(block_config=_BLOCKS)


@dataclass(frozen=True)
class Mistake:
    """A build that is called DenseNet-121 and what it counts to."""

    name: str
    parameters: int
    wrong_line: str


def builds_called_densenet121() -> tuple[Mistake, ...]:
    """The right build and the two wrong ones, all with one channel and ten classes, counted."""
    with torch.device("meta"):
        rows = (
            ("the paper's", densenet121(in_channels=1, num_classes=10), "—"),
            (
                "every convolution is a feature",
                every_convolution_is_a_feature(),
                "the 1x1 convolution is k wide and its output is concatenated",
            ),
            ("no bottleneck", no_bottleneck(), "the 1x1 convolution is missing"),
        )
    return tuple(Mistake(name, count_parameters(model).total, line) for name, model, line in rows)
