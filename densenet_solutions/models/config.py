"""What a DenseNet is made of, as data: options, their rules, and the widths that follow from them.

Standard library only, so that a drawing or a closed form can be made without building a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from densenet_solutions import checks

Stem = Literal["imagenet", "cifar"]
Pooling = Literal["average", "max", "stride"]
Initialization = Literal["he", "torch"]


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
        bias: whether convolutions have biases, as the book's do.
        pooling: how a transition halves the resolution (exercise 1): `"average"` as in the paper,
            `"max"`, or `"stride"`: its convolution steps by two and drops three positions of four.
        inplace: whether a ReLU writes over its input.
        initialization: `"he"` (arXiv:1502.01852, as in the paper) or `"torch"`, its default.

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
    bias: bool = False
    pooling: Pooling = "average"
    inplace: bool = True
    initialization: Initialization = "he"

    def __post_init__(self) -> None:
        checked = {
            name: checks.integer(name, getattr(self, name))
            for name in ("growth_rate", "num_init_features", "num_classes", "in_channels")
        }
        if self.bn_size is not None:
            checked["bn_size"] = checks.integer("bn_size (None means no bottleneck)", self.bn_size)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        blocks = checks.integers("block_config", self.block_config)
        object.__setattr__(self, "block_config", blocks)
        checks.share("compression", self.compression, zero=False)
        checks.share("drop_rate", self.drop_rate, one=False)
        for name, choices in (
            ("stem", Stem), ("pooling", Pooling), ("initialization", Initialization)
        ):  # fmt: skip
            checks.choice(name, getattr(self, name), get_args(choices))
        for name in ("bias", "inplace"):
            checks.flag(name, getattr(self, name))
        for width_in, width_out in pairwise(self.block_widths):
            if width_out[0] < 1:
                raise ValueError(
                    f"compression={self.compression!r} leaves a transition no channel "
                    f"out of {width_in[1]}"
                )

    @property
    def block_widths(self) -> tuple[tuple[int, int], ...]:
        """Channels that enter and leave each dense block, `(in, out)` per block.

        Examples:
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

        Examples:
            >>> DenseNetConfig().depth
            121
        """
        convolutions = 1 if self.bn_size is None else 2
        return convolutions * sum(self.block_config) + len(self.block_config) + 1

    @property
    def minimum_resolution(self) -> int:
        """Smallest image side for which every transition still has a 2x2 window to pool.

        Examples:
            >>> DenseNetConfig().minimum_resolution
            29
        """
        side = 2 ** (len(self.block_config) - 1)
        return side if self.stem == "cifar" else 4 * (side - 1) + 1

    def last_resolution(self, side: int) -> int:
        """What is left of an image's side behind the last dense block.

        Examples:
            >>> DenseNetConfig().last_resolution(224)
            7
        """
        if self.stem == "imagenet":
            side = -(-side // 4)
        for _ in self.block_config[1:]:
            side = -(-side // 2) if self.pooling == "stride" else side // 2
        return side
