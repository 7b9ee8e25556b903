"""Move what the backward pass needs to the host's memory and fetch it back in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densenet_solutions.memory.strategy import Strategy, training_step
from densenet_solutions.memory.trunks import with_trunks


class offload_saved_tensors(torch.autograd.graph.saved_tensors_hooks):  # noqa: N801 (a context)
    """Within this context, tensors saved for the backward pass on a GPU live in the host's memory.

    Parameters stay: they are on the device anyway.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

        def pack(tensor: Tensor) -> tuple[torch.device | None, Tensor]:
            if tensor.is_meta:
                raise ValueError(
                    "offloading moves tensors, of which a prediction on the meta device knows "
                    "nothing: use measure_memory on a GPU"
                )
            if tensor.device.type != "cuda" or tensor.untyped_storage()._cdata in parameters:
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


def offload(model: nn.Module) -> nn.Module:
    """A copy, unchanged: what moves tensors is its step, `offloading_step`."""
    return with_trunks(model)


def offloading_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """`training_step` with its saved tensors in the host's memory."""
    with offload_saved_tensors(model):
        return training_step(model, inputs, targets)


STRATEGIES = (
    Strategy(
        apply=offload,
        family="reorder or move",
        summary="Saved tensors move to the host's memory and back; nothing is recomputed.",
        exactness="bitwise",
        source="torch.autograd.graph.save_on_cpu",
        verdict="needs a GPU: not tried here",
        step=offloading_step,
        predictable=False,
        costs="Every saved byte crosses the bus twice. On a CPU there is nowhere to move it to.",
    ),
)
