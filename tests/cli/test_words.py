"""Wrong usage is told by the options that were typed, with the value that was given."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from densenet_solutions.cli import app
from densenet_solutions.cli.words import in_options
from tests.framed import RUNNER, words

TINY = ["--batch", "1", "--resolution", "32"]


def refusal(*command: str) -> str:
    done = RUNNER.invoke(app, list(command))
    text = words(done.output)
    assert done.exit_code == 2, text
    return re.sub(".*(Invalid value:|Error) ", "", text)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ["measure", "densenet121", "--device", "cpu", *TINY],
            "got --batch 1, --resolution 32: give a larger --batch or --resolution, or add --infer",
        ),
        (
            ["bench", "memory", "--device", "cpu", *TINY],
            "got --batch 1, --resolution 32: give a larger --batch or --resolution",
        ),
        (
            ["measure", "densenet121", "--resolution", "20"],
            "--resolution is at least 29, or nothing is left to pool, "
            "got --batch 8, --resolution 20",
        ),
        (
            ["measure", "densenet121", "--resolution", "100000000000"],
            "--batch and --resolution make an input of fewer than 2^59 elements, "
            "got --batch 8, --resolution 100000000000",
        ),
        (["measure"], "NETWORK is missing: write measure NETWORK; --help says what may be given"),
        (
            ["check", "block", "net.py:Block"],
            "--in-channels is missing: write check block FILE.py:NAME --in-channels … "
            "--growth-rate … --layers …; --help says what may be given",
        ),
        (
            ["check", "number", "1", "2", "3"],
            "check number takes COUNT, got 2 3 besides: leave that out",
        ),
        (
            ["houses", "cv", "3"],
            "houses cv takes options and nothing else, got 3 besides: leave that out, or write an "
            "option before it",
        ),
        (
            ["measure", "densenet12", "--list-strategies", "--json"],
            "--list-strategies stands alone, got it with densenet12 --json: leave that out",
        ),
        (
            ["measure", "densenet121", "--strategy", "compiled", "--kernels", "cuda"],
            "--strategy 'compiled' cannot be predicted: leave out --kernels and add --device cpu "
            "or --device cuda to measure it",
        ),
        (
            ["measure", "densenet121", "--strategy", "quantized_inference"],
            "--strategy 'quantized_inference' does not train and cannot be predicted: add --infer "
            "and add --device cpu or --device cuda to measure it",
        ),
        (["train", "book-densenet", "--momentum", "2"], "--momentum lies in [0, 1), got 2.0"),
        (
            ["train", "book-densenet", "--weight-decay", "-1"],
            "--weight-decay is at least 0, got -1.0",
        ),
        (
            ["train", "book-densenet", "--resolution", "1000000"],
            "--resolution is at most 16384, got 1000000",
        ),
        (
            ["train", "book-densenet", "--device", "gpu"],
            "--device is 'cpu' or 'cuda' (or 'cuda:1', …), got 'gpu'",
        ),
        (
            ["measure", "resnet18", "--strategy", "gates"],
            "--strategy gates takes a DenseNet, got ResNet: give another NETWORK or --strategy",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_are_called_by_their_options(command: list[str], said: str) -> None:
    assert refusal(*command).endswith(said)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("measure densenet121 --batch 0", "--batch is a whole number of at least 1, got 0"),
        ("measure densenet121 --batch two", "--batch is a whole number of at least 1, got 'two'"),
        ("train book-densenet --seed -1", "--seed is a whole number of at least 0, got -1"),
        ("train book-densenet --learning-rate x", "--learning-rate is a number, got 'x'"),
        ("houses cv --seeds 101", "--seeds is a whole number from 1 to 100, got 101"),
        ("houses cv --depth=1.5", "--depth is a whole number of at least 1, got '1.5'"),
        (
            "houses cv --connection denze",
            "--connection is one of 'plain', 'shortcut', 'residual', 'dense', got 'denze'; "
            "did you mean 'dense'?",
        ),
        (
            "measure densenet121 --dtype fp16",
            "--dtype is one of 'float32', 'bfloat16', 'float16', 'float64', got 'fp16'",
        ),
        ("bench memory --autocast x", "--autocast is one of 'bfloat16', 'float16', got 'x'"),
        (
            "check block a.py:B --in-channels a --growth-rate 2 --layers 2",
            "--in-channels is a whole number of at least 1, got 'a'",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_shown_with_its_rule(command: str, said: str) -> None:
    assert refusal(*command.split()) == said


OPTIONS = {"batch": "--batch", "epochs": "--epochs", "weight_decay": "--weight-decay"}


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        ("epochs is at least 1, got 0", "--epochs is at least 1, got 0"),
        ("more than epochs=2", "more than --epochs=2"),
        ("a.pt has 3 epochs behind it, more than epochs=2: delete it, or name another file",
         "a.pt has 3 epochs behind it, more than --epochs=2: give --epochs=3 or more, or name "
         "another file"),
        ("got batch_size=3", "got --batch=3"),
        ("differs in batch_size (2, now 3), epochs (1, now 2)",
         "differs in --batch (2, now 3), --epochs (1, now 2)"),
        ("the weight_decay of sgd", "the --weight-decay of sgd"),
        *((words, words) for words in (
            "got --batch=3", "a batch is small", "batch normalization needs more", "3 epochs",
            "seed is at least 0", "a.py has 5 epochs behind it",
        )),
    ],
)  # fmt: skip
def test_only_arguments_become_options(python: str, typed: str) -> None:
    assert in_options(python, OPTIONS, {}) == typed


def test_what_is_missing_is_named() -> None:
    given = ["check", "block", "a.py:B", "--in-channels", "4", "--growth-rate", "2"]
    assert "--layers is missing: write check block" in refusal(*given)


def test_words_of_a_file_that_is_checked_are_not_options(tmp_path) -> None:
    file = tmp_path / "net.py"
    file.write_text("def block(in_channels, growth_rate): ...\n", encoding="utf-8")
    sizes = ["--in-channels", "4", "--growth-rate", "2", "--layers", "2"]
    assert "needs in_channels, growth_rate" in refusal("check", "block", f"{file}:block", *sizes)


def test_the_command_to_write_is_without_the_program_however_that_was_called() -> None:
    program = [sys.executable, "-m", "densenet_solutions"]
    done = subprocess.run(
        [*program, "check", "number"], capture_output=True, text=True, check=False
    )
    assert "COUNT is missing: write check number COUNT; --help" in words(done.stderr)
