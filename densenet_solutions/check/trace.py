"""What a network has done with its channels, as data: who reads which of them, and after what.

Activations are a list of segments: channels of one convolution's output, and what has happened to
them since. `recorder.run` fills it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from densenet_solutions.check.tokens import Token


@dataclass(frozen=True)
class Segment:
    """Channels `start … stop` of a source, after the operations of `chain`."""

    source: int
    start: int
    stop: int
    chain: tuple[Token, ...] = ()

    def then(self, token: Token) -> Segment:
        return replace(self, chain=(*self.chain, token))

    @property
    def width(self) -> int:
        return self.stop - self.start


Value = tuple[Segment, ...]


@dataclass(frozen=True)
class Source:
    """What makes channels: the image, a convolution, a linear layer, a sum or something else.

    `kernel` is `"7×7"` and so on; `geometry` are stride, padding, dilation and groups. `weight` is
    what the operation used, `parameter` the parameter it came from, if it is one unchanged.
    """

    kind: str
    reads: Value = ()
    weight: Tensor | None = None
    bias: Tensor | None = None
    parameter: Tensor | None = None
    kernel: str = ""
    geometry: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    where: str = ""
    after: tuple[str, ...] = ()

    @property
    def is_layer(self) -> bool:
        return self.kind in ("convolution", "linear", "output")

    @property
    def out(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 0


@dataclass(frozen=True)
class Norm:
    """One batch normalisation: what it reads, its tensors, and its two constants."""

    reads: Value
    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    variance: Tensor | None
    eps: float
    momentum: float
    where: str


@dataclass
class Trace:
    """All that was seen; `sources[0]` is the image."""

    sources: list[Source]
    norms: list[Norm]
    output: Value | None = None
    autocast: str = ""  # where it was first on

    def with_output(self) -> Trace:
        """The trace of a part of a network: its output is one more reader."""
        reads = self.output or (Segment(-1, 0, 0),)
        width = sum(segment.width for segment in reads)
        made = Source("output", reads, shape=(0, width))
        return replace(self, sources=[*self.sources, made])

    @property
    def layers(self) -> list[int]:
        """Numbers of the convolutions and linear layers, in order of use (and the output's)."""
        return [i for i, source in enumerate(self.sources) if source.is_layer]


def joined(parts: Sequence[Segment]) -> Value:
    """Neighbours that belong together become one segment."""
    whole: list[Segment] = []
    for part in parts:
        if not part.width:
            continue
        last = whole[-1] if whole else None
        if last is not None and (last.source, last.stop, last.chain) == (
            part.source,
            part.start,
            part.chain,
        ):
            whole[-1] = replace(last, stop=part.stop)
        else:
            whole.append(part)
    return tuple(whole)


def cut(value: Value, start: int, stop: int) -> Value:
    """Channels `start … stop` of a value."""
    parts, at = [], 0
    for part in value:
        low, high = max(start - at, 0), min(stop - at, part.width)
        if low < high:
            parts.append(replace(part, start=part.start + low, stop=part.start + high))
        at += part.width
    return tuple(parts)
