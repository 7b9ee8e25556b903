"""The command line on a small network; the page's number is what the command prints."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import densenet_solutions.cli.houses as cli
import densenet_solutions.exercises.houses.study as study
from densenet_solutions.exercises.houses.recordings import evaluate, summary, unpack
from densenet_solutions.exercises.houses.search import (
    SPACES,
    build,
    configurations,
)
from densenet_solutions.houses import Network, load_houses, score_submission
from densenet_solutions.houses.cross_validation import splits
from densenet_solutions.houses.folds import contiguous_folds
from densenet_solutions.houses.models import log_price
from densenet_solutions.houses.training import TrainingOptions
from densenet_solutions.records import load_record


@pytest.fixture
def small(monkeypatch):
    network = Network({"growth_rate": 4, "block_config": (1,)}, TrainingOptions(epochs=4))
    monkeypatch.setattr(study, "chosen_network", lambda: network)
    study.live_fold.cache_clear()
    yield network
    study.live_fold.cache_clear()


def run(*args):
    return CliRunner().invoke(cli.app, list(args))


def test_the_command_prints_what_is_recorded(small):
    """The record behind the page is made by the same two functions."""
    result = run("cv", "--seeds", "2")
    assert result.exit_code == 0, result.output
    recorded = summary(*evaluate(small, "book", range(2)))
    assert f"ensemble of 2          {recorded['rmse']:.4f}" in result.output
    assert f"one network (mean)     {np.mean(recorded['member_rmse']):.4f}" in result.output


def test_the_learning_curve_ends_where_the_network_does(small):
    curve = study.live_fold()
    houses = load_houses().train
    split = splits(houses, contiguous_folds(len(houses)))[0]
    (predicted,) = small.predict([split], range(1))
    truth = log_price(houses)[: len(split.new)]
    assert curve.epochs == (2, 4)
    assert curve.rmse[-1] == pytest.approx(np.sqrt(np.mean((predicted[0] - truth) ** 2)))


def test_the_recorded_errors_are_those_of_the_recorded_score():
    dense = study.dense_on_the_books_folds()
    assert np.sqrt(np.mean(dense.errors**2)) == pytest.approx(dense.rmse, abs=1e-5)
    assert dense.rmse < max(dense.members)
    case = load_record("houses-partitions").cases["dense fresh-1"]
    assert np.sqrt(np.mean(unpack(case["errors"]) ** 2)) == pytest.approx(case["rmse"], abs=1e-5)


def test_a_submission_is_written_and_scored(small, tmp_path):
    path = tmp_path / "submission.csv"
    assert run("submit", "--out", str(path), "--seeds", "1").exit_code == 0
    assert len(pd.read_csv(path)) == 1459
    result = run("score", str(path))
    assert result.exit_code == 0
    assert f"{score_submission(path):.5f}" in result.output


def test_a_bad_submission_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("Id,SalePrice\n1461,-1\n")
    result = run("score", str(path))
    assert result.exit_code == 1
    assert "line 2: a price is a positive number" in result.output


def test_an_unknown_partition_is_refused():
    assert run("cv", "--folds", "lucky").exit_code == 2


@pytest.mark.parametrize("family", SPACES)
def test_every_configuration_can_be_built(family):
    for configuration in configurations(family):
        build(family, configuration)


def test_a_training_that_fails_has_made_no_folder(small, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise FloatingPointError("the loss is no longer finite")

    monkeypatch.setattr(Network, "predict", stop)
    result = run("submit", "--out", str(tmp_path / "deep" / "er" / "submission.csv"))
    assert result.exit_code == 1
    assert "no longer finite" in result.output
    assert not list(tmp_path.iterdir())
