"""Trainings compared seed by seed: paired differences, their intervals, and Holm's correction.

Two trainings of one seed see the images in one order, and what their networks share starts from the
same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy import stats

from densenet_solutions.training import EpochMetrics, TrainingResult

Key = TypeVar("Key", bound=Hashable)

#: What is compared after the last epoch. The training loss is the mean over that epoch's steps.
MEASURES: Mapping[str, Callable[[EpochMetrics], float | None]] = {
    "test accuracy": lambda epoch: epoch.test_accuracy,
    "test loss": lambda epoch: epoch.test_loss,
    "training loss": lambda epoch: epoch.train_loss,
}
#: Those of them that are measured on the test images.
ON_TEST_IMAGES = ("test accuracy", "test loss")


@dataclass(frozen=True)
class Difference:
    """`values` of some trainings minus those of others, one a seed: mean ± half of its interval.

    The interval is Student's, 95%, of this difference alone. `p` is the chance of a mean at least
    as far from 0 if seeds were all that made a difference; `adjusted` is Holm's, for all
    differences that were compared together.
    """

    values: tuple[float, ...]
    mean: float
    half_width: float
    p: float
    adjusted: float

    @property
    def interval(self) -> tuple[float, float]:
        """The two ends of the interval."""
        return self.mean - self.half_width, self.mean + self.half_width

    @property
    def told_apart(self) -> bool:
        """Whether 0 is ruled out at 5% for all comparisons together."""
        return self.adjusted < 0.05


def final(runs: Sequence[TrainingResult], measure: str) -> list[float]:
    """One of `MEASURES` after the last epoch of each run."""
    found = [MEASURES[measure](run.epochs[-1]) for run in runs]
    return [value for value in found if value is not None]


def differences(
    pairs: Mapping[Key, tuple[Sequence[float], Sequence[float]]],
) -> dict[Key, Difference]:
    """Compare pairs of results, ours and theirs seed by seed, as one family.

    Raises:
        ValueError: a pair has different lengths or fewer than two values.
    """
    found = {}
    for key, (ours, theirs) in pairs.items():
        if len(ours) != len(theirs) or len(ours) < 2:
            raise ValueError(
                "a pair has one value a seed on both sides, of two seeds or more, "
                f"got {len(ours)} and {len(theirs)} for {key!r}"
            )
        test = stats.ttest_rel(ours, theirs)
        low, high = test.confidence_interval(0.95)
        values = tuple(a - b for a, b in zip(ours, theirs, strict=True))
        found[key] = values, float(low), float(high), float(test.pvalue)
    corrected = holm({key: p for key, (*_, p) in found.items()})
    return {
        key: Difference(values, (low + high) / 2, (high - low) / 2, p, corrected[key])
        for key, (values, low, high, p) in found.items()
    }


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's p-values: the smallest times n, the next times n − 1, …, and never falling.

    S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of
    Statistics 6, 1979.

    Examples:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    found: dict[Key, float] = {}
    largest = 0.0
    for place, key in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[key]))
        found[key] = largest
    return {key: found[key] for key in p_values}


def against_average(
    runs: Mapping[str, Sequence[TrainingResult]],
) -> dict[str, dict[str, Difference]]:
    """Measure → every other variant minus the average; all of them are one family."""
    others = [variant for variant in runs if variant != "average"]
    found = differences(
        {
            (measure, variant): (final(runs[variant], measure), final(runs["average"], measure))
            for measure in MEASURES
            for variant in others
        }
    )
    return {
        measure: {variant: found[measure, variant] for variant in others} for measure in MEASURES
    }
