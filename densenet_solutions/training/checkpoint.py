"""Checkpoints: a training goes on only where network, images and settings are the same."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from densenet_solutions.files import write_bytes_atomically
from densenet_solutions.images import ImageSet
from densenet_solutions.records.serialise import from_json, to_json
from densenet_solutions.training.settings import EpochMetrics, TrainingSettings


def identity_of(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    settings: TrainingSettings,
    world_size: int,
    step: Callable[..., Any] | None,
) -> dict[str, Any]:
    """Everything that must agree before a training may go on from a checkpoint."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    chosen = to_json(settings)
    if settings.schedule == "constant":
        del chosen["epochs"]  # they do not tell what happens in any of them
    return {
        "network": _digest(repr((model, shapes, _attributes(model))).encode()),
        "training images": _digest(*train_set.content()),
        "test images": _digest(*test_set.content()),
        "processes": world_size,
        "step": None if step is None else f"{step.__module__}.{step.__qualname__}",
        **chosen,
    }


def _attributes(model: nn.Module) -> list[Any]:
    """What a network's printed form leaves out: its modules' own numbers, words and settings."""
    return [
        (name, key, value)
        for name, module in model.named_modules()
        for key, value in sorted(vars(module).items())
        if isinstance(value, bool | int | float | str) or is_dataclass(value)
    ]


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    history: list[EpochMetrics],
) -> None:
    """Write a checkpoint; not by `torch.save` itself, which hides that a disk is full."""
    content = io.BytesIO()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "identity": json.dumps(identity),
        "history": json.dumps(to_json(history)),
    }
    torch.save(state, content)
    write_bytes_atomically(path, content.getvalue())


def resume(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    settings: TrainingSettings,
    place: torch.device,
) -> list[EpochMetrics]:
    """Load the checkpoint, if there is one, and return the metrics of the epochs it has behind."""
    if not path.exists():
        return []
    try:
        state = torch.load(path, map_location=place, weights_only=True)
        theirs = json.loads(state["identity"])
        history = from_json(list[EpochMetrics], json.loads(state["history"]))
        differences = [
            name if name.endswith(("network", "images")) else f"{name} ({was!r}, now {now!r})"
            for name, now in identity.items()
            if (was := theirs.get(name)) != now
        ]
        if not differences:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch.load raises whatever the damage makes its parsers raise
        raise ValueError(
            f"{path} is not a checkpoint of this loop, or is damaged ({type(error).__name__}): "
            "delete it, or name another file"
        ) from error
    if differences:
        raise ValueError(
            f"{path} belongs to another training, which differs in {', '.join(differences)}: "
            "delete it, or name another file"
        )
    if len(history) > settings.epochs:
        raise ValueError(
            f"{path} has {len(history)} epochs behind it, more than epochs={settings.epochs}: "
            "delete it, or name another file"
        )
    return history
