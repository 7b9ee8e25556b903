"""What a network is held against: ours, by name or by configuration, and the role of each layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from densenet_solutions import checks
from densenet_solutions.check.rows import ROWS, Source, dense_configs
from densenet_solutions.models import DenseNet, DenseNetConfig

CONFIGS = dense_configs()


@dataclass(frozen=True)
class Reference:
    """The network that is right: its options, and where it is printed."""

    title: str
    source: Source
    config: DenseNetConfig

    def sized(self, channels: int, classes: int) -> Reference:
        config = replace(self.config, in_channels=channels, num_classes=classes)
        return replace(self, config=config)

    def build(self) -> DenseNet:
        """The network in float64."""
        return DenseNet(self.config).double()

    @property
    def resolutions(self) -> tuple[int, ...]:
        """A small image that every stage halves exactly, and the published one."""
        halvings = len(self.config.block_config) - 1
        if self.config.stem == "cifar":
            return 2 ** (halvings + 1), 32
        return 2 ** (halvings + 3), 224

    def odd_sides(self, side: int) -> tuple[tuple[int, int], ...]:
        """Heights and widths of images whose maps are odd before each pool, and even.

        First with a last map of 3×4, then with that of images of `side`.
        """

        def image(last: int, odd: int) -> int:
            for _ in self.config.block_config[1:]:
                last = 2 * last + odd
            return last if self.config.stem == "cifar" else 4 * last - 3 * odd

        last = self.config.last_resolution(side)
        return (image(3, 1), image(4, 0)), (image(last, 1), image(last, 0))


def reference(name: str | DenseNetConfig) -> Reference:
    """The network called `name`, or the one that a configuration describes.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(name, DenseNetConfig):
        return Reference("the DenseNet of this configuration", "paper", name)
    checks.choice("name", name, CONFIGS)
    row = {row.name: row for row in ROWS}[name]
    return Reference(row.title, row.source, CONFIGS[name])


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
