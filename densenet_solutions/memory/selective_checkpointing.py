"""Recompute everything but the convolutions: selective checkpointing with a policy.

`torch.utils.checkpoint` asks a policy about every operation, whether its output is kept. Keeping
the convolutions' is the idea of Pleiss et al., *Memory-efficient implementation of DenseNets*,
arXiv:1707.06990: concatenation, normalization and ReLU are cheap, so they run again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from densenet_solutions.memory.recompute import SecondRun
from densenet_solutions.memory.strategy import Strategy, retype
from densenet_solutions.memory.trunks import with_trunks
from densenet_solutions.models.densenet import DenseBlock, Transition


def keep_convolutions(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    """What to do with the output of an operation: keep a convolution's, compute any other again."""
    if op is torch.ops.aten.convolution.default:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


class SelectiveSecondRun(SecondRun):
    """The second run of `module`: `kept` hands out what was kept, running statistics stay.

    Raises:
        RuntimeError: (on entering) as `SecondRun`, or it is entered again.
    """

    def __init__(self, module: nn.Module, kept: AbstractContextManager[Any]) -> None:
        super().__init__(module)
        self.kept, self.is_over = kept, False

    def __enter__(self) -> SelectiveSecondRun:
        if self.is_over:  # some versions of PyTorch would hand out the wrong outputs
            raise RuntimeError(
                "selective checkpointing hands out once what it has kept, got a second backward "
                "pass through the same graph: use recompute_layer"
            )
        self.is_over = True
        super().__enter__()
        self.kept.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.kept.__exit__(*error)
        super().__exit__(*error)


def recompute_selectively(
    module: nn.Module, function: Callable[..., Tensor], *inputs: Tensor
) -> Tensor:
    """`function(*inputs)`, a part of `module`, keeping its inputs and what the policy keeps.

    What `recompute` says of its conditions holds here too. A second backward pass through the same
    graph raises a `RuntimeError`: PyTorch hands out once what the policy kept.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    contexts = functools.partial(create_selective_checkpoint_contexts, keep_convolutions)
    if torch.compiler.is_compiling():
        return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)

    def looking_after_statistics() -> tuple[Any, SelectiveSecondRun]:
        first, second = contexts()
        return first, SelectiveSecondRun(module, second)

    return checkpoint(function, *inputs, use_reentrant=False, context_fn=looking_after_statistics)


class SelectivelyRecomputed(DenseBlock):
    """Each layer keeps the outputs of its convolutions; all else is run again."""

    computes_again = True

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self:

            def whole(*earlier: Tensor, layer: nn.Module = layer) -> Tensor:
                return layer(torch.cat(earlier, dim=1))

            features.append(recompute_selectively(layer, whole, *features))
        return torch.cat(features, dim=1)


class TransitionSelectivelyRecomputed(Transition):
    """A transition that keeps the output of its convolution."""

    computes_again = True

    def forward(self, x: Tensor) -> Tensor:
        return recompute_selectively(self, super().forward, x)


def selective_checkpointing(model: nn.Module) -> nn.Module:
    """A copy whose dense layers and transitions keep their input and their convolutions' outputs.

    Raises:
        TypeError: there is no trunk in `model`, or its blocks run in a way of their own.
    """
    model = with_trunks(model)
    retype(model, DenseBlock, SelectivelyRecomputed)
    retype(model, Transition, TransitionSelectivelyRecomputed, wraps=True, optional=True)
    return model


STRATEGIES = (
    Strategy(
        apply=selective_checkpointing,
        family="recompute",
        summary="Layers are run again but for their convolutions, whose outputs are kept.",
        exactness="bitwise",
        source="torch.utils.checkpoint.create_selective_checkpoint_contexts",
        verdict="Pleiss's idea as a policy",
        costs="The cheap operations twice; one backward pass through a graph only.",
    ),
)
