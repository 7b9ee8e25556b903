"""One vocabulary: every command is named, its choices are listed, faults are a line."""

import importlib
import inspect
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer

from densenet_solutions import __version__, progress
from densenet_solutions.cli import COMMANDS, app
from densenet_solutions.cli.options import NETWORKS, SMALL, STRATEGIES
from densenet_solutions.exercises.recipes import RECORDINGS
from tests.framed import RUNNER, words

#: Every command that does something.
LEAVES = [
    *(["measure"], ["train"], ["record"], ["bench", "memory"]),
    *(["houses", name] for name in ("cv", "submit", "score")),
    *(["check", name] for name in ("number", "densenet", "memory", "houses")),
]


def run(*arguments: str) -> tuple[int, str]:
    done = RUNNER.invoke(app, list(arguments))
    return done.exit_code, words(done.output)


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


def options(command: Any) -> list[str]:
    found = [name for one in command.params for name in one.opts if name.startswith("-")]
    return found + [
        name for one in getattr(command, "commands", {}).values() for name in options(one)
    ]


def test_options_are_called_what_the_pages_call_them() -> None:
    # Typer 0.25 to 0.27 take a metavar of the option's own name, DEVICE, for the option.
    apps = [importlib.import_module(module).app for module in COMMANDS.values()]
    found = [name for app in apps for name in options(typer.main.get_command(app))]
    assert {"--device", "--strategy", "--batch", "--json", "--list"} <= set(found)
    assert all(name == name.lower() for name in found)


def test_help_and_tables_name_the_same_networks_and_strategies() -> None:
    from densenet_solutions.memory import STRATEGIES as TABLE
    from densenet_solutions.models import NETWORKS as CATALOGUE

    assert set(NETWORKS) == set(CATALOGUE)
    by_family = [(family, name) for family, names in STRATEGIES.items() for name in names]
    assert by_family == [(one.family, name) for name, one in TABLE.items()]
    _, text = run("measure", "--help")
    assert all(name in text for name in (*NETWORKS, *STRATEGIES, *TABLE))
    _, text = run("train", "--help")
    assert all(name in text for name in SMALL)
    _, text = run("record", "--help")
    assert all(name in text for name in RECORDINGS)
    code, text = run("measure", "--list-strategies")
    assert code == 0
    assert all(f"{name} {one.summary} (" in text for name, one in TABLE.items())


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_what_is_to_be_filled_in_is_in_capitals(command: list[str]) -> None:
    """But for types, which Typer writes as `<str>`, and choices."""
    text = RUNNER.invoke(app, [*command, "--help"]).stdout
    (usage,) = (line for line in text.splitlines() if "Usage: " in line)
    assert not re.findall(r"[\[{][a-z][^\]}]*[\]}]", usage)
    assert "list[" not in text


def test_help_says_what_many_seeds_cost() -> None:
    _, text = run("houses", "cv", "--help")
    assert "three times as many take three times as long" in text


def test_the_version_is_told() -> None:
    assert run("--version") == (0, f"densenet-solutions {__version__}")


HEAVY = {"torch", "torchvision", "pandas", "sklearn", "matplotlib"}


@pytest.mark.parametrize(
    ("command", "loaded"),
    [
        *((f"{name} --help".split(), set()) for name in ("", *COMMANDS, "bench memory")),
        (["record", "nonsense"], set()),
        (["measure", "nonsense"], set()),
        (["record", "how-far", "--only", "nonsense"], {"torch"}),  # 1.5 s without torchvision, too
        (["record", "memory-grid", "--only", "nonsense"], {"torch"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_and_refusals_load_no_more_than_they_need(
    command: list[str], loaded: set[str]
) -> None:
    code = (
        "import sys; from densenet_solutions.cli import app\n"
        f"sys.argv[1:] = {command}\n"
        "try: app()\nexcept SystemExit: pass\n"
        f"print({HEAVY} & set(sys.modules))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str(loaded)
    assert time.perf_counter() - start < 20  # 0.3 s, or 2 with PyTorch, on an idle machine


@pytest.mark.parametrize(
    "command",
    [
        ["measure", "book-densenet"],
        ["train", "book-densenet"],
        ["record", "how-far"],
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
        (["train", "book-densenet", "--learning-rate", "inf"], "--learning-rate is finite"),
        (["train", "book-densenet", "--out", "/proc/no/metrics.json"], "cannot be written to"),
        (["train", "book-densenet", "--out", "/tmp"], "is a folder"),
        (["bench", "memory", "book-densenet"], "NETWORK is one of"),
        (["start", "/proc"], "FOLDER /proc cannot be written to; give another folder"),
        (["--json", "measure"], "check houses: write it after measure"),
        (["measure", "densenet121", "--batch"], "--batch needs a value behind it; --help says"),
        (["bench", "densenet121"], "bench has no command 'densenet121': it is memory"),
        (["check", "this"], "check has no command 'this': it is one of number, densenet, block,"),
        (["chekc"], "densenet-solutions has no command 'chekc': did you mean 'check'?"),
        (["houses", "cv", "--out", "x"], "No such option: --out; --help lists those of houses cv"),
        (["measure", "--version"], "--version stands before measure, and without it"),
        (["record"], "--list names them"),
        (["record", "nonsense"], "NAME is one of"),
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
    ("command", "meant"),
    [
        (["mesure"], "measure"),
        (["measure", "densenet-121"], "densenet121"),
        (["measure", "Book Densenet"], "book-densenet"),
        (["measure", "densenet121", "--strategy", "shared-storage"], "shared_storage"),
        (["bench", "memory", "densenet12l"], "densenet121"),
        (["train", "book_densenet"], "book-densenet"),
        (["check", "densenet", "densenet_solutions.models:densenet121", "--as", "dense-net121"],
         "densenet121"),
        (["record", "howfar"], "how-far"),
        (["record", "how-far", "--only", "shared-storage-8gib"], "shared_storage-8gib"),
        (["record", "memory-grid", "--only", "densenet121 96 b1 train float23"],
         "densenet121 96 b1 train float32"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_misspelt_name_is_recognised(command: list[str], meant: str) -> None:
    code, text = run(*command)
    assert code == 2
    assert f"id you mean '{meant}'?" in text
    assert len(text) < 2000  # hundreds of cases are not all shown


@pytest.mark.parametrize(
    "command",
    [
        ["measure", "book-densenet", "--device", "cuda:1"],
        ["measure", "book-densenet", "--strategy", "offload"],
        ["bench", "memory", "--device", "cuda:1"],
        ["record", "how-far", "--only", "nosuch"],
        ["houses", "submit", "--out", "/tmp"],
    ],
    ids=" ".join,
)
def test_a_refusal_is_all_that_is_said(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(progress, "FIRST", 0)
    done = RUNNER.invoke(app, command)
    assert done.exit_code == 2
    assert done.stderr.startswith("Usage: ")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["measure", "book-densenet", "--batch", "1", "--device", "cpu"], "book-densenet"),
        (["check", "memory", "densenet_solutions.models:book_densenet"], "checking"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_work_that_takes_long_says_so_in_a_pipe(
    command: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0)
    done = RUNNER.invoke(app, command)
    assert done.stderr.startswith(line)
    assert not done.stdout.startswith(line)


def test_a_recording_does_not_go_into_a_file(tmp_path) -> None:
    file = tmp_path / "records"
    file.write_text("mine")
    code, text = run("record", "memory-grid-rehearsal", "--out", str(file))
    assert code == 2
    assert "is a file" in text
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "book-densenet", "--optimizer", "adam", "--momentum", "0.9"], "option of sgd"),
        (["measure", "densenet121", "--infer", "--optimizer", "adam"], "has no optimizer"),
        (["record", "how-far-gpu", "--device", "cpu", "--only", "plain"], "use --device cuda"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run(*arguments)
    assert code == 2
    assert said in text


def test_what_can_only_be_measured_is_marked() -> None:
    from densenet_solutions.memory import STRATEGIES as TABLE

    _, text = run("measure", "--list-strategies")
    assert text.count("needs --device") == sum(not row.predictable for row in TABLE.values())
    assert text.count("needs --device and --infer") == 1


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_help_breaks_no_choice_on_80_columns(command: list[str]) -> None:
    """Every choice of an option stands in its help as a word."""
    module = importlib.import_module(COMMANDS[command[0]])
    group = typer.main.get_command(module.app)
    leaf = group.commands[command[1]] if len(command) > 1 else group
    declared = inspect.signature(leaf.callback, eval_str=True).parameters.values()
    text = RUNNER.invoke(app, [*command, "--help"], env={"COLUMNS": "80"}).stdout
    for parameter in declared:
        kind, *_ = get_args(parameter.annotation) or (parameter.annotation,)
        for one in (kind, *get_args(kind)):
            for choice in get_args(one) if get_origin(one) is Literal else ():
                assert re.search(rf"(?<![\w|<]){choice}(?![\w|>])", text), choice


def test_short_help_and_the_text_of_a_group() -> None:
    for command in ([], ["houses"], ["houses", "cv"], ["measure"]):
        assert run(*command, "-h") == run(*command, "--help")
        assert run(*command, "-h")[0] == 0
    assert "the ensemble that the recorded search chose" in run("houses", "--help")[1]


def test_start_takes_a_folder_and_refuses_one_in_place_of_a_file(tmp_path: Path) -> None:
    assert "[FOLDER]" in run("start", "--help")[1]
    (tmp_path / "exercise_1.py").mkdir()
    code, text = run("start", str(tmp_path))
    assert code == 2
    assert "exercise_1.py is a folder, and an exercise is a file" in text
    assert [path.name for path in tmp_path.iterdir()] == ["exercise_1.py"]


def test_houses_say_seeds_rows_and_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **options: object) -> None:
        raise ValueError("enough")

    monkeypatch.setattr("densenet_solutions.houses.models.Ensemble.predict", stop)
    _, text = run("houses", "cv", "--folds", "fresh-3", "--seeds", "4")
    assert "each with seeds 0 to 3, on five folds, partition fresh-3" in text
    _, text = run("houses", "cv")
    assert "each with seed 0, on five folds, partition book" in text
    _, text = run("houses", "submit", "--out", str(tmp_path / "unwritten.csv"))
    assert "each with seed 0, on all 1460 training houses" in text


def test_columns_in_the_other_order_are_said_to_be(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("SalePrice,Id\n100000,1461\n", encoding="utf-8")
    code, text = run("houses", "score", str(file))
    assert code == 1
    assert text.endswith("got ['SalePrice', 'Id']: in the other order")
