"""Activations that overwrite their input, and the textbook's that do not."""

from __future__ import annotations

from torch import nn

from densenet_solutions.memory.strategies import Strategy, copy_of
from densenet_solutions.models import DenseNet


def in_place(model: nn.Module) -> nn.Module:
    """Let every ReLU write its output over its input.

    A ReLU's gradient needs its output only, and the batch normalisation before it does not read
    its own output again, so nothing is lost.
    """
    return _set_in_place(model, True)


def out_of_place(model: nn.Module) -> nn.Module:
    """Let every ReLU write its output into new memory, as the book's networks do."""
    return _set_in_place(model, False)


def _set_in_place(model: nn.Module, value: bool) -> nn.Module:
    model = copy_of(model, DenseNet)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = value
    return model


STRATEGIES = (
    Strategy(
        name="out_of_place",
        summary="Every ReLU writes into new memory: the textbook's way, which saves nothing.",
        exactness="bitwise",
        source="Dive into Deep Learning 1.0.3, section 8.7",
        apply=out_of_place,
        costs="One more copy of every normalised activation.",
    ),
    Strategy(
        name="in_place",
        summary="Every ReLU overwrites its input, as in torchvision.",
        exactness="bitwise",
        source="torchvision.models.densenet",
        apply=in_place,
    ),
)
