"""One vocabulary: every command is named, its choices are listed, faults are a line."""

import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from densenet_solutions import __version__, progress
from densenet_solutions.cli import COMMANDS, app
from densenet_solutions.cli.options import NETWORKS, SMALL, STRATEGIES

WIDE = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), env=WIDE)
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


def test_help_names_every_command_and_gives_no_completion() -> None:
    code, text = run("--help")
    assert code == 0
    for name in COMMANDS:
        assert f" {name} " in text
        code, page = run(name, "--help")
        assert code == 0
        assert "completion" not in page


@pytest.mark.parametrize("command", [["measure"], ["bench", "memory"], ["train"], ["record"]])
def test_one_thing_has_one_name(command: list[str]) -> None:
    _, text = run(*command, "--help")
    for other in ("--side", "--variant", "--batch-size", "--image-size"):
        assert other not in text
    assert "--device" in text


def test_help_and_tables_name_the_same_networks_and_strategies() -> None:
    from densenet_solutions.memory import STRATEGIES as TABLE
    from densenet_solutions.models import NETWORKS as CATALOGUE

    assert set(NETWORKS) == set(CATALOGUE)
    assert set(STRATEGIES) == set(TABLE)
    _, text = run("measure", "--help")
    assert all(name in text for name in (*NETWORKS, *STRATEGIES))
    _, text = run("train", "--help")
    assert all(name in text for name in SMALL)


def test_help_says_what_many_seeds_cost() -> None:
    _, text = run("houses", "cv", "--help")
    assert "a fit takes about a second" in text


def test_the_version_is_told() -> None:
    assert run("--version") == (0, f"densenet-solutions {__version__}")


@pytest.mark.parametrize("command", [[], ["houses"], ["measure"], ["bench", "memory"], ["train"]])
def test_help_does_not_wait_for_pytorch(command: list[str]) -> None:
    code = (
        "import sys; from densenet_solutions.cli import app\n"
        f"sys.argv[1:] = {[*command, '--help']}\n"
        "try: app()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.perf_counter() - start < 5  # about 0.3 s on an idle machine


@pytest.mark.parametrize(
    "command",
    [
        ["measure", "book-densenet"],
        ["train", "book-densenet"],
        ["record", "how-far"],
        ["bench", "speed"],
        ["bench", "memory"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("device", ["gpu", "CPU", "", "cuda", "mps", "cpu:x"])
def test_a_device_that_is_not_there_is_a_line(
    command: list[str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, text = run(*command, "--device", device)
    assert code == 2
    assert "Traceback" not in text
    assert "needs a CUDA GPU" in text if device == "cuda" else "device is 'cpu' or 'cuda'" in text


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["measure", "densenet12"], "NETWORK is one of"),
        (["measure", "book-densenet", "--strategy", "hope"], "--strategy is one of"),
        (["measure", "book-densenet", "--batch", "100000000000000000000"], "fewer than 2^59"),
        (["train", "densenet121"], "NETWORK is one of"),
        (["train", "book-resnet18", "--pooling", "max"], "option of DenseNets"),
        (["train", "book-densenet", "--learning-rate", "inf"], "learning_rate is finite"),
        (["train", "book-densenet", "--out", "/proc/no/metrics.json"], "cannot be written to"),
        (["train", "book-densenet", "--out", "/tmp"], "is a folder"),
        (["bench", "memory", "book-densenet"], "NETWORK is one of"),
        (["record"], "--list names them"),
        (["record", "nonsense"], "recordings are"),
        (["record", "how-far", "--only", "nosuch"], "nosuch"),
        (["houses", "submit", "--out", "/tmp"], "is a folder"),
        (["houses", "cv", "--folds", "lucky"], "lucky"),
        (["houses", "cv", "--seeds", "100000"], "seeds"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_fault_is_told_before_work_begins(command: list[str], message: str) -> None:
    code, text = run(*command)
    assert code == 2
    assert message in text


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["measure", "book-densenet", "--batch", "1", "--device", "cpu"], "book-densenet"),
        (["bench", "memory", "--resolution", "5"], "densenet121"),
        (["check", "memory", "densenet_solutions.models:book_densenet"], "checking"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_work_that_takes_long_says_so_in_a_pipe(
    command: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0)
    done = CliRunner().invoke(app, command, env=WIDE)
    assert done.stderr.startswith(line)
    assert not done.stdout.startswith(line)


def test_a_recording_does_not_go_into_a_file(tmp_path) -> None:
    file = tmp_path / "records"
    file.write_text("mine")
    code, text = run("record", "memory-grid-rehearsal", "--out", str(file))
    assert code == 2
    assert "is a file" in text
    assert file.read_text() == "mine"
