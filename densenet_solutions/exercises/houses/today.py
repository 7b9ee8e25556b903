"""RealMLP and TabM as their authors set them, added to exercise 5 when other results were known.

**Nothing is chosen.** RealMLP (Holzmüller et al., arXiv:2407.04491) and TabM (Gorishniy et al.,
arXiv:2410.24210) run with the tuned defaults of pytabkit, `RealMLP_TD_Regressor` and
`TabM_D_Regressor`, which were tuned on other tables: no search, one seed, one thread. As pytabkit
does by default, each holds out a fifth of its training rows, chooses its epoch by them and never
learns from them. One option is changed, to save time: TabM has 8 members (`tabm_k`) instead of 32.

**Features.** Both take numbers and categories apart, as their authors recommend: the numbers are
those of `HouseEncoder` (our sums and neighbourhood means, filled where missing, without bins), the
categories are the levels themselves, which each library encodes in its own way.

**Judging**, as `search.py` says: on `FRESH` and on the book's folds. The test rows are not
scored. How many comparisons the intervals allow for stands in `walk.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from densenet_solutions import checks
from densenet_solutions.exercises.houses.recordings import errors_of, evaluate
from densenet_solutions.exercises.houses.search import FRESH
from densenet_solutions.houses.columns import house_levels
from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.models import Split, log_price
from densenet_solutions.records.recorder import Recipe

FAMILIES = ("realmlp", "tabm")
#: Members of TabM; its authors' default is 32.
TABM_MEMBERS = 8


def table(encoder: HouseEncoder, houses: pd.DataFrame) -> pd.DataFrame:
    """Numbers of a fitted encoder without bins, and levels as categories."""
    names = list(encoder.mean_.index)
    numbers = encoder.transform(houses)[:, : len(names)]
    return pd.concat(
        [
            pd.DataFrame(numbers, index=houses.index, columns=names),
            house_levels(houses).add_suffix(" kind").astype("category"),
        ],
        axis=1,
    )


@dataclass(frozen=True)
class TableEstimator:
    """A regressor with scikit-learn's `fit` and `predict` that takes categories as they are.

    Args:
        make: `seed` → unfitted regressor.
    """

    make: Callable[[int], Any]

    def predict(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[np.ndarray]:
        return [np.stack([self._fit_predict(split, seed) for seed in seeds]) for split in splits]

    def _fit_predict(self, split: Split, seed: int) -> np.ndarray:
        prices = log_price(split.train)
        encoder = HouseEncoder().fit(split.train)
        center = prices.mean()
        model = self.make(seed).fit(table(encoder, split.train), prices - center)
        return np.asarray(model.predict(table(encoder, split.new)) + center)


def _regressor(family: str, seed: int) -> Any:
    checks.library("pytabkit", extra="rivals")
    from pytabkit import RealMLP_TD_Regressor, TabM_D_Regressor

    common = {"device": "cpu", "random_state": seed, "n_threads": 1}
    if family == "realmlp":
        return RealMLP_TD_Regressor(**common)
    return TabM_D_Regressor(**common, tabm_k=TABM_MEMBERS)


def build(family: str) -> TableEstimator:
    """RealMLP or TabM; both come with the extra `rivals`."""
    return TableEstimator(partial(_regressor, checks.choice("family", family, FAMILIES)))


def _judge(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    result = evaluate(build(case["family"]), case["partition"])
    return {**case, **errors_of(result)}


def judged_recipe(family: str) -> Recipe:
    """RealMLP or TabM on the fresh partitions and on the book's folds."""
    cases = {
        f"{family} {where}": {"family": family, "partition": where} for where in (*FRESH, "book")
    }
    return Recipe(f"houses-judged-{family}", cases, _judge, seed=0, needs=lambda _: ("pytabkit",))


realmlp_recipe = partial(judged_recipe, "realmlp")
tabm_recipe = partial(judged_recipe, "tabm")
