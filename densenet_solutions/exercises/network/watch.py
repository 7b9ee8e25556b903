"""A tracker that knows what a tensor of a dense block is, and for which layer it was made.

A tensor's kind is the operation that made it, an operation's layer the one whose parameters it
reads. Widths are in channels: bytes divided by the bytes of one channel of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn

from densenet_solutions.measure.torch_private import storage_key, tree_iter
from densenet_solutions.measure.tracker import StorageTracker

Kind = Literal[
    "input",
    "concatenation",
    "normalised",
    "bottleneck",
    "normalised bottleneck",
    "features",
    "buffer",
    "scratch",
    "gradient",
]
Phase = Literal["before", "forward", "turn", "backward", "after"]


@dataclass(frozen=True, slots=True)
class Slab:
    """One tensor over the pixels of the batch.

    `layer` made it (0: the block's input); `channels` is its width, of which `written` hold values:
    a buffer is filled from left to right. A part of the batch counts as a part of the width.
    """

    key: int
    kind: Kind
    layer: int
    channels: float
    written: float


@dataclass(frozen=True, slots=True)
class Moment:
    """One layer's part of a pass: what is held, and what came and went while it ran.

    In the forward pass `held` is what is left when the layer is done; in the backward pass what is
    there when most is there. `phase` `"turn"` is the end of the forward pass.
    """

    phase: Phase
    layer: int
    held: tuple[Slab, ...]
    passing: tuple[Slab, ...]

    @property
    def channels(self) -> float:
        """Width of all that is held."""
        return sum(slab.channels for slab in self.held)

    @property
    def peak_channels(self) -> float:
        """Width of all that is held or passes."""
        return self.channels + sum(slab.channels for slab in self.passing)


class Consumed(torch.autograd.Function):
    """Reads the block's output, keeps nothing of it, and sends a full gradient back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, watch: Watch) -> Tensor:
        watch.forward_ends()
        ctx.like = x.shape, x.stride()  # a gradient usually has its tensor's layout
        return x.new_empty(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.new_empty_strided(*ctx.like), None


class Watch(StorageTracker):
    """A tracker that also notes which operation made a storage, and for which layer."""

    def __init__(self, block: nn.Module, x: Tensor, growth_rate: int, total: int) -> None:
        super().__init__(
            block,
            {"parameters": block.parameters(), "buffers": block.buffers(), "input": [x]},
        )
        self.channel_bytes = x.nbytes // x.shape[1]
        self.saved: dict[int, int] = {}  # storage → bytes
        self._growth_rate, self._total = growth_rate, total
        self._own = len(self._all)  # what is older belongs to model and input
        self._weights = {parameter.shape for parameter in block.parameters()}
        self._lengths = range(max(total, *(len(p) for p in block.parameters())) + 1)
        self._maps: set[int] = set()  # identities of the records of maps of features
        named = [*block.named_parameters(), *block.named_buffers()]
        self._layer_of = {
            storage_key(tensor.untyped_storage()): int(name.split("denselayer")[1].split(".")[0])
            for name, tensor in named
        }
        self._of_bottleneck = {
            storage_key(tensor.untyped_storage()) for name, tensor in named if ".norm2." in name
        }
        self._names: list[str] = []  # of each operation
        self._layers: list[int | None] = []  # whose parameters it reads
        self._columns: dict[int, int] = {}  # operation → up to where it filled the buffer
        self._turn = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = len(self._all)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        born = {id(record) for record in self._all[before:]}
        for made in tree_iter(out):  # judged at birth: a view may look like anything
            if isinstance(made, Tensor) and self._is_map(made):
                record = self._live[storage_key(made.untyped_storage())][1]
                self._maps |= {id(record)} & born
        read = [storage_key(a.untyped_storage()) for a in args if isinstance(a, Tensor)]
        name = func.overloadpacket.__name__
        if name == "cat" and not self._is_map(out):
            name = "cat of vectors"
        self._names.append(name + " bottleneck" * bool(self._of_bottleneck.intersection(read)))
        layers = [self._layer_of[key] for key in read if key in self._layer_of]
        # `detach` is the hook at work, on all that a function saves at once.
        known = layers and name != "detach"
        self._layers.append(layers[0] if known else None)
        if self._names[-1] == "copy_" and self._in_buffer(args[0]):
            self._columns[len(self._names)] = args[0].storage_offset() + args[0].shape[-1]
        return out

    def see_saved(self, tensor: Tensor) -> Tensor:
        """Hook for what autograd saves: maps of features in the forward pass, each once."""
        storage = tensor.untyped_storage()
        if self._is_map(tensor) and not self._turn:
            self.saved[storage_key(storage)] = storage.nbytes()
        return tensor.detach()

    def _in_buffer(self, tensor: Tensor) -> bool:
        """Whether it is columns of the buffer, which has a row of `total` channels a pixel."""
        return tensor.stride()[:1] == (self._total,)

    def _is_map(self, tensor: Tensor) -> bool:
        """Whether it is about pixels: no vector of a norm, no parameter and no gradient of one."""
        vector = tensor.ndim == 1 and len(tensor) in self._lengths
        large = tensor.untyped_storage().nbytes() >= self.channel_bytes
        return large and not vector and tensor.shape not in self._weights

    def forward_ends(self) -> None:
        """From here on operations belong to the backward pass, but for the one that comes next."""
        self.phase = "backward"
        self._turn = len(self._names) + 1

    def moments(self) -> tuple[Moment, ...]:
        """One for each layer and pass, with the beginning, the turn and the end."""
        last = len(self._names)
        steps = self._steps()
        slabs = [
            (self._slab(i, *steps[storage.born - 1]), storage.born, storage.died or last + 2)
            for i, storage in enumerate(self._all)
            if i >= self._own and id(storage) in self._maps
        ]
        found = []
        start = 1
        for (phase, layer), operations in groupby(steps):
            end = start + len(list(operations)) - 1
            peak = max(
                range(start, end + 1),
                key=lambda t: sum(slab.channels for slab, born, died in slabs if born <= t < died),
            )
            held, passing = [], []
            for slab, born, died in slabs:
                there = born <= peak < died
                if there and born >= start and died <= end + 1:
                    passing.append(slab)
                elif there if phase == "backward" else born <= end and died > end + 1:
                    held.append(self._filled(slab, end))
            found.append(Moment(phase, layer, tuple(held), tuple(passing)))
            start = end + 1
        left = tuple(slab for slab, _, died in slabs if died > last + 1)
        return (*found, Moment("after", 0, left, ()))

    def _steps(self) -> list[tuple[Phase, int]]:
        """Of each operation: the pass and the layer."""
        turn = self._turn - 1
        forward = _spread(self._layers[:turn], self._names[:turn])
        backward = _spread(self._layers[turn + 1 :], self._names[turn + 1 :])
        first = next(layer for layer in backward if layer)
        steps: list[tuple[Phase, int]] = [
            ("before", 0) if layer is None else ("forward", layer) if layer else ("turn", 0)
            for layer in forward
        ]
        steps.append(("turn", 0))
        return steps + [("backward", layer or first) for layer in backward]

    def _slab(self, i: int, phase: Phase, layer: int) -> Slab:
        channels = self._all[i].bytes / self.channel_bytes
        name = self._names[self._all[i].born - 1]
        kind: Kind = "gradient" if phase == "backward" and name != "new_empty" else "scratch"
        if name == "cat":
            kind = "concatenation"
        elif name in ("native_batch_norm", "relu"):
            kind = "normalised"
        elif name == "native_batch_norm bottleneck":
            kind = "normalised bottleneck"
        elif name == "convolution" and channels >= self._growth_rate:
            kind = "features" if channels == self._growth_rate else "bottleneck"
        elif phase == "before" and name == "mul":
            kind = "input"
        elif phase == "before" and channels == self._total:
            kind = "buffer"
        return Slab(i, kind, layer, channels, channels)

    def _filled(self, slab: Slab, operation: int) -> Slab:
        """The buffer as far as it is written at that operation."""
        if slab.kind != "buffer":
            return slab
        written = max(c for t, c in self._columns.items() if t <= operation)
        return replace(slab, written=written)


def _spread(layers: list[int | None], names: list[str]) -> list[int | None]:
    """Give operations that read no parameters to a layer: that before them.

    A concatenation goes to the layer that comes next and reads it, or to none (0).
    """
    spread: list[int | None] = []
    current = None
    for i, (layer, name) in enumerate(zip(layers, names, strict=True)):
        if layer is not None:
            current = layer
        elif name == "cat":
            current = next((later for later in layers[i:] if later is not None), 0)
        spread.append(current)
    return spread
