"""One rule for the sign, whichever format a page names."""

from collections.abc import Callable

import pytest

from densenet_solutions.site import numbers

FORMATS = [
    numbers.billions, numbers.decimal, numbers.gib, numbers.mib, numbers.milliseconds,
    numbers.millions, numbers.percent, numbers.signed, numbers.times,
]  # fmt: skip


@pytest.mark.parametrize("form", [*FORMATS, numbers.count, numbers.rounded], ids=lambda form: form.__name__)
def test_a_minus_is_a_minus(form: Callable[[float], str]) -> None:
    assert form(-3 * 10**10).startswith("−")
    assert "-" not in form(-3 * 10**10)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_what_is_rounded_to_zero_has_no_minus(form: Callable[[float], str]) -> None:
    assert form(-1e-9).startswith("0")
