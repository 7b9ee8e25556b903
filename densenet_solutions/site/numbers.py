"""Numbers as a page prints them, finite ones. Byte prefixes are binary; counts are decimal."""

from __future__ import annotations

import math

MIB = 2**20
GIB = 2**30


def count(n: int) -> str:
    """An exact count with thousands separated.

    Examples:
        >>> count(7978856)
        '7,978,856'
    """
    return _written(n, ",")


def millions(n: float, digits: int = 2) -> str:
    """A count in millions.

    Examples:
        >>> millions(7978856)
        '7.98 M'
    """
    return _written(n / 1e6, f",.{digits}f") + " M"


def billions(n: float, digits: int = 2) -> str:
    """A count in billions (10⁹).

    Examples:
        >>> billions(2_834_000_000)
        '2.83 G'
    """
    return _written(n / 1e9, f",.{digits}f") + " G"


def mib(num_bytes: float, digits: int = 1) -> str:
    """Bytes in MiB (2²⁰ bytes).

    Examples:
        >>> mib(1045690777), mib(1536 * 2**20, 0)
        ('997.2 MiB', '1,536 MiB')
    """
    return _written(num_bytes / MIB, f",.{digits}f") + " MiB"


def bare_mib(num_bytes: float, digits: int = 0) -> str:
    """Bytes in MiB (2²⁰ bytes), under a heading that names the unit.

    Examples:
        >>> bare_mib(1536 * 2**20)
        '1,536'
    """
    return mib(num_bytes, digits).removesuffix(" MiB")


def gib(num_bytes: float, digits: int = 1) -> str:
    """Bytes in GiB (2³⁰ bytes).

    Examples:
        >>> gib(48 * 2**30)
        '48.0 GiB'
    """
    return _written(num_bytes / GIB, f",.{digits}f") + " GiB"


def decimal(value: float, digits: int = 2) -> str:
    """A number with so many digits behind the point.

    Examples:
        >>> decimal(1.249), decimal(-0.11872, 4)
        ('1.25', '−0.1187')
    """
    return _written(value, f".{digits}f")


def rounded(value: float, digits: int = 3) -> str:
    """A number to so many significant digits.

    Examples:
        >>> rounded(2.0), rounded(-0.26666)
        ('2', '−0.267')
    """
    return _written(value, f".{digits}g")


def percent(share: float, digits: int = 1) -> str:
    """A share of one as a percentage.

    Examples:
        >>> percent(0.25), percent(-0.0001)
        ('25.0%', '0.0%')
    """
    return _written(100 * share, f",.{digits}f") + "%"


def times(ratio: float, digits: int = 1) -> str:
    """A ratio.

    Examples:
        >>> times(8.06), times(12.34, 2)
        ('8.1×', '12.34×')
    """
    return _written(ratio, f",.{digits}f") + "×"


def milliseconds(seconds: float, digits: int = 0) -> str:
    """Seconds as milliseconds.

    Examples:
        >>> milliseconds(0.0391)
        '39 ms'
    """
    return _written(1000 * seconds, f",.{digits}f") + " ms"


def apart(difference: float) -> str:
    """How close two results are that should be the same.

    Examples:
        >>> apart(0.0), apart(3.2e-15)
        ('bit for bit', 'to within 3e−15')
    """
    return "bit for bit" if difference == 0 else f"to within {_written(difference, '.0e')}"


def up(value: float, digits: int) -> float:
    """The least number with so many digits behind the point that `value` does not exceed.

    A bound is printed through it: rounded as usual, it would be false half of the time.

    Examples:
        >>> up(0.0523, 2), up(0.05, 2)
        (0.06, 0.05)
    """
    nearest = round(value, digits)
    return nearest if nearest >= value else round(nearest + 10**-digits, digits)


def down(value: float, digits: int) -> float:
    """The greatest number with so many digits behind the point that does not exceed `value`.

    Examples:
        >>> down(0.0523, 3), down(0.0528, 3)
        (0.052, 0.052)
    """
    return -up(-value, digits)


def signed(difference: float, digits: int = 2) -> str:
    """A difference with its sign, whichever it is.

    Examples:
        >>> signed(0.0021, 4), signed(-0.0005, 4)
        ('+0.0021', '−0.0005')
    """
    return _written(difference, f"+.{digits}f")


def plus_minus(mean: float, half_width: float, digits: int = 2) -> str:
    """A mean and half the width of its interval.

    Examples:
        >>> plus_minus(-0.1187, 0.00123, 4)
        '−0.1187 ± 0.0012'
    """
    if half_width < 0:
        raise ValueError(f"half a width is at least 0, got {half_width!r}")
    return f"{decimal(mean, digits)} ± {decimal(half_width, digits)}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """An interval by its two ends.

    Examples:
        >>> interval(-0.0021, 0.0013, 4), interval(-0.0004, 0.5)
        ('[−0.0021, 0.0013]', '[0.00, 0.50]')
    """
    return f"[{decimal(low, digits)}, {decimal(high, digits)}]"


def _written(value: float, form: str) -> str:
    if not math.isfinite(value):
        raise ValueError(f"a number that is printed is finite, got {value!r}")
    return minus(format(value, form))


def minus(number: str) -> str:
    """A number as Python writes it, with real minus signs, and with none where it is zero.

    Examples:
        >>> minus("-1.5"), minus("-0.00"), minus("-2e-05")
        ('−1.5', '0.00', '−2e−05')
    """
    return number.replace("-", "−" if number.strip("-0.,") else "")
