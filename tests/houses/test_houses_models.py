"""Preprocessing, folds, networks and stacked training."""

from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, Ridge

from densenet_solutions.houses import (
    BookEncoder,
    Ensemble,
    HouseEncoder,
    Network,
    contiguous_folds,
    corrected_difference,
    load_houses,
    out_of_fold,
    paired_difference,
    partition,
)
from densenet_solutions.houses.cross_validation import splits
from densenet_solutions.houses.models import BookLinear, Estimator, encode, log_price
from densenet_solutions.houses.training import Task, TrainingOptions, fit_predict
from densenet_solutions.models.mlp import DenseMLP, matched_growth_rate

TRAIN, TEST = load_houses()


def test_the_books_encoding_has_331_features():
    encoder = BookEncoder().fit(pd.concat([TRAIN, TEST]))
    assert encoder.transform(TRAIN).shape == (1460, 331)
    assert len(encoder.get_feature_names_out()) == 331


@pytest.mark.parametrize(
    "kind",
    [BookEncoder, HouseEncoder, partial(HouseEncoder, n_bins=6)],
    ids=["book", "ours", "bins"],
)
def test_a_validation_row_leaves_no_trace(kind):
    folds = contiguous_folds(len(TRAIN))
    changed = TRAIN.copy()
    changed.loc[folds == 2, ["GrLivArea", "LotArea"]] *= 7
    changed.loc[folds == 2, ["Neighborhood", "KitchenQual"]] = "unheard of"
    before, after = splits(TRAIN, folds)[2], splits(changed, folds)[2]
    assert "SalePrice" not in before.new
    assert joblib.hash(kind().fit(before.train)) == joblib.hash(kind().fit(after.train))
    assert joblib.hash(kind().fit(changed)) != joblib.hash(kind().fit(TRAIN))
    assert not np.array_equal(
        kind().fit(before.train).transform(before.new),
        kind().fit(before.train).transform(after.new),
    )


@pytest.mark.parametrize("kind", [BookEncoder, HouseEncoder])
def test_strange_rows_are_encoded(kind):
    strange = TEST.head(3).copy()
    for column in strange.columns.drop("Id"):
        numeric = pd.api.types.is_numeric_dtype(strange[column])
        strange[column] = np.nan if numeric else ["never seen", None, "Po"]
    encoder = clone(kind()).fit(TRAIN)
    table = encoder.transform(strange)
    assert table.dtype == np.float32
    assert table.shape == (3, len(encoder.get_feature_names_out()))
    assert np.isfinite(table).all()


@pytest.mark.parametrize("kind", [BookEncoder, HouseEncoder])
def test_columns_may_come_in_any_order_and_type(kind):
    """A small file of houses has other types: no fence at all is a column of numbers, all NaN."""
    encoder = kind().fit(TRAIN)
    plain = TEST[TEST["Fence"].isna()].head(5)
    other = plain[plain.columns[::-1]].assign(
        Fence=np.nan, MSSubClass=plain["MSSubClass"].astype(float), SalePrice=1.0
    )
    np.testing.assert_array_equal(encoder.transform(other), encoder.transform(plain))


def test_features_are_centred_and_bounded():
    table = HouseEncoder().fit_transform(TRAIN)
    assert np.abs(table).max() <= 3
    assert np.isfinite(table).all()
    assert table.std(axis=0).min() > 0


@pytest.mark.parametrize("name", ["book", "fresh-1", "search-1"])
def test_folds_cover_every_row_once(name):
    folds = partition(name)
    assert np.bincount(folds).tolist() == [292] * 5
    assert sum(len(s.new) for s in splits(TRAIN, folds)) == len(TRAIN)


def test_cross_validation_against_scikit_learn():
    from sklearn.model_selection import KFold, cross_val_predict

    houses = TRAIN.head(200)
    ours = out_of_fold(Estimator(lambda seed: Ridge(10.0)), houses, contiguous_folds(200))[0]
    from sklearn.pipeline import make_pipeline

    theirs = cross_val_predict(
        make_pipeline(HouseEncoder(), Ridge(10.0)), houses, log_price(houses), cv=KFold(5)
    )
    np.testing.assert_allclose(ours, theirs, atol=2e-3)  # the features are float32


def test_the_books_regression_is_torchs_sgd():
    """The same start and batches, with PyTorch's own loss and optimizer."""
    split = splits(TRAIN.head(200), contiguous_folds(200))[0]
    (ours,) = BookLinear(epochs=3).predict([split], (7,))
    task = encode(BookEncoder, split)
    x, y, x_new = (torch.tensor(a, dtype=torch.float64) for a in (task.x, task.y, task.x_new))
    generator = np.random.default_rng(7)
    model = torch.nn.Linear(x.shape[1], 1, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(generator.normal(0, 0.01, (1, x.shape[1]))))
        model.bias.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        for rows in torch.from_numpy(generator.permutation(len(x))).split(64):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x[rows])[:, 0], y[rows]).backward()
            optimizer.step()
    np.testing.assert_allclose(ours[0], model(x_new)[:, 0].detach().numpy(), rtol=1e-9)


def test_what_the_book_sees_beforehand_changes_its_baseline():
    """Fitted on all rows the encoder has the levels of the rows to be predicted."""
    fitted = FrozenEstimator(BookEncoder().fit(pd.concat([TRAIN, TEST])))
    split = splits(TRAIN, contiguous_folds(len(TRAIN)))[0]
    assert encode(lambda: fitted, split).x.shape[1] == 331
    assert encode(BookEncoder, split).x.shape[1] < 331


def test_paired_differences():
    error = np.random.default_rng(1).normal(0, 0.1, (3, 500))
    same = paired_difference(error, error)
    assert same.difference == same.low == same.high == 0
    worse = paired_difference(1.2 * error, error)
    assert worse.low > 0
    assert worse.difference == pytest.approx(0.2 * np.sqrt((error**2).mean(1)).mean())
    with pytest.raises(ValueError, match="one shape"):
        paired_difference(error, error[:, 1:])


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_a_bootstrap_interval_of_many_rows_is_the_normal_one(confidence):
    a, b = np.random.default_rng(2).normal(0, [[0.11], [0.1]], (2, 2000))
    roots = [np.sqrt(np.mean(e**2)) for e in (a, b)]
    spread = np.std(a**2 / roots[0] - b**2 / roots[1]) / 2 / np.sqrt(len(a))
    half = scipy.stats.norm.ppf((1 + confidence) / 2) * spread
    found = paired_difference(a, b, confidence=confidence)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)


# The network ------------------------------------------------------------------------------------


def test_dense_network_is_equation_2():
    torch.manual_seed(0)
    model = DenseMLP(7, growth_rate=3, block_config=(3,))
    torch.nn.init.normal_(model.head.weight)
    x = torch.randn(5, 7)
    features = [x]
    for layer in model.blocks[0]:
        features.append(torch.nn.functional.silu(layer[0](torch.cat(features, 1))))
    expected = torch.cat(features, 1) @ model.head.weight[0] + model.head.bias
    torch.testing.assert_close(model(x), expected)


def test_residual_network_adds_what_plain_replaces():
    torch.manual_seed(0)
    residual = DenseMLP(7, connection="residual", growth_rate=4, block_config=(2,))
    plain = DenseMLP(7, connection="plain", growth_rate=4, block_config=(2,), num_init_features=4)
    plain.load_state_dict(residual.state_dict())
    x = torch.randn(5, 7)
    h = residual.stem(x)
    a, b = residual.blocks[0]
    torch.testing.assert_close(h + a(h) + b(h + a(h)), _before_head(residual, x))
    torch.testing.assert_close(b(a(h)), _before_head(plain, x))


def _before_head(model, x):
    seen = []
    with torch.no_grad():
        handle = model.head.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
        model(x)
        handle.remove()
    return seen[0]


def test_transitions_compress():
    model = DenseMLP(10, growth_rate=5, block_config=(2, 2), compression=0.5)
    assert model.transitions[0].out_features == 10
    assert model.head.in_features == 20
    assert model(torch.zeros(3, 10)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("connection", ["plain", "residual", "dense"])
def test_matched_networks_have_equal_size(connection):
    growth = matched_growth_rate(60_000, 300, connection, block_config=(8,))
    model = DenseMLP(300, connection=connection, growth_rate=growth, block_config=(8,))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(60_000, rel=0.04)


def test_one_shortcut_is_a_plain_network_whose_head_reads_the_table_too():
    torch.manual_seed(0)
    shortcut = DenseMLP(7, connection="shortcut", growth_rate=4, block_config=(2,))
    plain = DenseMLP(7, connection="plain", growth_rate=4, block_config=(2,))
    plain.load_state_dict({**shortcut.state_dict(), "head.weight": torch.zeros(1, 4)})
    x = torch.randn(5, 7)
    both = torch.cat([x, _before_head(plain, x)], dim=1)
    torch.testing.assert_close(_before_head(shortcut, x), both)


def test_he_initialisation_keeps_the_signal_through_depth():
    """With He's weights the mean square stays through 16 ReLU layers; with PyTorch's it dies."""
    torch.manual_seed(0)
    x = torch.randn(256, 100)
    left = {}
    for init in ("he", "default"):
        model = DenseMLP(
            100, connection="plain", growth_rate=100, block_config=(16,), activation="relu",
            init=init,
        )  # fmt: skip
        left[init] = _before_head(model, x).square().mean() / x.square().mean()
        assert not model.head.weight.any()
    assert 0.2 < left["he"] < 5
    assert left["default"] < 0.01


# Training ---------------------------------------------------------------------------------------


def linear_task(rows=96):
    generator = np.random.default_rng(3)
    x = generator.normal(size=(rows, 4))
    y = 12 + x @ generator.normal(size=4)
    return Task(x[:80], y[:80], x[80:])


def test_a_network_learns_what_least_squares_knows():
    task = linear_task()
    training = TrainingOptions(epochs=150, batch_size=20, learning_rate=2e-2, weight_decay=0)
    expected = LinearRegression().fit(task.x, task.y).predict(task.x_new)
    answers = [
        fit_predict(
            lambda width: DenseMLP(width, growth_rate=2, block_config=(1,)), task, seed, training
        )
        for seed in (0, 1)
    ]
    assert all(np.abs(answer - expected).max() < 0.3 for answer in answers)
    assert not np.array_equal(*answers)


def test_training_is_adamw_with_warm_up_and_cosine():
    """Step by step against the same network, batches and learning rates written out."""
    task, epochs, batch = linear_task(), 4, 20
    training = TrainingOptions(
        epochs=epochs, batch_size=batch, learning_rate=1e-2, weight_decay=0.1, warmup=0.25
    )

    def make(width):
        return DenseMLP(width, growth_rate=3, block_config=(2,), norm="layer")

    ours = fit_predict(make, task, 5, training)
    mean, scale = task.y.mean(), task.y.std()
    x = torch.tensor(task.x, dtype=torch.float32)
    y = torch.tensor((task.y - mean) / scale, dtype=torch.float32)
    torch.manual_seed(5)
    model = make(4)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}], weight_decay=0.1
    )
    step, steps = 0, epochs * 80 // batch
    for _ in range(epochs):
        for rows in torch.randperm(80).reshape(-1, batch):
            warm, cosine = (step + 1) / 4, 0.5 + 0.5 * np.cos(np.pi * step / steps)
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * min(warm, cosine)
            optimizer.zero_grad()
            (model(x[rows]) - y[rows]).square().mean().backward()
            optimizer.step()
            step += 1
    with torch.no_grad():
        alone = model(torch.tensor(task.x_new, dtype=torch.float32)).numpy() * scale + mean
    np.testing.assert_allclose(ours, alone, atol=1e-4)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_a_member_depends_on_its_own_seed_only(norm):
    houses = TRAIN.head(150)
    training = TrainingOptions(epochs=2)
    network = Network({"growth_rate": 4, "dropout": 0.1, "norm": norm}, training)
    folds = contiguous_folds(150)
    alone = out_of_fold(network, houses, folds, (1,))
    together = out_of_fold(network, houses, folds, (0, 1, 2))
    assert np.isfinite(together).all()
    assert np.array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])
    ensemble = Ensemble((Network({"growth_rate": 3}, training), network))
    in_ensemble = out_of_fold(ensemble, houses, folds, (1,))
    assert in_ensemble.shape == (2, 150)
    assert np.array_equal(in_ensemble[1], alone[0])


def test_the_corrected_interval_is_nadeaus_and_bengios():
    """Written out for 25 folds: 1/25 + 1/4 times the variance, and t with 24 degrees."""
    generator = np.random.default_rng(2)
    ours, theirs = generator.normal(0.12, 0.01, (2, 5, 5))
    found = corrected_difference(ours, theirs, confidence=0.95)
    difference = (ours - theirs).ravel()
    half = 2.0639 * np.sqrt((1 / 25 + 292 / 1168) * difference.var(ddof=1))
    assert found.difference == pytest.approx(difference.mean())
    assert found.high - found.difference == pytest.approx(half, rel=1e-4)
    assert found.difference - found.low == pytest.approx(half, rel=1e-4)
    wider = corrected_difference(ours, theirs, confidence=1 - 0.05 / 8)
    assert wider.low < found.low < found.high < wider.high
