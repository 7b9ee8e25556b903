"""Recomputation: keep little, and run a part of the network again in the backward pass.

Chen, Xu, Zhang, Guestrin, *Training deep nets with sublinear memory cost*, arXiv:1604.06174;
Pleiss et al., *Memory-efficient implementation of DenseNets*, arXiv:1707.06990.

The trap is batch normalization: what runs twice updates its running statistics twice. Here the
second run does not touch them, so every buffer is bitwise the plain model's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from densenet_solutions.memory.strategy import Strategy, copy_of, retype
from densenet_solutions.models.densenet import DenseBlock, DenseLayer, Transition


@contextlib.contextmanager
def running_statistics_untouched(module: nn.Module) -> Iterator[None]:
    """Let batch normalization in `module` normalize as before but leave its buffers as they are.

    Momentum 0 keeps the running statistics bit for bit; the counter is put aside. (With
    `track_running_stats=False` autograd would save fewer tensors than the first time, which
    `checkpoint` refuses.)
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counter) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counter


def recompute(module: nn.Module, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`function(*inputs)`, a part of `module`, keeping only its inputs for the backward pass.

    The random state is restored for the second run, so dropout drops the same features.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), running_statistics_untouched(module)),
    )


class BottleneckInputRecomputed(DenseBlock):
    """Concatenation, BN and ReLU before each layer's first convolution run again (Pleiss et al.).

    Recomputation stops as soon as the convolution's input is there: the convolution itself, the
    expensive part, runs once.
    """

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in cast(Iterable[DenseLayer], self):

            def bottleneck(*earlier: Tensor, layer: DenseLayer = layer) -> Tensor:
                return layer.bottleneck(torch.cat(earlier, dim=1))

            features.append(layer.rest(recompute(layer, bottleneck, *features)))
        return torch.cat(features, dim=1)


class LayersRecomputed(DenseBlock):
    """Each layer is run again as a whole, its concatenation included: `k` channels are kept."""

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self:

            def whole(*earlier: Tensor, layer: nn.Module = layer) -> Tensor:
                return layer(torch.cat(earlier, dim=1))

            features.append(recompute(layer, whole, *features))
        return torch.cat(features, dim=1)


class BlockRecomputed(DenseBlock):
    """A dense block that is run again as a whole: only its input is kept."""

    def forward(self, x: Tensor) -> Tensor:
        return recompute(self, super().forward, x)


class TransitionRecomputed(Transition):
    """A transition that is run again as a whole: only its input is kept."""

    def forward(self, x: Tensor) -> Tensor:
        return recompute(self, super().forward, x)


def recompute_bottleneck_input(model: nn.Module) -> nn.Module:
    """A copy whose dense blocks are `BottleneckInputRecomputed`."""
    model = copy_of(model)
    retype(model, DenseBlock, BottleneckInputRecomputed)
    return model


def recompute_layer(model: nn.Module) -> nn.Module:
    """A copy whose dense blocks recompute layer by layer, and whose transitions recompute."""
    model = copy_of(model)
    retype(model, DenseBlock, LayersRecomputed)
    retype(model, Transition, TransitionRecomputed, wraps=True, optional=True)
    return model


def recompute_block(model: nn.Module) -> nn.Module:
    """A copy whose dense blocks and transitions recompute as a whole."""
    model = copy_of(model)
    retype(model, DenseBlock, BlockRecomputed, wraps=True)
    retype(model, Transition, TransitionRecomputed, wraps=True, optional=True)
    return model


STRATEGIES = (
    Strategy(
        apply=recompute_bottleneck_input,
        family="recompute",
        summary="Concatenation, BN and ReLU before each layer's first convolution are run again.",
        exactness="bitwise",
        source="arXiv:1707.06990",
        verdict="half the peak",
        costs="The cheap operations twice; each bottleneck's output is still kept.",
    ),
    Strategy(
        apply=recompute_layer,
        family="recompute",
        summary="Each layer is run again in the backward pass; only its k new channels are kept.",
        exactness="bitwise",
        source="arXiv:1604.06174",
        verdict="the simple choice",
        costs="Nearly a second forward pass.",
    ),
    Strategy(
        apply=recompute_block,
        family="recompute",
        summary="Each dense block is run again as a whole; only its input is kept.",
        exactness="bitwise",
        source="arXiv:1604.06174",
        verdict="keeps less, peaks higher",
        costs="Nearly a second forward pass, and one block's activations at once.",
    ),
)
