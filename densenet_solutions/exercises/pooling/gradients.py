"""Exercise 1: the three poolings, and the way the gradient takes through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, max_pool2d

from densenet_solutions.models import DenseNet


@dataclass(frozen=True)
class GradientReach:
    """Where the loss of one training step reaches, around the first transition; shares in [0, 1].

    `pool_input`: entries between convolution and pool with a gradient (`None` for a strided
    convolution, which has no such place). `active_features`: those entries that the ReLU lets
    pass that get a gradient from the convolution. `block_output`: entries of the dense block's
    output, before batch normalisation. `evenness` is `(Σa)² / (n Σa²)` over the n positions of that
    output, where a is the sum of |g| over a position's channels; the mean over images. It is 1 when
    all positions get equally much, and 1/n when one gets all.
    """

    pooling: str
    pool_input: float | None
    active_features: float
    block_output: float
    evenness: float


#: name → 2x2 pooling of stride 2. `"stride"` keeps one position of four, as a strided 1x1
#: convolution does.
POOLINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "average": partial(avg_pool2d, kernel_size=2),
    "max": partial(max_pool2d, kernel_size=2),
    "stride": lambda x: x[..., ::2, ::2],
}


def gradient_reach(
    model: DenseNet, images: Tensor, labels: Tensor, *, pooling: str
) -> GradientReach:
    """Follow the gradient of one training step around the model's first transition.

    The step runs in float64, so that small gradients do not become zero by underflow; the model
    is left as it was, batch statistics aside.
    """
    places: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            inputs[0].retain_grad()
            places[name] = inputs[0]

        return hook

    model = model.double().train()
    transition = model.get_submodule("features.transition1")
    hooks = [
        module.register_forward_pre_hook(keep(name))
        for name, module in transition.named_children()
        if name in ("norm", "conv", "pool")
    ]
    try:
        cross_entropy(model(images.double()), labels).backward()
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad()
    gradients = {name: cast(Tensor, place.grad) for name, place in places.items()}
    active = gradients["conv"][places["conv"] > 0]
    pool_input = gradients.get("pool")
    return GradientReach(
        pooling=pooling,
        pool_input=None if pool_input is None else _reached(pool_input),
        active_features=_reached(active),
        block_output=_reached(gradients["norm"]),
        evenness=evenness(gradients["norm"]),
    )


def route_gradient(before: Tensor, gradient: Tensor, pooling: str) -> Tensor:
    """Gradient at the pool's input `(H, W)`, given the one at its output `(H/2, W/2)`."""
    x = before[None, None].clone().requires_grad_()
    POOLINGS[pooling](x).backward(gradient[None, None])
    return cast(Tensor, x.grad)[0, 0]


def _reached(gradient: Tensor) -> float:
    return float((gradient != 0).double().mean())


def evenness(gradient: Tensor) -> float:
    """How evenly the positions of an image get a gradient `(N, C, H, W)`; see `GradientReach`."""
    a = gradient.abs().sum(dim=1).flatten(1)
    return float((a.sum(dim=1) ** 2 / (a.shape[1] * (a * a).sum(dim=1))).mean())
