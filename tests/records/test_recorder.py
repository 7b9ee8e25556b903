"""Recording resumes, keeps what was finished, and says when the code has changed."""

import functools
import itertools
from dataclasses import replace

import pytest
import torch

from densenet_solutions.exercises import recipes
from densenet_solutions.images import as_inputs
from densenet_solutions.records import Record, load_record, provenance, record_names
from densenet_solutions.records.closure import fingerprint
from densenet_solutions.records.recorder import Recipe, run_recipe
from densenet_solutions.records.store import loaded, save_record


def recipe_of(measure, cases=("a", "b", "c")):
    # As if a module of the package measured: a record depends on the package's code alone.
    functools.update_wrapper(measure, provenance, assigned=("__module__",), updated=())
    del measure.__wrapped__
    return Recipe("tiny", dict.fromkeys(cases, 2), measure, seed=0, uses=lambda case: [as_inputs])


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
    assert not record.stale_cases
    assert record.made["a"].roots == ("images.py", "records/store.py")
    assert "torchvision" in record.provenance.packages
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


def too_big_for_the_cpu(case, device):
    torch.empty(10**15, dtype=torch.uint8)


def too_big_for_a_gpu(case, device):
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("measure", [too_big_for_the_cpu, too_big_for_a_gpu])
def test_out_of_memory_is_a_result(tmp_path, measure):
    record = run_recipe(recipe_of(measure, ("a", "b")), directory=tmp_path)
    assert record.cases == {case: {"out_of_memory": True} for case in "ab"}
    assert record.out_of_memory == ("a", "b")


def test_other_errors_are_errors(tmp_path):
    def measure(case, device):
        raise RuntimeError("mat1 and mat2 do not fit")

    with pytest.raises(RuntimeError, match="mat1"):
        run_recipe(recipe_of(measure), directory=tmp_path)


def aged(record: Record, *cases: str) -> Record:
    """The record, as if these cases had been measured by other code."""
    old = {case: replace(record.made[case], fingerprint="0" * 64) for case in cases}
    return replace(record, made={**record.made, **old})


def test_what_older_code_has_measured_is_replaced_only_on_request(tmp_path):
    old = run_recipe(recipe_of(lambda case, device: "old"), directory=tmp_path)
    save_record(aged(old, "b"), tmp_path)
    assert load_record("tiny", tmp_path).stale_cases == ("b",)
    recipe = recipe_of(lambda case, device: "new")
    with pytest.raises(ValueError, match=r"was made by other code: b\..*--out.*--force"):
        run_recipe(recipe, directory=tmp_path)
    assert load_record("tiny", tmp_path) == aged(old, "b")
    new = run_recipe(recipe, directory=tmp_path, force=True)
    assert new.cases == {"a": "old", "b": "new", "c": "old"}
    assert not new.stale_cases


def test_a_page_says_which_cases_are_of_older_code(tmp_path):
    record = run_recipe(recipe_of(lambda case, device: 1), directory=tmp_path)
    assert "earlier" not in record.origin
    said = "recorded with an earlier version of the code"
    assert aged(record, "b").origin.endswith(f"{said} (case b)")
    assert aged(record, *"abc").origin.endswith("recorded with an earlier version of the code")


def test_a_page_says_on_which_devices_the_cases_were_measured(tmp_path):
    record = run_recipe(recipe_of(lambda case, device: 1), directory=tmp_path)
    made = {**record.made, "b": replace(record.made["b"], device="NVIDIA H200")}
    save_record(replace(record, made=made), tmp_path)
    mixed = load_record("tiny", tmp_path)
    here = record.provenance.device
    assert mixed.devices == {"a": here, "b": "NVIDIA H200", "c": here}
    assert mixed.origin.startswith(f"{here} (2 cases) and NVIDIA H200 (1 case), PyTorch")
    assert record.origin.startswith(f"{here}, PyTorch")


def elsewhere(record: Record, **changes: object) -> Record:
    return replace(record, provenance=replace(record.provenance, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "NVIDIA H100"}, "was made on another device: NVIDIA H100, and this is CPU"),
        ({"driver": "CUDA 12.8"}, "on another device"),
        ({"packages": {"torch": "1.0"}}, r"with torch 1\.0, and this is "),
        ({"packages": {}}, r"with torch \(not noted\), and this is "),
    ],
    ids=["device", "driver", "version", "unknown version"],
)
def test_what_was_made_elsewhere_is_replaced_only_on_request(tmp_path, changes, message):
    recipe = recipe_of(lambda case, device: "here")
    there = elsewhere(run_recipe(recipe, directory=tmp_path, only=["a", "b"]), **changes)
    save_record(there, tmp_path)
    for only in (None, ["c"]):
        with pytest.raises(ValueError, match=message):
            run_recipe(recipe, directory=tmp_path, only=only)
    assert load_record("tiny", tmp_path) == there
    assert not elsewhere(there).stale_cases
    assert len(run_recipe(recipe, directory=tmp_path, force=True).cases) == 3


def test_a_file_that_is_no_record_is_replaced_only_on_request(tmp_path):
    (tmp_path / "tiny.json").write_text("{}")
    recipe = recipe_of(lambda case, device: 1)
    with pytest.raises(ValueError, match=r"is not a record.*--force"):
        run_recipe(recipe, directory=tmp_path)
    assert len(run_recipe(recipe, directory=tmp_path, force=True).cases) == 3


def test_recording_does_not_touch_the_shipped_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_recipe(recipe_of(lambda case, device: 1))
    assert record_names(tmp_path / "records") == ["tiny"]
    assert "tiny" not in record_names()


def test_a_missing_library_is_named_before_the_first_case(tmp_path):
    recipe = replace(
        recipe_of(lambda case, device: pytest.fail("a case was measured")),
        needs=lambda case: ("numpy", "no_such_library"),
    )
    with pytest.raises(ValueError, match=r"pip install no_such_library$"):
        run_recipe(recipe, directory=tmp_path)
    assert not list(tmp_path.iterdir())


def test_only_rivals_and_the_published_need_more_than_the_package_does():
    needed = {
        (name, module)
        for name, recipe in ((name, recipes.recipe(name)) for name in recipes.RECORDINGS)
        for case in recipe.cases.values()
        for module in recipe.needs(case)
    }
    rivals = [f"houses-{what}-rivals" for what in ("search", "finalists", "judged", "final")]
    rivals += ["houses-walk", "houses-judged-trees", "houses-confirmed"]
    trees = set(itertools.product(rivals, ("lightgbm", "xgboost", "catboost")))
    networks = {(f"houses-judged-{name}", "pytabkit") for name in ("realmlp", "tabm")}
    alone = {
        ("gpu-published", "timm"),
        *((f"houses-dense-{what}judged", "catboost") for what in ("", "average-")),
    }
    assert needed == trees | networks | alone


def test_only_some_cases(tmp_path):
    recipe = recipe_of(lambda case, device: 1)
    assert run_recipe(recipe, directory=tmp_path, only=["c"]).cases == {"c": 1}
    assert run_recipe(recipe, directory=tmp_path, only=["a"]).cases == {"a": 1, "c": 1}
    assert list(run_recipe(recipe, directory=tmp_path).cases) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="is one of 'a', 'b', 'c', got 'd'"):
        run_recipe(recipe, directory=tmp_path, only=["d"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not json", "Expecting value"),
        (b"[]", ""),
        (b'{"name": "x"}', "is missing"),
        ("{}".encode("utf-16"), "utf-8"),
        (None, "directory"),
    ],
    ids=["text", "list", "unfinished", "utf-16", "folder"],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, content, why):
    path = tmp_path / "bad.json"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad\.json is not a record: .*{why}") as raised:
        load_record("bad", tmp_path)
    assert "\n" not in str(raised.value)


def test_a_record_under_another_name_is_refused(tmp_path):
    path = save_record(run_recipe(recipe_of(lambda case, device: 1), directory=tmp_path), tmp_path)
    path.rename(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"should hold the record 'other', got 'tiny'"):
        load_record("other", tmp_path)


def test_what_was_loaded_is_remembered():
    before = len(loaded)
    record = load_record("how-far")
    assert loaded[before:] == [record]


def test_every_case_says_how_it_was_made():
    record = load_record("how-far")
    with pytest.raises(ValueError, match=r"every case .* got \['plain-8gib'\]"):
        replace(record, made={c: m for c, m in record.made.items() if c != "plain-8gib"})


def test_a_missing_record_says_what_there_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are: none"):
        load_record("missing", tmp_path)


@pytest.mark.parametrize("name", record_names() or [pytest.param("", marks=pytest.mark.skip)])
def test_every_committed_record_reads(name):
    record = load_record(name)
    assert record.name == name
    assert record.cases


def test_every_recipe_builds_and_knows_what_its_cases_depend_on():
    for name in recipes.RECORDINGS:
        recipe = recipes.recipe(name)
        assert recipe.name == name
        assert recipe.cases
        for roots in {recipe.roots(case) for case in recipe.cases}:
            assert fingerprint(roots)
