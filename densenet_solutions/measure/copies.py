"""A model or a factory goes into an instrument; the instrument works on a copy of its own."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import UninitializedBuffer, UninitializedParameter

from densenet_solutions import checks
from densenet_solutions.measure.torch_private import tree_leaves

Factory = Callable[[], nn.Module]
LAZY = (UninitializedParameter, UninitializedBuffer)


def check(model: object) -> None:
    """Refuse what is neither a model nor a function."""
    if not callable(model):
        raise TypeError(
            "model is a torch.nn.Module, or a function without arguments that builds one, "
            f"got {model!r}"
        )


def build(model: nn.Module | Factory, device: torch.device) -> nn.Module:
    """The given model as it is, or what the factory builds with `device` as the default.

    A constructor that does not run on the meta device, because it needs numbers, runs on the CPU.
    What a constructor raises there passes through.

    Raises:
        TypeError: `model` is neither, or the factory builds no module.
    """
    check(model)
    if isinstance(model, nn.Module):
        return model
    try:
        with device:
            built = model()
    except Exception:
        if device.type == "cpu":
            raise
        with torch.device("cpu"):
            built = model()
    return checks.module("what the factory returns", built)


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Parameters, buffers, and tensors that are plain attributes of a module; each once."""
    found: dict[int, Tensor] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor):
                found[id(value)] = value
            elif isinstance(value, dict | list | tuple) and value:
                found |= {id(leaf): leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)}
    return list(found.values())


def plain_tensors(model: nn.Module) -> list[Tensor]:
    """Tensors that a module holds without having registered them."""
    known = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    return [tensor for tensor in tensors_of(model) if id(tensor) not in known]


def is_lazy(model: nn.Module) -> bool:
    """Whether the model has parameters that its first forward pass will make."""
    return any(isinstance(tensor, LAZY) for tensor in tensors_of(model))


def copied(model: nn.Module, renew: Callable[[Tensor], Tensor]) -> nn.Module:
    """A deep copy whose tensors are `renew(tensor)`, without gradients; shared ones stay shared.

    Raises:
        TypeError: a part of the model, a lock for one, cannot be copied.
    """
    memo: dict[int, object] = {}
    for tensor in tensors_of(model):
        if type(tensor) is nn.Parameter:
            memo[id(tensor)] = nn.Parameter(renew(tensor.detach()), tensor.requires_grad)
        elif type(tensor) is Tensor:
            memo[id(tensor)] = renew(tensor.detach())
        elif isinstance(tensor, LAZY):
            like = renew(tensor.data)
            lazy: Any = type(tensor)
            memo[id(tensor)] = lazy(tensor.requires_grad, like.device, like.dtype)
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise TypeError(
            "a measurement leaves the given model as it is and works on a copy, and this one "
            f"cannot be copied ({type(error).__name__}: {error}): pass a function that builds it"
        ) from error


@contextlib.contextmanager
def borrowed(model: nn.Module, renew: Callable[[Tensor], Tensor]) -> Iterator[nn.Module]:
    """The model itself with other tensors in it; at the end it is as it was.

    For what a copy would lose: a compiled module forgets that it was compiled.
    """
    modes = [(module, module.training) for module in model.modules()]
    before = [(tensor, tensor.data, tensor.grad) for tensor in tensors_of(model)]
    try:
        for tensor, data, _ in before:
            tensor.grad = None
            tensor.data = renew(data)
        yield model
    finally:
        for tensor, data, _ in before:
            tensor.grad = None
            tensor.data = data
        for tensor, _, gradient in before:
            tensor.grad = gradient
        for module, training in modes:
            module.training = training
