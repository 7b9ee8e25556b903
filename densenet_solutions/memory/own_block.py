"""A dense block for a network of one's own, with little memory."""

from __future__ import annotations

from torch import nn

from densenet_solutions import checks
from densenet_solutions.memory.recompute import (
    BlockRecomputed,
    BottleneckInputRecomputed,
    LayersRecomputed,
)
from densenet_solutions.memory.selective_checkpointing import SelectivelyRecomputed
from densenet_solutions.memory.shared_storage import SharedStorageBlock
from densenet_solutions.models.config import DenseNetConfig
from densenet_solutions.models.densenet import DenseBlock

_WAYS: dict[str, type[DenseBlock]] = {
    "plain": DenseBlock,
    "recompute_bottleneck_input": BottleneckInputRecomputed,
    "recompute_layer": LayersRecomputed,
    "recompute_block": BlockRecomputed,
    "selective_checkpointing": SelectivelyRecomputed,
    "shared_storage": SharedStorageBlock,
}


def dense_block(
    in_channels: int,
    growth_rate: int,
    num_layers: int,
    *,
    bn_size: int | None = 4,
    drop_rate: float = 0.0,
    strategy: str = "shared_storage",
) -> nn.Module:
    """BN-ReLU-Conv layers that each read all earlier features, under one of the exact strategies.

    `(N, in_channels, H, W)` → `(N, in_channels + num_layers·growth_rate, H, W)` (arXiv:1608.06993,
    equation 2). Parameters, their names and the results are the same under every strategy.

    Args:
        in_channels: channels of the input.
        growth_rate: `k`, channels that each layer adds.
        num_layers: how many layers.
        bn_size: a bottleneck has `bn_size·k` channels; `None` for no bottleneck.
        drop_rate: dropout after each layer.
        strategy: `plain`, `shared_storage`, `selective_checkpointing` or one of `recompute_…`, as
            in `STRATEGIES`.

    Raises:
        TypeError, ValueError: a number or the strategy is impossible.
    """
    checks.integer("in_channels", in_channels)
    checks.integer("num_layers", num_layers)
    checks.choice("strategy", strategy, tuple(_WAYS))
    config = DenseNetConfig(growth_rate=growth_rate, bn_size=bn_size, drop_rate=drop_rate)
    block = DenseBlock(num_layers, in_channels, config)
    block.__class__ = _WAYS[strategy]
    return block
