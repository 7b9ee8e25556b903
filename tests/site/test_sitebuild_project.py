"""A tiny MkDocs project built with the site's own configuration of plugins and Markdown."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from densenet_solutions.records.store import Record, made_now, provenance, save_record

ROOT = Path(__file__).parents[2]

PAGE = '''\
# %% [markdown]
# # The growth rate $k$
#
# See [the other](other.md#there).
#
# ??? question "Hint"
#     Count.

# %%
from pathlib import Path
from densenet_solutions.site.page import say

Path("note.txt").write_text("x")
total = 1 + 1
assert total == 2
total

# %% tags=["hide-input"]
say(f"""
## In one breath

It is **{total}**.

!!! note
    With $\\\\theta$.
""")
'''


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        loader = type("Loader", (yaml.SafeLoader,), {})
        loader.add_constructor("!ENV", lambda *_: None)
        config = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=loader)
        config = {
            "site_name": "Tiny",
            "theme": {"name": "material", "font": False},
            "markdown_extensions": config["markdown_extensions"],
            "validation": config["validation"],
            "plugins": [
                {"mkdocs-jupyter": {"include": ["docs/*.py"], "execute": False, "cache": False}},
                "densenet_solutions",
            ],
        }
        (root / "mkdocs.yml").write_text(yaml.safe_dump(config))
        self.write("index.py", PAGE)
        self.write("other.md", "# Other\n\n## There\n")

    def write(self, name: str, text: str) -> None:
        (self.root / "docs").mkdir(exist_ok=True)
        (self.root / "docs" / name).write_text(text)

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "mkdocs.yml"],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        )

    def build(self) -> subprocess.CompletedProcess[str]:
        with self.start() as running:
            out, err = running.communicate(timeout=120)
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    @property
    def html(self) -> str:
        return (self.root / "site/index.html").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.site
def test_cells_and_outputs_are_the_sites_markdown_and_the_cache_is_trusted_with_care(
    project: Project,
) -> None:
    first = project.build()
    assert first.returncode == 0, first.stderr
    assert "Running index.py" in first.stderr
    html = project.html
    for piece in (
        '<details class="question">',
        '<div class="admonition note">',
        '<h2 id="in-one-breath">',
        'href="#in-one-breath"',  # the contents list spans cells and outputs
        'href="other/#there"',
        "It is <strong>2</strong>",
        "<math",
        'data-cells="2"',
    ):
        assert piece in html, piece
    assert "\\(" not in html
    assert not (project.root / "docs/note.txt").exists()
    assert (project.root / "site/index.ipynb").exists()

    assert "Running" not in project.build().stderr  # nothing changed
    (entry,) = (project.root / ".cache/pages").iterdir()
    entry.write_text(entry.read_text().replace("It is **2**", "It is **3**"))
    edited = project.build()
    assert "is unusable" in edited.stderr
    assert "It is <strong>2</strong>" in project.html


@pytest.mark.site
def test_a_broken_assertion_fails_the_build_until_it_is_mended(project: Project) -> None:
    project.write("index.py", PAGE.replace("total == 2", "total == 3, 'the sum is two'"))
    broken = project.build()
    assert broken.returncode != 0
    assert "index.py: cell 2 raised AssertionError: the sum is two" in broken.stderr
    project.write("index.py", PAGE)
    assert project.build().returncode == 0
    assert "AssertionError" not in project.html


@pytest.mark.site
@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("other.md#there", "gone.md", "the target is not found"),
        ("other.md#there", "other.md#nowhere", "does not contain an anchor"),
        ("rate $k$", "rate $\\nosuch$", "unknown command"),
    ],
)
def test_dead_links_and_bad_formulas_fail_even_when_the_output_is_cached(
    project: Project, old: str, new: str, complaint: str
) -> None:
    project.write("index.py", PAGE.replace(old, new))
    for _ in range(2):
        done = project.build()
        assert done.returncode != 0
        assert complaint in done.stderr


@pytest.mark.site
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_wrong_behind(
    project: Project, blow: signal.Signals
) -> None:
    """The page waits until a file is gone; by then nobody listens to it any more."""
    started, gate = project.root / "started", project.root / "gate"
    gate.touch()
    waiting = (
        f"from time import sleep\nfrom os import getpid\n"
        f"Path({str(started)!r}).write_text(str(getpid()))\n"
        f"while Path({str(gate)!r}).exists():\n    sleep(0.1)\n"
    )
    project.write("index.py", PAGE.replace("total = 1 + 1\n", f"{waiting}total = 1 + 1\n"))
    with project.start() as running:
        for _ in range(600):
            if started.exists() and started.read_text():
                break
            time.sleep(0.1)
        kernel = int(started.read_text())
        try:
            for _ in range(3):  # Python may swallow an interrupt that meets a destructor
                running.send_signal(blow)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.communicate(timeout=20)
                    break
        finally:
            running.kill()
    assert running.returncode != 0
    cache = project.root / ".cache/pages"
    assert not cache.exists() or not list(cache.iterdir())
    for _ in range(300):
        if not Path(f"/proc/{kernel}").exists():
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"the page's process {kernel} outlives the build")
    gate.unlink()
    again = project.build()
    assert again.returncode == 0, again.stderr
    assert "It is <strong>2</strong>" in project.html


@pytest.mark.site
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_text(path.read_text()[:-9]), "is not a record"),
        (lambda path: path.unlink(), "no record 'demo'"),
    ],
    ids=["cut", "missing"],
)
def test_a_wrong_record_fails_the_build_with_a_message(
    project: Project, damage: Callable[[Path], None], message: str
) -> None:
    records = project.root / "records"
    record = Record(
        "demo", "-", provenance(), 0, {"a": {"answer": 41}}, {"a": made_now(["files.py"])}
    )
    save_record(record, records)
    shown = (
        "from densenet_solutions.records import load_record\n"
        f"load_record('demo', Path({str(records)!r})).cases['a']['answer']\n"
    )
    project.write("index.py", PAGE.replace("total = 1 + 1\n", f"total = 1 + 1\n{shown}"))
    assert project.build().returncode == 0
    damage(records / "demo.json")
    project.write("index.py", PAGE.replace("total = 1 + 1\n", f"total = 2\n{shown}"))
    failed = project.build()
    assert failed.returncode != 0
    assert "index.py: cell 2 raised" in failed.stderr
    assert message in failed.stderr
