"""What a newcomer got wrong is answered in the words of the command line, with the way out."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import densenet121

from densenet_solutions.cli import app
from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES
from tests.framed import RUNNER, words

TOO_SMALL = ["--batch", "1", "--resolution", "32"]


@pytest.mark.parametrize(
    ("command", "said", "unsaid"),
    [
        (
            ["bench", "memory", *TOO_SMALL],
            "give a larger --batch or --resolution",
            "Expected more than",
        ),
        (
            ["record", "how-far", "--list", "--only", "x", "--force"],
            "--list takes NAME and --out alone, got it with --only, --force: leave out one",
            "cases",
        ),
        (["record", "--list", "--only", "x"], "got it with --only", "recorded"),
        (
            ["measure", "book-densenet", "--strategy", "gradient_accumulation", "--batch", "2"],
            "--batch is at least the 4 parts of --strategy gradient_accumulation, got 2",
            "images",
        ),
        (
            ["houses", "cv", "--folds", "fresh"],
            "--folds is 'book', 'fresh-N' or 'search-N' with N from 1 to 999, got 'fresh'; did you "
            "mean 'fresh-1'?",
            "a partition",
        ),
        (["train", "book-densenet", "--lr", "0.1"], "--learning-rate", "--help)"),
        (["train", "book-densenet", "--epochs"], "--epochs needs a value behind it", "_"),
        (
            ["train", "book-densenet", "--optimizer", "adam", "--momentum", "0.9"],
            "got it with 'adam': leave it out, or give --optimizer sgd",
            "_",
        ),
        (
            ["train", "book-resnet18", "--pooling", "max"],
            "got it with 'book-resnet18': leave it out, or give a NETWORK with densenet in",
            "_",
        ),
        (["check", "densenet", "a.py:B", "--as", "densenet"], "did you mean 'densenet121'?", "_"),
        (
            ["bench", "memory", "--batch", "100000000000", "--resolution", "3000"],
            "--batch and --resolution make an input of fewer than 2^59 elements",
            "Storage",
        ),
        (["train", "densenet121"], "got 'densenet121'", "did you mean"),
        (["--batch", "2", "bench", "memory"], "bench memory: write it after bench memory", "_"),
        (["--json", "check", "number", "5"], "write it after check number", "_"),
        (["--seeds", "2", "houses"], "houses cv, houses submit: write it after the command", "_"),
        (["check", "--folder", ".", "number", "5"], "--folder before a command is of no use", "_"),
        (["record", "--list", "nix"], "got 'nix'; record --list has all", "_"),
        (["record", "nix", "--device", "cpu"], "got 'nix'; record --list has all", "_"),
        (
            ["measure", "densenet121", "--strategy", "offload"],
            "cannot be predicted: add --device cuda to measure it",
            "cpu",
        ),
        (
            ["measure", "densenet121", "--batch", "100000", "--device", "cpu"],
            "GiB, as predicted, and this machine has",
            "_",
        ),
        (
            ["measure", "densenet121", "--strategy", "bfloat16"],
            "add --device cpu or --device cuda to measure it, or give --autocast bfloat16 in its",
            "and or",
        ),
        (["train", "book-densenet", "--learning-rate", "-1"], "--learning-rate is more", "rning_"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(command: list[str], said: str, unsaid: str) -> None:
    done = RUNNER.invoke(app, [*command, "--device", "cpu"] if command[0] == "bench" else command)
    text = words(done.output)
    assert done.exit_code == 2
    assert said in text
    assert unsaid not in text


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.write_text("mine", encoding="utf-8")
    for folder in (file, file / "below"):
        done = RUNNER.invoke(app, ["start", str(folder)])
        assert done.exit_code == 2
        assert f"{file} is a file, and a folder is needed" in words(done.output)
    assert file.read_text(encoding="utf-8") == "mine"


def test_no_course_is_begun_within_another_or_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, said in {"/dev/null": "is a file, and a f", "/proc/x": "cannot be writ"}.items():
        done = RUNNER.invoke(app, ["start", folder])
        assert done.exit_code == 2
        assert f"{folder} {said}" in done.stderr
    assert RUNNER.invoke(app, ["start", "."]).exit_code == 0
    done = RUNNER.invoke(app, ["start"])
    assert done.exit_code == 2
    assert "give . to write those that are missing" in words(done.output)
    assert not (tmp_path / "densenet-exercises").exists()


def test_a_file_that_is_no_record_is_named_without_our_classes(tmp_path: Path) -> None:
    (tmp_path / "how-far.json").write_text('{"name": "mine", "version": 1}', encoding="utf-8")
    folder = ["--out", str(tmp_path)]
    for command, way in {
        ("record", "--list"): "give another --out, or move the file away",
        ("record", "how-far", "--device", "cpu"): "record into another folder (--out), or replace",
    }.items():
        done = RUNNER.invoke(app, [*command, *folder])
        text = words(done.output)
        assert done.exit_code == 2
        assert "is not a record: command is missing; provenance is missing; " in text
        assert way in text
        assert "Record" not in text


def test_a_size_that_nobody_can_train_on_is_no_mistake_of_the_network(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torchvision.models import densenet121 as net\n", encoding="utf-8")
    done = RUNNER.invoke(app, ["check", "memory", f"{file}:net", *TOO_SMALL])
    assert done.exit_code == 2
    assert "give a larger --batch or --resolution" in words(done.output)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["start", ""], "a path is needed, got ''"),
        (["check", "--folder", " "], "a path is needed, got ' '"),
        (["record", "how-far", "--out", ""], "a path is needed, got ''"),
        (["houses", "submit", "--out", "d/"], "the name of a file is needed, got 'd/'"),
        (["train", "book-densenet", "--out", "d/"], "the name of a file is needed, got 'd/'"),
        (["train", "book-densenet", "--checkpoint", ""], "a path is needed, got ''"),
        (["record", "--list", "--out", "nowhere"], "nowhere is no folder: give one with records"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_path_that_is_none_is_refused_and_nothing_is_written(
    command: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = RUNNER.invoke(app, command)
    assert done.exit_code == 2
    assert said in words(done.output)
    assert not list(tmp_path.iterdir())


def test_a_link_to_nothing_is_there_already_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "exercise_2.py").symlink_to(tmp_path / "elsewhere")
    done = RUNNER.invoke(app, ["start", str(tmp_path)])
    assert done.exit_code == 0
    assert "exercise_2.py" not in done.output
    assert not (tmp_path / "elsewhere").exists()
    done = RUNNER.invoke(app, ["start", str(tmp_path / "exercise_2.py")])
    assert done.exit_code == 2
    assert "exercise_2.py is a link to nothing, and a folder is needed" in words(done.output)


def test_the_folder_of_a_file_to_write_is_told_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    out = tmp_path / "mine" / "m.json"
    done = RUNNER.invoke(app, ["train", "book-densenet", "--device", "cpu", "--out", str(out)])
    assert done.exit_code == 2
    said = f"--out {out}: {tmp_path / 'mine'} is a file, and a folder is needed"
    assert said in words(done.output)


def test_a_call_that_makes_a_function_is_checked_and_another_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "h.py"
    file.write_text(
        "import numpy as np\n"
        "class Mean:\n"
        "    def __call__(self, train, houses):\n"
        "        return np.full(len(houses), np.exp(np.log(train['SalePrice']).mean()))\n"
        "def none():\n"
        "    return 3\n",
        encoding="utf-8",
    )
    done = RUNNER.invoke(app, ["check", "houses", f"{file}:Mean()"])
    assert "over the book's five folds is 0.3995" in words(done.output)
    done = RUNNER.invoke(app, ["check", "houses", f"{file}:none()"])
    assert done.exit_code == 2
    assert f"{file}:none() returns int, and a function is needed: write" in words(done.output)
    done = RUNNER.invoke(app, ["check", "houses", f"{file}:Mean(k)"])
    assert done.exit_code == 1
    assert "Calling Mean(k) raises NameError: name 'k' is not defined your call" in words(
        done.output
    )


def test_sizes_that_a_reader_gave_are_not_the_books(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from densenet_solutions.models import book_densenet\n"
        "def block():\n"
        "    return book_densenet().features.denseblock1\n",
        encoding="utf-8",
    )
    sizes = ["--in-channels", "64", "--growth-rate", "32", "--layers", "3", "--no-bottleneck"]
    done = RUNNER.invoke(app, ["check", "block", f"{file}:block", *sizes])
    assert done.exit_code == 1
    assert "goes on after 3 layers; it should have 3." in words(done.output)
    assert "Book, section" not in words(done.output)


def test_commands_that_are_printed_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "my ex"
    done = RUNNER.invoke(app, ["start", str(folder)])
    assert f"then: cd '{folder}' && densenet-solutions check" in words(done.output)
    done = RUNNER.invoke(app, ["check", "--folder", str(tmp_path / "no ex")])
    assert f"`densenet-solutions start '{tmp_path / 'no ex'}'` writes a folder" in words(
        done.output
    )
    file = folder / "exercise_1.py"
    done = RUNNER.invoke(app, ["check", "--folder", str(file)])
    assert f"got a file: write check --only '{file}'" in words(done.output)


def test_a_recording_with_nothing_to_do_says_so(tmp_path: Path) -> None:
    command = ["record", "memory-grid-rehearsal", "--device", "cpu", "--out", str(tmp_path)]
    listed = RUNNER.invoke(app, ["record", "memory-grid-rehearsal", "--list"]).output
    case = listed.splitlines()[1].strip().removesuffix("not recorded").strip().strip("'")
    first = RUNNER.invoke(app, [*command, "--only", case])
    assert "nothing was left" not in first.output
    again = RUNNER.invoke(app, [*command, "--only", case])
    assert (
        "1 of 8 cases; nothing was left to measure; leave out --only for the others" in again.output
    )


def test_somebody_elses_densenet_is_told_from_ours() -> None:
    with pytest.raises(
        TypeError,
        match=r"takes a DenseNet, got DenseNet, of torchvision\.mod.*: build one .* exact",
    ):
        STRATEGIES["gates"].apply(densenet121())


def test_a_function_that_builds_is_to_be_called() -> None:
    with pytest.raises(TypeError, match="takes a DenseNet, got function: call it"):
        STRATEGIES["shared_storage"].apply(densenet121)


def test_a_folder_in_a_records_place_is_told_before_work(tmp_path: Path) -> None:
    (tmp_path / "how-far.json").mkdir()
    for force in ([], ["--force"]):
        done = RUNNER.invoke(
            app, ["record", "how-far", "--device", "cpu", "--out", str(tmp_path), *force]
        )
        assert done.exit_code == 2
        assert "how-far.json is a folder, and the name of a file is needed" in words(done.output)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
@pytest.mark.parametrize("command", [["--version"], ["--help"], ["check", "number", "7978856"]])
def test_a_full_standard_output_is_one_line(command: list[str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "densenet_solutions", *command],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]  # after progress, on a busy machine
    assert last == "Error: standard output: No space left on device"
    assert "Traceback" not in done.stderr


def test_what_cannot_be_read_is_not_said_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("Id,SalePrice\n", encoding="utf-8")

    read = Path.read_bytes

    def broken(path: Path) -> bytes:
        if path != file:  # a library that is imported now
            return read(path)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", broken)
    for command in (["houses", "score"], ["check", "houses"]):
        done = RUNNER.invoke(app, [*command, str(file)])
        assert done.exit_code == 1
        assert words(done.output) == f"Error: could not read {file}: Input/output error"


def test_a_step_takes_options_of_a_step() -> None:
    with pytest.raises(TypeError, match=r"train, optimizer, .* got 'strategy': give what STRATEG"):
        predict_memory(densenet121, (2, 3, 64, 64), strategy="shared_storage")
    with pytest.raises(TypeError, match="got a Tensor: give its shape"):
        predict_memory(densenet121, torch.zeros(2, 3, 64, 64))


def test_offloading_is_not_predicted_as_if_nothing_moved() -> None:
    offload = STRATEGIES["offload"]
    with pytest.raises(ValueError, match=r"offloading moves tensors, .* use measure_memory"):
        predict_memory(offload.apply(densenet121()), (2, 3, 64, 64), step=offload.step)
