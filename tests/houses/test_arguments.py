"""Hostile arguments, beside right ones: each wrong one is refused with the rule and the value."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from densenet_solutions.houses import (
    BookEncoder,
    HouseEncoder,
    Network,
    TrainingOptions,
    contiguous_folds,
    corrected_difference,
    cross_validate,
    load_houses,
    paired_difference,
    partition,
    score_submission,
    shuffled_folds,
    write_submission,
)
from densenet_solutions.houses.data import download
from densenet_solutions.houses.models import BookLinear, Mean, log_price
from densenet_solutions.houses.submission import TEST_IDS
from densenet_solutions.houses.training import Task, fit_predict

TRAIN, TEST = load_houses()
FEW = TRAIN.head(40)
FOLDS = contiguous_folds(40)
ONES = [1.0] * len(TEST_IDS)


class Answers(Mean):
    """A model that gives the same answer for every fold."""

    def __new__(cls, answer):
        model = super().__new__(cls)
        object.__setattr__(model, "answer", answer)
        return model

    def __init__(self, answer):
        pass

    def predict(self, splits, seeds):
        return [self.answer for _ in splits]


def price(value):
    return FEW.assign(SalePrice=[value, *FEW["SalePrice"].tolist()[1:]])


def few(column, value):
    return FEW.assign(**{column: value})


def task(x=(8, 3), y=(8,), new=(2, 3), value=0.0):
    return Task(np.full(x, value), np.zeros(y), np.zeros(new))


def train(make=lambda width: nn.Sequential(nn.Linear(width, 1), nn.Flatten(0)), **options):
    arguments = {"task": task(), "seed": 0, "training": TrainingOptions(epochs=1)}
    return fit_predict(make, *(arguments | options).values())


def write(ids=TEST_IDS, prices=None, name="s.csv"):
    def call(folder):
        path = folder / name
        write_submission(path, ids, [1e5] * len(TEST_IDS) if prices is None else prices)
        assert score_submission(path) > 0

    return call


RIGHT = None
ROWS = [
    # Folds
    ("partition", lambda: partition("search-999"), RIGHT, ""),
    ("partition of NumPy's size", lambda: partition("book", np.int64(10)), RIGHT, ""),
    ("partition None", lambda: partition(None), TypeError, "is text, got None"),
    ("partition 5", lambda: partition(5), TypeError, "is text, got 5"),
    ("partition 1000", lambda: partition("fresh-1000"), ValueError, "from 1 to 999.*'fresh-1000'"),
    ("partition 0", lambda: partition("search-0"), ValueError, "from 1 to 999, got 'search-0'"),
    ("partition 01", lambda: partition("fresh-01"), ValueError, "got 'fresh-01'"),
    ("partition ²", lambda: partition("fresh-²"), ValueError, "got 'fresh-²'"),
    ("partition x", lambda: partition("fresh-x"), ValueError, "got 'fresh-x'"),
    ("partition lucky", lambda: partition("lucky-1"), ValueError, "got 'lucky-1'"),
    ("partition newline", lambda: partition("fresh-1\n"), ValueError, "got"),
    ("partition rows", lambda: partition("book", 4), ValueError, "folds is at most 4, got 5"),
    ("folds", lambda: contiguous_folds(2, 2), RIGHT, ""),
    ("folds 2.5", lambda: contiguous_folds(10, 2.5), TypeError, "folds is an integer, got 2.5"),
    ("folds True", lambda: contiguous_folds(10, True), TypeError, "folds is an integer, got True"),
    ("folds 1", lambda: contiguous_folds(10, 1), ValueError, "folds is at least 2, got 1"),
    ("folds 11", lambda: contiguous_folds(10, 11), ValueError, "folds is at most 10, got 11"),
    ("folds of 1.5 rows", lambda: contiguous_folds(1.5), TypeError, "rows is an integer, got 1.5"),
    ("folds of no rows", lambda: contiguous_folds(0), ValueError, "rows is at least 2, got 0"),
    ("shuffle None", lambda: shuffled_folds(10, seed=None), TypeError, "seed is an integer"),
    ("shuffle -1", lambda: shuffled_folds(10, seed=-1), ValueError, "seed is at least 0, got -1"),
    # Cross-validation
    ("cv", lambda: cross_validate(Mean(), FEW, folds=FOLDS.tolist(), seeds=range(2)), RIGHT, ""),
    ("cv, numbers of folds", lambda: cross_validate(Mean(), FEW, folds=7 * FOLDS - 3), RIGHT, ""),
    ("cv of 5", lambda: cross_validate(5, FEW), TypeError, r"predict\(splits, seeds\), got 5"),
    ("cv of a class", lambda: cross_validate(Network, FEW), TypeError, "predict"),
    ("cv of an array", lambda: cross_validate(Mean(), FEW.to_numpy()), TypeError, "got ndarray"),
    ("cv of no rows", lambda: cross_validate(Mean(), FEW[:0]), ValueError, r"got shape \(0, 81\)"),
    ("cv of test rows", lambda: cross_validate(Mean(), TEST), ValueError, "test rows have none"),
    ("folds, short", lambda: cross_validate(Mean(), FEW, folds=FOLDS[1:]), ValueError,
     r"each of 40 rows, got \(39,\)"),
    ("folds, one", lambda: cross_validate(Mean(), FEW, folds=0 * FOLDS), ValueError,
     r"two different numbers, got \[0\]"),
    ("folds, NaN", lambda: cross_validate(Mean(), FEW, folds=FOLDS * np.nan), TypeError,
     "are integers, got float64"),
    ("folds, text", lambda: cross_validate(Mean(), FEW, folds="book"), TypeError, "are integers"),
    ("seeds, none", lambda: cross_validate(Mean(), FEW, seeds=()), ValueError, "at least one"),
    ("seeds, 3", lambda: cross_validate(Mean(), FEW, seeds=3), TypeError, "sequence of int.* 3"),
    ("seeds, -1", lambda: cross_validate(Mean(), FEW, seeds=[-1]), ValueError, "at least 0"),
    ("seeds, twice", lambda: cross_validate(Mean(), FEW, seeds=(0, 0)), ValueError, "comes once"),
    ("price 0", lambda: cross_validate(Mean(), price(0)), ValueError, "positive .* got 0.0"),
    ("price -5", lambda: cross_validate(Mean(), price(-5)), ValueError, "positive .* got -5.0"),
    ("price missing", lambda: log_price(price(np.nan)), ValueError, "positive .* got nan"),
    ("price inf", lambda: log_price(price(np.inf)), ValueError, "finite, got inf"),
    ("price as text", lambda: log_price(price("x")), TypeError, "SalePrice is a number"),
    ("prices of None", lambda: log_price(None), TypeError, "got NoneType"),
    ("answers", lambda: cross_validate(Answers(np.ones((1, 8))), FEW), RIGHT, ""),
    ("answers, flat", lambda: cross_validate(Answers(np.ones(8)), FEW), ValueError,
     r"= \(1, 8\), got \(8,\)"),
    ("answers, NaN", lambda: cross_validate(Answers(np.full((1, 8), np.nan)), FEW), ValueError,
     "training diverged"),
    ("difference", lambda: paired_difference([0.1, 0.2], [0.2, 0.1]), RIGHT, ""),
    ("difference of nothing", lambda: paired_difference([], []), ValueError, r"got \(1, 0\)"),
    ("difference of None", lambda: paired_difference(None, [1]), ValueError, "are finite"),
    ("difference of text", lambda: paired_difference(["a"], ["b"]), TypeError, "errors are an"),
    ("difference of NaN", lambda: paired_difference([1], [np.nan]), ValueError, "rival are finite"),
    ("difference, shapes", lambda: paired_difference([1], [1, 2]), ValueError, "one shape"),
    ("difference, 3-D", lambda: paired_difference([[[1]]], [[[1]]]), ValueError, r"\(1, 1, 1\)"),
    ("difference, sure", lambda: paired_difference([1], [1], confidence=1), ValueError,
     r"confidence lies in \(0, 1\), got 1"),
    ("corrected", lambda: corrected_difference([1, 2], [1, 1], confidence=0.9), RIGHT, ""),
    ("corrected, one", lambda: corrected_difference([1], [1], confidence=0.9), ValueError,
     "two values or more"),
    ("corrected, shapes", lambda: corrected_difference([1, 2], [[1, 2]], confidence=0.9),
     ValueError, r"got \(2,\) and \(1, 2\)"),
    ("corrected, sure", lambda: corrected_difference([1, 2], [1, 1], confidence=1), ValueError,
     r"confidence lies in \(0, 1\), got 1"),
    ("corrected, 1 fold", lambda: corrected_difference([1, 2], [1, 1], confidence=0.9, folds=1),
     ValueError, "folds is at least 2, got 1"),
    # Encoders
    ("encoder", lambda: HouseEncoder(n_bins=2, min_frequency=2).fit_transform(FEW), RIGHT, ""),
    ("one row", lambda: HouseEncoder(n_bins=2).fit(FEW[:1]).transform(TEST[:1]), RIGHT, ""),
    ("one row, book", lambda: BookEncoder().fit(FEW[:1]).transform(TEST[:1]), RIGHT, ""),
    ("no rooms", lambda: HouseEncoder().fit_transform(few("TotRmsAbvGrd", 0)), RIGHT, ""),
    ("negative area", lambda: HouseEncoder().fit_transform(few("GrLivArea", -9)), RIGHT, ""),
    ("nothing known", lambda: HouseEncoder().fit_transform(few("LotArea", None)), RIGHT, ""),
    *((f"{name}, {kind.__name__}", lambda k=kind, h=houses: k().fit(h), error, message)
      for kind in (BookEncoder, HouseEncoder)
      for name, houses, error, message in (
          ("array", FEW.to_numpy(), TypeError, "DataFrame, got ndarray"),
          ("dict", {"LotArea": [1]}, TypeError, "DataFrame, got dict"),
          ("no rows", FEW[:0], ValueError, r"one row, got \(0, 81\)"),
          ("no column", FEW.drop(columns="Alley"), ValueError, r"\['Alley'\] are missing"),
          ("column twice", pd.concat([FEW, FEW[["Alley"]]], axis=1), ValueError, "80 columns"),
          ("text for a number", few("LotArea", "big"), ValueError, "LotArea is a number"),
          ("infinite", few("LotArea", np.inf), ValueError, "finite or missing, got inf"),
      )),
    *((f"transform, {kind.__name__}",
       lambda k=kind: k().fit(FEW).transform(few("LotArea", -np.inf)), ValueError, "got infinity")
      for kind in (BookEncoder, HouseEncoder)),
    *((f"{name} {value}", lambda o={name: value}: HouseEncoder(**o).fit(FEW), error, message)
      for name, value, error, message in (
          ("n_bins", -3, ValueError, "n_bins is at least 0, got -3"),
          ("n_bins", 2.5, TypeError, "n_bins is an integer, got 2.5"),
          ("min_frequency", 0, ValueError, "min_frequency is at least 1, got 0"),
          ("clip", 0.5, ValueError, "clip is less than one half, got 0.5"),
          ("clip", np.nan, ValueError, r"clip lies in \[0, 1\], got nan"),
          ("limit", 0, ValueError, "limit is more than 0, got 0"),
          ("limit", np.nan, ValueError, "limit is finite, got nan"),
          ("bin_scale", "1", TypeError, "bin_scale is a number, got '1'"),
          ("level_scale", -1, ValueError, "level_scale is more than 0, got -1"),
          ("shrinkage", -1, ValueError, "shrinkage is at least 0, got -1"),
      )),
    # Training
    ("options", lambda: TrainingOptions(epochs=np.int64(1), weight_decay=0), RIGHT, ""),
    *((f"{name} {value}", lambda o={name: value}: TrainingOptions(**o), error, message)
      for name, value, error, message in (
          ("epochs", 0, ValueError, "epochs is at least 1, got 0"),
          ("epochs", 2.5, TypeError, "epochs is an integer, got 2.5"),
          ("batch_size", True, TypeError, "batch_size is an integer, got True"),
          ("learning_rate", -1, ValueError, "learning_rate is more than 0, got -1"),
          ("learning_rate", np.nan, ValueError, "learning_rate is finite, got nan"),
          ("learning_rate", "x", TypeError, "learning_rate is a number, got 'x'"),
          ("weight_decay", -5, ValueError, "weight_decay is at least 0, got -5"),
          ("weight_decay", None, TypeError, "weight_decay is a number, got None"),
          ("warmup", 1, ValueError, r"warmup lies in \[0, 1\), got 1"),
      )),
    ("network's options", lambda: Network(options=None), TypeError, "a dict .* got None"),
    ("network's training", lambda: Network(training={}), TypeError, r"TrainingOptions, got \{\}"),
    ("book's epochs", lambda: BookLinear(epochs=0), ValueError, "epochs is at least 1, got 0"),
    ("fit", train, RIGHT, ""),
    ("fit, seed -1", lambda: train(seed=-1), ValueError, "seed is at least 0, got -1"),
    ("fit, no network", lambda: train(lambda width: None), TypeError, "Module, got None"),
    ("fit, a column", lambda: train(lambda width: nn.Linear(width, 1)), ValueError,
     r"got \(8, 1\) for 8 rows"),
    ("task", lambda: task(new=(0, 3)), RIGHT, ""),
    ("task, widths", lambda: task(new=(2, 4)), ValueError, r"got \(8, 3\), \(8,\) and \(2, 4\)"),
    ("task, lengths", lambda: task(y=(7,)), ValueError, r"\(7,\)"),
    ("task, no rows", lambda: task(x=(0, 3), y=(0,)), ValueError, r"got \(0, 3\)"),
    ("task, NaN", lambda: task(value=np.nan), ValueError, "x of a task is finite"),
    # Data and submission
    ("source", lambda: load_houses("web"), ValueError, "one of 'ames', 'book', got 'web'"),
    ("source None", lambda: load_houses(None), ValueError, "got None"),
    ("download", lambda: download("x.csv"), ValueError, r"got 'x\.csv'"),
    ("write", write(np.array(TEST_IDS)), RIGHT, ""),
    ("write, reversed", write(reversed(TEST_IDS)), RIGHT, ""),
    ("Id 1461.9", write([1461.9, *TEST_IDS[1:]]), TypeError, "every Id is an integer, got 1461.9"),
    ("Id '1461'", write([*map(str, TEST_IDS)]), TypeError, "every Id is an integer, got '1461'"),
    ("Ids None", write(None), TypeError, "ids is a sequence of numbers, got None"),
    ("no Ids", write([], []), ValueError, "needs all 1459 test Ids, got 0"),
    ("price None", write(prices=[None, *ONES[1:]]), TypeError, "every price is a number, got None"),
    ("price NaN", write(prices=[np.nan, *ONES[1:]]), ValueError, "every price is finite, got nan"),
    ("prices, a text", write(prices="x"), TypeError, "prices is a sequence of numbers, got 'x'"),
    ("packed", write(name="s.csv.gz"), ValueError, "plain text, got the name 's.csv.gz'"),
    ("folder", write(name="."), ValueError, "is a folder"),
    ("no folder", write(name="/proc/x/s.csv"), ValueError, "cannot be written"),
    ("score None", lambda: score_submission(None), TypeError, "NoneType"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), [row[1:] for row in ROWS],
                         ids=[row[0] for row in ROWS])  # fmt: skip
def test_arguments(call, error, message, tmp_path):
    state = torch.random.get_rng_state()
    with nullcontext() if error is None else pytest.raises(error, match=message):
        result = call(tmp_path) if call.__name__ == "call" else call()
        for array in result if isinstance(result, list) else [result]:
            assert not isinstance(array, np.ndarray) or np.isfinite(array).all()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_no_two_names_of_partitions_mean_the_same_folds():
    names = [f"{kind}-{n}" for kind in ("fresh", "search") for n in (1, 2, 999)] + ["book"]
    assert len({tuple(partition(name)) for name in names}) == len(names)


def test_partitions_that_are_recorded_keep_their_seeds():
    for name, seed in (("fresh-1", 1), ("fresh-15", 15), ("search-1", 1001)):
        expected = np.random.default_rng(seed).permutation(np.sort(np.arange(1460) % 5))
        assert (partition(name) == expected).all()
