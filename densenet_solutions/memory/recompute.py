"""Recomputation: keep little, and run a part of the network again in the backward pass.

Chen, Xu, Zhang, Guestrin, *Training deep nets with sublinear memory cost*, arXiv:1604.06174;
Pleiss et al., *Memory-efficient implementation of DenseNets*, arXiv:1707.06990.

The trap is batch normalization: what runs twice updates its running statistics twice. Here the
second run does not touch them, so every buffer is bitwise the plain model's.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from densenet_solutions.memory.strategy import Strategy, bypassed, retype
from densenet_solutions.memory.trunks import with_trunks
from densenet_solutions.models.densenet import DenseBlock, DenseLayer, Transition


class running_statistics_untouched(TorchFunctionMode):  # noqa: N801 (a context)
    """Let batch normalization in `module` normalize as before but leave its buffers as they are.

    Momentum 0 keeps the running statistics bit for bit; the counter is not counted up. Only what
    this thread calls is changed, no module is: other threads may run the network meanwhile. (With
    `track_running_stats=False` autograd would save fewer tensors than the first time, which
    `checkpoint` refuses.)
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.counters = {id(norm.num_batches_tracked) for norm in _norms(module)}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.add_ and id(args[0]) in self.counters:
            return args[0]
        if place := _MOMENTUM.get(func):
            if "momentum" in kwargs:
                kwargs = {**kwargs, "momentum": 0.0}
            else:
                args = (*args[:place], 0.0, *args[place + 1 :])
        return func(*args, **kwargs)


#: The functions of batch normalization, and where momentum stands among their arguments.
_MOMENTUM: dict[Any, int] = {
    nn.functional.batch_norm: 6,
    torch.batch_norm: 6,
    torch.batch_norm_gather_stats_with_counts: 5,  # of `SyncBatchNorm`
}


class SecondRun(running_statistics_untouched):
    """The context of every second run of `module`, which must find what the first run read.

    Raises:
        RuntimeError: (on entering) a parameter, a running statistic that is used, or a mode is not
            what it was when this was made.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.module, self.read = module, list(_read_by(module))

    def __enter__(self) -> SecondRun:
        for (name, before, version), (_, now, new_version) in zip(
            self.read, _read_by(self.module), strict=True
        ):
            if before is not now or version != new_version:
                raise RuntimeError(
                    f"{name} in {type(self.module).__name__} was changed between the forward pass "
                    "and the backward pass, which runs the module again: change it after the "
                    "backward pass, put both passes into functional_call, or use the plain model"
                )
        return super().__enter__()


def _read_by(module: nn.Module) -> Iterable[tuple[str, object, int]]:
    """What the output depends on, besides the input: name, object, and how often it was written."""
    for path, part in module.named_modules():
        yield f"the mode of {path or 'the module'}", part.training, 0
        uses = isinstance(part, nn.modules.batchnorm._BatchNorm) and not part.training
        for name, tensor in (*part._parameters.items(), *(part._buffers.items() if uses else ())):
            if tensor is not None and name != "num_batches_tracked":
                version = 0 if tensor.is_inference() else tensor._version
                yield f"{path}.{name}".lstrip("."), tensor, version


def _norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def recompute(module: nn.Module, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`function(*inputs)`, a part of `module`, keeping only its inputs for the backward pass.

    The random state is restored for the second run, so dropout drops the same features. Parameters
    (by identity and by autograd's version counter), running statistics in evaluation mode, and
    modes must be at the backward pass what they were; otherwise that pass raises a `RuntimeError`.
    A tensor written through `.data` or by an optimizer with `fused=True` is not noticed, since
    autograd does not count these writes, nor is what `function` reads besides. Under
    `torch.compile` the compiler recomputes: it applies every update of a buffer once.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    if torch.compiler.is_compiling():
        return checkpoint(function, *inputs, use_reentrant=False)
    return checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), SecondRun(module)),
    )


class BottleneckInputRecomputed(DenseBlock):
    """Concatenation, BN and ReLU before each layer's first convolution run again (Pleiss et al.).

    Recomputation stops as soon as the convolution's input is there: the convolution itself, the
    expensive part, runs once.
    """

    computes_again = True

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in cast(Iterable[DenseLayer], self):
            if reason := bypassed(layer):
                warnings.warn(f"nothing is recomputed here: {reason}", stacklevel=2)
                features.append(layer(torch.cat(features, dim=1)))
                continue

            def bottleneck(*earlier: Tensor, layer: DenseLayer = layer) -> Tensor:
                return layer.bottleneck(torch.cat(earlier, dim=1))

            features.append(layer.rest(recompute(layer, bottleneck, *features)))
        return torch.cat(features, dim=1)


class LayersRecomputed(DenseBlock):
    """Each layer is run again as a whole, its concatenation included: `k` channels are kept."""

    computes_again = True

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self:

            def whole(*earlier: Tensor, layer: nn.Module = layer) -> Tensor:
                return layer(torch.cat(earlier, dim=1))

            features.append(recompute(layer, whole, *features))
        return torch.cat(features, dim=1)


class BlockRecomputed(DenseBlock):
    """A dense block that is run again as a whole: only its input is kept."""

    computes_again = True

    def forward(self, x: Tensor) -> Tensor:
        return recompute(self, super().forward, x)


class TransitionRecomputed(Transition):
    """A transition that is run again as a whole: only its input is kept."""

    computes_again = True

    def forward(self, x: Tensor) -> Tensor:
        return recompute(self, super().forward, x)


def recompute_bottleneck_input(model: nn.Module) -> nn.Module:
    """A copy whose dense blocks are `BottleneckInputRecomputed`."""
    model = with_trunks(model)
    retype(model, DenseBlock, BottleneckInputRecomputed)
    return model


def recompute_layer(model: nn.Module) -> nn.Module:
    """A copy whose dense blocks recompute layer by layer, and whose transitions recompute."""
    model = with_trunks(model)
    retype(model, DenseBlock, LayersRecomputed)
    retype(model, Transition, TransitionRecomputed, wraps=True, optional=True)
    return model


def recompute_block(model: nn.Module) -> nn.Module:
    """A copy whose dense blocks and transitions recompute as a whole."""
    model = with_trunks(model)
    retype(model, DenseBlock, BlockRecomputed, wraps=True)
    retype(model, Transition, TransitionRecomputed, wraps=True, optional=True)
    return model


STRATEGIES = (
    Strategy(
        apply=recompute_bottleneck_input,
        family="recompute",
        summary="Concatenation, BN and ReLU before each layer's first convolution are run again.",
        exactness="bitwise",
        source="arXiv:1707.06990",
        verdict="half the peak",
        costs="The cheap operations twice; each bottleneck's output is still kept.",
    ),
    Strategy(
        apply=recompute_layer,
        family="recompute",
        summary="Each layer is run again in the backward pass; only its k new channels are kept.",
        exactness="bitwise",
        source="arXiv:1604.06174",
        verdict="the simple choice",
        costs="Nearly a second forward pass.",
    ),
    Strategy(
        apply=recompute_block,
        family="recompute",
        summary="Each dense block is run again as a whole; only its input is kept.",
        exactness="bitwise",
        source="arXiv:1604.06174",
        verdict="keeps less, peaks higher",
        costs="Nearly a second forward pass, and one block's activations at once.",
    ),
)
