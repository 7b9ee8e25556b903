"""Gradient accumulation: the same batch in parts, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from densenet_solutions.memory.strategies import Strategy, copy_of
from densenet_solutions.models import DenseNet


def accumulate(parts: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """A training step that splits its batch into `parts` and adds up their gradients.

    Each part's mean loss is weighted by its share of the batch, so without batch normalisation
    the gradient is the whole batch's. With it, every part is normalised by its own statistics,
    and the running ones are updated `parts` times: another function of the batch.

    Raises:
        ValueError: `parts` is below 1, or (in the step) above the number of images.
    """
    if parts < 1:
        raise ValueError(f"parts is at least 1, got {parts!r}")

    def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        if parts > len(inputs):
            raise ValueError(f"{len(inputs)} images do not make {parts} parts")
        losses = []
        for x, y in zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True):
            loss = nn.functional.cross_entropy(model(x), y) * (len(x) / len(inputs))
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    return step


def _unchanged(model: nn.Module) -> nn.Module:
    return copy_of(model, DenseNet)


STRATEGIES = (
    Strategy(
        name="gradient_accumulation",
        summary="The batch in four parts, one after the other; their gradients add up.",
        exactness="changes-function",
        source="arXiv:1706.02677, section 2.3",
        apply=_unchanged,
        step=accumulate(4),
        costs="Batch normalisation sees a quarter of the batch at a time.",
    ),
)
