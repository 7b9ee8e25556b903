"""Keep activations for the backward pass in 8 bits; compute in full precision.

The forward pass, and so the loss, is untouched. Only what autograd saves is rounded: a quarter of
the bytes, and gradients with a small error (after ActNN, arXiv:2104.14129, which goes down to
2 bits with randomized rounding).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.weak import WeakIdKeyDictionary

from densenet_solutions.memory.strategy import Strategy, copy_of, retype
from densenet_solutions.models.densenet import DenseNet


@dataclass(frozen=True)
class EightBit:
    """A float tensor `(N, C, H, W)` as `low_c + step_c · code`, with `code` in 0, …, 255."""

    code: Tensor  # (N, C, H, W) uint8
    low: Tensor  # (1, C, 1, 1)
    step: Tensor  # (1, C, 1, 1)

    @classmethod
    def of(cls, x: Tensor) -> EightBit:
        """Round every channel to 256 levels between its own smallest and largest value.

        Only the smallest value itself gets the code 0. After a ReLU that value is zero, and a
        small positive number must not become zero: the gradient passes where the output is
        positive. Plain rounding makes the gradient's error many times larger.
        """
        low, high = _range(x)
        step = (high - low).div_(255).clamp_(min=torch.finfo(x.dtype).tiny)
        code = torch.empty_like(x, dtype=torch.uint8)
        for i in range(len(x)):  # one image at a time: a small temporary
            level = x[i].sub(low[0]).div_(step[0])  # in 0, …, 255
            above = level > 0
            code[i] = level.round_().clamp_(1, 255).mul_(above)  # 255: in 16 bits it may be 256
        return cls(code, low, step)

    def restore(self) -> Tensor:
        """The rounded tensor; zero stays exactly zero where zero is the channel's smallest."""
        return self.code.to(self.low.dtype).mul_(self.step).add_(self.low)


def _range(x: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of every channel, each `(1, C, 1, 1)`; zeros for no image."""
    if len(x) == 0:
        return x.new_zeros(1, x.shape[1], 1, 1), x.new_zeros(1, x.shape[1], 1, 1)
    return x.amin(dim=(0, 2, 3), keepdim=True), x.amax(dim=(0, 2, 3), keepdim=True)


class SavesEightBit(nn.Module):
    """Forward under hooks that round every 4-dimensional activation when autograd saves it.

    A ReLU in place saves its output and the next convolution saves its input: the same memory, so
    one code serves both. It is found by the storage and by how often it was written.
    """

    rounds_what_is_kept = True

    def forward(self, x: Tensor) -> Tensor:
        codes = WeakIdKeyDictionary()  # storage → (version, shape, code), while the storage lives

        def pack(saved: Tensor) -> Tensor | EightBit:
            if isinstance(saved, nn.Parameter) or saved.ndim != 4 or not saved.is_floating_point():
                return saved
            storage, state = saved.untyped_storage(), (saved._version, saved.shape)
            if codes.get(storage, (None,))[0] != state:
                codes[storage] = (state, EightBit.of(saved.detach()))
            return codes[storage][1]

        def unpack(packed: Tensor | EightBit) -> Tensor:
            return packed.restore() if isinstance(packed, EightBit) else packed

        with saved_tensors_hooks(pack, unpack):
            return super().forward(x)


def saved_in_8_bits(model: nn.Module) -> nn.Module:
    """A copy that keeps the activations for its backward pass in 8 bits.

    Raises:
        TypeError: `model` is not a DenseNet, does this already, or computes again what its
            backward pass needs: see `refuse_rounding`.
    """
    model = copy_of(model)
    retype(model, DenseNet, SavesEightBit, wraps=True)
    return model


STRATEGIES = (
    Strategy(
        apply=saved_in_8_bits,
        family="fewer bits",
        summary="Activations are rounded to 256 levels a channel when autograd keeps them.",
        exactness="approximate",
        source="arXiv:2104.14129",
        verdict="simple; small error",
        costs="Rounded gradients (the loss is exact), and time to round and to restore.",
    ),
)
