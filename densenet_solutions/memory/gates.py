"""Adaptive blocks: every layer has a gate for each earlier source, and closed gates are not read.

A gate multiplies the source's channels after normalization. Since ReLU(g·y) = g·ReLU(y) for g ≥ 0,
it may as well multiply the scale γ and the shift β: a gate costs no activation. A gate is open (1)
or closed (0), chosen once by weight. An open one has the straight-through gradient (Bengio et al.,
arXiv:1308.3432), but stays 1 whatever its logit learns; a closed one is not computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_solutions import checks
from densenet_solutions.memory.connections import reads_some
from densenet_solutions.memory.layers import (
    block_widths,
    changed_copy,
    dense_blocks,
    first_conv,
    first_norm,
    read_only,
    set_first,
)
from densenet_solutions.memory.strategy import Strategy
from densenet_solutions.models.connectivity import channels_of


class GatedNorm(nn.BatchNorm2d):
    """Batch normalization whose scale and shift are multiplied by one open gate a source."""

    source_of_channel: Tensor

    def __init__(self, norm: nn.BatchNorm2d, widths: list[int]) -> None:
        weight = norm.weight
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, device=weight.device, dtype=weight.dtype
        )
        self.load_state_dict(norm.state_dict())
        self.train(norm.training)
        self.gate_logits = nn.Parameter(weight.new_ones(len(widths)))
        sources = [source for source, width in enumerate(widths) for _ in range(width)]
        self.register_buffer("source_of_channel", torch.tensor(sources, device=weight.device))

    def forward(self, x: Tensor) -> Tensor:
        soft = self.gate_logits.sigmoid()
        gate = 1 + (soft - soft.detach())  # 1 forward; the gradient is the sigmoid's
        gate = gate[self.source_of_channel]  # (C,)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # a plain average over all batches
                momentum = 1 / float(self.num_batches_tracked)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight * gate, self.bias * gate,
            self.training, momentum or 0.0, self.eps,
        )  # fmt: skip


def gates(model: nn.Module, open_share: float = 0.5) -> nn.Module:
    """A copy whose layers read, of their earlier sources, the `open_share` they use most.

    Use is the paper's measure (figure 5): the mean absolute weight from a source to the layer. The
    layer just before is always read.

    Args:
        model: a trained `DenseNet`.
        open_share: share of gates that stay open, in (0, 1]; 1 gives the same function.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
        ValueError: `open_share` is outside (0, 1].
    """
    checks.share("open_share", open_share, zero=False)
    model = changed_copy(model)
    for block in dense_blocks(model).values():
        width_in, growth_rate = block_widths(block)
        reads = []
        for number, layer in enumerate(block, start=1):
            conv = first_conv(layer)
            sources = _most_used(conv, number, width_in, growth_rate, open_share)
            channels = channels_of(sources, width_in, growth_rate, conv.weight.device)
            read_only(layer, channels)
            widths = [growth_rate if source else width_in for source in sources]
            set_first(layer, GatedNorm(first_norm(layer), widths), first_conv(layer))
            reads.append(sources)
        reads_some(block, tuple(reads))
    return model


@torch.no_grad()
def _most_used(
    conv: nn.Conv2d, number: int, width_in: int, growth_rate: int, open_share: float
) -> tuple[int, ...]:
    """Sources of layer `number`: the last, and the most used of the others.

    Weights without values (on the meta device) count as all alike.
    """
    weight = torch.ones(conv.weight.shape, device="cpu") if conv.weight.is_meta else conv.weight
    use = weight.abs().mean(dim=(0, 2, 3))  # (C,)
    by_source = [
        use[channels_of((i,), width_in, growth_rate, use.device)].mean() for i in range(number - 1)
    ]
    others = round(open_share * number) - 1
    ranked = sorted(range(number - 1), key=lambda i: -float(by_source[i]))
    return (*sorted(ranked[: max(others, 0)]), number - 1)


STRATEGIES = (
    Strategy(
        apply=gates,
        family="fewer connections",
        summary="A gate for each layer and earlier source; half of them are closed and not read.",
        exactness="changes-function",
        source="arXiv:1308.3432 (the gradient of a gate)",
        verdict="connections chosen by weight",
        costs="Accuracy, until it is trained again; the choice is made once, by weight.",
    ),
)
