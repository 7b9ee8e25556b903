"""The networks for images by name: one table for pages, recordings and commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from densenet_solutions import checks
from densenet_solutions.models.resnet import book_resnet18
from densenet_solutions.models.variants import BOOK, TABLE_1, TABLE_2


@dataclass(frozen=True)
class Network:
    """A network that can be built: images `(N, in_channels, H, W)` → `(N, classes)`.

    `build` takes the network's options, such as `in_channels` or, of a DenseNet, `pooling`.
    """

    build: Callable[..., nn.Module]
    in_channels: int

    def shape(self, batch: int, resolution: int) -> tuple[int, int, int, int]:
        """Shape of a batch of square images."""
        return batch, self.in_channels, resolution, resolution


def _torchvisions(name: str, **options: Any) -> nn.Module:
    import torchvision

    return getattr(torchvision.models, name)(**options)


#: The book's two networks, the CIFAR networks of Table 2 (`-bc-` with bottleneck and compression),
#: the ImageNet networks of Table 1, and torchvision's ResNets.
NETWORKS: Mapping[str, Network] = {
    "book-densenet": Network(BOOK.build, 1),
    "book-resnet18": Network(book_resnet18, 1),
    **{
        f"cifar-densenet-{'bc-' if row.config.bn_size else ''}"
        f"{row.config.depth}-{row.config.growth_rate}": Network(row.build, 3)
        for row in TABLE_2.values()
    },
    **{name: Network(row.build, 3) for name, row in TABLE_1.items()},
    **{
        name: Network(partial(_torchvisions, name), 3)
        for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    },
}


def network(name: str) -> Network:
    """The network called `name`.

    Raises:
        ValueError: there is none.
    """
    return NETWORKS[checks.choice("network", name, NETWORKS)]
