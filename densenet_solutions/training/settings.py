"""How a classifier is trained, and what its training came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from densenet_solutions import checks


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a classifier is trained. The defaults are the book's (section 8.7.4).

    `batch_size` counts the images of one step over all processes; an incomplete last batch is
    left out. Images are resized to `resolution` pixels in height and width. The schedule
    `"cosine"` takes the learning rate to zero over the whole training.

    Raises:
        ValueError, TypeError: a setting is impossible.
    """

    epochs: int = 10
    batch_size: int = 128
    resolution: int = 96
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = {
            "epochs": checks.integer("epochs", self.epochs),
            "batch_size": checks.integer("batch_size", self.batch_size),
            "resolution": checks.integer("resolution", self.resolution, at_most=2**14),
            "seed": checks.integer("seed", self.seed, at_least=0),
            "learning_rate": checks.number("learning_rate", self.learning_rate, above=0),
            "momentum": checks.share("momentum", self.momentum, one=False),
            "weight_decay": checks.number("weight_decay", self.weight_decay, at_least=0),
        }
        for name, value in numbers.items():  # NumPy's numbers become Python's, which JSON knows
            object.__setattr__(self, name, value)
        checks.choice("optimizer", self.optimizer, ("sgd", "adam"))
        checks.choice("schedule", self.schedule, ("constant", "cosine"))


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over the training images; losses are mean cross-entropies in nats.

    `train_loss` and `train_accuracy` are running means over the epoch, while the weights change
    (no accuracy with a `step` of one's own, which tells the loss alone); the test figures belong to
    its end. `seconds` is the time of the training pass alone.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to. `precision` is `"float32"` or `"bfloat16"` (autocast)."""

    model: str
    parameters: int
    settings: TrainingSettings
    train_images: int
    test_images: int
    device: str
    precision: str
    processes: int
    epochs: tuple[EpochMetrics, ...]

    @property
    def test_accuracy(self) -> float:
        """Share of the test images that the final weights classify correctly."""
        return cast(float, self.epochs[-1].test_accuracy)
