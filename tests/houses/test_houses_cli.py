"""The command line on small networks; the page's number is what the command prints."""

import numpy as np
import pandas as pd
import pytest

import densenet_solutions.cli.houses as cli
from densenet_solutions.exercises.houses import networks, recordings, search
from densenet_solutions.houses import Ensemble, Network, score_submission
from densenet_solutions.houses.training import TrainingOptions
from tests.framed import RUNNER, words


def small_networks(connection):
    options = {"connection": connection, "activation": "relu", "norm": "none", "init": "he",
               "dropout": 0.0, "input_dropout": 0.1}  # fmt: skip
    return tuple(
        Network({**options, "growth_rate": k, "block_config": (1,)}, TrainingOptions(epochs=3))
        for k in (3, 4)
    )


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(recordings, "chosen_networks", small_networks)


def run(*args):
    return RUNNER.invoke(cli.app, list(args))


@pytest.mark.usefixtures("small")
def test_the_command_prints_what_is_recorded():
    """The record behind the page is made by the same functions."""
    result = run("cv")
    assert result.exit_code == 0, result.output
    recorded = recordings._judge({"family": "dense", "partition": "book"}, "cpu")
    printed = [float(line.split()[-1]) for line in result.stdout.splitlines()[3:]]
    expected = [*recorded["folds"], np.mean(recorded["member_rmse"]), recorded["rmse"]]
    assert printed == pytest.approx(expected, abs=6e-5)
    errors = recordings.unpack(recorded["errors"])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(recorded["rmse"], abs=2e-5)


@pytest.mark.usefixtures("small")
def test_options_change_every_network_and_are_printed():
    result = run("cv", "--connection", "plain", "--depth", "2", "--growth-rate", "5", "--epochs",
                 "1", "--seeds", "2", "--features", "bins", "--folds", "search-1")  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == lines[1]
    assert lines[0].startswith("plain: 2 layers of 5, relu, norm none, init he, dropout 0 (inputs")
    assert lines[0].endswith("1 epoch, features bins")
    assert "average of 4" in result.output


@pytest.mark.parametrize("features", networks.ENCODERS)
@pytest.mark.usefixtures("small")
def test_features_are_told_by_their_name(features):
    for network in networks.ensemble("residual", features=features).networks:
        assert networks.features_of(network) == features


@pytest.mark.usefixtures("small")
def test_a_submission_is_written_to_a_folder_that_is_made_and_scored(tmp_path):
    path = tmp_path / "new" / "submission.csv"
    assert run("submit", "--out", str(path)).exit_code == 0
    assert len(pd.read_csv(path)) == 1459
    result = run("score", str(path))
    assert result.exit_code == 0
    assert f"{score_submission(path):.5f}" in result.output


@pytest.mark.parametrize("name", [".", "s.csv.gz", "/proc/x/s.csv"])
def test_the_path_is_checked_before_training(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Ensemble, "predict", lambda *_: pytest.fail("it trains"))
    result = run("submit", "--out", name)
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small")
def test_a_file_that_is_there_is_replaced_by_request_only(tmp_path):
    path = tmp_path / "submission.csv"
    path.write_text("mine")
    result = run("submit", "--out", str(path))
    assert result.exit_code == 2
    assert "is there already: give another --out, or replace it by --force" in told(result)
    assert path.read_text() == "mine"
    assert run("submit", "--out", str(path), "--force", "--epochs", "1").exit_code == 0
    assert len(pd.read_csv(path)) == 1459


def told(result):
    return words(result.output)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("growth_rate", ["1000000000", "1" + 20 * "0"])
def test_a_network_that_no_memory_has_room_for_is_a_line(tmp_path, growth_rate):
    result = run(
        "submit",
        "--out",
        str(tmp_path / "s.csv"),
        "--epochs",
        "1",
        "--depth",
        "2",
        "--growth-rate",
        growth_rate,
    )
    assert result.exit_code == 1
    assert "Error: there is not enough memory: lower --growth-rate or --depth" in result.output


def test_a_bad_submission_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("Id,SalePrice\n1461,-1\n")
    result = run("score", str(path))
    assert result.exit_code == 1
    assert "line 2: a price is a positive number" in result.output


@pytest.mark.parametrize(
    "arguments",
    [("--folds", "lucky"), ("--connection", "wide"), ("--depth", "0"), ("--features", "none")],
    ids=" ".join,
)
def test_what_cannot_be_is_refused(arguments):
    assert run("cv", *arguments).exit_code == 2


def test_a_latin_hypercube_has_every_value_equally_often():
    trials = search.configurations()
    assert len(trials) == search.TRIALS
    for depth in search.DEPTHS:
        at_depth = [t for t in trials if t["depth"] == depth]
        assert sorted(t["dropout"] for t in at_depth) == [0.0, 0.05, 0.1, 0.3]
        assert sorted(t["init"] for t in at_depth) == ["default", "default", "he", "he"]
        rates = sorted(t["learning_rate"] for t in at_depth)
        edges = np.geomspace(5e-4, 8e-3, 5)
        assert [np.searchsorted(edges, rate) for rate in rates] == [1, 2, 3, 4]


@pytest.mark.usefixtures("small")
def test_a_training_that_fails_has_made_no_folder(monkeypatch, tmp_path):
    def stop(*_, **__):
        raise FloatingPointError("the loss is no longer finite")

    monkeypatch.setattr(Network, "predict", stop)
    result = run("submit", "--out", str(tmp_path / "deep" / "er" / "submission.csv"))
    assert result.exit_code == 1
    assert "no longer finite" in result.output
    assert not list(tmp_path.iterdir())
