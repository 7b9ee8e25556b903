"""Partitions of the training rows: every row is validated once."""

from __future__ import annotations

import numpy as np


def contiguous_folds(rows: int, folds: int = 5) -> np.ndarray:
    """Fold number of each row, `(rows,)`, in equal runs: the book's partition.

    The book drops the rows that do not divide evenly; here the first folds get one more.

    >>> contiguous_folds(7, 3).tolist()
    [0, 0, 0, 1, 1, 2, 2]

    Raises:
        ValueError: fewer than two folds, or more folds than rows.
    """
    if not 2 <= folds <= rows:
        raise ValueError(f"folds lies between 2 and the number of rows ({rows}), got {folds!r}")
    return np.sort(np.arange(rows) % folds)


def shuffled_folds(rows: int, folds: int = 5, *, seed: int) -> np.ndarray:
    """Fold number of each row, `(rows,)`, after a random shuffle."""
    return np.random.default_rng(seed).permutation(contiguous_folds(rows, folds))


def partition(name: str, rows: int = 1460) -> np.ndarray:
    """The five folds that go by a name: `"book"`, or `"fresh-1"`, `"search-1"` and so on.

    Choices are made on `search` partitions, comparisons on `fresh` ones; their shuffles differ.

    Raises:
        ValueError: the name is neither.
    """
    if name == "book":
        return contiguous_folds(rows)
    kind, _, number = name.partition("-")
    if kind not in ("fresh", "search") or not number.isdigit():
        raise ValueError(f"a partition is 'book', 'fresh-N' or 'search-N', got {name!r}")
    return shuffled_folds(rows, seed=int(number) + (1000 if kind == "search" else 0))
