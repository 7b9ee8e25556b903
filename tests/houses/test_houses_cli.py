"""The command line on a small network; the page's number is what the command prints."""

import pandas as pd
import pytest
from typer.testing import CliRunner

import densenet_solutions.cli.houses as cli
import densenet_solutions.studies.houses as study
from densenet_solutions.houses import Network, score_submission
from densenet_solutions.houses.training import Optimisation
from densenet_solutions.studies.houses_search import BUDGET, SPACES, build, configurations


@pytest.fixture
def small(monkeypatch):
    network = Network({"growth_rate": 4, "block_config": (1,)}, Optimisation(epochs=4))
    monkeypatch.setattr(cli, "chosen_network", lambda: network)
    monkeypatch.setattr(study, "chosen_network", lambda: network)
    study.live_run.cache_clear()
    yield
    study.live_run.cache_clear()


def run(*args):
    return CliRunner().invoke(cli.app, list(args))


def test_the_pages_number_is_what_the_command_prints(small):
    result = run("cv", "--seeds", "1")
    assert result.exit_code == 0, result.output
    scores, curve = study.live_run(1)
    assert f"ensemble of 1          {scores.rmse:.4f}" in result.output
    for rmse in scores.fold_rmse:
        assert f"{rmse:.4f}" in result.output
    assert curve.epochs == (4,)
    assert curve.rmse == (pytest.approx(scores.rmse),)


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


def test_every_family_has_the_same_budget():
    for family in SPACES:
        assert len(configurations(family)) == BUDGET
    for family in ("dense", "residual", "plain", "ridge", "svr", "hist-boosting"):
        for configuration in configurations(family):
            build(family, configuration)
    assert configurations("dense") == configurations("residual") == configurations("plain")
