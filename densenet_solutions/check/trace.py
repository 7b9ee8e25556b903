"""What a network has done with its channels, as data: who reads which of them, and after what.

Activations are a list of segments: channels of one convolution's output, and what has happened to
them since. `recorder.run` fills it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

_NAMES = {
    "norm": "batch normalisation",
    "average pool": "average pooling",
    "max pool": "max pooling",
    "ReLU": "ReLU",
}


@dataclass(frozen=True)
class Token:
    """One operation on the way: `norm`, `ReLU`, `average pool`, `max pool`, `dropout`, …"""

    kind: str
    detail: str = ""
    where: str = field(default="", compare=False)
    number: int = field(default=-1, compare=False)  # of the operation

    @property
    def is_known(self) -> bool:
        return self.kind in _NAMES

    @property
    def is_pool(self) -> bool:
        """Whether it makes a map smaller, but not a single pixel."""
        return "pool" in self.kind and self.detail != "global"

    def __str__(self) -> str:
        called = _NAMES.get(self.kind, f"“{self.kind}”")
        if self.detail == "global":
            return f"global {called}"
        return f"{called} ({self.detail})" if self.detail else called


@dataclass(frozen=True)
class Segment:
    """Channels `start … stop` of a source, after the operations of `chain`."""

    source: int
    start: int
    stop: int
    chain: tuple[Token, ...] = ()

    @property
    def channels(self) -> tuple[int, int, int]:
        return self.source, self.start, self.stop


Value = tuple[Segment, ...]


def width(value: Value) -> int:
    return sum(segment.stop - segment.start for segment in value)


@dataclass(frozen=True, eq=False)
class Source:
    """What makes channels, the image, a convolution, a linear layer, a sum; or a normalisation.

    `tensors` are what the operation used, and the parameter it came from if it is one unchanged.
    `settings` are stride and so on, or eps and momentum; `kernel` is `"7×7"` and so on.
    """

    kind: str
    reads: Value = ()
    tensors: Mapping[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    kernel: str = ""
    settings: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    where: str = ""

    @property
    def is_layer(self) -> bool:
        return self.kind in ("convolution", "linear", "output")

    @property
    def out(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 0

    def __str__(self) -> str:
        if self.kind == "linear":
            return f"a linear layer to {self.out}"
        return f"a {self.kernel} convolution to {self.out}"


@dataclass
class Trace:
    """All that was seen; `sources[0]` is the image."""

    sources: list[Source]
    norms: list[Source] = field(default_factory=list)
    output: Value | None = None
    autocast: str = ""  # where it was first on

    def with_output(self) -> Trace:
        """The trace of a part of a network: its output is one more reader."""
        reads = self.output or (Segment(-1, 0, 0),)
        made = Source("output", reads, shape=(0, width(reads)))
        return replace(self, sources=[*self.sources, made])

    @property
    def layers(self) -> list[int]:
        """Numbers of the convolutions and linear layers, in order of use (and the output's)."""
        return [i for i, source in enumerate(self.sources) if source.is_layer]

    def reads(self) -> Iterator[Segment]:
        """All segments that are read, in order."""
        for source in self.sources:
            yield from source.reads


def joined(parts: Sequence[Segment]) -> Value:
    """Neighbours that belong together become one segment."""
    whole: list[Segment] = []
    for part in parts:
        last = whole[-1] if whole else Segment(-2, 0, 0)
        if (last.source, last.stop, last.chain) == (part.source, part.start, part.chain):
            whole[-1] = replace(last, stop=part.stop)
        elif part.stop > part.start:
            whole.append(part)
    return tuple(whole)


def cut(value: Value, start: int, stop: int) -> Value:
    """Channels `start … stop` of a value."""
    parts, at = [], 0
    for part in value:
        low, high = max(start - at, 0), min(stop - at, part.stop - part.start)
        if low < high:
            parts.append(replace(part, start=part.start + low, stop=part.start + high))
        at += part.stop - part.start
    return tuple(parts)
