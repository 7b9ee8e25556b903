"""A dense block and the transition after it as one autograd function with one buffer of features.

Forward: every layer reads a prefix of the buffer's columns and writes `k` columns behind it, so
no concatenation is ever copied; the statistics of a feature are computed once, when it is
written, and shared by all layers that normalise it. Kept for the backward pass: the buffer.

Backward: layers in reverse. Each recomputes its bottleneck from the buffer and adds to one buffer
of gradients. What batch normalisation subtracts from the gradient of a feature is linear in the
feature; these parts of all layers are summed in two numbers a channel and subtracted once, when
the layer that wrote the feature is reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions.memory.shared_storage_parts import (
    Normalisation,
    NormalisationGradient,
    Scratch,
    accumulator,
    add_product,
    as_images,
    as_rows,
    autocast_dtype,
    batch_normalisation,
    chunks,
    conv_backward,
    first_derivatives_only,
    images_at_once,
    normalise_relu,
    pool_backward,
    relu_backward,
    rows_at_once,
    statistics,
    used_statistics,
)
from densenet_solutions.models.densenet import DenseLayer, Transition


def dense_block(
    x: Tensor, layers: Sequence[DenseLayer], transition: Transition | None = None
) -> Tensor:
    """`(N, C, H, W)` → `(N, C + layers·k, H, W)`, or through the transition to `(N, C', H/2, W/2)`.

    The same function as the modules compute, running statistics included. In training mode all
    normalisations use the batch's statistics; modes must not be mixed.
    """
    parameters: list[Tensor] = []
    for layer in layers:
        parameters += [layer.norm1.weight, layer.norm1.bias, layer.conv1.weight]
        if layer.has_bottleneck:
            parameters += [layer.norm2.weight, layer.norm2.bias, layer.conv2.weight]
    if transition is not None:
        parameters += [transition.norm.weight, transition.norm.bias, transition.conv.weight]
    return _DenseBlock.apply(tuple(layers), transition, x, *parameters)


@dataclass
class _Kept:
    """What the forward pass leaves for the backward pass, beside the buffer: small vectors."""

    size: tuple[int, int, int]  # N, H, W
    input_dtype: torch.dtype
    #: mean and variance that each normalisation used, in the order of the forward pass
    statistics: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    #: where dropout let pass, by layer: `(N·H·W, k)`, one byte an entry
    passed: dict[int, Tensor] = field(default_factory=dict)


class _DenseBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layers: tuple[DenseLayer, ...],
        transition: Transition | None,
        x: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        device, training = x.device.type, layers[0].norm1.training
        dtype = autocast_dtype(x)
        n, width, height, breadth = x.shape
        kept = _Kept((n, height, breadth), x.dtype)
        new = [(layer.conv2 if layer.has_bottleneck else layer.conv1) for layer in layers]
        total = width + sum(conv.out_channels for conv in new)
        count = n * height * breadth
        if training and count < 2:
            raise ValueError(
                "batch statistics need more than one value per channel, "
                f"got x.shape={tuple(x.shape)}"
            )
        features = x.new_empty(count, total, dtype=dtype)
        features[:, :width] = as_rows(x)
        if training:  # of every feature, computed once
            means = x.new_empty(total, dtype=accumulator(dtype))
            variances = torch.empty_like(means)
            means[:width], variances[:width] = statistics(features[:, :width])
        todo = list(parameters)

        def normalisation(
            norm: nn.BatchNorm2d, of_batch: tuple[Tensor, Tensor] | None
        ) -> Normalisation:
            used = used_statistics(norm, of_batch, features)
            kept.statistics.append(used)
            return batch_normalisation(norm, todo.pop(0), todo.pop(0), *used, of_batch=training)

        def shared() -> tuple[Tensor, Tensor] | None:
            return (means[:width], variances[:width]) if training else None

        step = rows_at_once(count, x.device)
        scratch = Scratch(features, step, total)
        with torch.autocast(device, enabled=False) if device != "meta" else nullcontext():
            for i, layer in enumerate(layers):
                norm = normalisation(layer.norm1, shared())
                weight = todo.pop(0).to(dtype)
                if layer.has_bottleneck:
                    hidden = features.new_empty(count, weight.shape[0])  # (N·H·W, 4k)
                    for part in chunks(count, step):
                        x1 = features[part, :width]
                        h = normalise_relu(x1, norm.scale, norm.shift, scratch.take(*x1.shape))
                        torch.mm(h, weight.flatten(1).t(), out=hidden[part])
                    norm = normalisation(layer.norm2, statistics(hidden) if training else None)
                    weight = todo.pop(0).to(dtype)
                    normalise_relu(hidden, norm.scale, norm.shift, hidden)
                else:
                    hidden = features.new_empty(count, width)
                    normalise_relu(features[:, :width], norm.scale, norm.shift, hidden)
                y = F.conv2d(as_images(hidden, kept.size), weight, padding=1)  # (N, k, H, W)
                del hidden
                if layer.drop_rate and layer.training:
                    # On ones laid out as the plain model's output: the same random numbers.
                    ones = torch.ones(y.shape, dtype=dtype, device=y.device)
                    mask = F.dropout(ones, layer.drop_rate)
                    y = y * mask
                    kept.passed[i] = as_rows(mask != 0)
                new_columns = slice(width, width + y.shape[1])
                features[:, new_columns] = as_rows(y)
                width = new_columns.stop
                if training:
                    means[new_columns], variances[new_columns] = statistics(
                        features[:, new_columns]
                    )
            if transition is None:
                output = as_images(features, kept.size)
            else:
                norm = normalisation(transition.norm, shared())
                output = _transition(features, norm, todo.pop(0).to(dtype), kept.size)
        ctx.layers, ctx.transition, ctx.kept = layers, transition, kept
        ctx.training = training
        ctx.save_for_backward(features, *parameters)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        first_derivatives_only()
        device = grad_output.device.type
        with torch.autocast(device, enabled=False) if device != "meta" else nullcontext():
            features, *parameters = ctx.saved_tensors
            needed = ctx.needs_input_grad[3:]
            backward = _Backward(ctx, features, parameters, needed)
            if ctx.transition is None:
                backward.gradient.copy_(as_rows(grad_output))
            else:
                backward.transition(grad_output)
            for i in reversed(range(len(ctx.layers))):
                backward.layer(i)
            dx = backward.input() if ctx.needs_input_grad[2] else None
            return None, None, dx, *backward.parameter_gradients()


def _transition(
    features: Tensor, norm: Normalisation, weight: Tensor, size: tuple[int, int, int]
) -> Tensor:
    """Pool before the convolution, which commutes: a quarter of its work."""
    n, height, breadth = size
    pixels = height * breadth
    output = features.new_empty(n * (height // 2) * (breadth // 2), weight.shape[0])
    pooled_pixels = output.shape[0] // n
    images = images_at_once(size, features.shape[1], features.device)
    scratch = Scratch(features, images * pixels, features.shape[1])
    for few in chunks(n, images):
        part = slice(few.start * pixels, few.stop * pixels)
        h = scratch.take(part.stop - part.start, features.shape[1])
        normalise_relu(features[part], norm.scale, norm.shift, h)
        pooled = F.avg_pool2d(as_images(h, (few.stop - few.start, height, breadth)), 2)
        rows = slice(few.start * pooled_pixels, few.stop * pooled_pixels)
        torch.mm(as_rows(pooled), weight.flatten(1).t(), out=output[rows])
    return as_images(output, (n, height // 2, breadth // 2))


class _Backward:
    """The backward pass of one block: its buffer of gradients and what is subtracted from it."""

    def __init__(
        self, ctx: Any, features: Tensor, parameters: list[Tensor], needed: tuple[bool, ...]
    ) -> None:
        self.layers, self.trans, self.kept = ctx.layers, ctx.transition, ctx.kept
        self.training, self.features = ctx.training, features
        self.parameters, self.needed = parameters, needed
        self.gradients: list[Tensor | None] = [None] * len(parameters)
        self.count, self.total = features.shape
        self.gradient = torch.empty_like(features)  # ∂L/∂features, before `constant + slope·x`
        dtype = accumulator(features.dtype)
        self.constant = features.new_zeros(self.total, dtype=dtype)
        self.slope = features.new_zeros(self.total, dtype=dtype)
        self.pixels = self.kept.size[1] * self.kept.size[2]
        self.step = rows_at_once(self.count, features.device)
        self.width = self.total  # columns that the layer at hand reads
        self.norms = len(self.kept.statistics)  # normalisations and parameters not yet consumed,
        self.end = len(parameters)  # from the back

    def _pop(self, norm: nn.BatchNorm2d) -> tuple[int, Normalisation, Tensor]:
        """The last normalisation and convolution not yet consumed, and their first index."""
        self.end -= 3
        self.norms -= 1
        weight, bias, kernel = self.parameters[self.end : self.end + 3]
        used = self.kept.statistics[self.norms]
        normalised = batch_normalisation(norm, weight, bias, *used, of_batch=self.training)
        return self.end, normalised, kernel.to(self.features.dtype)

    def _keep(self, first: int, norm: NormalisationGradient, kernel: Tensor | None) -> None:
        found = (norm.weight, norm.bias, kernel)
        for i, value in enumerate(found, start=first):
            self.gradients[i] = value

    def _scratch(self, columns: int) -> Scratch:
        """Memory for the feature maps that `_some_images(columns)` goes through."""
        images = images_at_once(self.kept.size, columns, self.features.device)
        return Scratch(self.features, images * self.pixels, columns)

    def _some_images(self, columns: int) -> Iterator[tuple[slice, tuple[int, int, int]]]:
        n, height, breadth = self.kept.size
        for few in chunks(n, images_at_once(self.kept.size, columns, self.features.device)):
            rows = slice(few.start * self.pixels, few.stop * self.pixels)
            yield rows, (few.stop - few.start, height, breadth)

    def _kernel_gradient(self, first: int) -> Tensor | None:
        if not self.needed[first + 2]:
            return None
        dtype = accumulator(self.features.dtype)
        return torch.zeros_like(self.parameters[first + 2], dtype=dtype)

    def transition(self, grad_output: Tensor) -> None:
        """Through the convolution, the pool, the ReLU and the normalisation of the transition."""
        first, norm, kernel = self._pop(self.trans.norm)
        found, dkernel = NormalisationGradient(norm), self._kernel_gradient(first)
        matrix = kernel.flatten(1)  # (C', C)
        scratch = self._scratch(self.total)
        few = 0
        for rows, size in self._some_images(self.total):
            dy = as_rows(grad_output[few : few + size[0]])
            few += size[0]
            x = self.features[rows]
            h = normalise_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            images = as_images(h, size)
            if dkernel is not None:
                add_product(dkernel.flatten(1), dy.t(), as_rows(F.avg_pool2d(images, 2)))
            height, breadth = size[1] // 2, size[2] // 2
            dpool = as_images(dy @ matrix, (size[0], height, breadth))
            dh = as_rows(pool_backward(dpool, images))
            relu_backward(dh, h, out=dh)
            found.add(dh, x)
            torch.mul(dh, norm.scale, out=self.gradient[rows])
        self._finish(first, found, dkernel, self.total)

    def layer(self, i: int) -> None:
        """Through layer `i`: takes the gradient of its `k` columns, adds to all before them."""
        layer = self.layers[i]
        last = layer.conv2 if layer.has_bottleneck else layer.conv1
        new = slice(self.width - last.out_channels, self.width)
        self.width = new.start
        dy = self._of_columns(new)
        if i in self.kept.passed:
            dy.mul_(self.kept.passed[i]).mul_(1 / (1 - layer.drop_rate))
        if layer.has_bottleneck:
            self._bottleneck(layer, dy)
        else:
            self._convolution(layer, dy)

    def _of_columns(self, columns: slice) -> Tensor:
        """True gradient of these features: what all normalisations subtract is subtracted."""
        x = self.features[:, columns]
        dy = torch.mul(x, -self.slope[columns]).sub_(self.constant[columns])
        return dy.add_(self.gradient[:, columns]).to(self.features.dtype)

    def _bottleneck(self, layer: DenseLayer, dy: Tensor) -> None:
        """BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3), some channels of the bottleneck at a time.

        Each bottleneck channel has a normalisation of its own, and both convolutions are linear
        in it, so the channels may be taken in groups. Two maps of a group are held, of its values
        and their gradients: groups are such that this is at most half of the block's features.
        """
        first2, norm2, kernel2 = self._pop(layer.norm2)
        first1, norm1, kernel1 = self._pop(layer.norm1)
        found1, dkernel1 = NormalisationGradient(norm1), self._kernel_gradient(first1)
        found2, dkernel2 = NormalisationGradient(norm2), self._kernel_gradient(first2)
        bottleneck = kernel1.shape[0]
        size = min(bottleneck, max(8, self.total // 4 // 8 * 8))
        values = self.features.new_empty(self.count * size)
        gradients = torch.empty_like(values)
        for group in chunks(bottleneck, size):
            shape = (self.count, group.stop - group.start)
            z = values[: shape[0] * shape[1]].view(shape)
            dz = gradients[: shape[0] * shape[1]].view(shape)
            matrix = kernel1[group].flatten(1)  # (group, C)
            self._to_bottleneck(
                dy,
                z,
                dz,
                norm1,
                matrix,
                found2.part(group),
                kernel2[:, group],
                None if dkernel2 is None else dkernel2[:, group],
            )
            dmatrix = None if dkernel1 is None else dkernel1[group].flatten(1)
            self._to_features(z, dz, found2.part(group), matrix, norm1, found1, dmatrix)
        self._keep(first2, found2, dkernel2)
        self._finish(first1, found1, dkernel1, self.width)

    def _to_bottleneck(
        self,
        dy: Tensor,
        z: Tensor,
        dz: Tensor,
        norm1: Normalisation,
        matrix: Tensor,
        found2: NormalisationGradient,
        kernel2: Tensor,
        dkernel2: Tensor | None,
    ) -> None:
        """Fill `z`, the bottleneck, and `dz`, the gradient of its normalised values."""
        scale, shift, norm2 = norm1.scale, norm1.shift, found2.norm
        scale2, shift2 = norm2.scale, norm2.shift
        scratch = Scratch(z, self.step, self.width)
        images = images_at_once(self.kept.size, 128, z.device)
        hidden = Scratch(z, images * self.pixels, z.shape[1])
        for rows, size in self._some_images(128):
            for part in chunks(rows.stop - rows.start, self.step):
                x = self.features[rows][part, : self.width]
                h = normalise_relu(x, scale, shift, scratch.take(*x.shape))
                torch.mm(h, matrix.t(), out=z[rows][part])
            h2 = normalise_relu(z[rows], scale2, shift2, hidden.take(*z[rows].shape))
            dh2, dk = conv_backward(
                as_images(dy[rows], size), as_images(h2, size), kernel2, dkernel2 is not None
            )
            if dkernel2 is not None:
                dkernel2 += dk
            relu_backward(as_rows(dh2), h2, out=dz[rows])
            del dh2, dk  # or they are still there when the next ones are made
            found2.add(dz[rows], z[rows])

    def _to_features(
        self,
        z: Tensor,
        dz: Tensor,
        found2: NormalisationGradient,
        matrix: Tensor,
        norm1: Normalisation,
        found1: NormalisationGradient,
        dmatrix: Tensor | None,
    ) -> None:
        """From `dz` on through the second normalisation to the features. Consumes `z` and `dz`."""
        constant, slope = found2.correction(self.count)
        scale, shift, scale2 = norm1.scale, norm1.shift, found2.norm.scale
        forward, backward = (Scratch(z, self.step, self.width) for _ in range(2))
        for part in chunks(self.count, self.step):
            x, dz_part = self.features[part, : self.width], dz[part]
            dz_part.mul_(scale2).sub_(constant).sub_(z[part].mul_(slope))
            h = normalise_relu(x, scale, shift, forward.take(*x.shape))
            if dmatrix is not None:
                add_product(dmatrix, dz_part.t(), h)
            dh = torch.mm(dz_part, matrix, out=backward.take(*x.shape))
            relu_backward(dh, h, out=dh)
            found1.add(dh, x)
            self.gradient[part, : self.width].addcmul_(dh, scale.to(dh.dtype))

    def _convolution(self, layer: DenseLayer, dy: Tensor) -> None:
        first, norm, kernel = self._pop(layer.norm1)
        found, dkernel = NormalisationGradient(norm), self._kernel_gradient(first)
        scratch = self._scratch(self.width)
        for rows, size in self._some_images(self.width):
            x = self.features[rows, : self.width]
            h = normalise_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            dh, dk = conv_backward(
                as_images(dy[rows], size), as_images(h, size), kernel, dkernel is not None
            )
            if dkernel is not None:
                dkernel += dk
            dh = as_rows(dh)
            relu_backward(dh, h, out=dh)
            found.add(dh, x)
            self.gradient[rows, : self.width].addcmul_(dh, norm.scale.to(dh.dtype))
        self._finish(first, found, dkernel, self.width)

    def _finish(
        self, first: int, found: NormalisationGradient, dkernel: Tensor | None, width: int
    ) -> None:
        constant, slope = found.correction(self.count)
        self.constant[:width] += constant
        self.slope[:width] += slope
        self._keep(first, found, dkernel)

    def input(self) -> Tensor:
        """`∂L/∂x`, in memory of its own."""
        dx = self._of_columns(slice(0, self.width))
        return as_images(dx, self.kept.size).to(self.kept.input_dtype)

    def parameter_gradients(self) -> list[Tensor | None]:
        return [
            gradient.to(parameter.dtype) if need and gradient is not None else None
            for gradient, parameter, need in zip(
                self.gradients, self.parameters, self.needed, strict=True
            )
        ]
