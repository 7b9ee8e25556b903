"""`densenet-solutions train`: train a network on Fashion-MNIST; also under `torchrun`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False)


@app.command()
def train(
    network: Annotated[
        str, typer.Argument(help="book-densenet, book-resnet18, cifar-densenet-40-12, …")
    ],
    data: Annotated[str, typer.Option(help="The data set; there is one.")] = "fashion-mnist",
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 10,
    pooling: Annotated[
        str, typer.Option(help="Of a DenseNet's transitions: average, max or stride.")
    ] = "average",
    side: Annotated[int, typer.Option(help="Height and width of the images in pixels.")] = 96,
    batch_size: Annotated[int, typer.Option(help="Images a step, over all processes.")] = 128,
    optimizer: Annotated[str, typer.Option(help="sgd or adam.")] = "sgd",
    learning_rate: Annotated[float, typer.Option(help="Its initial value.")] = 0.01,
    momentum: Annotated[float, typer.Option(help="Of sgd.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="L2 penalty.")] = 0.0,
    schedule: Annotated[str, typer.Option(help="constant or cosine.")] = "constant",
    seed: Annotated[int, typer.Option(help="Of weights and shuffling.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Train on the first images only.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda if there is one.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Resume from this file; written after every epoch.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the metrics to this JSON file.")] = None,
) -> None:
    """Train a network and print its accuracy after every epoch. The defaults are the book's.

    On several GPUs: torchrun --nproc-per-node=4 -m densenet_solutions train book-densenet
    """
    import os

    from torch.cuda import is_available

    from densenet_solutions import training
    from densenet_solutions.files import write_text_atomically
    from densenet_solutions.images import load_fashion_mnist
    from densenet_solutions.records.serialise import dumps
    from densenet_solutions.training import TrainingSettings

    try:
        if data != "fashion-mnist":
            raise ValueError(f"--data is 'fashion-mnist', got {data!r}")
        settings = TrainingSettings(
            epochs=epochs,
            batch_size=batch_size,
            resolution=side,
            optimizer=optimizer,  # type: ignore[arg-type]  # checked by the settings
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,  # type: ignore[arg-type]
            seed=seed,
        )
        model_fn = _factory(network, pooling)
        model_fn()  # an impossible option is refused before the data are read
        _, result = training.train(
            model_fn,
            load_fashion_mnist("train", limit=limit),
            load_fashion_mnist("test", limit=limit),
            settings,
            device=device or ("cuda" if is_available() else "cpu"),
            checkpoint=checkpoint,
            show_progress=True,
        )
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error)) from error
    except (FloatingPointError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    if os.environ.get("RANK", "0") != "0":
        return
    for epoch in result.epochs:
        typer.echo(
            f"epoch {epoch.epoch}: loss {epoch.train_loss:.4f}, train accuracy "
            f"{epoch.train_accuracy:.4f}, test accuracy {epoch.test_accuracy:.4f}, "
            f"{epoch.seconds:.1f} s"
        )
    if out is not None:
        write_text_atomically(out, dumps(result))


def _factory(network: str, pooling: str) -> Any:
    from functools import partial

    from densenet_solutions.models import NETWORKS

    names = [name for name in NETWORKS if name.startswith(("book", "cifar"))]
    if network not in names:
        raise ValueError(f"a network is one of {names}, got {network!r}")
    if pooling != "average" and "densenet" not in network:
        raise ValueError(f"--pooling is an option of DenseNets, got {network!r}")
    options = {"pooling": pooling} if "densenet" in network else {}
    return partial(NETWORKS[network].build, in_channels=1, **options)
