"""What a memory strategy is, and how it changes a copy of a network (exercise 3.2)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.models.densenet import DenseNet

#: What a strategy promises: every bit of outputs, gradients and buffers as the plain model has it;
#: the same up to rounding; the same loss with rounded gradients; or another function.
Exactness = Literal["bitwise", "numerical", "approximate", "changes-function"]

Family = Literal[
    "as it is", "recompute", "reorder or move", "fewer bits", "fewer connections",
    "smaller layers", "fewer images at once",
]  # fmt: skip

#: `(model, images (N, C, H, W), classes (N,))` → the loss, detached.
Step = Callable[[nn.Module, Tensor, Tensor], Tensor]


def training_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Forward, cross-entropy, backward: `(N, C, H, W)` and `(N,)` classes → the loss, detached.

    Gradients add to what is in `.grad` already, and there is no optimizer. The model's mode stays:
    in evaluation mode it normalizes with its running statistics.

    Raises:
        TypeError, ValueError: images or classes are impossible, or nothing requires a gradient.
    """
    loss = loss_of(model, inputs, targets)
    loss.backward()
    return loss.detach()


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, and all that is checked before a backward pass."""
    checks.module("model", model)
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs are a torch.Tensor of images, got {type(inputs).__name__}")
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ValueError(f"a step takes at least one image, got x.shape={tuple(inputs.shape)}")
    logits = model(inputs)
    checks.targets(targets, batch=len(inputs), classes=logits.shape[1])
    loss = nn.functional.cross_entropy(logits, targets)
    if not loss.requires_grad:
        raise ValueError(
            "a training step needs a parameter that requires a gradient, got a frozen model or "
            "gradients switched off: call model.requires_grad_(), or leave torch.no_grad()"
        )
    return loss


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way to save memory.

    Args:
        apply: model → a changed deep copy; `TypeError` for a network it does not know, or that
            another strategy has changed in its way. Further arguments set its strength. Its name
            is the strategy's.
        family: what it has in common with others.
        summary: one sentence that says what it does.
        exactness: what it promises about the results.
        source: where the idea comes from.
        verdict: what to think of it, in a few words.
        step: the training step of the changed model, see `training_step`; `None` where it only
            infers.
        predictable: whether the step runs on the meta device, so that its memory is predictable.
        costs: what it costs elsewhere, in one sentence.
        on_request: left out where all strategies are measured in a row, because it is slow to set
            up.
    """

    apply: Callable[..., nn.Module]
    family: Family
    summary: str
    exactness: Exactness
    source: str
    verdict: str
    step: Step | None = training_step
    predictable: bool = True
    costs: str = ""
    on_request: bool = False

    def __post_init__(self) -> None:
        checks.choice("exactness", self.exactness, get_args(Exactness))
        checks.choice("family", self.family, get_args(Family))

    @property
    def name(self) -> str:
        """Key in `STRATEGIES`."""
        return self.apply.__name__

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """What it consists of: the code that a record of it depends on."""
        return (self.apply,) if self.step is None else (self.apply, self.step)

    @property
    def exact(self) -> bool:
        """Whether it promises the plain model's results, to the bit or up to rounding."""
        return self.exactness in ("bitwise", "numerical")


def copy_of(model: nn.Module) -> DenseNet:
    """Deep copy of a DenseNet.

    Raises:
        TypeError: it is something else, or compiled: the copy would not be.
    """
    if not isinstance(model, DenseNet):
        name, room = type(model).__name__, type(model).__module__
        if not isinstance(model, nn.Module):
            call = ": call it, and give what it returns" * callable(model)
            raise TypeError(f"this strategy takes a DenseNet, got {name}{call}")
        whose = f", of {room}" * (name == "DenseNet")
        raise TypeError(
            f"this strategy takes a DenseNet, got {name}{whose}: build one of "
            "densenet_solutions.models, and give it your weights with load_densenet_weights, or "
            "take a strategy whose results are exact: those convert models of others"
        )
    refuse_compiled(model)
    return copy.deepcopy(model)


def refuse_compiled(model: nn.Module) -> None:
    """Raise a `TypeError` if a part of the model is compiled: a copy of it would not be."""
    for module in model.modules():
        if module._compiled_call_impl is not None or "_orig_mod" in module._modules:
            raise TypeError(
                "this strategy takes a network that is not compiled, got a compiled one: apply it "
                "first, and compile the copy"
            )


def retype(
    model: nn.Module,
    old: type[nn.Module],
    new: type[nn.Module],
    *,
    wraps: bool = False,
    optional: bool = False,
    in_other_order: bool = False,
) -> None:
    """Let every `old` in `model` run as `new`, a subclass of it or of `nn.Module`.

    Parameters, buffers, their names, modes and hooks stay: only `forward` is another. `wraps` says
    that it calls the one before; otherwise that must be `old`'s own, or with `in_other_order` one
    that runs the same parts. Without an `old` there is nothing to change, which is an error unless
    it is `optional`.

    Raises:
        TypeError: a module runs in a way of its own already, or see `refuse_rounding`.
        ValueError: there is nothing to change.
    """
    refuse_rounding(model, new)
    found = [module for module in model.modules() if isinstance(module, old)]
    for module in found:
        kind = type(module)
        reordered = hasattr(kind.forward, "as_built") and not in_other_order
        twice = isinstance(module, new) or "forward" in vars(module)
        if reordered or (twice if wraps else not runs_as(module, old)):
            raise TypeError(
                "this strategy takes the network as it was built, "
                f"got a {kind.__name__} with a forward pass of its own: apply one strategy, once"
            )
        module.__class__ = new if issubclass(new, old) and kind is old else _joined(new, kind)
    if not found and not optional:
        raise ValueError(f"there is nothing to change: the network has no {old.__name__}")


def refuse_rounding(model: nn.Module, new: type[nn.Module]) -> None:
    """Raise a `TypeError` if one part computes again from what another has rounded.

    A class says of itself `computes_again` or `rounds_what_is_kept`; `new` is one that joins the
    others. What is computed again from rounded features is on the other side of a ReLU here and
    there: the gradient's error becomes ten times as large and more.
    """
    for one, other in (
        ("computes_again", "rounds_what_is_kept"),
        ("rounds_what_is_kept", "computes_again"),
    ):
        there = [m for m in model.modules() if getattr(m, other, False)]
        if getattr(new, one, False) and there:
            raise TypeError(
                f"this strategy takes the network as it was built, got a {type(there[0]).__name__}:"
                " rounding what is kept does not go with computing again from it; apply one "
                "strategy, once"
            )


def runs_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether `module` is of this kind, and its forward pass is that of the kind.

    A forward pass that computes the same by running the same parts says so by `as_built`.
    """
    return (
        isinstance(module, kind)
        and (type(module).forward is kind.forward or hasattr(type(module).forward, "as_built"))
        and "forward" not in vars(module)
    )


def bypassed(module: nn.Module) -> str | None:
    """What would not be run if the arithmetic of `module` were called instead of the module.

    A forward pass of this instance, its hooks, and hooks on all modules (but for this package's
    instruments, which know it); `None` if there is nothing.
    """
    name = type(module).__name__
    if "forward" in module.__dict__:
        return f"{name} has a forward pass of its own"
    if any((*_hooks(module, "_{}_hooks"), *_hooks(module, "_{}_pre_hooks"))):
        return f"{name} has hooks, which would not be called"
    every = nn.modules.module
    for hooks in (*_hooks(every, "_global_{}_hooks"), *_hooks(every, "_global_{}_pre_hooks")):
        if any(not _is_ours(hook) for hook in hooks.values()):
            return "there are hooks on all modules, which would not be called"
    return None


def _is_ours(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("densenet_solutions.")


def _hooks(owner: Any, name: str) -> tuple[dict[int, Any], ...]:
    return tuple(getattr(owner, name.format(way)) for way in ("forward", "backward"))


def _joined(first: type[nn.Module], second: type[nn.Module]) -> type[nn.Module]:
    """The subclass of both, made once: what runs as `first`, and is a `second` otherwise."""
    name = f"{first.__name__}{second.__name__}"
    if (first, second) not in _JOINED:
        more = {"__reduce_ex__": _reduce, "__module__": __name__}
        _JOINED[first, second] = type(name, (first, second), more)
    return _JOINED[first, second]


_JOINED: dict[tuple[type, type], type[nn.Module]] = {}


def _reduce(module: nn.Module, protocol: int) -> tuple[Any, ...]:
    """How `copy` and `pickle` take a module whose class was made here."""
    return _blank, type(module).__bases__, module.__getstate__()


def _blank(first: type[nn.Module], second: type[nn.Module]) -> nn.Module:
    kind = _joined(first, second)
    return kind.__new__(kind)
