"""Train many small networks at once: every fold and every seed is one member of a stack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from densenet_solutions import checks

#: Called after an epoch with its number and a function that predicts with the weights so far.
OnEpoch = Callable[[int, Callable[[], list[np.ndarray]]], None]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a member is trained; the loss is the mean squared error of the standardised target.

    The learning rate rises linearly over the first `warmup` of all steps and falls to zero along
    half a cosine (Loshchilov and Hutter, arXiv:1608.03983). `ema_decay` is the decay per step of an
    exponential moving average of the weights, which then predicts; 0 turns it off.

    Raises:
        TypeError, ValueError: an option is impossible; the message states the rule and the value.
    """

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        checks.integer("epochs", self.epochs)
        checks.integer("batch_size", self.batch_size)
        checks.number("learning_rate", self.learning_rate, above=0)
        checks.number("weight_decay", self.weight_decay, at_least=0)
        checks.share("warmup", self.warmup, one=False)
        checks.share("ema_decay", self.ema_decay, one=False)


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
    tasks: Sequence[Task],
    seeds: Sequence[int],
    training: TrainingOptions,
    *,
    on_epoch: OnEpoch | None = None,
) -> list[np.ndarray]:
    """Train `len(tasks) · len(seeds)` networks together and predict each task's new rows.

    All members are one set of stacked weights `(members, ...)`, so that one batched matrix product
    does the work of all. Members do not touch each other: each has its own start, its own order of
    rows, its own dropout and its own optimizer state. A seed decides a member's start; order and
    dropout are drawn for all members together, so they depend on all seeds and tasks.

    Args:
        make_model: `in_features` → network that maps `(rows, in_features)` to `(rows,)`. Narrower
            tasks are padded with columns of zeros, so all members have one shape.
        seeds: members per task.
        on_epoch: called after each epoch with its number and a function that predicts as below.

    Returns:
        For each task the predictions `(seeds, new rows)`, in the units of `y`.

    Raises:
        TypeError, ValueError: there is no task or no seed, a seed comes twice, or the network does
            not give one number a row.
    """
    seeds = distinct(seeds)
    if not tasks:
        raise ValueError("tasks has at least one task, got none")
    data = _Standardised(tasks)
    with torch.random.fork_rng(devices=[]):
        stack = _Stack(make_model, data.width, seeds, len(tasks))

        def predict() -> list[np.ndarray]:
            return _predict(stack, data, tasks)

        for epoch in _fit(stack, data, seeds, training):
            if on_epoch is not None:
                on_epoch(epoch, predict)
        return predict()


def distinct(seeds: Sequence[int]) -> tuple[int, ...]:
    """Checked seeds: whole numbers from 0, at least one, none twice."""
    checked = checks.integers("seeds", seeds, at_least=0)
    if len(set(checked)) < len(checked):
        raise ValueError(f"every seed comes once, got {checked}")
    return checked


class _Standardised:
    """All tasks side by side: `x` (tasks, rows, features) and standardised `y` (tasks, rows)."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.width = max(task.x.shape[1] for task in tasks)
        self.rows = [len(task.x) for task in tasks]
        self.means = [float(task.y.mean()) for task in tasks]
        self.scales = [float(task.y.std()) or 1.0 for task in tasks]  # equal targets have none
        self.x = torch.stack([_pad(task.x, max(self.rows), self.width) for task in tasks])
        self.y = torch.stack(
            [
                _pad((task.y - mean)[:, None] / scale, max(self.rows), 1)[:, 0]
                for task, mean, scale in zip(tasks, self.means, self.scales, strict=True)
            ]
        )


class _Stack:
    """Networks of one shape that run as one. Member `t · seeds + i` has seed `i` of task `t`.

    `averages` are the weights that predict: the weights themselves, or their moving average.
    """

    def __init__(
        self, make_model: Callable[[int], nn.Module], width: int, seeds: Sequence[int], tasks: int
    ) -> None:
        models = []
        for seed in seeds:
            torch.manual_seed(seed)
            models.append(checks.module("what make_model returns", make_model(width)))
        self.skeleton = models[0]
        self.parameters, self.buffers = stack_module_state(models * tasks)
        self.averages = self.parameters
        self.task_of = torch.arange(tasks).repeat_interleave(len(seeds))  # (members,)
        self._run = torch.vmap(self._member, randomness="different")

    def _member(self, parameters: dict, buffers: dict, x: Tensor) -> Tensor:
        return functional_call(self.skeleton, (parameters, buffers), (x,))

    def __call__(self, x: Tensor) -> Tensor:
        """`(members, rows, features)` → `(members, rows)`."""
        return self._run(self.parameters, self.buffers, x)

    def predict(self, members: Tensor, x: Tensor) -> Tensor:
        """`(rows, features)` → `(len(members), rows)`, by some of the members."""
        self.skeleton.eval()
        with torch.no_grad():
            out = self._run(
                {name: p[members] for name, p in self.averages.items()},
                {name: b[members] for name, b in self.buffers.items()},
                x.expand(len(members), *x.shape),
            )
        self.skeleton.train()
        return out


def _fit(
    stack: _Stack, data: _Standardised, seeds: Sequence[int], training: TrainingOptions
) -> Iterator[int]:
    """Train all members and yield the number of each epoch at its end."""
    batch = min(training.batch_size, *data.rows)
    steps = min(data.rows) // batch
    optimizer, schedule = _optimizer(stack.parameters, training, training.epochs * steps)
    if training.ema_decay:
        stack.averages = {name: p.detach().clone() for name, p in stack.parameters.items()}
    torch.manual_seed(seeds[0])
    generator = np.random.default_rng(list(seeds))
    stack.skeleton.train()
    of_task = stack.task_of[:, None]
    for epoch in range(training.epochs):
        order = np.stack(
            [generator.permutation(data.rows[t])[: steps * batch] for t in stack.task_of.tolist()]
        )
        for index in torch.from_numpy(order).split(batch, dim=1):  # (members, batch)
            predicted, y = stack(data.x[of_task, index]), data.y[of_task, index]
            if predicted.shape != y.shape:
                raise ValueError(
                    "a network maps (rows, in_features) to (rows,), "
                    f"got {tuple(predicted.shape[1:])} for {batch} rows"
                )
            # A sum over members keeps their gradients apart.
            loss = (predicted - y).square().mean(dim=1).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if training.ema_decay:
                with torch.no_grad():
                    torch._foreach_lerp_(
                        list(stack.averages.values()),
                        list(stack.parameters.values()),
                        1 - training.ema_decay,
                    )
        yield epoch + 1


def _optimizer(
    parameters: dict[str, Tensor], training: TrainingOptions, total: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW that decays matrices, not biases and norms, with warm-up and a cosine over `total`."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters.values() if p.ndim > 2]},  # (members, out, in)
        {"params": [p for p in parameters.values() if p.ndim <= 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        fused=True,
    )
    warm = max(1, round(training.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / total))
    )
    return optimizer, schedule


def _predict(stack: _Stack, data: _Standardised, tasks: Sequence[Task]) -> list[np.ndarray]:
    predictions = []
    for t, task in enumerate(tasks):
        members = (stack.task_of == t).nonzero()[:, 0]
        out = stack.predict(members, _pad(task.x_new, len(task.x_new), data.width))
        predictions.append(out.double().numpy() * data.scales[t] + data.means[t])
    return predictions


def _pad(array: np.ndarray, rows: int, width: int) -> Tensor:
    padded = torch.zeros(rows, width)
    padded[: array.shape[0], : array.shape[1]] = torch.from_numpy(np.asarray(array, np.float32))
    return padded
