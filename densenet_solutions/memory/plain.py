"""The network as it is: what every strategy is compared with."""

from __future__ import annotations

from torch import nn

from densenet_solutions.memory.strategies import Strategy, copy_of
from densenet_solutions.models import DenseNet


def plain(model: nn.Module) -> nn.Module:
    """A deep copy, unchanged."""
    return copy_of(model, DenseNet)


STRATEGIES = (
    Strategy(
        name="plain",
        summary="Every tensor that the backward pass reads is kept from the forward pass.",
        exactness="bitwise",
        source="arXiv:1608.06993",
        apply=plain,
    ),
)
