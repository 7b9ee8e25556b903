"""Learned groups: a trained layer tells which inputs a group of its outputs needs (CondenseNet).

Huang, Liu, van der Maaten, Weinberger, *CondenseNet*, arXiv:1711.09224. In training, groups lose
the inputs with the smallest weights; afterwards what is left is an index layer that gathers the
inputs of each group, and an ordinary grouped convolution (section 3.2 there).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.memory.layers import (
    changed_copy,
    conv_with,
    dense_blocks,
    first_conv,
    first_norm,
    select_norm_,
    set_first,
)
from densenet_solutions.memory.strategy import Strategy


class GatheredNorm(nn.Module):
    """The index layer, then batch normalization: `(N, C, H, W)` → `(N, groups·kept, H, W)`."""

    channels: Tensor

    def __init__(self, channels: Tensor, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.register_buffer("channels", channels)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.index_select(1, self.channels))


def learned_groups(model: nn.Module, groups: int = 4, condensation: int = 4) -> nn.Module:
    """A copy whose layers read, in each of `groups`, one in `condensation` of their inputs.

    A group of outputs keeps the inputs with the largest mean absolute weight in that group.
    Condensed is the first convolution of every layer of the dense blocks.

    Args:
        model: a trained `DenseNet`.
        groups: groups `G` of output channels; must divide their number.
        condensation: condensation factor `C`; 1 keeps every input, and then the function too.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
        ValueError: `groups` does not divide the outputs, or a factor is below 1.
    """
    groups = checks.integer("groups", groups)
    condensation = checks.integer("condensation", condensation)
    model = changed_copy(model)
    for block in dense_blocks(model).values():
        for layer in block:
            set_first(layer, *condensed(first_norm(layer), first_conv(layer), groups, condensation))
    return model


@torch.no_grad()
def condensed(
    norm: nn.BatchNorm2d, conv: nn.Conv2d, groups: int, condensation: int
) -> tuple[GatheredNorm, nn.Conv2d]:
    """Index layer with normalization, and grouped convolution, that replace `norm` and `conv`."""
    if conv.out_channels % groups:
        raise ValueError(f"groups divides the {conv.out_channels} outputs, got {groups=}")
    kept = math.ceil(conv.in_channels / condensation)
    weight = conv.weight.unflatten(0, (groups, -1))  # (G, out/G, in, height, width)
    importance = weight.abs().mean(dim=(1, 3, 4))  # (G, in)
    channels = importance.topk(kept, dim=1).indices.sort(dim=1).values  # (G, kept)
    rows = [w[:, c] for w, c in zip(weight, channels, strict=True)]  # each (out/G, kept, …)
    grouped = conv_with(torch.cat(rows), conv.bias, like=conv, groups=groups)
    select_norm_(norm, channels.flatten())
    return GatheredNorm(channels.flatten(), norm), grouped


STRATEGIES = (
    Strategy(
        apply=learned_groups,
        family="smaller layers",
        summary="Four groups of outputs; each keeps the quarter of the inputs that it uses most.",
        exactness="changes-function",
        source="arXiv:1711.09224",
        verdict="saves work, not memory",
        costs="Accuracy, until it is trained again; the index layer copies what it gathers.",
    ),
)
