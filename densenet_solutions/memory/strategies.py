"""What a memory strategy is, and how the table of all of them is made (exercise 3.2)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from torch import Tensor, nn

#: What a strategy promises: every bit of outputs, gradients and buffers as the plain model has it;
#: the same up to rounding; or another function.
Exactness = Literal["bitwise", "numerical", "changes-function"]


def training_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Forward, cross-entropy, backward: `(N, C, H, W)` and `(N,)` classes → the loss, detached.

    Gradients add to what is in `.grad` already, and there is no optimizer.
    """
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()
    return loss.detach()


@dataclass(frozen=True)
class Strategy:
    """One way to save memory.

    Args:
        name: key in `STRATEGIES`.
        summary: one sentence that says what it does.
        exactness: what it promises about the results.
        source: where the idea comes from.
        apply: model → a changed deep copy; `TypeError` for a network it does not know.
        step: the training step of the changed model; see `training_step`.
        predictable: whether the step runs on the meta device, so that its memory is predictable.
        costs: what it costs elsewhere, in one sentence.
        on_request: left out where all strategies are measured in a row, because it is slow to set
            up.
    """

    name: str
    summary: str
    exactness: Exactness
    source: str
    apply: Callable[[nn.Module], nn.Module]
    step: Callable[[nn.Module, Tensor, Tensor], Tensor] = training_step
    predictable: bool = True
    costs: str = ""
    on_request: bool = False

    def __post_init__(self) -> None:
        if self.exactness not in get_args(Exactness):
            raise ValueError(f"exactness is one of {get_args(Exactness)}, got {self.exactness!r}")


def table(*groups: Iterable[Strategy]) -> Mapping[str, Strategy]:
    """Join the rows of several modules into one read-only table.

    Raises:
        ValueError: two strategies have the same name.
    """
    rows: dict[str, Strategy] = {}
    for strategy in (row for group in groups for row in group):
        if strategy.name in rows:
            raise ValueError(f"strategies have names of their own, got {strategy.name!r} twice")
        rows[strategy.name] = strategy
    return MappingProxyType(rows)


def copy_of(model: nn.Module, *networks: type[nn.Module]) -> nn.Module:
    """Deep copy of `model`, which must be one of `networks`.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(model, networks):
        names = " or a ".join(network.__name__ for network in networks)
        raise TypeError(f"this strategy takes a {names}, got {type(model).__name__}")
    return copy.deepcopy(model)


def retype(model: nn.Module, types: Mapping[type[nn.Module], type[nn.Module]]) -> nn.Module:
    """Turn modules of `model` into subclasses of theirs that run another way, and return `model`.

    Parameters, buffers, their names, modes and hooks stay: only `forward` is another.
    """
    for old, new in types.items():
        if not issubclass(new, old):
            raise TypeError(f"{new.__name__} must be a subclass of {old.__name__}")
    for module in model.modules():
        if (new_type := types.get(type(module))) is not None:
            module.__class__ = new_type
    return model
