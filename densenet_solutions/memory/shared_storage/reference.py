"""Shared storage in its shortest form, to be read beside the equations.

A dense block of bottleneck layers in training mode, without dropout, whole batch at once. This
version is for reading and for testing the fast one; it saves less and is slower.

Notation, for one layer with the `C` features before it as rows `X` of shape `(M, C)`, one pixel a
row, `M = N·H·W`:

    x̂ = (X − μ) / √(σ² + ε)      h = relu(γ x̂ + β)        z = h Wᵀ              (M, 4k)
    ẑ = (z − ν) / √(τ² + ε)      g = relu(γ' ẑ + β')       y = conv3x3(g)        (M, k)

`μ, σ²` are the mean and variance of the columns of `X`. A column never changes once it is
written, so neither do they: every later layer reads the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from densenet_solutions.memory.layers import bn_relu_conv, first_norm
from densenet_solutions.models.densenet import DenseLayer


def dense_block_reference(x: Tensor, layers: Sequence[DenseLayer]) -> Tensor:
    """`(N, C, H, W)` → `(N, C + layers·k, H, W)`; leaves running statistics alone."""
    weights = [
        weight
        for layer in layers
        for norm, conv in bn_relu_conv(layer)
        for weight in (norm.weight, norm.bias, conv.weight)
    ]
    return SharedStorageReference.apply(first_norm(layers[0]).eps, x, *weights)


class SharedStorageReference(torch.autograd.Function):
    """A dense block that keeps its features once; six weights a layer, as in the notation."""

    @staticmethod
    def forward(ctx: Any, eps: float, x: Tensor, *weights: Tensor) -> Tensor:
        n, c, height, width = x.shape
        layers = [weights[i : i + 6] for i in range(0, len(weights), 6)]
        total = c + sum(layer[5].shape[0] for layer in layers)
        features = x.new_empty(n * height * width, total)  # the one buffer
        mean, inverse_std = x.new_empty(total), x.new_empty(total)

        def write(columns: slice, value: Tensor) -> None:
            features[:, columns] = value.permute(0, 2, 3, 1).flatten(0, 2)
            mean[columns], inverse_std[columns] = statistics(features[:, columns], eps)

        write(slice(0, c), x)
        for layer in layers:
            _, _, _, y = layer_forward(
                features[:, :c], mean[:c], inverse_std[:c], layer, eps, x.shape
            )
            write(slice(c, c + y.shape[1]), y)
            c += y.shape[1]
        ctx.eps, ctx.shape = eps, x.shape
        ctx.save_for_backward(features, mean, inverse_std, *weights)
        return features.view(n, height, width, total).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        features, mean, inverse_std, *weights = ctx.saved_tensors
        n, _, height, width = ctx.shape
        gradient = grad_output.permute(0, 2, 3, 1).flatten(0, 2).clone()  # ∂L/∂features, (M, C)
        gradients: list[Tensor] = []
        c = features.shape[1]
        for i in reversed(range(0, len(weights), 6)):
            gamma1, _, w1, gamma2, _, w2 = layer = weights[i : i + 6]
            k = w2.shape[0]
            c -= k
            x, mu, root = features[:, :c], mean[:c], inverse_std[:c]
            # All later layers have added to this gradient: it is complete.
            dy = gradient[:, c : c + k].reshape(n, height, width, k).permute(0, 3, 1, 2)
            # Recompute what the forward pass did not keep.
            h, z, g, _ = layer_forward(x, mu, root, layer, ctx.eps, ctx.shape)
            nu, root2 = statistics(z, ctx.eps)
            # Convolution 3x3, ReLU, normalization.
            dg, dw2, _ = torch.ops.aten.convolution_backward(
                dy, g, w2, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
            )
            dg = (dg * (g > 0)).permute(0, 2, 3, 1).flatten(0, 2)
            dz, dgamma2, dbeta2 = normalization_backward(dg, (z - nu) * root2, gamma2, root2)
            # Convolution 1x1, ReLU, normalization.
            dw1 = (dz.t() @ h)[:, :, None, None]
            dh = (dz @ w1.flatten(1)) * (h > 0)
            dx, dgamma1, dbeta1 = normalization_backward(dh, (x - mu) * root, gamma1, root)
            gradient[:, :c] += dx  # the one buffer of gradients
            gradients = [dgamma1, dbeta1, dw1, dgamma2, dbeta2, dw2, *gradients]
        dx = gradient[:, :c].reshape(n, height, width, c).permute(0, 3, 1, 2)
        return None, dx, *gradients


def layer_forward(
    x: Tensor, mean: Tensor, inverse_std: Tensor, layer: Sequence[Tensor], eps: float,
    shape: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The equations above: `h`, `z`, and as images `g` and `y`."""
    gamma1, beta1, w1, gamma2, beta2, w2 = layer
    h = torch.relu(gamma1 * (x - mean) * inverse_std + beta1)  # (M, C)
    z = h @ w1.flatten(1).t()  # (M, 4k)
    nu, root = statistics(z, eps)
    g = torch.relu(gamma2 * (z - nu) * root + beta2)
    g = g.view(shape[0], shape[2], shape[3], -1).permute(0, 3, 1, 2)  # (N, 4k, H, W)
    return h, z, g, F.conv2d(g, w2, padding=1)


def statistics(rows: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and `1 / √(variance + ε)` of each column."""
    variance, mean = torch.var_mean(rows, dim=0, correction=0)
    return mean, (variance + eps).rsqrt()


def normalization_backward(
    d: Tensor, normalized: Tensor, gamma: Tensor, inverse_std: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Ioffe and Szegedy (arXiv:1502.03167), section 3: gradients of input, `γ` and `β`."""
    dgamma, dbeta = (d * normalized).sum(0), d.sum(0)
    dx = gamma * inverse_std * (d - (dbeta + normalized * dgamma) / d.shape[0])
    return dx, dgamma, dbeta
