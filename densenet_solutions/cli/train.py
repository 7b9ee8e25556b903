"""`densenet-solutions train`: train a network on Fashion-MNIST; also under `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from densenet_solutions.cli.options import (
    SMALL,
    Device,
    Force,
    Network,
    chosen_device,
    faults_in_words,
    file_path,
    is_first_process,
    names,
    new_file,
    resumption,
)

if TYPE_CHECKING:
    from densenet_solutions.training import EpochMetrics, TrainingSettings

#: Of Fashion-MNIST.
TRAINING_IMAGES = 60_000

app = typer.Typer(add_completion=False)


@app.command(
    help="Train on Fashion-MNIST and print the accuracy after every epoch, and the seconds that "
    "its training took; the test comes on top. The defaults are the "
    "book's; on a CPU they take hours, and --limit shortens them.\n\n"
    "On several GPUs: torchrun --nproc-per-node=4 -m densenet_solutions train book-densenet\n\n"
    "The images are read from disk where Debian's package dataset-fashion-mnist has put them, and "
    "otherwise downloaded once (30 MB).\n\n" + names(NETWORK=SMALL)
)
def train(
    network: Network,
    epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Passes over the training images.")
    ] = 10,
    pooling: Annotated[
        Literal["average", "max", "stride"],
        typer.Option(
            metavar="HOW",
            help="average, max or stride: how transitions halve the resolution; DenseNets only.",
        ),
    ] = "average",
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images of a step, over all processes.")
    ] = 128,
    resolution: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Height and width to which images are resized, in pixels."
        ),
    ] = 96,
    optimizer: Annotated[
        Literal["sgd", "adam"], typer.Option(metavar="RULE", help="sgd or adam.")
    ] = "sgd",
    learning_rate: Annotated[float, typer.Option(metavar="X", help="Its initial value.")] = 0.01,
    momentum: Annotated[float, typer.Option(metavar="X", help="Of sgd.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(metavar="X", help="L2 penalty.")] = 0.0,
    schedule: Annotated[
        Literal["constant", "cosine"],
        typer.Option(metavar="HOW", help="constant or cosine: of the learning rate."),
    ] = "constant",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of weights and shuffling.")] = 0,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Only the first images: of the training set, not of the test's.",
        ),
    ] = None,
    device: Device = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=file_path,
            help="Resume from this file, or begin if it is not there; written after every epoch, "
            "in folders that are made if they are missing. "
            "All must be the same again but --epochs, and with --schedule cosine these too.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=file_path,
            help="Write the metrics to this JSON file, at the end: what stops before leaves none, "
            "and --checkpoint keeps its epochs. Missing folders are made; a file that is there is "
            "refused without --force.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    with faults_in_words(
        left=lambda: resumption(checkpoint, "epoch"), sizes="--batch or --resolution"
    ):
        from densenet_solutions import checks, training
        from densenet_solutions.files import write_text_atomically
        from densenet_solutions.images import load_fashion_mnist
        from densenet_solutions.records.serialise import dumps, to_json

        checks.choice("NETWORK", network, SMALL)
        if limit is not None and limit > TRAINING_IMAGES:
            raise ValueError(
                f"--limit is at most the {TRAINING_IMAGES} training images, got {limit}"
            )
        images = TRAINING_IMAGES if limit is None else limit
        if batch > images:
            raise ValueError(
                f"--batch is at most the {images} training images, got {batch}: give "
                f"--batch {images}" + (", or a larger --limit" if limit is not None else "")
            )
        if momentum and optimizer != "sgd":
            raise ValueError(
                f"--momentum is an option of sgd, got it with {optimizer!r}: leave it out, or give "
                "--optimizer sgd"
            )
        settings = training.TrainingSettings(
            epochs=epochs,
            batch_size=batch,
            resolution=resolution,
            optimizer=optimizer,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,
            seed=seed,
        )
        where = chosen_device(device)
        if force and out is None:
            raise ValueError("--force is an option of --out: leave it out, or give --out")
        if out is not None:
            if checkpoint is not None and out.resolve() == checkpoint.resolve():
                raise ValueError(f"--out and --checkpoint are two files, got {out} for both")
            new_file(out, force=force)
        model_fn = _factory(network, pooling)
        model_fn()  # an impossible option is refused before the data are read
        train_set, test_set = load_fashion_mnist("train", limit=limit), load_fashion_mnist("test")
        per_epoch = len(train_set) // batch * batch
        _say(_in_words(network, pooling, len(train_set), per_epoch, where, settings))
        _, result = training.train(
            model_fn,
            train_set,
            test_set,
            settings,
            device=where,
            checkpoint=checkpoint,
            show_progress=True,
            on_epoch=_teller(checkpoint, per_epoch // batch),
        )
        if is_first_process() and out is not None:
            asked = {
                "network": network,
                "pooling": pooling if "densenet" in network else None,
                "limit": limit,
                "images_per_epoch": per_epoch,
            }
            write_text_atomically(out, dumps(asked | to_json(result)))
        if wrote := " and ".join(str(file) for file in (checkpoint, out) if file is not None):
            _say(f"wrote {wrote}")


def _say(line: str) -> None:
    if is_first_process():
        typer.echo(line)


def _in_words(
    network: str,
    pooling: str,
    images: int,
    per_epoch: int,
    device: str,
    settings: TrainingSettings,
) -> str:
    """Every setting, and what follows from the device."""
    import torch

    from densenet_solutions.training.loop import trains_in_bfloat16

    s = settings
    in_bfloat16 = trains_in_bfloat16(torch.device(device))
    precision = "bfloat16 autocast" if in_bfloat16 else "float32"
    parts = [
        network,
        *([f"{pooling} pooling"] if "densenet" in network else []),
        f"{images:,} image{'s' * (images > 1)} of {s.resolution} × {s.resolution}",
        f"batch {s.batch_size}"
        + f" ({per_epoch:,} images an epoch, whole batches alone)" * (per_epoch < images),
        f"{s.optimizer} with learning rate {s.learning_rate:g} ({s.schedule}), "
        + (f"momentum {s.momentum:g}, " if s.optimizer == "sgd" else "")
        + f"weight decay {s.weight_decay:g}",
        f"seed {s.seed}",
        f"{device}, {precision}",
    ]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return ", ".join([*parts, f"{processes} processes"] if processes > 1 else parts)


def _teller(checkpoint: Path | None, steps: int) -> Callable[[EpochMetrics], None]:
    """Tells every epoch, and before those that the checkpoint has behind it, that they are told.

    After an epoch of few steps it says why the test's accuracy is far from the training's: running
    statistics, with PyTorch's momentum of 0.1, are then mostly what they were at the start.
    """
    before = _stamp(checkpoint)
    announced = before is None  # it is written anew before an epoch that was trained is told

    def tell(epoch: EpochMetrics) -> None:
        nonlocal announced
        if not announced and _stamp(checkpoint) == before:
            _say(f"{checkpoint} goes on: its epochs are told, not trained again")
        announced = True
        _say(
            f"epoch {epoch.epoch}: loss {epoch.train_loss:.4f}, train accuracy "
            f"{epoch.train_accuracy:.4f}, test accuracy {epoch.test_accuracy:.4f}, "
            f"{epoch.seconds:.1f} s of training"
        )
        if epoch.epoch == 1 and (still := 0.9**steps) > 0.01:
            _say(
                f"after {steps} steps the running statistics of batch normalization still hold "
                f"{still:.0%} of their initial values: the test uses them, training does not"
            )

    return tell


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """What changes whenever a file is written."""
    if file is None or not file.is_file():
        return None
    about = file.stat()
    return about.st_ino, about.st_mtime_ns


def _factory(network: str, pooling: str) -> Any:
    from densenet_solutions.models import NETWORKS

    if "densenet" not in network and pooling != "average":
        raise ValueError(
            f"--pooling is an option of DenseNets, got it with {network!r}: leave it out, or give "
            "a NETWORK with densenet in its name"
        )
    options = {"pooling": pooling} if "densenet" in network else {}
    return partial(NETWORKS[network].build, in_channels=1, **options)
