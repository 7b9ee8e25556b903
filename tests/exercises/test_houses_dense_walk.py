"""The walk of dense networks, with a table of errors in place of training."""

from types import SimpleNamespace

import numpy as np
import pytest

from densenet_solutions.exercises.houses import dense_walk, study
from densenet_solutions.exercises.houses.recordings import chosen_networks
from densenet_solutions.houses.folds import partition
from densenet_solutions.records import load_record

RECORDED = load_record("houses-dense-walk").cases["dense"]


def test_a_configuration_is_all_that_a_network_is_made_of():
    for network in chosen_networks("dense"):
        again = dense_walk.network_of(dense_walk.configuration_of(network))
        assert dict(again.options) == dict(network.options)
        assert again.training == network.training
        assert again.encoder.keywords == network.encoder.keywords


@pytest.mark.parametrize(
    ("option", "value", "down", "up"),
    [
        ("dropout", 0.0, 0.0, 0.05),
        ("input_dropout", 0.65, 0.5, 0.65),
        ("depth", 4, 2, 8),
        ("depth", 1, 1, 2),
        ("growth_rate", 32, 16, 64),
        ("epochs", 60, 40, 90),
        ("learning_rate", 0.001, 0.000667, 0.0015),
        ("n_bins", 6, 3, 12),
        ("activation", "silu", "relu", "silu"),
    ],
)
def test_a_step_goes_to_the_next_value_and_stops_at_an_end(option, value, down, up):
    assert dense_walk.neighbor(option, value, up=False) == down
    assert dense_walk.neighbor(option, value, up=True) == up


def walked(monkeypatch, error):
    """The walk where `error(configuration)` is what one is off by, in every row alike."""

    def evaluate(network, where, seeds):
        assert seeds == {"search-2": (0,), "search-3": (1,)}[where]
        off = error(dense_walk.configuration_of(network))
        return SimpleNamespace(rmse=abs(off), errors=np.full(7, off))

    monkeypatch.setattr(dense_walk, "evaluate", evaluate)
    return dense_walk.walk()


def test_a_walk_reaches_the_lowest_point_of_one_option(monkeypatch):
    monkeypatch.setattr(dense_walk, "CONFIGURATIONS", 300)
    found = walked(monkeypatch, lambda c: 0.11 + 0.001 * abs(c["dropout"] - 0.1))
    assert found["ended"]
    assert found["best"]["configuration"]["dropout"] == 0.1
    assert found["members"] == [found["best"]["configuration"]]  # nothing makes it better
    assert found["average"] == [0.11]


def test_a_walk_is_stopped_and_hopeless_ones_run_once(monkeypatch):
    found = walked(
        monkeypatch,
        lambda c: 0.11 * 0.99 ** np.log2(c["growth_rate"]) + 0.003 * (c["norm"] == "none"),
    )
    assert not found["ended"]
    assert found["walked"] == dense_walk.CONFIGURATIONS == len(found["tried"]) - 2
    assert all(
        "rmse" not in one for one in found["tried"][:-2] if one["configuration"]["norm"] == "none"
    )


def test_members_of_an_average_make_up_for_each_other(monkeypatch):
    found = walked(monkeypatch, lambda c: -0.12 if c["depth"] == 16 else 0.11)
    depths = [one["depth"] for one in found["members"]]
    assert depths[0] != 16 == depths[1]
    assert found["average"] == sorted(found["average"], reverse=True)
    assert found["average"][1] == pytest.approx(0.005)


def test_the_recorded_walk_obeys_its_rules():
    tried = [one["configuration"] for one in RECORDED["tried"]]
    assert len(tried) == RECORDED["walked"] + 2
    assert tried[0] == dense_walk.configuration_of(chosen_networks("dense")[0])
    assert RECORDED["best"]["rmse"] == min(one["rmse"] for one in RECORDED["tried"])
    for i, one in enumerate(tried[1 : RECORDED["walked"]], start=1):  # one step from one before
        assert any(sum(one[name] != before[name] for name in one) == 1 for before in tried[:i])
    assert len({str(member) for member in RECORDED["members"]}) == len(RECORDED["members"])
    assert all(member in tried for member in RECORDED["members"])
    assert RECORDED["average"] == sorted(RECORDED["average"], reverse=True)


def test_the_judgement_by_hand():
    cases = load_record("houses-dense-judged").cases
    judged = study.dense_walk()
    for model, mean in (("dense", judged.dense), ("catboost", judged.trees)):
        folds = [f for i in range(16, 21) for f in cases[f"{model} fresh-{i}"]["folds"]]
        assert len(folds) == 25
        assert mean == pytest.approx(sum(folds) / 25)
    assert judged.difference.difference == pytest.approx(judged.trees - judged.dense)
    assert judged.difference.low < judged.difference.difference < judged.difference.high
    names = [f"fresh-{i}" for i in range(6, 21)]
    assert len({partition(name).tobytes() for name in names}) == len(names)
