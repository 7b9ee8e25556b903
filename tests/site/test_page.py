import json

import pytest

from densenet_solutions.memory.recompute import running_statistics_untouched
from densenet_solutions.models.densenet import DenseBlock
from densenet_solutions.records.store import Made, Record, made_now, provenance
from densenet_solutions.site import page


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


def test_say_takes_common_indentation_off() -> None:
    assert page.say("\n    a\n\n        b\n")._repr_markdown_() == "a\n\n    b"


def test_source_shows_the_file_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DENSENET_SOLUTIONS_REPO_URL", raising=False)
    text = page.source(DenseBlock).markdown
    assert text.startswith("```python\nclass DenseBlock(nn.Sequential):")
    assert "(/reference/models.md)" in text
    monkeypatch.setenv("DENSENET_SOLUTIONS_REPO_URL", "https://example.org/repo/")
    assert "https://example.org/repo/blob/main/densenet_solutions/models/densenet.py#L" in (
        page.source(DenseBlock).markdown
    )


def test_source_refuses_what_is_not_ours() -> None:
    with pytest.raises(ValueError, match="objects of densenet_solutions"):
        page.source(json.JSONDecoder)


def test_source_shows_a_decorated_function_with_its_decorator():
    code = page.source(running_statistics_untouched).markdown
    assert code.startswith(
        "```python\n@contextlib.contextmanager\ndef running_statistics_untouched("
    )
    assert "memory/recompute.py" in code


def test_claims_carry_their_verdict() -> None:
    text = page.claims([("It is fast.", "does not hold", "It takes 3 s.")]).markdown
    assert 'class="ds-claim ds-does-not-hold"' in text
    assert "*does not hold*{ .ds-verdict }" in text
    with pytest.raises(ValueError, match="a verdict is one of"):
        page.claims([("It is fast.", "maybe", "")])  # type: ignore[list-item]


def test_how_made_names_records_and_says_what_is_stale() -> None:
    assert "Nothing on this page is recorded" in page.how_made().markdown
    text = page.how_made(
        record(), record(name="old", made=dict.fromkeys("ab", Made((), "0", "2000")))
    ).markdown
    assert "`demo` (2 cases, 1 of them out of memory, seed 3)" in text
    assert text.count("recorded with an earlier version of the code") == 1
    assert "by `densenet-solutions record NAME --device cpu`: `demo` (2 cases" in text
    other = record(name="other", command="densenet-solutions record other --device cpu")
    same = page.how_made(record(), other).markdown
    assert same.count("densenet-solutions record") == 1
