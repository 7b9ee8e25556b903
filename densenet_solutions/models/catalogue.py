"""The networks whose memory is studied, by name: one table for pages, recordings and commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torchvision
from torch import nn

from densenet_solutions.models import TABLE_1, BookDenseNet, BookResNet18, from_config


@dataclass(frozen=True)
class Network:
    """A network that can be built: images `(N, in_channels, H, W)` → `(N, classes)`."""

    build: Callable[[], nn.Module]
    in_channels: int

    def shape(self, batch: int, resolution: int) -> tuple[int, int, int, int]:
        """Shape of a batch of square images."""
        return batch, self.in_channels, resolution, resolution


#: The book's two networks, every row of Table 1, and torchvision's deep ResNets.
NETWORKS: Mapping[str, Network] = {
    "book-densenet": Network(BookDenseNet, 1),
    "book-resnet18": Network(BookResNet18, 1),
    **{name: Network(partial(from_config, row.config), 3) for name, row in TABLE_1.items()},
    **{
        name: Network(partial(getattr(torchvision.models, name), weights=None), 3)
        for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    },
}


def network(name: str) -> Network:
    """The network called `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in NETWORKS:
        raise ValueError(f"networks are {list(NETWORKS)}, got {name!r}")
    return NETWORKS[name]
