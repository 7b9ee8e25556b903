"""The network as it is: what every strategy is compared with."""

from __future__ import annotations

from torch import nn

from densenet_solutions.memory.strategy import Strategy
from densenet_solutions.memory.trunks import with_trunks


def plain(model: nn.Module) -> nn.Module:
    """A deep copy, unchanged."""
    return with_trunks(model)


STRATEGIES = (
    Strategy(
        apply=plain,
        family="as it is",
        summary="Every tensor that the backward pass reads is kept from the forward pass.",
        exactness="bitwise",
        source="arXiv:1608.06993",
        verdict="the measure of all others",
    ),
)
