"""Which earlier features a layer reads: all of them, a random share, or a sparse fixed pattern.

Sources are numbered as in the paper: 0 is the block's input `x_0`, and `i` is the output of the
block's `i`-th layer. A pattern says for layer `ℓ = 1, 2, …` which of `0, …, ℓ-1` it reads, in
ascending order. The last one, `ℓ - 1`, is always among them, so no layer is cut off.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from densenet_solutions import checks
from densenet_solutions.models.densenet import DenseBlock

Pattern = Callable[[int], tuple[int, ...]]


def dense(layer: int) -> tuple[int, ...]:
    """All earlier features (DenseNet, arXiv:1608.06993, equation 2): `ℓ` sources.

    Examples:
        >>> dense(4)
        (0, 1, 2, 3)
    """
    return tuple(range(_checked(layer)))


def logarithmic(layer: int) -> tuple[int, ...]:
    """The sources 1, 2, 4, 8, … steps back (Log-DenseNet, arXiv:1711.00002): about `log₂ ℓ`.

    Examples:
        >>> logarithmic(10)
        (2, 6, 8, 9)
    """
    steps = (2**n for n in range(_checked(layer).bit_length()))
    return tuple(sorted(layer - step for step in steps))


def harmonic(layer: int) -> tuple[int, ...]:
    """The sources 2ⁿ steps back where 2ⁿ divides `ℓ` (HarDNet, arXiv:1909.00948, section 3.1).

    Every second layer reads one source only; over a block of `L` layers there are about `2 L`
    connections, against `L²/2` when all are made. HarDNet also widens the layers that many others
    read; the widths here stay `k`.

    Examples:
        >>> [harmonic(layer) for layer in (1, 2, 3, 4, 6, 8)]
        [(0,), (0, 1), (2,), (0, 2, 3), (4, 5), (0, 4, 6, 7)]
    """
    steps = (2**n for n in range(_checked(layer).bit_length()))
    return tuple(sorted(layer - step for step in steps if layer % step == 0))


def sources_of(pattern: Pattern, layer: int) -> tuple[int, ...]:
    """What `pattern` lets a layer read, checked.

    Raises:
        ValueError: the sources are not ascending numbers from 0 to `layer - 1`, the last included.

    Examples:
        >>> sources_of(lambda layer: (layer,), 3)
        Traceback (most recent call last):
        ValueError: layer 3 reads ascending sources in 0, …, 2 and always 2, got (3,)
    """
    sources = checks.integers(f"the sources of layer {layer}", pattern(layer), at_least=0)
    if list(sources) != sorted(set(sources)) or sources[-1] != layer - 1:
        raise ValueError(
            f"layer {layer} reads ascending sources in 0, …, {layer - 1} and always {layer - 1}, "
            f"got {sources!r}"
        )
    return sources


def random_sparse(share: float, *, seed: int = 0) -> Pattern:
    """A pattern that reads each earlier source but the last with probability `share`.

    The same seed gives the same connections, whatever the order of the questions.

    Raises:
        TypeError, ValueError: `share` is no number in [0, 1].

    Examples:
        >>> random_sparse(1.0)(4), random_sparse(0.0)(4)
        ((0, 1, 2, 3), (3,))
    """
    checks.share("share", share)

    def pattern(layer: int) -> tuple[int, ...]:
        draw = random.Random(f"{seed}, {_checked(layer)}").random
        return (*(source for source in range(layer - 1) if draw() < share), layer - 1)

    return pattern


def channels_of(
    sources: tuple[int, ...],
    width_in: int,
    growth_rate: int,
    device: torch.device | str | None = None,
) -> Tensor:
    """Channels of the concatenation `[x_0, x_1, …]` that belong to `sources`.

    `x_0` has `width_in` channels, every other source `growth_rate`.

    Raises:
        TypeError, ValueError: a source is no integer of at least 0.

    Examples:
        >>> channels_of((0, 2), width_in=2, growth_rate=3)
        tensor([0, 1, 5, 6, 7])
    """
    parts = []
    for source in checks.integers("sources", sources, at_least=0):
        start = 0 if source == 0 else width_in + (source - 1) * growth_rate
        stop = start + (growth_rate if source else width_in)
        parts.append(torch.arange(start, stop, device=device))
    return torch.cat(parts)


class SparseDenseBlock(DenseBlock):
    """A dense block whose layer `ℓ` reads the sources `reads[ℓ-1]` only."""

    reads: tuple[tuple[int, ...], ...]

    def forward(self, x: Tensor) -> Tensor:
        features = [x]  # x_0, …, x_{ℓ-1}
        for layer, sources in zip(self, self.reads, strict=True):
            features.append(layer(_concatenate([features[i] for i in sources])))
        return torch.cat(features, dim=1)  # the transition still reads all of them


def _concatenate(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _checked(layer: int) -> int:
    return checks.integer("layer (layers of a block are numbered from 1)", layer)
