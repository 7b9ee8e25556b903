"""`densenet-solutions houses`: cross-validate, train, write and score a submission (exercise 5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from densenet_solutions.cli.options import faults_in_words
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    import numpy as np

    from densenet_solutions.houses.models import Split

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Predict house prices with a dense MLP (exercise 5).",
)

Seeds = Annotated[
    int,
    typer.Option(
        min=1,
        max=100,
        help="Networks that are averaged. They train together: in five-fold cross-validation "
        "about 1 GB of memory for 3, 1.5 GB for 20 and 3 GB for 100.",
    ),
]


@app.callback()
def _houses() -> None:
    """Predict house prices with a dense MLP (exercise 5)."""


@app.command()
def cv(
    seeds: Seeds = 3,
    folds: Annotated[
        str,
        typer.Option(
            metavar="PARTITION", help="book, or fresh-N for a random partition, N from 1 to 999."
        ),
    ] = "book",
) -> None:
    """Cross-validate the chosen dense MLP over five folds."""
    with faults_in_words():
        import numpy as np

        from densenet_solutions.houses import load_houses, partition
        from densenet_solutions.houses.cross_validation import scores, splits
        from densenet_solutions.houses.models import log_price

        fold = partition(folds)
        train = load_houses().train
        predictions = np.empty((seeds, len(train)))
        for k, answer in enumerate(_predict(splits(train, fold), seeds)):
            predictions[:, fold == k] = answer
        result = scores(predictions, log_price(train), fold)
    for k, rmse in enumerate(result.fold_rmse, start=1):
        typer.echo(f"fold {k}    RMSE of log price {rmse:.4f}")
    typer.echo(f"one network (mean)     {np.mean(result.member_rmse):.4f}")
    typer.echo(f"ensemble of {seeds:<3}        {result.rmse:.4f}")


@app.command()
def train(seeds: Seeds = 3) -> None:
    """Train on all 1460 houses and say how well the training rows are fitted."""
    with faults_in_words():
        import numpy as np

        from densenet_solutions.houses import load_houses
        from densenet_solutions.houses.models import Split, log_price

        houses = load_houses().train
        (predictions,) = _predict([Split(houses, houses.drop(columns="SalePrice"))], seeds)
        error = predictions.mean(axis=0) - log_price(houses)
    typer.echo(f"RMSE of log price on the training rows {np.sqrt(np.mean(error**2)):.4f}")


@app.command()
def submit(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")] = Path(
        "submission.csv"
    ),
    seeds: Seeds = 3,
) -> None:
    """Train on all 1460 houses and write predicted prices of the 1459 test houses."""
    with faults_in_words():
        import numpy as np

        from densenet_solutions import checks
        from densenet_solutions.houses import load_houses, write_submission
        from densenet_solutions.houses.models import Split

        checks.output_file(out)
        houses = load_houses()
        (predictions,) = _predict([Split(houses.train, houses.test)], seeds)
        prices = np.exp(predictions.mean(axis=0))
        path = write_submission(out, houses.test["Id"].tolist(), prices.tolist())
    typer.echo(f"wrote {len(prices)} prices to {path}")


@app.command()
def score(
    path: Annotated[
        Path, typer.Argument(metavar="SUBMISSION.csv", help="With the columns Id and SalePrice.")
    ],
) -> None:
    """Score a submission as the competition does, offline."""
    with faults_in_words():
        from densenet_solutions.houses import score_submission

        try:
            value = score_submission(path)
        except ValueError as error:
            typer.echo(f"refused: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo(f"RMSE of log price on 1459 test houses {value:.5f}")


def _predict(parts: list[Split], seeds: int) -> list[np.ndarray]:
    from densenet_solutions.exercises.houses.study import chosen_network

    network = chosen_network()
    with progress("epochs of training") as told:

        def advance(epoch: int, predict: Any) -> None:
            told("", epoch, network.training.epochs)

        return network.predict(parts, range(seeds), on_epoch=advance)
