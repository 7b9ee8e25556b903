"""What page 5 shows: one function a figure or table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from densenet_solutions.exercises.houses import dense_search as dense_searches
from densenet_solutions.exercises.houses import dense_walk as dense_walks
from densenet_solutions.exercises.houses.baseline import ridge, ridge_model
from densenet_solutions.exercises.houses.boosting import TREES
from densenet_solutions.exercises.houses.recordings import DROPOUT, ENCODERS, unpack
from densenet_solutions.exercises.houses.search import CONNECTIONS, FIRST, FRESH, MEMBERS, chosen
from densenet_solutions.exercises.houses.today import FAMILIES as TODAY
from densenet_solutions.exercises.houses.walk import COMPARED, CONFIRM, ENDS, best_family
from densenet_solutions.exercises.houses.walk import FAMILIES as BOOSTED
from densenet_solutions.houses.comparison import (
    HouseDifference,
    corrected_difference,
    paired_difference,
)
from densenet_solutions.houses.cross_validation import splits
from densenet_solutions.houses.data import load_houses
from densenet_solutions.houses.folds import contiguous_folds
from densenet_solutions.houses.models import Split, log_price
from densenet_solutions.records.store import load_record

#: Coverage of one interval of the judgement, so that all hold together at about 95%.
CONFIDENCE = 1 - 0.05 / COMPARED
#: Rivals that the first plan had, those of the first search among them.
PLANNED = ("ridge", "svr", *TREES)
#: How far a network's number of weights may lie from the one drawn, as a share of it. (Building
#: them all takes seconds: a test does.)
SIZE_TOLERANCE = 0.07
#: Width of the crossed networks of 16 layers that have about as many weights (also tested).
DEEP_WIDTHS = {"plain": 56, "shortcut": 56, "residual": 55, "dense": 8}


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


def _cases(record: str, family: str, partitions: Sequence[str] = FRESH) -> list[Mapping[str, Any]]:
    cases = load_record(record).cases
    return [cases[f"{family} {where}"] for where in ("book", *partitions)]


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
    records = {
        "dense": "houses-judged",
        **dict.fromkeys(("ridge", "svr"), "houses-judged-rivals"),
        **dict.fromkeys(BOOSTED, "houses-judged-trees"),
        **{family: f"houses-judged-{family}" for family in TODAY},
    }
    found = {family: _rival(record, family) for family, record in records.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].mean))


@dataclass(frozen=True)
class FirstChoice:
    """Boosted trees as the first search chose them, at edges of its spaces.

    `book` is their error on the book's folds, `mean` on the folds of `FIRST`, and `again` what the
    later choice has there.
    """

    book: float
    mean: float
    again: float


def first_search() -> dict[str, FirstChoice]:
    """The first choice of each kind of boosted trees."""
    found = {}
    for family in TREES:
        book, *first = _cases("houses-judged-rivals", family, FIRST)
        _, *again = _cases("houses-judged-trees", family, FIRST)
        means = [float(np.mean([case["folds"] for case in cases])) for cases in (first, again)]
        found[family] = FirstChoice(book["rmse"], *means)
    return found


def _rival(record: str, family: str) -> Judged:
    """A model of one configuration, or the dense ensemble."""
    book, *fresh = _cases(record, family)
    dense = np.array([case["folds"] for case in _cases("houses-judged", "dense")[1:]])
    return _judged(book["rmse"], np.array([case["folds"] for case in fresh]), dense)


@dataclass(frozen=True)
class Confirmed:
    """Averages of three on partitions that nothing had read: means over folds.

    `difference` is trees minus dense, alone at 95%.
    """

    family: str
    trees: float
    dense: float
    difference: HouseDifference


def confirmed() -> Confirmed:
    """The best kind of trees against the dense ensemble, once more."""
    cases = load_record("houses-confirmed").cases
    trees, dense = (
        np.array([cases[f"{model} {where}"]["folds"] for where in CONFIRM])
        for model in ("trees", "dense")
    )
    difference = corrected_difference(trees, dense, confidence=0.95)
    return Confirmed(best_family(), float(trees.mean()), float(dense.mean()), difference)


def differences(comparisons: int, partitions: int | None = None) -> dict[str, HouseDifference]:
    """Every difference from dense on the first partitions, or all, with intervals for comparisons.

    Args:
        comparisons: how many intervals hold together at 95%.
        partitions: how many of `FRESH`; all by default.
    """
    return {
        name: corrected_difference(
            model.folds[:partitions],
            models["dense"].folds[:partitions],
            confidence=1 - 0.05 / comparisons,
        )
        for models in (connections(), standings())
        for name, model in models.items()
        if name != "dense"
    }


def ridge_minus_deep_dense() -> HouseDifference:
    """Ridge regression minus the chosen dense network of 16 layers on fresh folds, alone at 95%."""
    (member,) = (
        i for i, c in enumerate(chosen("houses-finalists", "dense", MEMBERS)) if c["depth"] == 16
    )
    dense = [case["member_folds"][member] for case in _cases("houses-judged", "dense")[1:]]
    return corrected_difference(standings()["ridge"].folds, np.array(dense), confidence=0.95)


@dataclass(frozen=True)
class Walk:
    """Where a walk among boosted trees ended.

    `error` is the mean of the search's two partitions, `tried` how many configurations ran.
    """

    tried: int
    ended: bool
    best: Mapping[str, Any]
    rounds: int
    error: float


def walks() -> dict[str, Walk]:
    """The whole walk of each kind of boosted trees."""
    cases = load_record("houses-walk").cases
    whole = {family: cases[walked] for family, walked in ENDS.items()}
    return {
        family: Walk(
            len(case["tried"]),
            case["ended"],
            case["best"]["configuration"],
            case["best"]["rounds"],
            case["best"]["rmse"],
        )
        for family, case in whole.items()
    }


@dataclass(frozen=True)
class DenseAverage:
    """An average of different dense networks, against that of three CatBoost models.

    `start`, `best` and `average` are errors on the search's two partitions, in the mean: what the
    choice began with, the best network, and the `members` together. `book` is the average's on the
    book's folds, and `alone` that of its networks in the mean. `dense` and `trees` are means over
    folds that nothing had read, `difference` is trees minus dense, alone at 95%.
    """

    tried: int
    start: float
    best: float
    members: int
    average: float
    book: float
    alone: float
    dense: float
    trees: float
    difference: HouseDifference


def dense_walk() -> DenseAverage:
    """The walk of dense networks, its average, and CatBoost's."""
    walk = load_record("houses-dense-walk").cases["dense"]
    start, best = walk["tried"][0]["rmse"], walk["best"]["rmse"]
    return _averaged(walk, walk["walked"], start, best, "houses-dense-judged", dense_walks.CONFIRM)


def dense_search() -> DenseAverage:
    """The second search among dense networks, its average, and CatBoost's."""
    tried = [sum(c["rmse"]) / 2 for c in load_record("houses-dense-search").cases.values()]
    average = load_record("houses-dense-average").cases["dense"]
    record = "houses-dense-average-judged"
    return _averaged(
        average, len(tried), float(np.median(tried)), min(tried), record, dense_searches.CONFIRM
    )


def _averaged(
    chosen: Mapping[str, Any], tried: int, start: float, best: float, judged: str,
    confirm: Sequence[str],
) -> DenseAverage:  # fmt: skip
    cases = load_record(judged).cases
    dense, trees = (
        np.array([cases[f"{model} {where}"]["folds"] for where in confirm])
        for model in ("dense", "catboost")
    )
    return DenseAverage(
        tried=tried,
        start=start,
        best=best,
        members=len(chosen["members"]),
        average=chosen["average"][-1],
        book=cases["dense book"]["rmse"],
        alone=float(np.mean(cases["dense book"]["member_rmse"])),
        dense=float(dense.mean()),
        trees=float(trees.mean()),
        difference=corrected_difference(trees, dense, confidence=0.95),
    )


def first_errors() -> dict[str, float]:
    """What the first search's choices had on the same two partitions, in the mean."""
    cases = list(load_record("houses-finalists-rivals").cases.values())
    return {
        family: min((c["rmse"] + c["rmse_before"]) / 2 for c in cases if c["family"] == family)
        for family in TREES
    }


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


def finalists(family: str) -> list[tuple[float, float]]:
    """Errors of the finalists on the first and on the second search partition, in this order."""
    record = "houses-finalists" if family in CONNECTIONS else "houses-finalists-rivals"
    cases = load_record(record).cases.values()
    return sorted((c["rmse_before"], c["rmse"]) for c in cases if c["family"] == family)


def frozen() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Errors of trials of 16 layers, by connection: layers trained, and left at their start."""
    found: dict[str, list[tuple[float, float]]] = {}
    for case in load_record("houses-frozen").cases.values():
        found.setdefault(case["family"], []).append((case["trained"], case["left"]))
    return {
        connection: (errors[:, 0], errors[:, 1])
        for connection, errors in ((c, np.array(pairs)) for c, pairs in found.items())
    }


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
        for where in FIRST
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


# The test rows ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FinalScore:
    """A model on the test rows; intervals are over houses and know nothing of retraining.

    That of `against_dense` has 95% for itself; those of `corrected` hold together.
    """

    rmse: float
    without_two: float
    against_dense: HouseDifference
    corrected: HouseDifference


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
            paired_difference(e, errors["dense"], confidence=1 - 0.05 / (len(errors) - 1)),
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

    Each is `(on all rows, on the others)`; a change is trained without minus trained on all, with
    an interval over houses. `giants` is how many there are.
    """

    giants: int
    trained_on_all: tuple[float, float]
    trained_without: tuple[float, float]
    change: tuple[HouseDifference, HouseDifference]


def de_cock(encoder: Any) -> WithoutGiants:
    """De Cock's advice, to leave houses above 4000 square feet out, on the book's folds."""
    train = load_houses().train
    target, folds = log_price(train), contiguous_folds(len(train))
    giant = train["GrLivArea"].to_numpy() > 4000
    model = ridge_model(encoder)
    errors = np.stack([ridge(encoder).errors, np.empty(len(train))])
    for k, split in enumerate(splits(train, folds)):
        cut = Split(split.train[split.train["GrLivArea"] <= 4000], split.new)
        errors[1, folds == k] = model.predict([cut], (0,))[0][0] - target[folds == k]
    on_all, without = (
        (float(np.sqrt(np.mean(e**2))), float(np.sqrt(np.mean(e[~giant] ** 2)))) for e in errors
    )
    others = errors[:, ~giant]
    change = paired_difference(errors[1], errors[0]), paired_difference(others[1], others[0])
    return WithoutGiants(int(giant.sum()), on_all, without, change)
