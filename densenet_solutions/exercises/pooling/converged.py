"""Six ways to halve the resolution, trained until the learning rate is zero (exercise 1).

The protocol, fixed before any of it was run:

- The book's DenseNet on Fashion-MNIST, enlarged to 64x64 pixels, so that its last block sees 2x2
  pixels and no weight is without a gradient; all else is the same for all variants: order of the
  images, initial weights, budget, cosine schedule to zero. The book's ResNet-18 is trained alike.
- The learning rate is chosen for each variant by accuracy on the last 10,000 training images, after
  half as many epochs on the first 50,000 with another seed (`pooling-learning-rates`).
- With it, five other seeds are trained on all 60,000 images, and the test images are read once
  (`pooling-converged`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from densenet_solutions.files import cache_directory
from densenet_solutions.images import load_fashion_mnist
from densenet_solutions.models import book_densenet, book_resnet18
from densenet_solutions.models.config import Pooling
from densenet_solutions.models.densenet import Transition
from densenet_solutions.records import load_record
from densenet_solutions.records.closure import fingerprint, root
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.training import TrainingResult, TrainingSettings, train

Variant = Literal[
    "average", "maximum", "stride", "maximum before the convolution",
    "average after a ReLU", "blur", "ResNet-18",
]  # fmt: skip
VARIANTS: tuple[Variant, ...] = get_args(Variant)

SETTINGS = TrainingSettings(
    epochs=10, batch_size=512, resolution=64, momentum=0.9, weight_decay=5e-4, schedule="cosine"
)
LEARNING_RATES = (0.03, 0.1, 0.3)
SEEDS = range(5)
#: Of the training that chooses a learning rate.
CHOOSING_SEED, CHOOSING_EPOCHS = 100, 5
HELD_OUT = 10_000

_POOLING: Mapping[Variant, Pooling] = {"maximum": "max", "stride": "stride"}


class Blur(nn.Module):
    """Weights 1 2 1 in both directions, then every second pixel: `(N, C, H, W)` → `H/2, W/2`.

    An anti-aliasing filter of size 3 (Zhang, arXiv:1904.11486): twice the average of two pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 2, stride=1)
        return F.avg_pool2d(x, 2)


def build(variant: Variant) -> nn.Module:
    """The network with transitions of this kind, initialized."""
    if variant == "ResNet-18":
        return book_resnet18()
    model = book_densenet(pooling=_POOLING.get(variant, "average"))
    for transition in [part for part in model.modules() if isinstance(part, Transition)]:
        if variant == "maximum before the convolution":
            transition.add_module("conv", nn.Sequential(nn.MaxPool2d(2), transition.conv))
            transition.add_module("pool", nn.Identity())
        elif variant == "average after a ReLU":
            transition.add_module("pool", nn.Sequential(nn.ReLU(), nn.AvgPool2d(2)))
        elif variant == "blur":
            transition.add_module("pool", Blur())
    return model


@dataclass(frozen=True)
class ConvergedCase:
    """One training; `choosing` keeps the last training images apart and never sees the test's."""

    variant: Variant
    settings: TrainingSettings
    choosing: bool


def run_case(case: ConvergedCase, device: str) -> TrainingResult:
    """Train as `case` says, or take up its checkpoint; the metrics of all epochs."""
    images = load_fashion_mnist("train")
    if case.choosing:
        train_set, test_set = images[:-HELD_OUT], images[-HELD_OUT:]
    else:
        train_set, test_set = images, load_fashion_mnist("test")
    settings, code = case.settings, fingerprint([root(run_case)])[:12]
    name = f"{VARIANTS.index(case.variant)}-{settings.learning_rate:g}-{settings.seed}.pt"
    _, result = train(
        partial(build, case.variant),
        train_set,
        test_set,
        settings,
        device=device,
        checkpoint=cache_directory() / "training" / code / device / name,
        test_every_epoch=False,
    )
    return result


def learning_rates_recipe() -> Recipe:
    """`pooling-learning-rates`: every variant at every learning rate, judged on held-out images."""
    cases = {}
    for variant in VARIANTS:
        for rate in LEARNING_RATES:
            settings = replace(
                SETTINGS, learning_rate=rate, seed=CHOOSING_SEED, epochs=CHOOSING_EPOCHS
            )
            cases[f"{variant} {rate:g}"] = ConvergedCase(variant, settings, choosing=True)
    return Recipe(name="pooling-learning-rates", cases=cases, measure=run_case)


def converged_recipe() -> Recipe:
    """`pooling-converged`: every variant at its learning rate, five seeds.

    Raises:
        FileNotFoundError: `pooling-learning-rates` has not been recorded.
    """
    chosen = chosen_rates()
    cases = {}
    for seed in SEEDS:
        for variant in VARIANTS:
            settings = replace(SETTINGS, learning_rate=chosen[variant], seed=seed)
            cases[f"{variant} {seed}"] = ConvergedCase(variant, settings, choosing=False)
    return Recipe(name="pooling-converged", cases=cases, measure=run_case)


def chosen_rates() -> Mapping[Variant, float]:
    """Variant → the learning rate with the highest accuracy on the held-out images."""
    record = load_record("pooling-learning-rates")
    accuracy = {
        variant: {
            rate: record.cases[f"{variant} {rate:g}"]["epochs"][-1]["test_accuracy"]
            for rate in LEARNING_RATES
            if f"{variant} {rate:g}" in record.cases  # or the training diverged
        }
        for variant in VARIANTS
    }
    return {variant: max(rates, key=rates.__getitem__) for variant, rates in accuracy.items()}
