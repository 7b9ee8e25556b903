"""What modules return in a forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def outputs(
    model: nn.Module, x: Tensor, modules: Mapping[str, nn.Module]
) -> list[tuple[str, nn.Module, Tensor]]:
    """`(name, module, output)` of some modules of `model`, in the order in which they ran on `x`.

    The model is run in the mode that it is in, and keeps no hook.
    """
    found: list[tuple[str, nn.Module, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: found.append((name, m, out)))
        for name, module in modules.items()
    ]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found
