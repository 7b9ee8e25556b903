"""Leaks in a model of house prices are found, and honest ones pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from densenet_solutions.check import house_prices
from densenet_solutions.houses import contiguous_folds, load_houses, write_submission
from densenet_solutions.houses.ames import hidden_prices

HOUSES = load_houses()
PRICES = dict(zip(HOUSES.train["Id"], HOUSES.train["SalePrice"], strict=True))
NUMBERS = [c for c in HOUSES.train.select_dtypes("number") if c not in ("Id", "SalePrice")]


def ridge(train, houses, fit_on=None, scale=1.0):
    fit_on = train if fit_on is None else fit_on
    mean, std = fit_on[NUMBERS].mean(), fit_on[NUMBERS].std()

    def features(frame):
        return ((frame[NUMBERS] - mean) / std).fillna(0).to_numpy()

    model = Ridge(10.0).fit(features(train), np.log(train["SalePrice"]))
    return np.exp(model.predict(features(houses)) * scale)


def standardises_together(train, houses):
    return ridge(train, houses, fit_on=pd.concat([train, houses]))


def knows_the_prices(train, houses):
    return [PRICES[i] for i in houses["Id"]]


def by_position(train, houses):
    order = np.argsort(houses["Id"].to_numpy())
    return ridge(train, houses)[order]


def noisy(train, houses):
    return ridge(train, houses) * np.exp(np.random.default_rng().normal(0, 0.01, len(houses)))


def per_square_foot(train, houses):
    return (train["SalePrice"] / train["GrLivArea"]).median() * houses["GrLivArea"]


def mean_price(train, houses):
    return np.full(len(houses), np.exp(np.log(train["SalePrice"]).mean()))


def logarithms(train, houses):
    return np.log(ridge(train, houses))


def in_thousands(train, houses):
    return ridge(train, houses) / 1000


def too_few(train, houses):
    return ridge(train, houses)[1:]


def negative(train, houses):
    return -ridge(train, houses)


def fails(train, houses):
    return train["Nonsense"]


def changes(train, houses):
    train["SalePrice"] = np.log(train["SalePrice"])
    return ridge(train.assign(SalePrice=np.exp(train["SalePrice"])), houses)


WRONG = [
    (standardises_together, "the predictions of 289 others change"),
    (knows_the_prices, "Trained on shuffled prices it still predicts with 0.000"),
    (by_position, "depend on the order of the houses"),
    (mean_price, "Predicting the mean of the training houses' log prices does no worse"),
    (logarithms, "looks like a logarithm"),
    (in_thousands, "Half of the prices are more than 1,0"),
    (lambda train, houses: None, "for 292 houses it returns None."),
    (too_few, "One price a house"),
    (negative, "Prices are positive numbers"),
    (fails, "Your function raises KeyError: 'Nonsense'"),
]


@pytest.mark.parametrize(("predict", "text"), WRONG, ids=[row[0].__name__ for row in WRONG])
def test_what_is_dishonest_or_wrong_is_told(predict, text):
    report = house_prices(predict)
    assert not report.passed
    assert text in report.findings[0].text
    if predict is fails:
        assert "test_house_prices.py, line" in report.findings[0].where


def test_a_formula_is_no_leak():
    """Its form predicts even with shuffled prices, which a newcomer's was accused of."""
    report = house_prices(per_square_foot)
    assert report.passed
    said = [f.text for f in report.findings if "shuffled" in f.text and f.kind == "note"]
    assert len(said) == 1
    assert "Trained on shuffled prices it still predicts with 0.26" in said[0]
    assert "A formula can do that" in said[0]


def test_an_honest_model_passes_with_the_score_of_cross_validation():
    report = house_prices(ridge)
    assert report.passed
    train, folds = HOUSES.train, contiguous_folds(1460)
    errors = [
        np.log(ridge(train[folds != k], train[folds == k])) - np.log(train["SalePrice"][folds == k])
        for k in range(5)
    ]
    assert report.rmse == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    scores = list(report.ruler.values())
    assert scores[0] == max(scores) > report.rmse > min(scores)
    assert "The next lower error of others is that of " in str(report)


@pytest.mark.parametrize(
    ("predict", "text"), [(noisy, "the seed is not fixed"), (changes, "changes the frames")]
)
def test_bad_habits_are_notes(predict, text):
    report = house_prices(predict)
    assert report.passed
    assert text in str(report)


def test_a_submission_is_scored_and_looked_up_prices_are_seen(tmp_path):
    ids = HOUSES.test["Id"].tolist()
    path = write_submission(tmp_path / "mine.csv", ids, ridge(HOUSES.train, HOUSES.test).tolist())
    report = house_prices(path)
    assert report.passed
    error = np.log(ridge(HOUSES.train, HOUSES.test)) - np.log(hidden_prices().to_numpy(float))
    assert report.rmse == pytest.approx(np.sqrt(np.mean(error**2)))

    truth = hidden_prices()
    path = write_submission(tmp_path / "known.csv", truth.index.tolist(), truth.tolist())
    report = house_prices(str(path))
    assert "1459 of 1459 prices are the recorded ones" in report.findings[0].text

    path.write_text("Id,SalePrice\n1461,-1\n")
    report = house_prices(path)
    assert "line 2: a price is a positive number" in report.findings[0].text
    assert not report.passed


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        house_prices(tmp_path / "nothing.csv")
