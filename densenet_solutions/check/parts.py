"""`check.dense_block` and `check.transition`: one part of a network, held against the paper's."""

from __future__ import annotations

import torch
from torch import Tensor

from densenet_solutions import checks
from densenet_solutions.check.hold import Net, held, prepared, same_function
from densenet_solutions.check.prepared import Prepared, TheirError
from densenet_solutions.check.report import Finding, Report
from densenet_solutions.check.rows import Role, block_roles
from densenet_solutions.check.side_by_side import Target
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models.densenet import DenseBlock, Transition


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
        source="paper" if bn_size else "book",
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
    def findings(theirs: Prepared) -> list[Finding]:
        if not isinstance(theirs.output, Tensor):
            got = type(theirs.output).__name__
            raise TheirError(f"The output is a tensor (N, channels, H, W); it is {got}.")
        found, _ = held(target, theirs)
        good = same_function(found)
        count = [Finding("right", f"{theirs.parameters:,} parameters.")] if good else []
        return [*found, *count, *good]

    def features(net: object) -> list[Tensor]:
        return [torch.randn(2, channels, 8, 8, dtype=torch.float64)]

    return Report(title, prepared("module", module, features, findings))
