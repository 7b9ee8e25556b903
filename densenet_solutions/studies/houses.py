"""What page 5 shows: one function a figure or table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from densenet_solutions.records.store import Record, load_record
from densenet_solutions.results import HouseDifference, HouseScores
from densenet_solutions.studies.houses_search import (
    FRESH,
    best_configuration,
    build,
    unpack,
)


def chosen_network() -> Network:
    """The dense MLP that the recorded search chose."""
    network = build("dense", best_configuration(load_record("houses-search"), "dense"))
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
        "100 epochs": BookLinear(centred=True, epochs=100),
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
def live_run(seeds: int = 1, every: int = 3) -> tuple[HouseScores, LearningCurve]:
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
    """A family on the book's folds, on the fresh partitions, and on the test rows.

    `against_dense` is its error minus that of the dense network over all fresh partitions;
    `test_against_dense` the same on the test rows.
    """

    family: str
    book: float
    fresh: tuple[float, ...]
    test: float
    against_dense: HouseDifference
    test_against_dense: HouseDifference


@cache
def standings() -> tuple[Standing, ...]:
    """All recorded families, best first by their mean over the fresh partitions."""
    cases = load_record("houses-partitions").cases
    final = load_record("houses-final").cases

    def fresh_errors(family: str) -> np.ndarray:
        return np.stack([unpack(cases[f"{family} {name}"]["errors"]) for name in FRESH])

    dense = fresh_errors("dense")
    dense_test = unpack(final["dense"]["errors"])
    rows = [
        Standing(
            family=family,
            book=cases[f"{family} book"]["rmse"],
            fresh=tuple(cases[f"{family} {name}"]["rmse"] for name in FRESH),
            test=case["rmse"],
            against_dense=paired_difference(fresh_errors(family), dense),
            test_against_dense=paired_difference(unpack(case["errors"]), dense_test),
        )
        for family, case in final.items()
    ]
    return tuple(sorted(rows, key=lambda row: float(np.mean(row.fresh))))


@dataclass(frozen=True)
class Depths:
    """Errors over depth, `connection → one value a depth`, on the book's folds.

    `tuned` has the best normalisation and learning rate of each cell, `untuned` one recipe for all.
    """

    depths: tuple[int, ...]
    tuned: dict[str, tuple[float, ...]]
    untuned: dict[str, tuple[float, ...]]
    norms: dict[str, tuple[str, ...]]


def depths() -> Depths:
    """The recorded comparison of connections over depth; a cell is the mean of its members."""
    record = load_record("houses-depth")
    found = sorted({c["depth"] for c in record.cases.values()})
    names = list(dict.fromkeys(c["connection"] for c in record.cases.values()))

    def row(name: str, read: Callable[[dict[str, Any]], Any]) -> tuple[Any, ...]:
        return tuple(read(record.cases[f"{name} {depth}"]) for depth in found)

    def member_mean(key: str) -> Callable[[dict[str, Any]], float]:
        return lambda case: float(np.mean(case[key]["member_rmse"]))

    return Depths(
        depths=tuple(found),
        tuned={n: row(n, member_mean("tuned")) for n in names},
        untuned={n: row(n, member_mean("untuned")) for n in names},
        norms={
            n: row(n, lambda c: min(c["trials"], key=lambda t: t["rmse"])["norm"]) for n in names
        },
    )


def growth() -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Growth rates, and the mean error of a single dense network at each."""
    cases = load_record("houses-growth").cases.values()
    return (
        tuple(c["growth_rate"] for c in cases),
        tuple(float(np.mean(c["member_rmse"])) for c in cases),
    )


def search() -> Record:
    """Everything that was tried, and how it scored."""
    return load_record("houses-search")


def worst_houses(count: int = 5) -> pd.DataFrame:
    """Training houses that the chosen network gets most wrong in cross-validation, worst first.

    Columns: Id, error (predicted minus true log price), GrLivArea (square feet), OverallQual,
    Neighborhood, SaleCondition, SalePrice (dollars).
    """
    train = load_houses().train
    errors = unpack(load_record("houses-partitions").cases["dense book"]["errors"])
    columns = ["Id", "GrLivArea", "OverallQual", "Neighborhood", "SaleCondition", "SalePrice"]
    table = train[columns].assign(error=errors)
    return table.iloc[np.argsort(-np.abs(errors))[:count]].reset_index(drop=True)


def unfinished_giants() -> pd.DataFrame:
    """The houses over 4500 square feet that were sold unfinished: two in train, one in test."""
    houses = pd.concat(load_houses(), ignore_index=True)
    giant = (houses["GrLivArea"] > 4500) & (houses["SaleCondition"] == "Partial")
    return houses.loc[giant, ["Id", "GrLivArea", "OverallQual", "Neighborhood", "SalePrice"]]


def two_houses_share() -> float:
    """Share of the test set's squared error that Ids 1537 and 2217 make, for the dense network."""
    errors = unpack(load_record("houses-final").cases["dense"]["errors"])
    ids = load_houses().test["Id"].to_numpy()
    return float((errors[np.isin(ids, (1537, 2217))] ** 2).sum() / (errors**2).sum())
