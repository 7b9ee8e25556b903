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

from densenet_solutions.asked import asked_device
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
from densenet_solutions.memory.shared_storage.plan import Plan, Scratch, Size, chunks

#: Scale and shift of a stage's normalization, kernel and bias (or `None`) of its convolution.
Tensors = Sequence[Any]

_ALL = slice(None)


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

    def collector(self, plan: Plan, channels: slice = _ALL) -> NormalizationGradient:
        """For the gradient of the normalization, or of some of its channels.

        What comes after `h = max(y, 0)` is linear in it, so a channel's `Σ g·y`, which is `Σ g·h`,
        is `Σ W·∂L/∂W` over all weights it meets. On a CPU that saves multiplying and summing `g·x`.
        """
        norm = self.norm if channels is _ALL else self.norm.part(channels)
        # In a prediction no channel counts as faint; of other tensors without values none is known.
        readable = asked_device() is not None or type(norm.scale) is Tensor
        one_type = self.kernel.dtype == norm.mean.dtype
        if self.dkernel is None or not (plan.on_cpu and one_type and readable):
            return NormalizationGradient(norm, plan)
        faint = norm.faint()
        few = 4 * len(faint) <= len(norm.mean)
        return NormalizationGradient(norm, plan, faint if few else None)

    def found(self, collected: NormalizationGradient, channels: slice = _ALL) -> FoundGradient:
        """The same when the gradient of the kernel is complete for these channels."""
        if collected.summed is None or self.dkernel is None:
            return collected.found()
        products = self.kernel[:, channels] * self.dkernel[:, channels]
        return collected.found(products.sum((0, 2, 3)))

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
    `at_least` is for how many numbers its memory may be lent.
    """

    def __init__(
        self, features: Tensor, norm: Normalization, plan: Plan, at_least: int = 0
    ) -> None:
        self.features, self.norm, self.plan = features, norm, plan
        self.scratch = plan.scratch(features, features.shape[1], at_least)
        self.held: slice | None = None

    def __getitem__(self, rows: slice) -> Tensor:
        h = self.scratch.take(rows.stop - rows.start, self.features.shape[1])
        if rows != self.held:
            normalize_relu(self.features[rows], self.norm, h)
            self.held = rows
        return h

    def lend(self) -> Scratch:
        """Its memory, for something else."""
        self.held = None
        return self.scratch


class Group:
    """Some channels of a bottleneck: what the 1x1 convolution wrote, and gradients behind it.

    Without memory for what it wrote, a slice of that is computed when it is needed, twice.
    """

    def __init__(
        self, channels: slice, normalized: Normalized, matrix: Tensor, kept: Tensor | None,
        gradients: Tensor, values: Tensor | None,
    ) -> None:  # fmt: skip
        self.channels, self.normalized, self.matrix, self.kept = channels, normalized, matrix, kept
        shape = len(normalized.features), len(matrix)
        self.dz = gradients[: shape[0] * shape[1]].view(shape)
        self.z = None if values is None else values[: shape[0] * shape[1]].view(shape)

    def compute(self, rows: slice, room: Scratch) -> Tensor:
        """What was written in these rows, kept or computed again; in `room` if it is not held."""
        shape = rows.stop - rows.start, len(self.matrix)
        z = room.take(*shape) if self.z is None else self.z[rows]
        if self.kept is not None:
            return z.copy_(self.kept[rows])
        for part in self.normalized.plan.row_chunks(rows):
            own = z[part.start - rows.start : part.stop - rows.start]
            torch.mm(self.normalized[part], self.matrix.t(), out=own)
        return z

    def values(self, rows: slice, room: Scratch) -> Tensor:
        """The same for rows that were computed before."""
        return self.compute(rows, room) if self.z is None else self.z[rows]


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
        found = stage.collector(self.plan)
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
        return self._finish(stage, stage.found(found))

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
        found = stage.collector(self.plan)
        stage.add_bias(dy)
        scratch = self.plan.scratch_for_images(self.features, self.columns)
        for _, rows, size in self.plan.images(self.columns):
            x = self.features[rows, : self.columns]
            h = normalize_relu(x, stage.norm, scratch.take(*x.shape))
            dh = _through_conv(dy[rows], h, size, stage.kernel, stage.dkernel)
            self._add(found, relu_backward(dh, h, out=dh), x, rows)
            del dh  # or it is still there when the next one is made
        return self._finish(stage, stage.found(found))

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
        Where that takes several, a CPU holds gradients only, and computes values twice.
        """
        first, second = (StageGradient(part, stage, self.features.dtype) for stage in (0, 1))
        second.add_bias(dy)
        read = self.features[:, : self.columns]
        bottleneck, half = first.kernel.shape[0], self.features.shape[1] // 2
        twice = 2 * bottleneck > half and self.plan.on_cpu and self.plan.rows_at_once < len(read)
        size = min(bottleneck, max(8, (half if twice else half // 2) // 8 * 8))
        cut = 256 if twice else 128  # twice the channels of half the images
        lent = self.plan.images_at_once(cut) * self.plan.pixels * size if twice else 0
        normalized = Normalized(read, first.norm, self.plan, lent)
        found = first.collector(self.plan)
        values = None if twice else self.features.new_empty(self.plan.rows * size)
        gradients = self.features.new_empty(self.plan.rows * size)
        groups = []
        for channels in chunks(bottleneck, size):
            kept = None if part.bottleneck is None else part.bottleneck[:, channels]
            matrix = first.kernel[channels].flatten(1)
            group = Group(channels, normalized, matrix, kept, gradients, values)
            passed = self._to_bottleneck(second, group, dy, cut)
            self._to_features(first, group, passed, found)
            groups.append(passed)
        weight, bias = (
            torch.cat(parts) if len(parts) > 1 else parts[0]
            for parts in ([one.weight for one in groups], [one.bias for one in groups])
        )
        return [*self._finish(first, first.found(found)), *second.all(weight, bias)]

    def _to_bottleneck(
        self, second: StageGradient, group: Group, dy: Tensor, cut: int
    ) -> FoundGradient:
        """Fill `group.dz`; returns what the second normalization of these channels finds."""
        kernel = second.kernel[:, group.channels]
        dkernel = None if second.dkernel is None else second.dkernel[:, group.channels]
        found = second.collector(self.plan, group.channels)
        scratch = self.plan.scratch_for_images(group.dz, cut, len(group.matrix))
        for _, rows, size in self.plan.images(cut):
            z, dz = group.compute(rows, scratch), group.dz[rows]
            memory = group.normalized.lend() if group.z is None else scratch
            h = normalize_relu(z, found.norm, memory.take(*z.shape))
            dh = _through_conv(dy[rows], h, size, kernel, dkernel)
            relu_backward(dh, h, out=dz)
            del dh  # or it is still there when the next one is made
            found.add(dz, z)
        return second.found(found, group.channels)

    def _to_features(
        self, first: StageGradient, group: Group, passed: FoundGradient,
        found: NormalizationGradient,
    ) -> None:  # fmt: skip
        """From `group.dz` on through the second normalization to the features. Consumes it."""
        dmatrix = None if first.dkernel is None else first.dkernel[group.channels].flatten(1)
        correction = passed.correction(self.plan.rows)
        width = len(group.matrix) if group.z is None else 0
        scratch = self.plan.scratch(group.dz, max(width, self.columns))
        for part in self.plan.row_chunks():
            z = group.values(part, scratch)
            dz = through_norm(group.dz[part], z, passed.norm.scale, correction)
            h = group.normalized[part]
            if dmatrix is not None:
                add_product(dmatrix, dz, h, self.plan)
            dh = torch.mm(dz, group.matrix, out=scratch.take(*h.shape))
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
