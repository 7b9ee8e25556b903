"""The columns of a house: which are numbers, which are graded, and which name a kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

#: Columns that are no property of the house.
NOT_FEATURES = ("Id", "SalePrice")

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
