"""Give our network the weights of theirs, layer by layer in order of use, and compare what it does.

Where theirs concatenates in another order, the channels of our weights are permuted likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from densenet_solutions.check.trace import Source, Trace, Value


@dataclass(frozen=True)
class Pair:
    """A tensor of ours and the one of theirs that it copies: `ours = theirs[order]` along `dim`."""

    what: str
    ours: Tensor
    theirs: Tensor  # the tensor the operation used
    parameter: Tensor  # the parameter behind it
    order: Tensor | None = None
    dim: int = 0

    def like_ours(self, tensor: Tensor) -> Tensor:
        """A tensor of the shape of theirs, with channels in our order."""
        if tensor.shape != self.theirs.shape and tensor.ndim == 2:
            tensor = tensor.t()
        if self.order is not None:
            tensor = tensor.index_select(self.dim, self.order)
        return tensor.reshape(self.ours.shape)


def paired(ours: Trace, theirs: Trace, pairs: Mapping[int, int]) -> tuple[Pair, ...] | None:
    """All tensors in pairs; `None` if the layers are not the same, or compute their weights."""
    both = [([t.sources[i] for i in t.layers], t.norms) for t in (ours, theirs)]
    found: list[Pair] = []
    for mine, other in zip(*both, strict=True):
        if len(mine) != len(other):
            return None
        for a, b in zip(mine, other, strict=True):
            order = _order(a.reads, b.reads, pairs)
            if order is None or not _same_tensors(a, b):
                return None
            for name, (_, parameter) in a.tensors.items():
                used, behind = b.tensors[name]
                if parameter is None or behind is None:
                    return None
                along = name == "weight" and a.is_layer  # a weight reads channels along axis 1
                chosen = order if along or not a.is_layer else None
                found.append(Pair(name, parameter, used, behind, chosen, int(along)))
    return tuple(found)


def _same_tensors(a: Source, b: Source) -> bool:
    if a.tensors.keys() != b.tensors.keys() or (a.kind == "norm" and len(a.tensors) < 4):
        return False
    return all(a.tensors[name][0].numel() == b.tensors[name][0].numel() for name in a.tensors)


def _order(ours: Value, theirs: Value, pairs: Mapping[int, int]) -> Tensor | None:
    """Where each of our channels is among theirs; `None` if they are not the same channels."""
    place = {
        (pairs.get(s.source, -1 - s.source), channel): i
        for i, (s, channel) in enumerate((s, c) for s in theirs for c in range(s.start, s.stop))
    }
    wanted = [(s.source, channel) for s in ours for channel in range(s.start, s.stop)]
    if len(place) != len(wanted) or any(channel not in place for channel in wanted):
        return None
    return torch.tensor([place[channel] for channel in wanted])


def output_order(ours: Trace, theirs: Trace, pairs: Mapping[int, int]) -> Tensor | None:
    """The order of our output's channels among those of theirs, for a part of a network."""
    a, b = ours.sources[-1], theirs.sources[-1]
    return _order(a.reads, b.reads, pairs) if a.kind == b.kind == "output" else None


def copy(pairs: tuple[Pair, ...]) -> None:
    """Write the values of theirs into ours."""
    with torch.no_grad():
        for pair in pairs:
            pair.ours.copy_(pair.like_ours(pair.theirs))


def paired_as_registered(ours: nn.Module, theirs: nn.Module) -> tuple[Pair, ...] | None:
    """Parameters and buffers in the order of `state_dict()`; `None` if shapes do not agree."""
    found: list[Pair] = []
    for kind, what in (("parameters", "weight"), ("buffers", "mean")):
        a, b = (
            [t for t in getattr(net, kind)() if t.is_floating_point()] for net in (ours, theirs)
        )
        if [t.shape for t in a] != [t.shape for t in b]:
            return None
        found += [Pair(what, x, y, y) for x, y in zip(a, b, strict=True)]
    return tuple(found)


def randomize(net: nn.Module) -> None:
    """Values among which no difference can hide: scales of both signs, large shifts."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if not tensor.is_floating_point():
                continue
            new = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if tensor.ndim > 1:
                new *= (2 / max(tensor[0].numel(), 1)) ** 0.5
            elif not isinstance(tensor, nn.Parameter):
                new = 0.5 + new.abs()  # a variance is positive
            else:  # both signs in every tensor
                new = new.sign()[:1] * (-1.0) ** torch.arange(len(new)) * (0.5 + new.abs())
            tensor.copy_(new)


def error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest value of ours."""
    if ours.shape != theirs.shape:
        return float("inf")
    worst = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-30))
    return float("inf") if worst != worst else worst  # nan is no agreement
