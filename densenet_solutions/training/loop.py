"""One honest training loop: seeded, resumable, on one device or on several processes.

On a CPU, the same settings give the same weights to the bit, whether or not the training was
interrupted: every epoch draws from generators seeded by (seed, epoch) alone, and a checkpoint is
written at its end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.images import ImageSet, as_inputs
from densenet_solutions.training.checkpoint import identity_of, resume, save
from densenet_solutions.training.processes import distributed, processes, progress_bar
from densenet_solutions.training.settings import EpochMetrics, TrainingResult, TrainingSettings

#: `(network, inputs, targets)` → loss, with gradients in `.grad`: `Strategy.step`, for example.
Step = Callable[[nn.Module, Tensor, Tensor], Tensor]


def train(
    model_fn: Callable[[], nn.Module],
    train_set: ImageSet,
    test_set: ImageSet,
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    step: Step | None = None,
    checkpoint: str | Path | None = None,
    test_every_epoch: bool = True,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
    show_progress: bool = False,
) -> tuple[nn.Module, TrainingResult]:
    """Train a classifier from scratch with cross-entropy, or go on from `checkpoint`.

    On a GPU that has it, the forward pass runs under bfloat16 autocast. Under `torchrun` every
    process takes its share of each batch and `DistributedDataParallel` averages the gradients;
    batch normalisation sees the local share only.

    Args:
        model_fn: builds the network `(N, 1, resolution, resolution)` → `(N, classes)`; called
            after seeding.
        train_set, test_set: images and labels.
        settings: everything that determines the result.
        device: `"cpu"` or `"cuda"`; under `torchrun`, `"cuda"` means one GPU a process.
        step: the step of a memory strategy instead of the plain one, without autocast.
        checkpoint: file to resume from, and to write after every epoch. A finished training goes on
            with more `epochs` if its learning rate is constant.
        test_every_epoch: look at the test images after every epoch, or only after the last.
        on_epoch: told the metrics of every epoch as soon as they are known, and first of all those
            that the checkpoint has behind it.
        show_progress: show a bar for every epoch on the terminal.

    Returns:
        The trained network, in evaluation mode, and the metrics of every epoch.

    Raises:
        ValueError, TypeError: an argument is impossible, images and network do not fit, a batch is
            larger than the training set or does not divide among the processes, or the checkpoint
            is damaged, belongs to another training or cannot be written.
        OSError: the checkpoint could not be written after all, for lack of space.
        FloatingPointError: the loss is no longer finite.
    """
    _check_arguments(model_fn, train_set, test_set, settings)
    path = None if checkpoint is None else checks.output_file(checkpoint)
    with processes(device) as (rank, world_size, place):
        if settings.batch_size > len(train_set) or settings.batch_size % world_size:
            raise ValueError(
                f"a batch is at most the {len(train_set)} training images and divides among "
                f"{world_size} process(es), got batch_size={settings.batch_size}"
            )
        with _seeded(settings.seed, 0, place):
            model = checks.module("what model_fn builds", model_fn()).to(place)
        _check_classes(model, (train_set, test_set), settings.resolution)
        optimizer = build_optimizer(model, settings)
        identity, history = {}, []
        if path is not None:
            identity = identity_of(model, train_set, test_set, settings, world_size, step)
            history = resume(path, model, optimizer, identity, settings, place)
        for metrics in history:
            on_epoch(metrics)
        learner = distributed(model, place) if world_size > 1 else model
        images = train_set.to(place)
        for epoch in range(len(history) + 1, settings.epochs + 1):
            batches = _batches(len(images), settings, epoch, rank, world_size)
            title = f"epoch {epoch}/{settings.epochs}"
            bar = progress_bar(title, len(batches), show_progress and rank == 0)
            with _seeded(settings.seed, epoch, place), bar as advance:
                started = time.perf_counter()
                loss, accuracy = run_epoch(
                    learner, optimizer, images, batches, settings, epoch, step=step, advance=advance
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
            metrics = EpochMetrics(epoch, loss, accuracy, None, None, round(seconds, 3))
            if test_every_epoch or epoch == settings.epochs:
                metrics = _tested(metrics, model, test_set, settings, show_progress and rank == 0)
            history.append(metrics)
            if path is not None and rank == 0:
                save(path, model, optimizer, identity, history)
            on_epoch(metrics)
        if history[-1].test_loss is None:  # the checkpoint was that of a longer training
            history[-1] = _tested(
                history[-1], model, test_set, settings, show_progress and rank == 0
            )
        result = TrainingResult(
            model=type(model).__name__,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            settings=settings,
            train_images=len(train_set),
            test_images=len(test_set),
            device=place.type,
            precision="bfloat16" if step is None and trains_in_bfloat16(place) else "float32",
            processes=world_size,
            epochs=tuple(history),
        )
        return model.eval(), result


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: ImageSet,
    *,
    resolution: int,
    batch_size: int = 500,
    advance: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy of `model` in evaluation mode, in float32.

    The network's modes are restored; `advance` is called after every batch. Under `torchrun` every
    process evaluates all images, so that all of them know the result.

    Raises:
        ValueError, TypeError: an argument is impossible, or there are no images.
    """
    checks.module("model", model)
    _check_images("images", images)
    checks.integer("batch_size", batch_size)
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    total = torch.zeros(2, dtype=torch.float64, device=place)
    try:
        model.eval()
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size].to(place)
            logits = model(as_inputs(batch.pixels, resolution))
            _check_labels(logits, batch.labels)
            total += _loss_and_hits(logits, batch.labels)
            advance()
    finally:
        for module, mode in modes:
            module.training = mode
    loss, hits = (total / len(images)).tolist()
    return loss, hits


def run_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: ImageSet,
    batches: Sequence[Tensor],
    settings: TrainingSettings,
    epoch: int,
    *,
    step: Step | None = None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[float, float | None]:
    """One pass over `batches`, which hold indices of `images`, in training mode.

    The learning rate follows the schedule from `epoch` − 1 to `epoch` of `settings.epochs`. Mean
    loss and accuracy are over all processes; with a `step` there is no accuracy.
    """
    model.train()
    place = images.pixels.device
    steps_done, steps = (epoch - 1) * len(batches), settings.epochs * len(batches)
    total = torch.zeros(2, dtype=torch.float64, device=place)
    for index, batch in enumerate(batches, start=steps_done):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(settings, index / steps)
        chosen = images[batch.to(place)]
        inputs = as_inputs(chosen.pixels, settings.resolution)
        optimizer.zero_grad(set_to_none=True)
        if step is None:
            total += _plain_step(model, inputs, chosen.labels)
        else:
            loss = step(model, inputs, chosen.labels).double()
            total += torch.stack((loss * len(batch), torch.full_like(loss, math.nan)))
        optimizer.step()
        advance()
    count = torch.tensor(sum(len(batch) for batch in batches), device=place)
    if dist.is_initialized():
        dist.all_reduce(total)
        dist.all_reduce(count)
    mean_loss, accuracy = (total / count).tolist()
    return mean_loss, None if step is not None else accuracy


def build_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings ask for."""
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "weight_decay": settings.weight_decay,
    }
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **options)
    return torch.optim.Adam(model.parameters(), **options)


def _plain_step(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    place = inputs.device
    with torch.autocast(place.type, dtype=torch.bfloat16, enabled=trains_in_bfloat16(place)):
        logits = model(inputs)
        loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    return _loss_and_hits(logits.detach(), labels)


def _tested(
    metrics: EpochMetrics,
    model: nn.Module,
    test_set: ImageSet,
    settings: TrainingSettings,
    show_progress: bool,
) -> EpochMetrics:
    title, batches = f"epoch {metrics.epoch}/{settings.epochs}, testing", -(-len(test_set) // 500)
    with progress_bar(title, batches, show_progress) as advance:
        loss, accuracy = evaluate(
            model, test_set, resolution=settings.resolution, batch_size=500, advance=advance
        )
    return replace(metrics, test_loss=loss, test_accuracy=accuracy)


def _loss_and_hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy and number of correct predictions, float64 `(2,)`."""
    loss = nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    return torch.stack((loss, (logits.argmax(dim=1) == labels).sum())).double()


def _learning_rate(settings: TrainingSettings, progress: float) -> float:
    """Learning rate when the share `progress` in [0, 1) of all steps is done.

    Examples:
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


def trains_in_bfloat16(place: torch.device) -> bool:
    """Whether `train`'s own step runs in bfloat16: on a GPU that does so without emulation."""
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


def _check_arguments(
    model_fn: object, train_set: object, test_set: object, settings: object
) -> None:
    if not callable(model_fn) or isinstance(model_fn, nn.Module):
        is_network = isinstance(model_fn, nn.Module)
        got = f"a network, {type(model_fn).__name__}" if is_network else repr(model_fn)
        raise TypeError(f"model_fn is a function that builds the network, got {got}")
    if not isinstance(settings, TrainingSettings):
        raise TypeError(f"settings are TrainingSettings, got {settings!r}")
    _check_images("train_set", train_set)
    _check_images("test_set", test_set)


def _check_images(name: str, images: object) -> None:
    if not isinstance(images, ImageSet):
        raise TypeError(f"{name} is an ImageSet, got {type(images).__name__}")
    if not len(images):
        raise ValueError(f"{name} holds at least one image, got none")


@torch.no_grad()
def _check_classes(model: nn.Module, sets: Sequence[ImageSet], resolution: int) -> None:
    """Whether the network has an output for every label, before anything is trained."""
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        logits = model.eval()(as_inputs(sets[0].pixels[:1].to(place), resolution))
    for images in sets:
        _check_labels(logits, images.labels)


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2:
        raise ValueError(f"the network's output has shape (N, classes), got {tuple(logits.shape)}")
    checks.targets(labels, batch=len(labels), classes=logits.shape[1])
