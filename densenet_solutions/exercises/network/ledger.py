"""The ledger of a dense block: what one training step holds, layer by layer, forward and back.

The block of a real strategy runs under a `StorageTracker`; nothing here is worked out by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from densenet_solutions.checks import choice, integer
from densenet_solutions.exercises.network.watch import Consumed, Kind, Moment, Watch
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import DenseNet, DenseNetConfig

#: What can run a block by itself, and keeps something else than the plain network.
LEDGERS = (
    "plain",
    "recompute_bottleneck_input",
    "recompute_layer",
    "recompute_block",
    "shared_storage",
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """One step through a block: `moments` are before, forward 1…n, turn, backward n…1, after.

    `channel_bytes` is the size of one channel of the batch; `saved_channels` is what autograd says
    that it saved in the forward pass, each storage once.
    """

    strategy: str
    in_channels: int
    growth_rate: int
    num_layers: int
    channel_bytes: int
    saved_channels: float
    moments: tuple[Moment, ...]

    @property
    def turn(self) -> Moment:
        """The end of the forward pass: what is kept for the backward pass, and nothing else."""
        return next(moment for moment in self.moments if moment.phase == "turn")

    def kept(self) -> dict[Kind, float]:
        """What is kept for the backward pass, in channels, by what it is."""
        found: dict[Kind, float] = {}
        for slab in self.turn.held:
            found[slab.kind] = found.get(slab.kind, 0) + slab.channels
        return found

    def mib(self, channels: float) -> float:
        """That many channels in MiB."""
        return channels * self.channel_bytes / 2**20


def ledger(
    strategy: str = "plain",
    *,
    num_layers: int = 4,
    in_channels: int = 64,
    growth_rate: int = 32,
    bn_size: int | None = None,
    batch: int = 8,
    resolution: int = 56,
) -> Ledger:
    """One training step of a dense block under `strategy`; by default the book's first block.

    It runs on the meta device, where sizes cost nothing; shared storage takes the slices there that
    it takes on a CPU. `bn_size=4` gives the paper's layers, with a bottleneck, no biases and ReLUs
    in place.

    Raises:
        ValueError: `strategy` is not one of `LEDGERS`, or a number is not positive.
    """
    choice("strategy", strategy, LEDGERS)
    batch, resolution = integer("batch", batch), integer("resolution", resolution)
    config = DenseNetConfig(
        growth_rate=growth_rate, block_config=(num_layers,), num_init_features=in_channels,
        bn_size=bn_size, bias=bn_size is None, inplace=bn_size is not None,
    )  # fmt: skip
    with torch.device("meta"):
        network = DenseNet(config)
        features = cast(nn.Sequential, STRATEGIES[strategy].apply(network).features)
        names = [name for name, _ in features.named_children()]
        at = names.index("denseblock1")
        block = features[at]
        x = torch.zeros(batch, in_channels, resolution, resolution, requires_grad=True)
    total = in_channels + num_layers * growth_rate
    watch = Watch(block, x, growth_rate, total)
    with watch, torch.autograd.graph.saved_tensors_hooks(watch.see_saved, lambda tensor: tensor):
        # Nobody else keeps the input: it is as if a convolution had just made it.
        end = Consumed.apply(block(x * 1), watch)
        end.backward()
    return Ledger(
        strategy, in_channels, growth_rate, num_layers, watch.channel_bytes,
        sum(watch.saved.values()) / watch.channel_bytes, watch.moments(),
    )  # fmt: skip


def blocks(
    config: DenseNetConfig, strategy: str = "plain", *, batch: int = 8, resolution: int = 224
) -> tuple[Ledger, ...]:
    """The ledger of each dense block of a network, for images of `resolution`.

    Examples:
        >>> layers = blocks(DenseNetConfig(), "plain")
        >>> [round(block.mib(block.turn.channels), 1) for block in layers]
        [312.4, 248.1, 215.9, 42.1]
    """
    side = resolution // 4 if config.stem == "imagenet" else resolution
    return tuple(
        ledger(
            strategy, num_layers=num_layers, in_channels=width, growth_rate=config.growth_rate,
            bn_size=config.bn_size, batch=batch, resolution=side // 2**i,
        )
        for i, (num_layers, (width, _)) in enumerate(
            zip(config.block_config, config.block_widths, strict=True)
        )
    )  # fmt: skip
