"""What page 5 says follows from its records by the protocol of `search.py`."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from sklearn.frozen import FrozenEstimator

from densenet_solutions.exercises.houses import (
    baseline,
    frozen,
    networks,
    pictures,
    recordings,
    rivals,
    search,
    study,
    today,
)
from densenet_solutions.houses import (
    BookEncoder,
    HouseEncoder,
    contiguous_folds,
    load_houses,
    partition,
)
from densenet_solutions.houses.comparison import HouseDifference
from densenet_solutions.houses.models import BookLinear, Network, Split
from densenet_solutions.houses.training import Task, TrainingOptions
from densenet_solutions.measure import count_parameters
from densenet_solutions.models import DenseMLP
from densenet_solutions.records import load_record

TRAIN = load_houses().train


def test_intervals_are_those_of_a_paired_t_test_widened_for_retraining():
    """SciPy's interval for 50 independent folds, times √(1 + 50/4)."""
    judged = {**study.connections(), **study.standings()}
    assert len(judged) - 1 == 11  # the first search's three trees and histogram boosting besides
    compared = 26
    assert study.standings()["dense"].difference.difference == 0
    for name, found in judged.items():
        if name == "dense":
            continue
        dense = (study.connections if name in search.CONNECTIONS else study.standings)()["dense"]
        pairs = scipy.stats.ttest_rel(found.folds.ravel(), dense.folds.ravel())
        naive = pairs.confidence_interval(1 - 0.05 / compared)
        half = (naive.high - naive.low) / 2 * np.sqrt(1 + 50 / 4)
        middle = found.folds.mean() - dense.folds.mean()
        assert found.difference.difference == pytest.approx(middle)
        assert found.difference.low == pytest.approx(middle - half)
        assert found.difference.high == pytest.approx(middle + half)


def test_averages_of_three_are_compared_as_single_networks_are():
    cases, averages = load_record("houses-judged").cases, study.averages()
    assert study.standings()["dense"].mean == averages["dense"].mean
    for name in ("plain", "shortcut", "residual"):
        ours, dense = (
            np.ravel([cases[f"{c} {where}"]["folds"] for where in search.FRESH])
            for c in (name, "dense")
        )
        naive = scipy.stats.ttest_rel(ours, dense).confidence_interval(1 - 0.05 / 26)
        half = (naive.high - naive.low) / 2 * np.sqrt(1 + 50 / 4)
        found = averages[name]
        assert found.mean < study.connections()[name].mean
        assert found.difference.difference == pytest.approx(np.mean(ours - dense))
        assert found.difference.high - found.difference.difference == pytest.approx(half)


def test_differences_are_those_of_the_page_at_its_number_of_comparisons():
    shown = {**study.connections(), **study.standings()}
    wide, alone = study.differences(26), study.differences(1)
    assert wide == {name: shown[name].difference for name in wide}
    assert len(wide) == 11
    ratio = scipy.stats.t.ppf(1 - 0.025 / 26, 49) / scipy.stats.t.ppf(0.975, 49)
    for name, d in wide.items():
        assert (d.high - d.low) / (alone[name].high - alone[name].low) == pytest.approx(ratio)
    for name, d in study.differences(15, 5).items():
        dense = shown["dense"] if name in study.standings() else study.connections()["dense"]
        pairs = scipy.stats.ttest_rel(shown[name].folds[:5].ravel(), dense.folds[:5].ravel())
        half = np.ptp(pairs.confidence_interval(1 - 0.05 / 15)) / 2 * np.sqrt(1 + 25 / 4)
        assert d.difference == pytest.approx((shown[name].folds - dense.folds)[:5].mean())
        assert d.high - d.difference == pytest.approx(half)


def test_ridge_minus_the_deep_dense_network_is_of_its_chosen_network_of_16_layers():
    (member,) = (
        i for i, n in enumerate(networks.ensemble().networks) if n.options["block_config"] == (16,)
    )
    cases, rival = load_record("houses-judged").cases, load_record("houses-judged-rivals").cases
    pairs = scipy.stats.ttest_rel(
        np.ravel([rival[f"ridge {where}"]["folds"] for where in search.FRESH]),
        np.ravel([cases[f"dense {where}"]["member_folds"][member] for where in search.FRESH]),
    )
    found, naive = study.ridge_minus_deep_dense(), pairs.confidence_interval(0.95)
    half = (naive.high - naive.low) / 2 * np.sqrt(1 + 50 / 4)
    middle = (naive.high + naive.low) / 2
    assert [found.low, found.high] == pytest.approx([middle - half, middle + half])


def test_what_was_trained_beside_layers_left_at_their_start_is_what_the_search_recorded():
    for connection, (trained, left) in study.frozen().items():
        deep = [t for t in study.trials()[connection] if t["configuration"]["depth"] == 16]
        assert trained.tolist() == [t["rmse"] for t in deep]
        assert len(left) == 4


def test_networks_have_about_the_number_of_weights_that_was_drawn():
    def share(connection, configuration):
        network = search.build(connection, configuration)
        with torch.device("meta"):
            model = DenseMLP(search.FEATURES[configuration["n_bins"]], **network.options)
        return count_parameters(model).total / configuration["parameters"] - 1, network

    off = [
        abs(share(connection, configuration)[0])
        for configuration in search.configurations()
        for connection in search.CONNECTIONS
    ]
    assert f"{max(off):.0%}" == f"{study.SIZE_TOLERANCE:.0%}"
    for connection, width in study.DEEP_WIDTHS.items():
        for start in ("he", "default"):
            options = {**recordings.DEEP, "dropout": 0.0, "init": start}
            difference, network = share(connection, options)
            assert network.options["growth_rate"] == width
            assert abs(difference) < 0.01


def test_one_house_makes_what_the_leak_brings_the_books_model():
    leaking, honest = baseline.books_model(leak=True), baseline.books_model(leak=False)
    assert baseline.ladder()["the book: linear, SGD, 10 epochs"] == pytest.approx(np.mean(leaking))
    seen = BookEncoder().fit(pd.concat(load_houses(), ignore_index=True))
    for leak, encoder in ((True, lambda: FrozenEstimator(seen)), (False, BookEncoder)):
        squares = pd.Series(0.0, TRAIN["Id"])
        for fold in np.array_split(TRAIN.index, 5):
            rest = TRAIN.drop(fold)
            (predicted,) = BookLinear(encoder=encoder).predict([Split(rest, TRAIN.loc[fold])], (2,))
            off = predicted[0] - np.log(TRAIN["SalePrice"][fold])
            squares[TRAIN["Id"][fold]] = off.to_numpy() ** 2
        found = baseline.books_model(leak=leak)
        assert found[2] == pytest.approx(np.sqrt(squares.mean()))
        assert len(set(found)) == baseline.SEEDS
        one_less = baseline.books_model(leak=leak, without=(347,))
        assert one_less[2] == pytest.approx(np.sqrt(squares.drop(347).mean()))
    assert np.mean(leaking) < np.mean(honest)

    def without_each(leak):
        """Mean over seeds of the error without one house, for every house."""
        squares = baseline.books_errors(leak=leak) ** 2  # (seeds, houses)
        rest = squares.sum(axis=1, keepdims=True) - squares
        return np.sqrt(rest / (squares.shape[1] - 1)).mean(axis=0)

    assert without_each(True)[346] == pytest.approx(
        np.mean(baseline.books_model(leak=True, without=(347,)))
    )
    worth = without_each(False) - without_each(True)
    assert [i for i, w in enumerate(worth, start=1) if w < 0] == [347]


def test_the_constant_alone_is_what_training_without_columns_gives():
    y = np.log(TRAIN["SalePrice"].to_numpy())
    task = Task(np.zeros((1168, 1)), y[:1168], np.zeros((1, 1)))
    assert baseline.constant_alone() == pytest.approx(
        BookLinear()._fit_predict(task, 0)[0], abs=0.02
    )
    assert baseline.ones_of_a_house() == {43}


def test_deviations_are_those_of_pandas():
    fold = next(f for f in np.array_split(TRAIN.index, 5) if 346 in f)
    values = TRAIN["MiscVal"]
    everyone = pd.concat([values, load_houses().test["MiscVal"]])
    expected = [(values[346] - rows.mean()) / rows.std() for rows in (values.drop(fold), everyone)]
    assert baseline.deviations(347, "MiscVal") == pytest.approx(expected)


def test_the_books_constant_is_its_prediction_where_every_column_is_zero():
    seen = BookEncoder().fit(pd.concat(load_houses(), ignore_index=True))

    class ZeroWithoutPrice(BookEncoder):
        def fit(self, houses, y=None):
            return self

        def transform(self, houses):
            return seen.transform(houses) * ("SalePrice" in houses)

    expected = []
    for fold in np.array_split(TRAIN.index, 5):
        split = Split(TRAIN.drop(fold), TRAIN.loc[fold].drop(columns="SalePrice"))
        (predicted,) = BookLinear(encoder=ZeroWithoutPrice).predict([split], (0,))
        assert np.ptp(predicted) == 0
        expected.append(predicted[0, 0])
    assert baseline.books_constant() == pytest.approx(expected)


def test_what_ones_make_of_the_mean_is_in_the_categories_weights():
    """The same training in PyTorch; a house's share is the sum of the weights of its categories."""
    seen = BookEncoder().fit(pd.concat(load_houses(), ignore_index=True))
    x = torch.tensor(seen.transform(TRAIN)).double()
    y = torch.tensor(np.log(TRAIN["SalePrice"].to_numpy()))
    ones = ((x == 0) | (x == 1)).all(dim=0)
    predicted, by_ones = [], []
    for centered in (False, True):
        found, whole = [], []
        for fold in np.array_split(np.arange(len(x)), 5):
            rest = np.setdiff1d(np.arange(len(x)), fold)
            offset = y[rest].mean() if centered else 0
            generator = np.random.default_rng(3)
            net = torch.nn.Linear(x.shape[1], 1).double()
            with torch.no_grad():
                net.weight[0] = torch.tensor(generator.normal(0, 0.01, x.shape[1]))
                net.bias.zero_()
            sgd = torch.optim.SGD(net.parameters(), lr=0.01)
            for _ in range(10):
                for rows in torch.tensor(rest[generator.permutation(len(rest))]).split(64):
                    sgd.zero_grad()
                    ((net(x[rows])[:, 0] - (y[rows] - offset)) ** 2).mean().backward()
                    sgd.step()
            found.append(x[fold][:, ones] @ net.weight[0, ones].detach() + net.bias.item() + offset)
            whole.append(net(x[fold])[:, 0].detach() + offset)
        predicted.append(torch.cat(whole))
        by_ones.append(torch.cat(found))
    for ones, (raw, of_centered) in {False: predicted, True: by_ones}.items():
        response = (raw - of_centered).std(correction=0).item()
        assert baseline.response_to_the_mean(by_ones=ones)[3] == pytest.approx(response)


@pytest.mark.parametrize("connection", frozen.CONNECTIONS)
def test_only_the_head_of_a_network_with_its_layers_left_moves(connection):
    """What it predicts is then linear in what its layers say at the start, and fits something."""
    options = {"connection": connection, "growth_rate": 3, "block_config": (2,), "init": "he"}
    table = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    encoder = type(
        "Encoder", (), {"fit": lambda self, *_: self, "transform": lambda self, x: table}
    )
    houses = TRAIN.head(40)
    network = Network(options, TrainingOptions(batch_size=40, learning_rate=0.05), encoder)
    torch.manual_seed(3)
    start, inputs = DenseMLP(4, **options), []
    start.head.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    start(torch.from_numpy(table))
    features = np.c_[inputs[0].detach().numpy(), np.ones(40)]

    def off_the_line(model):
        ((found,),) = model.predict([Split(houses, houses)], (3,))
        assert np.std(found - np.log(houses["SalePrice"])) < np.std(np.log(houses["SalePrice"]))
        return np.abs(found - features @ np.linalg.lstsq(features, found, rcond=None)[0]).max()

    assert off_the_line(frozen.HeadOnly(network)) < 1e-5
    assert off_the_line(network) > 0.01


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


@pytest.mark.parametrize("family", list(rivals.SPACES))
def test_a_rival_was_tried_as_often_as_is_said(family):
    cases = load_record("houses-search-rivals").cases.values()
    assert sum(case["family"] == family for case in cases) == rivals.trials(family)


class LevelMeans:
    """The mean target of each neighbourhood: stands in for the networks of pytabkit."""

    def fit(self, x, y):
        kinds = x.dtypes[x.columns.str.endswith(" kind")]
        assert len(kinds) == 25
        assert all(isinstance(kind, pd.CategoricalDtype) for kind in kinds)
        numbers = x.drop(columns=kinds.index)
        assert np.isfinite(numbers.to_numpy()).all()
        assert not x.columns.duplicated().any()
        assert abs(y.mean()) < 1e-9
        self.means = pd.Series(y, x.index).groupby(x["Neighborhood kind"].astype(str)).mean()
        return self

    def predict(self, x):
        assert "SalePrice" not in x
        return x["Neighborhood kind"].astype(str).map(self.means).fillna(0).to_numpy()


@pytest.mark.parametrize("family", today.FAMILIES)
def test_todays_networks_read_numbers_and_categories_of_the_training_rows(family, monkeypatch):
    made = []
    monkeypatch.setattr(today, "_regressor", lambda *of: made.append(of) or LevelMeans())
    recipe = today.judged_recipe(family)
    found = recipe.measure(recipe.cases[f"{family} book"], "cpu")
    assert made == [(family, 0)] * 5
    folds, prices = contiguous_folds(len(TRAIN)), np.log(TRAIN["SalePrice"])
    errors = prices.copy()
    for k in range(5):
        train = folds != k
        means = prices[train].groupby(TRAIN["Neighborhood"][train]).mean()
        errors[~train] -= TRAIN["Neighborhood"][~train].map(means).fillna(prices[train].mean())
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), abs=2e-5)
    assert found["folds"] == pytest.approx(
        [np.sqrt(np.mean(errors[folds == k] ** 2)) for k in range(5)], abs=2e-5
    )


@pytest.mark.parametrize("family", today.FAMILIES)
@pytest.mark.filterwarnings("ignore")
def test_todays_networks_are_their_authors_defaults(family):
    """All that is set is where and how long they compute, and TabM's number of members."""
    pytest.importorskip("pytabkit", reason="RealMLP and TabM come with the extra 'rivals'")
    model = today.build(family).make(3)
    given = {k: v for k, v in model.get_params().items() if v is not None}
    defaults = {k: v for k, v in type(model)().get_params().items() if v is not None}
    changed = {k: v for k, v in given.items() if defaults.get(k) != v}
    assert changed.pop("tabm_k", 8) == 8
    assert changed == {"device": "cpu", "random_state": 3, "n_threads": 1}


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
    assert found.trained_on_all[0] == pytest.approx(baseline.ridge(HouseEncoder).rmse, abs=1e-6)
    for k, change in enumerate(found.change):
        assert change.difference == pytest.approx(
            found.trained_without[k] - found.trained_on_all[k]
        )
        assert change.low < change.difference < change.high


def test_spread_tells_seeds_from_partitions():
    cases = load_record("houses-judged").cases
    runs = [
        [cases[f"dense {where}"]["member_rmse"][0]]
        + [cases[f"dense {where} seed {seed}"]["rmse"] for seed in (1, 2)]
        for where in search.FIRST
    ]
    within = np.mean([np.var(run, ddof=1) for run in runs])
    found = study.spread()
    assert found.seeds == pytest.approx(np.sqrt(within))
    total = np.var(np.mean(runs, axis=1), ddof=1)
    assert found.partitions**2 + within / 3 >= total - 1e-12


def test_test_scores_follow_from_the_stored_errors():
    final = study.scores_on_the_test_rows()
    assert final["dense"].against_dense.difference == 0
    for name, score in final.items():
        assert score.without_two < score.rmse
        alone, together = score.against_dense, score.corrected
        assert together.difference == alone.difference
        if name != "dense":
            # A normal quantile for eight is 1.39 times that for one.
            assert 1.2 < (together.high - together.low) / (alone.high - alone.low) < 1.6


@pytest.mark.parametrize("high", [0.003, 0.008, 0.024, 0.06])
def test_ticks_of_intervals_do_not_overlap(high):
    """A label such as -0.004 is about 40 units wide at this size."""
    difference = {"ridge": HouseDifference(0.001, -0.01 * (high > 0.01), high)}
    html = pictures.intervals(difference, search.MARGIN, "", "dense").html
    for svg in re.findall("<svg.*?</svg>", html, re.DOTALL):
        labels = re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>(?:−?0\.\d{3})<', svg)
        at = sorted(map(float, labels))
        assert len(at) >= 2
        assert min(np.diff(at)) > 42
