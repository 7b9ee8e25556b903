"""Pool before the transition's convolution instead of after it."""

from __future__ import annotations

from torch import Tensor, nn

from densenet_solutions.memory.strategy import Strategy, retype
from densenet_solutions.memory.trunks import with_trunks
from densenet_solutions.models.densenet import Transition


class PoolsFirst(Transition):
    """BN-ReLU-pool-Conv(1x1): `(N, C, H, W)` → `(N, C', H/2, W/2)`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pool(self.relu(self.norm(x))))


def pool_first(model: nn.Module) -> nn.Module:
    """A copy whose transitions pool before they convolve.

    A 1x1 convolution mixes channels, average pooling mixes positions, and both are linear: they
    commute exactly. A quarter of the convolution's work and of its kept input is left.

    Raises:
        ValueError: a transition does not average, and so does not commute; or there is none.
    """
    model = with_trunks(model)
    for module in model.modules():
        pool = getattr(module, "pool", "a strided convolution")
        if isinstance(module, Transition) and not isinstance(pool, nn.AvgPool2d):
            raise ValueError(
                "only average pooling commutes with a 1x1 convolution, "
                f"got a transition with {pool}"
            )
    retype(model, Transition, PoolsFirst)
    return model


STRATEGIES = (
    Strategy(
        apply=pool_first,
        family="reorder or move",
        summary="Transitions pool before their 1x1 convolution: a quarter of its work and input.",
        exactness="numerical",
        source="linearity of both operations",
        verdict="take it: less work, same function",
    ),
)
