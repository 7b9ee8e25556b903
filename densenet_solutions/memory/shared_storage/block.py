"""A dense block and the transition after it as one autograd function with one buffer of features.

Forward: every layer reads a prefix of the buffer's columns and writes `k` columns behind it, so
no concatenation is ever copied; the statistics of a feature are computed once, when it is
written, and shared by all layers that normalise it. Kept for the backward pass: the buffer.

Backward: layers in reverse, see `shared_storage_backward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions.memory.shared_storage.arithmetic import (
    Normalisation,
    Scratch,
    Stage,
    accumulator,
    as_images,
    as_rows,
    autocast_dtype,
    batch_normalisation,
    chunks,
    first_derivatives_only,
    image_chunks,
    in_this_precision,
    normalise_relu,
    rows_at_once,
    scratch_for_images,
    stages,
    statistics,
    used_statistics,
)
from densenet_solutions.memory.shared_storage.backward import Backward, Kept


def dense_block(
    x: Tensor, layers: Sequence[nn.Module], transition: nn.Module | None = None
) -> Tensor:
    """`(N, C, H, W)` → `(N, C + layers·k, H, W)`, or through the transition to `(N, C', H/2, W/2)`.

    The same function as the modules compute, running statistics included. In training mode all
    normalisations use the batch's statistics; modes must not be mixed. The transition averages.

    Raises:
        ValueError: a batch that is to be normalised has one value per channel.
    """
    modules = [*layers, *([] if transition is None else [transition])]
    parameters = [
        parameter
        for module in modules
        for norm, conv in stages(module)
        for parameter in (norm.weight, norm.bias, conv.weight, conv.bias)
    ]
    return _DenseBlock.apply(tuple(layers), transition, x, *parameters)


class _DenseBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layers: tuple[nn.Module, ...],
        transition: nn.Module | None,
        x: Tensor,
        *parameters: Tensor | None,
    ) -> Tensor:
        forward = _Forward(x, layers, parameters)
        with in_this_precision(x.device):
            for i in range(len(layers)):
                forward.layer(i)
            output = (
                as_images(forward.features, forward.kept.size)
                if transition is None
                else forward.transition(transition)
            )
        ctx.layers, ctx.transition, ctx.kept = layers, transition, forward.kept
        ctx.save_for_backward(forward.features, *parameters)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        first_derivatives_only()
        features, *parameters = ctx.saved_tensors
        with in_this_precision(grad_output.device):
            backward = Backward(
                ctx.layers, ctx.kept, features, parameters, ctx.needs_input_grad[3:]
            )
            if ctx.transition is None:
                backward.gradient.copy_(as_rows(grad_output))
            else:
                backward.transition(ctx.transition, grad_output)
            for i in reversed(range(len(ctx.layers))):
                backward.layer(i)
            dx = backward.input() if ctx.needs_input_grad[2] else None
            return None, None, dx, *backward.parameter_gradients()


class _Forward:
    """The forward pass of one block: the buffer of features, filled from left to right."""

    def __init__(
        self, x: Tensor, layers: Sequence[nn.Module], parameters: Sequence[Tensor | None]
    ) -> None:
        n, width, height, breadth = x.shape
        self.count = n * height * breadth
        self.kept = Kept((n, height, breadth), x.dtype, layers[0].training)
        if self.kept.training and self.count < 2:
            raise ValueError(
                "batch statistics need more than one value per channel, "
                f"got x.shape={tuple(x.shape)}"
            )
        self.layers, self.parameters = layers, iter(parameters)
        total = width + sum(stages(layer)[-1][1].out_channels for layer in layers)
        dtype = autocast_dtype(x)
        self.features = x.new_empty(self.count, total, dtype=dtype)
        self.means = x.new_empty(total, dtype=accumulator(dtype))  # of every feature, once
        self.variances = torch.empty_like(self.means)
        self.width = 0  # columns that are written
        self._write(as_rows(x))

    def layer(self, i: int) -> None:
        """Write the `k` columns of layer `i`."""
        layer = self.layers[i]
        first, *second = stages(layer)
        norm, kernel, bias = self._next(first, shared=True)
        if second:
            hidden = self._bottleneck(norm, kernel)
            norm, kernel, bias = self._next(*second, rows=hidden)
            normalise_relu(hidden, norm.scale, norm.shift, hidden)
            images = as_images(hidden, self.kept.size)
            new = as_rows(F.conv2d(images, kernel, bias, padding=1))
            del hidden, images
        else:
            new = self._convolution(norm, kernel, bias)
        if (rate := getattr(layer, "drop_rate", 0.0)) and layer.training:
            # On ones laid out as the plain model's output: the same random numbers.
            n, height, breadth = self.kept.size
            ones = new.new_ones(n, new.shape[1], height, breadth)
            mask = as_rows(F.dropout(ones, rate))
            new = new * mask
            self.kept.passed[i] = mask != 0
        self._write(new)

    def transition(self, transition: nn.Module) -> Tensor:
        """Pool before the convolution, which commutes: a quarter of its work."""
        norm, kernel, bias = self._next(*stages(transition), shared=True)
        n, height, breadth = self.kept.size
        height, breadth = height // 2, breadth // 2
        output = self.features.new_empty(n * height * breadth, kernel.shape[0])
        scratch = scratch_for_images(self.features, self.kept.size, self.width)
        for few, rows, size in image_chunks(self.kept.size, self.width, output.device):
            x = self.features[rows]
            h = normalise_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            pooled = as_rows(F.avg_pool2d(as_images(h, size), 2))
            part = output[few.start * height * breadth : few.stop * height * breadth]
            torch.mm(pooled, kernel.flatten(1).t(), out=part)
        if bias is not None:
            output += bias
        return as_images(output, (n, height, breadth))

    def _next(
        self, stage: Stage, *, shared: bool = False, rows: Tensor | None = None
    ) -> tuple[Normalisation, Tensor, Tensor | None]:
        """Normalisation, kernel and bias of the next stage; updates running statistics.

        It normalises the features written so far (`shared`) or `rows`.
        """
        weight, shift, kernel, bias = (next(self.parameters) for _ in range(4))
        assert weight is not None
        assert shift is not None
        assert kernel is not None
        of_batch = None
        if self.kept.training and shared:
            of_batch = self.means[: self.width], self.variances[: self.width]
        elif self.kept.training and rows is not None:
            of_batch = statistics(rows)
        norm, _ = stage
        used = used_statistics(norm, of_batch, self.count)
        self.kept.statistics.append(used)
        dtype = self.features.dtype
        return (
            batch_normalisation(norm, weight, shift, *used, of_batch=self.kept.training),
            kernel.to(dtype),
            None if bias is None else bias.to(dtype),
        )

    def _bottleneck(self, norm: Normalisation, kernel: Tensor) -> Tensor:
        """BN-ReLU-Conv(1x1) of the features written so far: `(N·H·W, 4k)`."""
        step = rows_at_once(self.count, kernel.device)
        scratch = Scratch(self.features, step, self.width)
        hidden = self.features.new_empty(self.count, kernel.shape[0])
        for part in chunks(self.count, step):
            x = self.features[part, : self.width]
            h = normalise_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            torch.mm(h, kernel.flatten(1).t(), out=hidden[part])
        return hidden

    def _convolution(self, norm: Normalisation, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """BN-ReLU-Conv(3x3) of the features written so far: `(N·H·W, k)`."""
        new = self.features.new_empty(self.count, kernel.shape[0])
        scratch = scratch_for_images(self.features, self.kept.size, self.width)
        for _, rows, size in image_chunks(self.kept.size, self.width, new.device):
            x = self.features[rows, : self.width]
            h = normalise_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            new[rows] = as_rows(F.conv2d(as_images(h, size), kernel, bias, padding=1))
        return new

    def _write(self, rows: Tensor) -> None:
        new = slice(self.width, self.width + rows.shape[1])
        self.features[:, new] = rows
        self.width = new.stop
        if self.kept.training:
            self.means[new], self.variances[new] = statistics(self.features[:, new])
