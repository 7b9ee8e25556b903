"""`densenet-solutions houses`: cross-validate, train, write and score a submission (exercise 5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from densenet_solutions.exercises.houses.search import SEEDS
from densenet_solutions.exercises.houses.study import chosen_network
from densenet_solutions.houses import load_houses, partition, score_submission, write_submission
from densenet_solutions.houses.cross_validation import scores, splits
from densenet_solutions.houses.models import Split, log_price

app = typer.Typer(no_args_is_help=True, help="House prices with a dense MLP (exercise 5).")

Seeds = Annotated[int, typer.Option(min=1, help="Networks in the ensemble, per fold.")]


@app.command()
def cv(
    seeds: Seeds = SEEDS,
    folds: Annotated[
        str, typer.Option(help="'book', or 'fresh-N' for a random partition.")
    ] = "book",
) -> None:
    """Cross-validate the chosen dense MLP over five folds."""
    try:
        fold = partition(folds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    train = load_houses().train
    predictions = np.empty((seeds, len(train)))
    answers = _predict(splits(train, fold), seeds)
    for k, answer in enumerate(answers):
        predictions[:, fold == k] = answer
    result = scores(predictions, log_price(train), fold)
    for k, rmse in enumerate(result.fold_rmse, start=1):
        typer.echo(f"fold {k}    RMSE of log price {rmse:.4f}")
    typer.echo(f"one network (mean)     {np.mean(result.member_rmse):.4f}")
    typer.echo(f"ensemble of {seeds:<3}        {result.rmse:.4f}")


@app.command()
def train(seeds: Seeds = SEEDS) -> None:
    """Train on all 1460 houses and say how well the training rows are fitted."""
    houses = load_houses().train
    (predictions,) = _predict([Split(houses, houses.drop(columns="SalePrice"))], seeds)
    error = predictions.mean(axis=0) - log_price(houses)
    typer.echo(f"RMSE of log price on the training rows {np.sqrt(np.mean(error**2)):.4f}")


@app.command()
def submit(
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("submission.csv"),
    seeds: Seeds = SEEDS,
) -> None:
    """Train on all 1460 houses and write predicted prices of the 1459 test houses."""
    houses = load_houses()
    (predictions,) = _predict([Split(houses.train, houses.test)], seeds)
    prices = np.exp(predictions.mean(axis=0))
    path = write_submission(out, houses.test["Id"].tolist(), prices.tolist())
    typer.echo(f"wrote {len(prices)} prices to {path}")


@app.command()
def score(path: Annotated[Path, typer.Argument(help="A submission, Id and SalePrice.")]) -> None:
    """Score a submission as the competition does, offline."""
    try:
        value = score_submission(path)
    except (ValueError, OSError) as error:
        typer.echo(f"refused: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"RMSE of log price on 1459 test houses {value:.5f}")


def _predict(parts: list[Split], seeds: int) -> list[np.ndarray]:
    network = chosen_network()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("training", total=network.training.epochs)

        def advance(epoch: int, predict: Callable[[], list[np.ndarray]]) -> None:
            progress.update(bar, completed=epoch)

        return network.predict(parts, range(seeds), on_epoch=advance)
