"""Write a submission in the competition's format, and score one offline."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densenet_solutions.files import write_text_atomically
from densenet_solutions.houses.ames import hidden_prices

COLUMNS = ("Id", "SalePrice")


def write_submission(path: str | Path, ids: Sequence[int], prices: Sequence[float]) -> Path:
    """Write predicted prices in dollars, one row an Id, and return the path.

    Raises:
        ValueError: lengths differ, an Id comes twice, or a price is not a positive number.
    """
    if len(ids) != len(prices):
        raise ValueError(f"every Id has one price, got {len(ids)} Ids and {len(prices)} prices")
    rows = [(str(int(i)), repr(float(p))) for i, p in zip(ids, prices, strict=True)]
    _parse([COLUMNS, *rows], "submission")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return write_text_atomically(path, text.getvalue())


def score_submission(path: str | Path) -> float:
    """The competition's score: root mean squared error of the logarithm of the price.

    All 1459 test rows count. (The competition's site shows the score on half of them first.)

    Raises:
        ValueError: the file is not a valid submission; the message says why and in which row.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    predicted = _parse(list(csv.reader(io.StringIO(text))), str(Path(path).name))
    truth = hidden_prices()
    missing = sorted(set(truth.index) - set(predicted))
    if missing:
        raise ValueError(
            f"{Path(path).name} needs all {len(truth)} test Ids, "
            f"got {len(predicted)}; the first missing one is {missing[0]}"
        )
    unknown = sorted(set(predicted) - set(truth.index))
    if unknown:
        raise ValueError(
            f"test Ids run from {truth.index.min()} to {truth.index.max()}, got Id {unknown[0]}"
        )
    error = np.log([predicted[i] for i in truth.index]) - np.log(truth.to_numpy(dtype=float))
    return float(np.sqrt(np.mean(error**2)))


def _parse(lines: Sequence[Sequence[str]], name: str) -> dict[int, float]:
    """Prices by Id; line numbers in messages count from 1 and include the header."""
    if not lines or tuple(cell.strip() for cell in lines[0]) != COLUMNS:
        raise ValueError(
            f"{name} has the columns {list(COLUMNS)}, got {list(lines[0]) if lines else []}"
        )
    prices: dict[int, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{name}, line {number}"
        if not line:
            continue
        if len(line) != 2:
            raise ValueError(f"{where}: a row has two cells, Id and SalePrice, got {list(line)}")
        try:
            house = int(line[0])
        except ValueError:
            raise ValueError(f"{where}: an Id is an integer, got {line[0]!r}") from None
        if house in prices:
            raise ValueError(f"{where}: every Id comes once, got {house} again")
        try:
            price = float(line[1])
        except ValueError:
            raise ValueError(f"{where}: Id {house} needs a price, got {line[1]!r}") from None
        if not (math.isfinite(price) and price > 0):
            raise ValueError(f"{where}: a price is a positive number, got {line[1]} for Id {house}")
        prices[house] = price
    return prices
