"""What one reader's file changes for the whole program fails no other, and is named."""

from __future__ import annotations

import builtins
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from densenet_solutions.check import course, house_prices
from densenet_solutions.check.settings import Settings

from .test_course import SOLVED

#: A line, and what is said where a forward pass has it, if that is wrong.
LINES = {
    "torch.set_grad_enabled(False)": "leaves torch.set_grad_enabled(False) behind",
    "torch.set_default_dtype(torch.float16)": "leaves torch.set_default_dtype(torch.float16) b",
    'torch.set_default_device("meta")': 'leaves torch.set_default_device("meta") behind',
    "torch.manual_seed(3)": "",
    "torch.use_deterministic_algorithms(True)": "",
    "torch.set_num_threads(torch.get_num_threads() + 1)": "",
    "torch.set_autocast_enabled('cpu', True)": "Autocast is on inside the network",
    "torch.autograd.set_detect_anomaly(True)": "",
    "import warnings; warnings.simplefilter('error')": "",
    "import os; os.chdir('/')": "",
    "import sys; sys.path.clear()": "",
    "import sys; sys.stdout = None": "",
    "import builtins; builtins.print = None": "",
    "import random; random.seed(3)": "",
    "import numpy; numpy.random.seed(3)": "",
}


def state() -> list[object]:
    seeds = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002
    program = Path.cwd(), [*sys.path], sys.stdout, builtins.print, [*warnings.filters]
    return [Settings.now(), *seeds, *program]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("place", ["file", "forward"])
def test_a_setting_stays_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    block = SOLVED["dense_block.py"]
    changed = f"import torch\n{line}\n{block}"
    if place == "forward":
        changed = block.replace("        for layer in", f"        {line}\n        for layer in")
    Path("dense_block.py").write_text(changed)
    Path("exercise_1.py").write_text(SOLVED["exercise_1.py"])
    before = state()
    report = course(".")
    assert state() == before
    assert "exercise_1.py" in report.solved
    wrong = LINES[line] if place == "forward" else ""
    if "meta" in line and place == "file":
        wrong = f"Your file has called {line}."
    assert ("dense_block.py" in report.solved) == (not wrong), str(report)
    assert wrong in str(report)
    noted = place == "file" and ("grad_enabled" in line or "dtype" in line)
    assert (f"Your file calls {line}." in str(report)) == noted


def test_a_file_runs_with_its_own_settings(tmp_path: Path) -> None:
    (tmp_path / "exercise_2.py").write_text(
        "import torch\ntorch.set_default_dtype(torch.float64)\n"
        + SOLVED["exercise_2.py"].replace(
            "    total = ", "    assert torch.zeros(1).dtype == torch.float64\n    total = "
        )
    )
    report = course(tmp_path)
    assert report.solved == ("exercise_2.py",), str(report)
    assert torch.get_default_dtype() == torch.float32


def test_what_a_function_fails_of_is_named(tmp_path: Path) -> None:
    (tmp_path / "exercise_5.py").write_text(
        "import torch\ntorch.set_grad_enabled(False)\ndef predict(train, houses):\n"
        "    torch.nn.Linear(2, 1)(torch.ones(3, 2)).sum().backward()\n"
    )
    (said,) = course(tmp_path).wrong
    assert "does not require grad" in said.text
    assert "Your file has called torch.set_grad_enabled(False)." in said.text


def test_a_function_leaves_the_callers_settings() -> None:
    def predict(train: object, houses: object) -> None:
        torch.set_grad_enabled(False)
        raise RuntimeError

    assert not house_prices(predict).passed
    assert torch.is_grad_enabled()
