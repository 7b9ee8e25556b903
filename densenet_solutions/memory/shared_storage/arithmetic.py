"""The arithmetic that shared storage is made of: rows of pixels, normalization, its gradient.

Feature maps are kept as rows, one pixel a row and one channel a column: `(N·H·W, C)`. A prefix of
the channels is then a block of columns, a 1x1 convolution is a matrix product of rows, and a chunk
of rows is a few pixels of every channel, which fits into a cache. As images the same memory is
PyTorch's `channels_last`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from densenet_solutions import checks

#: `(N, H, W)` of a feature map.
Size = tuple[int, int, int]


def images_at_once(size: Size, columns: int, device: torch.device) -> int:
    """How many images a convolution or a pool with `columns` channels works on at once.

    About half a million numbers: few enough for a CPU's cache, many enough for its convolutions.
    A GPU would rather start fewer kernels and gets an eighth of the batch, and no device takes
    more than 32 turns. Without a device (`meta`) the plan is the CPU's, but for `planned_for`.
    """
    n, height, width = size
    images = -(-n // _turns(device))
    return min(n, max(images, (1 << 19) // (height * width * columns)))


def image_chunks(
    size: Size, columns: int, device: torch.device
) -> Iterator[tuple[slice, slice, Size]]:
    """Some images after the other: which images, which rows, and their own `(N, H, W)`."""
    n, height, width = size
    pixels = height * width
    for few in chunks(n, images_at_once(size, columns, device)):
        rows = slice(few.start * pixels, few.stop * pixels)
        yield few, rows, (few.stop - few.start, height, width)


def rows_at_once(count: int, device: torch.device) -> int:
    """How many rows a matrix product and what surrounds it work on at once."""
    return min(count, max(1024, -(-count // _turns(device))))


_planned: ContextVar[str | None] = ContextVar("planned", default=None)


@contextmanager
def planned_for(kind: str) -> Iterator[None]:
    """Within it, batches are cut as on a device of this kind, wherever the step runs.

    For predictions: a step on the meta device is then cut as on the GPU that is asked about.

    Raises:
        ValueError: `kind` is not `"cpu"` or `"cuda"`.
    """
    token = _planned.set(checks.choice("kind", kind, ("cpu", "cuda")))
    try:
        yield
    finally:
        _planned.reset(token)


def _turns(device: torch.device) -> int:
    """Into how many chunks a large batch is cut at most."""
    # PyTorch 2.11 cannot compile a context variable.
    planned = None if torch.compiler.is_compiling() else _planned.get()
    return 8 if (planned or device.type) == "cuda" else 32


def as_images(rows: Tensor, size: Size) -> Tensor:
    """`(N·H·W, C)` → `(N, C, H, W)` over the same memory; `size` is `(N, H, W)`."""
    return rows.view(*size, rows.shape[1]).permute(0, 3, 1, 2)


def as_rows(images: Tensor) -> Tensor:
    """`(N, C, H, W)` → `(N·H·W, C)`, over the same memory where that is possible."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `range(total)`; an empty one where that is empty."""
    for start in range(0, max(total, 1), max(size, 1)):
        yield slice(start, min(start + size, total))


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """What sums are kept in: single precision for the half-precision formats."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each column, in two passes so that nothing cancels."""
    dtype, count = accumulator(rows.dtype), rows.shape[0]
    mean = rows.sum(0, dtype=dtype) / count
    squares = torch.zeros_like(mean)
    for part in chunks(count, rows_at_once(count, rows.device)):
        squares += (rows[part] - mean).square_().sum(0)
    return mean, squares / count


@dataclass(frozen=True)
class Normalization:
    """One batch normalization with its statistics at hand: `x̂ = (x − mean)·inverse_std`.

    With `y = weight·x̂ + bias` the two are one affine map `y = scale·x + shift`. `of_batch` says
    that mean and variance are functions of `x`, so that the gradient flows through them too.
    """

    mean: Tensor
    inverse_std: Tensor
    weight: Tensor
    bias: Tensor
    of_batch: bool

    @property
    def scale(self) -> Tensor:
        return self.weight * self.inverse_std

    @property
    def shift(self) -> Tensor:
        return self.bias - self.mean * self.scale


def normalize_relu(rows: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    """`out = max(scale·rows + shift, 0)`; `out` may be `rows`."""
    if out.dtype == scale.dtype == rows.dtype:
        return torch.addcmul(shift, rows, scale, out=out).relu_()
    return out.copy_(torch.addcmul(shift, rows, scale).relu_())


class NormalizationGradient:
    """Collects the gradient of one normalization while rows come by in chunks.

    With `g = ∂L/∂y` and `M` rows, the gradient of the input is (Ioffe and Szegedy, section 3)

        ∂L/∂x = scale·g − scale·(Σg + x̂·Σg·x̂) / M

    The first part belongs to the chunk. The second is `constant + slope·x` with one number each a
    channel, known only when all chunks have been seen.
    """

    def __init__(self, norm: Normalization) -> None:
        self.norm = norm
        self.sum = torch.zeros_like(norm.mean)  # Σ g
        self.dot = torch.zeros_like(norm.mean)  # Σ g·x

    def add(self, gradient: Tensor, x: Tensor) -> None:
        """Take notice of a chunk: `gradient` with respect to the output, and the input `x`."""
        dtype = self.sum.dtype
        self.sum += gradient.sum(0, dtype=dtype)
        self.dot += torch.mul(gradient, x.to(dtype)).sum(0)

    def part(self, channels: slice) -> NormalizationGradient:
        """The same for some of the channels; what it collects is collected here."""
        norm = self.norm
        part = NormalizationGradient(
            Normalization(
                norm.mean[channels], norm.inverse_std[channels],
                norm.weight[channels], norm.bias[channels], norm.of_batch,
            )
        )  # fmt: skip
        part.sum, part.dot = self.sum[channels], self.dot[channels]
        return part

    @property
    def weight(self) -> Tensor:
        """`Σ g·x̂`, the gradient of the weight."""
        return (self.dot - self.norm.mean * self.sum) * self.norm.inverse_std

    @property
    def bias(self) -> Tensor:
        """`Σ g`, the gradient of the bias."""
        return self.sum

    def correction(self, rows: int) -> tuple[Tensor, Tensor]:
        """`(constant, slope)`: what `scale·g` has too much is `constant + slope·x`."""
        if not self.norm.of_batch:
            return torch.zeros_like(self.sum), torch.zeros_like(self.sum)
        slope = self.norm.scale * self.norm.inverse_std * self.weight / rows
        constant = self.norm.scale * self.sum / rows - slope * self.norm.mean
        return constant, slope


class Scratch:
    """Memory for the chunks, taken once and used again and again."""

    def __init__(self, like: Tensor, rows: int, columns: int) -> None:
        self.memory = like.new_empty(rows * columns)

    def take(self, rows: int, columns: int) -> Tensor:
        return self.memory[: rows * columns].view(rows, columns)


def scratch_for_images(like: Tensor, size: Size, columns: int, taken: int | None = None) -> Scratch:
    """Memory for any one of `image_chunks(size, columns, …)`, `taken` (else `columns`) wide."""
    images = images_at_once(size, columns, like.device)
    return Scratch(like, images * size[1] * size[2], columns if taken is None else taken)


def batch_normalization(
    norm: nn.BatchNorm2d,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    of_batch: bool,
) -> Normalization:
    """What `norm` does with this mean and variance; its own epsilon keeps the root from zero."""
    return Normalization(mean, (variance + norm.eps).rsqrt(), weight, bias, of_batch)


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


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """`total += a @ b`, also where `total` has more digits."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


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


def update_running_statistics(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, rows: int) -> None:
    """What `norm` does to its buffers in a training step; the variance it keeps is unbiased."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum
    if momentum is None:  # a plain average over all batches
        momentum = 1.0 / float(norm.num_batches_tracked)
    norm.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
    norm.running_var.mul_(1 - momentum).add_(var, alpha=momentum * rows / (rows - 1))


def used_statistics(
    norm: nn.BatchNorm2d, of_batch: tuple[Tensor, Tensor] | None, rows: int
) -> tuple[Tensor, Tensor]:
    """Mean and variance that `norm` normalizes with; updates its buffers in training mode.

    Those of the batch are given in training mode and `None` in evaluation mode.
    """
    if of_batch is not None:
        update_running_statistics(norm, *of_batch, rows)
        return of_batch
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.clone(), norm.running_var.clone()
