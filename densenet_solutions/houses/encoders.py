"""Turn houses into numbers: the book's encoding, and ours. Both are fitted, then applied.

They follow scikit-learn's conventions. What is fitted on training rows never sees other rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.validation import check_is_fitted

from densenet_solutions import checks
from densenet_solutions.houses.columns import NUMBERS, features, house_levels, house_numbers

#: What is also compared with the mean of the neighbourhood.
_RELATIVE = ("log GrLivArea", "log TotalSF", "OverallQual", "YearBuilt", "log LotArea")


class _Encoder(TransformerMixin, BaseEstimator):
    """What both encoders share: names of what they read, and of what they make."""

    columns_: list[str]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.columns_, dtype=object)


class BookEncoder(_Encoder):
    """The book's features: standardised numbers, missing ones 0, and one column a level.

    The book fits on train and test rows together, which gives 331 columns, and lets the test rows'
    means and deviations into training; `fit` here takes whatever rows you give it.

    Attributes:
        columns_: names of the features, in order.

    Raises:
        TypeError, ValueError: the houses are not a frame with the competition's features.
    """

    def fit(self, houses: pd.DataFrame, y: Any = None) -> BookEncoder:
        table = features(houses)
        self.feature_names_in_ = np.asarray(table.columns, dtype=object)
        numeric = [c for c in table if c in NUMBERS]
        self.mean_ = table[numeric].mean()
        self.std_ = table[numeric].std().replace(0, 1)
        kinds = _kinds(table)
        self.one_hot_ = OneHotEncoder(
            categories=[[*sorted(kinds[c].dropna().unique()), np.nan] for c in kinds],
            handle_unknown="ignore",
            sparse_output=False,
            dtype=np.float32,
        ).fit(kinds)
        self.columns_ = [*numeric, *self.one_hot_.get_feature_names_out()]
        return self

    def transform(self, houses: pd.DataFrame) -> np.ndarray:
        """`(rows, features)` in float32; levels unknown to `fit` are all zero."""
        check_is_fitted(self)
        table = features(houses, self.feature_names_in_.tolist())
        numeric = list(self.mean_.index)
        numbers = ((table[numeric] - self.mean_) / self.std_).fillna(0)
        return np.concatenate(
            [numbers.to_numpy(dtype=np.float32), self.one_hot_.transform(_kinds(table))], axis=1
        )


class HouseEncoder(_Encoder):
    """Our features: grades as numbers, sums a buyer would make, logarithms, neighbours, levels.

    Args:
        n_bins: piecewise-linear bins per number beside the number itself (equation 1 of
            Gorishniy et al., arXiv:2203.05556); 0, the default, for none. Edges are quantiles
            of the training rows.
        min_frequency: a level seen in fewer training rows gets no column.
        clip: share of the training rows at either end beyond which numbers are cut off.
        limit: standardised numbers are squeezed smoothly into ±`limit` (the smooth clipping of
            RealMLP, Holzmüller et al., arXiv:2407.04491).
        bin_scale: span of each bin's column; a number has standard deviation 1.
        level_scale: value of a level's column where the house has it (before centring).
        shrinkage: average houses added to every neighbourhood before its means are taken.

    Attributes:
        columns_: names of the features, in order.

    Raises:
        TypeError, ValueError: an option is impossible (`fit` looks), or the houses are not a frame
            with the competition's features.
    """

    def __init__(
        self,
        n_bins: int = 0,
        min_frequency: int = 8,
        clip: float = 0.005,
        limit: float = 3.0,
        bin_scale: float = 1.0,
        level_scale: float = 1.0,
        shrinkage: float = 5.0,
    ) -> None:
        self.n_bins = n_bins
        self.min_frequency = min_frequency
        self.clip = clip
        self.limit = limit
        self.bin_scale = bin_scale
        self.level_scale = level_scale
        self.shrinkage = shrinkage

    def fit(self, houses: pd.DataFrame, y: Any = None) -> HouseEncoder:
        self._check_options()
        houses = features(houses)
        self.feature_names_in_ = np.asarray(houses.columns, dtype=object)
        own = house_numbers(houses)
        around = own[list(_RELATIVE)].groupby(houses["Neighborhood"])
        self.town_ = own[list(_RELATIVE)].mean()
        # A neighbourhood with few sales is drawn towards the town.
        self.neighborhoods_ = (
            around.sum().add(self.shrinkage * self.town_).div(around.count() + self.shrinkage)
        )
        numbers = self._numbers(houses)
        self.median_ = numbers.median().fillna(0)
        numbers = _filled(numbers, self.median_)
        self.low_, self.high_ = numbers.quantile(self.clip), numbers.quantile(1 - self.clip)
        numbers = _clipped(numbers, self.low_, self.high_)
        self.mean_, self.std_ = numbers.mean(), numbers.std(ddof=0)
        kept = list(self.std_.index[self.std_ > 0])
        self.mean_, self.std_ = self.mean_[kept], self.std_[kept]

        shares = np.linspace(0, 1, self.n_bins + 1) if self.n_bins else np.zeros(0)
        self.edges_ = (
            {c: np.unique(np.quantile(numbers[c], shares)) for c in kept} if len(shares) else {}
        )
        bins = self._bins(numbers)
        self.bin_mean_ = bins.mean(axis=0)

        counts = {c: values.value_counts() for c, values in house_levels(houses).items()}
        self.levels_ = {c: sorted(n.index[n >= self.min_frequency]) for c, n in counts.items()}
        self.level_mean_ = self._one_hot(house_levels(houses)).mean(axis=0)
        self.columns_ = [
            *kept,
            *(
                f"{c} bin {i}"
                for c, e in self.edges_.items()
                if len(e) > 2
                for i in range(len(e) - 1)
            ),
            *(f"{c} = {level}" for c, levels in self.levels_.items() for level in levels),
        ]
        return self

    def transform(self, houses: pd.DataFrame) -> np.ndarray:
        """`(rows, features)` in float32; levels unknown to `fit` are all zero before centring."""
        check_is_fitted(self)
        houses = features(houses, self.feature_names_in_.tolist())
        numbers = _filled(self._numbers(houses), self.median_)
        numbers = _clipped(numbers, self.low_, self.high_)
        standard = ((numbers[self.mean_.index] - self.mean_) / self.std_).to_numpy()
        bins = self._bins(numbers)
        table = np.concatenate(
            [
                standard / np.sqrt(1 + (standard / self.limit) ** 2),  # stays within ±limit
                (bins - self.bin_mean_) * self.bin_scale,
                (self._one_hot(house_levels(houses)) - self.level_mean_) * self.level_scale,
            ],
            axis=1,
        )
        return table.astype(np.float32)

    def _check_options(self) -> None:
        checks.integer("n_bins", self.n_bins, at_least=0)
        checks.integer("min_frequency", self.min_frequency)
        if checks.share("clip", self.clip) >= 0.5:
            raise ValueError(f"clip is less than one half, got {self.clip!r}")
        checks.number("limit", self.limit, above=0)
        checks.number("bin_scale", self.bin_scale, above=0)
        checks.number("level_scale", self.level_scale, above=0)
        checks.number("shrinkage", self.shrinkage, at_least=0)

    def _numbers(self, houses: pd.DataFrame) -> pd.DataFrame:
        """The house's own numbers, its neighbourhood's means, and how far it stands out there."""
        own = house_numbers(houses)
        means = self.neighborhoods_.reindex(houses["Neighborhood"]).fillna(self.town_)
        means = means.set_index(houses.index)
        relative = (own[list(_RELATIVE)] - means).add_suffix(" against neighbours")
        # Two columns of their own for houses that were not complete when last assessed.
        unfinished = relative[[f"{c} against neighbours" for c in ("log TotalSF", "log GrLivArea")]]
        unfinished = unfinished.mul(houses["SaleCondition"] == "Partial", axis=0)
        return pd.concat(
            [own, means.add_suffix(" around"), relative, unfinished.add_suffix(", unfinished")],
            axis=1,
        )

    def _bins(self, numbers: pd.DataFrame) -> np.ndarray:
        """Piecewise-linear encoding: how far a number has come through each bin, from 0 to 1."""
        columns = [
            np.clip((numbers[[c]].to_numpy() - edges[:-1]) / np.diff(edges), 0, 1)
            for c, edges in self.edges_.items()
            if len(edges) > 2  # one bin would repeat the number
        ]
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(numbers), 0))

    def _one_hot(self, levels: pd.DataFrame) -> np.ndarray:
        columns = [
            levels[c].to_numpy()[:, None] == np.asarray(known, dtype=object)[None]
            for c, known in self.levels_.items()
        ]
        return np.concatenate(columns, axis=1).astype(float)


def _kinds(table: pd.DataFrame) -> pd.DataFrame:
    kinds = table[[c for c in table if c not in NUMBERS]].astype(object)
    return kinds.where(kinds.notna(), np.nan)


# pandas fills and clips column by column, a hundred times slower than these two.


def _filled(numbers: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    known = numbers.to_numpy()
    filled = np.where(np.isnan(known), value.to_numpy(), known)
    return pd.DataFrame(filled, index=numbers.index, columns=numbers.columns)


def _clipped(numbers: pd.DataFrame, low: pd.Series, high: pd.Series) -> pd.DataFrame:
    clipped = np.clip(numbers.to_numpy(), low.to_numpy(), high.to_numpy())
    return pd.DataFrame(clipped, index=numbers.index, columns=numbers.columns)
