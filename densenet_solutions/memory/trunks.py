"""Find the DenseNets in a model: ours, torchvision's, timm's, and others of the same parts.

What is found runs as our modules from then on; every parameter and buffer keeps its name. A dense
block of another class is known by its layers: `norm1`, `relu1`, `conv1` and, with a bottleneck,
`norm2`, `relu2`, `conv2`, each reading the channels of all earlier ones. A ReLU may be in the
normalization, as timm has it. Whether the block computes what ours does is tried out on a small
random map.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.memory.strategy import refuse_compiled
from densenet_solutions.models.densenet import DenseBlock, DenseLayer, Transition

_FIRST = {"norm1": nn.BatchNorm2d, "relu1": nn.ReLU, "conv1": nn.Conv2d}
_SECOND = {"norm2": nn.BatchNorm2d, "relu2": nn.ReLU, "conv2": nn.Conv2d}
_TRANSITION = {"norm": nn.BatchNorm2d, "relu": nn.ReLU, "conv": nn.Conv2d}


class BatchNormReLU(nn.BatchNorm2d):
    """A normalization with its ReLU, in a trunk whose modules are counted by their places."""

    act: nn.ReLU

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def find_trunks(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that hold dense blocks directly, by path: `features` in torchvision's networks.

    A trunk that two branches share counts once. Empty where there is none.
    """
    checks.module("model", model)
    return {
        path: module
        for path, module in model.named_modules()
        if any(_is_block(child) for child in module.children())
    }


def with_trunks(model: nn.Module) -> nn.Module:
    """A deep copy whose trunks are made of `DenseBlock`, `DenseLayer` and `Transition`.

    The copy's `converted_trunks` has their paths; what is like a block beside them, and none, stays
    as it is, with a warning. Where torchvision's `memory_efficient=True` updates the statistics of
    each layer's first normalization twice a step, the copy does it once. timm's normalizations with
    a ReLU in them become both, one after the other, or a `BatchNormReLU`; modules of other classes
    stay as they are.

    Raises:
        TypeError: there is no trunk, or the model is compiled: the copy would not be.
    """
    if not isinstance(model, nn.Module):
        call = ": call it, and give what it returns" * callable(model)
        raise TypeError(f"this strategy takes a DenseNet, got {type(model).__name__}{call}")
    paths = tuple(find_trunks(model))
    if not paths:
        parts = len(list(model.modules())) - 1
        raise TypeError(
            f"this strategy takes a DenseNet, got {type(model).__name__}: none of the {parts} "
            "modules in it is a dense block as ours, torchvision's or timm's (layers with norm1, "
            "relu1, conv1, and norm2, relu2, conv2 if they have a bottleneck, which read all "
            "earlier features, in a forward pass as it was built)" + _strange_parts(model)
        )
    refuse_compiled(model)
    if left := _like_blocks(model, paths):
        warnings.warn(
            f"{', '.join(left)} of this {type(model).__name__} stays as it is: no dense block as "
            f"ours, torchvision's or timm's{_strange_parts(model.get_submodule(left[0]))}",
            stacklevel=3,
        )
    model = copy.deepcopy(model)
    for path in paths:
        for part in model.get_submodule(path).children():
            if _is_block(part):
                _adopt(part)
            elif type(part).forward is nn.Sequential.forward and _is_transition(part):
                _split_norms(part)
                part.__class__ = Transition
            elif relu := _relu_within(part):
                part.__class__, part._modules = BatchNormReLU, {"act": relu}
    vars(model)["converted_trunks"] = paths
    return model


def _like_blocks(model: nn.Module, paths: tuple[str, ...]) -> list[str]:
    """The parts of trunks that are of the class of a dense block beside them, and none."""
    left = []
    for path in paths:
        parts = dict(model.get_submodule(path).named_children())
        kinds = {type(part) for part in parts.values() if _is_block(part)}
        left += [
            f"{path}.{name}".removeprefix(".")
            for name, part in parts.items()
            if type(part) in kinds and not _is_block(part)
        ]
    return left


def _strange_parts(model: nn.Module) -> str:
    """What layers that look like dense layers have instead of BatchNorm2d, ReLU and Conv2d."""
    strange = {
        type(part).__name__: None
        for layer in model.modules()
        if hasattr(layer, "norm1") and hasattr(layer, "conv1")
        for part in layer.modules()
        if not list(part.children())
        and not isinstance(part, nn.BatchNorm2d | nn.ReLU | nn.Conv2d | nn.Identity | nn.Dropout)
    }
    return f"; of BatchNorm2d, ReLU and Conv2d, not {', '.join(strange)}" if strange else ""


def _is_block(module: nn.Module) -> bool:
    if isinstance(module, DenseBlock):
        return True
    forward = type(module).forward
    layers = list(module.children())
    if not layers or forward is nn.Sequential.forward or not _fit_together(layers):
        return False
    if any("forward" in part.__dict__ for part in (module, *layers)):
        return False
    published = "torchvision.models.densenet"
    return all(
        type(part).forward.__module__ == published for part in (module, *layers)
    ) or _computes_as_ours(module)


def _fit_together(layers: list[nn.Module]) -> bool:
    """Whether these are layers of the known parts, each reading what all before it have written."""
    if not all(_has(layer, _FIRST) or _has(layer, _FIRST | _SECOND) for layer in layers):
        return False
    written = [cast(nn.Conv2d, list(layer.children())[-1]).out_channels for layer in layers]
    read = [cast(nn.Conv2d, layer.conv1).in_channels for layer in layers]
    return all(b - a == width for (a, b), width in zip(pairwise(read), written, strict=False))


def _has(module: nn.Module, parts: dict[str, type[nn.Module]]) -> bool:
    """Whether `module` has exactly these parts, in this order."""
    children = _parts(module)
    return list(children) == list(parts) and all(
        isinstance(child, kind)
        for child, kind in zip(children.values(), parts.values(), strict=True)
    )


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    """The children; a normalization with a ReLU in it counts as `norm1` and `relu1`."""
    parts = {}
    for name, child in module.named_children():
        parts[name] = child
        if relu := _relu_within(child):
            parts[name.replace("norm", "relu")] = relu
    return parts


def _relu_within(norm: nn.Module) -> nn.ReLU | None:
    """The ReLU in a `BatchNormAct2d` of timm that drops nothing."""
    theirs = type(norm).forward.__module__ == "timm.layers.norm_act"
    if not (theirs and isinstance(norm, nn.BatchNorm2d)) or "forward" in vars(norm):
        return None
    children = dict(norm.named_children())
    act = children.pop("act", None)
    alone = all(type(child) is nn.Identity for child in children.values())
    return act if alone and type(act) is nn.ReLU else None


def _split_norms(module: nn.Module) -> None:
    """Let what has a ReLU in its normalization have it beside it."""
    module._modules = {**_parts(module)}
    for part in module.children():
        if _relu_within(part):
            part.__class__, part._modules = nn.BatchNorm2d, {}


def _is_transition(module: nn.Module) -> bool:
    children = _parts(module)
    pool = children.pop("pool", None)
    known = pool is None or isinstance(pool, nn.AvgPool2d | nn.MaxPool2d)
    return not isinstance(module, Transition) and known and _has_only(children)


def _has_only(children: dict[str, nn.Module]) -> bool:
    return list(children) == list(_TRANSITION) and all(
        isinstance(children[name], kind) for name, kind in _TRANSITION.items()
    )


def _computes_as_ours(block: nn.Module) -> bool:
    """Try both on a small map; on the meta device, where nothing can be tried, the parts decide."""
    weight = next(block.parameters())
    if weight.is_meta:
        return True
    channels = cast(nn.Conv2d, next(block.children()).conv1).in_channels
    theirs, ours = copy.deepcopy(block).train(), copy.deepcopy(block).train()
    _adopt(ours)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, 4, 4, generator=generator).to(weight)
    devices = [weight.device] if weight.is_cuda else []
    outputs: list[Tensor] = []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        for module in (theirs, ours):
            torch.manual_seed(0)
            try:
                outputs.append(module(x.clone()))
            except Exception:  # it takes something else: a list, two inputs
                return False
    first, second = outputs
    return (
        isinstance(first, Tensor)
        and first.shape == second.shape
        and torch.allclose(first, second, rtol=1e-3, atol=1e-5)
    )


def _adopt(block: nn.Module) -> None:
    """Let a block and its layers run as ours, if they do not yet."""
    if isinstance(block, DenseBlock):
        return
    block.__class__ = DenseBlock
    for layer in _layers(block):
        _split_norms(layer)
        layer.__class__ = DenseLayer
        layer.has_bottleneck = hasattr(layer, "conv2")
        layer.drop_rate = float(getattr(layer, "drop_rate", 0.0))


def _layers(block: nn.Module) -> Iterator[DenseLayer]:
    yield from cast("Iterator[DenseLayer]", block.children())
