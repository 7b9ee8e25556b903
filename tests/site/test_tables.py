import re
from dataclasses import dataclass
from typing import Any

import pytest

from densenet_solutions.site.numbers import mib, percent
from densenet_solutions.site.tables import KEY, Column, table


@dataclass(frozen=True)
class Row:
    name: str
    peak: int | None = 2**20
    blocks: tuple[int, ...] = (6, 12)


def cells(rows: Any, columns: dict[str, Column]) -> list[str]:
    """What stands in the body of the table."""
    return re.findall(
        "<t[hd][^>]*>(.*?)</t[hd]>", table(rows, columns).html.partition("<tbody>")[2]
    )


def test_numbers_go_right_and_text_left() -> None:
    html = table(["a", "b"], {"model": str, "size": {0: "1.5 MiB", 1: "−2.0 MiB"}}).html
    assert '<th scope="col">model</th><th scope="col" style="text-align: right">size</th>' in html
    assert '<th scope="row">a</th><td style="text-align: right">1.5 MiB</td>' in html


@pytest.mark.parametrize(
    ("cell", "right"),
    [("3e-15", True), ("+0.75 [0.26, 1.23]", True), ("1.00× to 1.16×", True), ("≥ 1,073", True),
     ("—", True), ("", True), ("6, 12, 24, 16", False), ("2 × 58 + 5", False), ("1×1", False),
     ("bit for bit", False)],
)  # fmt: skip
def test_what_counts_as_a_number(cell: str, right: bool) -> None:
    html = table([cell], {"name": lambda row: "x", "value": str}).html
    assert ('<th scope="col" style="text-align: right">value</th>' in html) == right


def test_text_is_escaped_and_code_works() -> None:
    html = table(["<b> `x<y` **z**"], {"a": str}, caption="A & B").html
    assert "&lt;b&gt; <code>x&lt;y</code> <strong>z</strong>" in html
    assert "<caption>A &amp; B</caption>" in html
    assert 'role="region" aria-label="A &amp; B"' in html


def test_a_path_leads_through_attributes_keys_and_places() -> None:
    rows = [(Row("plain"), {"seconds": {"cpu": 3}})]
    columns: dict[str, Column] = {"a": "0.name", "b": "0.blocks.1", "c": "1.seconds.cpu"}
    assert cells(rows, columns) == ["plain", "12", "3"]
    assert cells([[7, 8]], {"a": 1, "b": "0"}) == ["8", "7"]


def test_rows_of_a_mapping_have_keys() -> None:
    rows = {"x": Row("plain"), "y": Row("shared")}
    columns: dict[str, Column] = {"key": KEY, "name": "name", "error": ({"y": 0.25}, percent)}
    assert cells(rows, columns) == ["x", "plain", "—", "y", "shared", "25.0%"]


def test_formats_take_functions_with_arguments_and_specifications() -> None:
    columns: dict[str, Column] = {"a": ("peak", mib, 2), "b": ("peak", ".1e"), "c": "peak"}
    assert cells([Row("plain")], columns) == ["1.00 MiB", "1.0e+06", "1,048,576"]


def test_none_is_a_dash_and_a_minus_is_one() -> None:
    columns: dict[str, Column] = {"a": ("peak", mib), "b": lambda row: (-1, ".2f")[0]}
    assert cells([Row("plain", peak=None)], columns) == ["—", "−1"]
    values = [-0.0001, -1.25]
    assert cells(values, {"a": (lambda value: value, ".2f")}) == ["0.00", "−1.25"]
