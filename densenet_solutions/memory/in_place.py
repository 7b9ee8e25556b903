"""Activations that overwrite their input, and the textbook's that do not."""

from __future__ import annotations

from torch import nn

from densenet_solutions.memory.strategy import Strategy
from densenet_solutions.memory.trunks import with_trunks


def in_place(model: nn.Module) -> nn.Module:
    """Let every ReLU write its output over its input.

    A ReLU's gradient needs its output only, and the batch normalization before it does not read
    its own output again, so nothing is lost.

    Raises:
        ValueError: the network has no `nn.ReLU`.
    """
    return _set_in_place(model, True)


def out_of_place(model: nn.Module) -> nn.Module:
    """Let every ReLU write its output into new memory, as the book's networks do."""
    return _set_in_place(model, False)


def _set_in_place(model: nn.Module, value: bool) -> nn.Module:
    model = with_trunks(model)
    activations = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    if not activations:
        raise ValueError("there is nothing to change: the network has no ReLU")
    for module in activations:
        module.inplace = value
    return model


STRATEGIES = (
    Strategy(
        apply=out_of_place,
        family="as it is",
        summary="Every ReLU writes into new memory: the textbook's way, which saves nothing.",
        exactness="bitwise",
        source="Dive into Deep Learning 1.0.3, section 8.7",
        verdict="the same in training; more at inference",
        costs="One more copy of every normalized activation.",
    ),
    Strategy(
        apply=in_place,
        family="as it is",
        summary="Every ReLU overwrites its input, as in torchvision.",
        exactness="bitwise",
        source="torchvision.models.densenet",
        verdict="what plain does already",
    ),
)
