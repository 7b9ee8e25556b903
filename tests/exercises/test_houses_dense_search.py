"""The second search among dense networks: its rules, and what the records make of them."""

from collections import Counter

import numpy as np
import pytest

from densenet_solutions.exercises.houses import dense_search, study
from densenet_solutions.exercises.houses.dense_walk import CONFIRM as WALKS_FOLDS
from densenet_solutions.exercises.houses.dense_walk import network_of
from densenet_solutions.houses.folds import partition
from densenet_solutions.models import DenseMLP
from densenet_solutions.records import load_record

SEARCH = load_record("houses-dense-search").cases
AVERAGE = load_record("houses-dense-average").cases["dense"]
JUDGED = load_record("houses-dense-average-judged").cases


def test_every_value_is_tried_equally_often():
    tried = dense_search.configurations()
    assert len(tried) == dense_search.TRIALS == len({str(one) for one in tried})
    for name, values in dense_search.SPACE.items():
        counts = Counter(one[name] for one in tried)
        if values[-1] == "log":
            assert all(values[0] <= value <= values[1] for value in counts)
            assert len(counts) > 35
            continue
        assert set(counts) == set(values)
        for value, count in counts.items():
            fair = dense_search.TRIALS * values.count(value) / len(values)
            assert abs(count - fair) <= 1, (name, value)


def test_every_configuration_is_a_dense_network():
    for one in dense_search.configurations():
        network = network_of(one)
        assert network.options["connection"] == "dense"
        head = DenseMLP(100, **network.options).head
        assert head.in_features == 100 + one["depth"] * one["growth_rate"]
        assert network.training.epochs == one["epochs"]


def test_the_recorded_search_is_the_rule():
    assert [case["configuration"] for case in SEARCH.values()] == dense_search.configurations()
    mean = {name: sum(case["rmse"]) / 2 for name, case in SEARCH.items()}
    best = sorted(mean, key=mean.__getitem__)[: dense_search.CANDIDATES]
    candidates = dense_search.candidates()
    assert candidates == [SEARCH[name]["configuration"] for name in best]
    assert AVERAGE["members"][0] == candidates[0]
    assert all(member in candidates for member in AVERAGE["members"])
    assert len({str(one) for one in AVERAGE["members"]}) == len(AVERAGE["members"])
    assert len(AVERAGE["members"]) == len(AVERAGE["average"]) <= dense_search.MEMBERS
    assert AVERAGE["average"] == sorted(AVERAGE["average"], reverse=True)
    # The candidates ran again, and gave what they had given.
    assert AVERAGE["average"][0] == pytest.approx(mean[best[0]], abs=2e-5)


def test_the_judgement_by_hand():
    judged = study.dense_search()
    for model, mean in (("dense", judged.dense), ("catboost", judged.trees)):
        folds = [f for i in range(21, 26) for f in JUDGED[f"{model} fresh-{i}"]["folds"]]
        assert len(folds) == 25
        assert mean == pytest.approx(sum(folds) / 25)
    assert judged.book == JUDGED["dense book"]["rmse"]
    assert judged.difference.difference == pytest.approx(judged.trees - judged.dense)
    members = len(AVERAGE["members"])
    for name, case in JUDGED.items():
        networks = 3 if case["model"] == "catboost" else members * len(dense_search.SEEDS)
        assert len(case["member_rmse"]) == networks, name
    assert judged.alone == pytest.approx(np.mean(JUDGED["dense book"]["member_rmse"]))


def test_its_folds_are_nobody_elses():
    assert not set(WALKS_FOLDS) & set(dense_search.CONFIRM)
    names = [f"fresh-{i}" for i in range(1, 26)]
    assert len({partition(name).tobytes() for name in names}) == len(names)
