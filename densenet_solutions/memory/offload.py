"""Move what the backward pass needs to the host's memory and fetch it back in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densenet_solutions.memory.strategies import Strategy, copy_of, training_step
from densenet_solutions.models import DenseNet


class offload_saved_tensors(torch.autograd.graph.saved_tensors_hooks):  # noqa: N801 (a context)
    """Within this context, tensors saved for the backward pass live in the host's memory.

    Pinned host memory lets the copies run beside the computation. Parameters stay: they are on
    the device anyway. So do tensors that are on the host already.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

        def pack(tensor: Tensor) -> tuple[torch.device | None, Tensor]:
            if tensor.device.type == "cpu" or tensor.untyped_storage()._cdata in parameters:
                return None, tensor
            host = torch.empty(
                tensor.size(), dtype=tensor.dtype, layout=tensor.layout, pin_memory=True
            )
            host.copy_(tensor, non_blocking=True)
            return tensor.device, host

        def unpack(packed: tuple[torch.device | None, Tensor]) -> Tensor:
            device, tensor = packed
            return tensor if device is None else tensor.to(device, non_blocking=True)

        super().__init__(pack, unpack)


def offloading_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """`training_step` with its saved tensors in the host's memory."""
    with offload_saved_tensors(model):
        return training_step(model, inputs, targets)


STRATEGIES = (
    Strategy(
        name="offload",
        summary="Saved tensors move to the host's memory and back; nothing is recomputed.",
        exactness="bitwise",
        source="torch.autograd.graph.save_on_cpu",
        apply=lambda model: copy_of(model, DenseNet),
        step=offloading_step,
        predictable=False,
        costs="Every saved byte crosses the bus twice. On a CPU there is nowhere to move it to.",
    ),
)
