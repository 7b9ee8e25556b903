"""`check.densenet`: is this network the one of the paper or of the book, and if not, why not?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from densenet_solutions.check.chains import grouped
from densenet_solutions.check.compare import differences
from densenet_solutions.check.function import function_findings
from densenet_solutions.check.lines import line
from densenet_solutions.check.prepared import Prepared, TheirError
from densenet_solutions.check.reference import CONFIGS, Reference, reference, roles
from densenet_solutions.check.report import Finding, Report
from densenet_solutions.check.search import parameter_count
from densenet_solutions.check.side_by_side import Difference, SideBySide
from densenet_solutions.check.trace import Trace, run
from densenet_solutions.models import DenseNetConfig


@dataclass(frozen=True)
class NetworkReport(Report):
    """What a network is.

    Attributes:
        name: what it was held against.
        parameters: how many it has.
        expected: how many it should have, with its channels and classes.
    """

    name: str
    parameters: int
    expected: int


def densenet(net: nn.Module | Callable[[], nn.Module], name: str | DenseNetConfig) -> NetworkReport:
    """Hold a network (images in, logits out) against a DenseNet of the paper or of the book.

    A copy runs in float64. Its layers are paired with ours in the order in which they are used,
    however the network is written; then ours gets its weights, and outputs, gradients and running
    statistics are compared. The number of input channels and of classes may be any. A network that
    fails is a finding and no exception.

    Args:
        net: a module, or a function or class that builds one.
        name: `"densenet121"` and the others of Table 1, `"cifar-densenet-bc-100-12"` and the
            others of Table 2, `"book-densenet"`, or a configuration.

    Raises:
        TypeError: `net` is neither a module nor something that builds one.
        ValueError: there is no network of that name.

    >>> import torchvision
    >>> densenet(torchvision.models.densenet121(), "densenet121").passed
    True
    """
    if not isinstance(net, nn.Module) and not callable(net):
        raise TypeError(f"net is a torch.nn.Module, or a function that builds one, got {net!r}")
    right = reference(name)
    called = name if isinstance(name, str) else "configuration"
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        try:
            theirs = Prepared(net, right)
        except TheirError as failure:
            return NetworkReport(f"{right.title}", (failure.finding,), called, 0, 0)
        return _report(right.sized(theirs.channels, theirs.classes), theirs, called)


def _report(right: Reference, theirs: Prepared, name: str) -> NetworkReport:
    expected = sum(p.numel() for p in right.build().parameters())
    findings = _findings(right, theirs, expected)
    order = {"wrong": 0, "right": 1, "harmless": 2, "note": 3}
    findings.sort(key=lambda finding: order[finding.kind])
    channels = f"{theirs.channels} channel{'s' if theirs.channels > 1 else ''}"
    title = f"{right.title} ({channels}, {theirs.classes} classes)"
    return NetworkReport(title, tuple(findings), name, theirs.parameters, expected)


def _findings(right: Reference, theirs: Prepared, expected: int) -> list[Finding]:
    probe = theirs.image.clone().requires_grad_()
    try:
        out, seen = theirs.traced(train=False, image=probe)
    except TheirError as failure:
        return [failure.finding]
    ours = right.build()
    both = SideBySide(
        run(ours.eval(), probe)[1],
        seen,
        roles(right.config),
        right.config.growth_rate,
        right.config.block_config,
        {other: config.block_config for other, config in CONFIGS.items()},
    )
    found = differences(both) + biases(both)
    if match_biases(ours, both):
        both.ours = run(ours, probe)[1]
    wrong = function_findings(ours, theirs, both, probe, out, right.config.drop_rate)
    findings = told(found, same=not wrong, source=right.source)
    findings += _outputs(seen)
    if not any(finding.kind == "wrong" for finding in findings):
        findings += wrong
    explained = any(finding.kind == "wrong" for finding in findings)
    findings.append(_count(theirs.parameters, expected, right, explained))
    if all(finding.kind != "wrong" for finding in findings):
        findings.append(Finding(
            "right",
            "Outputs, gradients and running statistics are those of the right network with the "
            "same weights, in float64.",
        ))  # fmt: skip
    return findings


def _count(parameters: int, expected: int, right: Reference, explained: bool) -> Finding:
    if parameters == expected:
        return Finding("right", f"{parameters:,} parameters.")
    text = f"{parameters:,} parameters and not {expected:,}."
    for build in () if explained else parameter_count(parameters).builds:
        if build.title == right.title and build.deviations:
            so = " ".join(deviation.text for deviation in build.deviations)
            return Finding("wrong", f"{text} It is the number of this build: {so}")
    return Finding("wrong", text)


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


def _outputs(trace: Trace) -> list[Finding]:
    """What happens after the classifier."""
    after = [token for segment in trace.output or () for token in segment.chain]
    if not after:
        return []
    name = {"_softmax": "softmax", "_log_softmax": "log_softmax"}.get(after[0].kind, after[0].kind)
    text = f"After the classifier comes “{name}”; the loss (cross_entropy) wants the logits."
    return [Finding("wrong", text, line("classifier", "paper"), after[0].where)]


def told(differences: Sequence[Difference], *, same: bool, source: Any) -> list[Finding]:
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
