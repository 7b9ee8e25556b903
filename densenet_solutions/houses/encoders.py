"""Turn houses into numbers: the book's encoding, and ours. Both are fitted, then applied.

They follow scikit-learn's conventions. What is fitted on training rows never sees other rows.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

#: Columns that are no property of the house.
NOT_FEATURES = ("Id", "SalePrice")

_QUALITY = ("Po", "Fa", "TA", "Gd", "Ex")
_FINISH = ("Unf", "LwQ", "Rec", "BLQ", "ALQ", "GLQ")
#: Graded columns → their levels from worst to best. Grades count from 1; missing means "there is
#: none" (no basement, no pool), which is 0.
GRADES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("ExterQual", "ExterCond", "BsmtQual", "BsmtCond", "HeatingQC", "KitchenQual",
         "FireplaceQu", "GarageQual", "GarageCond", "PoolQC"), _QUALITY),
    "BsmtExposure": ("No", "Mn", "Av", "Gd"),
    "BsmtFinType1": _FINISH,
    "BsmtFinType2": _FINISH,
    "GarageFinish": ("Unf", "RFn", "Fin"),
    "Functional": ("Sal", "Sev", "Maj2", "Maj1", "Mod", "Min2", "Min1", "Typ"),
    "LotShape": ("IR3", "IR2", "IR1", "Reg"),
    "LandSlope": ("Sev", "Mod", "Gtl"),
    "PavedDrive": ("N", "P", "Y"),
    "CentralAir": ("N", "Y"),
    "Street": ("Grvl", "Pave"),
}  # fmt: skip
#: Graded columns that every house has: missing means unknown, and the median stands in.
_ALWAYS_THERE = ("ExterQual", "ExterCond", "HeatingQC", "KitchenQual", "Functional", "LotShape",
                 "LandSlope", "PavedDrive", "CentralAir", "Street")  # fmt: skip
#: Numbers that name a class.
_CODES = ("MSSubClass", "MoSold")
#: Areas and sums whose logarithm is closer to the logarithm of a price.
_LOGARITHMS = ("LotArea", "LotFrontage", "GrLivArea", "1stFlrSF", "TotalSF", "GarageArea",
               "TotalBsmtSF", "FinishedSF")  # fmt: skip
#: What is also compared with the mean of the neighbourhood.
_RELATIVE = ("log GrLivArea", "log TotalSF", "OverallQual", "YearBuilt", "log LotArea")


class BookEncoder(TransformerMixin, BaseEstimator):
    """The book's features: standardised numbers, missing ones 0, and one column a level.

    The book fits on train and test rows together, which gives 331 columns, and lets the test rows'
    means and deviations into training; `fit` here takes whatever rows you give it.

    Attributes:
        columns_: names of the features, in order.
    """

    def fit(self, houses: pd.DataFrame, y: Any = None) -> BookEncoder:
        features = _features(houses)
        numeric = [c for c in features if pd.api.types.is_numeric_dtype(features[c])]
        self.mean_ = features[numeric].mean()
        self.std_ = features[numeric].std().replace(0, 1)
        dummies = _dummies(features.drop(columns=numeric))
        self.columns_ = [*numeric, *dummies.columns]
        return self

    def transform(self, houses: pd.DataFrame) -> np.ndarray:
        """`(rows, features)` in float32; levels unknown to `fit` are all zero."""
        check_is_fitted(self)
        features = _features(houses)
        numeric = list(self.mean_.index)
        numbers = ((features[numeric] - self.mean_) / self.std_).fillna(0)
        dummies = _dummies(features.drop(columns=numeric))
        table = pd.concat([numbers, dummies], axis=1).reindex(columns=self.columns_, fill_value=0)
        return table.to_numpy(dtype=np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.columns_, dtype=object)


class HouseEncoder(TransformerMixin, BaseEstimator):
    """Our features: grades as numbers, sums a buyer would make, logarithms, neighbours, levels.

    Args:
        num_bins: piecewise-linear bins per number beside the number itself (equation 1 of
            Gorishniy et al., arXiv:2203.05556); 0, the default, for none. Edges are quantiles
            of the training rows.
        min_rows: a level seen in fewer training rows gets no column.
        clip: share of the training rows at either end beyond which numbers are cut off.
        limit: standardised numbers are squeezed smoothly into ±`limit` (the smooth clipping of
            RealMLP, Holzmüller et al., arXiv:2407.04491).
        bin_scale: span of each bin's column; a number has standard deviation 1.
        level_scale: value of a level's column where the house has it (before centring).
        shrinkage: average houses added to every neighbourhood before its means are taken.

    Attributes:
        columns_: names of the features, in order.
    """

    def __init__(
        self,
        num_bins: int = 0,
        min_rows: int = 8,
        clip: float = 0.005,
        limit: float = 3.0,
        bin_scale: float = 1.0,
        level_scale: float = 1.0,
        shrinkage: float = 5.0,
    ) -> None:
        self.num_bins = num_bins
        self.min_rows = min_rows
        self.clip = clip
        self.limit = limit
        self.bin_scale = bin_scale
        self.level_scale = level_scale
        self.shrinkage = shrinkage

    def fit(self, houses: pd.DataFrame, y: Any = None) -> HouseEncoder:
        own = house_numbers(houses)
        around = own[list(_RELATIVE)].groupby(houses["Neighborhood"])
        self.town_ = own[list(_RELATIVE)].mean()
        # A neighbourhood with few sales is drawn towards the town.
        self.neighbourhoods_ = (
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

        shares = np.linspace(0, 1, self.num_bins + 1) if self.num_bins else np.zeros(0)
        self.edges_ = (
            {c: np.unique(np.quantile(numbers[c], shares)) for c in kept} if len(shares) else {}
        )
        bins = self._bins(numbers)
        self.bin_mean_ = bins.mean(axis=0)

        counts = {c: values.value_counts() for c, values in house_levels(houses).items()}
        self.levels_ = {c: sorted(n.index[n >= self.min_rows]) for c, n in counts.items()}
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

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.columns_, dtype=object)

    def _numbers(self, houses: pd.DataFrame) -> pd.DataFrame:
        """The house's own numbers, its neighbourhood's means, and how far it stands out there."""
        own = house_numbers(houses)
        means = self.neighbourhoods_.reindex(houses["Neighborhood"]).fillna(self.town_)
        means = means.set_index(houses.index)
        relative = (own[list(_RELATIVE)] - means).add_suffix(" against neighbours")
        # A house sold before it is finished costs less for its size.
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


def house_numbers(houses: pd.DataFrame) -> pd.DataFrame:
    """What is more or less about each house, as floats, missing where unknown."""
    numeric = [c for c in houses if pd.api.types.is_numeric_dtype(houses[c])]
    n = {c: houses[c].astype(float) for c in numeric if c not in (*NOT_FEATURES, "MSSubClass")}
    for column, levels in GRADES.items():
        grade = (
            houses[column].map({level: i for i, level in enumerate(levels, start=1)}).astype(float)
        )
        absent = houses[column].isna() & (column not in _ALWAYS_THERE)
        n[column] = grade.mask(absent, 0.0)
    for column in ("MasVnrArea", "TotalBsmtSF", "BsmtFinSF1", "BsmtFinSF2", "BsmtFullBath",
                   "BsmtHalfBath", "GarageArea", "GarageCars"):  # fmt: skip
        n[column] = n[column].fillna(0.0)
    n["GarageYrBlt"] = n["GarageYrBlt"].fillna(n["YearBuilt"])

    n["TotalSF"] = n["TotalBsmtSF"] + n["GrLivArea"]
    n["FinishedSF"] = n["GrLivArea"] + n["BsmtFinSF1"] + n["BsmtFinSF2"]
    n["PorchSF"] = (n["WoodDeckSF"] + n["OpenPorchSF"] + n["EnclosedPorch"] + n["3SsnPorch"]
                    + n["ScreenPorch"])  # fmt: skip
    n["Baths"] = n["FullBath"] + n["BsmtFullBath"] + 0.5 * (n["HalfBath"] + n["BsmtHalfBath"])
    n["Age"] = n["YrSold"] - n["YearBuilt"]
    n["YearsSinceRemodel"] = n["YrSold"] - n["YearRemodAdd"]
    n["SaleTime"] = n["YrSold"] + n["MoSold"] / 12
    n["Grade"] = n["OverallQual"] * n["OverallCond"]
    n["QualitySF"] = n["OverallQual"] * np.log1p(n["TotalSF"])
    n["SFPerRoom"] = n["GrLivArea"] / n["TotRmsAbvGrd"]
    n["GradesInside"] = n["KitchenQual"] + n["HeatingQC"] + n["FireplaceQu"]
    n["GradesOutside"] = n["ExterQual"] + n["ExterCond"] + n["GarageQual"]
    for column in _LOGARITHMS:
        n[f"log {column}"] = n[column].transform(np.log1p)
    return pd.DataFrame(n, index=houses.index)


def house_levels(houses: pd.DataFrame) -> pd.DataFrame:
    """What kind each house is, as text; missing is a level of its own."""
    columns = [c for c in houses if c not in NOT_FEATURES and c not in GRADES
               and (c in _CODES or not pd.api.types.is_numeric_dtype(houses[c]))]  # fmt: skip
    levels = houses[columns].astype(object)
    return levels.where(levels.notna(), "missing").astype(str)


def _features(houses: pd.DataFrame) -> pd.DataFrame:
    return houses.drop(columns=[c for c in NOT_FEATURES if c in houses])


def _dummies(levels: pd.DataFrame) -> pd.DataFrame:
    with warnings.catch_warnings():  # of pandas 2's own, where a column has no values
        warnings.filterwarnings(
            "ignore", "The behavior of Index.insert with object-dtype", FutureWarning
        )
        return pd.get_dummies(levels, dummy_na=True)


# pandas fills and clips column by column, a hundred times slower than these two.


def _filled(numbers: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    known = numbers.to_numpy()
    filled = np.where(np.isnan(known), value.to_numpy(), known)
    return pd.DataFrame(filled, index=numbers.index, columns=numbers.columns)


def _clipped(numbers: pd.DataFrame, low: pd.Series, high: pd.Series) -> pd.DataFrame:
    clipped = np.clip(numbers.to_numpy(), low.to_numpy(), high.to_numpy())
    return pd.DataFrame(clipped, index=numbers.index, columns=numbers.columns)
