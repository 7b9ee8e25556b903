"""Set up what is measured: a copy of the model, inputs, targets, optimizer, on one device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from densenet_solutions.measure import copies
from densenet_solutions.measure.options import OPTIMIZERS, StepError, StepOptions
from densenet_solutions.measure.torch_private import FakeTensorMode, is_compiled, tree_leaves
from densenet_solutions.measure.tracker import StorageTracker

#: What torch raises where a step does not run; anything else is the model's own word, and passes.
_OF_THE_RUN = (RuntimeError, NotImplementedError, TypeError, AssertionError)


class PreparedStep:
    """A copy of the model with its inputs on one device, to take the same step again and again."""

    def __init__(
        self,
        options: StepOptions,
        model: nn.Module,
        device: torch.device,
        *,
        compiled: bool = False,
    ) -> None:
        self.options, self.device = options, device
        self.compiled = compiled
        self.model = model.train(options.train)
        trains = any(parameter.requires_grad for parameter in model.parameters())
        if options.train and options.step is None and not trains:
            raise ValueError(
                "training needs a parameter with requires_grad=True, and the model has none: "
                "pass train=False, or a step of your own"
            )
        self.inputs = tuple(
            torch.zeros(shape, dtype=dtype, device=device)
            for shape, dtype in zip(options.shapes, options.input_dtypes, strict=True)
        )
        self.targets = torch.zeros(options.shapes[0][:1], dtype=torch.int64, device=device)
        self.optimizer = self._optimizer()

    def _optimizer(self) -> Optimizer | None:
        make = self.options.optimizer
        if make is None:
            return None
        optimizer = (OPTIMIZERS[make] if isinstance(make, str) else make)(self.model.parameters())
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer(parameters) returns a torch.optim.Optimizer, got {optimizer!r}"
            )
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError(
                "optimizer takes one step for one backward pass, and LBFGS asks for several: "
                "it is not supported"
            )
        return optimizer

    def resident(self) -> dict[str, list[Tensor]]:
        """What is there before the step, by category."""
        state = self.optimizer.state.values() if self.optimizer is not None else ()
        return {
            "parameters": list(self.model.parameters()),
            "buffers": [*self.model.buffers(), *copies.plain_tensors(self.model)],
            "input": [*self.inputs, self.targets],
            "optimizer": [leaf for leaf in tree_leaves(list(state)) if isinstance(leaf, Tensor)],
        }

    def run(self, enter_phase: Callable[[str], None] = lambda phase: None) -> None:
        """Take one step; gradients are dropped beforehand, so each step allocates its own.

        Raises:
            StepError: torch raised an error.
        """
        try:
            self._run(enter_phase)
        except _OF_THE_RUN as error:
            raise StepError(error) from error

    def _run(self, enter_phase: Callable[[str], None]) -> None:
        enter_phase("forward")
        if not self.options.train:
            with torch.no_grad(), self._autocast():
                self.model(*self.inputs)
            return
        self.drop_gradients()
        if self.options.step is not None:
            inputs = self.inputs if len(self.inputs) > 1 else self.inputs[0]
            with self._autocast():
                self.options.step(self.model, inputs, self.targets)
        else:
            with self._autocast():
                loss = scalar_loss(self.model(*self.inputs), self.targets)
            loss.backward()
            del loss
        if self.optimizer is not None:
            enter_phase("optimizer")
            self.optimizer.step()

    def followed(
        self, workspace: Callable[[Any, tuple[Any, ...]], int] | None = None
    ) -> StorageTracker:
        """Take one step and follow its storages; `workspace` as in `StorageTracker`."""
        tracker = StorageTracker(self.model, self.resident(), workspace)

        def enter(phase: str) -> None:
            tracker.phase = phase

        with tracker:
            self.run(enter)
        self.drop_gradients()
        return tracker

    def drop_gradients(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.options.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.options.autocast)


@contextlib.contextmanager
def prepare(
    options: StepOptions, device: torch.device, mode: FakeTensorMode | None = None
) -> Iterator[PreparedStep]:
    """A step on a device; with `mode` on fake tensors of that device, which hold no numbers.

    The given model stays as it is, and so do the random number generators.
    """
    held = torch.device("meta") if mode is not None else device
    renew = _renewer(options.dtype, device, mode)
    with torch.random.fork_rng(devices=[device] if held.type == "cuda" else []):
        # Built on the CPU for CUDA, or there would be two models on the device for a while.
        model = copies.build(options.model, held if held.type == "meta" else torch.device("cpu"))
        compiled = is_compiled(model)
        if compiled and held.type != "meta":
            with copies.borrowed(model, renew):
                yield PreparedStep(options, model, device)
            return
        if copies.is_lazy(model):
            model = _materialized(model, options)
        try:
            own = copies.copied(model, renew)
        except TypeError:
            if isinstance(options.model, nn.Module):
                raise
            own = model.to(device=held, dtype=options.dtype)  # a factory's, so it is ours
        del model
        for module in own.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                module.register_forward_pre_hook(_check_indices)
        with mode or contextlib.nullcontext():
            yield PreparedStep(options, own, device, compiled=compiled)


def _check_indices(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """What a real device says of an embedding's input; PyTorch 2.11 takes it on the meta device."""
    if inputs and isinstance(inputs[0], Tensor) and inputs[0].is_floating_point():
        raise TypeError(f"indices of an embedding are integers, got {inputs[0].dtype}")


def _renewer(
    dtype: torch.dtype, device: torch.device, mode: FakeTensorMode | None
) -> Callable[[Tensor], Tensor]:
    """Tensor → its like on the device, in `dtype` if it holds fractions, with its numbers."""

    def renew(tensor: Tensor) -> Tensor:
        to = dtype if tensor.is_floating_point() else tensor.dtype
        if mode is not None:
            like = torch.empty_like(tensor, device="meta")
            with mode:
                return torch.empty_strided(like.shape, like.stride(), dtype=to, device=device)
        if device.type == "meta":
            return torch.empty_like(tensor, dtype=to, device=device)
        if tensor.is_meta:
            return torch.zeros_like(tensor, dtype=to, device=device)
        return tensor.to(device=device, dtype=to, copy=True)

    return renew


def _materialized(model: nn.Module, options: StepOptions) -> nn.Module:
    """A copy with the parameters that a forward pass makes, on the meta device if it runs there."""
    for name in ("meta", "cpu"):
        device = torch.device(name)
        own = copies.copied(model, _renewer(options.dtype, device, None))
        inputs = [
            torch.zeros(shape, dtype=dtype, device=device)
            for shape, dtype in zip(options.shapes, options.input_dtypes, strict=True)
        ]
        try:
            with torch.no_grad():
                own.eval()(*inputs)
        except _OF_THE_RUN as error:
            if name == "cpu":
                raise StepError(error) from error
        else:
            break
    return own


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
