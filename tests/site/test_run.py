"""A page runs in a process of its own: what comes out, what is refused, and what is left behind."""

import getpass
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from densenet_solutions.site.build.compose import compose
from densenet_solutions.site.build.run import PageError, read_page, run


def markdown(page: str) -> str:
    """The page as Markdown, HTML in its place."""
    document = compose(run(read_page(textwrap.dedent(page)), "a.py", timeout=60), "a.py")
    return document.fill(document.markdown)


def test_expressions_are_filled_where_they_stand() -> None:
    text = markdown("""
        # %%
        x, rows = 1, [1, 2]

        # %% [markdown]
        # One is {{ x }}, a sum {{ sum(
        # row * x for row in rows) }}, TeX $\\frac{{a}}{b}$.

        # %%
        x = 2

        # %% [markdown]
        # Two is {{ x }}.
        """)
    assert "One is 1, a sum 3, TeX $\\frac{{a}}{b}$." in text
    assert "Two is 2." in text


def test_objects_are_inserted_as_what_they_show() -> None:
    text = markdown("""
        # %%
        from densenet_solutions.site.html import Html, Markdown
        table = Html("<table></table>")

        # %% [markdown]
        # {{ table }}
        #
        # !!! note
        #     {{ Markdown("one\\n\\ntwo") }}
        #
        # Within {{ Html("<i>text</i>") }}.
        """)
    assert '<div class="ds-output"><table></table></div>\n\n' in text
    assert "!!! note\n    one\n\n    two\n" in text
    assert "Within <i>text</i>." in text


def test_outputs_keep_their_order_and_only_shown_cells_show_their_code() -> None:
    text = markdown("""
        # %%
        import os
        from densenet_solutions.site.html import Html
        hidden = "hidden"
        print("first ×")
        display(Html("<b>second</b>"))
        done = os.system("echo third")

        # %% tags=["show"]
        1 + 1
        """)
    places = [text.index(part) for part in ("first ×", "<b>second</b>", "third", "1 + 1", "2\n```")]
    assert places == sorted(places)
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("# %%\n1 / 0", r"a\.py: cell 1 raised ZeroDivisionError: division by zero\n\n1 / 0"),
        ("# %% [markdown]\n# T\n\n# %%\n1 +", r"cell 2 raised SyntaxError"),
        ("# %%\nx = 1\n# %% [markdown]\n# {{ x / 0 }}", r"cell 2: \{\{ x / 0 \}\} raised Zero"),
        ("# %% [markdown]\n# {{ x + }}", r"cell 1: \{\{ x \+ \}\} raised SyntaxError"),
        ("# %% [markdown]\n# {{ print(1) }}", "its value is None"),
        ("# %% [markdown]\n# {{ [print(1)] }}", "prints; an expression only has a value"),
        ("# %%\nimport sys\nprint('careful', file=sys.stderr)", "cell 1 writes to stderr: careful"),
        ("# %%\nimport warnings\nwarnings.warn('careful')", "UserWarning: careful"),
        ("# %%\nimport os\ndone = os.write(2, b'careful')", "cell 1 writes to stderr: careful"),
        ("# %%\nimport os\nos._exit(3)", "a.py: its process died with code 3"),
        ("# %%\nimport os\nos.kill(os.getpid(), 9)", "a.py: its process died with code -9"),
        ("# %%\nimport os, time\nos.fork() and os._exit(3)\ntime.sleep(60)", "died with code 3"),
        ("# %%\nimport sys; sys.exit()", "cell 1 raised SystemExit"),
    ],
)  # fmt: skip
def test_a_page_that_does_not_run_says_where_and_why(page: str, message: str) -> None:
    with pytest.raises(PageError, match=message):
        run(read_page(page), "a.py", timeout=60)


def test_a_page_that_takes_too_long_is_stopped_with_all_it_started() -> None:
    seconds = f"61.{os.getpid()}"  # no other process of this machine sleeps as long
    page = f"# %%\nimport subprocess, time\nsubprocess.Popen(['sleep', '{seconds}'])\ntime.sleep(60)"
    with pytest.raises(PageError, match=r"a.py ran longer than 6 s"):
        run(read_page(page), "a.py", timeout=6)
    time.sleep(0.2)
    assert f"sleep\x00{seconds}" not in {_command(path) for path in Path("/proc").glob("[0-9]*")}


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().strip("\0")
    except OSError:
        return ""


def test_pages_start_with_libraries_without_the_package_and_apart() -> None:
    first = """
        # %% tags=["show"]
        import sys, torch
        print("torchvision" in sys.modules, "densenet_solutions.models" in sys.modules)
        torch.mine = 1
        """
    assert "True False" in markdown(first)
    assert "False\n" in markdown("# %%\nimport torch\nhasattr(torch, 'mine')")


def test_a_page_has_one_thread_and_an_empty_folder() -> None:
    code = "import os, torch\nprint(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], "
    text = markdown(f"# %%\n{code}os.listdir())\nopen('note', 'w').close()")
    assert "1 1 []" in text
    assert not list(Path(tempfile.gettempdir()).glob("densenet-page-*/page/note"))


def test_the_environment_is_that_of_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server may be older than a variable."""
    show = "# %%\nimport os\nos.environ.get('DENSENET_SOLUTIONS_REPO_URL')"
    for value in ("https://example.org/a", "https://example.org/b"):
        monkeypatch.setenv("DENSENET_SOLUTIONS_REPO_URL", value)
        assert value in markdown(show)
    assert os.environ.get("MPLBACKEND") != "agg"


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_builder_that_ends_takes_its_pages_along(
    short_path: Path, blow: signal.Signals, another_machine
) -> None:
    tmp_path = short_path
    page = tmp_path / "page.py"
    page.write_text(
        "# %%\nimport os, pathlib, time\n"
        f"pathlib.Path({str(tmp_path)!r}, 'pid').write_text(str(os.getpid()))\ntime.sleep(600)\n"
    )
    command = [sys.executable, "-m", "densenet_solutions.site.build.run", str(page), str(tmp_path)]
    environment = another_machine(TMPDIR=str(tmp_path), DENSENET_SOLUTIONS_BARE="1")
    with subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.DEVNULL,
        # Where the tests run in the background, Ctrl-C is ignored, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as builder:
        _wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        assert list(tmp_path.glob("densenet-page-*"))
        builder.send_signal(blow)
    assert builder.returncode != 0
    process = Path("/proc", (tmp_path / "pid").read_text())
    _wait_for(lambda: not process.exists())
    left = {path.name for path in tmp_path.iterdir()} - {f"torchinductor_{getpass.getuser()}"}
    assert left == {"page.py", "pid"}


def _wait_for(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within 300 s")


def test_a_folder_that_sockets_cannot_have_is_told(tmp_path: Path, another_machine) -> None:
    (tmp_path / "page.py").write_text("# %%\n1\n")
    far = tmp_path / ("long" * 30)
    far.mkdir()
    command = [sys.executable, "-m", "densenet_solutions.site.build.run"]
    done = subprocess.run(
        [*command, str(tmp_path / "page.py"), str(tmp_path)],
        env=another_machine(TMPDIR=str(far), DENSENET_SOLUTIONS_BARE="1"),
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:  # newer Pythons find another folder
        assert done.stderr == "page.py could not be run: AF_UNIX path too long\n"


def test_a_page_becomes_markdown_without_mkdocs(tmp_path: Path, another_machine) -> None:
    (tmp_path / "page.py").write_text("# %% [markdown]\n# # Title\n#\n# {{ 1 + 1 }}\n")
    command = [sys.executable, "-m", "densenet_solutions.site.build.run"]
    arguments = [str(tmp_path / "page.py"), str(tmp_path / "out")]
    bare = another_machine(DENSENET_SOLUTIONS_BARE="1")
    done = subprocess.run([*command, *arguments], env=bare, capture_output=True, text=True)
    assert done.stderr == ""
    assert (tmp_path / "out/page.md").read_text() == "# Title\n\n2"
    (tmp_path / "page.py").write_text("# %%\n1 / 0\n")
    done = subprocess.run([*command, *arguments], env=bare, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("page.py: cell 1 raised ZeroDivisionError")


CORES = """
# %%
import torch
from threadpoolctl import threadpool_info
from densenet_solutions.measure import measure_memory
from densenet_solutions.models import book_densenet

def peak():
    threads = torch.get_num_threads()
    return measure_memory(book_densenet, (2, 1, 96, 96), threads=threads).peak_bytes

# %% [markdown]
# {{ torch.get_num_threads() }} {{ {pool["num_threads"] for pool in threadpool_info()} }}
# {{ peak() }}

# %%
torch.set_num_threads(4)

# %% [markdown]
# {{ peak() }}
"""


def test_the_number_of_cores_does_not_reach_a_page(tmp_path: Path, another_machine) -> None:
    """With four threads the scratch space of convolutions would be larger, as the page shows."""
    (tmp_path / "page.py").write_text(CORES)
    command = [sys.executable, "-m", "densenet_solutions.site.build.run", "page.py"]
    shown = []
    machines = {
        "1": {"OMP_NUM_THREADS": "1", "DENSENET_SOLUTIONS_BARE": "1"},
        "16": {"OMP_NUM_THREADS": "2"},  # libraries are there before the page, as for every page
    }
    for cores, variables in machines.items():
        machine = another_machine(DENSENET_SOLUTIONS_CORES=cores, **variables)
        subprocess.run([*command, cores], cwd=tmp_path, env=machine, check=True)
        shown.append((tmp_path / cores / "page.md").read_text().split())
    assert shown[0] == shown[1]
    assert shown[0][:2] == ["1", "{1}"]
    assert int(shown[0][3]) > 1.02 * int(shown[0][2])
