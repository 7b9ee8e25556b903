"""Gradient accumulation: the same batch in parts, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.memory.strategy import Strategy, loss_of
from densenet_solutions.memory.trunks import with_trunks


def gradient_accumulation(model: nn.Module, parts: int = 4) -> nn.Module:
    """A copy whose step, `accumulating_step`, splits its batch into `parts`.

    Raises:
        TypeError, ValueError: `model` holds no DenseNet, or `parts` no integer of at least 1.
    """
    parts = checks.integer("parts", parts)
    model = with_trunks(model)
    vars(model)["accumulation_parts"] = parts
    return model


def accumulating_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """`training_step` in parts, whose gradients add up.

    Each part's mean loss is weighted by its share of the batch, so without batch normalization
    the gradient is the whole batch's. With it, every part is normalized by its own statistics,
    and the running ones are updated once a part: another function of the batch.

    Raises:
        TypeError, ValueError: as `training_step`, or there are fewer images than parts.
    """
    parts = checks.integer("parts", getattr(model, "accumulation_parts", 4))
    for name, value in {"inputs": inputs, "targets": targets}.items():
        if not isinstance(value, Tensor) or value.ndim == 0:
            raise TypeError(f"{name} are a torch.Tensor of a batch, got {type(value).__name__}")
    if parts > len(inputs):
        raise ValueError(
            f"a batch has at least as many images as parts, got {len(inputs)} images "
            f"and {parts} parts"
        )
    checks.targets(targets, batch=len(inputs))
    losses = []
    for x, y in zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True):
        loss = loss_of(model, x, y) * (len(x) / len(inputs))
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


STRATEGIES = (
    Strategy(
        apply=gradient_accumulation,
        family="fewer images at once",
        summary="The batch in four parts, one after the other; their gradients add up.",
        exactness="changes-function",
        source="arXiv:1706.02677, section 2.3",
        verdict="not exact with batch norm",
        step=accumulating_step,
        costs="Batch normalization sees a quarter of the batch at a time.",
    ),
)
