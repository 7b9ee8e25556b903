"""The backward pass of a dense block with shared storage.

Layers in reverse. Each recomputes its bottleneck from the buffer of features, unless that was kept,
and adds to one buffer of gradients. What batch normalization subtracts from the gradient of a
feature is linear in the feature; these parts of all layers are summed in two numbers a channel and
subtracted once, when the layer that wrote the feature is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions.memory.layers import Stage, bn_relu_conv
from densenet_solutions.memory.shared_storage.arithmetic import (
    FoundGradient,
    Normalization,
    NormalizationGradient,
    accumulator,
    add_product,
    as_images,
    as_rows,
    conv_backward,
    normalize_relu,
    pool_backward,
    relu_backward,
    through_norm,
)
from densenet_solutions.memory.shared_storage.plan import Plan, Size, chunks

#: Scale and shift of a stage's normalization, kernel and bias (or `None`) of its convolution.
Tensors = Sequence[Any]


@dataclass
class Part:
    """A layer or a transition with what belongs to it, stage by stage."""

    module: nn.Module
    tensors: Sequence[Tensors]
    #: of which of them a gradient is needed
    needed: Sequence[Sequence[bool]]
    #: what each normalization did in the forward pass
    norms: list[Normalization] = field(default_factory=list)
    #: where dropout let pass, `(N·H·W, k)` with one byte an entry, and by what it multiplied
    dropout: tuple[Tensor, float] | None = None
    #: what its 1x1 convolution wrote, `(N·H·W, 4k)`, if it was kept
    bottleneck: Tensor | None = None

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
        _, _, kernel, bias = part.tensors[stage]
        self.norm = part.norms[stage]
        self.dkernel, self.dbias = (
            None
            if parameter is None or not need
            else torch.zeros_like(parameter, dtype=accumulator(parameter.dtype))
            for parameter, need in zip((kernel, bias), part.needed[stage][2:], strict=True)
        )
        self.parameters, self.needed = part.tensors[stage], part.needed[stage]
        self.kernel = kernel.to(dtype)

    def add_bias(self, dy: Tensor) -> None:
        """Take notice of the gradient of the convolution's output."""
        if self.dbias is not None:
            self.dbias += dy.sum(0, dtype=self.dbias.dtype)

    def all(self, weight: Tensor, bias: Tensor) -> list[Tensor | None]:
        """Gradients of the four parameters, each in its parameter's own type."""
        return [
            None if gradient is None or not need else gradient.to(parameter.dtype)
            for gradient, parameter, need in zip(
                (weight, bias, self.dkernel, self.dbias), self.parameters, self.needed, strict=True
            )
        ]


class Normalized:
    """`max(scale·x + shift, 0)` of a few rows of the features, computed again from them.

    The rows that were asked for last are there still: in one slice they are computed once.
    """

    def __init__(self, features: Tensor, norm: Normalization, plan: Plan) -> None:
        self.features, self.norm = features, norm
        self.scratch = plan.scratch(features, features.shape[1])
        self.held: slice | None = None

    def __getitem__(self, rows: slice) -> Tensor:
        h = self.scratch.take(rows.stop - rows.start, self.features.shape[1])
        if rows != self.held:
            normalize_relu(self.features[rows], self.norm, h)
            self.held = rows
        return h


class Backward:
    """The backward pass of one block: its buffer of gradients and what is subtracted from it."""

    def __init__(self, plan: Plan, features: Tensor) -> None:
        self.plan, self.features = plan, features
        self.columns = features.shape[1]  # that are not gone through yet
        self.gradient = torch.empty_like(features)  # ∂L/∂features, before `constant + slope·x`
        dtype = accumulator(features.dtype)
        self.constant = features.new_zeros(self.columns, dtype=dtype)
        self.slope = features.new_zeros(self.columns, dtype=dtype)

    def transition(self, part: Part, grad_output: Tensor) -> list[Tensor | None]:
        """Through the convolution, the pool, the ReLU and the normalization of the transition."""
        stage = StageGradient(part, 0, self.features.dtype)
        found = NormalizationGradient(stage.norm, self.plan)
        matrix = stage.kernel.flatten(1)  # (C', C)
        scratch = self.plan.scratch_for_images(self.features, self.columns)
        for few, rows, size in self.plan.images(self.columns):
            dy, x = as_rows(grad_output[few]), self.features[rows]
            h = normalize_relu(x, stage.norm, scratch.take(*x.shape))
            images = as_images(h, size)
            if stage.dkernel is not None:
                pooled = as_rows(F.avg_pool2d(images, 2))
                add_product(stage.dkernel.flatten(1), dy, pooled, self.plan)
                del pooled
            stage.add_bias(dy)
            dpool = as_images(dy @ matrix, (size[0], size[1] // 2, size[2] // 2))
            dh = as_rows(pool_backward(dpool, images))
            relu_backward(dh, h, out=dh)
            torch.mul(dh, stage.norm.scale, out=self.gradient[rows])
            found.add(dh, x, consume=True)
            del dh  # or it is still there when the next one is made
        return self._finish(stage, found.found())

    def layer(self, part: Part) -> list[Tensor | None]:
        """Take the gradient of the layer's `k` columns, and add to all columns before them."""
        new = slice(self.columns - part.stages[-1][1].out_channels, self.columns)
        self.columns = new.start
        dy = self._of_columns(new)
        if part.dropout is not None:
            mask, factor = part.dropout
            dy.mul_(mask).mul_(factor)
        return self._bottleneck(part, dy) if len(part.stages) > 1 else self._convolution(part, dy)

    def input(self, dtype: torch.dtype) -> Tensor:
        """`∂L/∂x`, in memory of its own."""
        return as_images(self._of_columns(slice(0, self.columns)), self.plan.size).to(dtype)

    def _finish(self, stage: StageGradient, found: FoundGradient) -> list[Tensor | None]:
        """The stage that reads the features is done: note what it subtracts from their gradient."""
        correction = found.correction(self.plan.rows)
        if correction is not None:
            self.constant[: self.columns].add_(correction[0])
            self.slope[: self.columns].add_(correction[1])
        return stage.all(found.weight, found.bias)

    def _of_columns(self, columns: slice) -> Tensor:
        """True gradient of these features: what all normalizations subtract is subtracted."""
        dy = torch.addcmul(
            self.gradient[:, columns], self.features[:, columns], self.slope[columns], value=-1
        )
        return dy.sub_(self.constant[columns]).to(self.features.dtype)

    def _convolution(self, part: Part, dy: Tensor) -> list[Tensor | None]:
        """BN-ReLU-Conv(3x3), some images at a time."""
        stage = StageGradient(part, 0, self.features.dtype)
        found = NormalizationGradient(stage.norm, self.plan)
        stage.add_bias(dy)
        scratch = self.plan.scratch_for_images(self.features, self.columns)
        for _, rows, size in self.plan.images(self.columns):
            x = self.features[rows, : self.columns]
            h = normalize_relu(x, stage.norm, scratch.take(*x.shape))
            dh = _through_conv(dy[rows], h, size, stage.kernel, stage.dkernel)
            self._add(found, relu_backward(dh, h, out=dh), x, rows)
            del dh  # or it is still there when the next one is made
        return self._finish(stage, found.found())

    def _add(self, found: NormalizationGradient, dh: Tensor, x: Tensor, rows: slice) -> None:
        """The gradient `dh` of normalized features goes to the features. Consumes `dh`."""
        scale = found.norm.scale.to(dh.dtype)
        self.gradient[rows, : self.columns].addcmul_(dh, scale)
        found.add(dh, x, consume=True)

    def _bottleneck(self, part: Part, dy: Tensor) -> list[Tensor | None]:
        """BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3), some channels of the bottleneck at a time.

        Each bottleneck channel has a normalization of its own, and both convolutions are linear
        in it, so the channels may be taken in groups. Two maps of a group are held, of its values
        and their gradients: groups are such that this is at most half of the block's features.
        """
        first, second = (StageGradient(part, stage, self.features.dtype) for stage in (0, 1))
        second.add_bias(dy)
        read = self.features[:, : self.columns]
        normalized = Normalized(read, first.norm, self.plan)
        found = NormalizationGradient(first.norm, self.plan)
        bottleneck = first.kernel.shape[0]
        size = min(bottleneck, max(8, self.features.shape[1] // 4 // 8 * 8))
        values = self.features.new_empty(self.plan.rows * size)
        gradients = torch.empty_like(values)
        groups = []
        for channels in chunks(bottleneck, size):
            shape = (self.plan.rows, channels.stop - channels.start)
            z = values[: shape[0] * shape[1]].view(shape)
            dz = gradients[: shape[0] * shape[1]].view(shape)
            kept = None if part.bottleneck is None else part.bottleneck[:, channels]
            group = self._to_bottleneck(first, second, channels, normalized, kept, dy, z, dz)
            self._to_features(first, group, channels, normalized, found, z, dz)
            groups.append(group)
        weight, bias = (
            torch.cat(parts) if len(parts) > 1 else parts[0]
            for parts in ([one.weight for one in groups], [one.bias for one in groups])
        )
        return [*self._finish(first, found.found()), *second.all(weight, bias)]

    def _to_bottleneck(
        self, first: StageGradient, second: StageGradient, channels: slice, normalized: Normalized,
        kept: Tensor | None, dy: Tensor, z: Tensor, dz: Tensor,
    ) -> FoundGradient:  # fmt: skip
        """Fill `z`, these channels of the bottleneck, and `dz`, the gradient where they are normal.

        Returns what the second normalization of these channels finds.
        """
        matrix, kernel2 = first.kernel[channels].flatten(1).t(), second.kernel[:, channels]
        dkernel2 = None if second.dkernel is None else second.dkernel[:, channels]
        norm2 = second.norm.part(channels)
        found = NormalizationGradient(norm2, self.plan)
        scratch = self.plan.scratch_for_images(z, 128, z.shape[1])
        for _, rows, size in self.plan.images(128):
            if kept is None:
                for part in self.plan.row_chunks(rows):
                    torch.mm(normalized[part], matrix, out=z[part])
            else:
                z[rows] = kept[rows]
            h2 = normalize_relu(z[rows], norm2, scratch.take(*z[rows].shape))
            dh2 = _through_conv(dy[rows], h2, size, kernel2, dkernel2)
            relu_backward(dh2, h2, out=dz[rows])
            del dh2  # or it is still there when the next one is made
            found.add(dz[rows], z[rows])
        return found.found()

    def _to_features(
        self, first: StageGradient, group: FoundGradient, channels: slice, normalized: Normalized,
        found: NormalizationGradient, z: Tensor, dz: Tensor,
    ) -> None:  # fmt: skip
        """From `dz` on through the second normalization to the features. Consumes `z` and `dz`."""
        matrix = first.kernel[channels].flatten(1)  # (channels, C)
        dmatrix = None if first.dkernel is None else first.dkernel[channels].flatten(1)
        correction = group.correction(self.plan.rows)
        scratch = self.plan.scratch(z, self.columns)
        for part in self.plan.row_chunks():
            dz_part = through_norm(dz[part], z[part], group.norm.scale, correction)
            h = normalized[part]
            if dmatrix is not None:
                add_product(dmatrix, dz_part, h, self.plan)
            dh = torch.mm(dz_part, matrix, out=scratch.take(*h.shape))
            self._add(
                found, relu_backward(dh, h, out=dh), self.features[part, : self.columns], part
            )


def _through_conv(
    dy: Tensor, h: Tensor, size: Size, kernel: Tensor, dkernel: Tensor | None
) -> Tensor:
    """Gradient of the input `h` of a 3x3 convolution, all as rows; adds to `dkernel`."""
    dh, dk = conv_backward(as_images(dy, size), as_images(h, size), kernel, dkernel is not None)
    if dkernel is not None:
        dkernel += dk
    return as_rows(dh)
