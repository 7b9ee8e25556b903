"""Train a small network on one fold and predict the rows it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from densenet_solutions import checks


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a network is trained; the loss is the mean squared error of the standardised target.

    The learning rate rises linearly over the first `warmup` of all steps and falls to zero along
    half a cosine (Loshchilov and Hutter, arXiv:1608.03983).

    Raises:
        TypeError, ValueError: an option is impossible; the message states the rule and the value.
    """

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1

    def __post_init__(self) -> None:
        checks.integer("epochs", self.epochs)
        checks.integer("batch_size", self.batch_size)
        checks.number("learning_rate", self.learning_rate, above=0)
        checks.number("weight_decay", self.weight_decay, at_least=0)
        checks.share("warmup", self.warmup, one=False)


@dataclass(frozen=True)
class Task:
    """One fold: training rows `x` (rows, features) and targets `y` (rows,), and rows to predict.

    Raises:
        ValueError: the shapes do not fit, there is no row, or a value is not finite.
    """

    x: np.ndarray
    y: np.ndarray
    x_new: np.ndarray

    def __post_init__(self) -> None:
        x, y, new = (np.shape(a) for a in (self.x, self.y, self.x_new))
        if not (len(x) == len(new) == 2 and y == x[:1] and new[1] == x[1] and 0 not in x):
            raise ValueError(
                "a task has x of shape (rows, features), y (rows,) and x_new (new rows, features), "
                f"got {x}, {y} and {new}"
            )
        for name in ("x", "y", "x_new"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} of a task is finite, got NaN or infinity")


def fit_predict(
    make_model: Callable[[int], nn.Module],
    task: Task,
    seed: int,
    training: TrainingOptions,
    *,
    on_epoch: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Train one network and predict: `(new rows,)`, in the units of `y`.

    Start, order of the rows and dropout are drawn from `seed`; the caller's random state is left
    alone.

    Args:
        make_model: `in_features` → network that maps `(rows, in_features)` to `(rows,)`.
        on_epoch: called after each epoch.

    Raises:
        TypeError, ValueError: the network does not give one number a row.
    """
    mean, scale = float(task.y.mean()), float(task.y.std()) or 1.0  # equal targets have none
    x, x_new = _tensor(task.x), _tensor(task.x_new)
    y = _tensor((task.y - mean) / scale)
    batch = min(training.batch_size, len(x))
    steps = len(x) // batch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checks.integer("seed", seed, at_least=0))
        model = checks.module("what make_model returns", make_model(x.shape[1])).train()
        optimizer, schedule = _optimizer(model, training, training.epochs * steps)
        for _ in range(training.epochs):
            for rows in torch.randperm(len(x))[: steps * batch].split(batch):
                predicted = model(x[rows])
                if predicted.shape != rows.shape:
                    raise ValueError(
                        "a network maps (rows, in_features) to (rows,), "
                        f"got {tuple(predicted.shape)} for {batch} rows"
                    )
                optimizer.zero_grad()
                (predicted - y[rows]).square().mean().backward()
                optimizer.step()
                schedule.step()
            on_epoch()
        with torch.no_grad():
            return model.eval()(x_new).double().numpy() * scale + mean


def distinct(seeds: Sequence[int]) -> tuple[int, ...]:
    """Checked seeds: whole numbers from 0, at least one, none twice."""
    checked = checks.integers("seeds", seeds, at_least=0)
    if len(set(checked)) < len(checked):
        raise ValueError(f"every seed comes once, got {checked}")
    return checked


def _optimizer(
    model: nn.Module, training: TrainingOptions, total: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW that decays matrices, not biases and norms, with warm-up and a cosine over `total`."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [  # type: ignore[arg-type]
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        fused=True,
    )
    warm = max(1, round(training.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / total))
    )
    return optimizer, schedule


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))
