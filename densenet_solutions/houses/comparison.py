"""Comparisons of paired errors: over houses, and over folds of repeated cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.stats

from densenet_solutions import checks


@dataclass(frozen=True)
class HouseDifference:
    """Error of one model minus the error of another, with an interval."""

    difference: float
    low: float
    high: float


def paired_difference(
    errors: np.ndarray, rival: np.ndarray, *, confidence: float = 0.95
) -> HouseDifference:
    """RMSE of one model minus that of another on the same rows, with a bootstrap interval.

    Houses are drawn with replacement, and a drawn house brings the errors of both models on every
    partition, so the interval holds for new houses and is not narrowed by repeating partitions.

    Args:
        errors, rival: errors of log price, `(rows,)` or `(partitions, rows)`.
        confidence: coverage of the interval, in (0, 1).

    Raises:
        TypeError, ValueError: the errors are not two equal shapes of finite numbers, or there are
            none.
    """
    checks.share("confidence", confidence, zero=False, one=False)
    ours, theirs = _squares("errors", errors), _squares("rival", rival)  # (partitions, rows)
    if ours.shape != theirs.shape:
        raise ValueError(f"paired errors have one shape, got {ours.shape} and {theirs.shape}")
    weights = _bootstrap_weights(ours.shape[1])
    draws = np.sqrt(weights @ ours.T).mean(1) - np.sqrt(weights @ theirs.T).mean(1)
    low, high = np.quantile(draws, ((1 - confidence) / 2, (1 + confidence) / 2))
    difference = np.sqrt(ours.mean(1)).mean() - np.sqrt(theirs.mean(1)).mean()
    return HouseDifference(float(difference), float(low), float(high))


def corrected_difference(
    ours: np.ndarray, theirs: np.ndarray, *, confidence: float, folds: int = 5
) -> HouseDifference:
    """Mean of paired differences between folds, with an interval that respects retraining.

    Training sets of cross-validation overlap, so folds are not independent. Nadeau and Bengio
    (Machine Learning 52, 2003, equation 9) replace the 1/n before the variance by 1/n plus test
    rows over training rows, here 1/(folds - 1). Their formula is derived for random splits; for
    repeated cross-validation it is a heuristic.

    Args:
        ours, theirs: error in each fold, of any number of partitions, in one shape.
        confidence: coverage of the interval, in (0, 1).
        folds: folds of one partition.

    Raises:
        TypeError, ValueError: not two equal shapes of finite numbers, or fewer than two.
    """
    checks.integer("folds", folds, at_least=2)
    checks.share("confidence", confidence, zero=False, one=False)
    a, b = _finite("ours", ours), _finite("theirs", theirs)
    if a.shape != b.shape or a.size < 2:
        raise ValueError(
            f"paired errors have one shape with two values or more, got {a.shape} and {b.shape}"
        )
    difference = np.ravel(a - b)
    n = len(difference)
    mean = float(difference.mean())
    error = float(difference.std(ddof=1)) * np.sqrt(1 / n + 1 / (folds - 1))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1) * error)
    return HouseDifference(mean, mean - half, mean + half)


def _finite(name: str, errors: np.ndarray) -> np.ndarray:
    try:
        array = np.asarray(errors, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{name} are an array of numbers, got {errors!r}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} are finite, got NaN or infinity")
    return array


def _squares(name: str, errors: np.ndarray) -> np.ndarray:
    array = np.atleast_2d(_finite(name, errors))
    if array.ndim > 2 or not array.size:
        raise ValueError(f"{name} have shape (rows,) or (partitions, rows), got {array.shape}")
    return array**2


@cache
def _bootstrap_weights(rows: int, resamples: int = 4000) -> np.ndarray:
    """How often each row is drawn, as a share: `(resamples, rows)`."""
    drawn = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    return drawn / rows
