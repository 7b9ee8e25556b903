"""Set up what is measured: model, input, targets, optimizer, and one step with them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

Step = Callable[[nn.Module, Tensor, Tensor], Any]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]

#: Optimizers by name. `foreach=False` updates one parameter after the other: torch's default for
#: CUDA makes temporaries as large as all parameters.
OPTIMIZERS: dict[str, OptimizerFactory] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3, foreach=False),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, foreach=False),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, foreach=False),
}


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """The arguments that `predict_memory` and `measure_memory` share; see there.

    Raises:
        TypeError, ValueError: an argument is impossible; the message states the rule.
    """

    model_fn: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    train: bool
    optimizer: str | OptimizerFactory | None
    dtype: torch.dtype
    autocast: torch.dtype | None
    input_dtype: torch.dtype | None
    step: Step | None

    @classmethod
    def of(cls, model_fn: Any, input_shape: Sequence[int], **options: Any) -> StepSpec:
        shape = tuple(input_shape) if isinstance(input_shape, Iterable) else input_shape
        return cls(model_fn=model_fn, input_shape=shape, **options)

    def __post_init__(self) -> None:
        if isinstance(self.model_fn, nn.Module) or not callable(self.model_fn):
            raise TypeError(
                "model_fn is a function without arguments that builds the model, "
                f"for example `lambda: model`, got {type(self.model_fn).__name__}"
            )
        if (
            not isinstance(self.input_shape, tuple)
            or not self.input_shape
            or not all(type(side) is int and side > 0 for side in self.input_shape)
        ):
            raise ValueError(
                f"input_shape holds positive integers, batch first, got {self.input_shape!r}"
            )
        if not isinstance(self.dtype, torch.dtype) or not self.dtype.is_floating_point:
            raise ValueError(f"dtype is a floating-point torch.dtype, got {self.dtype!r}")
        if self.autocast not in (None, torch.bfloat16, torch.float16):
            raise ValueError(
                f"autocast is torch.bfloat16, torch.float16 or None, got {self.autocast!r}"
            )
        if isinstance(self.optimizer, str) and self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer is None, a function, or one of {sorted(OPTIMIZERS)}, "
                f"got {self.optimizer!r}"
            )
        if not self.train and (self.optimizer is not None or self.step is not None):
            raise ValueError(
                "without training there is neither an optimizer nor a training step, "
                f"got train=False with optimizer={self.optimizer!r}, step={self.step!r}"
            )

    @property
    def optimizer_name(self) -> str | None:
        """What the result says about the optimizer."""
        if self.optimizer is None or isinstance(self.optimizer, str):
            return self.optimizer
        return getattr(self.optimizer, "__name__", type(self.optimizer).__name__)


class PreparedStep:
    """A model with its input on one device, ready to take the same step again and again."""

    def __init__(self, spec: StepSpec, device: torch.device, *, fake: bool = False) -> None:
        self.spec, self.device = spec, device
        built_on = torch.device("meta") if fake else device
        with unset_fake_temporarily():  # copying a model is beyond fake tensors
            with built_on:
                model = spec.model_fn()
            if not isinstance(model, nn.Module):
                raise TypeError(f"model_fn returns a torch.nn.Module, got {type(model).__name__}")
            self.compiled = any(
                module._compiled_call_impl is not None or hasattr(module, "_orig_mod")
                for module in model.modules()
            )
            tensors = [*model.parameters(), *model.buffers()]
            if any(t.device.type != built_on.type for t in tensors):
                model = copy.deepcopy(model).to(built_on)  # built elsewhere: leave it as it is
            if any(t.is_floating_point() and t.dtype != spec.dtype for t in tensors):
                model = model.to(spec.dtype)
        if fake:
            _make_fake(model)
        self.model = model.train(spec.train)
        dtype = spec.input_dtype or spec.dtype
        self.inputs = torch.zeros(spec.input_shape, dtype=dtype, device=device)
        self.targets = torch.zeros(spec.input_shape[:1], dtype=torch.int64, device=device)
        self.optimizer: Optimizer | None = None
        if spec.optimizer is not None:
            make = spec.optimizer if callable(spec.optimizer) else OPTIMIZERS[spec.optimizer]
            self.optimizer = make(self.model.parameters())

    @property
    def needs_warm_up(self) -> bool:
        """Whether the first step differs: it makes the optimizer's state."""
        return self.optimizer is not None

    def optimizer_state(self) -> list[Tensor]:
        """Tensors that the optimizer keeps from step to step."""
        state = self.optimizer.state.values() if self.optimizer is not None else ()
        return [leaf for leaf in tree_leaves(list(state)) if isinstance(leaf, Tensor)]

    def run(self, enter_phase: Callable[[str], None] = lambda phase: None) -> None:
        """Take one step; gradients are dropped beforehand, so each step allocates its own."""
        enter_phase("forward")
        if not self.spec.train:
            with torch.no_grad(), self._autocast():
                self.model(self.inputs)
            return
        self.drop_gradients()
        if self.spec.step is not None:
            with self._autocast():
                self.spec.step(self.model, self.inputs, self.targets)
        else:
            with self._autocast():
                loss = scalar_loss(self.model(self.inputs), self.targets)
            loss.backward()
            del loss
        if self.optimizer is not None:
            enter_phase("optimizer")
            self.optimizer.step()

    def drop_gradients(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.spec.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.spec.autocast)


def _make_fake(model: nn.Module) -> None:
    """Put tensors of the fake mode in force in the place of a meta model's own, ties kept."""
    new: dict[int, Tensor] = {}

    def fake(old: Tensor) -> Tensor:
        if id(old) not in new:
            empty = torch.empty(old.shape, dtype=old.dtype, device="cpu")
            is_parameter = isinstance(old, nn.Parameter)
            new[id(old)] = nn.Parameter(empty, old.requires_grad) if is_parameter else empty
        return new[id(old)]

    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            named = cast(dict[str, Tensor | None], tensors)
            for name, old in named.items():
                named[name] = None if old is None else fake(old)


def scalar_loss(output: Any, targets: Tensor) -> Tensor:
    """Cross-entropy for logits `(N, classes)`; else the sum of all floating-point outputs.

    Raises:
        ValueError: there is no floating-point output to differentiate.
    """
    if isinstance(output, Tensor) and output.ndim == 2 and output.is_floating_point():
        return nn.functional.cross_entropy(output, targets)
    leaves = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]
    if not leaves:
        raise ValueError(
            f"the model returns floating-point tensors, got {type(output).__name__}; "
            "pass step=... for a training step of your own"
        )
    return (
        torch.stack([leaf.sum() for leaf in leaves]).sum() if len(leaves) > 1 else leaves[0].sum()
    )
