"""What one training step, or one inference, is made of: options, checked once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from densenet_solutions import checks
from densenet_solutions.measure import copies

TrainingStep = Callable[[nn.Module, Any, Tensor], Any]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]

#: Optimizers by name. `foreach=False` updates one parameter after the other: torch's default for
#: CUDA makes temporaries as large as all parameters.
OPTIMIZERS: dict[str, OptimizerFactory] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3, foreach=False),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, foreach=False),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, foreach=False),
}


class StepError(Exception):
    """The step raised `error` while it ran."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def in_a_line(self) -> str:
        """The error's type and its first line."""
        reason = (str(self.error).strip() or "no reason given").splitlines()[0].rstrip(".")
        return f"{type(self.error).__name__}: {reason}"


@dataclass(frozen=True, eq=False)
class StepOptions:
    """What one training step, or one inference, is made of.

    Args:
        model: a model, which stays as it is, or a function that builds one.
        input_shape: shape of its input, batch first; or a sequence of shapes, one for each input.
        train: forward, a scalar loss and backward, starting without gradients; else a forward pass
            in evaluation mode without autograd. The loss is the cross-entropy of logits
            `(N, classes)`, and for other outputs their sum.
        optimizer: `"sgd"`, `"sgd_momentum"`, `"adam"`, `"adamw"`, or parameters → optimizer; its
            step follows the backward pass, and its state is there from the start.
        dtype: of parameters, buffers and inputs.
        autocast: run the forward pass under autocast to this type.
        input_dtype: of the input, if it is not `dtype`: `torch.int64` for token numbers; with
            several inputs one for all, or a sequence.
        step: training step in place of the default one: `(model, inputs, targets) → anything`;
            targets are class numbers `(N,)`. Several inputs come as a tuple.

    Raises:
        TypeError, ValueError: an argument is impossible; the message states the rule.
    """

    model: nn.Module | copies.Factory
    input_shape: Sequence[int] | Sequence[Sequence[int]]
    train: bool = field(default=True, kw_only=True)
    optimizer: str | OptimizerFactory | None = field(default=None, kw_only=True)
    dtype: torch.dtype = field(default=torch.float32, kw_only=True)
    autocast: torch.dtype | None = field(default=None, kw_only=True)
    input_dtype: torch.dtype | Sequence[torch.dtype] | None = field(default=None, kw_only=True)
    step: TrainingStep | None = field(default=None, kw_only=True)
    shapes: tuple[tuple[int, ...], ...] = field(init=False)
    input_dtypes: tuple[torch.dtype, ...] = field(init=False)

    def __post_init__(self) -> None:
        copies.check(self.model)
        checks.flag("train", self.train)
        if not isinstance(self.dtype, torch.dtype) or not self.dtype.is_floating_point:
            raise ValueError(f"dtype is a floating-point torch.dtype, got {self.dtype!r}")
        checks.choice("autocast", self.autocast, (None, torch.bfloat16, torch.float16))
        object.__setattr__(self, "shapes", _shapes(self.input_shape))
        object.__setattr__(self, "input_dtypes", self._input_dtypes())
        size = max(map(math.prod, self.shapes))
        if size * 16 >= 2**63:
            raise ValueError(f"input_shape has fewer than 2^59 elements, got {self.input_shape!r}")
        if isinstance(self.optimizer, str):
            checks.choice("optimizer", self.optimizer, OPTIMIZERS)
        elif self.optimizer is not None and not callable(self.optimizer):
            raise TypeError(
                f"optimizer is None, one of {sorted(OPTIMIZERS)}, or a function of the parameters "
                f"that returns a torch.optim.Optimizer, got {self.optimizer!r}"
            )
        if self.step is not None and not callable(self.step):
            raise TypeError(
                f"step is None or a function (model, inputs, targets) → anything, got {self.step!r}"
            )
        if not self.train and (self.optimizer is not None or self.step is not None):
            raise ValueError(
                "without training there is neither an optimizer nor a training step, "
                f"got train=False with optimizer={self.optimizer!r}, step={self.step!r}"
            )

    def _input_dtypes(self) -> tuple[torch.dtype, ...]:
        given = self.dtype if self.input_dtype is None else self.input_dtype
        dtypes = (given,) * len(self.shapes) if isinstance(given, torch.dtype) else given
        if not isinstance(dtypes, Sequence) or not all(isinstance(d, torch.dtype) for d in dtypes):
            raise TypeError(f"input_dtype is a torch.dtype, got {given!r}")
        if len(dtypes) != len(self.shapes):
            raise ValueError(
                f"input_dtype has one entry for each of {len(self.shapes)} inputs, got {given!r}"
            )
        return tuple(dtypes)

    @property
    def optimizer_name(self) -> str | None:
        """What the result says about the optimizer."""
        if self.optimizer is None or isinstance(self.optimizer, str):
            return self.optimizer
        return getattr(self.optimizer, "__name__", type(self.optimizer).__name__)

    def refusal(self, failures: Mapping[str, StepError], advice: str = "") -> ValueError:
        """What is said of a step that raised: where, what, and what it was given."""
        said = {where: failed.in_a_line for where, failed in failures.items()}
        if len(set(said.values())) == 1:
            what = f"{' and '.join(said)}: {next(iter(said.values()))}"
        else:
            what = "; ".join(f"{where}: {text}" for where, text in said.items())
        inputs = ", ".join(
            f"{dtype} of shape {shape}"
            for dtype, shape in zip(self.input_dtypes, self.shapes, strict=True)
        )
        return ValueError(
            f"the step raised {what}. The model was given {inputs}; input_shape= (one shape for "
            f"each input) and input_dtype= set this{advice}"
        )


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    several = isinstance(value, Sequence) and value and isinstance(value[0], Sequence)
    if several and not isinstance(value, str):
        return tuple(checks.integers("input_shape", shape) for shape in value)
    return (checks.integers("input_shape", value),)
