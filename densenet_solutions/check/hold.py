"""Hold a module against the right one: what differs, and whether it computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from densenet_solutions.check.chains import grouped
from densenet_solutions.check.compare import differences
from densenet_solutions.check.function import SameFunction
from densenet_solutions.check.lines import line
from densenet_solutions.check.prepared import Prepared, TheirError
from densenet_solutions.check.recorder import run
from densenet_solutions.check.report import Finding
from densenet_solutions.check.rows import Role, Source
from densenet_solutions.check.side_by_side import Difference, SideBySide
from densenet_solutions.check.trace import Trace


@dataclass(frozen=True)
class Target:
    """What a module is held against.

    `build` makes the right one, `roles` says what its layers are for, in order of use; for a part
    of a network the last role is its output. `any_bias`: convolutions may have biases or not.
    `sides`: further heights and widths on which outputs are compared.
    """

    build: Callable[[], nn.Module]
    roles: tuple[Role, ...]
    growth: int
    blocks: tuple[int, ...]
    source: Source = "paper"
    rate: float = 0.0
    any_bias: bool = False
    sides: tuple[tuple[int, int], ...] = ((7, 9),)
    known: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def held(target: Target, theirs: Prepared) -> tuple[list[Finding], Trace | None]:
    """What is wrong or differs harmlessly, and the trace; no finding is wrong only if all is right.

    That needs equal outputs, gradients and running statistics, whatever the traces look like.
    """
    probe = theirs.image.clone().requires_grad_()
    try:
        out, seen = theirs.traced(train=False, image=probe)
    except TheirError as failure:
        return [failure.finding], None
    ours = target.build().double()
    right = run(ours.eval(), probe)[1]
    is_part = target.roles[-1].kind == "output"
    if is_part:
        right, seen = right.with_output(), seen.with_output()
    both = SideBySide(
        right, seen, target.roles, target.growth, target.blocks, target.known,
        target.source,
    )  # fmt: skip
    found = differences(both)
    found += [] if target.any_bias else biases(both)
    if match_biases(ours, both):
        right = run(ours, probe)[1]
        both.ours = right.with_output() if is_part else right
    computed = SameFunction(ours, theirs, both, probe, out, target.rate, target.sides).findings()
    same = not any(finding.kind == "wrong" for finding in computed)
    findings = told(found, same=same, source=target.source)
    if not any(finding.kind == "wrong" for finding in findings):
        findings += computed
    return findings, seen


def biases(both: SideBySide) -> list[Difference]:
    """Biases of convolutions, where the right network has none, or none where it has them."""
    layers = [(both.theirs.sources[i], both.pairs.get(i)) for i in both.theirs.layers]
    convolutions = [source for source, _ in layers if source.kind == "convolution"]
    should = both.ours.sources[both.ours.layers[0]].bias is not None
    other = [source for source in convolutions if (source.bias is not None) != should]
    found = []
    if other:
        all_of_them = len(other) == len(convolutions)
        which = "The" if all_of_them else f"{len(other)} of {len(convolutions)}"
        text = f"{which} convolutions have {'no biases' if should else 'biases'}."
        found.append(Difference(text, "bias", other[0].where, strict=True))
    classifier, number = layers[-1] if layers else (both.theirs.sources[0], None)
    if classifier.bias is None and number == both.ours.layers[-1] and classifier not in other:
        text = "The classifier has no bias."
        found.append(Difference(text, "classifier", classifier.where, strict=True))
    return found


def match_biases(ours: nn.Module, both: SideBySide) -> bool:
    """Give our layers a bias exactly where those of theirs have one, so that all else compares."""
    changed = False
    owners = {id(m.weight): m for m in ours.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for i in both.theirs.layers:
        right, theirs = both.ours.sources[both.pairs.get(i, 0)], both.theirs.sources[i]
        owner = owners.get(id(right.parameter))
        if owner is not None and (right.bias is None) != (theirs.bias is None):
            zeros = torch.zeros(owner.weight.shape[0], dtype=owner.weight.dtype)
            owner.bias = None if theirs.bias is None else nn.Parameter(zeros)
            changed = True
    return changed


def told(differences: Sequence[Difference], *, same: bool, source: Source) -> list[Finding]:
    """Differences as findings: the first of each kind, and how often it comes again."""
    groups: dict[str, list[Difference]] = {}
    for difference in differences:
        groups.setdefault(grouped(difference.text), []).append(difference)
    only_harmless = all(d.same_function for d in differences)
    findings = []
    for group in groups.values():
        first = group[0]
        harmless = (same and not first.strict) or (first.same_function and not only_harmless)
        more = len(group) - 1
        text = first.text
        text += f" (And in {more} more place{'s' if more > 1 else ''}.)" if more else ""
        findings.append(Finding(
            "harmless" if harmless else "wrong", text, line(first.topic, source), first.where
        ))  # fmt: skip
    return findings


def same_function(findings: Sequence[Finding]) -> list[Finding]:
    """The good news, if nothing is wrong."""
    if any(finding.kind == "wrong" for finding in findings):
        return []
    return [Finding(
        "right",
        "Outputs, gradients and running statistics are the right ones for the same weights, in "
        "float64.",
    )]  # fmt: skip


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """What is wrong comes first."""
    order = {"wrong": 0, "right": 1, "harmless": 2, "note": 3}
    return tuple(sorted(findings, key=lambda finding: order[finding.kind]))
