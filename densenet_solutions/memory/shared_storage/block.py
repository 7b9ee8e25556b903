"""A dense block and the transition after it as one autograd function with one buffer of features.

Forward: every layer reads a prefix of the buffer's columns and writes `k` columns behind it, so
no concatenation is ever copied; the statistics of a feature are computed once, when it is
written, and shared by all layers that normalize it. Kept for the backward pass: the buffer, and
the outputs of the bottlenecks' 1x1 convolutions if that is asked for.

Backward: layers in reverse, see `backward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.memory.layers import bn_relu_conv
from densenet_solutions.memory.shared_storage.arithmetic import (
    Normalization,
    Used,
    accumulator,
    as_images,
    as_rows,
    autocast_dtype,
    batch_normalization,
    first_derivatives_only,
    in_this_precision,
    normalize_relu,
    statistics,
    update_running_statistics,
)
from densenet_solutions.memory.shared_storage.backward import Backward, Part, parts_of
from densenet_solutions.memory.shared_storage.plan import plan_for


def dense_block(
    x: Tensor,
    layers: Sequence[nn.Module],
    transition: nn.Module | None = None,
    slices: int | None = None,
    keep_bottlenecks: float = 0.0,
) -> Tensor:
    """`(N, C, H, W)` → `(N, C + layers·k, H, W)`, or through the transition to `(N, C', H/2, W/2)`.

    The same function as the modules compute, running statistics included. Each normalization
    follows its own mode, and so does dropout its layer's. The transition averages. `slices` is into
    how many the work on a large batch is cut; without it the device decides. `keep_bottlenecks` is
    of which share of the layers, the last ones, the output of the 1x1 convolution is kept, which
    the backward pass else computes again.

    Raises:
        ValueError: a batch that is to be normalized has one value per channel.
    """
    modules = [*layers, *([] if transition is None else [transition])]
    parameters = [
        parameter
        for module in modules
        for norm, conv in bn_relu_conv(module)
        for parameter in (norm.weight, norm.bias, conv.weight, conv.bias)
    ]
    kept = round(keep_bottlenecks * len(layers))
    return _DenseBlock.apply(modules, len(layers), slices, kept, x, *parameters)


class _DenseBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        modules: list[nn.Module],
        layers: int,
        slices: int | None,
        kept: int,
        x: Tensor,
        *parameters: Tensor | None,
    ) -> Tensor:
        parts = parts_of(modules, parameters, ctx.needs_input_grad[5:])
        forward = _Forward(x, parts[:layers], slices, of_batch=any(p.norms_of_batch for p in parts))
        with in_this_precision(x.device):
            for number, part in enumerate(parts[:layers]):
                forward.layer(part, keep=number >= layers - kept)
            output = (
                forward.transition(parts[layers])
                if parts[layers:]
                else as_images(forward.features, forward.plan.size)
            )
            update_running_statistics(forward.used, forward.plan.rows)
        ctx.modules, ctx.layers, ctx.plan, ctx.input_dtype = modules, layers, forward.plan, x.dtype
        ctx.forward_pass = [(part.norms, part.dropout) for part in parts]
        ctx.kept = [number for number, part in enumerate(parts) if part.bottleneck is not None]
        bottlenecks = [parts[number].bottleneck for number in ctx.kept]
        ctx.save_for_backward(forward.features, *bottlenecks, *parameters)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        first_derivatives_only()
        features, *saved = ctx.saved_tensors
        bottlenecks, parameters = saved[: len(ctx.kept)], saved[len(ctx.kept) :]
        parts = parts_of(ctx.modules, parameters, ctx.needs_input_grad[5:])
        for part, found in zip(parts, ctx.forward_pass, strict=True):
            part.norms, part.dropout = found
        for number, bottleneck in zip(ctx.kept, bottlenecks, strict=True):
            parts[number].bottleneck = bottleneck
        with in_this_precision(grad_output.device):
            backward = Backward(ctx.plan, features)
            gradients: list[Tensor | None] = []
            if parts[ctx.layers :]:
                gradients = backward.transition(parts[ctx.layers], grad_output)
            else:
                backward.gradient.copy_(as_rows(grad_output))
            for part in reversed(parts[: ctx.layers]):
                gradients = [*backward.layer(part), *gradients]
            dx = backward.input(ctx.input_dtype) if ctx.needs_input_grad[4] else None
            return None, None, None, None, dx, *gradients


class _Forward:
    """The forward pass of one block: the buffer of features, filled from left to right."""

    def __init__(
        self, x: Tensor, layers: Sequence[Part], slices: int | None, *, of_batch: bool
    ) -> None:
        n, channels, height, width = x.shape
        self.plan = plan_for((n, height, width), x.device, slices)
        self.of_batch = of_batch  # whether any normalization takes the batch's statistics
        self.used: list[Used] = []  # those that do
        if of_batch:
            checks.batch_statistics(self.plan.rows, x)
        total = channels + sum(part.stages[-1][1].out_channels for part in layers)
        dtype = autocast_dtype(x)
        self.features = x.new_empty(self.plan.rows, total, dtype=dtype)
        self.means = x.new_empty(total, dtype=accumulator(dtype))  # of every feature, once
        self.variances = torch.empty_like(self.means)
        self.columns = 0  # that are written
        self._write(as_rows(x))

    def layer(self, part: Part, *, keep: bool) -> None:
        """Write the `k` columns of a layer, and keep the output of its bottleneck or not."""
        norm, kernel, bias = self._stage(part, 0)
        if len(part.stages) > 1:
            hidden = self._bottleneck(norm, kernel)
            norm, kernel, bias = self._stage(part, 1, hidden)
            if keep:
                part.bottleneck = hidden
            if keep or self.plan.threads > 1:
                new = self._convolution(hidden, norm, kernel, bias)
            else:
                images = as_images(normalize_relu(hidden, norm, hidden), self.plan.size)
                new = as_rows(F.conv2d(images, kernel, bias, padding=1))
                del images
            del hidden
        else:
            new = self._convolution(self.features[:, : self.columns], norm, kernel, bias)
        if (rate := getattr(part.module, "drop_rate", 0.0)) and part.module.training:
            # On ones laid out as the plain model's output: the same random numbers.
            n, height, width = self.plan.size
            ones = new.new_ones(n, new.shape[1], height, width)
            mask = as_rows(F.dropout(ones, rate))
            new = new * mask
            part.dropout = mask != 0, 0.0 if rate == 1 else 1 / (1 - rate)
        self._write(new)

    def transition(self, part: Part) -> Tensor:
        """Pool before the convolution, which commutes: a quarter of its work."""
        norm, kernel, bias = self._stage(part, 0)
        n, height, width = self.plan.size
        height, width = height // 2, width // 2
        output = self.features.new_empty(n * height * width, kernel.shape[0])
        scratch = self.plan.scratch_for_images(self.features, self.columns)
        for few, rows, size in self.plan.images(self.columns):
            x = self.features[rows]
            h = normalize_relu(x, norm, scratch.take(*x.shape))
            pooled = as_rows(F.avg_pool2d(as_images(h, size), 2))
            some = output[few.start * height * width : few.stop * height * width]
            torch.mm(pooled, kernel.flatten(1).t(), out=some)
        if bias is not None:
            output += bias
        return as_images(output, (n, height, width))

    def _stage(
        self, part: Part, stage: int, rows: Tensor | None = None
    ) -> tuple[Normalization, Tensor, Tensor | None]:
        """Normalization, kernel and bias of a stage.

        It normalizes `rows`, or else the features written so far.
        """
        weight, shift, kernel, bias = part.tensors[stage]
        module, _ = part.stages[stage]
        of_batch = None
        if module.training:
            of_batch = (
                (self.means[: self.columns], self.variances[: self.columns])
                if rows is None
                else statistics(rows, self.plan)
            )
            self.used.append((module, of_batch))
        norm = batch_normalization(module, weight, shift, of_batch)
        part.norms.append(norm)
        dtype = self.features.dtype
        return norm, kernel.to(dtype), None if bias is None else bias.to(dtype)

    def _bottleneck(self, norm: Normalization, kernel: Tensor) -> Tensor:
        """BN-ReLU-Conv(1x1) of the features written so far: `(N·H·W, 4k)`."""
        scratch = self.plan.scratch(self.features, self.columns)
        hidden = self.features.new_empty(self.plan.rows, kernel.shape[0])
        matrix = kernel.flatten(1).t()
        for part in self.plan.row_chunks():
            x = self.features[part, : self.columns]
            h = normalize_relu(x, norm, scratch.take(*x.shape))
            torch.mm(h, matrix, out=hidden[part])
        return hidden

    def _convolution(
        self, read: Tensor, norm: Normalization, kernel: Tensor, bias: Tensor | None
    ) -> Tensor:
        """BN-ReLU-Conv(3x3) of these columns: `(N·H·W, k)`."""
        new = self.features.new_empty(self.plan.rows, kernel.shape[0])
        scratch = self.plan.scratch_for_images(self.features, read.shape[1])
        for _, rows, size in self.plan.images(read.shape[1]):
            x = read[rows]
            h = normalize_relu(x, norm, scratch.take(*x.shape))
            new[rows] = as_rows(F.conv2d(as_images(h, size), kernel, bias, padding=1))
        return new

    def _write(self, rows: Tensor) -> None:
        new = slice(self.columns, self.columns + rows.shape[1])
        self.features[:, new] = rows
        self.columns = new.stop
        if self.of_batch:
            self.means[new], self.variances[new] = statistics(self.features[:, new], self.plan)
