"""Count the multiply-adds of one forward pass, on the meta device: nothing is computed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from densenet_solutions.measure.parameters import stage_of


@dataclass(frozen=True)
class FlopCount:
    """Work of one forward pass, in multiply-adds: one multiplication and one addition are **one**.

    This is the convention of the DenseNet paper and of torchvision's metadata; twice the number
    is the count in floating-point operations. Convolutions and matrix products count, nothing
    else does.
    """

    multiply_adds: int
    by_stage: Mapping[str, int]
    input_shape: tuple[int, ...]


def count_flops(
    model: nn.Module, input_shape: Sequence[int], *, stage: Callable[[str], str] = stage_of
) -> FlopCount:
    """Multiply-adds of one forward pass in evaluation mode; one multiply-add counts **one**.

    Convolutions and matrix products count (torch's own counter does the arithmetic, and counts
    each multiply-add twice); normalisation, activations, pooling and biases do not. This is the
    convention of the DenseNet paper and of torchvision's metadata.

    Args:
        model: any module that takes one floating-point tensor; neither it nor its buffers change.
        input_shape: shape of that tensor, batch included.
        stage: stage that a module's path belongs to; work outside any child is `"other"`.

    Raises:
        TypeError: `model` is not a module.
        ValueError: `input_shape` is not a sequence of positive integers.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a torch.nn.Module, got {type(model)!r}")
    shape = tuple(input_shape)
    if not shape or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f"input_shape holds positive integers, batch first, got {input_shape!r}")

    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    on_meta = {name: tensor.detach().to("meta") for name, tensor in state.items()}
    dtype = next((t.dtype for t in on_meta.values() if t.is_floating_point()), torch.float32)
    modes = {module: module.training for module in model.modules()}
    counter = FlopCounterMode(display=False)
    model.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings(), counter:
            # The module tracker of torch warns about its own hooks; nothing here is wrong.
            warnings.simplefilter("ignore")
            torch.func.functional_call(
                model, on_meta, torch.empty(shape, dtype=dtype, device="meta")
            )
    finally:
        for module, training in modes.items():
            module.training = training

    # torch counts a module with everything inside it; what is a module's own is the difference.
    root = type(model).__name__
    inclusive = {
        path.removeprefix(root).removeprefix("."): sum(counts.values()) // 2
        for path, counts in counter.get_flop_counts().items()
        if path != "Global"
    }
    own = Counter(inclusive)
    for path, work in inclusive.items():
        if path:
            own[_caller(path, inclusive)] -= work
    by_stage = Counter[str]()
    for path, _ in model.named_modules():
        if own[path]:
            by_stage[stage(path) if path else "other"] += own[path]
    return FlopCount(counter.get_total_flops() // 2, dict(by_stage), shape)


def _caller(path: str, called: Collection[str]) -> str:
    """Nearest module above `path` that was itself called; a `ModuleList`, for one, never is."""
    while path:
        path = path.rpartition(".")[0]
        if path in called:
            return path
    return ""
