"""Channel pruning that removes channels: smaller convolutions, not zeros in large ones.

A feature of a dense block is read by every later layer, so removing one shortens the input of all
of them (after Liu et al., *Network slimming*, arXiv:1708.06519, who rank channels by the scale γ
of batch normalisation; here the reader's weights count too).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from densenet_solutions.memory.layers import (
    changed_copy,
    check_share,
    first_conv,
    first_norm,
    last_conv,
    read_only,
    select_conv_,
    select_inputs_,
    select_norm_,
    stages,
)
from densenet_solutions.memory.strategies import Strategy
from densenet_solutions.models.densenet import DenseLayer


def prune(model: nn.Module, share: float = 0.25) -> nn.Module:
    """A copy without the `share` of channels that its readers use least.

    Removed are features of the dense blocks, from every layer alike, and bottleneck channels. The
    classifier's input is cut accordingly; stem and transitions keep their outputs.

    Args:
        model: a trained `DenseNet`.
        share: share of each layer's channels to remove, in [0, 1); 0 changes nothing.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
        ValueError: `share` is outside [0, 1).
    """
    check_share("share", share, zero=True)
    model = changed_copy(model)
    for block, after in stages(model):
        layers = list(block)
        width_in, growth_rate = (
            first_norm(layers[0]).num_features,
            last_conv(layers[0]).out_channels,
        )
        kept = [torch.arange(width_in)]  # of the features x_0, x_1, …, by their old numbers
        readers = [*layers, *([] if isinstance(after, nn.BatchNorm2d) else [after])]
        use = [_use(reader) for reader in readers]
        for i, layer in enumerate(layers):
            start = width_in + i * growth_rate
            later = [weights[start : start + growth_rate] for weights in use[i + 1 :]]
            best = _best(sum(later, torch.zeros(growth_rate)), share) if later else None
            read_only(layer, torch.cat(kept))
            if best is None:  # the last layer of the last block: only the classifier reads it
                best = torch.arange(growth_rate)
            _write_only(layer, best, share)
            kept.append(start + best)
        read_only(after, torch.cat(kept))
    select_inputs_(cast(nn.Linear, model.classifier), torch.cat(kept))
    return model


@torch.no_grad()
def _use(reader: nn.Module) -> Tensor:
    """How much a reader makes of each channel: |γ| times the mean |weight| that it meets."""
    return first_norm(reader).weight.abs() * first_conv(reader).weight.abs().mean(dim=(0, 2, 3))


def _best(use: Tensor, share: float) -> Tensor:
    """The most used channels, all but `share` of them and at least one, in ascending order."""
    number = max(1, len(use) - int(share * len(use)))
    return use.topk(number).indices.sort().values


def _write_only(layer: nn.Module, features: Tensor, share: float) -> None:
    if isinstance(layer, DenseLayer) and layer.has_bottleneck:
        norm, conv = cast(nn.BatchNorm2d, layer.norm2), cast(nn.Conv2d, layer.conv2)
        inner = _best(
            norm.weight.detach().abs() * conv.weight.detach().abs().mean(dim=(0, 2, 3)), share
        )
        select_conv_(layer.conv1, outputs=inner)
        select_norm_(norm, inner)
        select_conv_(conv, outputs=features, inputs=inner)
    else:
        select_conv_(last_conv(layer), outputs=features)


STRATEGIES = (
    Strategy(
        name="channel_pruning",
        summary="A quarter of all block features and bottleneck channels is removed for good.",
        exactness="changes-function",
        source="arXiv:1708.06519",
        apply=prune,
        costs="Accuracy, until it is trained again.",
    ),
)
