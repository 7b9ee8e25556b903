"""What page 5 shows: one function a figure or table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd

from densenet_solutions.houses.cross_validation import cross_validate, paired_difference, scores
from densenet_solutions.houses.cross_validation import splits as make_splits
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.folds import contiguous_folds
from densenet_solutions.houses.models import (
    BookLinear,
    Estimator,
    Mean,
    Model,
    Network,
    log_price,
)
from densenet_solutions.houses.preprocessing import BookEncoder
from densenet_solutions.records.store import Record, load_record, record_names
from densenet_solutions.results import HouseDifference, HouseScores
from densenet_solutions.studies.houses_search import (
    DEPTHS,
    FRESH,
    NETWORKS,
    SPACES,
    best_configuration,
    build,
    unpack,
)


def chosen_network() -> Network:
    """The dense MLP that the recorded search chose; without that record, the default."""
    network = build("dense", best_configuration("dense"))
    assert isinstance(network, Network)
    return network


@dataclass(frozen=True)
class Rung:
    """One step from the book's baseline to ours: what it is, and its cross-validation."""

    name: str
    scores: HouseScores


@cache
def ladder() -> tuple[Rung, ...]:
    """From the mean and the book's linear model to ridge regression on our features, live.

    Every rung changes one thing. All are scored on the book's five folds.
    """
    houses = load_houses()
    everything = pd.concat(houses, ignore_index=True)
    ridge = partial(_ridge, alpha=30.0)
    models: dict[str, Model] = {
        "the mean of the training fold": Mean(),
        "the book: linear, SGD, 10 epochs": BookLinear(everything=everything),
        "fitted on the training fold only": BookLinear(),
        "target centred": BookLinear(centred=True),
        "solved exactly with a penalty (ridge)": Estimator(ridge, encoder=BookEncoder),
        "our features": Estimator(ridge),
    }
    return tuple(Rung(name, cross_validate(m, houses.train)) for name, m in models.items())


def _ridge(seed: int, alpha: float) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=alpha)


@dataclass(frozen=True)
class BaselineFailure:
    """Why the book's baseline fails: errors by how many unusual levels a house has.

    `groups` are the bounds of the count of levels shared by fewer than a tenth of the houses;
    `mean_error` is predicted minus true log price in each group, `rows` its size.
    """

    groups: tuple[str, ...]
    rows: tuple[int, ...]
    mean_error: tuple[float, ...]


def baseline_failure() -> BaselineFailure:
    """The book's baseline undervalues houses with rare levels: their columns have hardly moved."""
    train = load_houses().train
    book = next(r for r in ladder() if r.name.startswith("the book"))
    x = BookEncoder().fit(train)
    dummies = x.transform(train)[:, len(x.mean_) :]
    rare = (dummies[:, dummies.mean(axis=0) < 0.1] > 0).sum(axis=1)
    errors = np.asarray(book.scores.errors)
    bounds = [(0, 3), (4, 5), (6, 7), (8, 99)]
    masks = [(rare >= low) & (rare <= high) for low, high in bounds]
    return BaselineFailure(
        groups=("0–3", "4–5", "6–7", "8 or more"),
        rows=tuple(int(m.sum()) for m in masks),
        mean_error=tuple(float(errors[m].mean()) for m in masks),
    )


@dataclass(frozen=True)
class LearningCurve:
    """Error of the ensemble in cross-validation after each of `epochs`."""

    epochs: tuple[int, ...]
    rmse: tuple[float, ...]


@cache
def live_run(seeds: int = 1, every: int = 4) -> tuple[HouseScores, LearningCurve]:
    """The chosen network on the book's folds: `houses cv --seeds N`, with its learning curve."""
    train = load_houses().train
    folds = contiguous_folds(len(train))
    target = log_price(train)
    epochs: list[int] = []
    rmse: list[float] = []

    def score(answers: Sequence[np.ndarray]) -> HouseScores:
        predictions = np.empty((seeds, len(train)))
        for k, answer in enumerate(answers):
            predictions[:, folds == k] = answer
        return scores(predictions, target, folds)

    def watch(epoch: int, predict: Callable[[], list[np.ndarray]]) -> None:
        if epoch % every == 0:
            epochs.append(epoch)
            rmse.append(score(predict()).rmse)

    answers = chosen_network().predict(make_splits(train, folds), range(seeds), on_epoch=watch)
    return score(answers), LearningCurve(tuple(epochs), tuple(rmse))


@dataclass(frozen=True)
class Standing:
    """A family on the book's folds and on the fresh partitions.

    `against_dense` is its error minus that of the dense network over all fresh partitions.
    """

    family: str
    book: float
    fresh: tuple[float, ...]
    against_dense: HouseDifference


@cache
def standings() -> tuple[Standing, ...]:
    """Families recorded on all partitions, best first by their mean over the fresh ones."""
    if "houses-partitions" not in recorded():
        return ()
    cases = recorded()["houses-partitions"].cases

    def complete(family: str) -> bool:
        return all(f"{family} {name}" in cases for name in ("book", *FRESH))

    def fresh_errors(family: str) -> np.ndarray:
        return np.stack([unpack(cases[f"{family} {name}"]["errors"]) for name in FRESH])

    if not complete("dense"):
        return ()
    rows = [
        Standing(
            family=family,
            book=cases[f"{family} book"]["rmse"],
            fresh=tuple(cases[f"{family} {name}"]["rmse"] for name in FRESH),
            against_dense=paired_difference(fresh_errors(family), fresh_errors("dense")),
        )
        for family in SPACES
        if complete(family)
    ]
    return tuple(sorted(rows, key=lambda row: float(np.mean(row.fresh))))


def recorded() -> dict[str, Record]:
    """The records of this exercise that there are, by name."""
    return {name: load_record(name) for name in record_names() if name.startswith("houses-")}


@dataclass(frozen=True)
class Depths:
    """Error of one network over depth, `connection → one value a depth`, on the book's folds."""

    depths: tuple[int, ...]
    without_norm: dict[str, tuple[float, ...]]
    with_norm: dict[str, tuple[float, ...]]


def depths() -> Depths:
    """The recorded comparison of connections over depth, as far as all three are there."""
    cases = load_record("houses-depth").cases
    done = tuple(d for d in DEPTHS if all(f"{name} {d}" in cases for name in NETWORKS))

    def lines(norm: str) -> dict[str, tuple[float, ...]]:
        return {n: tuple(cases[f"{n} {d}"][norm]["rmse"] for d in done) for n in NETWORKS}

    return Depths(done, lines("none"), lines("layer"))


def depth_sentence(depths: Depths) -> str:
    """What the depth figure shows, in words, with its numbers and without a winner."""

    def course(runs: Mapping[str, Sequence[float]]) -> str:
        return "; ".join(f"{n} from {runs[n][0]:.4f} to {runs[n][-1]:.4f}" for n in NETWORKS)

    return (
        f"At equal parameters, from {depths.depths[0]} to {depths.depths[-1]} layers. Without "
        f"normalisation: {course(depths.without_norm)}. With layer normalisation: "
        f"{course(depths.with_norm)}. Deep plain networks break down; dense and residual ones do "
        "not, because both have short paths from the table to the output. Which of the two is "
        "better is not decided here: one seed a point, and one learning rate for all, tuned for "
        "none. Depth itself buys nothing on this table."
    )


def unfinished_giants() -> pd.DataFrame:
    """The houses over 4500 square feet that were sold unfinished: two in train, one in test."""
    houses = pd.concat(load_houses(), ignore_index=True)
    giant = (houses["GrLivArea"] > 4500) & (houses["SaleCondition"] == "Partial")
    return houses.loc[giant, ["Id", "GrLivArea", "OverallQual", "Neighborhood", "SalePrice"]]
