"""Low-rank factors: one convolution becomes two thinner ones, and one activation more."""

from __future__ import annotations

import torch
from torch import nn

from densenet_solutions import checks
from densenet_solutions.memory.layers import changed_copy, conv_with, dense_blocks
from densenet_solutions.memory.strategy import Strategy


def low_rank(model: nn.Module, share: float = 0.25) -> nn.Module:
    """A copy in which every convolution of the dense blocks is the best product of that rank.

    The weight, as a matrix `(out, in·height·width)`, is cut after its largest singular values:
    `W ≈ (U S) V`. The convolution with `V` keeps kernel and padding and has `rank` outputs; a 1x1
    convolution with `U S` follows (Denton et al., arXiv:1404.0736). Parameters are saved when
    `rank < out·in·height·width / (out + in·height·width)`.

    Args:
        model: a trained `DenseNet`.
        share: rank as a share of the full rank, in (0, 1]; 1 gives the same function.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
        ValueError: `share` is outside (0, 1].
    """
    checks.share("share", share, zero=False)
    model = changed_copy(model)
    for block in dense_blocks(model).values():
        for layer in block:
            for name, conv in list(layer.named_children()):
                if isinstance(conv, nn.Conv2d):
                    setattr(layer, name, factorize(conv, share))
    return model


@torch.no_grad()
def factorize(conv: nn.Conv2d, share: float) -> nn.Sequential:
    """`conv` as two: `(N, in, H, W)` → `(N, rank, H', W')` → `(N, out, H', W')`."""
    matrix = conv.weight.flatten(1)  # (out, in·height·width)
    rank = max(1, round(share * min(matrix.shape)))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:rank].sqrt()
    first = (root[:, None] * v[:rank]).unflatten(1, conv.weight.shape[1:])
    second = (u[:, :rank] * root)[:, :, None, None]
    return nn.Sequential(conv_with(first, None, like=conv), conv_with(second, conv.bias))


STRATEGIES = (
    Strategy(
        apply=low_rank,
        family="smaller layers",
        summary="Each convolution of the dense blocks becomes two, of a quarter of its rank.",
        exactness="changes-function",
        source="arXiv:1404.0736",
        verdict="saves work, costs memory",
        costs="One more activation for every convolution; accuracy, until it is trained again.",
    ),
)
