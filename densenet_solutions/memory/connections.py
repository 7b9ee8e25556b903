"""Read fewer earlier features: what a layer does not concatenate need not be kept for it."""

from __future__ import annotations

from torch import nn

from densenet_solutions.memory.layers import block_widths, changed_copy, dense_blocks, read_only
from densenet_solutions.memory.strategy import Strategy
from densenet_solutions.models.connectivity import (
    Pattern,
    SparseDenseBlock,
    channels_of,
    harmonic,
    logarithmic,
    random_sparse,
    sources_of,
)


def connect(model: nn.Module, pattern: Pattern) -> nn.Module:
    """A copy of `model` in which layer `ℓ` of every block reads the sources `pattern(ℓ)` only.

    A layer keeps the weights of the channels that it still reads; the others are gone. With
    `connectivity.dense` nothing changes, not even the rounding.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
        ValueError: the pattern reads what is not there yet, or not the layer before.
    """
    model = changed_copy(model)
    for block in dense_blocks(model).values():
        width_in, growth_rate = block_widths(block)
        reads = tuple(sources_of(pattern, layer) for layer in range(1, len(block) + 1))
        for layer, sources in zip(block, reads, strict=True):
            device = next(layer.parameters()).device
            read_only(layer, channels_of(sources, width_in, growth_rate, device))
        reads_some(block, reads)
    return model


def reads_some(block: nn.Sequential, reads: tuple[tuple[int, ...], ...]) -> None:
    """Let each layer of `block` be given the sources in `reads`, and nothing else."""
    block.__class__ = SparseDenseBlock
    block.reads = reads  # type: ignore[assignment]


def random_connections(model: nn.Module, share: float = 0.5, seed: int = 0) -> nn.Module:
    """Layers that read the one before, and each earlier one with probability `share`."""
    return connect(model, random_sparse(share, seed=seed))


def logarithmic_connections(model: nn.Module) -> nn.Module:
    """Layers that read the ones 1, 2, 4, 8, … steps back (Log-DenseNet)."""
    return connect(model, logarithmic)


def harmonic_connections(model: nn.Module) -> nn.Module:
    """Layers that read the ones 2ⁿ steps back where 2ⁿ divides their number (HarDNet)."""
    return connect(model, harmonic)


STRATEGIES = (
    Strategy(
        apply=random_connections,
        family="fewer connections",
        summary="Every layer reads the one before, and each earlier one with probability ½.",
        exactness="changes-function",
        source="no source: chance, to compare with",
        verdict="a baseline for patterns",
        costs="Another network: accuracy.",
    ),
    Strategy(
        apply=logarithmic_connections,
        family="fewer connections",
        summary="Every layer reads the ones 1, 2, 4, 8, … steps back.",
        exactness="changes-function",
        source="arXiv:1711.00002",
        verdict="another network",
        costs="Another network: accuracy.",
    ),
    Strategy(
        apply=harmonic_connections,
        family="fewer connections",
        summary="Layer ℓ reads the ones 2ⁿ steps back where 2ⁿ divides ℓ.",
        exactness="changes-function",
        source="arXiv:1909.00948",
        verdict="another, cheaper network",
        costs="Another network: accuracy.",
    ),
)
