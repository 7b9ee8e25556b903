"""Hold a module against the right one: what differs, and whether it computes the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from densenet_solutions.check.chains import grouped
from densenet_solutions.check.compare import differences
from densenet_solutions.check.function import SameFunction
from densenet_solutions.check.lines import line
from densenet_solutions.check.prepared import Prepared
from densenet_solutions.check.recorder import run
from densenet_solutions.check.report import Finding, any_wrong
from densenet_solutions.check.side_by_side import Difference, SideBySide, Target


def held(target: Target, theirs: Prepared) -> tuple[list[Finding], SideBySide]:
    """What is wrong or differs harmlessly, and the traces.

    That nothing is wrong needs equal outputs, gradients and running statistics, whatever the traces
    look like.

    Raises:
        TheirError: the reader's network fails.
    """
    probe = theirs.image.clone().requires_grad_()
    out, seen = theirs.traced(train=False, image=probe)
    ours = target.build().double()
    both = SideBySide(target, run(ours.eval(), probe)[1], seen)
    found = differences(both)
    found += _biases(both) if target.authority == "paper" or not target.any_bias else []
    if _match_biases(ours, both):
        both.ours = SideBySide(target, run(ours, probe)[1], seen).ours
    computed = SameFunction(ours, theirs, both, probe, out).findings()
    findings = _told(found, same=not any_wrong(computed), target=target)
    return findings + ([] if any_wrong(findings) else computed), both


def same_function(findings: Sequence[Finding]) -> list[Finding]:
    """The good news, if nothing is wrong."""
    if any_wrong(findings):
        return []
    return [Finding("right", "Outputs, gradients and running statistics are the right ones for the "
                    "same weights, in float64.")]  # fmt: skip


def _biases(both: SideBySide) -> list[Difference]:
    """Biases of convolutions, where the right network has none, or none where it has them."""
    layers = [both.theirs.sources[i] for i in both.theirs.layers]
    convolutions = [source for source in layers if source.kind == "convolution"]
    should = "bias" in both.ours.sources[both.ours.layers[0]].tensors
    other = [source for source in convolutions if ("bias" in source.tensors) != should]
    found = []
    if other:
        which = "The" if len(other) == len(convolutions) else f"{len(other)} of {len(convolutions)}"
        text = f"{which} convolutions have {'no biases' if should else 'biases'}."
        strict = not both.target.any_bias
        found.append(Difference(text, "bias", other[0].where, same_function=True, strict=strict))
    last = both.theirs.layers[-1] if layers else 0
    classifier = both.theirs.sources[last]
    is_last = not both.target.is_part and both.pairs.get(last) == both.ours.layers[-1]
    if is_last and "bias" not in classifier.tensors and classifier not in other:
        text = "The classifier has no bias."
        found.append(Difference(text, "classifier", classifier.where, strict=True))
    return found


def _match_biases(ours: nn.Module, both: SideBySide) -> bool:
    """Give our layers a bias exactly where those of theirs have one, so that all else compares."""
    changed = False
    owners = {id(m.weight): m for m in ours.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for i in both.theirs.layers:
        right = both.ours.sources[both.pairs.get(i, 0)].tensors
        theirs = both.theirs.sources[i].tensors
        owner = owners.get(id(right["weight"][1])) if "weight" in right else None
        if owner is not None and ("bias" in right) != ("bias" in theirs):
            zeros = torch.zeros(owner.weight.shape[0], dtype=owner.weight.dtype)
            owner.bias = nn.Parameter(zeros) if "bias" in theirs else None
            changed = True
    return changed


def _told(differences: Sequence[Difference], *, same: bool, target: Target) -> list[Finding]:
    """Differences as findings: the first of each kind, and how often it comes again."""
    groups: dict[str, list[Difference]] = {}
    for difference in differences:
        groups.setdefault(grouped(difference.text), []).append(difference)
    only_harmless = all(d.same_function for d in differences)

    def said(topic: str) -> str:
        """The line of the book or paper; the sizes of a part are the reader's own."""
        own = target.is_part and topic in ("growth", "layers")
        return "" if own else line(topic, target.authority)

    findings = []
    for first, *rest in groups.values():
        harmless = (same and not first.strict) or (first.same_function and not only_harmless)
        more = f" (And in {len(rest)} more place{'s' * (len(rest) > 1)}.)" if rest else ""
        findings.append(Finding("harmless" if harmless else "wrong", first.text + more,
                                said(first.topic), first.where))  # fmt: skip
    return findings
