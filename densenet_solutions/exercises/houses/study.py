"""What page 5 shows: one function a figure or table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge

from densenet_solutions.exercises.houses.histogram import FAMILY, SPACE, chosen_configuration
from densenet_solutions.exercises.houses.recordings import DROPOUT, ENCODERS, unpack
from densenet_solutions.exercises.houses.rivals import SPACES
from densenet_solutions.exercises.houses.search import (
    COMPARISONS,
    CONNECTIONS,
    FRESH,
    chosen,
)
from densenet_solutions.exercises.houses.today import FAMILIES
from densenet_solutions.houses.comparison import (
    HouseDifference,
    corrected_difference,
    paired_difference,
)
from densenet_solutions.houses.cross_validation import HouseScores, cross_validate, splits
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.encoders import BookEncoder, HouseEncoder
from densenet_solutions.houses.folds import contiguous_folds
from densenet_solutions.houses.models import (
    BookLinear,
    Estimator,
    Mean,
    Split,
    encode,
    log_price,
)
from densenet_solutions.houses.training import Task
from densenet_solutions.records.store import load_record

#: Rivals that were added when the results of the others were known; each has a record of its own.
ADDED = (FAMILY, *FAMILIES)
#: Coverage of one interval of the judgement, so that all, the added ones too, hold together at
#: about 95%.
CONFIDENCE = 1 - 0.05 / (COMPARISONS + len(ADDED))
#: How far a network's number of weights may lie from the one drawn, as a share of it. (Building
#: them all takes seconds: a test does.)
SIZE_TOLERANCE = 0.07
#: Width of the crossed networks of 16 layers that have about as many weights (also tested).
DEEP_WIDTHS = {"plain": 56, "dense": 8}


# The judgement ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A model on partitions that did not choose it.

    `folds` are errors of the fresh folds, `(partitions, folds)`; `book` is the pooled error on the
    book's folds. `difference` is its mean error by fold minus that of the dense network.
    """

    book: float
    folds: np.ndarray
    difference: HouseDifference

    @property
    def mean(self) -> float:
        return float(self.folds.mean())


def _cases(record: str, family: str) -> list[Mapping[str, Any]]:
    cases = load_record(record).cases
    return [cases[f"{family} {where}"] for where in ("book", *FRESH)]


@cache
def connections() -> dict[str, Judged]:
    """Single networks of each connection, the mean of its chosen configurations."""
    cases = {c: _cases("houses-judged", c) for c in CONNECTIONS}
    book = {c: float(np.mean(cases[c][0]["member_rmse"])) for c in CONNECTIONS}
    folds = {
        c: np.array([np.mean(case["member_folds"], axis=0) for case in cases[c][1:]])
        for c in CONNECTIONS
    }
    return {c: _judged(book[c], folds[c], folds["dense"]) for c in CONNECTIONS}


@cache
def averages() -> dict[str, Judged]:
    """Averages of the three chosen networks of each connection."""
    cases = {c: _cases("houses-judged", c) for c in CONNECTIONS}
    folds = {c: np.array([case["folds"] for case in cases[c][1:]]) for c in CONNECTIONS}
    return {c: _judged(cases[c][0]["rmse"], folds[c], folds["dense"]) for c in CONNECTIONS}


@cache
def standings() -> dict[str, Judged]:
    """The dense ensemble and the rivals, best first."""
    dense = _cases("houses-judged", "dense")
    families = dict.fromkeys(case.rpartition(" ")[0] for case in _rivals())
    all_cases = {
        "dense": dense,
        **{family: _cases("houses-judged-rivals", family) for family in families},
        **{family: _cases(f"houses-judged-{family}", family) for family in ADDED},
    }
    ours = np.array([case["folds"] for case in dense[1:]])
    found = {
        family: _judged(cases[0]["rmse"], np.array([c["folds"] for c in cases[1:]]), ours)
        for family, cases in all_cases.items()
    }
    return dict(sorted(found.items(), key=lambda item: item[1].mean))


def boosting(family: str) -> dict[str, Any]:
    """The configuration of boosted trees that the search chose."""
    if family == FAMILY:
        return chosen_configuration()
    return chosen("houses-finalists-rivals", family, 1)[0]


def at_the_edge(family: str) -> tuple[set[str], set[str]]:
    """Options of boosted trees chosen at the lowest, and at the highest, of the values offered.

    Of a range nothing is told: its ends are hardly ever drawn.
    """
    space = {**SPACES, FAMILY: SPACE}[family]
    values = {option: offered for option, offered in space.items() if offered[-1] != "log"}
    found = boosting(family)
    lowest = {option for option, offered in values.items() if found[option] == min(offered)}
    return lowest, {option for option, offered in values.items() if found[option] == max(offered)}


def _rivals() -> list[str]:
    return list(load_record("houses-judged-rivals").cases)


def _judged(book: float, folds: np.ndarray, dense: np.ndarray) -> Judged:
    return Judged(book, folds, corrected_difference(folds, dense, confidence=CONFIDENCE))


@cache
def trials() -> dict[str, list[Mapping[str, Any]]]:
    """Every trial of the search, by connection."""
    cases = load_record("houses-search").cases.values()
    return {c: [case for case in cases if case["family"] == c] for c in CONNECTIONS}


def trials_of_ridge() -> list[float]:
    """Errors of every trial of ridge regression, on the partition of `trials`."""
    cases = load_record("houses-search-rivals").cases.values()
    return [case["rmse"] for case in cases if case["family"] == "ridge"]


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the pooled error of one dense network.

    `seeds` within a partition, `partitions` beyond what seeds explain (0 where that is negative).
    """

    seeds: float
    partitions: float


def spread() -> Spread:
    """How far seeds and partitions move the error of the best dense configuration."""
    cases = load_record("houses-judged").cases
    rmse = np.array([
        [cases[f"dense {where}"]["member_rmse"][0],
         *(cases[f"dense {where} seed {seed}"]["rmse"] for seed in (1, 2))]
        for where in FRESH
    ])  # fmt: skip
    seeds = rmse.var(axis=1, ddof=1).mean()
    between = rmse.mean(axis=1).var(ddof=1) - seeds / rmse.shape[1]
    return Spread(float(np.sqrt(seeds)), float(np.sqrt(max(between, 0))))


def dense_on_the_books_folds() -> tuple[float, tuple[float, ...], np.ndarray]:
    """What `houses cv` prints, as recorded: ensemble, members, and errors by row."""
    case = load_record("houses-judged").cases["dense book"]
    return case["rmse"], tuple(case["member_rmse"]), unpack(case["errors"])


# Crossed factors --------------------------------------------------------------------------------


def factors() -> dict[str, dict[str, float]]:
    """Features → dropout → error of one network on the book's folds, and a ridge regression's."""
    cases = load_record("houses-factors").cases
    return {
        features: {
            "ridge": ridge(encoder).rmse,
            **{d: float(np.mean(cases[f"{features}, {d}"]["member_rmse"])) for d in DROPOUT},
        }
        for features, encoder in ENCODERS.items()
    }


def deep() -> dict[str, dict[str, float]]:
    """Dropout of features and initialisation → connection → error of one network of 16 layers."""
    found: dict[str, dict[str, float]] = {}
    for case in load_record("houses-deep").cases.values():
        start = {"he": "He's start", "default": "default start"}[case["init"]]
        cell = found.setdefault(f"{case['dropout']:g}, {start}", {})
        cell[case["connection"]] = float(np.mean(case["member_rmse"]))
    return found


# The book's baseline, live ----------------------------------------------------------------------


def ladder() -> dict[str, float]:
    """Errors from the mean and the book's linear model to ridge regression on our features."""
    train = load_houses().train
    centered = BookLinear(encoder=_fitted_on_all_rows, centered=True)
    return {
        "the mean": cross_validate(Mean(), train).rmse,
        "the book: linear, SGD, 10 epochs": books_model(leak=True)[0],
        "the same, target centred": cross_validate(centered, train).rmse,
        "solved exactly with a penalty (ridge)": ridge(BookEncoder).rmse,
        "ridge, our features": ridge(HouseEncoder).rmse,
    }


@cache
def books_model(*, leak: bool) -> tuple[float, ...]:
    """Errors of the book's linear model on the book's folds, one for each of four seeds from 0.

    Its encoder is fitted on all rows, as in the book, or without the leak on training folds.
    """
    model = BookLinear(encoder=_fitted_on_all_rows if leak else BookEncoder)
    return cross_validate(model, load_houses().train, seeds=range(4)).member_rmse


@cache
def ridge(encoder: Any, alpha: float = 30.0) -> HouseScores:
    """Ridge regression on the book's folds."""
    return cross_validate(Estimator(partial(_ridge, alpha), encoder), load_houses().train)


def _ridge(alpha: float, seed: int) -> Any:
    return Ridge(alpha=alpha)


@cache
def _fitted_on_all_rows() -> FrozenEstimator:
    """The book's encoder as the book fits it: on training and test rows together."""
    return FrozenEstimator(BookEncoder().fit(pd.concat(load_houses(), ignore_index=True)))


def leak() -> float:
    """Error of ridge regression with the book's leak minus that without it, the book's folds."""
    return ridge(_fitted_on_all_rows).rmse - ridge(BookEncoder).rmse


def books_constant() -> tuple[float, ...]:
    """How far the constant b of the book's regression has come after 10 epochs, by fold."""
    train = load_houses().train
    found = []
    for split in splits(train, contiguous_folds(len(train))):
        task = encode(_fitted_on_all_rows, split)
        nowhere = Task(task.x, task.y, np.zeros((1, task.x.shape[1])))
        found.append(float(BookLinear()._fit_predict(nowhere, 0)[0]))
    return tuple(found)


def books_errors() -> np.ndarray:
    """Predicted minus true log price of the book's regression with one seed, by row."""
    model = BookLinear(encoder=_fitted_on_all_rows)
    return np.array(cross_validate(model, load_houses().train).errors)


# The test rows ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FinalScore:
    """A model on the test rows; the interval is over houses and knows nothing of retraining."""

    rmse: float
    without_two: float
    against_dense: HouseDifference


def scores_on_the_test_rows() -> dict[str, FinalScore]:
    """What every model scored on the test rows, best first; and without the two worst houses."""
    cases = {**load_record("houses-final").cases, **load_record("houses-final-rivals").cases}
    errors = {family: unpack(case["errors"]) for family, case in cases.items()}
    kept = np.ones(len(errors["dense"]), bool)
    kept[list(worst_test_rows())] = False
    found = {
        family: FinalScore(
            cases[family]["rmse"],
            float(np.sqrt(np.mean(e[kept] ** 2))),
            paired_difference(e, errors["dense"]),
        )
        for family, e in errors.items()
    }
    return dict(sorted(found.items(), key=lambda item: item[1].rmse))


def worst_test_rows() -> tuple[int, int]:
    """Positions of the two test houses with the largest errors of the dense ensemble."""
    errors = unpack(load_record("houses-final").cases["dense"]["errors"])
    first, second = np.argsort(-np.abs(errors))[:2].tolist()
    return first, second


# Houses that are hard ---------------------------------------------------------------------------


def share_of(ids: Sequence[int], errors: Sequence[float] | np.ndarray) -> float:
    """Share of some training houses in the squared error."""
    squared = np.square(errors)
    return float(squared[np.asarray(ids) - 1].sum() / squared.sum())


def partial_sales() -> tuple[int, float, float]:
    """Houses that were not complete when last assessed: how many, their median price, others'."""
    train = load_houses().train
    unfinished = train["SaleCondition"] == "Partial"
    prices = train["SalePrice"]
    normal = prices[train["SaleCondition"] == "Normal"]
    return int(unfinished.sum()), float(prices[unfinished].median()), float(normal.median())


@dataclass(frozen=True)
class WithoutGiants:
    """Ridge regression trained with and without houses above 4000 square feet.

    Each is `(error on all rows, error on the others)`; `giants` is how many there are.
    """

    giants: int
    trained_on_all: tuple[float, float]
    trained_without: tuple[float, float]


def de_cock(encoder: Any) -> WithoutGiants:
    """De Cock's advice, to leave houses above 4000 square feet out, on the book's folds."""
    train = load_houses().train
    target, folds = log_price(train), contiguous_folds(len(train))
    giant = train["GrLivArea"].to_numpy() > 4000
    model = Estimator(partial(_ridge, 30.0), encoder)
    errors = np.stack([ridge(encoder).errors, np.empty(len(train))])
    for k, split in enumerate(splits(train, folds)):
        cut = Split(split.train[split.train["GrLivArea"] <= 4000], split.new)
        errors[1, folds == k] = model.predict([cut], (0,))[0][0] - target[folds == k]
    on_all, without = (
        (float(np.sqrt(np.mean(e**2))), float(np.sqrt(np.mean(e[~giant] ** 2)))) for e in errors
    )
    return WithoutGiants(int(giant.sum()), on_all, without)
