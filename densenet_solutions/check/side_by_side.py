"""Two traces and the roles of their layers: what is asked of them when they are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from densenet_solutions.check.rows import Authority, Role
from densenet_solutions.check.trace import Source, Trace


@dataclass(frozen=True)
class Target:
    """What a module is held against.

    Args:
        build: makes the right one.
        roles: what its layers are for, in order of use; a part of a network ends with its output.
        growth: `k`.
        blocks: layers of each block; `known`: those of other networks, by name.
        rate: of dropout.
        any_bias: convolutions may have biases or not.
        sides: further heights and widths on which outputs are compared.
    """

    build: Callable[[], nn.Module]
    roles: tuple[Role, ...]
    growth: int
    blocks: tuple[int, ...]
    authority: Authority = "paper"
    known: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rate: float = 0.0
    any_bias: bool = False
    sides: tuple[tuple[int, int], ...] = ((7, 9),)

    @property
    def is_part(self) -> bool:
        return self.roles[-1].kind == "output"


@dataclass(frozen=True)
class Difference:
    """What differs, and what line it breaks (`lines.LINES`).

    `same_function`: whether it may leave the function as it is, which running both decides.
    `strict`: wrong in any case.
    """

    text: str
    topic: str
    where: str = ""
    same_function: bool = False
    strict: bool = False


class SideBySide:
    """The right network's trace, and a trace to compare with it.

    `pairs` leads from the number of a source of theirs to that of ours.
    """

    def __init__(self, target: Target, ours: Trace, theirs: Trace) -> None:
        self.target, self.ours, self.theirs = target, ours, theirs
        if target.is_part:
            self.ours, self.theirs = ours.with_output(), theirs.with_output()
        self.pairs = {0: 0}
        self.role_of = dict(zip(self.ours.layers, target.roles, strict=True))
        self.readers = Counter(
            number
            for source in self.theirs.sources
            for number in {segment.source for segment in source.reads}
        )

    def next(self, i: int) -> Source | None:
        """The layer of theirs after layer `i`."""
        layers = self.theirs.layers
        return self.theirs.sources[layers[i + 1]] if i + 1 < len(layers) else None

    def is_kept(self, i: int) -> bool:
        """Whether more than the next layer reads what layer `i` of theirs writes."""
        return self.readers[self.theirs.layers[i]] > 1

    def is_pooled(self, i: int) -> bool:
        """Whether what layer `i` of theirs writes is pooled (not globally) before it is read."""
        number = self.theirs.layers[i]
        read = next((s for s in self.theirs.reads() if s.source == number), None)
        return read is not None and any(token.is_pool for token in read.chain)

    def blocks_of_theirs(self) -> tuple[int, ...]:
        """3×3 convolutions between two changes of resolution, the first layer left out."""
        convolutions = [self.theirs.sources[i] for i in self.theirs.layers[1:]]
        return tuple(Counter(s.shape[2:] for s in convolutions if s.kernel == "3×3").values())


def capital(role: Role) -> str:
    """The name of a role at the beginning of a sentence."""
    name = str(role)
    return name[0].upper() + name[1:]
