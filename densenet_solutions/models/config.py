"""What a DenseNet is made of, as data: options, their rules, and the widths that follow from them.

Standard library only, so that a drawing or a closed form can be made without building a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Stem = Literal["imagenet", "cifar"]


@dataclass(frozen=True, kw_only=True)
class DenseNetConfig:
    """The options of a DenseNet (Huang et al., arXiv:1608.06993); the defaults are DenseNet-121.

    Args:
        growth_rate: channels each layer adds, `k` in the paper.
        block_config: number of layers in each dense block.
        num_init_features: channels after the stem.
        bn_size: width of the bottleneck in multiples of `growth_rate` (4 in the paper);
            `None` leaves the bottleneck out.
        compression: share of its channels a transition keeps, `θ` in the paper, in (0, 1].
        drop_rate: probability that dropout zeroes an output of a layer, in [0, 1).
        num_classes: number of outputs.
        in_channels: channels of the images.
        stem: `"imagenet"` (7x7 convolution of stride 2, then 3x3 max pooling of stride 2) or
            `"cifar"` (one 3x3 convolution, full resolution).

    Raises:
        TypeError: an option has the wrong type.
        ValueError: an option has an impossible value; the message states the rule and the value.
    """

    growth_rate: int = 32
    block_config: tuple[int, ...] = (6, 12, 24, 16)
    num_init_features: int = 64
    bn_size: int | None = 4
    compression: float = 0.5
    drop_rate: float = 0.0
    num_classes: int = 1000
    in_channels: int = 3
    stem: Stem = "imagenet"

    def __post_init__(self) -> None:
        if isinstance(self.block_config, str | int) or not hasattr(self.block_config, "__iter__"):
            raise TypeError(
                "block_config is a sequence with the number of layers of each dense block, "
                f"got {self.block_config!r}"
            )
        object.__setattr__(self, "block_config", tuple(self.block_config))
        if not self.block_config:
            raise ValueError("block_config needs at least one dense block, got ()")
        for layers in self.block_config:
            _check_positive("every entry of block_config", layers, given=self.block_config)
        for name in ("growth_rate", "num_init_features", "num_classes", "in_channels"):
            _check_positive(name, getattr(self, name))
        if self.bn_size is not None:
            _check_positive("bn_size (None means no bottleneck)", self.bn_size)
        for name in ("compression", "drop_rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} is a number, got {value!r}")
        if not 0 < self.compression <= 1:
            raise ValueError(
                "compression is the share of channels a transition keeps and lies in (0, 1], "
                f"got {self.compression!r}"
            )
        if not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate is a probability in [0, 1), got {self.drop_rate!r}")
        if self.stem not in ("imagenet", "cifar"):
            raise ValueError(f"stem is 'imagenet' or 'cifar', got {self.stem!r}")
        for width_in, width_out in pairwise(self.block_widths):
            if width_out[0] < 1:
                raise ValueError(
                    f"compression={self.compression!r} leaves a transition no channel "
                    f"out of {width_in[1]}"
                )

    @property
    def block_widths(self) -> tuple[tuple[int, int], ...]:
        """Channels that enter and leave each dense block, `(in, out)` per block.

        >>> DenseNetConfig().block_widths
        ((64, 256), (128, 512), (256, 1024), (512, 1024))
        """
        widths = []
        width = self.num_init_features
        for layers in self.block_config:
            widths.append((width, width + layers * self.growth_rate))
            width = int(widths[-1][1] * self.compression)
        return tuple(widths)

    @property
    def num_features(self) -> int:
        """Channels that reach the classifier."""
        return self.block_widths[-1][1]

    @property
    def depth(self) -> int:
        """Weighted layers as the paper counts them: convolutions on the path and the classifier.

        A bottleneck layer has two convolutions, a plain layer one; every transition has one, the
        stem one, the classifier one. Normalisation does not count.

        >>> DenseNetConfig().depth
        121
        """
        convolutions = 1 if self.bn_size is None else 2
        return convolutions * sum(self.block_config) + len(self.block_config) + 1

    @property
    def minimum_resolution(self) -> int:
        """Smallest image side for which every transition still has a 2x2 window to pool.

        >>> DenseNetConfig().minimum_resolution
        29
        """
        side = 2 ** (len(self.block_config) - 1)
        return side if self.stem == "cifar" else max(4 * (side - 1) + 1, 1)


def _check_positive(name: str, value: object, *, given: object = None) -> None:
    shown = value if given is None else given
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an integer, got {shown!r}")
    if value < 1:
        raise ValueError(f"{name} is at least 1, got {shown!r}")
