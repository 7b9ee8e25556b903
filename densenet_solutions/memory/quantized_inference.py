"""Quantized inference: weights and features are kept in 8 bits; the arithmetic stays float32.

What is kept shrinks to a quarter. What a layer works on does not: its input is restored to
float32 while it runs. Integer kernels would shrink that too, and bring speed; they exist for some
processors only (Jacob et al., arXiv:1712.05877).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_solutions.memory.layers import changed_copy
from densenet_solutions.memory.saved_in_8_bits import EightBit
from densenet_solutions.memory.strategy import Strategy, retype
from densenet_solutions.models.densenet import DenseBlock


class _Int8Weight(nn.Module):
    """A weight as `scale_o · code` with one scale for each output and `code` in -127, …, 127."""

    code: Tensor  # (out, …) int8
    scale: Tensor  # (out, 1, …)
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        dims = tuple(range(1, weight.ndim))
        largest = weight.detach().abs().amax(dim=dims, keepdim=True)
        scale = largest.div(127).clamp_(min=torch.finfo(weight.dtype).tiny)
        self.register_buffer("scale", scale)
        self.register_buffer("code", (weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def weight(self) -> nn.Parameter:
        """In float; a parameter, so that images are checked against it as elsewhere."""
        return nn.Parameter(self.code * self.scale, requires_grad=False)


class Int8Conv2d(_Int8Weight):
    """A convolution whose weight is kept in 8 bits."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.weight, conv.bias)
        self.stride, self.padding = conv.stride, conv.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class Int8Linear(_Int8Weight):
    """A linear layer whose weight is kept in 8 bits."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.weight, linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class InPlaceNorm(nn.BatchNorm2d):
    """Batch normalization in evaluation mode, written over its input."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError("a quantized network only infers, got training mode: call eval()")
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight / (self.running_var + self.eps).sqrt()
        shift = self.bias - self.running_mean * scale
        return x.mul_(scale[:, None, None]).add_(shift[:, None, None])


class EightBitBlock(DenseBlock):
    """A dense block that keeps its features `x_0, x_1, …` in 8 bits."""

    def forward(self, x: Tensor) -> Tensor:
        features = [EightBit.of(x)]
        for layer in self:
            features.append(EightBit.of(layer(_restored(features))))
        return _restored(features)


def _restored(features: list[EightBit]) -> Tensor:
    """The concatenation in float: every part is restored straight into its place."""
    code, low = features[0].code, features[0].low
    widths = [part.code.shape[1] for part in features]
    out = low.new_empty((len(code), sum(widths), *code.shape[2:]))
    for place, part in zip(out.split(widths, dim=1), features, strict=True):
        place.copy_(part.code).mul_(part.step).add_(part.low)
    return out


def quantized_inference(model: nn.Module) -> nn.Module:
    """A copy for inference only, in evaluation mode, with 8-bit weights and features.

    Ranges are taken from the weights and, as the network runs, from the features of the batch.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
        ValueError: (on the forward pass) the network is in training mode.
    """
    model = changed_copy(model, in_other_order=True).eval().requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(module, name, Int8Conv2d(child))
            elif isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
    retype(model, nn.BatchNorm2d, InPlaceNorm)
    retype(model, DenseBlock, EightBitBlock, in_other_order=True)
    return model


STRATEGIES = (
    Strategy(
        apply=quantized_inference,
        family="fewer bits",
        summary="For inference: weights and features in 8 bits, one layer at a time in float32.",
        exactness="changes-function",
        source="arXiv:1712.05877",
        verdict="for deployment",
        step=None,
        predictable=False,
        costs="Does not train; rounding; time to restore, where integer kernels are missing.",
    ),
)
