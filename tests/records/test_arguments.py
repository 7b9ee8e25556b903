"""Hostile arguments to the records' public functions, right ones beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from densenet_solutions.exercises import recipes
from densenet_solutions.files import write_bytes_atomically, write_text_atomically
from densenet_solutions.images import as_inputs
from densenet_solutions.measure.parameters import ParameterCount
from densenet_solutions.records import load_record, provenance, record_names
from densenet_solutions.records.closure import fingerprint, root
from densenet_solutions.records.recorder import Recipe, run_recipe
from densenet_solutions.records.serialise import dumps, from_json, to_json

#: `as_inputs` is no measurement, but a function of the package: these calls never get that far.
RECIPE = Recipe("tiny", {"a": 1, "b": 2}, as_inputs)
NO_GPU = not torch.cuda.is_available()


def run(recipe: object = RECIPE, **options: object) -> Callable[[Path], object]:
    return lambda folder: run_recipe(recipe, **({"directory": folder} | options))  # type: ignore


def file_for_folder(folder: Path) -> object:
    (folder / "file").write_text("")
    return run_recipe(RECIPE, directory=folder / "file")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (run(only=["c"]), ValueError, "a case of .* is one of 'a', 'b', got 'c'"),
        (run(only="ab"), TypeError, "only is a sequence of names of cases, got 'ab'"),
        (run(device="gpu"), ValueError, "device is 'cpu' or 'cuda' .* got 'gpu'"),
        (run(device=""), ValueError, "device is 'cpu' or 'cuda' .* got ''"),
        pytest.param(
            run(device="cuda"),
            ValueError,
            "needs a CUDA GPU",
            marks=pytest.mark.skipif(not NO_GPU, reason="there is a GPU"),
        ),
        (run(directory="/proc/nowhere"), ValueError, "/proc/nowhere cannot be written to"),
        (file_for_folder, ValueError, "file is a file, and a folder is needed"),
        (run(recipe="tiny"), TypeError, "a Recipe, got 'tiny'"),
        (run(Recipe("Tiny", {}, as_inputs)), ValueError, "lower-case words .* got 'Tiny'"),
        (run(Recipe("tiny", {"a": 1}, print)), ValueError, "a function of builtins"),
        (run(Recipe("tiny", {}, as_inputs)), None, ""),
        (lambda _: load_record("no-such-record"), FileNotFoundError, "there are: bench-at-work, "),
        (lambda _: load_record("../secret"), ValueError, "lower-case words"),
        (lambda _: load_record(""), ValueError, "lower-case words"),
        (lambda _: load_record(None), TypeError, "name of a record is text, got None"),
        (lambda _: load_record("how-far"), None, ""),
        (lambda folder: record_names(str(folder)), None, ""),
        (lambda folder: record_names(folder / "nowhere"), None, ""),
        (lambda _: recipes.recipe("nonsense"), ValueError, "NAME is one of .* got 'nonsense'"),
        (lambda _: recipes.recipe(None), ValueError, "NAME is one of .* got None"),
        (lambda _: provenance("gpu"), ValueError, "device is 'cpu' or 'cuda'"),
        (lambda _: provenance(None), ValueError, "device is 'cpu' or 'cuda'"),
        (lambda _: provenance("cpu", ["no-such-library"]), None, ""),
        (lambda _: fingerprint(["nowhere.py"]), FileNotFoundError, "nowhere.py"),
        (lambda _: root(len), ValueError, "a function of builtins"),
        (lambda _: to_json({1, 2}), TypeError, "not JSON serializable"),
        (lambda _: to_json(torch.zeros(1)), TypeError, "not JSON serializable"),
        (lambda _: dumps(float("nan")), ValueError, "not JSON compliant"),
        (lambda _: from_json(ParameterCount, None), ValueError, "ParameterCount"),
        (lambda _: from_json(int, "3"), ValueError, "int is expected, got '3'"),
        (lambda _: from_json(int, 3), None, ""),
        (lambda folder: write_text_atomically(folder, ""), OSError, "could not write"),
        (lambda folder: write_bytes_atomically(folder / "x", "text"), TypeError, "bytes"),
        (lambda folder: write_bytes_atomically(str(folder / "x"), b""), None, ""),
    ],
)
def test_arguments(
    tmp_path: Path, call: Callable, error: type[Exception] | None, message: str
) -> None:
    if error is None:
        call(tmp_path)
        return
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message) as raised:
        call(tmp_path)
    assert "\n" not in str(raised.value)
    left = [path.name for path in tmp_path.iterdir() if path not in before]
    assert left in ([], ["file"]), "something was left behind"
