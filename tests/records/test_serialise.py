"""Results survive JSON, and come back as their own types."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from densenet_solutions.measure.parameters import ParameterCount
from densenet_solutions.records.serialise import dumps, from_json, to_json
from densenet_solutions.records.store import Provenance


@dataclass(frozen=True)
class Inner:
    shape: tuple[int, ...]
    by_name: Mapping[str, float]


@dataclass(frozen=True)
class Outer:
    count: ParameterCount
    several: tuple[Inner, ...]
    none: Inner | None = None


@pytest.mark.parametrize(
    "result",
    [
        ParameterCount(3, {"stem": 3}, {"conv": 3}),
        Provenance("1.0", "3.11.7", {"torch": "2.14"}, "CPU", "Linux"),
        Outer(ParameterCount(1, {}, {}), (Inner((1, 3, 8, 8), {"a": 0.5}),)),
    ],
    ids=lambda result: type(result).__name__,
)
def test_json_there_and_back(result):
    assert from_json(type(result), to_json(result)) == result


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"total": 1, "by_stage": {}}, r"is missing @ ParameterCount\.by_kind"),
        ({"total": 1, "by_stage": {}, "by_kind": {}, "extra": 2}, r"unknown fields \['extra'\]"),
        ({"total": "1", "by_stage": {}, "by_kind": {}}, r"int is expected, got '1' @ .*\.total"),
        ({"total": 1.5, "by_stage": {}, "by_kind": {}}, "int is expected, got 1.5"),
        ({"total": True, "by_stage": {}, "by_kind": {}}, "int is expected, got True"),
        ({"total": 1, "by_stage": {"a": None}, "by_kind": {}}, r"got None @ .*by_stage\['a'\]"),
        ({"total": 1, "by_stage": 5, "by_kind": {}}, "by_stage"),
        ([], "ParameterCount"),
        (None, "ParameterCount"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_in_one_line(data, message):
    with pytest.raises(ValueError, match=message) as raised:
        from_json(ParameterCount, data)
    assert "\n" not in str(raised.value)


def test_text_is_no_list():
    with pytest.raises(ValueError, match="a list is expected, got 'abc'"):
        from_json(tuple[str, ...], "abc")


def test_integer_keys_come_back_as_integers():
    """The first version promised to invert `to_json`, and gave text (A7)."""
    updates = {3: (1.0, None), 12: (0.5, 2.0)}
    assert from_json(Mapping[int, tuple[float, float | None]], to_json(updates)) == updates


def test_lists_of_numbers_stay_on_one_line():
    assert dumps({"a": [1, -2.5, 3e-9], "b": ["x\n1", []]}) == (
        '{\n "a": [1, -2.5, 3e-09],\n "b": [\n  "x\\n1",\n  []\n ]\n}\n'
    )


def test_what_is_no_result_is_refused():
    with pytest.raises(TypeError, match="not JSON serializable"):
        to_json({1, 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(float("nan"))
