"""Read the layer before only, and concatenate once, at the end of a block (VoVNet).

Lee, Hwang, Lee, Bae, Park, *An energy and GPU-computation efficient backbone network for real-time
object detection*, arXiv:1904.09730, section 3.2. VoVNet's layers are single 3x3 convolutions of
other widths; here they stay DenseNet's, so that only the connections differ.
"""

from __future__ import annotations

from torch import nn

from densenet_solutions.memory.connections import connect
from densenet_solutions.memory.strategy import Strategy


def predecessor(layer: int) -> tuple[int, ...]:
    """The source one step back, which is the block's input for the first layer.

    Examples:
        >>> predecessor(1), predecessor(4)
        ((0,), (3,))
    """
    return (layer - 1,)


def one_shot_aggregation(model: nn.Module) -> nn.Module:
    """A copy whose layers read their predecessor; the end of a block still reads all of them.

    A layer keeps the weights of the channels that it still reads.

    Raises:
        TypeError: `model` is not an unchanged DenseNet.
    """
    return connect(model, predecessor)


STRATEGIES = (
    Strategy(
        apply=one_shot_aggregation,
        family="fewer connections",
        summary="Every layer reads the one before; a block concatenates once, at its end.",
        exactness="changes-function",
        source="arXiv:1904.09730",
        verdict="the fewest connections",
        costs="Another network: accuracy.",
    ),
)
