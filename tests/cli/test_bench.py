import pytest
from typer.testing import CliRunner

from densenet_solutions.cli.bench import app
from densenet_solutions.site.build import benchmark

run = CliRunner().invoke


def test_the_bench_prints_a_row_for_every_contestant():
    result = run(app, ["memory", "--batch", "2", "--side", "32", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    for name in ("torchvision", "torchvision memory_efficient", "recompute_layer",
                 "recompute_block", "shared_storage"):  # fmt: skip
        assert name in result.stdout
    assert "MiB" in result.stdout


def test_impossible_requests_are_refused_with_the_rule():
    for arguments in (["--variant", "densenet122"], ["--dtype", "int8"], ["--device", "tpu"]):
        result = run(app, ["memory", *arguments])
        assert result.exit_code == 2
        assert arguments[1] in result.output


def test_the_speed_bench_compares_forward_and_training_step():
    result = CliRunner().invoke(app, ["speed", "--batch", "2", "--side", "32", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    for row in ("forward", "training step"):
        (line,) = (line for line in result.output.splitlines() if row in line)
        assert "to" in line


@pytest.fixture
def checkout(tmp_path):
    """A checkout with two executed pages and folders that a copy does without."""
    (tmp_path / "mkdocs.yml").write_text("site_name: x")
    (tmp_path / "docs" / "exercises").mkdir(parents=True)
    for page in ("index.py", "exercises/one.py"):
        (tmp_path / "docs" / page).write_text("# %%\n")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_site_builds_are_timed_in_a_copy_and_slow_ones_are_told(checkout, monkeypatch):
    seen, clock = [], iter((0, 30, 0, 4, 0, 16, 0, 9))
    logs = iter(
        ("Ran index.py in 14.5 s\nRan exercises/one.py in 8.0 s", "", "", "Ran a in 15.1 s")
    )

    def build(root):
        assert not (root / ".cache").exists()
        seen.append({p.name: p.read_text() for p in (root / "docs").rglob("*.py")})
        return next(logs)

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    cold, unchanged, first, second = benchmark.build_times(checkout, build=build)
    assert cold.pages == {"index.py": 14.5, "exercises/one.py": 8.0}
    assert (cold.seconds, unchanged.seconds) == (30, 4)
    assert cold.is_within
    assert unchanged.is_within
    assert (first.edited, second.edited) == ("exercises/one.py", "index.py")
    assert not first.is_within  # 16 s
    assert not second.is_within  # a page of 15.1 s
    assert seen[0] == seen[1] == {"index.py": "# %%\n", "one.py": "# %%\n"}
    assert seen[2] == {"index.py": "# %%\n", "one.py": "# %%\n# edited\n"}
    assert (checkout / "docs/exercises/one.py").read_text() == "# %%\n"


def test_what_is_no_checkout_or_no_page_or_does_not_build_is_refused(checkout, tmp_path_factory):
    result = run(app, ["site", "--root", str(tmp_path_factory.mktemp("empty"))])
    assert result.exit_code == 2
    assert "mkdocs.yml" in result.output
    result = run(app, ["site", "--root", str(checkout), "--page", "two.py"])
    assert result.exit_code == 2
    assert "two.py" in result.output
    (checkout / "mkdocs.yml").write_text("site_name: x\nplugins: [nosuch]")
    result = run(app, ["site", "--root", str(checkout)])
    assert result.exit_code == 2
    assert "the site does not build" in result.output
