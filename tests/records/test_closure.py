"""What a record depends on, proved on a copy of the package that is edited."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from densenet_solutions.exercises import recipes
from densenet_solutions.records import load_record, record_names, store
from densenet_solutions.records.closure import (
    NAME,
    PACKAGE,
    closure,
    fingerprint,
    imports,
    libraries,
    root,
)

RECORDS = {name: load_record(name) for name in record_names()}

#: (record, case) → what it depends on, for everything that was recorded.
ROOTS = {
    (name, case): recipe.roots(case)
    for name, recipe in ((name, recipes.recipe(name)) for name in RECORDS)
    for case in RECORDS[name].cases
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's code."""
    return Path(
        shutil.copytree(
            PACKAGE, tmp_path / NAME, ignore=lambda folder, names: [
                name for name in names if not name.endswith(".py") and "." in name
            ] + ["__pycache__"],
        )
    )  # fmt: skip


@functools.cache
def committed(roots: tuple[str, ...]) -> str:
    return fingerprint(roots, PACKAGE)


def stale(package: Path) -> set[tuple[str, str]]:
    """The recorded cases that the code of the copy would leave behind."""

    @functools.cache
    def now(roots: tuple[str, ...]) -> str | None:
        try:
            return fingerprint(roots, package)
        except FileNotFoundError:
            return None

    return {key for key, roots in ROOTS.items() if now(roots) != committed(roots)}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


#: Records whose numbers are bytes that an instrument has seen, and times.
MEMORY = {
    "bench-at-work", "bench-memory", "bench-memory-gpu", "bench-memory-warm", "explorer-grid",
    "explorer-own", "explorer-shared-storage", "gpu-published", "how-far", "how-far-gpu",
    "memory-fair", "memory-grid", "memory-grid-again", "memory-grid-predicted",
    "memory-headline", "memory-lines", "memory-reported", "memory-witness", "shared-storage-kept",
    "shared-storage-slices", "step-timelines", "step-times", "strategies-study", "two-cores",
}  # fmt: skip
TRAINED = {
    "feature-reuse", "pooling-feature-map", "pooling-features", "pooling-converged",
    "pooling-learning-rates", "strategies-accuracy",
}  # fmt: skip
ASKED = {"memory-own-process"}  # the device's allocator alone
HOUSES = {name for name in RECORDS if name.startswith("houses-")}
GRADIENTS = {"gradient-errors"}  # neither bytes nor times, and nothing is trained


def of(*records: str) -> set[tuple[str, str]]:
    return {(name, case) for name, case in ROOTS if name in records}


def with_strategy(*names: str) -> set[tuple[str, str]]:
    """Cases that use one of these strategies, by what the cases themselves say."""

    def uses(record: str, case: str) -> bool:
        chosen = RECORDS[record].cases[case]
        if record.startswith("bench-"):
            return any(row["name"] in names for row in chosen["rows"])
        if record.startswith("shared-storage-") or record == "two-cores":
            return "shared_storage" in names
        if record == "how-far-gpu":
            return case.split()[0] in names
        if record == "gradient-errors":
            return any(name in chosen["from_truth"] for name in names)
        if record.startswith("explorer-"):
            return (chosen.get("method") or chosen["way"]).split()[0] in names
        return isinstance(chosen, dict) and chosen.get("strategy") in names

    return {(record, case) for record, case in ROOTS if uses(record, case)}


def test_nothing_is_stale_in_an_unchanged_copy(package: Path) -> None:
    assert set(RECORDS) == MEMORY | ASKED | TRAINED | HOUSES | GRADIENTS
    assert stale(package) == set()


def test_doubling_a_byte_count_of_the_tracker_makes_every_memory_record_stale(
    package: Path,
) -> None:
    """The defect of version 1.0: the home page's chart still said that it was up to date."""
    replace(package / "measure/tracker.py", ".nbytes()", ".nbytes() * 2")
    assert stale(package) == of(*MEMORY)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("memory/low_rank.py", lambda: with_strategy("low_rank")),
        ("memory/offload.py", lambda: with_strategy("offload")),
        (
            "memory/shared_storage/backward.py",
            lambda: with_strategy("shared_storage"),
        ),
        (
            "measure/timing.py",
            lambda: of(
                "bench-at-work",
                "bench-memory",
                "bench-memory-gpu",
                "bench-memory-warm",
                "shared-storage-kept",
                "shared-storage-slices",
                "strategies-study",
                "step-timelines",
                "step-times",
                "two-cores",
            ),
        ),
        ("training/loop.py", lambda: of(*TRAINED)),
        ("images.py", lambda: of(*TRAINED)),
        ("models/mlp.py", lambda: of(*HOUSES)),
        ("exercises/saving_memory/reach.py", lambda: of("how-far", "how-far-gpu")),
        ("exercises/pooling/gradients.py", lambda: of("pooling-features", "pooling-feature-map")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_changed_code_makes_exactly_what_depends_on_it_stale(
    package: Path, file: str, expected: Callable[[], set[tuple[str, str]]]
) -> None:
    append(package / file, "\nCHANGED = True\n")
    found = expected()
    assert found
    assert stale(package) == found


def test_a_changed_model_makes_stale_what_is_built_of_it(package: Path) -> None:
    append(package / "models/densenet.py", "\nCHANGED = True\n")
    found = stale(package)
    assert found >= of(*MEMORY - {"gpu-published"}, "feature-reuse")
    assert not found & of(*HOUSES, "gpu-published")  # its networks are timm's


@pytest.mark.parametrize(
    "file",
    ["records/store.py", "files.py", "checks.py", "cli/record.py", "site/page.py",
     "memory/shared_storage/reference.py", "exercises/saving_memory/pictures.py",
     "exercises/memory/study.py"],
)  # fmt: skip
def test_code_that_cannot_change_a_value_makes_nothing_stale(package: Path, file: str) -> None:
    append(package / file, "\nCHANGED = True\n")
    assert stale(package) == set()


def test_comments_and_docstrings_do_not_count(package: Path) -> None:
    for path in package.rglob("*.py"):
        append(path, "\n\n# Why.\n")
    replace(package / "measure/tracker.py", '"""', '"""Said in another way. ')
    assert stale(package) == set()


def test_a_module_that_moves_or_goes_makes_its_records_stale(package: Path) -> None:
    (package / "measure/tracker.py").rename(package / "measure/follow.py")
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("measure.tracker", "measure.follow"), encoding="utf-8")
    assert stale(package) == of(*MEMORY)
    (package / "exercises/saving_memory/reach.py").rename(package / "exercises/reach.py")
    assert stale(package) >= of("how-far")


def test_code_that_reads_the_table_of_strategies_names_those_a_case_uses() -> None:
    """The fingerprint stops at the table; without names a changed strategy would go unnoticed."""
    for name in recipes.RECORDINGS:
        recipe = recipes.recipe(name)
        code = closure([root(recipe.measure)])
        reads = any(
            found == (f"{NAME}.memory", "STRATEGIES")
            for path in code
            for found in imports(PACKAGE / path)
        )
        names = any(tuple(recipe.uses(case)) for case in recipe.cases.values())
        assert names == reads, name


# --- the walker ----------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    files = {
        "__init__.py": "",
        "rooms/__init__.py": (
            f"from {NAME}.rooms.a import f as f\nfrom {NAME}.rooms.b import g\nX = 1\n"
        ),
        "rooms/a.py": "def f():\n    import scipy.stats\n    return 1\n",
        "rooms/b.py": f"from {NAME}.low import h\ndef g():\n    return h\n",
        "low.py": "import numpy as np\nh = 1\n",
        "files.py": f"from {NAME}.rooms.b import g\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"from {NAME}.rooms import f", ["rooms/a.py"]),
        (f"from {NAME}.rooms import g", ["low.py", "rooms/b.py"]),
        (f"from {NAME}.rooms import a", ["rooms/a.py"]),
        (f"from {NAME} import low", ["low.py"]),
        (f"import {NAME}.low", ["low.py"]),
        (
            f"from {NAME}.rooms import X",
            ["low.py", "rooms/__init__.py", "rooms/a.py", "rooms/b.py"],
        ),
        (f"def late():\n    from {NAME}.rooms.b import g", ["low.py", "rooms/b.py"]),
        (f"if TYPE_CHECKING:\n    from {NAME} import low", []),
        (f"from {NAME} import files", []),
        ("import torch", []),
    ],
)  # fmt: skip
def test_imports_are_followed_to_where_a_name_is_defined(small, text: str, found: list) -> None:
    (small / "it.py").write_text(text)
    assert closure(["it.py"], small) == tuple(sorted(["it.py", *found]))


def test_libraries_are_those_of_the_whole_closure(small: Path) -> None:
    (small / "it.py").write_text(f"import math, torch.nn\nfrom {NAME}.rooms import f, g")
    assert libraries(["it.py"], small) == ("numpy", "scipy", "torch")


def test_relative_imports_are_refused(small: Path) -> None:
    (small / "it.py").write_text("from . import low")
    with pytest.raises(ValueError, match=r"absolute, got 'from \. import low'"):
        imports(small / "it.py")


def test_the_fingerprint_ignores_comments_and_docstrings_only(tmp_path: Path) -> None:
    def of(text: str) -> str:
        (tmp_path / "m.py").write_text(text)
        return fingerprint(["m.py"], tmp_path)

    plain = of("async def f():\n    return 1\n")
    assert of('"""Doc."""\n\nasync def f():  # why\n    """Doc."""\n    return 1\n') == plain
    assert of("async def f():\n    return 2\n") != plain


def test_the_fingerprint_is_the_same_under_every_python(tmp_path: Path) -> None:
    """Computed once under 3.11, 3.12 and 3.13: their trees differ in fields and f-strings."""
    (tmp_path / "m.py").write_text(
        """async def f(a, *, b=None):
    return f"{a['x']!r:>{b}} {{}}" if a else [x async for x in b]
"""
    )
    expected = "553d9b55c4a46647c9b5f7ef1349e5ef2e49b1e7145beb1c465f9fd8beff810f"
    assert fingerprint(["m.py"], tmp_path) == expected


def test_the_root_of_a_function_is_its_module() -> None:
    assert root(store.load_record) == "records/store.py"
    with pytest.raises(ValueError, match="measured by densenet_solutions, got a function of"):
        root(shutil.copytree)
