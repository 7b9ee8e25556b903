"""The ImageNet stem as one autograd function that keeps nothing but the image.

Convolution, normalization, ReLU and max pooling. Its feature maps are the largest of the network
(a quarter of the image's pixels, 64 channels), and its convolution is cheap to run again.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions.memory.shared_storage.arithmetic import (
    NormalizationGradient,
    as_images,
    as_rows,
    autocast_dtype,
    batch_normalization,
    first_derivatives_only,
    in_this_precision,
    normalize_relu,
    relu_backward,
    statistics,
    through_norm,
    update_running_statistics,
)
from densenet_solutions.memory.shared_storage.plan import plan_for


def imagenet_stem(
    x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, slices: int | None = None
) -> Tensor:
    """`(N, 3, H, W)` → `(N, C, H/4, W/4)`, as conv0, norm0, relu0 and pool0 compute it."""
    return _Stem.apply(conv, norm, slices, x, conv.weight, conv.bias, norm.weight, norm.bias)


class _Stem(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        conv: nn.Conv2d,
        norm: nn.BatchNorm2d,
        slices: int | None,
        x: Tensor,
        kernel: Tensor,
        conv_bias: Tensor | None,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        dtype = autocast_dtype(x)
        with in_this_precision(x.device):
            z, size = _convolve(conv, x, kernel, conv_bias, dtype)
            ctx.plan = plan_for(size, x.device, slices)
            of_batch = statistics(z, ctx.plan) if norm.training else None
            ctx.affine = batch_normalization(norm, weight, bias, of_batch)
            if of_batch is not None:
                update_running_statistics([(norm, of_batch)], ctx.plan.rows)
            output = []
            for _, rows, few in ctx.plan.images(z.shape[1]):
                h = normalize_relu(z[rows], ctx.affine, z[rows])
                output.append(F.max_pool2d(as_images(h, few), 3, 2, 1))
        ctx.conv, ctx.dtype = conv, dtype
        ctx.save_for_backward(x, kernel, conv_bias, weight, bias)
        return torch.cat(output) if len(output) > 1 else output[0]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        first_derivatives_only()
        x, kernel, conv_bias, weight, bias = ctx.saved_tensors
        needs_x, needs_kernel, needs_conv_bias, needs_weight, needs_bias = ctx.needs_input_grad[3:]
        with in_this_precision(x.device):
            collected = NormalizationGradient(ctx.affine, ctx.plan)
            z, _ = _convolve(ctx.conv, x, kernel, conv_bias, ctx.dtype)
            dz = torch.empty_like(z)
            for images, rows, few in ctx.plan.images(z.shape[1]):
                h = normalize_relu(z[rows], ctx.affine, dz[rows])
                maps = as_images(h, few)
                _, winners = F.max_pool2d_with_indices(maps, [3, 3], [2, 2], [1, 1])
                dh = torch.ops.aten.max_pool2d_with_indices_backward(
                    grad_output[images].to(ctx.dtype),
                    maps, [3, 3], [2, 2], [1, 1], [1, 1], False, winners,
                )  # fmt: skip
                relu_backward(as_rows(dh), h, out=dz[rows])
                del dh, winners  # or they are still there when the next ones are made
                collected.add(dz[rows], z[rows])
            found = collected.found()
            correction = found.correction(ctx.plan.rows)
            dx = torch.empty_like(x) if needs_x else None
            dkernel = torch.zeros_like(kernel) if needs_kernel else None
            dbias = torch.zeros_like(conv_bias) if needs_conv_bias else None
            for images, rows, few in ctx.plan.images(z.shape[1]):
                through_norm(dz[rows], z[rows], ctx.affine.scale, correction)
                dx_part, dk, db = torch.ops.aten.convolution_backward(
                    as_images(dz[rows], few), x[images].to(ctx.dtype), kernel.to(ctx.dtype),
                    None if conv_bias is None else list(conv_bias.shape),
                    ctx.conv.stride, ctx.conv.padding, [1, 1], False, [0, 0], 1,
                    [needs_x, needs_kernel, needs_conv_bias],
                )  # fmt: skip
                if dx is not None:
                    dx[images] = dx_part
                if dkernel is not None:
                    dkernel += dk
                if dbias is not None:
                    dbias += db
        return (
            None, None, None, dx, dkernel, dbias,
            found.weight.to(weight.dtype) if needs_weight else None,
            found.bias.to(bias.dtype) if needs_bias else None,
        )  # fmt: skip


def _convolve(
    conv: nn.Conv2d, x: Tensor, kernel: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, tuple[int, int, int]]:
    """Output of the convolution as rows, and its `(N, H, W)`."""
    x = x.to(dtype, memory_format=torch.channels_last)
    bias = None if bias is None else bias.to(dtype)
    z = F.conv2d(x, kernel.to(dtype), bias, conv.stride, conv.padding)
    return as_rows(z), (z.shape[0], z.shape[2], z.shape[3])
