"""The exercises as a folder: what `start` writes, and what `check` says of it."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from densenet_solutions.check import Report, course, start
from densenet_solutions.check.course import EXERCISES, Exercise, begun
from densenet_solutions.cli import app
from tests.framed import RUNNER, words

SOLVED = {
    "dense_block.py": """
import torch
from torch import nn

class DenseBlock(nn.Module):
    def __init__(self, in_channels, growth_rate, layers):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, growth_rate, 3, padding=1))
            for c in range(in_channels, in_channels + layers * growth_rate, growth_rate)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return x
""",
    "exercise_1.py": """
from torch import nn

class Transition(nn.Sequential):
    def __init__(self, in_channels):
        super().__init__(
            nn.BatchNorm2d(in_channels), nn.ReLU(),
            nn.Conv2d(in_channels, in_channels // 2, 1, bias=False), nn.AvgPool2d(2),
        )
""",
    "exercise_2.py": """
def parameters(growth_rate, block_config, num_init_features, in_channels, num_classes):
    k, c = growth_rate, num_init_features
    total = 49 * in_channels * c + 2 * c
    for block, layers in enumerate(block_config):
        for _ in range(layers):
            total += 2 * c + 4 * k * c + 8 * k + 36 * k * k
            c += k
        if block < len(block_config) - 1:
            total += 2 * c + c * (c // 2)
            c //= 2
    return total + 2 * c + (c + 1) * num_classes
""",
    "exercise_3_1.py": """
def crossing(resolution):
    return {96: 35, 224: 7}[resolution]
""",
    "exercise_3_2.py": """
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import book_densenet

def network():
    return STRATEGIES["shared_storage"].apply(book_densenet())
""",
    "exercise_4.py": """
from torchvision.models import DenseNet

def densenet(growth_rate, block_config, num_init_features):
    return DenseNet(growth_rate, block_config, num_init_features)
""",
    "exercise_5.py": """
import numpy as np
from sklearn.linear_model import Ridge

def predict(train, houses):
    numbers = [c for c in train.select_dtypes("number") if c not in ("Id", "SalePrice")]
    mean, std = train[numbers].mean(), train[numbers].std()
    x, new = (((f[numbers] - mean) / std).fillna(0) for f in (train, houses))
    return np.exp(Ridge(10).fit(x, np.log(train["SalePrice"])).predict(new))
""",
}

#: file, what to replace by what, what is then said.
WRONG = [
    ("dense_block.py", "return x\n", "return x[:, 1:]\n", "output"),
    ("dense_block.py", "nn.ReLU(), ", "", "ReLU is missing"),
    ("dense_block.py", "nn.ModuleList(", "list(", "layers is a Python list of 4 layers"),
    (
        "dense_block.py",
        "padding=1",
        "padding=1, padding_mode='circular'",
        "padding 1 (circular), not padding 1",
    ),
    ("exercise_1.py", "AvgPool2d", "MaxPool2d", "max pooling (2×2, stride 2) and not average"),
    ("exercise_1.py", "Transition", "Transit", "exercise_1.py defines Transit"),
    ("exercise_1.py", "super()", "super(", "raises SyntaxError"),
    (
        "exercise_1.py",
        "class Transition(",
        "Transition = None\nclass Other(",
        "Transition is a class or a function, got None.",
    ),
    ("exercise_1.py", "AvgPool2d(2)", "AdaptiveAvgPool2d(28)", "(to 28×28, whatever the input)"),
    ("exercise_1.py", "// 2, 1,", "// 2, 3, padding=1,", "The convolution is 3×3 and not 1×1."),
    (
        "exercise_1.py",
        "in_channels // 2",
        "(in_channels + 1) // 2",
        "writes 4 of 7 channels and not 3",
    ),
    (
        "exercise_1.py",
        "nn.Conv2d(",
        "nn.Linear(8, 8), (lambda *a, **b: nn.ReLU())(",
        "There is no convolution.",
    ),
    ("exercise_2.py", "c //= 2", "pass", "not 7,978,856"),
    ("exercise_2.py", "c * (c // 2)\n            c //= 2", "c * c", "keep the number of channels"),
    ("exercise_2.py", "return total", "return 1.5 + total", "is an integer, got"),
    ("exercise_2.py", "2 * c + (c + 1)", "(c + 1)", "normalisation before the classifier is missi"),
    ("exercise_3_1.py", "35", "20", "a fifth off, and even with 25 DenseNet still needs less"),
    ("exercise_3_1.py", "224: 7", "224: 30", "even with 25 DenseNet already needs more"),
    ("exercise_3_1.py", "resolution]", "0]", "raises KeyError: 0"),
    ("exercise_3_1.py", "96: 35", "96: 10**400", "is 1 to 100,000 images, got about 10^400."),
    ("exercise_3_1.py", "96: 35", "96: -(10**5000)", "is 1 to 100,000 images, got about −10^5000."),
    ("exercise_3_1.py", "96: 35", "96: 10**7", "returns is at most 100000, got 10000000."),
    ("exercise_3_1.py", "96: 35", "96: True", "returns is an integer, got True."),
    ("exercise_3_1.py", "96: 35", "96: None", "returns is an integer, got None."),
    ("exercise_3_1.py", "96: 35", "96: '35'", "returns is an integer, got '35'."),
    ("exercise_3_1.py", "96: 35", "96: -3", "returns is at least 1, got -3."),
    (
        "exercise_3_1.py",
        "def crossing(resolution):\n    return {96: 35, 224: 7}[resolution]",
        "from functools import partial\ncrossing = partial(lambda n, resolution: n, 1.5)",
        "what your function returns is an integer, got 1.5",
    ),
    ("exercise_3_2.py", 'STRATEGIES["shared_storage"].apply', "", "Copies of earlier features"),
    ("exercise_3_2.py", "shared_storage", "saved_in_8_bits", "get another gradient"),
    (
        "exercise_4.py",
        "block_config, num_init_features)\n",
        "block_config[:3], 64)\n",
        "are 3 blocks",
    ),
    ("exercise_4.py", "features)\n", "features, num_classes=10)\n", "3 channels and 1000 classes"),
    (
        "exercise_4.py",
        "DenseNet(growth_rate,",
        "DenseNet(32 if growth_rate == 48 else growth_rate,",
        "DenseNet-161: ",
    ),
    ("exercise_4.py", "return DenseNet(", "return growth_rate(", "'int' object is not callable"),
    (
        "exercise_5.py",
        "def predict(",
        "predict = 'mine.csv'\ndef other(",
        "predict is a class or a function, got 'mine.csv'.",
    ),
    ("exercise_5.py", "train[numbers].mean()", "houses[numbers].mean()", "Leak"),
]


def said(folder: Path, *options: str) -> tuple[int, str]:
    done = RUNNER.invoke(app, ["check", "--folder", str(folder), *options])
    return done.exit_code, done.stdout + done.stderr


def test_start_writes_signatures_and_docstrings_and_no_answers(tmp_path: Path) -> None:
    written = start(tmp_path / "new")
    assert [path.name for path in written] == list(EXERCISES)
    for path in written:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                docstring, *rest = node.body
                assert isinstance(docstring.value.value, str)
                init = ["super().__init__()"] if node.name == "__init__" else []
                assert [ast.unparse(line) for line in rest] == init
                assert all(a.annotation for a in node.args.args if a.arg != "self")
            assert not isinstance(node, ast.Assign | ast.Raise)
        assert len(path.read_text()) < 800
    report = course(tmp_path / "new")
    assert report.open == tuple(EXERCISES)
    assert not report.passed
    assert not report.wrong


def test_start_leaves_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "exercise_1.py").write_text("mine")
    done = RUNNER.invoke(app, ["start", str(tmp_path)])
    assert done.exit_code == 0
    assert "exercise_1.py" not in done.stdout
    assert (tmp_path / "exercise_1.py").read_text() == "mine"
    assert "all files are in" in RUNNER.invoke(app, ["start", str(tmp_path)]).stdout


def test_right_answers_solve_everything(tmp_path: Path) -> None:
    for file, text in SOLVED.items():
        (tmp_path / file).write_text(text)
    code, out = said(tmp_path)
    assert code == 0, out
    assert "exercises: 7 solved, 0 open" in out


@pytest.mark.parametrize(
    ("file", "old", "new", "text"), WRONG, ids=[f"{row[0]}: {row[3]}" for row in WRONG]
)
def test_a_wrong_answer_is_told_and_the_rest_stays_open(
    tmp_path: Path, file: str, old: str, new: str, text: str
) -> None:
    start(tmp_path)
    assert old in SOLVED[file]
    (tmp_path / file).write_text(SOLVED[file].replace(old, new))
    code, out = said(tmp_path)
    assert code == 1
    assert "exercises: 0 solved, 1 wrong, 6 open" in out
    assert text in out
    assert f"✗ {EXERCISES[file].title}: " in out
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("body", "text", "where"),
    [
        ("pass", "DenseBlock.__init__ does not call super().__init__().", "5: def __init__(self, "),
        ("self.a = nn.ReLU()", "does not call super().__init__() first.", "6: self.a = nn.ReLU()"),
    ],
)
def test_a_module_without_super_is_told_and_the_others_too(
    tmp_path: Path, body: str, text: str, where: str
) -> None:
    start(tmp_path)
    (tmp_path / "dense_block.py").write_text(
        "from torch import nn\n\n\nclass DenseBlock(nn.Module):\n"
        f"    def __init__(self, in_channels, growth_rate, layers):\n        {body}\n\n"
        "    def forward(self, x):\n        return x\n"
    )
    code, out = said(tmp_path)
    assert code == 1
    assert f"✗ {EXERCISES['dense_block.py'].title}: DenseBlock.__init__ does not call" in out
    assert text in out
    assert f"dense_block.py, line {where}" in out
    assert "Exercise 5: open." in out
    assert "Traceback" not in out


def test_what_is_called_need_not_be_a_function(tmp_path: Path) -> None:
    """A partial function, or an object with `__call__`, has no name."""
    crossing = "def answer(where, resolution):\n    return {96: 35, 224: 7}[resolution]\n"
    (tmp_path / "exercise_3_1.py").write_text(
        f"import functools\n{crossing}crossing = functools.partial(answer, 'CPU')\n"
    )
    (tmp_path / "exercise_2.py").write_text(
        f"{SOLVED['exercise_2.py']}class Count:\n    def __call__(self, **sizes):\n"
        "        return right(**sizes)\nright, parameters = parameters, Count()\n"
    )
    _, out = said(tmp_path)
    assert "2 solved, 0 open, 5 missing" in out


#: file, what to replace by what, what is then said besides “solved”.
HARMLESS = [
    (
        "dense_block.py", "super().__init__()", "super().__init__(); self.n = nn.Parameter(x())",
        "Nothing uses 1 of the parameters: n.",
    ),
    ("dense_block.py", "(x, layer(x))", "(layer(x), x)", "concatenated in another order"),
    ("exercise_1.py", "bias=False", "bias=True", "The convolutions have biases."),
    (
        "exercise_1.py", "nn.Conv2d(", "nn.AvgPool2d(2), nn.Sequential, nn.Conv2d(",
        "average pooling (2×2, stride 2) comes before the convolution.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "text"), HARMLESS, ids=[r[3] for r in HARMLESS])
def test_what_differs_harmlessly_is_told_in_one_line(
    tmp_path: Path, file: str, old: str, new: str, text: str
) -> None:
    solved = SOLVED[file].replace(old, new).replace("x()", "torch.zeros(1)")
    if "Sequential, " in new:
        solved = solved.replace("nn.Sequential, ", "").replace("False), nn.AvgPool2d(2)", "False)")
    (tmp_path / file).write_text(solved)
    code, out = said(tmp_path, "--only", file)
    assert code == 0, out
    legend = "○ differs, and does no harm"
    told = out.splitlines()[2:]
    if told[0].startswith("○"):
        assert told.pop() == legend
    assert legend not in told
    assert [line.strip() for line in out.splitlines() if text in line] == told
    assert out.splitlines()[2].startswith(f"○ {EXERCISES[file].title}: ")


def test_where_the_check_itself_fails_the_other_verdicts_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(mine: object) -> Iterator[Report]:
        yield Report("nothing", ())
        raise IndexError("out of range")

    monkeypatch.setitem(EXERCISES, "exercise_1.py", Exercise("Exercise 1", "Transition", fails))
    for file in ("exercise_1.py", "exercise_2.py"):
        (tmp_path / file).write_text(SOLVED[file])
    code, out = said(tmp_path)
    assert code == 1
    assert "exercises: 1 solved, 0 open, 1 not checked" in out
    assert "not checked, because the check itself raises IndexError: out of range" in out
    assert "`densenet-solutions check --only exercise_1.py` shows the traceback." in out
    with pytest.raises(IndexError, match="out of range"):
        course(tmp_path, only="exercise_1.py")


def test_a_file_that_is_not_utf_8_is_told_and_the_others_are_checked(tmp_path: Path) -> None:
    solved = SOLVED["exercise_1.py"]
    (tmp_path / "exercise_1.py").write_text(solved)
    (tmp_path / "exercise_2.py").write_bytes("name = 'é'\n".encode("latin-1"))
    code, out = said(tmp_path)
    assert code == 1
    assert "exercises: 1 solved, 1 wrong, 0 open" in out
    assert "Exercise 2: Importing exercise_2.py raises SyntaxError" in out
    (tmp_path / "exercise_2.py").write_bytes(b"x = 1\0")
    said_twice = out + said(tmp_path)[1]
    assert said_twice.count(". Save it as UTF-8 text.") == 2
    assert "<frozen" not in said_twice
    (tmp_path / "exercise_1.py").write_bytes(f"# coding: latin-1\n# é{solved}".encode("latin-1"))
    assert said(tmp_path, "--only", "exercise_1.py")[0] == 0


def test_what_is_missing_is_named_and_does_not_pass(tmp_path: Path) -> None:
    inside = tmp_path / "densenet-exercises"
    inside.mkdir()
    code, out = said(tmp_path, "--only", "exercise_1.py")
    assert code == 2
    assert f"there is no exercise_1.py in '{tmp_path}': give --folder='{inside}'" in out
    (inside / "exercise_1.py").write_text(SOLVED["exercise_1.py"])
    (inside / "exercise_2.py").mkdir()
    code, out = said(inside)
    assert code == 1
    assert "exercises: 1 solved, 0 open, 6 missing" in out
    assert "There is no file dense_block.py, exercise_2.py, exercise_3_1.py, " in out
    assert f"`densenet-solutions start {inside}` writes what is missing." in out
    report = course(inside)
    assert not report.passed
    assert len(report.missing) == 6


def test_a_mistake_of_the_check_is_not_told_as_the_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(mine: object) -> Iterator[Report]:
        raise TypeError("ours")
        yield

    monkeypatch.setitem(EXERCISES, "exercise_1.py", Exercise("Exercise 1", "Transition", fails))
    (tmp_path / "exercise_1.py").write_text(SOLVED["exercise_1.py"])
    report = course(tmp_path)
    assert report.unchecked == ("exercise_1.py",)
    assert not report.mistaken


def test_what_is_imported_late_is_found_and_the_path_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "late_transition.py").write_text(SOLVED["exercise_1.py"])
    (tmp_path / "exercise_1.py").write_text(
        "def Transition(in_channels):\n"
        "    import late_transition\n    return late_transition.Transition(in_channels)\n"
    )
    before = list(sys.path)
    code, out = said(tmp_path, "--only", "exercise_1.py")
    assert code == 0, out
    assert sys.path == before


def test_one_file_and_json(tmp_path: Path) -> None:
    start(tmp_path)
    (tmp_path / "exercise_1.py").write_text(SOLVED["exercise_1.py"] + "\nprint('hello')\n")
    code, out = said(tmp_path, "--only", "exercise_1.py")
    assert code == 0
    assert "1 solved, 0 open" in out
    done = RUNNER.invoke(app, ["check", "--folder", str(tmp_path), "--json"])
    report = json.loads(done.stdout)
    assert report["solved"] == ["exercise_1.py"]
    assert report["passed"] is False
    assert len(report["open"]) == 6
    for path in (f"{tmp_path.name}/exercise_1.py", f"{tmp_path}/exercise_1.py"):
        code, out = said(tmp_path.parent, "--only", path)
        assert code == 0, out
        assert "1 solved, 0 open" in out
    code, out = said(tmp_path, "--only", "exercise_6.py")
    assert code == 2
    assert "--only is one of 'dense_block.py'" in out
    code, out = said(tmp_path / "nowhere")
    assert code == 2
    assert "densenet-solutions start" in words(out)


def test_it_works_in_a_notebook(tmp_path: Path) -> None:
    """As in Colab: write a file with `%%writefile`, or check what a cell defines."""
    cells = [
        "from densenet_solutions import check\n_ = check.start('mine')",
        "%%writefile mine/exercise_1.py\n" + SOLVED["exercise_1.py"],
        "check.course('mine')",
        SOLVED["exercise_1.py"].replace("AvgPool2d", "MaxPool2d"),
        "check.transition(Transition(8), 8)",
        "class Broken(Transition):\n    def forward(self, x):\n        return x.nonsense()",
        "check.transition(Broken(8), 8)",
    ]
    notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
    NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert "1 solved, 6 open" in shown[0]
    assert "max pooling" in shown[1]
    assert "your cell, line 3: return x.nonsense()" in shown[2]
    nbformat.validate(notebook)


def test_a_file_that_an_earlier_version_wrote_is_not_begun(tmp_path: Path) -> None:
    start(tmp_path)
    path = tmp_path / "exercise_3_1.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("By the whole peak", "By what you like"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    assert not begun(path)
    path.write_text(text + "    return 3\n", encoding="utf-8")
    assert begun(path)


def test_what_is_missing_from_a_folder_is_told_with_a_command_that_works(tmp_path: Path) -> None:
    start(tmp_path)
    (tmp_path / "exercise_4.py").unlink()
    with pytest.raises(ValueError, match=r"start .+` writes those that are missing"):
        course(tmp_path, only="exercise_4.py")
    assert start(tmp_path) == (tmp_path / "exercise_4.py",)
    (tmp_path / "exercise_4.py").unlink()
    (tmp_path / "exercise_4.py").mkdir()
    with pytest.raises(ValueError, match=r"exercise_4\.py is a folder, and an exercise is a file"):
        course(tmp_path, only="exercise_4.py")
