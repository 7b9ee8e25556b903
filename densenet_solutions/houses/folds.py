"""Partitions of the training rows: every row is validated once."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from densenet_solutions import checks


def contiguous_folds(rows: int, folds: int = 5) -> np.ndarray:
    """Fold number of each row, `(rows,)`, in equal runs: the book's partition.

    The book drops the rows that do not divide evenly; here the first folds get one more.

    Examples:
        >>> contiguous_folds(7, 3).tolist()
        [0, 0, 0, 1, 1, 2, 2]

    Raises:
        TypeError, ValueError: fewer than two folds, more folds than rows, or no whole numbers.
    """
    checks.integer("rows", rows, at_least=2)
    checks.integer("folds", folds, at_least=2, at_most=rows)
    return np.sort(np.arange(rows) % folds)


def shuffled_folds(rows: int, folds: int = 5, *, seed: int) -> np.ndarray:
    """Fold number of each row, `(rows,)`, after a random shuffle; errors as above."""
    checks.integer("seed", seed, at_least=0)
    return np.random.default_rng(seed).permutation(contiguous_folds(rows, folds))


def partition(name: str, rows: int = 1460) -> np.ndarray:
    """The five folds that go by a name: `"book"`, or `"fresh-1"`, `"search-1"` and so on to 999.

    Choices are made on `search` partitions, comparisons on `fresh` ones. `fresh-N` is shuffled with
    the seed N and `search-N` with 1000 + N, so that no two names mean the same folds.

    Raises:
        TypeError: the name is no text.
        ValueError: there is no partition of this name.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a partition is text, got {name!r}")
    if name == "book":
        return contiguous_folds(rows)
    match = re.fullmatch("(fresh|search)-([1-9][0-9]{0,2})", name)
    if match is None:
        raise ValueError(
            f"a partition is 'book', 'fresh-N' or 'search-N' with N from 1 to 999, got {name!r}"
        )
    return shuffled_folds(rows, seed=int(match[2]) + (1000 if match[1] == "search" else 0))


def fold_numbers(folds: Any, rows: int) -> np.ndarray:
    """Checked fold numbers `(rows,)`.

    Raises:
        TypeError: they are no integers.
        ValueError: there is not one for each row, or only one fold.
    """
    numbers = np.asarray(folds)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(f"fold numbers are integers, got {numbers.dtype}")
    if numbers.shape != (rows,):
        raise ValueError(f"folds has one number for each of {rows} rows, got {numbers.shape}")
    if len(np.unique(numbers)) < 2:
        raise ValueError(f"folds has at least two different numbers, got {np.unique(numbers)}")
    return numbers
