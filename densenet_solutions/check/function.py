"""Does a network compute what the right one computes, once both have the same weights?

Outputs, gradients of the image and of every weight, and running statistics after one training
step, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densenet_solutions.check.lines import line
from densenet_solutions.check.prepared import Prepared, TheirError
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

#: Relative error in float64 below which two results are the same.
SAME = 1e-8


def function_findings(
    ours: nn.Module, theirs: Prepared, both: SideBySide, probe: Tensor, out: Tensor, rate: float
) -> list[Finding]:
    """Where the function differs once ours has the weights of theirs; empty: nowhere.

    `out` is what theirs has made of the image `probe` in evaluation mode, and `rate` the dropout
    of the right network.
    """
    tensors = paired(both.ours, both.theirs, both.pairs) or paired_as_registered(ours, theirs.net)
    if tensors is None:
        return [Finding("wrong", "The layers are not those of the right network, so that "
                        "outputs cannot be compared.")]  # fmt: skip
    copy(tensors)
    out = _ordered(out, both)
    if where := _dropout(both.theirs):
        text = "Dropout stays on in evaluation mode."
        return [Finding("wrong", text, line("dropout", both.source), next(iter(where.values())))]
    try:
        return _evaluation(ours, theirs, probe, out) or _training(
            ours, theirs, both, tensors, probe.detach(), rate
        )
    except TheirError as failure:
        return [failure.finding]


def _evaluation(ours: nn.Module, theirs: Prepared, probe: Tensor, out: Tensor) -> list[Finding]:
    """Outputs, and the gradient of the image."""
    right = ours.eval()(probe)
    if (worst := error(right, out)) > SAME:
        return [_other_outputs("evaluation", worst)]
    _backward(ours, right)
    expected, probe.grad = probe.grad, None
    _backward(theirs.net, out, theirs=True)
    found, probe.grad = probe.grad, None
    if found is None or expected is None or error(expected, found) > SAME:
        return [Finding("wrong", "No or another gradient reaches the image: something cuts the "
                        "graph, such as detach(), .data or no_grad().")]  # fmt: skip
    return []


def _training(
    ours: nn.Module,
    theirs: Prepared,
    both: SideBySide,
    tensors: Sequence[Pair],
    image: Tensor,
    rate: float,
) -> list[Finding]:
    """Outputs, the gradient of every weight, running statistics, and dropout.

    The image needs no gradient here, as in real training; all weights must get one all the same.
    """
    before = _counters(theirs.net)
    names = {id(buffer): name for name, buffer in theirs.net.named_buffers()}
    out, seen = theirs.traced(train=True, image=image)
    out = _ordered(out, both)
    rates = _dropout(seen)
    if set(rates) != ({f"p = {rate:g}"} if rate else set()):
        where = next(iter(rates.values()), "")
        text = f"Dropout with p = {rate:g} is missing."
        if rates:
            should = f"p = {rate:g}" if rate else "none"
            text = f"In training there is dropout with {', '.join(rates)}; it should be {should}."
        return [Finding("wrong", text, line("dropout", both.source), where)]
    if rates:
        return []  # random numbers differ
    right = ours.train()(image)
    if (worst := error(right, out)) > SAME:
        return [_other_outputs("training", worst)]
    _backward(ours, right)
    _backward(theirs.net, out, theirs=True)
    once = [now - then for now, then in zip(_counters(theirs.net), before, strict=True)]
    now = dict(theirs.net.named_buffers())  # a buffer may be another tensor than before
    tracked = [
        (pair, now.get(names.get(id(pair.theirs), ""), pair.theirs))
        for pair in tensors
        if pair.what in ("mean", "variance")
    ]
    return _gradients(tensors) + _statistics(once, tracked)


def _ordered(out: Tensor, both: SideBySide) -> Tensor:
    """The output of a part of a network, with channels in our order."""
    order = output_order(both.ours, both.theirs, both.pairs)
    return out if order is None else out.index_select(1, order)


def _other_outputs(mode: str, worst: float) -> Finding:
    return Finding(
        "wrong",
        f"With the same weights, outputs in {mode} mode differ from the right ones by up to "
        f"{worst:.1e} times the largest.",
    )


def _backward(net: nn.Module, out: Tensor, *, theirs: bool = False) -> None:
    """Gradients of a random weighting of the outputs."""
    weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    net.zero_grad()
    try:
        (out * weighting).sum().backward()
    except Exception as cause:
        if not theirs:
            raise
        raise TheirError("The backward pass", cause) from cause


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
            different += error(pair.ours.grad, pair.like_ours(pair.parameter.grad)) > 1e-6
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
    for source in trace.sources:
        for segment in source.reads:
            for token in segment.chain:
                if token.kind == "dropout":
                    found.setdefault(token.detail, token.where)
    return found
