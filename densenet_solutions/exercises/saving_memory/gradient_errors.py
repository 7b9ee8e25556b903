"""Recipe `gradient-errors`: how far gradients in float32 lie from the truth and from each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from densenet_solutions.memory import STRATEGIES, training_step
from densenet_solutions.models import DenseNet, densenet121
from densenet_solutions.records.recorder import Recipe

#: The plain network, two exact ways that round in another order, and one that rounds on purpose.
COMPARED = ("plain", "shared_storage", "pool_first", "saved_in_8_bits")
SEEDS = 10
INPUT_SHAPE = (8, 3, 96, 96)


@dataclass(frozen=True)
class GradientErrors:
    """`‖g − r‖ / ‖r‖` over all parameters, for each strategy's gradient g in float32.

    r is the plain network's gradient: in float64 for `from_truth`, in float32 for `from_plain`.
    """

    from_truth: Mapping[str, float]
    from_plain: Mapping[str, float]


def gradient_errors(
    names: Sequence[str], model_fn: Callable[[], DenseNet], images: Tensor, labels: Tensor
) -> GradientErrors:
    """Compare the strategies `names` on one batch; `model_fn` builds the same network each time."""

    def gradient(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        strategy = STRATEGIES[name]
        model = strategy.apply(model_fn().to(dtype)).train()
        (strategy.step or training_step)(model, images.to(dtype), labels)
        return torch.cat(
            [p.grad.double().flatten() for p in model.parameters() if p.grad is not None]
        )

    found = {name: gradient(name) for name in ("plain", *names)}

    def errors(reference: Tensor) -> dict[str, float]:
        return {name: float((found[name] - reference).norm() / reference.norm()) for name in names}

    return GradientErrors(errors(gradient("plain", torch.float64)), errors(found["plain"]))


def measure(seed: int, device: str) -> GradientErrors:
    """DenseNet-121 untrained, and a batch of noise, both drawn with `seed`."""

    def model_fn() -> DenseNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return densenet121().to(device)

    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(*INPUT_SHAPE, generator=generator)
    labels = torch.randint(1000, INPUT_SHAPE[:1], generator=generator)
    return gradient_errors(COMPARED, model_fn, images.to(device), labels.to(device))


def recipe() -> Recipe:
    """Ten draws of weights and images."""
    return Recipe(
        name="gradient-errors",
        cases={f"seed {seed}": seed for seed in range(SEEDS)},
        measure=measure,
        seed=0,
        uses=lambda _: [f for name in COMPARED for f in STRATEGIES[name].functions],
    )
