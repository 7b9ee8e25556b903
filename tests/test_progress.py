"""Progress in a pipe: nothing of what is quick, a line after two seconds of what is not."""

import time

import pytest

from densenet_solutions import progress as module
from densenet_solutions.progress import progress


def test_a_pipe_hears_of_long_work_even_if_nothing_is_told(capsys, monkeypatch) -> None:
    monkeypatch.setattr(module, "FIRST", 0.05)
    monkeypatch.setattr(module, "AGAIN", 0.05)
    with progress("how-far") as told:
        time.sleep(0.4)
        told("plain-8gib", 3, 32)
        time.sleep(0.4)
        told("set-up", 0, 0)
        time.sleep(0.4)
    lines = capsys.readouterr().err.splitlines()
    assert list(dict.fromkeys(lines)) == [
        "how-far",
        "how-far: 3 of 32, plain-8gib",
        "how-far: set-up",
    ]


def test_quick_work_is_silent_and_an_error_passes(capsys) -> None:
    assert module.FIRST <= 2
    with progress("quick") as told:
        told("", 1, 2)
    with pytest.raises(ZeroDivisionError), progress("wrong"):
        _ = 1 / 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")


def test_what_was_said_is_repeated_only_as_a_sign_of_life(capsys, monkeypatch) -> None:
    monkeypatch.setattr(module, "FIRST", 0.02)
    monkeypatch.setattr(module, "AGAIN", 0.02)
    with progress("long") as told:
        told("one", 0, 0)
        time.sleep(0.4)
        told("two", 0, 0)
        time.sleep(0.4)
    assert capsys.readouterr().err.splitlines() == ["long: one", "long: two"]
    monkeypatch.setattr(module, "ALIVE", 0.1)
    with progress("long"):
        time.sleep(0.6)
    assert 2 <= len(capsys.readouterr().err.splitlines()) <= 7
