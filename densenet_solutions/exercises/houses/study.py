"""What page 5 shows: one function a figure or table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from densenet_solutions.exercises.houses.options import DEPTHS
from densenet_solutions.exercises.houses.recordings import unpack
from densenet_solutions.exercises.houses.search import (
    FRESH,
    NETWORKS,
    SPACES,
    best_configuration,
    build,
)
from densenet_solutions.houses.cross_validation import (
    HouseDifference,
    HouseScores,
    cross_validate,
    paired_difference,
)
from densenet_solutions.houses.cross_validation import splits as make_splits
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.encoders import BookEncoder
from densenet_solutions.houses.folds import contiguous_folds
from densenet_solutions.houses.models import (
    BookLinear,
    Estimator,
    Mean,
    Model,
    Network,
    log_price,
)
from densenet_solutions.records.store import load_record

#: The records behind the page.
RECORDS = (
    "houses-search",
    "houses-search-rivals",
    "houses-partitions",
    "houses-partitions-rivals",
    "houses-steps",
    "houses-depth",
    "houses-growth",
    "houses-final",
)
#: Families of boosted trees.
TREES = ("hist-boosting", "lightgbm", "xgboost", "catboost")


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
    ridge = partial(_ridge, alpha=30.0)
    models: dict[str, Model] = {
        "the mean of the training fold": Mean(),
        "the book: linear, SGD, 10 epochs": BookLinear(encoder=_fitted_on_all_rows),
        "fitted on the training fold only": BookLinear(),
        "target centred": BookLinear(centered=True),
        "solved exactly with a penalty (ridge)": Estimator(ridge, encoder=BookEncoder),
        "our features": Estimator(ridge),
    }
    train = load_houses().train
    return tuple(Rung(name, cross_validate(model, train)) for name, model in models.items())


def _ridge(seed: int, alpha: float) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=alpha)


@cache
def _fitted_on_all_rows() -> FrozenEstimator:
    """The book's encoder as the book fits it: on training and test rows together."""
    return FrozenEstimator(BookEncoder().fit(pd.concat(load_houses(), ignore_index=True)))


def leak() -> float:
    """What ridge regression gains from features fitted on all rows, rows to be predicted included.

    The error with the leak minus the error without it, on the book's folds.
    """
    leaking = Estimator(partial(_ridge, alpha=30.0), encoder=_fitted_on_all_rows)
    honest = next(r for r in ladder() if r.name.endswith("(ridge)"))
    return cross_validate(leaking, load_houses().train).rmse - honest.scores.rmse


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
    """Error on the rows that a network does not see, after each of `epochs`."""

    epochs: tuple[int, ...]
    rmse: tuple[float, ...]


@cache
def live_fold(fold: int = 0, epochs: int = 16, every: int = 2) -> LearningCurve:
    """One network, trained on all of the book's folds but one and scored on that.

    For `epochs` at most: a page is built in seconds.
    """
    network = chosen_network()
    training = replace(network.training, epochs=min(epochs, network.training.epochs))
    train = load_houses().train
    split = make_splits(train, contiguous_folds(len(train)))[fold]
    target = log_price(train)[contiguous_folds(len(train)) == fold]
    seen: list[int] = []
    rmse: list[float] = []

    def watch(epoch: int, predict: Callable[[], list[np.ndarray]]) -> None:
        if epoch % every == 0:
            seen.append(epoch)
            rmse.append(float(np.sqrt(np.mean((predict()[0][0] - target) ** 2))))

    replace(network, training=training).predict([split], range(1), on_epoch=watch)
    return LearningCurve(tuple(seen), tuple(rmse))


@dataclass(frozen=True)
class Recorded:
    """The chosen dense MLP on the book's folds: an ensemble, its members, its errors by row."""

    rmse: float
    members: tuple[float, ...]
    folds: tuple[float, ...]
    errors: np.ndarray


def dense_on_the_books_folds() -> Recorded:
    """What `houses cv` prints, as recorded."""
    case = load_record("houses-partitions").cases["dense book"]
    errors = unpack(case["errors"])
    folds = contiguous_folds(len(errors))
    return Recorded(
        rmse=case["rmse"],
        members=tuple(case["member_rmse"]),
        folds=tuple(float(np.sqrt(np.mean(errors[folds == k] ** 2))) for k in np.unique(folds)),
        errors=errors,
    )


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
    """All families on all partitions, best first by their mean over the fresh ones."""
    cases = {
        **load_record("houses-partitions").cases,
        **load_record("houses-partitions-rivals").cases,
    }

    def fresh_errors(family: str) -> np.ndarray:
        return np.stack([unpack(cases[f"{family} {name}"]["errors"]) for name in FRESH])

    rows = [
        Standing(
            family=family,
            book=cases[f"{family} book"]["rmse"],
            fresh=tuple(cases[f"{family} {name}"]["rmse"] for name in FRESH),
            against_dense=paired_difference(fresh_errors(family), fresh_errors("dense")),
        )
        for family in SPACES
    ]
    return tuple(sorted(rows, key=lambda row: float(np.mean(row.fresh))))


@dataclass(frozen=True)
class FinalScore:
    """A family on the test rows; `against_dense` is its error minus the dense network's."""

    family: str
    rmse: float
    against_dense: HouseDifference


def scores_on_the_test_rows() -> tuple[FinalScore, ...]:
    """What every family scored on the test rows, best first."""
    cases = load_record("houses-final").cases
    dense = unpack(cases["dense"]["errors"])
    rows = [
        FinalScore(name, case["rmse"], paired_difference(unpack(case["errors"]), dense))
        for name, case in cases.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.rmse))


def dense_test_errors() -> dict[int, float]:
    """Id of each test house → predicted minus true log price of the dense networks."""
    errors = unpack(load_record("houses-final").cases["dense"]["errors"])
    return dict(zip(load_houses().test["Id"].tolist(), errors.tolist(), strict=True))


@dataclass(frozen=True)
class Depths:
    """Error over depth, `connection → one value a depth`, on the book's folds."""

    depths: tuple[int, ...]
    as_it_is: dict[str, tuple[float, ...]]
    tuned: dict[str, tuple[float, ...]]
    chosen: dict[str, tuple[str, ...]]


def depths() -> Depths:
    """The recorded comparison of connections over depth."""
    cases = load_record("houses-depth").cases

    def lines(kind: str) -> dict[str, tuple[float, ...]]:
        return {
            n: tuple(float(np.mean(cases[f"{n} {d}"][kind]["member_rmse"])) for d in DEPTHS)
            for n in NETWORKS
        }

    chosen = {
        n: tuple(
            f"{tuned['learning_rate']:g}{', layer norm' if tuned['norm'] == 'layer' else ''}"
            for d in DEPTHS
            for tuned in (cases[f"{n} {d}"]["tuned"],)
        )
        for n in NETWORKS
    }
    return Depths(DEPTHS, lines("as_it_is"), lines("tuned"), chosen)


def largest_seed_range(connections: Sequence[str]) -> float:
    """How far seeds of one network of `depths` lie apart at most."""
    cases = load_record("houses-depth").cases
    runs = [
        cases[f"{name} {depth}"][kind]["member_rmse"]
        for name in connections
        for depth in DEPTHS
        for kind in ("as_it_is", "tuned")
    ]
    return float(max(max(seeds) - min(seeds) for seeds in runs))


def unfinished_giants() -> pd.DataFrame:
    """The houses over 4500 square feet that were sold unfinished: two in train, one in test."""
    houses = pd.concat(load_houses(), ignore_index=True)
    giant = (houses["GrLivArea"] > 4500) & (houses["SaleCondition"] == "Partial")
    return houses.loc[giant, ["Id", "GrLivArea", "OverallQual", "Neighborhood", "SalePrice"]]
