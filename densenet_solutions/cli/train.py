"""`densenet-solutions train`: train a network on Fashion-MNIST; also under `torchrun`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from densenet_solutions.cli.options import (
    SMALL,
    Device,
    Network,
    chosen_device,
    faults_in_words,
    is_first_process,
    names,
)

if TYPE_CHECKING:
    from densenet_solutions.training import EpochMetrics

#: Of Fashion-MNIST.
TRAINING_IMAGES = 60_000

app = typer.Typer(add_completion=False)


@app.command(
    help="Train on Fashion-MNIST and print the accuracy after every epoch. The defaults are the "
    "book's; on a CPU they take hours, and --limit shortens them.\n\n"
    "On several GPUs: torchrun --nproc-per-node=4 -m densenet_solutions train book-densenet\n\n"
    "The images are read from disk where Debian's package dataset-fashion-mnist has put them, and "
    "otherwise downloaded once (30 MB).\n\n" + names(NETWORK=SMALL)
)
def train(
    network: Network,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 10,
    pooling: Annotated[
        Literal["average", "max", "stride"],
        typer.Option(help="How transitions halve the resolution; DenseNets only."),
    ] = "average",
    batch: Annotated[int, typer.Option(min=1, help="Images of a step, over all processes.")] = 128,
    resolution: Annotated[
        int, typer.Option(min=1, help="Height and width to which images are resized, in pixels.")
    ] = 96,
    optimizer: Annotated[Literal["sgd", "adam"], typer.Option(help="Update rule.")] = "sgd",
    learning_rate: Annotated[float, typer.Option(help="Its initial value.")] = 0.01,
    momentum: Annotated[float, typer.Option(help="Of sgd.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="L2 penalty.")] = 0.0,
    schedule: Annotated[
        Literal["constant", "cosine"], typer.Option(help="Of the learning rate.")
    ] = "constant",
    seed: Annotated[int, typer.Option(min=0, help="Of weights and shuffling.")] = 0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first images: of the training set, not of the test's."),
    ] = None,
    device: Device = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Resume from this file; written after every epoch."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the metrics to this JSON file; missing folders are made."
        ),
    ] = None,
) -> None:
    with faults_in_words(resumes=checkpoint is not None):
        from densenet_solutions import checks, training
        from densenet_solutions.files import write_text_atomically
        from densenet_solutions.images import load_fashion_mnist
        from densenet_solutions.records.serialise import dumps

        checks.choice("NETWORK", network, SMALL)
        if limit is not None and limit > TRAINING_IMAGES:
            raise ValueError(
                f"--limit is at most the {TRAINING_IMAGES} training images, got {limit}"
            )
        if momentum and optimizer != "sgd":
            raise ValueError(f"--momentum is an option of sgd, got it with {optimizer!r}")
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
        if out is not None:
            checks.output_file(out)
        model_fn = _factory(network, pooling)
        model_fn()  # an impossible option is refused before the data are read
        if checkpoint is not None and checkpoint.is_file() and is_first_process():
            typer.echo(f"{checkpoint} is there: its epochs are told, not trained again")
        _, result = training.train(
            model_fn,
            load_fashion_mnist("train", limit=limit),
            load_fashion_mnist("test"),
            settings,
            device=where,
            checkpoint=checkpoint,
            show_progress=True,
            on_epoch=_tell,
        )
        if is_first_process() and out is not None:
            write_text_atomically(out, dumps(result))


def _tell(epoch: EpochMetrics) -> None:
    if is_first_process():
        typer.echo(
            f"epoch {epoch.epoch}: loss {epoch.train_loss:.4f}, train accuracy "
            f"{epoch.train_accuracy:.4f}, test accuracy {epoch.test_accuracy:.4f}, "
            f"{epoch.seconds:.1f} s of training"
        )


def _factory(network: str, pooling: str) -> Any:
    from densenet_solutions.models import NETWORKS

    if "densenet" not in network and pooling != "average":
        raise ValueError(f"--pooling is an option of DenseNets, got it with {network!r}")
    options = {"pooling": pooling} if "densenet" in network else {}
    return partial(NETWORKS[network].build, in_channels=1, **options)
