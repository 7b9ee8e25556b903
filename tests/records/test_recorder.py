"""Recording resumes, keeps what was finished, and says when the code has changed."""

from dataclasses import replace

import pytest
import torch

from densenet_solutions.exercises import recipes
from densenet_solutions.records import load_record, record_names
from densenet_solutions.records.recorder import Recipe, run_recipe
from densenet_solutions.records.store import fingerprint, save_record


def recipe_of(measure, cases=("a", "b", "c")):
    return Recipe("tiny", dict.fromkeys(cases, 2), measure, ["files.py"], seed=0)


def test_every_case_is_recorded_in_the_recipes_order(tmp_path):
    seen = []
    recipe = recipe_of(lambda case, device: {"value": case + 1})
    record = run_recipe(
        recipe, directory=tmp_path, progress=lambda case, done, total: seen.append((case, done))
    )
    assert record.cases == {name: {"value": 3} for name in "abc"}
    assert load_record("tiny", tmp_path) == record
    assert record_names(tmp_path) == ["tiny"]
    assert record.command == "densenet-solutions record tiny --device cpu"
    assert not record.is_stale
    assert seen == [("a", 0), ("b", 1), ("c", 2), ("", 3)]


def test_killed_in_the_middle_it_resumes_where_it_stopped(tmp_path):
    calls = []

    def measure(case, device):
        calls.append(case)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return len(calls)

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe_of(measure), directory=tmp_path)
    assert load_record("tiny", tmp_path).cases == {"a": 1}
    assert run_recipe(recipe_of(measure), directory=tmp_path).cases == {"a": 1, "b": 3, "c": 4}


def test_out_of_memory_is_a_result(tmp_path):
    def measure(case, device):
        raise torch.OutOfMemoryError("too big")

    record = run_recipe(recipe_of(measure, ("a",)), directory=tmp_path)
    assert record.cases == {"a": {"out_of_memory": True}}


def test_a_record_of_older_code_starts_afresh(tmp_path):
    old = run_recipe(recipe_of(lambda case, device: "old"), directory=tmp_path)
    save_record(replace(old, fingerprint="0" * 64), tmp_path)
    assert load_record("tiny", tmp_path).is_stale
    assert "earlier version of the code" in load_record("tiny", tmp_path).origin
    new = run_recipe(recipe_of(lambda case, device: "new"), directory=tmp_path)
    assert set(new.cases.values()) == {"new"}


def test_only_some_cases(tmp_path):
    recipe = recipe_of(lambda case, device: 1)
    assert run_recipe(recipe, directory=tmp_path, only=["c"]).cases == {"c": 1}
    assert list(run_recipe(recipe, directory=tmp_path).cases) == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"has the cases \['a', 'b', 'c'\], got \['d'\]"):
        run_recipe(recipe, directory=tmp_path, only=["d"])


def test_the_fingerprint_ignores_comments_and_docstrings_only(tmp_path, monkeypatch):
    monkeypatch.setattr("densenet_solutions.records.store._PACKAGE", tmp_path)
    source = tmp_path / "m.py"

    def of(text):
        source.write_text(text)
        return fingerprint(["m.py"])

    plain = of("def f():\n    return 1\n")
    assert of('"""Doc."""\n\ndef f():  # why\n    """Doc."""\n    return 1\n') == plain
    assert of("def f():\n    return 2\n") != plain


@pytest.mark.parametrize("text", ["not json", "[]", '{"name": "x"}', "{}"])
def test_a_file_that_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match=r"bad\.json is not a record"):
        load_record("bad", tmp_path)


def test_a_record_that_was_edited_by_hand_is_refused(tmp_path):
    run_recipe(recipe_of(lambda case, device: {"error": 0.125}), directory=tmp_path)
    (path,) = tmp_path.glob("*.json")
    load_record(path.stem, tmp_path)
    path.write_text(path.read_text().replace("0.125", "0.115", 1))
    with pytest.raises(ValueError, match="was edited after it was recorded"):
        load_record(path.stem, tmp_path)


def test_the_fingerprint_is_the_same_under_every_python(tmp_path, monkeypatch):
    """Computed once under 3.11, 3.12 and 3.13: their trees differ in fields and f-strings."""
    monkeypatch.setattr("densenet_solutions.records.store._PACKAGE", tmp_path)
    (tmp_path / "m.py").write_text(
        """async def f(a, *, b=None):
    return f"{a['x']!r:>{b}} {{}}" if a else [x async for x in b]
"""
    )
    expected = "553d9b55c4a46647c9b5f7ef1349e5ef2e49b1e7145beb1c465f9fd8beff810f"
    assert fingerprint(["m.py"]) == expected


def test_names_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are: none"):
        load_record("missing", tmp_path)
    with pytest.raises(ValueError, match="lower-case words"):
        load_record("../secret", tmp_path)
    with pytest.raises(ValueError, match="recordings are"):
        recipes.recipe("missing")


@pytest.mark.parametrize("name", record_names() or [pytest.param("", marks=pytest.mark.skip)])
def test_every_committed_record_reads(name):
    record = load_record(name)
    assert record.name == name
    assert record.cases


def test_every_recipe_builds_and_its_sources_exist():
    for name in recipes.RECIPES:
        recipe = recipes.recipe(name)
        assert recipe.name == name
        assert recipe.cases
        assert fingerprint(recipe.sources)
