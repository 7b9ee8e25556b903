"""The backward pass of a dense block with shared storage.

Layers in reverse. Each recomputes its bottleneck from the buffer of features and adds to one buffer
of gradients. What batch normalisation subtracts from the gradient of a feature is linear in the
feature; these parts of all layers are summed in two numbers a channel and subtracted once, when
the layer that wrote the feature is reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densenet_solutions.memory.shared_storage.arithmetic import (
    Normalisation,
    NormalisationGradient,
    Scratch,
    Stage,
    accumulator,
    add_product,
    as_images,
    as_rows,
    batch_normalisation,
    chunks,
    conv_backward,
    image_chunks,
    normalise_relu,
    pool_backward,
    relu_backward,
    rows_at_once,
    scratch_for_images,
    stages,
)


@dataclass
class Kept:
    """What the forward pass leaves for the backward pass, beside the buffer: small vectors."""

    size: tuple[int, int, int]  # N, H, W
    input_dtype: torch.dtype
    training: bool
    #: mean and variance that each normalisation used, in the order of the forward pass
    statistics: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    #: where dropout let pass, by layer: `(N·H·W, k)`, one byte an entry
    passed: dict[int, Tensor] = field(default_factory=dict)


class _StageGradient:
    """What one stage BN-ReLU-Conv finds out about its own parameters.

    `kernel` and `bias` are `None` where no gradient of them is needed.
    """

    def __init__(
        self, norm: Normalisation, parameters: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> None:
        self.norm = NormalisationGradient(norm)
        self.kernel, self.bias = (
            torch.zeros_like(parameter, dtype=accumulator(parameter.dtype))
            if need and parameter is not None
            else None
            for parameter, need in zip(parameters[2:], needed[2:], strict=True)
        )

    def all(self) -> tuple[Tensor | None, ...]:
        return self.norm.weight, self.norm.bias, self.kernel, self.bias


class Backward:
    """The backward pass of one block: its buffer of gradients and what is subtracted from it."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        kept: Kept,
        features: Tensor,
        parameters: Sequence[Tensor | None],
        needed: Sequence[bool],
    ) -> None:
        self.layers, self.kept, self.features = layers, kept, features
        self.parameters, self.needed = parameters, needed
        self.gradients: list[Tensor | None] = [None] * len(parameters)
        self.count, self.total = features.shape
        self.gradient = torch.empty_like(features)  # ∂L/∂features, before `constant + slope·x`
        dtype = accumulator(features.dtype)
        self.constant = features.new_zeros(self.total, dtype=dtype)
        self.slope = features.new_zeros(self.total, dtype=dtype)
        self.step = rows_at_once(self.count, features.device)
        self.width = self.total  # columns that the layer at hand reads
        self.stage = len(kept.statistics)  # stages not yet gone through, from the back

    def transition(self, transition: nn.Module, grad_output: Tensor) -> None:
        """Through the convolution, the pool, the ReLU and the normalisation of the transition."""
        norm, kernel, found = self._previous(*stages(transition))
        matrix = kernel.flatten(1)  # (C', C)
        scratch = scratch_for_images(self.features, self.kept.size, self.total)
        for few, rows, size in self._images(self.total):
            dy, x = as_rows(grad_output[few]), self.features[rows]
            h = normalise_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            images = as_images(h, size)
            if found.kernel is not None:
                add_product(found.kernel.flatten(1), dy.t(), as_rows(F.avg_pool2d(images, 2)))
            if found.bias is not None:
                found.bias += dy.sum(0, dtype=found.bias.dtype)
            dpool = as_images(dy @ matrix, (size[0], size[1] // 2, size[2] // 2))
            dh = as_rows(pool_backward(dpool, images))
            relu_backward(dh, h, out=dh)
            found.norm.add(dh, x)
            torch.mul(dh, norm.scale, out=self.gradient[rows])
        self._finish(found)

    def layer(self, i: int) -> None:
        """Through layer `i`: takes the gradient of its `k` columns, adds to all before them."""
        layer = self.layers[i]
        *first, last = stages(layer)
        new = slice(self.width - last[1].out_channels, self.width)
        self.width = new.start
        dy = self._of_columns(new)
        if i in self.kept.passed:
            dy.mul_(self.kept.passed[i]).mul_(1 / (1 - layer.drop_rate))  # type: ignore[operator]
        if first:
            self._bottleneck(first[0], last, dy)
        else:
            self._convolution(last, dy)

    def input(self) -> Tensor:
        """`∂L/∂x`, in memory of its own."""
        dx = self._of_columns(slice(0, self.width))
        return as_images(dx, self.kept.size).to(self.kept.input_dtype)

    def parameter_gradients(self) -> list[Tensor | None]:
        """One for each parameter, in the parameter's own type."""
        return [
            gradient.to(parameter.dtype)
            if need and gradient is not None and parameter is not None
            else None
            for gradient, parameter, need in zip(
                self.gradients, self.parameters, self.needed, strict=True
            )
        ]

    def _previous(self, stage: Stage) -> tuple[Normalisation, Tensor, _StageGradient]:
        """Normalisation and kernel of the last stage not yet gone through, and its gradients."""
        self.stage -= 1
        which = slice(4 * self.stage, 4 * self.stage + 4)
        weight, shift, kernel, _ = parameters = self.parameters[which]
        assert weight is not None
        assert shift is not None
        assert kernel is not None
        norm = batch_normalisation(
            stage[0], weight, shift, *self.kept.statistics[self.stage], of_batch=self.kept.training
        )
        found = _StageGradient(norm, parameters, self.needed[which])
        return norm, kernel.to(self.features.dtype), found

    def _keep(self, found: _StageGradient, stage: int) -> None:
        self.gradients[4 * stage : 4 * stage + 4] = found.all()

    def _finish(self, found: _StageGradient) -> None:
        """The stage that reads the features is done: note what it subtracts from their gradient."""
        constant, slope = found.norm.correction(self.count)
        self.constant[: self.width] += constant
        self.slope[: self.width] += slope
        self._keep(found, self.stage)

    def _images(self, columns: int) -> Iterator[tuple[slice, slice, tuple[int, int, int]]]:
        return image_chunks(self.kept.size, columns, self.features.device)

    def _of_columns(self, columns: slice) -> Tensor:
        """True gradient of these features: what all normalisations subtract is subtracted."""
        x = self.features[:, columns]
        dy = torch.mul(x, -self.slope[columns]).sub_(self.constant[columns])
        return dy.add_(self.gradient[:, columns]).to(self.features.dtype)

    def _convolution(self, stage: Stage, dy: Tensor) -> None:
        """BN-ReLU-Conv(3x3), some images at a time."""
        norm, kernel, found = self._previous(stage)
        if found.bias is not None:
            found.bias += dy.sum(0, dtype=found.bias.dtype)
        scratch = scratch_for_images(self.features, self.kept.size, self.width)
        for _, rows, size in self._images(self.width):
            x = self.features[rows, : self.width]
            h = normalise_relu(x, norm.scale, norm.shift, scratch.take(*x.shape))
            dh = self._through_conv(dy[rows], h, size, kernel, found.kernel)
            relu_backward(dh, h, out=dh)
            found.norm.add(dh, x)
            self.gradient[rows, : self.width].addcmul_(dh, norm.scale.to(dh.dtype))
        self._finish(found)

    def _bottleneck(self, stage1: Stage, stage2: Stage, dy: Tensor) -> None:
        """BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3), some channels of the bottleneck at a time.

        Each bottleneck channel has a normalisation of its own, and both convolutions are linear
        in it, so the channels may be taken in groups. Two maps of a group are held, of its values
        and their gradients: groups are such that this is at most half of the block's features.
        """
        _, kernel2, found2 = self._previous(stage2)
        if found2.bias is not None:
            found2.bias += dy.sum(0, dtype=found2.bias.dtype)
        _, kernel1, found1 = self._previous(stage1)
        bottleneck = kernel1.shape[0]
        size = min(bottleneck, max(8, self.total // 4 // 8 * 8))
        values = self.features.new_empty(self.count * size)
        gradients = torch.empty_like(values)
        for group in chunks(bottleneck, size):
            shape = (self.count, group.stop - group.start)
            z = values[: shape[0] * shape[1]].view(shape)
            dz = gradients[: shape[0] * shape[1]].view(shape)
            matrix = kernel1[group].flatten(1)  # (group, C)
            dkernel2 = None if found2.kernel is None else found2.kernel[:, group]
            norm2 = found2.norm.part(group)
            self._to_bottleneck(
                dy, z, dz, found1.norm.norm, matrix, norm2, kernel2[:, group], dkernel2
            )
            dmatrix = None if found1.kernel is None else found1.kernel[group].flatten(1)
            self._to_features(z, dz, norm2, matrix, found1.norm, dmatrix)
        self._keep(found2, self.stage + 1)
        self._finish(found1)

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
        hidden = scratch_for_images(z, self.kept.size, 128, z.shape[1])
        for _, rows, size in self._images(128):
            for part in chunks(rows.stop - rows.start, self.step):
                x = self.features[rows][part, : self.width]
                h = normalise_relu(x, scale, shift, scratch.take(*x.shape))
                torch.mm(h, matrix.t(), out=z[rows][part])
            h2 = normalise_relu(z[rows], scale2, shift2, hidden.take(*z[rows].shape))
            dh2 = self._through_conv(dy[rows], h2, size, kernel2, dkernel2)
            relu_backward(dh2, h2, out=dz[rows])
            del dh2  # or it is still there when the next one is made
            found2.add(dz[rows], z[rows])

    def _to_features(
        self,
        z: Tensor,
        dz: Tensor,
        found2: NormalisationGradient,
        matrix: Tensor,
        found1: NormalisationGradient,
        dmatrix: Tensor | None,
    ) -> None:
        """From `dz` on through the second normalisation to the features. Consumes `z` and `dz`."""
        constant, slope = found2.correction(self.count)
        norm1, scale2 = found1.norm, found2.norm.scale
        scale, shift = norm1.scale, norm1.shift
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

    @staticmethod
    def _through_conv(
        dy: Tensor,
        h: Tensor,
        size: tuple[int, int, int],
        kernel: Tensor,
        dkernel: Tensor | None,
    ) -> Tensor:
        """Gradient of the input `h` of a 3x3 convolution, all as rows; adds to `dkernel`."""
        dh, dk = conv_backward(as_images(dy, size), as_images(h, size), kernel, dkernel is not None)
        if dkernel is not None:
            dkernel += dk
        return as_rows(dh)
