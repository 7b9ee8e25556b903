import ast
import inspect
import textwrap
from typing import Any

import pytest

from densenet_solutions.memory.shared_storage.reference import (
    SharedStorageReference,
    layer_forward,
)
from densenet_solutions.models.densenet import DenseBlock, DenseLayer, DenseNet
from densenet_solutions.records import store
from densenet_solutions.records.store import Made, Record, made_now, provenance
from densenet_solutions.site import page
from densenet_solutions.training.loop import _seeded


def record(**changes: object) -> Record:
    fields: dict = {
        "name": "demo",
        "command": "densenet-solutions record demo --device cpu",
        "provenance": provenance("cpu"),
        "seed": 3,
        "cases": {"a": {"x": 1}, "b": {"out_of_memory": True}},
        "made": dict.fromkeys("ab", made_now(["files.py"])),
    }
    return Record(**(fields | changes))


OLD = record(name="old", made=dict.fromkeys("ab", Made((), "0", "2000")))


def test_source_shows_the_file_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DENSENET_SOLUTIONS_REPO_URL", raising=False)
    text = page.source(DenseBlock).markdown
    assert text.startswith("Layers that each read all earlier features:")
    assert "\n\n```python\nclass DenseBlock(nn.Sequential):" in text
    assert "(/reference/models.md)" in text
    monkeypatch.setenv("DENSENET_SOLUTIONS_REPO_URL", "https://example.org/repo/")
    assert "https://example.org/repo/blob/main/densenet_solutions/models/densenet.py#L" in (
        page.source(DenseBlock).markdown
    )


def test_source_shows_a_decorated_function_with_its_decorator():
    code = page.source(_seeded).markdown
    assert "```python\n@contextmanager\ndef _seeded(" in code
    assert "training/loop.py" in code


@pytest.mark.parametrize("shown", [DenseBlock, DenseLayer, layer_forward, SharedStorageReference])
def test_a_listing_is_the_code_without_docstrings_and_fits(shown: Any) -> None:
    code = page.source(shown).markdown.partition("```python\n")[2].partition("\n```")[0]
    assert max(map(len, code.splitlines())) <= 78
    assert '"""' not in code
    original = ast.parse(textwrap.dedent(inspect.getsource(shown)))
    for node in ast.walk(original):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            del node.body[0]
    assert ast.unparse(ast.parse(code)) == ast.unparse(original)


def test_a_docstring_that_was_inherited_is_not_shown() -> None:
    assert page.source(DenseNet.forward).markdown.startswith("```python\ndef forward(")


def test_comments_stay_and_long_ones_go_above_their_line() -> None:
    code = (
        "def f(x):\n"
        '    """Says."""\n\n'
        f"    y = x  # {'why ' * 20}\n"
        "    return y  # short\n"
    )
    assert page._listing(code) == (
        f"def f(x):\n    # {'why ' * 20}\n    y = x\n    return y  # short"
    )


def test_a_line_that_cannot_be_broken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LISTING", 20)
    with pytest.raises(ValueError, match="at most 20 characters, got"):
        page.source(DenseBlock)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What the page has loaded; nothing yet."""
    monkeypatch.setattr(store, "loaded", [])
    return store.loaded


def test_record_note_speaks_of_the_record_loaded_last(loaded: list[Record]) -> None:
    first = store.load_record("memory-fair")
    assert page.record_note().markdown.startswith(f"Recorded on {first.origin}.")
    store.load_record("how-far")
    loaded[-1] = OLD
    assert "recorded with an earlier version of the code" in page.record_note().markdown
    assert page.record_note(first).markdown.startswith(f"Recorded on {first.origin}.")
    assert page.record_note(first, first).markdown.count("Recorded on") == 1
    assert page.record_note(first, OLD).markdown.count("Recorded on") == 2


def test_how_made_lists_every_record_that_was_loaded_once(loaded: list[Record]) -> None:
    assert "Nothing on this page is recorded" in page.how_made().markdown
    for name in ("memory-fair", "how-far", "memory-fair"):
        store.load_record(name)
    text = page.how_made().markdown
    assert text.count("`memory-fair` (8 cases)") == text.count("`memory-fair`") == 1
    assert text.index("`memory-fair`") < text.index("`how-far`")
    assert "Nothing on this page" not in text


def test_how_made_says_what_is_stale_and_what_did_not_fit(loaded: list[Record]) -> None:
    loaded += [record(), OLD]
    text = page.how_made().markdown
    assert "`demo` (2 cases, 1 of them out of memory)" in text
    assert text.count("recorded with an earlier version of the code") == 1
    assert "by `densenet-solutions record NAME --device cpu`: `demo` (2 cases" in text


def test_how_made_names_a_command_once(loaded: list[Record]) -> None:
    other = record(name="other", command="densenet-solutions record other --device cpu")
    loaded += [record(), other]
    assert page.how_made().markdown.count("densenet-solutions record") == 1
