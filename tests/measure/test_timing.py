import pytest

from densenet_solutions.measure import time_interleaved


def test_functions_run_in_turn_and_warmup_is_not_timed():
    calls = []
    seconds = time_interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2, warmup=1
    )
    assert calls == ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    assert all(value > 0 for values in seconds.values() for value in values)


@pytest.mark.parametrize("arguments", [{"repeats": 0}, {"repeats": 1, "warmup": -1}])
def test_impossible_counts_are_refused(arguments):
    with pytest.raises(ValueError, match="repeats at least 1"):
        time_interleaved({"a": lambda: None}, **arguments)


def test_nothing_to_time_is_refused():
    with pytest.raises(ValueError, match="at least one function"):
        time_interleaved({}, repeats=1)
