"""`check.densenet`, `.dense_block`, `.transition`: a network or a part held against the paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from densenet_solutions import checks
from densenet_solutions.check.hold import held, same_function
from densenet_solutions.check.lines import line
from densenet_solutions.check.prepared import Net, Prepared, TheirError, failure_told
from densenet_solutions.check.report import Finding, Report, any_wrong, wrong_first
from densenet_solutions.check.rows import DENSE, Role, Row, block_roles, right_network, roles
from densenet_solutions.check.search import wrong_count
from densenet_solutions.check.side_by_side import Target
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models.densenet import DenseBlock, Transition


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


def densenet(net: Net, name: str | DenseNetConfig) -> NetworkReport:
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

    Examples:
        >>> import torchvision
        >>> densenet(torchvision.models.densenet121(), "densenet121").passed
        True
    """
    row = right_network(name)
    found: list[Finding] = []
    title, parameters, expected = row.title, 0, 0
    with failure_told(found):
        theirs = Prepared("net", net, lambda net: images(net, row))
        parameters = theirs.parameters
        right = row.sized(theirs.image.shape[1], classes_of(theirs))
        title, expected = right.sized_title, right.parameters
        found += network_findings(right, theirs, expected) + _one_size(theirs)
    return NetworkReport(title, wrong_first(found), row.name, parameters, expected)


def images(net: nn.Module, right: Row) -> Iterator[Tensor]:
    """Images that the network may take: small or as published, and of how many channels."""
    first = next((p.shape[1] for p in net.parameters() if not is_lazy(p) and p.ndim == 4), None)
    channels = [c for c in (first, right.config.in_channels, 3, 1) if c]
    for resolution in right.resolutions:
        for number in dict.fromkeys(channels):
            yield torch.randn(2, number, resolution, resolution, dtype=torch.float64)


def classes_of(theirs: Prepared) -> int:
    """How many logits the network gives."""
    out, n = theirs.output, len(theirs.image)
    shape = tuple(out.shape) if isinstance(out, Tensor) else ()
    fits = len(shape) == 2 and shape[0] == n and shape[1] > 0
    if not fits or not out.is_floating_point():
        got = f"{out.dtype} {shape}" if isinstance(out, Tensor) else type(out).__name__
        raise TheirError(f"The output is a tensor (N, classes); for N = {n} it is {got}.")
    return shape[1]


def network_findings(right: Row, theirs: Prepared, expected: int) -> list[Finding]:
    """All that `densenet` says; the weights of `theirs` are others afterwards."""
    config = right.config
    target = Target(
        right.network, roles(config), config.growth_rate, config.block_config, right.authority,
        {other: row.config.block_config for other, row in DENSE.items()}, config.drop_rate,
        sides=right.odd_sides(theirs.image.shape[-1]),
    )  # fmt: skip
    findings, both = held(target, theirs)
    after = [token for segment in both.theirs.output or () for token in segment.chain]
    if after and any_wrong(findings):
        name = after[0].kind.removeprefix("_")
        text = f"After the classifier comes “{name}”; the loss (cross_entropy) wants the logits."
        findings = [Finding("wrong", text, line("classifier", right.authority), after[0].where)]
    if (n := theirs.parameters) == expected:
        findings.append(Finding("right", f"{n:,} parameters."))
    else:
        findings.append(wrong_count(n, expected, right.title, explained=any_wrong(findings)))
    return [*findings, *same_function(findings)]


def dense_block(
    module: Net, in_channels: int, growth_rate: int, layers: int, *, bn_size: int | None = 4
) -> Report:
    """Hold a dense block, `(N, C, H, W)` → `(N, C + layers·k, H, W)`, against the paper's.

    Convolutions may have biases or not. The order in which features are concatenated may be any.

    Args:
        module: the block, or a function that builds it.
        in_channels: `C`.
        growth_rate: `k`.
        layers: number of layers.
        bn_size: width of the bottleneck in multiples of `k`; `None`: there is none, as in the book.

    Raises:
        TypeError, ValueError: an argument is impossible.
    """
    channels = checks.integer("in_channels", in_channels)
    k, layers = checks.integer("growth_rate", growth_rate), checks.integer("layers", layers)
    config = DenseNetConfig(growth_rate=k, bn_size=bn_size)
    roles = (*block_roles(layers, bottleneck=bn_size is not None), Role("output"))
    target = Target(
        lambda: DenseBlock(layers, channels, config), roles, k, (layers,), any_bias=True,
        authority="paper" if bn_size else "book",
    )  # fmt: skip
    return _part("dense block", module, channels, target)


def transition(module: Net, in_channels: int, out_channels: int | None = None) -> Report:
    """Hold a transition, `(N, C, H, W)` → `(N, C/2, H/2, W/2)`, against the paper's.

    Args:
        module: the transition, or a function that builds it.
        in_channels: `C`.
        out_channels: what it writes; half of `C` by default.

    Raises:
        TypeError, ValueError: an argument is impossible.
    """
    channels = checks.integer("in_channels", in_channels, at_least=2)
    out = channels // 2 if out_channels is None else checks.integer("out_channels", out_channels)
    target = Target(
        lambda: Transition(channels, out, DenseNetConfig()),
        (Role("transition", 1), Role("output")), 0, (), any_bias=True,
    )  # fmt: skip
    return _part("transition", module, channels, target)


def _part(title: str, module: Net, channels: int, target: Target) -> Report:
    def features(net: object) -> list[Tensor]:
        return [torch.randn(2, channels, 8, 8, dtype=torch.float64)]

    found: list[Finding] = []
    with failure_told(found):
        theirs = Prepared("module", module, features)
        if not isinstance(theirs.output, Tensor):
            got = type(theirs.output).__name__
            raise TheirError(f"The output is a tensor (N, channels, H, W); it is {got}.")
        findings, _ = held(target, theirs)
        if good := same_function(findings):
            findings += _unused(theirs.net)
            good.insert(0, Finding("right", f"{theirs.parameters:,} parameters."))
        found += [*findings, *good]
    return Report(title, wrong_first(found))


def _unused(net: nn.Module) -> list[Finding]:
    """Parameters that got no gradient in the training step, although they may."""
    idle = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    text = f"Nothing uses {len(idle)} of the parameters: {', '.join(idle)}."
    return [Finding("harmless", text)] if idle else []


def _one_size(theirs: Prepared) -> list[Finding]:
    """A note, if smaller images of as many channels make it fail."""
    shape = theirs.image.shape
    smaller = [s for s in theirs.refused if s[1] == shape[1] and s[2] < shape[2]]
    if not smaller:
        return []
    text = (
        f"Images of {smaller[0][2]} × {smaller[0][3]} pixels are too small for it; it was compared "
        f"on {shape[2]} × {shape[3]}. A last pooling of a fixed window fits one size of images."
    )
    return [Finding("note", text)]
