"""The arithmetic that shared storage is made of: rows of pixels, normalization, its gradient.

Feature maps are kept as rows, one pixel a row and one channel a column: `(N·H·W, C)`. A prefix of
the channels is then a block of columns, a 1x1 convolution is a matrix product of rows, and a chunk
of rows is a few pixels of every channel, which fits into a cache. As images the same memory is
PyTorch's `channels_last`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from densenet_solutions.asked import asked_device
from densenet_solutions.memory.shared_storage.plan import Plan, Size


def as_images(rows: Tensor, size: Size) -> Tensor:
    """`(N·H·W, C)` → `(N, C, H, W)` over the same memory; `size` is `(N, H, W)`."""
    return rows.view(*size, rows.shape[1]).permute(0, 3, 1, 2)


def as_rows(images: Tensor) -> Tensor:
    """`(N, C, H, W)` → `(N·H·W, C)`, over the same memory where that is possible."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """What sums are kept in: single precision for the half-precision formats."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def column_sums(rows: Tensor, plan: Plan, dtype: torch.dtype | None = None) -> Tensor:
    """Sum of each column of `(rows, C)`, where each thread sums its own rows first."""
    own = plan.own(rows)
    return rows.sum(0, dtype=dtype) if own is rows else own.sum(1, dtype=dtype).sum(0)


def statistics(rows: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each column, in two passes so that nothing cancels."""
    dtype, count = accumulator(rows.dtype), rows.shape[0]
    if plan.threads > 1:
        mean = rows.new_zeros(rows.shape[1], dtype=dtype)
        for part in plan.row_chunks():
            mean += column_sums(rows[part], plan, dtype)
        mean /= count
    else:
        mean = rows.mean(0, dtype=dtype)
        if plan.rows_at_once >= count:
            return mean, (rows - mean).square_().mean(0)
    squares = torch.zeros_like(mean)
    for part in plan.row_chunks():
        squares += column_sums((rows[part] - mean).square_(), plan)
    return mean, squares / count


@dataclass(frozen=True)
class Normalization:
    """One batch normalization with its statistics at hand: `x̂ = (x − mean)·inverse_std`.

    With `y = weight·x̂ + bias` the two are one affine map `y = scale·x + shift`. `of_batch` says
    that mean and variance are functions of `x`, so that the gradient flows through them too.
    """

    mean: Tensor
    inverse_std: Tensor
    scale: Tensor
    shift: Tensor
    of_batch: bool

    def part(self, channels: slice | Tensor) -> Normalization:
        """The same for some of the channels."""
        return Normalization(
            self.mean[channels], self.inverse_std[channels],
            self.scale[channels], self.shift[channels], self.of_batch,
        )  # fmt: skip

    @property
    def gamma(self) -> Tensor:
        """By what `x̂` is multiplied."""
        return self.scale / self.inverse_std

    @property
    def beta(self) -> Tensor:
        """What is added to that."""
        return torch.addcmul(self.shift, self.mean, self.scale)

    def with_normal(self, with_x: Tensor, alone: Tensor) -> Tensor:
        """`Σ g·x̂` from `Σ g·x` and `Σ g`."""
        return torch.addcmul(with_x, self.mean, alone, value=-1).mul_(self.inverse_std)

    def faint(self) -> Tensor:
        """Channels of which `y = γ·x̂ + β` says little about `x̂`: three bits or more are lost."""
        if asked_device() is not None or self.scale.is_meta:  # there are no values
            return torch.zeros(0, dtype=torch.int64, device=self.scale.device)
        return (self.gamma.abs() * 8 <= self.beta.abs()).nonzero().flatten()


def batch_normalization(
    norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor, of_batch: tuple[Tensor, Tensor] | None
) -> Normalization:
    """What `norm` does with mean and variance of the batch, or else with its running ones.

    Its own epsilon keeps the root from zero.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = of_batch or (norm.running_mean.clone(), norm.running_var)
    inverse_std = (variance + norm.eps).rsqrt_()
    scale = weight * inverse_std
    shift = torch.addcmul(bias, mean, scale, value=-1)
    return Normalization(mean, inverse_std, scale, shift, of_batch is not None)


def normalize_relu(rows: Tensor, norm: Normalization, out: Tensor) -> Tensor:
    """`out = max(scale·rows + shift, 0)`; `out` may be `rows`."""
    return affine(rows, norm.scale, norm.shift, out).relu_()


def affine(rows: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    """`out = scale·rows + shift`, in the precision of `scale`; `out` may be `rows`."""
    if out.dtype == scale.dtype == rows.dtype:
        return torch.addcmul(shift, rows, scale, out=out)
    if not rows.is_cpu:
        return out.copy_(torch.addcmul(shift, rows, scale))
    # On a CPU it is the one operation on rows that takes both types without a copy in between.
    none = scale.new_empty(0)
    torch.ops.aten.native_batch_norm.out(
        rows if out is rows else out.copy_(rows), scale, shift, *_identity(scale), False, 0.0, 0.0,
        out=out, save_mean=none, save_invstd=none,
    )  # fmt: skip
    return out


def _identity(like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 0 and variance 1 of each channel: a normalization that leaves its input as it is."""
    return torch.zeros_like(like), torch.ones_like(like)


class NormalizationGradient:
    """Collects the gradient of one normalization while rows come by in slices.

    With `g = ∂L/∂y` and `M` rows, the gradient of the input is (Ioffe and Szegedy, section 3)

        ∂L/∂x = scale·g − scale·(Σg + x̂·Σg·x̂) / M

    The first part belongs to the slice. The second is `constant + slope·x` with one number each a
    channel, known only when all slices have been seen.

    `Σ g·x` is summed for the channels `summed` only, or for all if it is `None`. Of the others
    `found` gets `Σ g·y`.
    """

    def __init__(self, norm: Normalization, plan: Plan, summed: Tensor | None = None) -> None:
        self.norm, self.plan, self.summed = norm, plan, summed
        self.sums: tuple[Tensor, Tensor] | None = None  # Σ g and Σ g·x

    def add(self, gradient: Tensor, x: Tensor, *, consume: bool = False) -> None:
        """Take notice of a slice: `gradient` with respect to the output, and the input `x`.

        `consume` says that the gradient is of no use to anybody afterwards. The mean is subtracted
        from the sum and not from `x`, which would take another copy: where it is far larger than
        the spread of `x`, digits are lost.
        """
        dtype = self.norm.mean.dtype
        if gradient.is_cpu and gradient.dtype != dtype:  # as in `affine`
            _, dot, found = torch.ops.aten.native_batch_norm_backward(
                gradient.contiguous(), x.contiguous(), None, *_identity(self.norm.mean),
                None, None, False, 0.0, [False, True, True],
            )  # fmt: skip
        else:
            found = column_sums(gradient, self.plan, dtype)
            dot = self._with_x(gradient, x, consume=consume and gradient.dtype == dtype)
        if self.sums is None:
            self.sums = found, dot
        else:
            self.sums[0].add_(found)
            self.sums[1].add_(dot)

    def _with_x(self, gradient: Tensor, x: Tensor, *, consume: bool) -> Tensor:
        """`Σ g·x` of the channels for which it is summed."""
        if self.summed is not None:
            if not len(self.summed):
                return self.norm.mean[:0]
            gradient, x = gradient[:, self.summed], x[:, self.summed]
        product = gradient.mul_(x) if consume else gradient * x.to(self.norm.mean.dtype)
        return column_sums(product, self.plan)

    def found(self, with_y: Tensor | None = None) -> FoundGradient:
        """What has been collected; `with_y` is `Σ g·y` where not all of `Σ g·x` was summed."""
        assert self.sums is not None
        norm, (bias, dot) = self.norm, self.sums
        if self.summed is None:
            return FoundGradient(norm, norm.with_normal(dot, bias), bias)
        assert with_y is not None
        weight = torch.addcmul(with_y, norm.beta, bias, value=-1).div_(norm.gamma)
        if len(self.summed):
            weight[self.summed] = norm.part(self.summed).with_normal(dot, bias[self.summed])
        return FoundGradient(norm, weight, bias)


@dataclass(frozen=True)
class FoundGradient:
    """Gradients of a normalization's weight, `Σ g·x̂`, and of its bias, `Σ g`."""

    norm: Normalization
    weight: Tensor
    bias: Tensor

    def correction(self, rows: int) -> tuple[Tensor, Tensor] | None:
        """`(constant, slope)`: what `scale·g` has too much is `constant + slope·x`."""
        if not self.norm.of_batch:
            return None
        share = self.norm.scale / rows
        slope = (share * self.norm.inverse_std).mul_(self.weight)
        return share.mul_(self.bias).addcmul_(slope, self.norm.mean, value=-1), slope


def through_norm(
    dz: Tensor, z: Tensor, scale: Tensor, correction: tuple[Tensor, Tensor] | None
) -> Tensor:
    """`scale·dz − constant − slope·z`, in the memory of `dz`. Consumes `z`."""
    if correction is None:
        return dz.mul_(scale)
    constant, slope = correction
    if dz.is_cpu and dz.dtype != slope.dtype:
        return affine(dz, scale, -constant, dz).sub_(affine(z, slope, torch.zeros_like(slope), z))
    dz.mul_(scale)
    if dz.dtype == slope.dtype:
        return dz.addcmul_(z, slope, value=-1).sub_(constant)
    return dz.sub_(constant).sub_(z.mul_(slope))


def first_derivatives_only() -> None:
    """Called at the start of a backward pass; raises if that pass is to be differentiated again.

    `once_differentiable` alone is not enough: where the incoming gradient is a constant, it lets
    the second derivative be zero in silence.

    Raises:
        RuntimeError: the backward pass runs with `create_graph=True`.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "shared storage computes first derivatives only and cannot be differentiated twice "
            "(got create_graph=True); use the plain model"
        )


def autocast_dtype(x: Tensor) -> torch.dtype:
    """What convolutions compute in: the type of autocast where it is on, else that of `x`."""
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


def in_this_precision(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off: what follows chooses its types itself."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def add_product(total: Tensor, a: Tensor, b: Tensor, plan: Plan) -> None:
    """`total += aᵀ @ b` of rows, also where `total` has more digits."""
    own = plan.own(a)
    if own is not a:
        total += torch.bmm(own.transpose(1, 2), plan.own(b)).sum(0, dtype=total.dtype)
    elif total.dtype == a.dtype:
        total.addmm_(a.t(), b)
    else:
        total += a.t() @ b


def relu_backward(dy: Tensor, y: Tensor, out: Tensor) -> Tensor:
    """`out = dy` where `y > 0`, else 0; `y` is the output of the ReLU, `out` may be `dy`."""
    return torch.ops.aten.threshold_backward.grad_input(dy, y, 0, grad_input=out)


def conv_backward(
    dy: Tensor, x: Tensor, kernel: Tensor, needs_kernel: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of a 3x3 convolution with padding 1: of its input, and of its kernel if needed."""
    one = [1, 1]
    dx, dkernel, _ = torch.ops.aten.convolution_backward(
        dy, x, kernel, None, one, one, one, False, [0, 0], 1, [True, needs_kernel, False]
    )
    return dx, dkernel


def pool_backward(dy: Tensor, x: Tensor) -> Tensor:
    """Gradient of 2x2 average pooling; a last odd row or column gets zero."""
    return torch.ops.aten.avg_pool2d_backward(dy, x, [2, 2], [2, 2], [0, 0], False, True, None)


#: A normalization in training mode, and mean and variance of its batch.
Used = tuple[nn.BatchNorm2d, tuple[Tensor, Tensor]]


def update_running_statistics(used: Sequence[Used], rows: int) -> None:
    """What normalizations do to their buffers in a training step; the variance is unbiased.

    All at once, because each operation that is started takes time of its own on a GPU.
    """
    if not used:
        return
    if len({id(norm) for norm, _ in used}) < len(used):  # one of them ran twice
        for one in used:
            update_running_statistics([one], rows)
        return
    torch._foreach_add_([_buffers(norm)[2] for norm, _ in used], 1)
    for momentum in {norm.momentum for norm, _ in used}:
        group = [(norm, found) for norm, found in used if norm.momentum == momentum]
        if momentum is not None:
            _average(group, momentum, rows)
            continue
        for norm, found in group:  # a plain average over all batches
            _average([(norm, found)], 1.0 / float(_buffers(norm)[2]), rows)


def _average(used: Sequence[Used], momentum: float, rows: int) -> None:
    means = [_buffers(norm)[0] for norm, _ in used]
    variances = [_buffers(norm)[1] for norm, _ in used]
    torch._foreach_mul_([*means, *variances], 1 - momentum)
    torch._foreach_add_(means, [mean for _, (mean, _) in used], alpha=momentum)
    unbiased = momentum * rows / (rows - 1)
    torch._foreach_add_(variances, [variance for _, (_, variance) in used], alpha=unbiased)


def _buffers(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    """Running mean, running variance and the number of batches."""
    found = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    assert all(buffer is not None for buffer in found)
    return found  # type: ignore[return-value]
