"""A tiny MkDocs project built with the site's own configuration of plugins and Markdown."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mkdocs.exceptions import Abort

from densenet_solutions.site.build import serve

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]

CONFIG = f"""\
INHERIT: {ROOT / "mkdocs.yml"}
site_name: Tiny
theme:
  name: material
nav: []
watch: []
extra_css: []
extra_javascript: []
plugins:
  - mkdocs-jupyter: {{include: ["docs/*.py"], execute: false, cache: false}}
  - densenet_solutions
"""

PAGE = """\
# %% [markdown]
# # The growth rate $k$
#
# See [the other](other.md#there).
#
# ??? question "Hint"
#     Count.

# %%
from pathlib import Path

Path("note.txt").write_text("x")
total = 1 + 1

# %% tags=["show"]
assert total == 2
total

# %% [markdown]
# ## In one breath
#
# It is **{{ total }}**.
#
# !!! note
#     With $\\theta$.
"""


class Project:
    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.environment = root, environment
        (root / "mkdocs.yml").write_text(CONFIG)
        (root / "included.md").write_text("Included.\n")
        self.write("index.py", PAGE)
        self.write("other.md", '# Other\n\n--8<-- "included.md"\n\n## There\n')

    def write(self, name: str, text: str) -> None:
        (self.root / "docs").mkdir(exist_ok=True)
        (self.root / "docs" / name).write_text(text)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start MkDocs, in another folder than the project's."""
        command = (*command, "-f", str(self.root / "mkdocs.yml"))
        return subprocess.Popen(
            [sys.executable, "-m", "mkdocs", *command],
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )

    def build(self) -> tuple[int, str]:
        """Exit code, and what MkDocs said."""
        with self.start("build", "--strict") as running:
            said, _ = running.communicate(timeout=300)
        return running.returncode, said

    @property
    def html(self) -> str:
        return (self.root / "site/index.html").read_text()


@pytest.fixture
def project(tmp_path: Path, another_machine: Callable[..., dict[str, str]]) -> Project:
    environment = another_machine(DENSENET_SOLUTIONS_BARE="1")
    environment.pop("NO_MKDOCS_2_WARNING", None)  # the project silences the theme by itself
    return Project(tmp_path, environment)


def test_cells_and_outputs_are_the_sites_markdown_and_run_once(project: Project) -> None:
    code, said = project.build()
    assert code == 0, said
    assert "Running index.py" in said
    assert "end of life" not in said
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
    assert "write_text" not in html  # not a cell to show
    assert not (project.root / "docs/note.txt").exists()
    assert (project.root / "site/index.ipynb").exists()
    assert "Included." in (project.root / "site/other/index.html").read_text()

    code, said = project.build()
    assert (code, "Running" in said) == (0, False)  # nothing changed


def test_a_page_that_raises_fails_the_build_until_it_is_mended(project: Project) -> None:
    project.write("index.py", PAGE.replace("total == 2", "total == 3, 'the sum is two'"))
    code, said = project.build()
    assert code != 0
    assert "index.py: cell 3 raised AssertionError: the sum is two" in said
    assert said.count("Traceback") == 1  # the page's
    assert said.rstrip().endswith("Aborted with a BuildError!")
    project.write("index.py", PAGE)
    assert project.build()[0] == 0
    assert "AssertionError" not in project.html


def test_dead_links_fail_even_when_the_output_is_cached(project: Project) -> None:
    page = PAGE.replace("other.md#there", "gone.md")
    project.write("index.py", f"{page}#\n# [Or this](other.md#nowhere).\n")
    for run in ("first", "cached"):
        code, said = project.build()
        assert code != 0
        assert "'gone.md', but the target is not found" in said
        assert "does not contain an anchor '#nowhere'" in said
        assert ("Running" in said) == (run == "first")


def test_a_bad_formula_fails_the_build(project: Project) -> None:
    project.write("index.py", "# %% [markdown]\n# # Title\n")
    project.write("other.md", "# Other\n\n$\\nosuch$\n")
    code, said = project.build()
    assert code != 0
    assert "other.md: the formula '\\\\nosuch' has an unknown command" in said


def test_an_answer_that_is_too_long_fails_the_build_in_words(project: Project) -> None:
    project.write("index.py", "# %% [markdown]\n# # Title\n")
    project.write("other.md", '# Other\n\n!!! answer "The answer"\n    ' + "word " * 71 + "\n")
    code, said = project.build()
    assert code != 0
    assert "Error reading page 'other.md'" in said
    assert "an answer has at most 70 words, got 71" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_behind(
    project: Project, blow: signal.Signals, short_path: Path
) -> None:
    project.environment["TMPDIR"] = str(short_path)
    started = project.root / "started"
    waiting = (
        f"import os, time\nPath({str(started)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    project.write("index.py", PAGE.replace("total = 1 + 1", waiting))
    with project.start("build") as running:
        for _ in range(3000):
            if started.exists() and started.read_text():
                break
            time.sleep(0.1)
        page = Path("/proc", started.read_text())
        try:
            for _ in range(3):  # Python may swallow an interrupt that meets a destructor
                running.send_signal(blow)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    said, _ = running.communicate(timeout=20)
                    break
        finally:
            running.kill()
    assert running.returncode != 0
    if blow == signal.SIGTERM:
        assert "Traceback" not in said
    for _ in range(300):
        if not page.exists():
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"the page's process {page.name} outlives the build")
    assert not (project.root / ".cache").exists()
    assert [path.name for path in short_path.iterdir() if "inductor" not in path.name] == []


def test_a_taken_port_is_said_before_pages_run(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with project.start("serve", "-a", f"127.0.0.1:{port}") as running:
            said, _ = running.communicate(timeout=300)
    assert running.returncode == 1
    assert f"Cannot serve on 127.0.0.1:{port}: Address already in use." in said
    assert f"mkdocs serve -a 127.0.0.1:{port + 1}" in said
    assert "Running" not in said
    assert "Traceback" not in said


def test_while_serving_new_code_of_the_build_asks_for_a_restart(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = {"densenet_solutions.site.build.compose": "old", "densenet_solutions.files": "same"}
    monkeypatch.setattr(serve, "loaded_code", lambda: dict(code))
    serving = serve.Serving()
    with caplog.at_level("INFO"):
        serving.check("127.0.0.1", 0)
        serving.check("127.0.0.1", 0)
        assert caplog.text == ""
        code["densenet_solutions.site.lesson"] = "imported since"
        serving.check("127.0.0.1", 0)
        assert caplog.text == ""
        code["densenet_solutions.site.build.compose"] = "new"
        serving.check("127.0.0.1", 0)
    assert "Restart `mkdocs serve`" in caplog.text
    assert "densenet_solutions.site.build.compose" in caplog.text
    assert "files" not in caplog.text


def test_an_address_that_cannot_be_served_is_refused() -> None:
    with pytest.raises(Abort, match=r"Cannot serve on 192\.0\.2\.1:8000: "):
        serve.Serving().check("192.0.2.1", 8000)
