"""Compute and keep activations in bfloat16: two bytes a number instead of four."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densenet_solutions.memory.strategy import Strategy, copy_of, retype
from densenet_solutions.models.densenet import DenseNet


class Bfloat16(nn.Module):
    """Runs the forward pass under autocast; parameters and their gradients stay float32."""

    def forward(self, x: Tensor) -> Tensor:
        device = next(self.parameters()).device.type
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = super().forward(x)
        return logits.float()  # the loss is computed in float32


def bfloat16(model: nn.Module) -> nn.Module:
    """A copy whose forward pass runs under bfloat16 autocast; logits are float32.

    bfloat16 has float32's range with 8 bits of precision, so no loss scaling is needed (Kalamkar et
    al., arXiv:1905.12322; Micikevicius et al., arXiv:1710.03740, scale the loss for float16).

    Raises:
        TypeError: `model` is not a DenseNet, its parameters are not float32, or it does this
            already.
    """
    model = copy_of(model)
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise TypeError(f"autocast takes float32 parameters, got {name} as {parameter.dtype}")
    retype(model, DenseNet, Bfloat16, wraps=True)
    return model


STRATEGIES = (
    Strategy(
        apply=bfloat16,
        family="fewer bits",
        summary="Convolutions compute, and activations are kept, in 16 bits.",
        exactness="changes-function",
        source="arXiv:1905.12322",
        verdict="half the memory; rounds",
        predictable=False,
        costs="Rounding to 8 bits of precision; slow where the processor has no bfloat16 units.",
    ),
)
