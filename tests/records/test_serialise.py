"""Results survive JSON."""

from dataclasses import dataclass

import pytest

from densenet_solutions.measure.flops import FlopCount
from densenet_solutions.measure.parameters import ParameterCount
from densenet_solutions.records.serialise import dumps, from_json, to_json
from densenet_solutions.records.store import Provenance

PROVENANCE = Provenance("1.0", "3.11.7", {"torch": "2.14"}, "CPU", "Linux", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "result",
    [
        ParameterCount(3, {"stem": 3}, {"conv": 3}),
        FlopCount(9, {"stem": 9}, (1, 3, 8, 8)),
        PROVENANCE,
    ],
    ids=lambda result: type(result).__name__,
)
def test_json_there_and_back(result):
    assert from_json(type(result), to_json(result)) == result


def test_nested_results_come_back_as_their_own_types():
    @dataclass(frozen=True)
    class Both:
        count: ParameterCount
        several: tuple[FlopCount, ...]
        none: FlopCount | None = None

    both = Both(ParameterCount(1, {}, {}), (FlopCount(2, {}, (1,)),))
    hints = {"count": ParameterCount, "several": tuple[FlopCount, ...], "none": FlopCount | None}
    Both.__annotations__ = hints
    assert from_json(Both, to_json(both)) == both


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(ValueError, match=r"unknown \['extra'\], missing \['by_kind'\]"):
        from_json(ParameterCount, {"total": 1, "by_stage": {}, "extra": 2})


def test_what_is_no_result_is_refused():
    with pytest.raises(TypeError, match="results hold numbers"):
        to_json({1, 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(float("nan"))
