"""The ImageNet stem as one autograd function that keeps nothing but the image.

Convolution, normalisation, ReLU and max pooling. Its feature maps are the largest of the network
(a quarter of the image's pixels, 64 channels), and its convolution is cheap to run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions.memory.shared_storage_parts import (
    NormalisationGradient,
    as_images,
    as_rows,
    autocast_dtype,
    batch_normalisation,
    chunks,
    first_derivatives_only,
    images_at_once,
    normalise_relu,
    relu_backward,
    statistics,
    used_statistics,
)


def imagenet_stem(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """`(N, 3, H, W)` → `(N, C, H/4, W/4)`, as conv0, norm0, relu0 and pool0 compute it."""
    return _Stem.apply(conv, norm, x, conv.weight, norm.weight, norm.bias)


class _Stem(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        conv: nn.Conv2d,
        norm: nn.BatchNorm2d,
        x: Tensor,
        kernel: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        device, dtype = x.device.type, autocast_dtype(x)
        with torch.autocast(device, enabled=False) if device != "meta" else nullcontext():
            z, size = _convolve(conv, x, kernel, dtype)
            ctx.statistics = used_statistics(norm, statistics(z) if norm.training else None, z)
            affine = batch_normalisation(
                norm, weight, bias, *ctx.statistics, of_batch=norm.training
            )
            output = []
            for rows, few in _some_images(size, z):
                h = normalise_relu(z[rows], affine.scale, affine.shift, z[rows])
                output.append(F.max_pool2d(as_images(h, few), 3, 2, 1))
        ctx.conv, ctx.norm, ctx.training, ctx.dtype = conv, norm, norm.training, dtype
        ctx.save_for_backward(x, kernel, weight, bias)
        return torch.cat(output)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        first_derivatives_only()
        x, kernel, weight, bias = ctx.saved_tensors
        device, need = x.device.type, ctx.needs_input_grad[2:]
        with torch.autocast(device, enabled=False) if device != "meta" else nullcontext():
            affine = batch_normalisation(
                ctx.norm, weight, bias, *ctx.statistics, of_batch=ctx.training
            )
            found = NormalisationGradient(affine)
            z, size = _convolve(ctx.conv, x, kernel, ctx.dtype)
            dz = torch.empty_like(z)
            first = 0
            for rows, few in _some_images(size, z):
                h = normalise_relu(z[rows], affine.scale, affine.shift, dz[rows])
                images = as_images(h, few)
                _, winners = F.max_pool2d_with_indices(images, [3, 3], [2, 2], [1, 1])
                dh = as_rows(
                    torch.ops.aten.max_pool2d_with_indices_backward(
                        grad_output[first : first + few[0]].to(ctx.dtype),
                        images, [3, 3], [2, 2], [1, 1], [1, 1], False, winners,
                    )
                )  # fmt: skip
                first += few[0]
                relu_backward(dh, h, out=dz[rows])
                found.add(dz[rows], z[rows])
            constant, slope = found.correction(z.shape[0])
            dx = torch.empty_like(x) if need[0] else None
            dkernel = torch.zeros_like(kernel) if need[1] else None
            first = 0
            for rows, few in _some_images(size, z):
                dz[rows].mul_(affine.scale).sub_(constant).sub_(z[rows].mul_(slope))
                some = x[first : first + few[0]]
                dx_part, dk, _ = torch.ops.aten.convolution_backward(
                    as_images(dz[rows], few), some.to(ctx.dtype), kernel.to(ctx.dtype), None,
                    ctx.conv.stride, ctx.conv.padding, [1, 1], False, [0, 0], 1,
                    [need[0], need[1], False],
                )  # fmt: skip
                if dx is not None:
                    dx[first : first + few[0]] = dx_part
                if dkernel is not None:
                    dkernel += dk
                first += few[0]
        return (
            None, None, dx, dkernel,
            found.weight.to(weight.dtype) if need[2] else None,
            found.bias.to(bias.dtype) if need[3] else None,
        )  # fmt: skip


def _convolve(
    conv: nn.Conv2d, x: Tensor, kernel: Tensor, dtype: torch.dtype
) -> tuple[Tensor, tuple[int, int, int]]:
    """Output of the convolution as rows, and its `(N, H, W)`."""
    x = x.to(dtype, memory_format=torch.channels_last)
    z = F.conv2d(x, kernel.to(dtype), None, conv.stride, conv.padding)
    return as_rows(z), (z.shape[0], z.shape[2], z.shape[3])


def _some_images(
    size: tuple[int, int, int], z: Tensor
) -> Iterator[tuple[slice, tuple[int, int, int]]]:
    n, height, breadth = size
    pixels = height * breadth
    for few in chunks(n, images_at_once(size, z.shape[1], z.device)):
        rows = slice(few.start * pixels, few.stop * pixels)
        yield rows, (few.stop - few.start, height, breadth)
