"""The right networks whose parameters are counted, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from densenet_solutions.check.closed_form import Build, DenseBuild, ResidualBuild
from densenet_solutions.models import BOOK, TABLE_1, TABLE_2
from densenet_solutions.models.config import DenseNetConfig

#: What a row is held against; it decides which line a deviation breaks.
Source = Literal["paper", "plain", "book", "resnet", "book resnet"]


@dataclass(frozen=True)
class Row:
    """A right network: its build, and the images and classes it was published for."""

    name: str
    title: str
    source: Source
    build: Build
    channels: int
    classes: int


CHANNELS = (1, 3)
CLASSES = (10, 100, 1000)

_BOOK_RESNET = ResidualBuild(blocks=(2, 2, 2, 2), projection_norm=False, bias="all")
_RESNETS = {
    "resnet18": ResidualBuild(blocks=(2, 2, 2, 2)),
    "resnet34": ResidualBuild(blocks=(3, 4, 6, 3)),
    "resnet50": ResidualBuild(blocks=(3, 4, 6, 3), wide=True),
    "resnet101": ResidualBuild(blocks=(3, 4, 23, 3), wide=True),
    "resnet152": ResidualBuild(blocks=(3, 8, 36, 3), wide=True),
}


def build_of(config: DenseNetConfig) -> DenseBuild:
    """The build that a configuration describes."""
    return DenseBuild(
        blocks=config.block_config,
        growth_rate=config.growth_rate,
        stem_width=config.num_init_features,
        stem_kernel=7 if config.stem == "imagenet" else 3,
        stem_norm=config.stem == "imagenet",
        bottleneck="none" if config.bn_size is None else f"{config.bn_size}k",
        compression=float(config.compression),
        bias="all" if config.bias else "none",
    )


def dense_configs() -> dict[str, DenseNetConfig]:
    """Every DenseNet by its name in `models.NETWORKS`."""
    book = {"book-densenet": BOOK.config}
    return {name: row.config for name, row in TABLE_1.items()} | book | _table_2()


def _table_2() -> dict[str, DenseNetConfig]:
    configs = [row.config for row in TABLE_2.values()]
    return {
        f"cifar-densenet-{'bc-' if c.bn_size else ''}{c.depth}-{c.growth_rate}": c for c in configs
    }


def _cifar_title(config: DenseNetConfig) -> str:
    kind = "-BC" if config.bn_size else ""
    return f"DenseNet{kind} with L = {config.depth}, k = {config.growth_rate}"


def _rows() -> tuple[Row, ...]:
    rows = [
        Row(name, name.replace("densenet", "DenseNet-"), "paper", build_of(row.config), 3, 1000)
        for name, row in TABLE_1.items()
    ]
    book = build_of(BOOK.config)
    rows.append(Row("book-densenet", "the book's DenseNet", "book", book, 1, 10))
    rows.append(Row("book-resnet18", "the book's ResNet-18", "book resnet", _BOOK_RESNET, 1, 10))
    rows += [
        Row(name, name.replace("resnet", "ResNet-"), "resnet", build, 3, 1000)
        for name, build in _RESNETS.items()
    ]
    for name, config in _table_2().items():
        source: Source = "plain" if config.bn_size is None else "paper"
        rows.append(Row(name, _cifar_title(config), source, build_of(config), 3, 10))
    return tuple(rows)


ROWS = _rows()
