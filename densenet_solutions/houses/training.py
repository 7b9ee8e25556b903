"""Train many small networks at once: every fold and every seed is one member of a stack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a member is trained; the loss is the mean squared error of the standardised target.

    The learning rate rises linearly over the first `warmup` of all steps and falls to zero along
    half a cosine (Loshchilov and Hutter, arXiv:1608.03983). `averaging` is the decay per step of an
    exponential moving average of the weights, which then predicts; 0 turns it off.
    """

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    averaging: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)!r}")
        for name in ("warmup", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} lies in [0, 1), got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Task:
    """One fold: training rows `x` (rows, features) and targets `y`, and rows to predict."""

    x: np.ndarray
    y: np.ndarray
    x_new: np.ndarray


def fit_predict(
    make_model: Callable[[int], nn.Module],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    optimisation: Optimisation,
    *,
    on_epoch: Callable[[int, Callable[[], list[np.ndarray]]], None] | None = None,
) -> list[np.ndarray]:
    """Train `len(tasks) · len(seeds)` networks together and predict each task's new rows.

    All members are one set of stacked weights `(members, ...)`, so that one batched matrix product
    does the work of all. Members do not touch each other: each has its own start, its own order of
    rows, its own dropout and its own optimizer state.

    Args:
        make_model: `in_features` → network that maps `(rows, in_features)` to `(rows,)`. Narrower
            tasks are padded with columns of zeros, so all members have one shape.
        seeds: members per task.
        on_epoch: called after each epoch with its number and a function that predicts as below.

    Returns:
        For each task the predictions `(seeds, new rows)`, in the units of `y`.
    """
    width = max(task.x.shape[1] for task in tasks)
    rows = min(len(task.x) for task in tasks)
    batch = min(optimisation.batch_size, rows)
    steps = rows // batch
    members = [(t, seed) for t in range(len(tasks)) for seed in seeds]
    of_task = torch.tensor([t for t, _ in members])

    means = [float(task.y.mean()) for task in tasks]
    scales = [float(task.y.std()) for task in tasks]
    longest = max(len(task.x) for task in tasks)
    x = torch.stack([_pad(task.x, longest, width) for task in tasks])  # (tasks, rows, features)
    y = torch.stack(
        [
            _pad((task.y - mean)[:, None] / scale, longest, 1)[:, 0]
            for task, mean, scale in zip(tasks, means, scales, strict=True)
        ]
    )

    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(make_model(width))
    parameters, buffers = stack_module_state([models[i % len(seeds)] for i in range(len(members))])
    skeleton = models[0]

    def forward(p: dict[str, Tensor], b: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return functional_call(skeleton, (p, b), (inputs,))

    ensemble = torch.vmap(forward, randomness="different")
    decayed = [p for p in parameters.values() if p.ndim > 2]  # matrices; biases and norms are not
    others = [p for p in parameters.values() if p.ndim <= 2]
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=optimisation.learning_rate,
        weight_decay=optimisation.weight_decay,
        fused=True,
    )
    total = optimisation.epochs * steps
    warm = max(1, round(optimisation.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / total))
    )
    average = {name: p.detach().clone() for name, p in parameters.items()}

    def predict() -> list[np.ndarray]:
        skeleton.eval()
        chosen = average if optimisation.averaging else parameters
        predictions = []
        with torch.no_grad():
            for t, task in enumerate(tasks):
                mine = (of_task == t).nonzero()[:, 0]
                x_new = _pad(task.x_new, len(task.x_new), width)
                out = ensemble(
                    {n: p[mine] for n, p in chosen.items()},
                    {n: b[mine] for n, b in buffers.items()},
                    x_new.expand(len(mine), *x_new.shape),
                )
                predictions.append(out.double().numpy() * scales[t] + means[t])
        skeleton.train()
        return predictions

    torch.manual_seed(seeds[0])
    generator = np.random.default_rng(list(seeds))
    skeleton.train()
    for epoch in range(optimisation.epochs):
        order = np.stack(
            [generator.permutation(len(tasks[t].x))[: steps * batch] for t, _ in members]
        )
        for index in torch.from_numpy(order).split(batch, dim=1):  # (members, batch)
            xb, yb = x[of_task[:, None], index], y[of_task[:, None], index]
            error = ensemble(parameters, buffers, xb) - yb
            loss = error.square().mean(dim=1).sum()  # a sum over members keeps gradients apart
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if optimisation.averaging:
                with torch.no_grad():
                    torch._foreach_lerp_(
                        list(average.values()),
                        list(parameters.values()),
                        1 - optimisation.averaging,
                    )
        if on_epoch is not None:
            on_epoch(epoch + 1, predict)
    return predict()


def _pad(array: np.ndarray, rows: int, width: int) -> Tensor:
    padded = torch.zeros(rows, width)
    padded[: array.shape[0], : array.shape[1]] = torch.from_numpy(np.asarray(array, np.float32))
    return padded
