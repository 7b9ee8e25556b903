"""What a newcomer got wrong is answered in the words of the command line, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from densenet_solutions.cli import app

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
            ["bench", "speed", *TOO_SMALL],
            "give a larger --batch or --resolution",
            "Expected more than",
        ),
        (["record", "how-far", "--list", "--only", "x"], "got 'x'", "cases"),
        (["train", "densenet121"], "got 'densenet121'", "did you mean"),
        (["train", "book-densenet", "--learning-rate", "-1"], "--learning-rate is more", "rning_"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(command: list[str], said: str, unsaid: str) -> None:
    done = CliRunner().invoke(
        app, [*command, "--device", "cpu"] if command[0] == "bench" else command
    )
    text = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == 2
    assert said in text
    assert unsaid not in text


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.write_text("mine", encoding="utf-8")
    for folder in (file, file / "below"):
        done = CliRunner().invoke(app, ["start", str(folder)], env={"COLUMNS": "300"})
        assert done.exit_code == 2
        assert f"{file} is a file, not a folder" in " ".join(done.output.replace("│", " ").split())
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_size_that_nobody_can_train_on_is_no_mistake_of_the_network(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torchvision.models import densenet121 as net\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["check", "memory", f"{file}:net", *TOO_SMALL])
    assert done.exit_code == 2
    assert "give a larger --batch or --resolution" in " ".join(
        done.output.replace("│", " ").split()
    )
