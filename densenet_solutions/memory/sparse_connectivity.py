"""Read fewer earlier features: what a layer does not concatenate need not be kept for it."""

from __future__ import annotations

from torch import nn

from densenet_solutions.memory.layers import (
    changed_copy,
    dense_blocks,
    first_norm,
    last_conv,
    read_only,
)
from densenet_solutions.memory.strategies import Strategy
from densenet_solutions.models.connectivity import (
    Pattern,
    SparseDenseBlock,
    channels_of,
    harmonic,
    logarithmic,
    random_sparse,
)


def connect(model: nn.Module, pattern: Pattern) -> nn.Module:
    """A copy of `model` in which layer `ℓ` of every block reads the sources `pattern(ℓ)` only.

    A layer keeps the weights of the channels that it still reads; the others are gone. With
    `connectivity.dense` nothing changes, not even the rounding.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
    """
    model = changed_copy(model)
    for block in dense_blocks(model).values():
        width_in, growth_rate = block_widths(block)
        reads = tuple(pattern(layer) for layer in range(1, len(block) + 1))
        for layer, sources in zip(block, reads, strict=True):
            read_only(layer, channels_of(sources, width_in, growth_rate))
        reads_some(block, reads)
    return model


def block_widths(block: nn.Sequential) -> tuple[int, int]:
    """Channels that enter a block, and channels that each of its layers adds."""
    return first_norm(block[0]).num_features, last_conv(block[0]).out_channels


def reads_some(block: nn.Sequential, reads: tuple[tuple[int, ...], ...]) -> None:
    """Let each layer of `block` be given the sources in `reads`, and nothing else."""
    block.__class__ = SparseDenseBlock
    block.reads = reads  # type: ignore[assignment]


def _random_half(model: nn.Module) -> nn.Module:
    return connect(model, random_sparse(0.5))


def _logarithmic(model: nn.Module) -> nn.Module:
    return connect(model, logarithmic)


def _harmonic(model: nn.Module) -> nn.Module:
    return connect(model, harmonic)


STRATEGIES = (
    Strategy(
        name="random_connections",
        summary="Every layer reads the one before and a random half of the earlier ones.",
        exactness="changes-function",
        source="Dive into Deep Learning 1.0.3, section 8.7, exercise 3",
        apply=_random_half,
        costs="Another network: accuracy.",
    ),
    Strategy(
        name="logarithmic_connections",
        summary="Every layer reads the ones 1, 2, 4, 8, … steps back.",
        exactness="changes-function",
        source="arXiv:1711.00002",
        apply=_logarithmic,
        costs="Another network: accuracy.",
    ),
    Strategy(
        name="harmonic_connections",
        summary="Layer ℓ reads the ones 2ⁿ steps back where 2ⁿ divides ℓ.",
        exactness="changes-function",
        source="arXiv:1909.00948",
        apply=_harmonic,
        costs="Another network: accuracy.",
    ),
)
