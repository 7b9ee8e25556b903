"""What autograd keeps of a forward pass for the backward pass, asked of autograd itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar, overload

import torch
from torch import Tensor, nn

from densenet_solutions.measure.copies import Factory, tensors_of
from densenet_solutions.measure.options import StepError, StepOptions
from densenet_solutions.measure.prepared import prepare
from densenet_solutions.measure.torch_private import storage_key

Key = TypeVar("Key", bound=Hashable)


@overload
def saved_bytes(model: nn.Module | Factory, input_shape: Sequence[int]) -> int: ...
@overload
def saved_bytes(
    model: nn.Module | Factory, input_shape: Sequence[int], *, by: Callable[[str, Tensor], Key]
) -> dict[Key, int]: ...
def saved_bytes(
    model: nn.Module | Factory,
    input_shape: Sequence[int],
    *,
    by: Callable[[str, Tensor], Key] | None = None,
) -> int | dict[Key, int]:
    """Bytes of float32 that autograd keeps in training, on the meta device: nothing is computed.

    Every storage counts once; parameters and buffers do not. The input counts where it is kept, and
    requires a gradient, as in the middle of a network. What recomputation keeps to begin with is
    its own affair and not autograd's: the category `activations` of a prediction has it.

    Args:
        model: a module, which stays as it is, or a function that builds one.
        input_shape: shape of its input, batch first.
        by: (path of the module that keeps it, tensor) → key. With it the result is key → bytes; a
            storage that several keep counts for the first of them.

    Raises:
        TypeError, ValueError: an argument is impossible, or the forward pass raises.
    """
    if by is not None and not callable(by):
        raise TypeError(f"by is None or a function (path, tensor) → key, got {by!r}")
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice
    sums: dict[Key, int] = {}
    paths = [""]

    def forward(model: nn.Module, x: Tensor, targets: Tensor) -> None:
        owned = {storage_key(tensor.untyped_storage()) for tensor in tensors_of(model)}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            key = storage_key(storage)
            if key not in owned and key not in kept:
                kept[key] = tensor
                if by is not None:
                    owner = by(paths[-1], tensor)
                    sums[owner] = sums.get(owner, 0) + storage.nbytes()
            return tensor

        for path, module in model.named_modules():
            module.register_forward_pre_hook(lambda *_, path=path: paths.append(path))
            module.register_forward_hook(lambda *_: (paths.pop(), None)[1])
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(x.requires_grad_())

    options = StepOptions(model, input_shape, step=forward)
    try:
        with prepare(options, torch.device("meta")) as prepared:
            prepared.run()
    except StepError as failed:
        raise options.refusal({"on the meta device": failed}) from failed.error
    if by is not None:
        return sums
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
