"""The backward pass of a dense block with shared storage.

Layers in reverse. Each recomputes its bottleneck from the buffer of features and adds to one buffer
of gradients. What batch normalization subtracts from the gradient of a feature is linear in the
feature; these parts of all layers are summed in two numbers a channel and subtracted once, when
the layer that wrote the feature is reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions.memory.layers import Stage, bn_relu_conv
from densenet_solutions.memory.shared_storage.arithmetic import (
    NormalizationGradient,
    Scratch,
    Size,
    accumulator,
    add_product,
    as_images,
    as_rows,
    batch_normalization,
    chunks,
    conv_backward,
    image_chunks,
    normalize_relu,
    pool_backward,
    relu_backward,
    rows_at_once,
    scratch_for_images,
)

#: Scale and shift of a stage's normalization, kernel and bias (or `None`) of its convolution.
Tensors = Sequence[Any]


@dataclass
class Part:
    """A layer or a transition with what belongs to it, stage by stage."""

    module: nn.Module
    tensors: Sequence[Tensors]
    #: of which of them a gradient is needed
    needed: Sequence[Sequence[bool]]
    #: mean and variance that each normalization used in the forward pass
    statistics: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    #: whether they are those of the batch
    of_batch: list[bool] = field(default_factory=list)
    #: where dropout let pass: `(N·H·W, k)`, one byte an entry
    dropout_mask: Tensor | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        return bn_relu_conv(self.module)

    @property
    def norms_of_batch(self) -> bool:
        """Whether a normalization takes the statistics of the batch, by the modes as they are."""
        return any(norm.training for norm, _ in self.stages)


def parts_of(modules: Sequence[nn.Module], tensors: Tensors, needed: Sequence[bool]) -> list[Part]:
    """Give each module its own of all tensors: four a stage."""
    parts, start = [], 0
    for module in modules:
        own = [slice(start + 4 * i, start + 4 * i + 4) for i in range(len(bn_relu_conv(module)))]
        parts.append(Part(module, [tensors[four] for four in own], [needed[four] for four in own]))
        start = own[-1].stop
    return parts


class StageGradient:
    """One stage BN-ReLU-Conv: what it computes with, and the gradients that it collects.

    `dkernel` and `dbias` are `None` where no gradient of them is needed.
    """

    def __init__(self, part: Part, stage: int, dtype: torch.dtype) -> None:
        weight, shift, kernel, bias = part.tensors[stage]
        self.norm = NormalizationGradient(
            batch_normalization(
                part.stages[stage][0],
                weight,
                shift,
                *part.statistics[stage],
                of_batch=part.of_batch[stage],
            )
        )
        self.dkernel, self.dbias = (
            None
            if parameter is None or not need
            else torch.zeros_like(parameter, dtype=accumulator(parameter.dtype))
            for parameter, need in zip((kernel, bias), part.needed[stage][2:], strict=True)
        )
        self.parameters, self.needed = part.tensors[stage], part.needed[stage]
        self.kernel = kernel.to(dtype)

    def all(self) -> list[Tensor | None]:
        """Gradients of the four parameters, each in its parameter's own type."""
        gradients = (self.norm.weight, self.norm.bias, self.dkernel, self.dbias)
        return [
            None if gradient is None or not need else gradient.to(parameter.dtype)
            for gradient, parameter, need in zip(
                gradients, self.parameters, self.needed, strict=True
            )
        ]


class Backward:
    """The backward pass of one block: its buffer of gradients and what is subtracted from it."""

    def __init__(self, size: Size, features: Tensor) -> None:
        self.size, self.features = size, features
        self.count, self.columns = features.shape  # columns that are not gone through yet
        self.gradient = torch.empty_like(features)  # ∂L/∂features, before `constant + slope·x`
        dtype = accumulator(features.dtype)
        self.constant = features.new_zeros(self.columns, dtype=dtype)
        self.slope = features.new_zeros(self.columns, dtype=dtype)
        self.rows = rows_at_once(self.count, features.device)

    def transition(self, part: Part, grad_output: Tensor) -> list[Tensor | None]:
        """Through the convolution, the pool, the ReLU and the normalization of the transition."""
        stage = self._stage(part, 0)
        norm, matrix = stage.norm.norm, stage.kernel.flatten(1)  # (C', C)
        scratch = scratch_for_images(self.features, self.size, self.columns)
        for few, rows, size in self._images(self.columns):
            dy, x = as_rows(grad_output[few]), self.features[rows]
            h = normalize_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            images = as_images(h, size)
            if stage.dkernel is not None:
                add_product(stage.dkernel.flatten(1), dy.t(), as_rows(F.avg_pool2d(images, 2)))
            if stage.dbias is not None:
                stage.dbias += dy.sum(0, dtype=stage.dbias.dtype)
            dpool = as_images(dy @ matrix, (size[0], size[1] // 2, size[2] // 2))
            dh = as_rows(pool_backward(dpool, images))
            relu_backward(dh, h, out=dh)
            stage.norm.add(dh, x)
            torch.mul(dh, norm.scale, out=self.gradient[rows])
        return self._finish(stage)

    def layer(self, part: Part) -> list[Tensor | None]:
        """Take the gradient of the layer's `k` columns, and add to all columns before them."""
        new = slice(self.columns - part.stages[-1][1].out_channels, self.columns)
        self.columns = new.start
        dy = self._of_columns(new)
        if part.dropout_mask is not None:
            dy.mul_(part.dropout_mask).mul_(1 / (1 - part.module.drop_rate))  # type: ignore[operator]
        return self._bottleneck(part, dy) if len(part.stages) > 1 else self._convolution(part, dy)

    def input(self, dtype: torch.dtype) -> Tensor:
        """`∂L/∂x`, in memory of its own."""
        return as_images(self._of_columns(slice(0, self.columns)), self.size).to(dtype)

    def _stage(self, part: Part, stage: int) -> StageGradient:
        return StageGradient(part, stage, self.features.dtype)

    def _finish(self, stage: StageGradient) -> list[Tensor | None]:
        """The stage that reads the features is done: note what it subtracts from their gradient."""
        constant, slope = stage.norm.correction(self.count)
        self.constant[: self.columns] += constant
        self.slope[: self.columns] += slope
        return stage.all()

    def _images(self, columns: int) -> Iterator[tuple[slice, slice, Size]]:
        return image_chunks(self.size, columns, self.features.device)

    def _of_columns(self, columns: slice) -> Tensor:
        """True gradient of these features: what all normalizations subtract is subtracted."""
        x = self.features[:, columns]
        dy = torch.mul(x, -self.slope[columns]).sub_(self.constant[columns])
        return dy.add_(self.gradient[:, columns]).to(self.features.dtype)

    def _convolution(self, part: Part, dy: Tensor) -> list[Tensor | None]:
        """BN-ReLU-Conv(3x3), some images at a time."""
        stage = self._stage(part, 0)
        norm = stage.norm.norm
        if stage.dbias is not None:
            stage.dbias += dy.sum(0, dtype=stage.dbias.dtype)
        scratch = scratch_for_images(self.features, self.size, self.columns)
        for _, rows, size in self._images(self.columns):
            x = self.features[rows, : self.columns]
            h = normalize_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            dh = _through_conv(dy[rows], h, size, stage.kernel, stage.dkernel)
            relu_backward(dh, h, out=dh)
            stage.norm.add(dh, x)
            self.gradient[rows, : self.columns].addcmul_(dh, norm.scale.to(dh.dtype))
        return self._finish(stage)

    def _bottleneck(self, part: Part, dy: Tensor) -> list[Tensor | None]:
        """BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3), some channels of the bottleneck at a time.

        Each bottleneck channel has a normalization of its own, and both convolutions are linear
        in it, so the channels may be taken in groups. Two maps of a group are held, of its values
        and their gradients: groups are such that this is at most half of the block's features.
        """
        second = self._stage(part, 1)
        if second.dbias is not None:
            second.dbias += dy.sum(0, dtype=second.dbias.dtype)
        first = self._stage(part, 0)
        bottleneck = first.kernel.shape[0]
        size = min(bottleneck, max(8, self.features.shape[1] // 4 // 8 * 8))
        values = self.features.new_empty(self.count * size)
        gradients = torch.empty_like(values)
        for channels in chunks(bottleneck, size):
            shape = (self.count, channels.stop - channels.start)
            z = values[: shape[0] * shape[1]].view(shape)
            dz = gradients[: shape[0] * shape[1]].view(shape)
            norm2 = second.norm.part(channels)
            self._to_bottleneck(first, second, norm2, channels, dy, z, dz)
            self._to_features(first, norm2, channels, z, dz)
        after = second.all()
        return [*self._finish(first), *after]

    def _to_bottleneck(
        self, first: StageGradient, second: StageGradient, norm2: NormalizationGradient,
        channels: slice, dy: Tensor, z: Tensor, dz: Tensor,
    ) -> None:  # fmt: skip
        """Fill `z`, these channels of the bottleneck, and `dz`, the gradient where they are normal.

        `norm2` is the part of the second normalization that belongs to the channels.
        """
        matrix, kernel2 = first.kernel[channels].flatten(1), second.kernel[:, channels]
        dkernel2 = None if second.dkernel is None else second.dkernel[:, channels]
        scale, shift = first.norm.norm.scale, first.norm.norm.shift
        scale2, shift2 = norm2.norm.scale, norm2.norm.shift
        scratch = Scratch(z, self.rows, self.columns)
        hidden = scratch_for_images(z, self.size, 128, z.shape[1])
        for _, rows, size in self._images(128):
            for part in chunks(rows.stop - rows.start, self.rows):
                x = self.features[rows][part, : self.columns]
                h = normalize_relu(x, scale, shift, scratch.take(*x.shape))
                torch.mm(h, matrix.t(), out=z[rows][part])
            h2 = normalize_relu(z[rows], scale2, shift2, hidden.take(*z[rows].shape))
            dh2 = _through_conv(dy[rows], h2, size, kernel2, dkernel2)
            relu_backward(dh2, h2, out=dz[rows])
            del dh2  # or it is still there when the next one is made
            norm2.add(dz[rows], z[rows])

    def _to_features(
        self, first: StageGradient, norm2: NormalizationGradient, channels: slice,
        z: Tensor, dz: Tensor,
    ) -> None:  # fmt: skip
        """From `dz` on through the second normalization to the features. Consumes `z` and `dz`."""
        matrix = first.kernel[channels].flatten(1)  # (channels, C)
        dmatrix = None if first.dkernel is None else first.dkernel[channels].flatten(1)
        constant, slope = norm2.correction(self.count)
        scale2, scale, shift = norm2.norm.scale, first.norm.norm.scale, first.norm.norm.shift
        forward, backward = (Scratch(z, self.rows, self.columns) for _ in range(2))
        for part in chunks(self.count, self.rows):
            x, dz_part = self.features[part, : self.columns], dz[part]
            dz_part.mul_(scale2).sub_(constant).sub_(z[part].mul_(slope))
            h = normalize_relu(x, scale, shift, forward.take(*x.shape))
            if dmatrix is not None:
                add_product(dmatrix, dz_part.t(), h)
            dh = torch.mm(dz_part, matrix, out=backward.take(*x.shape))
            relu_backward(dh, h, out=dh)
            first.norm.add(dh, x)
            self.gradient[part, : self.columns].addcmul_(dh, scale.to(dh.dtype))


def _through_conv(
    dy: Tensor, h: Tensor, size: Size, kernel: Tensor, dkernel: Tensor | None
) -> Tensor:
    """Gradient of the input `h` of a 3x3 convolution, all as rows; adds to `dkernel`."""
    dh, dk = conv_backward(as_images(dy, size), as_images(h, size), kernel, dkernel is not None)
    if dkernel is not None:
        dkernel += dk
    return as_rows(dh)
