"""Pool before the transition's convolution instead of after it."""

from __future__ import annotations

from torch import Tensor, nn

from densenet_solutions.memory.strategies import Strategy, copy_of, retype
from densenet_solutions.models import DenseNet
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
        ValueError: a transition does not average, and so does not commute.
    """
    model = copy_of(model, DenseNet)
    for module in model.modules():
        if isinstance(module, Transition) and not isinstance(
            getattr(module, "pool", None), nn.AvgPool2d
        ):
            raise ValueError(
                "only average pooling commutes with a 1x1 convolution, got a transition with "
                f"{getattr(module, 'pool', 'a strided convolution')}"
            )
    return retype(model, {Transition: PoolsFirst})


STRATEGIES = (
    Strategy(
        name="pool_first",
        summary="Transitions pool before their 1x1 convolution: a quarter of its work and input.",
        exactness="numerical",
        source="linearity of both operations",
        apply=pool_first,
    ),
)
