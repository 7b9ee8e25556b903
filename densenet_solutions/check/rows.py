"""The right networks by name: where they are printed, and what each of their layers is for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from densenet_solutions import checks
from densenet_solutions.check.closed_form import Build, DenseBuild, ResidualBuild
from densenet_solutions.models import BOOK, TABLE_1, TABLE_2, DenseNet, DenseNetConfig

#: What a row is held against; it decides which line a deviation breaks.
Authority = Literal["paper", "plain", "book", "resnet", "book resnet"]

CHANNELS = (1, 3)
CLASSES = (10, 100, 1000)


@dataclass(frozen=True)
class Row:
    """A right network: its build, and the images and classes it was published for.

    `config` builds it, if it is a DenseNet.
    """

    name: str
    title: str
    authority: Authority
    build: Build
    channels: int
    classes: int
    config: DenseNetConfig = DenseNetConfig()  # noqa: RUF009 (frozen)

    def sized(self, channels: int, classes: int) -> Row:
        return replace(self, config=replace(self.config, in_channels=channels, num_classes=classes))

    @property
    def sized_title(self) -> str:
        """The title, with the channels and classes of `config`."""
        channels, classes = self.config.in_channels, self.config.num_classes
        return f"{self.title} ({channels} channel{'s' * (channels > 1)}, {classes} classes)"

    def network(self) -> DenseNet:
        """The network in float64."""
        return DenseNet(self.config).double()

    @property
    def parameters(self) -> int:
        """How many the network has."""
        with torch.device("meta"):
            return sum(p.numel() for p in DenseNet(self.config).parameters())

    def image(self, last: int, odd: int = 0) -> int:
        """Side of an image whose last map has the side `last`; `odd`: as are maps before a pool."""
        for _ in self.config.block_config[1:]:
            last = 2 * last + odd
        return last if self.config.stem == "cifar" else 4 * last - 3 * odd

    @property
    def resolutions(self) -> tuple[int, ...]:
        """A small image that every stage halves exactly, and the published one."""
        return self.image(2), 32 if self.config.stem == "cifar" else 224

    def odd_sides(self, side: int) -> tuple[tuple[int, int], ...]:
        """Heights and widths of images with odd maps and even ones.

        First with a last map of 3×4, then with that of images of `side`.
        """
        last = self.config.last_resolution(side)
        return (self.image(3, 1), self.image(4)), (self.image(last, 1), self.image(last))


def _dense(
    name: str, title: str, authority: Authority, config: DenseNetConfig, channels: int, classes: int
) -> Row:
    build = DenseBuild(
        blocks=config.block_config,
        growth_rate=config.growth_rate,
        stem_width=config.num_init_features,
        stem_kernel=7 if config.stem == "imagenet" else 3,
        stem_norm=config.stem == "imagenet",
        bottleneck="none" if config.bn_size is None else f"{config.bn_size}k",
        compression=float(config.compression),
        bias="all" if config.bias else "none",
    )
    return Row(name, title, authority, build, channels, classes, config)


def _cifar(config: DenseNetConfig) -> Row:
    size, c, bc = f"{config.depth}-{config.growth_rate}", config, bool(config.bn_size)
    title = f"DenseNet{'-BC' * bc} with L = {c.depth}, k = {c.growth_rate}"
    authority: Authority = "paper" if bc else "plain"
    return _dense(f"cifar-densenet-{'bc-' * bc}{size}", title, authority, config, 3, 10)


def _resnet(depth: int, *blocks: int, wide: bool = False) -> Row:
    build = ResidualBuild(blocks=blocks, wide=wide)
    return Row(f"resnet{depth}", f"ResNet-{depth}", "resnet", build, 3, 1000)


_BOOK_RESNET = ResidualBuild(blocks=(2, 2, 2, 2), projection_norm=False, bias="all")
ROWS = (
    *(
        _dense(name, name.replace("densenet", "DenseNet-"), "paper", row.config, 3, 1000)
        for name, row in TABLE_1.items()
    ),
    _dense("book-densenet", "the book's DenseNet", "book", BOOK.config, 1, 10),
    Row("book-resnet18", "the book's ResNet-18", "book resnet", _BOOK_RESNET, 1, 10),
    _resnet(18, 2, 2, 2, 2),
    _resnet(34, 3, 4, 6, 3),
    _resnet(50, 3, 4, 6, 3, wide=True),
    _resnet(101, 3, 4, 23, 3, wide=True),
    _resnet(152, 3, 8, 36, 3, wide=True),
    *(_cifar(row.config) for row in TABLE_2.values()),
)
#: What a network can be held against, by name.
DENSE = {row.name: row for row in ROWS if isinstance(row.build, DenseBuild)}


def right_network(name: str | DenseNetConfig) -> Row:
    """The network called `name`, or the one that a configuration describes.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(name, DenseNetConfig):
        title = "the DenseNet of this configuration"
        return _dense("configuration", title, "paper", name, name.in_channels, name.num_classes)
    return DENSE[checks.choice("name", name, DENSE)]


@dataclass(frozen=True)
class Role:
    """What a layer is for: `stem`, `bottleneck`, `growth`, `transition`, `classifier`, `output`.

    `block` and `layer` count from 1.
    """

    kind: str
    block: int = 0
    layer: int = 0

    def __str__(self) -> str:
        return {
            "stem": "the first convolution",
            "classifier": "the classifier",
            "transition": f"the 1×1 convolution of transition {self.block}",
            "bottleneck": f"the 1×1 convolution of layer {self.layer} in block {self.block}",
            "output": "the output",
            "growth": f"the 3×3 convolution of layer {self.layer} in block {self.block}",
        }[self.kind]


def roles(config: DenseNetConfig) -> tuple[Role, ...]:
    """The roles of all layers in order of use.

    Examples:
        >>> roles(DenseNetConfig(block_config=(1, 1), bn_size=None))[1:3]
        (Role(kind='growth', block=1, layer=1), Role(kind='transition', block=1, layer=0))
    """
    found = [Role("stem")]
    for block, layers in enumerate(config.block_config, start=1):
        found += block_roles(layers, bottleneck=config.bn_size is not None, block=block)
        if block < len(config.block_config):
            found.append(Role("transition", block))
    return (*found, Role("classifier"))


def block_roles(layers: int, *, bottleneck: bool, block: int = 1) -> list[Role]:
    kinds = ("bottleneck", "growth") if bottleneck else ("growth",)
    return [Role(kind, block, layer) for layer in range(1, layers + 1) for kind in kinds]
