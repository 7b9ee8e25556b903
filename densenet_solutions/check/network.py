"""`check.densenet`: is this network the one of the paper or of the book, and if not, why not?"""

from __future__ import annotations

import copy
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densenet_solutions.check.chains import grouped
from densenet_solutions.check.compare import differences
from densenet_solutions.check.lines import line
from densenet_solutions.check.reference import CONFIGS, Reference, reference, roles
from densenet_solutions.check.report import Finding, Report
from densenet_solutions.check.search import parameter_count
from densenet_solutions.check.side_by_side import Difference, SideBySide
from densenet_solutions.check.trace import Trace, run
from densenet_solutions.check.weights import copy as copy_weights
from densenet_solutions.check.weights import copy_in_order, error, paired, randomize
from densenet_solutions.models import DenseNetConfig

#: Relative error in float64 below which two results are the same.
SAME = 1e-8


class TheirError(Exception):
    """The reader's code failed; the message says how and in which line."""

    def __init__(self, doing: str, cause: BaseException) -> None:
        self.finding = Finding(
            "wrong", f"{doing} raises {type(cause).__name__}: {_first_line(cause)}",
            where=_where(cause),
        )  # fmt: skip
        super().__init__(self.finding.text)


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


class Prepared:
    """A copy of the reader's network in float64, and one run of it in evaluation mode."""

    def __init__(self, net: nn.Module | Callable[[], nn.Module], right: Reference) -> None:
        if not isinstance(net, nn.Module):
            try:
                built = net()
            except Exception as cause:
                raise TheirError("Building the network", cause) from cause
            if not isinstance(built, nn.Module):
                raise TypeError(f"net builds a torch.nn.Module, got {type(built).__name__}")
            net = built
        self.net = copied(getattr(net, "_orig_mod", net))
        self.image, first = self._image(right)
        self.channels = self.image.shape[1]
        if not isinstance(first, Tensor) or first.ndim != 2 or len(first) != len(self.image):
            got = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
            message = f"the output has shape (N, classes), got {got} for N = {len(self.image)}"
            raise TheirError("The forward pass", ValueError(message))
        self.classes = first.shape[1]
        self.parameters = sum(p.numel() for p in self.net.parameters())
        randomize(self.net)

    def _image(self, right: Reference) -> tuple[Tensor, Any]:
        """An image that the network takes, and what it makes of it."""
        channels = list(dict.fromkeys((_first_channels(self.net), right.config.in_channels, 3, 1)))
        failures = []
        for resolution in right.resolutions:
            for number in filter(None, channels):
                image = torch.randn(2, number, resolution, resolution, dtype=torch.float64)
                try:
                    with torch.no_grad():
                        if any(nn.parameter.is_lazy(p) for p in self.net.parameters()):
                            self.net(image.float())
                            self.net = self.net.double()
                        return image, self.net.eval()(image)
                except Exception as cause:
                    failures.append(cause)
        raise TheirError("The forward pass", failures[0])

    def traced(self, *, train: bool, image: Tensor) -> tuple[Tensor, Trace]:
        try:
            return run(self.net.train(train), image)
        except Exception as cause:
            mode = "training" if train else "evaluation"
            raise TheirError(f"The forward pass in {mode} mode", cause) from cause


def copied(net: nn.Module) -> nn.Module:
    """A copy in float64 on the CPU, so that the reader's own network stays as it is."""
    try:
        net = copy.deepcopy(net).cpu()
    except Exception as cause:
        raise TheirError("Copying the network", cause) from cause
    if any(nn.parameter.is_lazy(p) for p in net.parameters()):
        return net
    return net.double()


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
        _, seen = theirs.traced(train=False, image=probe)
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
    match_biases(ours, both)
    both.ours = run(ours, probe)[1]
    wrong = function_findings(ours, theirs, both, probe, right.config.drop_rate)
    findings = told(found, same=not wrong, source=right.source)
    findings += _outputs(seen)
    if not any(finding.kind == "wrong" for finding in findings):
        findings += wrong
    findings.append(_count(theirs.parameters, expected, right))
    if all(finding.kind != "wrong" for finding in findings):
        findings.append(Finding(
            "right",
            "Outputs, gradients and running statistics are those of the right network with the "
            "same weights, in float64.",
        ))  # fmt: skip
    return findings


def _count(parameters: int, expected: int, right: Reference) -> Finding:
    if parameters == expected:
        return Finding("right", f"{parameters:,} parameters.")
    text = f"{parameters:,} parameters and not {expected:,}."
    for build in parameter_count(parameters).builds:
        if build.title == right.title and build.deviations:
            so = " ".join(deviation.text for deviation in build.deviations)
            return Finding("wrong", f"{text} It is the number of this build: {so}")
    return Finding("wrong", text)


def function_findings(
    ours: nn.Module, theirs: Prepared, both: SideBySide, probe: Tensor, drop_rate: float
) -> list[Finding]:
    """Where the function differs once ours has the weights of theirs; empty: nowhere."""
    tensors = paired(both.ours, both.theirs, both.pairs)
    if tensors is None:
        if not copy_in_order(ours, theirs.net):
            return [Finding("wrong", "The layers are not those of the right network, so that "
                            "outputs cannot be compared.")]  # fmt: skip
    else:
        copy_weights(tensors)
    found: list[Finding] = []
    try:
        for train in (False, True):
            found += _one_mode(ours, theirs, tensors or (), probe, train, drop_rate)
            if found:
                break
    except TheirError as failure:
        found.append(failure.finding)
    return found


def _one_mode(
    ours: nn.Module,
    theirs: Prepared,
    tensors: Sequence[Any],
    probe: Tensor,
    train: bool,
    drop_rate: float,
) -> list[Finding]:
    mode = "training" if train else "evaluation"
    # In training the image needs no gradient, as in real training; then all weights must get one.
    image = probe.detach() if train else probe
    out, seen = theirs.traced(train=train, image=image)
    rates = _dropout(seen)
    if rates and not train:
        return [Finding("wrong", "Dropout stays on in evaluation mode.", line("dropout", "paper"),
                        next(iter(rates.values())))]  # fmt: skip
    if set(rates) != ({f"p = {drop_rate:g}"} if drop_rate and train else set()):
        if rates:
            there = f"p = {drop_rate:g}" if drop_rate else "none"
            text = f"In training there is dropout with {', '.join(rates)}; it should be {there}."
            where = next(iter(rates.values()))
        else:
            text, where = f"Dropout with p = {drop_rate:g} is missing.", ""
        return [Finding("wrong", text, line("dropout", "paper"), where)]
    if rates:
        return []  # random numbers differ
    right = ours.train(train)(image)
    if (worst := error(right, out)) > SAME:
        return [Finding("wrong", f"In {mode} mode, outputs differ by {worst:.1e} of their size.")]
    weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    for net in (ours, theirs.net):
        net.zero_grad()
    (right * weighting).sum().backward()
    ours_input, probe.grad = probe.grad, None
    try:
        (out * weighting).sum().backward()
    except Exception as cause:
        raise TheirError("The backward pass", cause) from cause
    theirs_input, probe.grad = probe.grad, None
    if not train:
        if theirs_input is None or ours_input is None or error(ours_input, theirs_input) > SAME:
            return [Finding("wrong", "No or another gradient reaches the image: something cuts "
                            "the graph, such as detach(), .data or no_grad().")]  # fmt: skip
        return []
    return _gradients(tensors) + _statistics(theirs.net, tensors)


def _gradients(tensors: Sequence[Any]) -> list[Finding]:
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


def _statistics(net: nn.Module, tensors: Sequence[Any]) -> list[Finding]:
    counters = [
        int(buffer) for name, buffer in net.named_buffers() if name.endswith("num_batches_tracked")
    ]
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
    for pair in tensors:
        if pair.what in ("mean", "variance") and error(
            pair.ours, pair.like_ours(pair.theirs)
        ) > SAME:  # fmt: skip
            return [Finding("wrong", "Running statistics differ after one training step: another "
                            "momentum, or they are updated twice.")]  # fmt: skip
    return []


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
        found.append(Difference(text, "bias", other[0].where))
    classifier, number = layers[-1]
    if classifier.bias is None and number == both.ours.layers[-1] and classifier not in other:
        found.append(Difference("The classifier has no bias.", "classifier", classifier.where))
    return found


def match_biases(ours: nn.Module, both: SideBySide) -> None:
    """Give our layers a bias exactly where those of theirs have one, so that all else compares."""
    owners = {id(m.weight): m for m in ours.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for i in both.theirs.layers:
        right, theirs = both.ours.sources[both.pairs.get(i, 0)], both.theirs.sources[i]
        owner = owners.get(id(right.parameter))
        if owner is not None and (right.bias is None) != (theirs.bias is None):
            zeros = torch.zeros(owner.weight.shape[0], dtype=owner.weight.dtype)
            owner.bias = None if theirs.bias is None else nn.Parameter(zeros)


def _dropout(trace: Trace) -> dict[str, str]:
    """Rates of dropout on the way, and where each is first met."""
    found: dict[str, str] = {}
    for source in trace.sources:
        for segment in source.reads:
            for token in segment.chain:
                if token.kind == "dropout":
                    found.setdefault(token.detail, token.where)
    return found


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
        strict = first.topic in ("bias", "norm")
        harmless = (same and not strict) or (first.same_function and not only_harmless)
        more = len(group) - 1
        text = first.text
        text += f" (And in {more} more place{'s' if more > 1 else ''}.)" if more else ""
        findings.append(Finding(
            "harmless" if harmless else "wrong", text, line(first.topic, source), first.where
        ))  # fmt: skip
    return findings


def _first_channels(net: nn.Module) -> int:
    """Channels that the first convolution reads, if there is one that is ready."""
    for parameter in net.parameters():
        if not nn.parameter.is_lazy(parameter) and parameter.ndim == 4:
            return int(parameter.shape[1])
    return 0


def _where(cause: BaseException) -> str:
    """File and line of the reader's code in which an error came up."""
    torch_folder, own = str(Path(torch.__file__).parent), str(Path(__file__).parents[1])
    for frame in reversed(traceback.extract_tb(cause.__traceback__)):
        if not frame.filename.startswith((torch_folder, own)):
            return f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}"
    return ""


def _first_line(cause: BaseException) -> str:
    return (str(cause).strip() or "no reason given").splitlines()[0]
