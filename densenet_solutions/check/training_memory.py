"""`check.memory`: what a training step of a network needs, and what it keeps for its backward."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from densenet_solutions import checks
from densenet_solutions.check.network import classes_of, images, network_findings
from densenet_solutions.check.prepared import Net, Prepared, TheirError, failure_told, their_code
from densenet_solutions.check.report import Finding, Report, wrong_first
from densenet_solutions.check.rows import right_network
from densenet_solutions.check.settings import a_network_runs
from densenet_solutions.measure import predict_memory
from densenet_solutions.measure.options import StepOptions
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import DenseNet, DenseNetConfig
from densenet_solutions.site.numbers import mib

#: What a peak is compared with: strategy → what it is called here.
RIVALS = {
    "plain": "the plain network",
    "recompute_bottleneck_input": "recomputing what is concatenated",
    "recompute_layer": "recomputing each layer",
    "recompute_block": "recomputing each block",
    "shared_storage": "shared storage",
}
_KEPT = {
    "concatenations": "concatenations",
    "normalised": "normalised or rectified copies of concatenations",
    "convolutions": "outputs of convolutions",
    "other": "other tensors",
}


@dataclass(frozen=True)
class MemoryReport(Report):
    """What a training step needs, all in bytes.

    Attributes:
        peak_beyond_parameters: predicted, without parameters, buffers and input.
        kept: what the forward pass keeps for the backward pass, by what made it.
        rivals: the same peak of the right network with the strategies of exercise 3.2.
    """

    peak_beyond_parameters: int
    kept: Mapping[str, int]
    rivals: Mapping[str, int]


def memory(
    net: Net,
    name: str | DenseNetConfig = "densenet121",
    *,
    batch: int = 8,
    resolution: int | None = None,
) -> MemoryReport:
    """Does a network keep its concatenations, and is its peak that of recomputation or sharing?

    Predicted on the meta device, so no memory of that size is needed. A network passes that keeps
    no concatenation, needs clearly less than the plain one, and updates running statistics once a
    step. If it has as many parameters as the right one, it must compute the same, too.

    Args:
        net: a module, or a function or class that builds one.
        name: the network that it is compared with, as in `check.densenet`.
        batch: images of a step.
        resolution: their height and width; by default what the network was published for (the
            book's: 96).

    Raises:
        TypeError, ValueError: an argument is impossible.
    """
    row, batch = right_network(name), checks.integer("batch", batch)
    side = 96 if row.authority == "book" else row.resolutions[1]
    side = side if resolution is None else checks.integer("resolution", resolution)
    build = partial(DenseNet, row.config)
    usual = StepOptions(build, (batch, row.config.in_channels, side, side)).shapes[0]
    with torch.device("meta"):  # what the right network cannot do is not the reader's mistake
        build().train()(torch.empty(usual))
    title, peak = f"memory of {row.title}", 0
    kept: Mapping[str, int] = {}
    rivals: Mapping[str, int] = {}
    other: list[Finding] = []
    found: list[Finding] = []
    with failure_told(found):
        theirs = Prepared("net", net, lambda net: images(net, row))
        if not any(p.requires_grad for p in theirs.net.parameters()):
            raise TheirError("The network has no parameter that is trained.")
        channels = theirs.image.shape[1]
        right = row.sized(channels, classes_of(theirs))
        shape = (batch, channels, side, side)
        doing = "A training step on the meta device, without data,"
        with their_code(doing), a_network_runs(torch.float32):
            peak = predict_memory(partial(copy.deepcopy, theirs.net), shape).peak_beyond_parameters
            kept = kept_for_backward(theirs.net, shape)
        title = (
            f"training step of {row.title}, {batch} × {channels} × {side}², float32, no optimizer, "
            "predicted"
        )
        plain, rivals = _usual(right.config, shape)
        statistics = _statistics(theirs)
        found += [*_peak(peak, rivals), _copies(kept, plain), statistics]
        should = right.parameters
        if theirs.parameters != should:
            text = f"It has {theirs.parameters:,} parameters and {right.sized_title} {should:,}."
            text = f"Two networks are compared that are not the same. {text}"
            other.append(Finding("note", text))
        elif statistics.kind != "wrong":
            held = network_findings(right, theirs, should)
            found += [finding for finding in held if finding.kind == "wrong"][:1]
    return MemoryReport(title, (*other, *wrong_first(found)), peak, kept, rivals)


@cache
def _usual(
    config: DenseNetConfig, shape: tuple[int, ...]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """What the plain right network keeps, and the peaks of it and of its strategies."""
    rivals = {
        key: predict_memory(partial(_with, key, config), shape).peak_beyond_parameters
        for key in RIVALS
    }
    return kept_for_backward(DenseNet(config), shape), rivals


def _with(strategy: str, config: DenseNetConfig) -> nn.Module:
    return STRATEGIES[strategy].apply(DenseNet(config))


def _peak(peak: int, rivals: Mapping[str, int]) -> list[Finding]:
    nearest = min(rivals, key=lambda key: abs(math.log(rivals[key] / max(peak, 1))))
    saves = peak < 0.9 * rivals["plain"]
    text = (
        f"The peak beyond parameters is {mib(peak)} (predicted); nearest is {RIVALS[nearest]} with "
        f"{mib(rivals[nearest])}."
    )
    others = ", ".join(f"{RIVALS[key]} {mib(value)}" for key, value in rivals.items())
    return [
        Finding("right" if saves else "wrong", text),
        Finding("note", f"The right network needs: {others}."),
    ]


def _copies(kept: Mapping[str, int], plain: Mapping[str, int]) -> Finding:
    """Whether earlier features are kept once more, or twice, for every layer that reads them."""
    copies, usual = (k["concatenations"] + k["normalised"] for k in (kept, plain))
    parts = ", ".join(f"{_KEPT[key]} {mib(size)}" for key, size in kept.items() if size)
    text = (
        f"kept for the backward pass: {parts or 'nothing'}. The plain network keeps {mib(usual)} "
        "of copies."
    )
    if copies > usual / 2:
        line = (
            "Exercise 3.2: each feature needs to be kept once. At most half of the plain network's "
            "copies pass."
        )
        return Finding("wrong", f"Copies of earlier features are {text}", line)
    return Finding("right", f"Few copies of earlier features, {mib(copies)}, are {text}")


def _statistics(theirs: Prepared) -> Finding:
    """Running statistics after a forward pass alone, and after forward and backward."""
    after = []
    for backward in (False, True):
        torch.manual_seed(0)  # dropout draws the same masks
        net = copy.deepcopy(theirs.net).train()
        with their_code("A training step"), a_network_runs():
            out = net(theirs.image)
            if backward:
                out.sum().backward()
        after.append([buffer.clone() for buffer in net.buffers()])
    if all(torch.equal(a, b) for a, b in zip(*after, strict=True)):
        return Finding("right", "Running statistics are updated once a step.")
    return Finding(
        "wrong",
        "The backward pass updates running statistics once more, because what it recomputes is "
        "normalised again.",
        "Exercise 3.2, the trap: set momentum to 0 and restore the counter while recomputing.",
    )


class _Makers(TorchDispatchMode):
    """Which kind of operation has made each storage."""

    def __init__(self) -> None:
        super().__init__()
        self.kind: dict[int, str] = {}
        self.alive: list[Tensor] = []  # so that no address is used twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        for tensor in out if isinstance(out, list | tuple) else [out]:
            if isinstance(tensor, Tensor):
                self.alive.append(tensor)
                self.kind.setdefault(_storage(tensor), self._kind(name, args, tensor))
        return out

    def _kind(self, name: str, args: Sequence[Any], made: Tensor) -> str:
        read = args[0] if args and isinstance(args[0], Tensor) else made
        if name == "cat" and made.ndim == 4:
            return "concatenations"
        if name in ("convolution", "_convolution"):
            return "convolutions"
        copies = self.kind.get(_storage(read)) in ("concatenations", "normalised")
        pointwise = "batch_norm" in name or name in ("relu", "relu_", "clamp_min")
        return "normalised" if copies and pointwise and made.ndim == 4 else "other"


def kept_for_backward(net: nn.Module, shape: Sequence[int]) -> dict[str, int]:
    """Bytes that the forward pass of a training step keeps, by what made them, on the meta device.

    Parameters and the input do not count; what shares a storage counts once.
    """
    net = copy.deepcopy(net).float().to("meta").train()
    image = torch.empty(tuple(shape), device="meta")
    kept = {_storage(tensor): "" for tensor in (*net.parameters(), *net.buffers(), image)}
    found = dict.fromkeys(_KEPT, 0)

    def pack(tensor: Tensor) -> Tensor:
        key = _storage(tensor)
        if key not in kept:
            kept[key] = makers.kind.get(key, "other")
            found[kept[key]] += tensor.untyped_storage().nbytes()
            makers.alive.append(tensor)
        return tensor

    # No hooks on modules, as `measure.saved_bytes` has them: shared storage would fall back.
    with _Makers() as makers, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(image)
    return found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
