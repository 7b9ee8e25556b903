"""`check.house_prices`: honest folds, leaks, and where a score stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from densenet_solutions import checks
from densenet_solutions.check.prepared import TheirError, their_code
from densenet_solutions.check.report import Finding, Report, wrong_first
from densenet_solutions.check.settings import as_left
from densenet_solutions.records import load_record

if TYPE_CHECKING:
    import pandas as pd

#: `(train, houses)` → prices in dollars, one a row of `houses`. `train` has the column SalePrice.
Predict = Callable[["pd.DataFrame", "pd.DataFrame"], Any]

#: Rows of the ruler that are recorded: case, name.
RECORDED = {
    "ridge": "ridge regression, tuned",
    "xgboost": "XGBoost, tuned",
    "catboost": "CatBoost, tuned",
    "dense": "the average of three dense MLPs",
}


_ERROR = "The error of log price"


#: Error above which, with shuffled prices, a formula may be what predicts: a median price per
#: square foot has 0.26. A function that knows the prices has less.
_NO_FORMULA = 0.2


@dataclass(frozen=True)
class HousePricesReport(Report):
    """How well prices are predicted, and whether honestly.

    Attributes:
        rmse: root mean squared error of the logarithm of the price; `nan` without a score.
        ruler: the same of others, on the same houses, by name.
    """

    rmse: float
    ruler: Mapping[str, float]

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """With the score, which is what a solution is after."""
        score = (f for f in self.findings if f.kind == "right" and f.text.startswith(_ERROR))
        return (*(replace(f, kind="note") for f in score), *super().remarks)


def house_prices(predict: Predict | str | Path) -> HousePricesReport:
    """Check a model or a submission of exercise 5.

    A function `(train, houses) → prices` is called on the book's five folds; it sees no price of
    the rows that it predicts. Then on the first fold: once more as it was; with one validation
    house changed, which must not change the others' predictions; in reverse order; and with the
    training prices shuffled, after which little can be predicted. Nine calls in all.

    A path is a submission: a CSV file with the columns Id and SalePrice, scored on the test houses.

    Raises:
        TypeError: it is neither.
        OSError: the file cannot be read.
    """
    if isinstance(predict, str | Path):
        return _submission(Path(predict))
    if not callable(predict):
        raise TypeError(
            f"predict is a function (train, houses) → prices, or a path, got {predict!r}"
        )
    title = "house prices, the book's five folds"
    try:
        return _function(predict, title)
    except TheirError as failure:
        return HousePricesReport(title, (failure.finding,), float("nan"), {})


def _log_prices(predict: Predict, train: pd.DataFrame, houses: pd.DataFrame) -> np.ndarray:
    """What the reader's function makes of the frames, `(rows,)`, if it can be prices."""
    with their_code("Your function"), as_left():
        returned = predict(train, houses)
        answer = np.asarray(returned, dtype=float)
    if answer.ndim == 0:
        raise TheirError(f"One price a house: for {len(houses)} houses it returns {returned!r}.")
    if answer.squeeze().shape != (len(houses),):
        raise TheirError(
            f"One price a house: for {len(houses)} houses it returns the shape {answer.shape}."
        )
    answer = answer.reshape(len(houses))
    bad = answer[~np.isfinite(answer) | (answer <= 0)]
    if len(bad):
        raise TheirError(f"Prices are positive numbers; it returns {bad[0]:g} among others.")
    if answer.max() < 100:
        raise TheirError(
            f"Prices are in dollars; the largest it returns is {answer.max():.3g}, which looks "
            "like a logarithm: return its exponential."
        )
    return np.log(answer)


def _function(predict: Predict, title: str) -> HousePricesReport:
    from densenet_solutions.houses import contiguous_folds, load_houses

    changed = []

    def call(train: pd.DataFrame, valid: pd.DataFrame) -> np.ndarray:
        given = train.copy(), valid.copy()
        answer = _log_prices(predict, *given)
        if not (given[0].equals(train) and given[1].equals(valid)):
            changed.append(Finding("note", "Your function changes the frames that it is given."))
        return answer

    houses = load_houses().train
    folds = contiguous_folds(len(houses))
    target = np.log(houses["SalePrice"].to_numpy(dtype=float))
    predicted, mean = np.empty(len(houses)), np.empty(len(houses))
    parts = [(houses[folds != k], houses[folds == k].drop(columns="SalePrice")) for k in range(5)]
    for k, (train, valid) in enumerate(parts):
        predicted[folds == k] = call(train, valid)
        mean[folds == k] = target[folds != k].mean()
    rmse, first = _rmse(predicted - target), folds == 0
    ruler = {"the mean of log prices": _rmse(mean - target)} | _recorded("houses-judged", " book")
    findings = _leaks(
        call, *parts[0], predicted[first], target[first], _rmse((mean - target)[first])
    )
    findings += (
        _unit(predicted - target)
        + changed[:1]
        + _standing(rmse, ruler, "over the book's five folds")
    )
    return HousePricesReport(title, wrong_first(findings), rmse, ruler)


def _unit(error: np.ndarray) -> list[Finding]:
    """A finding, if log prices are off as if they were in another unit."""
    factor = float(np.exp(np.median(error)))
    if 0.1 < factor < 10:
        return []
    text = (
        f"Half of the prices are more than {max(factor, 1 / factor):,.0f} times too "
        f"{'high' if factor > 1 else 'low'}. They are in dollars, as SalePrice is."
    )
    return [Finding("wrong", text)]


def _leaks(
    call: Callable[[pd.DataFrame, pd.DataFrame], np.ndarray], train: pd.DataFrame,
    valid: pd.DataFrame, log_prices: np.ndarray, truth: np.ndarray, mean: float,
) -> list[Finding]:  # fmt: skip
    """What a prediction depends on besides its house and the training houses."""
    noise = float(np.abs(call(train, valid) - log_prices).max())
    allowed = max(3 * noise, 1e-6)
    found = []
    changed = valid.copy()
    numbers = [str(c) for c in changed.select_dtypes("number") if c != "Id"]
    changed.loc[changed.index[0], numbers] = train[numbers].max()
    others = np.abs(call(train, changed) - log_prices)[1:]
    if count := int(np.sum(others > allowed)):
        found.append(Finding(
            "wrong",
            f"Leak: when one house to be predicted changes, the predictions of {count} others "
            "change. Means, scales or categories are taken over the houses to be predicted.",
            "Fit the preprocessing on the training houses only. (The book standardises both "
            "together.)",
        ))  # fmt: skip
    backwards = call(train, valid.iloc[::-1])[::-1]
    if np.abs(backwards - log_prices).max() > allowed and not found:
        found.append(Finding(
            "wrong", "Predictions depend on the order of the houses: they belong to positions.",
            "Return prices in the order of the rows, and use no index that starts anew.",
        ))  # fmt: skip
    prices = np.random.default_rng(0).permutation(train["SalePrice"].to_numpy())
    without = _rmse(call(train.assign(SalePrice=prices), valid) - truth)
    said = (
        f"Trained on shuffled prices it still predicts with {without:.3f}, and the mean with "
        f"{mean:.3f}."
    )
    if without < _NO_FORMULA:
        found.append(Finding(
            "wrong",
            f"{said} So it knows of prices from elsewhere: a file or a global variable, which "
            "is a leak, or numbers written into it.",
            "Train on the frame that is given and on nothing else.",
        ))  # fmt: skip
    found = found or [Finding("right", "No leak was found.")]
    if _NO_FORMULA <= without < 0.9 * mean:
        found.append(Finding(
            "note",
            f"{said} A formula can do that, such as a price per square foot. Prices from elsewhere "
            "would be a leak.",
        ))  # fmt: skip
    if noise > 1e-6:
        text = f"Two runs on the same houses differ by up to {noise:.3f}: the seed is not fixed."
        found.append(Finding("note", text))
    return found


def _submission(path: Path) -> HousePricesReport:
    pd = checks.library("pandas", extra="houses")

    from densenet_solutions.houses import load_houses, score_submission
    from densenet_solutions.houses.ames import hidden_prices

    title = f"submission {path.name}"
    try:
        rmse = score_submission(path)
    except ValueError as cause:
        return HousePricesReport(title, (Finding("wrong", str(cause)),), float("nan"), {})
    truth = hidden_prices()
    sent = pd.read_csv(path, index_col=0, skipinitialspace=True).iloc[:, 0].reindex(truth.index)
    same = int(np.sum(np.abs(np.log(sent) - np.log(truth)) < 1e-4))
    logs = np.log(truth.to_numpy(dtype=float))
    train = np.log(load_houses().train["SalePrice"].to_numpy(dtype=float)).mean()
    ruler = {"the mean of log prices": _rmse(train - logs)} | _recorded("houses-final", "")
    findings = _standing(rmse, ruler, "on the 1459 test houses")
    if same > 0.05 * len(truth):
        text = f"{same} of {len(truth)} prices are the recorded ones: they were looked up."
        findings.insert(0, Finding("wrong", text))
    text = "What a file was trained on cannot be seen in it: check the function, too."
    findings.append(Finding("note", text))
    return HousePricesReport(title, tuple(findings), rmse, ruler)


def _recorded(record: str, suffix: str) -> dict[str, float]:
    """Scores of others from the records."""
    cases = {**load_record(record).cases, **load_record(f"{record}-rivals").cases}
    names = {name: key + suffix for key, name in RECORDED.items()}
    return {name: cases[key]["rmse"] for name, key in names.items() if key in cases}


def _standing(rmse: float, ruler: Mapping[str, float], where: str) -> list[Finding]:
    """Where a score stands between those of others."""
    better = {score: name for name, score in ruler.items() if score < rmse}
    text = f"{_ERROR} {where} is {rmse:.4f}."
    if better:
        text += (
            f" The next lower error of others is that of {better[max(better)]}, {max(better):.4f}."
        )
    others = "; ".join(f"{name}: {score:.4f}" for name, score in ruler.items())
    worse = rmse >= ruler["the mean of log prices"]
    text += (
        " Predicting the mean of the training houses' log prices does no worse." if worse else ""
    )
    return [
        Finding("wrong" if worse else "right", text),
        Finding("note", f"Errors of others there: {others}."),
    ]


def _rmse(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))
