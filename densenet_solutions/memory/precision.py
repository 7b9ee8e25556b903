"""Compute and keep activations in bfloat16: two bytes a number instead of four."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densenet_solutions.memory.strategies import Strategy, copy_of, retype
from densenet_solutions.models import DenseNet


class _Bfloat16:
    """Runs the forward pass under autocast; parameters and their gradients stay float32."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            logits = super().forward(x)  # type: ignore[misc]
        return logits.float()  # the loss is computed in float32


class Bfloat16DenseNet(_Bfloat16, DenseNet):
    """`DenseNet` under bfloat16 autocast."""


def bfloat16(model: nn.Module) -> nn.Module:
    """A copy whose forward pass runs under bfloat16 autocast; logits are float32.

    bfloat16 has float32's range with 8 bits of precision, so no loss scaling is needed
    (Micikevicius et al., arXiv:1710.03740, scale the loss for float16).

    Raises:
        TypeError: `model` is not one of our DenseNets.
    """
    model = copy_of(model, DenseNet)
    return retype(model, {DenseNet: Bfloat16DenseNet})


STRATEGIES = (
    Strategy(
        name="bfloat16",
        summary="Convolutions compute, and activations are kept, in 16 bits.",
        exactness="changes-function",
        source="arXiv:1710.03740",
        apply=bfloat16,
        predictable=False,
        costs="Rounding to 8 bits of precision; slow where the processor has no bfloat16 units.",
    ),
)
