"""The columns of a house, numbers, grades and kinds, and what a buyer would make of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

NUMBERS = (
    "MSSubClass", "LotFrontage", "LotArea", "OverallQual", "OverallCond", "YearBuilt",
    "YearRemodAdd", "MasVnrArea", "BsmtFinSF1", "BsmtFinSF2", "BsmtUnfSF", "TotalBsmtSF",
    "1stFlrSF", "2ndFlrSF", "LowQualFinSF", "GrLivArea", "BsmtFullBath", "BsmtHalfBath",
    "FullBath", "HalfBath", "BedroomAbvGr", "KitchenAbvGr", "TotRmsAbvGrd", "Fireplaces",
    "GarageYrBlt", "GarageCars", "GarageArea", "WoodDeckSF", "OpenPorchSF", "EnclosedPorch",
    "3SsnPorch", "ScreenPorch", "PoolArea", "MiscVal", "MoSold", "YrSold",
)  # fmt: skip

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
ALWAYS_THERE = ("ExterQual", "ExterCond", "HeatingQC", "KitchenQual", "Functional", "LotShape",
                "LandSlope", "PavedDrive", "CentralAir", "Street")  # fmt: skip

KINDS = (
    "MSZoning", "Alley", "LandContour", "Utilities", "LotConfig", "Neighborhood", "Condition1",
    "Condition2", "BldgType", "HouseStyle", "RoofStyle", "RoofMatl", "Exterior1st",
    "Exterior2nd", "MasVnrType", "Foundation", "Heating", "Electrical", "GarageType", "Fence",
    "MiscFeature", "SaleType", "SaleCondition",
)  # fmt: skip

#: Numbers that name a class.
_CODES = ("MSSubClass", "MoSold")
#: Areas and sums whose logarithm is closer to the logarithm of a price.
_LOGARITHMS = ("LotArea", "LotFrontage", "GrLivArea", "1stFlrSF", "TotalSF", "GarageArea",
               "TotalBsmtSF", "FinishedSF")  # fmt: skip

FEATURES = frozenset((*NUMBERS, *GRADES, *KINDS))


def features(houses: pd.DataFrame, order: Sequence[str] | None = None) -> pd.DataFrame:
    """The 79 features of each house, `(rows, 79)`: as they come, or in a given order.

    Other columns, prices among them, are left out.

    Raises:
        TypeError: `houses` is not a frame.
        ValueError: it has no rows, a feature is not there once, or a number is text or infinite.
    """
    if not isinstance(houses, pd.DataFrame):
        raise TypeError(f"houses are a pandas.DataFrame, got {type(houses).__name__}")
    if houses.empty:
        raise ValueError(f"houses have at least one row, got {houses.shape}")
    names = [c for c in houses if c in FEATURES]
    if sorted(names) != sorted(FEATURES):
        missing = sorted(FEATURES - set(names))
        raise ValueError(
            f"houses have each of the competition's {len(FEATURES)} features once, "
            + (f"and {missing} are missing" if missing else f"got {len(names)} columns")
        )
    table = houses[names if order is None else list(order)]
    for column in NUMBERS:
        if not pd.api.types.is_numeric_dtype(table[column]):
            if table[column].notna().any():
                raise ValueError(f"{column} is a number, got the type {table[column].dtype}")
            table = table.assign(**{column: np.nan})  # nothing but None
    if np.isinf(table[list(NUMBERS)].to_numpy(dtype=float, na_value=np.nan)).any():
        raise ValueError("numbers of a house are finite or missing, got infinity")
    return table


def house_numbers(houses: pd.DataFrame) -> pd.DataFrame:
    """What is more or less about each house, as floats, missing where unknown."""
    n = {c: houses[c].astype(float) for c in houses if c in NUMBERS and c != "MSSubClass"}
    for column, levels in GRADES.items():
        grade = (
            houses[column].map({level: i for i, level in enumerate(levels, start=1)}).astype(float)
        )
        absent = houses[column].isna() & (column not in ALWAYS_THERE)
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
    n["QualitySF"] = n["OverallQual"] * np.log1p(n["TotalSF"].clip(lower=0))
    n["SFPerRoom"] = n["GrLivArea"] / n["TotRmsAbvGrd"].where(n["TotRmsAbvGrd"] > 0)
    n["GradesInside"] = n["KitchenQual"] + n["HeatingQC"] + n["FireplaceQu"]
    n["GradesOutside"] = n["ExterQual"] + n["ExterCond"] + n["GarageQual"]
    for column in _LOGARITHMS:
        n[f"log {column}"] = n[column].clip(lower=0).transform(np.log1p)
    return pd.DataFrame(n, index=houses.index)


def house_levels(houses: pd.DataFrame) -> pd.DataFrame:
    """What kind each house is, as text; missing is a level of its own."""
    levels = houses[[c for c in houses if c in KINDS or c in _CODES]].astype(object)
    for code in _CODES:  # 20 and 20.0 are one class
        levels[code] = levels[code].map("{:g}".format, na_action="ignore")
    return levels.where(levels.notna(), "missing").astype(str)
