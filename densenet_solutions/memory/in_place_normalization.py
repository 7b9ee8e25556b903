"""Batch normalization and activation as one operation, of which only the output is kept.

Rota Bulò, Porzi, Kontschieder, *In-place activated BatchNorm for memory-optimized training of
DNNs*, arXiv:1712.02616: the backward pass computes the normalized input again, from the output. So
the activation must have an inverse. A ReLU has none; a leaky ReLU takes its place, which is another
function.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from densenet_solutions import checks
from densenet_solutions.memory.layers import changed_copy
from densenet_solutions.memory.strategy import Strategy, refuse_rounding

#: Added to the magnitude of every scale γ, so that no channel loses its input.
SMALLEST_SCALE = 1e-5


class NormThenLeaky(torch.autograd.Function):
    """`leaky(γ (x − μ)/σ + β)` of `(N, C, H, W)`, which keeps its output and `1/σ`.

    The paper writes the output over the input. In our dense block the next concatenation still
    reads the input, so the output gets memory of its own, and the input is let go by whoever holds
    it last.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor | None,
        variance: Tensor | None, training: bool, momentum: float, eps: float, slope: float,
    ) -> Tensor:  # fmt: skip
        out, _, inverse = torch.native_batch_norm(
            x, weight, bias, mean, variance, training, momentum, eps
        )
        if not training:
            assert variance is not None
            inverse = (variance + eps).rsqrt()
        nn.functional.leaky_relu(out, slope, inplace=True)
        ctx.save_for_backward(out, weight, bias, inverse)
        ctx.training, ctx.slope = training, slope
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        out, *vectors = ctx.saved_tensors
        weight, bias, inverse = (vector[:, None, None] for vector in vectors)
        g = torch.ops.aten.leaky_relu_backward(gradient, out, ctx.slope, True)
        x = nn.functional.leaky_relu(out, 1 / ctx.slope).sub_(bias).div_(weight)  # (x − μ)/σ
        of_bias, of_weight = g.sum(dim=(0, 2, 3)), (g * x).sum(dim=(0, 2, 3))
        if ctx.training:  # μ and σ depend on x
            n = max(1, g.numel() // len(of_bias))
            g.sub_(of_bias[:, None, None] / n).sub_(x.mul_(of_weight[:, None, None] / n))
        return g.mul_(weight * inverse), of_weight, of_bias, None, None, None, None, None, None


class ActivatedNorm(nn.BatchNorm2d):
    """Batch normalization and the leaky ReLU behind it; parameters and buffers are the former's."""

    computes_again = True

    slope: float

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        momentum, counter = self.momentum, self.num_batches_tracked
        if self.training and counter is not None:
            before = counter._version if torch.is_grad_enabled() else -1
            counter.add_(1)
            if momentum is None:  # a plain average over all batches
                momentum = 1 / float(counter)
            if torch.is_grad_enabled() and counter._version == before:
                momentum = 0.0  # the second run under recomputation, which lets nothing count
        scale = self.weight + torch.full_like(self.weight, SMALLEST_SCALE).copysign(self.weight)
        return NormThenLeaky.apply(
            x, scale, self.bias, self.running_mean, self.running_var,
            self.training or self.running_mean is None, momentum or 0.0, self.eps, self.slope,
        )  # fmt: skip


def in_place_normalization(model: nn.Module, slope: float = 0.01) -> nn.Module:
    """A copy whose normalizations apply a leaky ReLU of this slope themselves, in the ReLU's stead.

    The last normalization stays: its ReLU is not a module. What is kept must not be rounded, as
    `saved_in_8_bits` does, and the two refuse each other: inverting the activation multiplies an
    error by `1/slope`.

    Raises:
        TypeError: `model` is not an unchanged DenseNet, or `slope` is no number.
        ValueError: `slope` is outside (0, 1]: at 0 the activation has no inverse.
    """
    slope = checks.share("slope", slope, zero=False)
    model = changed_copy(model)
    refuse_rounding(model, ActivatedNorm)
    for parent in list(model.modules()):
        for (_, norm), (name, activation) in pairwise(list(parent.named_children())):
            if type(norm) is nn.BatchNorm2d and type(activation) is nn.ReLU:
                norm.__class__ = ActivatedNorm
                norm.slope = slope  # type: ignore[assignment]
                setattr(parent, name, nn.Identity())
    return model


STRATEGIES = (
    Strategy(
        apply=in_place_normalization,
        family="recompute",
        summary="Norm and leaky ReLU keep their output; the backward pass inverts it.",
        exactness="changes-function",
        source="arXiv:1712.02616",
        verdict="about half the peak, another network",
        costs="Another network, since a ReLU has no inverse; first derivatives only.",
    ),
)
