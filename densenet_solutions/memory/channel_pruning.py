"""Channel pruning that removes channels: smaller convolutions, not zeros in large ones.

A feature of a dense block is read by every later layer, so removing one shortens the input of all
of them (after Liu et al., *Network slimming*, arXiv:1708.06519, who rank channels by the scale γ
of batch normalization; here the reader's weights count too).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.memory.layers import (
    block_widths,
    blocks_and_readers,
    bn_relu_conv,
    changed_copy,
    first_conv,
    first_norm,
    read_only,
    select_conv_,
    select_inputs_,
    select_norm_,
)
from densenet_solutions.memory.strategy import Strategy


def channel_pruning(model: nn.Module, share: float = 0.25) -> nn.Module:
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
    checks.share("share", share, one=False)
    model = changed_copy(model, in_other_order=True)
    for block, after in blocks_and_readers(model):
        layers = list(block)
        width_in, growth_rate = block_widths(block)
        device = first_norm(layers[0]).weight.device
        kept = [
            torch.arange(width_in, device=device)
        ]  # of the features x_0, x_1, …, by their old numbers
        readers = [*layers, *([] if isinstance(after, nn.BatchNorm2d) else [after])]
        use = [_use(reader) for reader in readers]
        for i, layer in enumerate(layers):
            start = width_in + i * growth_rate
            later = [weights[start : start + growth_rate] for weights in use[i + 1 :]]
            best = (
                _best(sum(later, torch.zeros(growth_rate, device=device)), share) if later else None
            )
            read_only(layer, torch.cat(kept))
            if best is None:  # the last layer of the last block: only the classifier reads it
                best = torch.arange(growth_rate, device=device)
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


@torch.no_grad()
def _write_only(layer: nn.Module, features: Tensor, share: float) -> None:
    (_, conv), *second = bn_relu_conv(layer)
    if second:
        norm2, conv2 = second[0]
        inner = _best(norm2.weight.abs() * conv2.weight.abs().mean(dim=(0, 2, 3)), share)
        select_conv_(conv, outputs=inner)
        select_norm_(norm2, inner)
        select_conv_(conv2, outputs=features, inputs=inner)
    else:
        select_conv_(conv, outputs=features)


STRATEGIES = (
    Strategy(
        apply=channel_pruning,
        family="smaller layers",
        summary="A quarter of all block features and bottleneck channels is removed for good.",
        exactness="changes-function",
        source="arXiv:1708.06519",
        verdict="saves everywhere",
        costs="Accuracy, until it is trained again.",
    ),
)
