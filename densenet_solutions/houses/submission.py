"""Write a submission in the competition's format, and score one offline."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from densenet_solutions import checks
from densenet_solutions.files import read_bytes, write_text_atomically
from densenet_solutions.houses.ames import hidden_prices

COLUMNS = ("Id", "SalePrice")
#: Ids of the test rows: a submission has each of them once.
TEST_IDS = range(1461, 2920)
#: No house of the competition was sold for less (the cheapest cost $12,789).
_LOWEST = 1000
#: What a file is by its first bytes.
_OTHER_FILES = {
    b"\x1f\x8b": "packed with gzip: unpack it",
    b"PK": "a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"\xff\xfe": "text in UTF-16: save it in UTF-8",
    b"\xfe\xff": "text in UTF-16: save it in UTF-8",
    b"<": "a page of the web: download the file itself",
}
_PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z")


def output_path(path: str | Path) -> Path:
    """Where a submission can be written: asked before training starts.

    Raises:
        ValueError: the name is that of a packed file, or nothing can be written there.
    """
    path = Path(path)
    if path.suffix.lower() in _PACKED:
        raise ValueError(f"a submission is written as plain text, got the name {path.name!r}")
    return checks.output_file(path)


def write_submission(path: str | Path, ids: Iterable[int], prices: Iterable[float]) -> Path:
    """Write predicted prices in dollars, one row for each of the 1459 test Ids; return the path.

    Raises:
        TypeError: an Id is not an integer, or a price not a number.
        ValueError: the submission would be refused (see `score_submission`), the name is that of a
            packed file, or the file cannot be written.
    """
    path = output_path(path)
    houses = [checks.integer("every Id", i) for i in _items("ids", ids)]
    dollars = [checks.number("every price", p) for p in _items("prices", prices)]
    if len(houses) != len(dollars):
        raise ValueError(f"every Id has one price, got {len(houses)} Ids and {len(dollars)} prices")
    rows = [(str(i), repr(p)) for i, p in zip(houses, dollars, strict=True)]
    _parse([COLUMNS, *rows], "submission")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return write_text_atomically(path, text.getvalue())


def score_submission(path: str | Path) -> float:
    """The competition's score: root mean squared error of the logarithm of the price.

    All 1459 test rows count. (The competition's site shows the score on half of them first.)

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a valid submission; the message says why and in which row.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and a submission is a file")
    content = read_bytes(path)
    for start, what in _OTHER_FILES.items():
        if content.startswith(start):
            raise ValueError(f"a submission is a CSV file in UTF-8, and {path.name} is {what}")
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} is not a CSV file in UTF-8: {error}") from None
    predicted = _parse(lines, path.name)
    truth = hidden_prices()
    off = np.log([predicted[i] for i in truth.index]) - np.log(truth.to_numpy(dtype=float))
    return float(np.sqrt(np.mean(off**2)))


def _items(name: str, values: Iterable[object]) -> list[object]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is a sequence of numbers, got {values!r}")
    return list(values)


def _parse(lines: Sequence[Sequence[str]], name: str) -> dict[int, float]:
    """Prices by Id; line numbers in messages count from 1 and include the header."""
    if not lines or tuple(cell.strip() for cell in lines[0]) != COLUMNS:
        header = [cell.strip() for cell in lines[0]] if lines else []
        raise ValueError(f"{name} needs the columns {list(COLUMNS)}, got {header}{_hint(header)}")
    prices: dict[int, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{name}, line {number}"
        if not line:
            continue
        if len(line) != 2:
            raise ValueError(f"{where}: a row has two cells, Id and SalePrice, got {list(line)}")
        house, price = _id(line[0], where), _price(line[1], where)
        if house in prices:
            raise ValueError(f"{where}: every Id comes once, got {house} again")
        prices[house] = price
    missing = sorted(set(TEST_IDS) - set(prices))
    if missing:
        raise ValueError(
            f"{name} needs all {len(TEST_IDS)} test Ids, got {len(prices)}; "
            f"the first missing one is {missing[0]}"
        )
    if max(prices.values()) < _LOWEST:
        raise ValueError(
            f"{name} needs prices in dollars, and its highest is {max(prices.values()):g}: "
            "if these are logarithms, take np.exp"
        )
    return prices


def _hint(header: Sequence[str]) -> str:
    """What has probably gone wrong with a header."""
    if not header:
        return ": the file is empty"
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        return ": cells are separated by commas"
    if header[0] == "" or header[0].startswith("Unnamed"):
        return ": an index has been written too, which to_csv(..., index=False) leaves out"
    if all(re.fullmatch("[0-9.]+", cell) for cell in header):
        return ": the first line names the columns"
    return ""


def _id(cell: str, where: str) -> int:
    # Python reads more as a number than the competition does: 1_461, or digits of other scripts.
    if not re.fullmatch("[0-9]{1,9}", cell.strip()) or int(cell) not in TEST_IDS:
        raise ValueError(
            f"{where}: an Id is an integer from {TEST_IDS[0]} to {TEST_IDS[-1]} (those before are "
            f"the training houses), got {cell!r}"
        )
    return int(cell)


def _price(cell: str, where: str) -> float:
    plain = re.fullmatch(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", cell.strip())
    if not plain or not 0 < float(cell) < math.inf:
        raise ValueError(f"{where}: a price is a positive number such as 180000.0, got {cell!r}")
    return float(cell)
