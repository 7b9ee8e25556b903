"""Cut and re-join the layers of a DenseNet: what pruning, groups and gates all need.

A DenseNet has dense blocks whose layers read a concatenation, and readers that normalise before
they convolve.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from densenet_solutions.memory.strategies import copy_of
from densenet_solutions.models.densenet import DenseBlock, DenseLayer, DenseNet, Transition

#: What reads features: module → names of its first normalisation and its first convolution.
_FIRST: dict[type[nn.Module], tuple[str, str]] = {
    DenseLayer: ("norm1", "conv1"),
    Transition: ("norm", "conv"),
}

_AS_BUILT = (DenseBlock, DenseLayer, nn.BatchNorm2d, nn.ReLU, nn.Conv2d)


def changed_copy(model: nn.Module) -> nn.Module:
    """A deep copy to operate on.

    Raises:
        TypeError: `model` is not a `DenseNet`, or its layers are no longer as they were built:
            after one operation, the next would not find what it looks for.
    """
    model = copy_of(model, DenseNet)
    for block in dense_blocks(model).values():
        for module in (block, *block, *(part for layer in block for part in layer.children())):
            if type(module) not in _AS_BUILT:
                raise TypeError(
                    "this strategy takes the network as it was built, "
                    f"got a dense block with a {type(module).__name__}"
                )
    return model


def check_share(name: str, value: float, *, zero: bool) -> None:
    """Refuse a share outside (0, 1], or outside [0, 1) where `zero` means "change nothing"."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number, got {value!r}")
    if not (0 <= value < 1 if zero else 0 < value <= 1):
        raise ValueError(f"{name} lies in {'[0, 1)' if zero else '(0, 1]'}, got {value!r}")


def dense_blocks(model: nn.Module) -> dict[str, nn.Sequential]:
    """The dense blocks in the order of the forward pass, by their names in `model.features`."""
    features = cast(nn.Sequential, model.features)
    return {
        name: cast(nn.Sequential, module)
        for name, module in features.named_children()
        if name.startswith("denseblock")
    }


def stages(model: nn.Module) -> Iterator[tuple[nn.Sequential, nn.Module]]:
    """Each dense block with what reads its output: a transition, or the last normalisation."""
    children = list(cast(nn.Sequential, model.features).named_children())
    for i, (name, module) in enumerate(children):
        if name.startswith("denseblock"):
            yield cast(nn.Sequential, module), children[i + 1][1]


def first_norm(reader: nn.Module) -> nn.BatchNorm2d:
    """The normalisation that a layer, a transition or the network's end begins with."""
    if isinstance(reader, nn.BatchNorm2d):
        return reader
    return cast(nn.BatchNorm2d, getattr(reader, _FIRST[type(reader)][0]))


def first_conv(reader: nn.Module) -> nn.Conv2d:
    """The convolution that sees the normalised features, with one input channel for each."""
    return cast(nn.Conv2d, getattr(reader, _FIRST[type(reader)][1]))


def last_conv(layer: nn.Module) -> nn.Conv2d:
    """The convolution whose outputs are the layer's `k` new features."""
    has_bottleneck = isinstance(layer, DenseLayer) and layer.has_bottleneck
    return cast(nn.Conv2d, layer.conv2) if has_bottleneck else first_conv(layer)


def set_first(reader: nn.Module, norm: nn.Module, conv: nn.Module) -> None:
    """Replace the normalisation and the convolution that a reader begins with."""
    for name, module in zip(_FIRST[type(reader)], (norm, conv), strict=True):
        setattr(reader, name, module)


def read_only(reader: nn.Module, channels: Tensor) -> None:
    """Let a layer, a transition or the last normalisation read only `channels` of its input."""
    if isinstance(reader, nn.BatchNorm2d):
        select_norm_(reader, channels)
        return
    norm, conv = first_norm(reader), first_conv(reader)
    select_norm_(norm, channels)
    select_conv_(conv, inputs=channels)


@torch.no_grad()
def select_norm_(norm: nn.BatchNorm2d, channels: Tensor) -> None:
    """Keep `channels` of a batch normalisation, in that order: weights and running statistics."""
    for name in ("weight", "bias"):
        setattr(norm, name, _like(getattr(norm, name), getattr(norm, name)[channels]))
    for name in ("running_mean", "running_var"):
        setattr(norm, name, getattr(norm, name)[channels].clone())
    norm.num_features = len(channels)


@torch.no_grad()
def select_conv_(
    conv: nn.Conv2d, *, outputs: Tensor | None = None, inputs: Tensor | None = None
) -> None:
    """Keep the rows `outputs` and the columns `inputs` of a convolution that has no groups."""
    weight = conv.weight
    if outputs is not None:
        weight = weight[outputs]
        if conv.bias is not None:
            conv.bias = _like(conv.bias, conv.bias[outputs])
    if inputs is not None:
        weight = weight[:, inputs]
    conv.weight = _like(conv.weight, weight)
    conv.out_channels, conv.in_channels = conv.weight.shape[:2]


@torch.no_grad()
def select_inputs_(linear: nn.Linear, channels: Tensor) -> None:
    """Keep the input columns `channels` of a linear layer."""
    linear.weight = _like(linear.weight, linear.weight[:, channels])
    linear.in_features = len(channels)


def conv_with(
    weight: Tensor, bias: Tensor | None, *, like: nn.Conv2d | None = None, groups: int = 1
) -> nn.Conv2d:
    """A convolution with these weights; stride and padding as in `like`, or 1 and 0."""
    out_channels, in_channels, *kernel = weight.shape
    conv = nn.Conv2d(
        in_channels * groups,
        out_channels,
        (kernel[0], kernel[1]),
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    if like is not None:
        conv.stride, conv.padding = like.stride, like.padding
        conv._reversed_padding_repeated_twice = like._reversed_padding_repeated_twice
    conv.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone())
    return conv


def _like(parameter: Tensor, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=parameter.requires_grad)
