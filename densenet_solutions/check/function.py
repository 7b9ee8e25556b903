"""Does a network compute what the right one computes, once both have the same weights?

In float64: outputs, also for one image, on odd sides and at other scales; gradients of the image
and of every weight; running statistics after one training step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from densenet_solutions.check.lines import line
from densenet_solutions.check.prepared import Prepared, TheirError, their_code
from densenet_solutions.check.report import Finding
from densenet_solutions.check.side_by_side import SideBySide
from densenet_solutions.check.trace import Trace
from densenet_solutions.check.weights import (
    Pair,
    copy,
    error,
    output_order,
    paired,
    paired_as_registered,
)

#: Relative error in float64 below which two results are the same; different orders give 1e-13.
SAME = 1e-10
#: Without shifts a DenseNet multiplies its output as its input, at any scale.
SCALES = (1e-12, 1e-6, 1e6, 1e12)


class _FixedMasks(TorchDispatchMode):
    """Dropout draws the same mask wherever the shape is the same."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.name == "aten::bernoulli_" and len(args) > 1:
            seeded = torch.Generator().manual_seed(out.numel())
            out.copy_(torch.rand(out.shape, generator=seeded, dtype=torch.float64) < args[1])
        return out


class SameFunction:
    """Compares two networks, of which ours gets the weights of theirs.

    Args:
        probe: images, which require a gradient.
        out: what theirs has made of them in evaluation mode.
    """

    def __init__(
        self, ours: nn.Module, theirs: Prepared, both: SideBySide, probe: Tensor, out: Tensor
    ) -> None:
        self.ours, self.theirs, self.both, self.probe, self.out = ours, theirs, both, probe, out
        self.order = output_order(both.ours, both.theirs, both.pairs)

    def findings(self) -> list[Finding]:
        """Where the function differs, wrong, or could not be compared, a note; empty: nowhere."""
        pairs = paired(self.both.ours, self.both.theirs, self.both.pairs)
        pairs = pairs or paired_as_registered(self.ours, self.theirs.net)
        if pairs is None:
            return [Finding("wrong", "The layers are not those of the right network, so that "
                            "outputs cannot be compared.")]  # fmt: skip
        copy(pairs)
        if rates := _dropout(self.both.theirs):
            text, where = "Dropout stays on in evaluation mode.", next(iter(rates.values()))
            return [Finding("wrong", text, line("dropout", self.both.target.authority), where)]
        if self.both.theirs.autocast:
            return [Finding("wrong", "Autocast is on inside the network: it computes in 16 bits "
                            "where its weights are float32. It belongs to the training loop.",
                            where=self.both.theirs.autocast)]  # fmt: skip
        try:
            return self._evaluation() or self._training(pairs) or self._elsewhere(pairs)
        except TheirError as failure:
            return [failure.finding]

    def _outputs(self, where: str, right: Tensor, out: Tensor) -> list[Finding]:
        if right.shape != out.shape and len(right) == 1:
            text = f"{where} the output has the shape {tuple(out.shape)}, not {tuple(right.shape)}."
            lost = " squeeze() takes the axis of the batch too." if out.ndim < right.ndim else ""
            return [Finding("wrong", text + lost)]
        if self.order is not None:
            out = out.index_select(1, self.order)
        if (worst := error(right, out)) <= SAME:
            return []
        return [Finding("wrong", f"{where} outputs differ, with the same weights, from the right "
                        f"ones by up to {worst:.1e} times the largest.")]  # fmt: skip

    def _evaluation(self) -> list[Finding]:
        """Outputs, and the gradient of the image."""
        right = self.ours.eval()(self.probe)
        if wrong := self._outputs("In evaluation mode", right, self.out):
            return wrong
        gradients = []
        for net, out in ((self.ours, right), (self.theirs.net, self._ordered(self.out))):
            _backward(net, out)
            gradients.append(self.probe.grad)
            self.probe.grad = None
        expected, found = gradients
        if expected is None or found is None or error(expected, found) > SAME:
            return [Finding("wrong", "No or another gradient reaches the image: something cuts the "
                            "graph, such as detach(), .data or no_grad().")]  # fmt: skip
        return []

    def _ordered(self, out: Tensor) -> Tensor:
        return out if self.order is None else out.index_select(1, self.order)

    def _training(self, pairs: Sequence[Pair]) -> list[Finding]:
        """Outputs, the gradient of every weight, running statistics, and dropout.

        The image needs no gradient here, as in real training; all weights must get one anyway.
        """
        net, image = self.theirs.net, self.probe.detach()
        before = _counters(net)
        names = {id(buffer): name for name, buffer in net.named_buffers()}
        with _FixedMasks():
            out, seen = self.theirs.traced(train=True, image=image)
            if found := self._rates(_dropout(seen)):
                return found
            right = self.ours.train()(image)
            if found := self._outputs("In training mode", right, out):
                return found
            _backward(self.ours, right)
            _backward(net, self._ordered(out))
        once = [now - then for now, then in zip(_counters(net), before, strict=True)]
        now = dict(net.named_buffers())  # a buffer may be another tensor than before
        tracked = [
            (pair, now.get(names.get(id(pair.theirs), ""), pair.theirs))
            for pair in pairs
            if pair.what in ("mean", "variance")
        ]
        return _gradients(pairs) + _statistics(once, tracked)

    def _rates(self, rates: dict[str, str]) -> list[Finding]:
        rate = self.both.target.rate
        should = f"p = {rate:g}" if rate else "none"
        if set(rates) == ({should} if rate else set()):
            return []
        text = f"Dropout with {should} is missing."
        if rates:
            text = f"In training there is dropout with {', '.join(rates)}; it should be {should}."
        where = next(iter(rates.values()), "")
        return [Finding("wrong", text, line("dropout", self.both.target.authority), where)]

    @torch.no_grad()
    def _elsewhere(self, pairs: Sequence[Pair]) -> list[Finding]:
        """Outputs for one image, on another one with odd sides, and at scales far from 1."""
        self.ours.eval()
        one, notes = self.probe.detach()[:1], []
        found = self._outputs("For one image", self.ours(one), self.theirs(one))
        for height, width in self.both.target.sides:
            image = torch.randn(1, one.shape[1], height, width, dtype=one.dtype)
            try:
                out = self.theirs(image)
            except TheirError:
                continue
            found += self._outputs(f"On {height} × {width} pixels", self.ours(image), out)
            break
        else:
            was = " × ".join(map(str, one.shape[2:]))
            tried = " and ".join(f"{height} × {width}" for height, width in self.both.target.sides)
            notes = [Finding("note", f"It fails on {tried} pixels, and was compared on {was}.")]
        shifts = {id(p) for m in self.ours.modules() for p in _shifts(m)}
        for pair in pairs:
            if id(pair.ours) in shifts:
                pair.ours.zero_()
                pair.theirs.zero_()
        for scale in SCALES:
            image, where = scale * one, f"Of an image with values of {scale:g}"
            found += self._outputs(where, self.ours(image), self.theirs(image))
        return found[:1] + notes


def _shifts(module: nn.Module) -> list[Tensor]:
    own = (getattr(module, name, None) for name in ("bias", "running_mean"))
    return [tensor for tensor in own if isinstance(tensor, Tensor)]


def _backward(net: nn.Module, out: Tensor) -> None:
    """Gradients of a random weighting of the outputs."""
    weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    net.zero_grad()
    with their_code("The backward pass"):
        (out * weighting).sum().backward()


def _counters(net: nn.Module) -> list[int]:
    return [int(b) for name, b in net.named_buffers() if name.endswith("num_batches_tracked")]


def _gradients(tensors: Sequence[Pair]) -> list[Finding]:
    lacking = different = total = 0
    for pair in tensors:
        if pair.ours.grad is None or not isinstance(pair.parameter, nn.Parameter):
            continue
        total += 1
        if pair.parameter.grad is None:
            lacking += bool(pair.ours.grad.abs().max() > 0)
        elif pair.ours.grad.abs().max() > 1e-9:
            different += error(pair.ours.grad, pair.like_ours(pair.parameter.grad)) > 1e-8
    if lacking:
        return [Finding(
            "wrong",
            f"{lacking} of {total} parameters get no gradient in training. Frozen, detached, or "
            "recomputed by a checkpoint whose inputs need no gradient: use_reentrant=False.",
        )]  # fmt: skip
    if different:
        return [Finding("wrong", f"{different} of {total} parameters get another gradient.")]
    return []


def _statistics(counters: Sequence[int], tracked: Sequence[tuple[Pair, Tensor]]) -> list[Finding]:
    """How often they were updated, and their values: of ours, and of theirs."""
    if any(counter != 1 for counter in counters):
        several = sum(counter > 1 for counter in counters)
        what = f"{several} of them are updated {max(counters)} times" if several else (
            f"{counters.count(0)} of them are not updated"
        )  # fmt: skip
        return [Finding(
            "wrong",
            f"In one training step, the running statistics of {len(counters)} normalisations should"
            f" be updated once; {what}. (Recomputation runs them again.)",
        )]  # fmt: skip
    if any(error(pair.ours, pair.like_ours(buffer)) > SAME for pair, buffer in tracked):
        return [Finding("wrong", "Running statistics differ after one training step: another "
                        "momentum, or they are updated twice.")]  # fmt: skip
    return []


def _dropout(trace: Trace) -> dict[str, str]:
    """Rates of dropout on the way, and where each is first met."""
    found: dict[str, str] = {}
    for segment in trace.reads():
        for token in segment.chain:
            if token.kind == "dropout":
                found.setdefault(token.detail, token.where)
    return found
