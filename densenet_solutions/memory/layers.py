"""Find, cut and re-join the layers of a DenseNet: the only file that knows their names.

A DenseNet has dense blocks whose layers read a concatenation, and readers that normalize before
they convolve.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from densenet_solutions.memory.strategy import copy_of, runs_as
from densenet_solutions.models.densenet import DenseBlock, DenseLayer, Transition

#: Normalization and convolution of BN-ReLU-Conv, of which layers and transitions are made.
Stage = tuple[nn.BatchNorm2d, nn.Conv2d]


def changed_copy(model: nn.Module, *, in_other_order: bool = False) -> nn.Module:
    """A deep copy to operate on; `in_other_order` allows a block that runs the same parts its way.

    Raises:
        TypeError: `model` is not a `DenseNet`, or its layers are no longer as they were built:
            after one operation, the next would not find what it looks for.
    """
    model = copy_of(model)
    for block in dense_blocks(model).values():
        for module in (block, *block, *(part for layer in block for part in layer.children())):
            as_built = type(module) in (nn.BatchNorm2d, nn.ReLU, nn.Conv2d)
            reordered = hasattr(type(module).forward, "as_built") and not in_other_order
            if reordered or not (
                as_built or runs_as(module, DenseBlock) or runs_as(module, DenseLayer)
            ):
                raise TypeError(
                    "this strategy takes the network as it was built, "
                    f"got a dense block with a {type(module).__name__}: apply one strategy, once"
                )
    return model


def dense_blocks(model: nn.Module) -> dict[str, nn.Sequential]:
    """The dense blocks in the order of the forward pass, by their names in `model.features`."""
    features = cast(nn.Sequential, model.features)
    return {
        name: cast(nn.Sequential, module)
        for name, module in features.named_children()
        if name.startswith("denseblock")
    }


def blocks_and_readers(model: nn.Module) -> Iterator[tuple[nn.Sequential, nn.Module]]:
    """Each dense block with what reads its output: a transition, or the last normalization."""
    children = list(cast(nn.Sequential, model.features).named_children())
    for i, (name, module) in enumerate(children):
        if name.startswith("denseblock"):
            yield cast(nn.Sequential, module), children[i + 1][1]


def block_widths(block: nn.Sequential) -> tuple[int, int]:
    """Channels that enter a block, and channels that each of its layers adds."""
    return first_norm(block[0]).num_features, bn_relu_conv(block[0])[-1][1].out_channels


def bn_relu_conv(module: nn.Module) -> tuple[Stage, ...]:
    """The stages BN-ReLU-Conv of a dense layer (two with a bottleneck) or of a transition (one).

    Raises:
        TypeError: `module` is neither.
    """
    names = _STAGES.get(next((kind for kind in _STAGES if isinstance(module, kind)), type(None)))
    if names is None:
        raise TypeError(f"a dense layer or a transition is needed, got {type(module).__name__}")
    return tuple(
        (getattr(module, norm), getattr(module, conv))
        for norm, conv in names
        if hasattr(module, norm)
    )


#: Names of the parts of what reads features, in the order in which they run.
_STAGES: dict[type, tuple[tuple[str, str], ...]] = {
    DenseLayer: (("norm1", "conv1"), ("norm2", "conv2")),
    Transition: (("norm", "conv"),),
}


def first_norm(reader: nn.Module) -> nn.BatchNorm2d:
    """The normalization that a layer, a transition or the network's end begins with."""
    return reader if isinstance(reader, nn.BatchNorm2d) else bn_relu_conv(reader)[0][0]


def first_conv(reader: nn.Module) -> nn.Conv2d:
    """The convolution that sees the normalized features, with one input channel for each."""
    return bn_relu_conv(reader)[0][1]


def set_first(layer: nn.Module, norm: nn.Module, conv: nn.Module) -> None:
    """Replace the normalization and the convolution that a layer begins with."""
    for name, module in zip(_STAGES[DenseLayer][0], (norm, conv), strict=True):
        setattr(layer, name, module)


def read_only(reader: nn.Module, channels: Tensor) -> None:
    """Let a layer, a transition or the last normalization read only `channels` of its input."""
    if isinstance(reader, nn.BatchNorm2d):
        select_norm_(reader, channels)
        return
    norm, conv = first_norm(reader), first_conv(reader)
    select_norm_(norm, channels)
    select_conv_(conv, inputs=channels)


@torch.no_grad()
def select_norm_(norm: nn.BatchNorm2d, channels: Tensor) -> None:
    """Keep `channels` of a batch normalization, in that order: weights and running statistics."""
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
