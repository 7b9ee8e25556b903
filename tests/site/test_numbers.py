import pytest

from densenet_solutions.site import numbers


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.mib(125 * 2**20), "125.0 MiB"),
        (numbers.mib(1536 * 2**20, 0), "1,536 MiB"),
        (numbers.gib(3 * 2**29), "1.5 GiB"),
        (numbers.percent(-0.0001), "0.0%"),
        (numbers.times(12.34, 2), "12.34×"),
        (numbers.plus_minus(-0.5, 0.25, 2), "−0.50 ± 0.25"),
        (numbers.interval(-0.0004, 0.5, 2), "[0.00, 0.50]"),
        (numbers.billions(2_834_161_664), "2.83 G"),
    ],
)
def test_format(shown: str, expected: str) -> None:
    assert shown == expected
