"""Two traces and the roles of their layers: what is asked of them when they are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from densenet_solutions.check.rows import Role
from densenet_solutions.check.rows import Source as Origin
from densenet_solutions.check.trace import Source, Trace


@dataclass(frozen=True)
class Difference:
    """What differs, and what line it breaks (`lines.LINES`).

    `blocks`: the layers that follow cannot be paired any more. `same_function`: whether it may
    leave the function as it is, which running both decides. `strict`: wrong in any case.
    """

    text: str
    topic: str
    where: str = ""
    blocks: bool = False
    same_function: bool = False
    strict: bool = False


@dataclass
class SideBySide:
    """The right network's trace with the role of each layer, and a trace to compare with it.

    `growth` is `k`, `blocks` the number of layers of each block, `known` those of other networks by
    name. `pairs` leads from the number of a source of theirs to that of ours.
    """

    ours: Trace
    theirs: Trace
    roles: tuple[Role, ...]
    growth: int
    blocks: tuple[int, ...]
    known: Mapping[str, tuple[int, ...]]
    source: Origin = "paper"
    pairs: dict[int, int] = field(default_factory=lambda: {0: 0})

    def __post_init__(self) -> None:
        self.role_of = dict(zip(self.ours.layers, self.roles, strict=True))
        self.readers: Counter[int] = Counter()
        for source in self.theirs.sources:
            self.readers.update({segment.source for segment in source.reads})

    @property
    def has_bottleneck(self) -> bool:
        return any(role.kind == "bottleneck" for role in self.roles)

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
        for reader in self.theirs.sources:
            for segment in reader.reads:
                if segment.source == number:
                    return any("pool" in t.kind and t.detail != "global" for t in segment.chain)
        return False

    def blocks_of_theirs(self) -> tuple[int, ...]:
        """3×3 convolutions between two changes of resolution, the first layer left out."""
        counts: list[int] = []
        last = None
        for i in self.theirs.layers[1:]:
            source = self.theirs.sources[i]
            if source.kernel != "3×3":
                continue
            if source.shape[2:] != last:
                counts.append(0)
                last = source.shape[2:]
            counts[-1] += 1
        return tuple(counts)


def read_width(source: Source) -> int:
    """Channels that a layer reads."""
    return sum(segment.width for segment in source.reads)


def capital(role: Role) -> str:
    """The name of a role at the beginning of a sentence."""
    name = str(role)
    return name[0].upper() + name[1:]


def described(source: Source) -> str:
    if source.kind == "linear":
        return f"a linear layer to {source.out}"
    return f"a {source.kernel} convolution to {source.out}"
