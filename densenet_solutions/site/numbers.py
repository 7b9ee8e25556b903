"""Numbers as a page prints them. Byte prefixes are binary, always; counts are decimal."""

from __future__ import annotations

MIB = 2**20
GIB = 2**30


def count(n: int) -> str:
    """An exact count with thousands separated.

    >>> count(7978856)
    '7,978,856'
    """
    return f"{n:,}"


def millions(n: float, digits: int = 2) -> str:
    """A count in millions.

    >>> millions(7978856)
    '7.98 M'
    """
    return f"{n / 1e6:,.{digits}f} M"


def billions(n: float, digits: int = 2) -> str:
    """A count in billions (10⁹).

    >>> billions(2_834_000_000)
    '2.83 G'
    """
    return f"{n / 1e9:,.{digits}f} G"


def mib(num_bytes: float, digits: int = 1) -> str:
    """Bytes in MiB (2²⁰ bytes).

    >>> mib(1045690777)
    '997.2 MiB'
    """
    return f"{num_bytes / MIB:,.{digits}f} MiB"


def gib(num_bytes: float, digits: int = 1) -> str:
    """Bytes in GiB (2³⁰ bytes).

    >>> gib(48 * 2**30)
    '48.0 GiB'
    """
    return f"{num_bytes / GIB:,.{digits}f} GiB"


def percent(share: float, digits: int = 1) -> str:
    """A share of one as a percentage.

    >>> percent(0.25)
    '25.0%'
    """
    return f"{_zero(100 * share, digits):,.{digits}f}%"


def times(ratio: float, digits: int = 1) -> str:
    """A ratio.

    >>> times(8.06)
    '8.1×'
    """
    return f"{ratio:,.{digits}f}×"


def apart(difference: float) -> str:
    """How close two results are that should be the same.

    >>> apart(0.0), apart(3.2e-15)
    ('bit for bit', 'to within 3e-15')
    """
    return "bit for bit" if difference == 0 else f"to within {difference:.0e}"


def plus_minus(mean: float, half_width: float, digits: int = 2) -> str:
    """A mean and half the width of its interval.

    >>> plus_minus(0.1187, 0.00123, 4)
    '0.1187 ± 0.0012'
    """
    return f"{_signed(mean, digits)} ± {half_width:.{digits}f}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """An interval by its two ends.

    >>> interval(-0.0021, 0.0013, 4)
    '[−0.0021, 0.0013]'
    """
    return f"[{_signed(low, digits)}, {_signed(high, digits)}]"


def _zero(value: float, digits: int) -> float:
    """`value`, or a zero without sign where it rounds to zero."""
    return 0.0 if round(value, digits) == 0 else value


def _signed(value: float, digits: int) -> str:
    return f"{_zero(value, digits):.{digits}f}".replace("-", "−")
