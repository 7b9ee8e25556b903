"""What the checks refuse: a rule, the value, and the way out; wrong networks are no wrong usage."""

from __future__ import annotations

import re

import pytest
from torch import nn

from densenet_solutions import check
from densenet_solutions.check.prepared import loaded
from densenet_solutions.models.densenet import Transition

from .students import TINY, Student


def load(target):
    with loaded(target):
        pass


WRONG = [
    ("count: float", lambda: check.parameter_count(7e6), TypeError, "n is an integer, got 7000000"),
    ("count: bool", lambda: check.parameter_count(True), TypeError, "n is an integer, got True"),
    ("count: text", lambda: check.parameter_count("7"), TypeError, "n is an integer, got '7'"),
    ("count: zero", lambda: check.parameter_count(0), ValueError, "n is at least 1, got 0"),
    ("net: text", lambda: check.densenet("net", TINY), TypeError, "got 'net'"),
    ("net: none", lambda: check.densenet(None, TINY), TypeError, "got None"),
    ("name", lambda: check.densenet(Student(), "densenet"), ValueError, "name is one of 'd"),
    ("name: none", lambda: check.densenet(Student(), None), ValueError, "name is one of"),
    ("name: list", lambda: check.densenet(Student(), []), ValueError, r"got \[\]"),
    ("block: none", lambda: check.dense_block(None, 8, 4, 3), TypeError, "module is a torch.nn.M"),
    ("block: k", lambda: check.dense_block(nn.ReLU(), 8, 0, 3), ValueError, "growth_rate is at"),
    ("block: layers", lambda: check.dense_block(nn.ReLU(), 8, 4, -1), ValueError, "layers is at"),
    ("block: C", lambda: check.dense_block(nn.ReLU(), 8.5, 4, 1), TypeError, "in_channels is a"),
    (
        "block: bn_size", lambda: check.dense_block(nn.ReLU(), 8, 4, 1, bn_size=0), ValueError,
        "bn_size .* is at least 1, got 0",
    ),
    ("transition: C", lambda: check.transition(nn.ReLU(), 1), ValueError, "in_channels is at leas"),
    ("transition: out", lambda: check.transition(nn.ReLU(), 8, 0), ValueError, "out_channels"),
    ("memory: net", lambda: check.memory(3), TypeError, "net is a torch.nn.Module"),
    ("memory: batch", lambda: check.memory(Student(), TINY, batch=0), ValueError, "batch is at"),
    (
        "memory: resolution", lambda: check.memory(Student(), TINY, resolution="big"), TypeError,
        "resolution is an integer, got 'big'",
    ),
    (
        "memory: size", lambda: check.memory(Student(), TINY, batch=10**20), ValueError,
        "input_shape has fewer than 2.59 elements",
    ),
    ("houses: number", lambda: check.house_prices(3), TypeError, "predict is a function"),
    ("load: no name", lambda: load("net.py"), ValueError, "give FILE.py:NAME"),
    ("load: no file", lambda: load("nowhere.py:Net"), ValueError, "there is no file 'nowhere.py'"),
    ("load: other file", lambda: load("net.txt:Net"), ValueError, "give FILE.py:NAME"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "exception", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_what_is_impossible_is_refused(call, exception, message):
    with pytest.raises(exception) as raised:
        call()
    assert type(raised.value) is exception
    assert re.search(message, str(raised.value))


@pytest.mark.parametrize(
    "call",
    [
        lambda: check.parameter_count(10**30),
        lambda: check.densenet(lambda: 1 / 0, TINY),
        lambda: check.densenet(str, TINY),
        lambda: check.transition(Transition, 8),
        lambda: check.dense_block(nn.Linear(3, 4), 8, 4, 3),
        lambda: check.memory(nn.Linear(3, 4), TINY),
    ],
    ids=[
        "a large count",
        "fails to build",
        "builds text",
        "a class with arguments",
        "no block",
        "no network",
    ],
)
def test_what_is_possible_and_wrong_is_a_report(call):
    report = call()
    assert not report.passed
    assert report.wrong


def test_a_folder_is_no_file_to_load(tmp_path):
    (tmp_path / "nets.py").mkdir()
    with pytest.raises(ValueError, match=r"a file is needed, got the folder '.*nets\.py'"):
        load(f"{tmp_path}/nets.py:Net")
