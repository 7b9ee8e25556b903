"""What page 5 says follows from its records by the protocol of `search.py`."""

import numpy as np
import pytest
import scipy.stats

from densenet_solutions.exercises.houses import networks, rivals, search, study
from densenet_solutions.houses import HouseEncoder, contiguous_folds, load_houses, partition
from densenet_solutions.records import load_record

TRAIN = load_houses().train


def test_intervals_are_those_of_a_paired_t_test_widened_for_retraining():
    """SciPy's interval for 25 independent folds, times √(1 + 25/4)."""
    judged = study.connections()
    assert judged["dense"].difference.difference == 0
    for name, found in judged.items():
        if name == "dense":
            continue
        pairs = scipy.stats.ttest_rel(found.folds.ravel(), judged["dense"].folds.ravel())
        naive = pairs.confidence_interval(1 - 0.05 / search.COMPARISONS)
        half = (naive.high - naive.low) / 2 * np.sqrt(1 + 25 / 4)
        middle = found.folds.mean() - judged["dense"].folds.mean()
        assert found.difference.difference == pytest.approx(middle)
        assert found.difference.low == pytest.approx(middle - half)
        assert found.difference.high == pytest.approx(middle + half)


@pytest.mark.parametrize("connection", search.CONNECTIONS)
def test_the_finalists_are_the_best_quarter_and_the_chosen_their_best(connection):
    trials = {
        case["rmse"]: case["configuration"]
        for case in load_record("houses-search").cases.values()
        if case["family"] == connection
    }
    assert len(trials) == search.TRIALS
    assert list(trials.values()) == search.configurations()
    best = [trials[rmse] for rmse in sorted(trials)[: search.TRIALS // 4]]
    finalists = [
        load_record("houses-finalists").cases[f"{connection} {i}"]
        for i in range(search.TRIALS // 4)
    ]
    assert [f["configuration"] for f in finalists] == best
    ranked = sorted(finalists, key=lambda f: f["rmse"] + f["rmse_before"])
    chosen = [search.build(connection, f["configuration"]) for f in ranked[: search.MEMBERS]]
    found = networks.ensemble(connection).networks
    assert [networks.in_words(n) for n in found] == [networks.in_words(n) for n in chosen]


@pytest.mark.parametrize("family", list(study.standings()))
def test_a_rival_was_tried_as_often_as_is_said(family):
    if family != "dense":
        cases = load_record("houses-search-rivals").cases.values()
        assert sum(case["family"] == family for case in cases) == rivals.trials(family)


def test_judged_errors_belong_to_folds_that_did_not_choose():
    choosing = [partition(name) for name in (search.SEARCH, search.FINAL_SEARCH)]
    for name in ("book", *search.FRESH):
        assert not any(np.array_equal(partition(name), other) for other in choosing)
    rmse, members, errors = study.dense_on_the_books_folds()
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(rmse, abs=2e-5)
    assert rmse < max(members)
    folds = load_record("houses-judged").cases["dense book"]["folds"]
    expected = [np.sqrt(np.mean(errors[contiguous_folds(1460) == k] ** 2)) for k in range(5)]
    assert folds == pytest.approx(expected, abs=2e-5)


def test_de_cocks_advice_removes_the_four_houses_above_4000_square_feet():
    found = study.de_cock(HouseEncoder)
    assert found.giants == (TRAIN["GrLivArea"] > 4000).sum() == 4
    assert found.trained_on_all[0] == pytest.approx(study.ridge(HouseEncoder).rmse, abs=1e-6)


def test_spread_tells_seeds_from_partitions():
    cases = load_record("houses-judged").cases
    runs = [
        [cases[f"dense {where}"]["member_rmse"][0]]
        + [cases[f"dense {where} seed {seed}"]["rmse"] for seed in (1, 2)]
        for where in search.FRESH
    ]
    within = np.mean([np.var(run, ddof=1) for run in runs])
    found = study.spread()
    assert found.seeds == pytest.approx(np.sqrt(within))
    total = np.var(np.mean(runs, axis=1), ddof=1)
    assert found.partitions**2 + within / 3 >= total - 1e-12


def test_test_scores_follow_from_the_stored_errors():
    final = study.scores_on_the_test_rows()
    assert final["dense"].against_dense.difference == 0
    for score in final.values():
        assert score.without_two < score.rmse
