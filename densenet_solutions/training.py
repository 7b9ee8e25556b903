"""One honest training loop: seeded, resumable, on one device or on several processes.

On a CPU, the same settings give the same weights to the bit, whether or not the training was
interrupted: every epoch draws from generators seeded by (seed, epoch) alone, and a checkpoint is
written at its end.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from densenet_solutions.images import ImageSet, as_inputs
from densenet_solutions.records.serialise import to_json


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a classifier is trained. The defaults are the book's (section 8.7.4).

    `batch_size` counts the images of one step over all processes; an incomplete last batch is
    left out. `side` is the height and width, in pixels, to which images are resized. The schedule
    `"cosine"` takes the learning rate to zero over the whole training.

    Raises:
        ValueError: a setting is impossible.
    """

    epochs: int = 10
    batch_size: int = 128
    side: int = 96
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)!r}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is positive, got {self.learning_rate!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum lies in [0, 1), got {self.momentum!r}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay is not negative, got {self.weight_decay!r}")
        for name, known in (("optimizer", ("sgd", "adam")), ("schedule", ("constant", "cosine"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {known}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over the training images; losses are mean cross-entropies in nats.

    `train_loss` and `train_accuracy` are running means over the epoch, while the weights change;
    the test figures belong to its end. `seconds` is the time of the training pass alone.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
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


def train(
    model_fn: Callable[[], nn.Module],
    train_set: ImageSet,
    test_set: ImageSet,
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    test_every_epoch: bool = True,
    show_progress: bool = False,
) -> tuple[nn.Module, TrainingResult]:
    """Train a classifier from scratch with cross-entropy, or go on from `checkpoint`.

    On a GPU that has it, the forward pass runs under bfloat16 autocast. Under `torchrun` every
    process takes its share of each batch and `DistributedDataParallel` averages the gradients;
    batch normalisation sees the local share only.

    Args:
        model_fn: builds the network `(N, 1, side, side)` → `(N, classes)`; called after seeding.
        train_set, test_set: images and labels.
        settings: everything that determines the result.
        device: `"cpu"` or `"cuda"`; under `torchrun`, `"cuda"` means one GPU a process.
        checkpoint: file to resume from, and to write after every epoch.
        test_every_epoch: look at the test images after every epoch, or only after the last.
        show_progress: show a bar for every epoch on the terminal.

    Returns:
        The trained network, in evaluation mode, and the metrics of every epoch.

    Raises:
        ValueError: a batch is larger than the training set or does not divide among the
            processes, or the checkpoint is damaged or belongs to another training.
        FloatingPointError: the loss is no longer finite.
    """
    with _processes(device) as (rank, world_size, place):
        if settings.batch_size > len(train_set) or settings.batch_size % world_size:
            raise ValueError(
                f"a batch is at most the {len(train_set)} training images and divides among "
                f"{world_size} process(es), got batch_size={settings.batch_size}"
            )
        with _seeded(settings.seed, 0, place):
            model = model_fn().to(place)
        optimizer = _optimizer(model, settings)
        identity = _identity(model, train_set, test_set, settings, world_size)
        history = _resume(checkpoint, model, optimizer, identity, place)
        learner = _distributed(model, place) if world_size > 1 else model
        pixels, labels = train_set.pixels.to(place), train_set.labels.to(place)
        for epoch in range(len(history) + 1, settings.epochs + 1):
            batches = _batches(len(labels), settings, epoch, rank, world_size)
            title = f"epoch {epoch}/{settings.epochs}"
            bar = _bar(title, len(batches), show_progress and rank == 0)
            with _seeded(settings.seed, epoch, place), bar as advance:
                started = time.perf_counter()
                loss, accuracy = _run_epoch(
                    learner, optimizer, pixels, labels, batches, settings, epoch, advance
                )
                seconds = time.perf_counter() - started
            if world_size > 1:
                for buffer in model.buffers():  # running statistics are local: take the first's
                    dist.broadcast(buffer, src=0)
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"training diverged in epoch {epoch}: the mean loss is {loss}; "
                    f"try a learning rate below {settings.learning_rate}"
                )
            test_loss, test_accuracy = (
                evaluate(model, test_set, side=settings.side)
                if test_every_epoch or epoch == settings.epochs
                else (None, None)
            )
            history.append(
                EpochMetrics(epoch, loss, accuracy, test_loss, test_accuracy, round(seconds, 3))
            )
            if checkpoint is not None and rank == 0:
                _save(checkpoint, model, optimizer, identity, history)
        result = TrainingResult(
            model=type(model).__name__,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            settings=settings,
            train_images=len(train_set),
            test_images=len(test_set),
            device=place.type,
            precision="bfloat16" if _use_bfloat16(place) else "float32",
            processes=world_size,
            epochs=tuple(history),
        )
        return model.eval(), result


@torch.no_grad()
def evaluate(
    model: nn.Module, images: ImageSet, *, side: int, batch_size: int = 500
) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy of `model` in evaluation mode, in float32.

    Under `torchrun` every process evaluates all images, so that all of them know the result.
    """
    was_training = model.training
    model.eval()
    place = next(model.parameters()).device
    total = torch.zeros(2, dtype=torch.float64, device=place)
    for start in range(0, len(images), batch_size):
        labels = images.labels[start : start + batch_size].to(place)
        logits = model(as_inputs(images.pixels[start : start + batch_size].to(place), side))
        total += _loss_and_hits(logits, labels)
    model.train(was_training)
    loss, hits = (total / len(images)).tolist()
    return loss, hits


def _run_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pixels: Tensor,
    labels: Tensor,
    batches: list[Tensor],
    settings: TrainingSettings,
    epoch: int,
    advance: Callable[[], None],
) -> tuple[float, float]:
    """One pass over `batches`; mean loss and accuracy over all processes."""
    model.train()
    place = pixels.device
    steps_done, steps = (epoch - 1) * len(batches), settings.epochs * len(batches)
    total = torch.zeros(2, dtype=torch.float64, device=place)
    for step, batch in enumerate(batches, start=steps_done):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(settings, step / steps)
        batch = batch.to(place)
        targets = labels[batch]
        with torch.autocast(place.type, dtype=torch.bfloat16, enabled=_use_bfloat16(place)):
            logits = model(as_inputs(pixels[batch], settings.side))
            loss = nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += _loss_and_hits(logits.detach(), targets)
        advance()
    count = torch.tensor(sum(len(batch) for batch in batches), device=place)
    if dist.is_initialized():
        dist.all_reduce(total)
        dist.all_reduce(count)
    mean_loss, accuracy = (total / count).tolist()
    return mean_loss, accuracy


def _loss_and_hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy and number of correct predictions, float64 `(2,)`."""
    loss = nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    return torch.stack((loss, (logits.argmax(dim=1) == labels).sum())).double()


def _learning_rate(settings: TrainingSettings, progress: float) -> float:
    """Learning rate when the share `progress` in [0, 1) of all steps is done.

    >>> _learning_rate(TrainingSettings(learning_rate=0.2, schedule="cosine"), 0.5)
    0.1
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2


def _batches(
    count: int, settings: TrainingSettings, epoch: int, rank: int, world_size: int
) -> list[Tensor]:
    """Indices of this process's share of every batch of the epoch; all processes shuffle alike."""
    generator = torch.Generator().manual_seed(_epoch_seed(settings.seed, epoch))
    order = torch.randperm(count, generator=generator)
    full = count // settings.batch_size * settings.batch_size
    return [batch[rank::world_size] for batch in order[:full].split(settings.batch_size)]


def _optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "weight_decay": settings.weight_decay,
    }
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **options)
    return torch.optim.Adam(model.parameters(), **options)


def _use_bfloat16(place: torch.device) -> bool:
    return place.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _epoch_seed(seed: int, epoch: int) -> int:
    return (seed * 1_000_003 + epoch) % 2**63


@contextmanager
def _seeded(seed: int, epoch: int, place: torch.device) -> Iterator[None]:
    """Seed the global generators for one epoch (0: the initial weights) and restore them after."""
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(_epoch_seed(seed, epoch))
        yield


# --- processes -----------------------------------------------------------------------------


@contextmanager
def _processes(device: str) -> Iterator[tuple[int, int, torch.device]]:
    """Join the process group that `torchrun` announces: (rank, number of processes, device)."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device(device)
    if world_size == 1:
        yield 0, 1, place
        return
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    already_joined = dist.is_initialized()
    if not already_joined:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), world_size, place
    finally:
        if not already_joined:
            dist.destroy_process_group()


def _distributed(model: nn.Module, place: torch.device) -> DistributedDataParallel:
    return DistributedDataParallel(model, device_ids=[place] if place.type == "cuda" else None)


# --- checkpoints ---------------------------------------------------------------------------


def _identity(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    settings: TrainingSettings,
    world_size: int,
) -> str:
    """Everything that must agree before a training may go on from a checkpoint, as JSON."""
    return json.dumps(
        {
            "shapes": {name: list(value.shape) for name, value in model.state_dict().items()},
            "images": [len(train_set), len(test_set)],
            "labels": [int(train_set.labels.sum()), int(test_set.labels.sum())],
            "settings": to_json(settings),
            "processes": world_size,
        },
        sort_keys=True,
    )


def _save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
    history: list[EpochMetrics],
) -> None:
    """Write a checkpoint so that an interruption leaves the old file or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "identity": identity,
                "history": json.dumps(to_json(history)),
            }
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _resume(
    path: Path | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
    place: torch.device,
) -> list[EpochMetrics]:
    """Load the checkpoint, if there is one, and return the metrics of the epochs it has behind."""
    if path is None or not path.exists():
        return []
    try:
        state = torch.load(path, map_location=place, weights_only=True)
        same = state["identity"] == identity
    except Exception as error:  # torch.load raises whatever the damage makes its parsers raise
        raise ValueError(f"{path} is not a checkpoint, or is damaged: {error}") from error
    if not same:
        raise ValueError(
            f"{path} belongs to another training: model, images, settings and number of "
            f"processes must agree, got {state['identity'][:2000]}"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return [EpochMetrics(**epoch) for epoch in json.loads(state["history"])]


# --- progress ------------------------------------------------------------------------------


@contextmanager
def _bar(description: str, total: int, visible: bool) -> Iterator[Callable[[], None]]:
    """A progress bar over the steps of an epoch; calling what it yields advances it by one."""
    if not visible:
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(description, total=total)
        yield lambda: progress.advance(task)
