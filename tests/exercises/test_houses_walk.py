"""The walk among boosted trees keeps to its rules, as do its records."""

import itertools

import numpy as np
import pytest
import scipy.stats

from densenet_solutions.exercises.houses import boosting, recordings, search, study, walk
from densenet_solutions.exercises.houses.boosting import ROUNDS, BoostedTrees
from densenet_solutions.records import load_record


@pytest.mark.parametrize("family", walk.FAMILIES)
def test_a_step_up_and_a_step_down_lead_back_unless_a_limit_was_met(family):
    for option, value in walk.START[family].items():
        up = walk.neighbor(option, value, up=True)
        assert type(up) is type(value)
        if option == "native":
            assert (value, up, walk.neighbor(option, up, up=False)) == (False, True, False)
            continue
        low, high = walk.LIMITS.get(option, (0, np.inf))
        assert low <= value < up <= high
        assert walk.neighbor(option, up, up=False) == pytest.approx(value, rel=0.01)
        for end, further in ((low, False), (high, True)):
            if 0 < end < np.inf:
                assert walk.neighbor(option, type(value)(end), further) == end


class Bowl:
    """Trees whose error has one lowest point; the second partition knows it, too."""

    def __init__(self, family, configuration):
        self.configuration = configuration

    def errors_by_rounds(self, where, seed):
        runs.append((where, seed, self.configuration))
        c = self.configuration
        error = 0.1 + abs(np.log2(c["learning_rate"] / 0.045)) + abs(c["depth"] - 8)
        error += 2 * (not c["native"]) + abs(np.log2(c["l2_leaf_reg"] / 2)) + c["rsm"] / 10
        return {n: error + abs(n - 2000) / 1e6 for n in ROUNDS}


runs: list[tuple[str, int, dict]] = []


def test_a_walk_finds_the_lowest_point_and_ends_there(monkeypatch):
    monkeypatch.setattr(walk, "BoostedTrees", Bowl)
    runs.clear()
    found = walk.walk("catboost", 300)
    best = found["best"]["configuration"]
    assert found["ended"]
    assert (best["learning_rate"], best["depth"], best["native"]) == (0.045, 8, True)
    assert best["rsm"] == 0.001  # a limit
    assert found["best"]["rounds"] == 2000
    first = [c for where, seed, c in runs if (where, seed) == (search.SEARCH, 0)]
    second = [c for where, seed, c in runs if (where, seed) == (search.FINAL_SEARCH, 1)]
    assert len(first) + len(second) == len(runs)
    assert first == [one["configuration"] for one in found["tried"]]  # each once
    assert second == [one["configuration"] for one in found["tried"] if "rmse" in one]
    assert len(second) < len(first)  # what was hopeless was not run again


def test_a_walk_that_is_cut_short_says_so_and_goes_on_as_if_it_had_not_been(monkeypatch):
    monkeypatch.setattr(walk, "BoostedTrees", Bowl)
    short, whole = walk.walk("catboost", 3), walk.walk("catboost", 300)
    assert not short["ended"]
    assert len(short["tried"]) == 3
    runs.clear()
    assert walk.walk("catboost", 300, short["tried"]) == whole
    assert [c for where, _, c in runs if where == search.SEARCH] == [
        one["configuration"] for one in whole["tried"][3:]
    ]


@pytest.mark.parametrize("walked", [*walk.FAMILIES, walk.FURTHER])
def test_the_recorded_walk_ended_where_no_step_helps_or_at_its_limit(walked):
    found = load_record("houses-walk").cases[walked]
    tried = {tuple(one["configuration"].items()): one for one in found["tried"]}
    limit = walk.MOST if walked == walk.FURTHER else walk.CONFIGURATIONS
    assert len(tried) == len(found["tried"]) <= limit
    assert next(iter(tried)) == tuple(walk.START[found["family"]].items())
    best = found["best"]
    assert best["rmse"] == min(one.get("rmse", 1) for one in found["tried"])
    assert found["ended"] == (walked != "histogram") == (len(tried) < limit)
    if not found["ended"]:
        return
    for (option, value), up in itertools.product(best["configuration"].items(), (True, False)):
        near = {**best["configuration"], option: walk.neighbor(option, value, up)}
        assert tuple(near.items()) in tried


def test_a_prefix_of_long_boosting_is_the_short_run(monkeypatch):
    monkeypatch.setattr(boosting, "ROUNDS", (3, 6))
    options = {"learning_rate": 0.3, "max_leaf_nodes": 4, "max_features": 0.2}
    for rounds, rmse in BoostedTrees("histogram", options).errors_by_rounds("search-1").items():
        model = BoostedTrees("histogram", {**options, "rounds": rounds})
        assert recordings.evaluate(model, "search-1").rmse == pytest.approx(rmse, abs=2e-5)


def test_trees_may_read_categories_as_they_are():
    class Levels:
        def fit(self, x, y):
            self.seen = x
            return self

        def predict(self, x, ntree_end):
            assert list(x.columns) == list(self.seen.columns)
            return np.full(len(x), ntree_end / 1e4)

    made = []

    def regressor(family, options, rounds, seed):
        made.append((family, options, rounds, seed))
        return Levels()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "_regressor", regressor)
        model = BoostedTrees("catboost", {"depth": 3, "native": True})
        errors = model.errors_by_rounds("search-1", 7)
    assert list(errors) == list(ROUNDS)
    (family, options, rounds, seed), *_ = made
    assert (family, rounds, seed, options["depth"]) == ("catboost", ROUNDS[-1], 7, 3)
    assert len(options["cat_features"]) == 25
    assert "native" not in options


def test_what_is_confirmed_is_the_best_kind_of_trees_on_partitions_of_its_own():
    judged = load_record("houses-judged-trees").cases
    means = {
        family: np.mean([judged[f"{family} {where}"]["folds"] for where in search.FIRST])
        for family in walk.FAMILIES
    }
    assert walk.best_family() == min(means, key=means.__getitem__)
    assert not {*walk.CONFIRM} & {*search.FIRST, search.SEARCH, search.FINAL_SEARCH, "book"}
    cases = load_record("houses-confirmed").cases
    assert {case.get("family", "dense") for case in cases.values()} == {walk.best_family(), "dense"}


def test_the_confirmation_is_a_t_test_of_paired_folds_widened_for_retraining():
    cases = load_record("houses-confirmed").cases
    trees, dense = (
        np.ravel([cases[f"{model} {where}"]["folds"] for where in walk.CONFIRM])
        for model in ("trees", "dense")
    )
    found = study.confirmed()
    naive = scipy.stats.ttest_rel(trees, dense).confidence_interval(0.95)
    half = (naive.high - naive.low) / 2 * np.sqrt(1 + 25 / 4)
    assert (found.trees, found.dense) == pytest.approx((trees.mean(), dense.mean()))
    assert found.difference.difference == pytest.approx(trees.mean() - dense.mean())
    assert found.difference.high - found.difference.low == pytest.approx(2 * half)
