"""What the strategies that change the function do to accuracy, on Fashion-MNIST (exercise 3.2).

A reduced setting that a CPU manages: the book's DenseNet on 2,560 images of 32x32 for four
epochs. It tells a loss of some percent from none; it does not tell who wins after long training.

What is changed after three epochs goes on with a new optimizer, whose momentum starts at zero. It
is held against a plain network that does so too, everything else against one that does not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import nn

from densenet_solutions.images import ImageSet, load_fashion_mnist
from densenet_solutions.memory import STRATEGIES, Strategy
from densenet_solutions.models import book_densenet
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.training import TrainingSettings, build_optimizer, evaluate, run_epoch


@dataclass(frozen=True)
class StrategyAccuracy:
    """Test accuracy of one network under a memory strategy or plain, at one seed.

    `accuracy_at_change` is the accuracy right after a trained network was changed, before it was
    trained on; `None` where the strategy holds from the first step.
    """

    strategy: str
    seed: int
    accuracy: float
    accuracy_at_change: float | None = None


SEEDS = tuple(range(10))
TRAIN_IMAGES, TEST_IMAGES = 2560, 2000
SETTINGS = TrainingSettings(
    epochs=4, batch_size=64, resolution=32, learning_rate=0.05, momentum=0.9, schedule="cosine"
)

#: The plain network with a new optimizer before the last epoch.
RESTARTED = "plain_restarted"

#: Applied before the first step.
FROM_THE_START = (
    "plain",
    "bfloat16",
    "saved_in_8_bits",
    "gradient_accumulation",
    "random_connections",
    "logarithmic_connections",
    "harmonic_connections",
)
#: Applied before the last epoch, which trains them on.
BEFORE_THE_LAST_EPOCH = ("gates", "learned_groups", "channel_pruning", "low_rank", RESTARTED)
#: Applied when training is over.
AFTER_TRAINING = ("quantized_inference",)


def control(name: str) -> str:
    """The plain network that was trained as `name` was."""
    return RESTARTED if name in BEFORE_THE_LAST_EPOCH else "plain"


def recipe() -> Recipe:
    """The recording `strategies-accuracy`: every strategy at one seed, then the next seed."""
    names = (*FROM_THE_START, *BEFORE_THE_LAST_EPOCH, *AFTER_TRAINING)
    return Recipe(
        name="strategies-accuracy",
        cases={f"{name}, seed {seed}": (name, seed) for seed in SEEDS for name in names},
        measure=_measure_case,
        seed=SEEDS[0],
        uses=lambda case: _strategy(case[0]).functions,
    )


def _measure_case(case: tuple[str, int], device: str) -> StrategyAccuracy:
    return measure(*case, device=device)


def measure(name: str, seed: int, *, device: str = "cpu") -> StrategyAccuracy:
    """Train the book's DenseNet with the strategy `name` and test it, all seeded with `seed`."""
    strategy = _strategy(name)
    at_change = None
    if name in FROM_THE_START:
        model = strategy.apply(_fresh(seed, device))
        _run(model, strategy, seed, range(SETTINGS.epochs), device)
    elif name in AFTER_TRAINING:
        model = strategy.apply(_trained(seed, SETTINGS.epochs, device))
    else:
        model = strategy.apply(_trained(seed, SETTINGS.epochs - 1, device))
        at_change = _accuracy(model)
        _run(model, strategy, seed, range(SETTINGS.epochs - 1, SETTINGS.epochs), device)
    return StrategyAccuracy(name, seed, _accuracy(model), at_change)


def _strategy(name: str) -> Strategy:
    return STRATEGIES["plain" if name == RESTARTED else name]


@functools.lru_cache(maxsize=1)
def _images() -> tuple[ImageSet, ImageSet]:
    return (
        load_fashion_mnist("train", limit=TRAIN_IMAGES),
        load_fashion_mnist("test", limit=TEST_IMAGES),
    )


def _fresh(seed: int, device: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return book_densenet().to(device)


@functools.lru_cache(maxsize=2)
def _trained(seed: int, epochs: int, device: str) -> nn.Module:
    """The plain network after `epochs` epochs; a strategy copies it and leaves it be."""
    model = _fresh(seed, device)
    _run(model, STRATEGIES["plain"], seed, range(epochs), device)
    return model


def _run(model: nn.Module, strategy: Strategy, seed: int, epochs: range, device: str) -> None:
    """Train for `epochs` of those of `SETTINGS`; the rate follows one cosine over all of them."""
    optimizer = build_optimizer(model, SETTINGS)
    images = _images()[0].to(device)
    for epoch in epochs:
        generator = torch.Generator().manual_seed(1000 * seed + epoch)
        batches = torch.randperm(len(images), generator=generator).split(SETTINGS.batch_size)
        run_epoch(model, optimizer, images, batches, SETTINGS, epoch + 1, step=strategy.step)


def _accuracy(model: nn.Module) -> float:
    return evaluate(model, _images()[1], resolution=SETTINGS.resolution)[1]
