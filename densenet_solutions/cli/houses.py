"""`densenet-solutions houses`: cross-validate, train, write and score a submission (exercise 5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from densenet_solutions import checks
from densenet_solutions.cli.options import Force, faults_in_words, file_path, new_file
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    import numpy as np

    from densenet_solutions.houses.models import Ensemble, Split

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Predict house prices with a dense MLP (exercise 5).\n\n"
    "Without options it is the ensemble that the recorded search chose, several different "
    "networks. --connection takes those chosen for it; other options change each of them.\n\n"
    "A line says of each network: how its layers are connected, how many there are and how wide, "
    "activation, normalization, initialization, dropout of hidden features and (of the inputs), "
    "how it is trained, and which features of a house it reads.",
)

#: What decides how much memory a network needs.
SIZES = "--growth-rate or --depth"

Seeds = Annotated[
    int,
    typer.Option(
        min=1,
        max=100,
        metavar="N",
        help="Networks of each configuration, with the seeds 0, 1, …; three times as many take "
        "three times as long. A network depends on its own seed only.",
    ),
]
Connection = Annotated[
    Literal["plain", "shortcut", "residual", "dense"],
    typer.Option(
        metavar="HOW",
        help="How the layers are connected: plain, shortcut (plain, and the head reads the table), "
        "residual or dense.",
    ),
]
Depth = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Layers of every network; without, each has its own."),
]
GrowthRate = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Features a layer writes: k, or the width if not dense; without, each has its own.",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Epochs of training; without, each has its own."),
]
Features = Annotated[
    Literal["book", "ours", "bins"] | None,
    typer.Option(
        metavar="WHICH",
        help="book: the book's columns; ours: those that exercise 5 describes; bins: ours with "
        "piecewise-linear bins. Without, each network has its own.",
    ),
]


@app.command()
def cv(
    connection: Connection = "dense",
    depth: Depth = None,
    growth_rate: GrowthRate = None,
    epochs: Epochs = None,
    seeds: Seeds = 1,
    features: Features = None,
    folds: Annotated[
        str,
        typer.Option(
            metavar="PARTITION",
            help="book; or a random one, N from 1 to 999: search-N, by which we chose, or fresh-N, "
            "by which we compared what was chosen.",
        ),
    ] = "book",
) -> None:
    """Cross-validate the chosen networks over five folds and say what they are: about a minute."""
    with faults_in_words(sizes=SIZES):
        checks.library("pandas", extra="houses")
        import numpy as np

        from densenet_solutions.exercises.houses import networks
        from densenet_solutions.houses import load_houses, partition
        from densenet_solutions.houses.cross_validation import scores, splits
        from densenet_solutions.houses.models import log_price

        fold = partition(folds)
        train = load_houses().train
        changed = {"depth": depth, "growth_rate": growth_rate, "epochs": epochs}
        chosen = networks.ensemble(connection, **changed, features=features)
        answers = _predict(chosen, splits(train, fold), seeds, f"five folds, partition {folds}")
        predictions = np.empty((len(answers[0]), len(train)))
        for k, answer in enumerate(answers):
            predictions[:, fold == k] = answer
        result = scores(predictions, log_price(train), fold)
    for k, rmse in enumerate(result.fold_rmse, start=1):
        typer.echo(f"fold {k}, average of {len(predictions)}, RMSE of log price {rmse:.4f}")
    n = len(predictions)
    typer.echo(f"all rows, one network (mean of {n}) {np.mean(result.member_rmse):.4f}")
    typer.echo(f"all rows, average of {n} {result.rmse:.4f}")


@app.command()
def submit(
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            parser=file_path,
            help="The file to write; missing folders are made, and a file that is there is refused "
            "without --force.",
        ),
    ] = Path("submission.csv"),
    force: Force = False,
    connection: Connection = "dense",
    depth: Depth = None,
    growth_rate: GrowthRate = None,
    epochs: Epochs = None,
    seeds: Seeds = 1,
    features: Features = None,
) -> None:
    """Train on all 1460 houses and write prices of the 1459 test houses, in 15 seconds or more."""
    with faults_in_words(sizes=SIZES):
        checks.library("pandas", extra="houses")
        import numpy as np

        from densenet_solutions.exercises.houses import networks
        from densenet_solutions.houses import load_houses, write_submission
        from densenet_solutions.houses.models import Split
        from densenet_solutions.houses.submission import output_path

        out = new_file(output_path(out), force=force)
        houses = load_houses()
        changed = {"depth": depth, "growth_rate": growth_rate, "epochs": epochs}
        chosen = networks.ensemble(connection, **changed, features=features)
        whole = [Split(houses.train, houses.test)]
        (predictions,) = _predict(chosen, whole, seeds, "all 1460 training houses")
        prices = np.exp(predictions.mean(axis=0))
        path = write_submission(out, houses.test["Id"].tolist(), prices.tolist())
    typer.echo(f"wrote {len(prices)} prices to {path}")


@app.command()
def score(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="SUBMISSION.csv", parser=file_path, help="With the columns Id and SalePrice."
        ),
    ],
) -> None:
    """Score a submission as the competition does, offline; `check houses` looks for leaks too.

    Exit code: 0 scored, 1 refused for what is in the file, 2 wrong usage.
    """
    with faults_in_words():
        from densenet_solutions.houses import score_submission
        from densenet_solutions.houses.submission import COLUMNS

        if path.is_dir():
            raise ValueError(f"SUBMISSION.csv is a file, got the folder {str(path)!r}")
        try:
            value = score_submission(path)
        except ValueError as error:
            swapped = str(error).endswith(f"got {[*reversed(COLUMNS)]}")
            typer.echo(f"refused: {error}" + ": in the other order" * swapped, err=True)
            raise typer.Exit(1) from None
    typer.echo(f"RMSE of log price on 1459 test houses {value:.5f}")


def _predict(model: Ensemble, parts: list[Split], seeds: int, rows: str) -> list[np.ndarray]:
    """Say what the networks are, and train them."""
    from densenet_solutions.exercises.houses.networks import in_words
    from densenet_solutions.threads import threads

    for network in model.networks:
        typer.echo(in_words(network))
    typer.echo(f"each with seed{'' if seeds == 1 else 's 0 to'} {seeds - 1}, on {rows}")
    epochs = sum(network.training.epochs for network in model.networks)
    total, done = epochs * seeds * len(parts), 0
    with progress("epochs of training") as told:

        def advance() -> None:
            nonlocal done
            done += 1
            told("", done, total)

        with threads(1):  # as on the page; several wait for each other beside other programs
            return model.predict(parts, range(seeds), on_epoch=advance)
