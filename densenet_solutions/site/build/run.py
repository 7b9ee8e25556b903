"""Run a page from top to bottom in a process of its own: a file in, a notebook with outputs out.

A page is percent-format Python. A Markdown cell is a template: `{{ expression }}` is replaced by
the value of the expression at the point where it stands. The fork server imports the heavy
libraries once and never the package, so a page always runs today's code.

Without MkDocs, `python -m densenet_solutions.site.build.run PAGE.py FOLDER` writes Markdown.
"""

from __future__ import annotations

import contextlib
import multiprocessing.util
import os
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, BinaryIO

try:
    import jupytext
    import nbformat
    from nbformat import NotebookNode
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed; pages need the extra 'docs': "
        "pip install 'densenet-solutions[docs]'",
        name=error.name,
    ) from None

#: What pages import, and what PyTorch itself imports when the meta device is first used.
LIBRARIES = [
    "IPython.core.interactiveshell", "jupytext", "matplotlib.figure",
    "matplotlib.backends.backend_svg", "mkdocs.__main__", "pandas", "sklearn.linear_model",
    "torch", "torchvision", "torch._refs", "torch._dynamo", "torch.utils.flop_counter",
    "torch._subclasses.fake_tensor",
]  # fmt: skip

#: One thread a page, whatever the machine has: sums and scratch space depend on their number.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "MPLBACKEND": "agg",
}

_EXPRESSION = re.compile(r"\{\{\s+((?:(?!\n[ \t]*\n).)+?)\s+\}\}", re.DOTALL)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

_context: Any = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
if _context.get_start_method() == "forkserver":
    _context.set_forkserver_preload(LIBRARIES)
_starting, _stopped = threading.Lock(), threading.Event()
_running: set[Any] = set()


class PageError(Exception):
    """A page did not run; the message says which cell, and shows what was raised."""


def read_page(text: str) -> NotebookNode:
    """The cells of a page in percent format."""
    return jupytext.reads(text, fmt="py:percent")


def run(notebook: NotebookNode, page: str, *, timeout: float = 300) -> NotebookNode:
    """Run `notebook` and return it with outputs and with its Markdown filled.

    `metadata["densenet"]` of the result holds `seconds` and the number of code `cells`. The working
    directory is an empty temporary one. `timeout` bounds the whole page, in seconds.

    Raises:
        PageError: a cell or an expression raised or wrote to stderr, the page took too long, or its
            process died.
    """
    start = time.perf_counter()
    folder = Path(tempfile.gettempdir(), f"densenet-page-{uuid.uuid4().hex}")
    mine, its = _context.Pipe(duplex=False)
    leftovers = (folder, Path(multiprocessing.util.get_temp_dir()))
    arguments = (its, notebook, page, leftovers, dict(os.environ) | ENVIRONMENT)
    process = _context.Process(target=_run, args=arguments, daemon=True)
    try:
        with _starting, _environment(ENVIRONMENT):  # libraries read it when they are imported
            if _stopped.is_set():
                raise PageError(f"{page} was not started: the build has ended")
            process.start()
            _running.add(process)
        its.close()
        if not wait([mine, process.sentinel], timeout):
            raise PageError(f"{page} ran longer than {timeout:g} s and was stopped")
        done, failure = mine.recv()
    except EOFError:
        process.join()
        raise PageError(f"{page}: its process died with code {process.exitcode}") from None
    finally:
        _running.discard(process)
        _kill(process)
        mine.close()
        shutil.rmtree(folder, ignore_errors=True)
    if failure:
        raise PageError(failure)
    cells = sum(1 for cell in done.cells if cell.cell_type == "code")
    done.metadata["densenet"] = {"seconds": time.perf_counter() - start, "cells": cells}
    return done


def stop_all() -> None:
    """Stop every page that runs, for good; `run` raises `PageError` for each."""
    _stopped.set()
    with _starting:
        for process in list(_running):
            _kill(process)


def _kill(process: Any) -> None:
    if process.pid is None:
        return
    if process.is_alive() and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # with all that the page has started
    process.kill()
    process.join()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# What follows happens in the page's process.


def _run(
    answer: Connection,
    notebook: NotebookNode,
    page: str,
    leftovers: Sequence[Path],
    environment: dict[str, str],
) -> None:
    folder = leftovers[0]
    if hasattr(os, "setsid"):
        os.setsid()  # an interrupt is the builder's: it ends the page
    threading.Thread(target=_end_with_the_builder, args=(leftovers,), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    if "torch" in sys.modules:  # else it reads the environment
        sys.modules["torch"].set_num_threads(1)
    (folder / "page").mkdir(parents=True)
    os.chdir(folder / "page")
    failure = ""
    try:
        interpreter = _Interpreter(folder)
        for number, cell in enumerate(notebook.cells, start=1):
            interpreter.where = f"{page}: cell {number}"
            if cell.cell_type == "code":
                interpreter.execute(cell)
            elif cell.cell_type == "markdown":
                interpreter.fill(cell)
    except PageError as error:
        failure = str(error)
    answer.send((notebook, failure))
    threading.Event().wait()  # for the builder, who ends this process


def _end_with_the_builder(leftovers: Sequence[Path]) -> None:
    builder = multiprocessing.parent_process()
    assert builder is not None
    builder.join()
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Interpreter:
    """An IPython shell whose displays and streams become a cell's outputs."""

    def __init__(self, folder: Path) -> None:
        from IPython.core.displayhook import DisplayHook
        from IPython.core.displaypub import DisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        self.where = ""
        self.outputs: list[NotebookNode] = []
        traces: list[str] = []
        show, self._traces = self._show, traces
        self._stdout = _redirect(sys.stdout, 1, folder / "stdout")
        self._stderr = _redirect(sys.stderr, 2, folder / "stderr")

        class Hook(DisplayHook):
            shell: Any

            def __call__(self, result: Any = None) -> None:
                if result is not None:
                    self.update_user_ns(result)
                    show(self.shell.display_formatter.format(result)[0])

        class Publisher(DisplayPublisher):
            def publish(self, data: Any, *args: Any, **options: Any) -> None:
                show(data)

        class Shell(InteractiveShell):
            displayhook_class = Hook
            display_pub_class = Publisher

            def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
                traces.append(_ESCAPES.sub("", "\n".join(stb)).strip())

        self._shell = Shell.instance(  # `display` asks for it
            ipython_dir=str(folder / "ipython"), config=Config(HistoryManager={"enabled": False})
        )

    def execute(self, cell: NotebookNode) -> None:
        """Run a code cell; its outputs are put into it."""
        self.outputs = cell.outputs = []
        self._traces.clear()
        done = self._shell.run_cell(cell.source)
        error = done.error_before_exec or done.error_in_exec
        if error is not None:
            trace = "\n".join(self._traces)
            raise PageError(
                f"{self.where} raised {type(error).__name__}: {error}\n\n"
                f"{cell.source.strip()}\n\n{trace}"
            )
        self._listen()
        self._refuse_stderr()

    def fill(self, cell: NotebookNode) -> None:
        """Replace a Markdown cell's expressions by their values.

        HTML that stands alone becomes `<!--ds-html-N-->`, for entry N of the cell's metadata
        `html`, so that Markdown never touches it.
        """
        cell.metadata["html"] = []
        cell.source = _EXPRESSION.sub(lambda match: self._value(match, cell), cell.source)

    def _value(self, match: re.Match[str], cell: NotebookNode) -> str:
        text, code = match.string, match[1]
        self.outputs = []
        where = f"{self.where}: {{{{ {code} }}}}"
        try:
            value = eval(f"({code}\n)", self._shell.user_ns)
            if value is None:
                raise ValueError("its value is None")
            markdown, html = (
                getattr(value, name)() if hasattr(value, name) else None
                for name in ("_repr_markdown_", "_repr_html_")
            )
        except Exception as error:
            raise PageError(f"{where} raised {type(error).__name__}: {error}") from None
        self._listen()
        self._refuse_stderr()
        if self.outputs:
            raise PageError(f"{where} prints; an expression only has a value")
        indent = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        alone = not indent.strip() and not text[match.end() :].partition("\n")[0].strip()
        if markdown is not None:
            return textwrap.indent(markdown, indent).strip() if alone else str(markdown)
        if html is None or not alone:
            return str(value if html is None else html)
        cell.metadata["html"].append({"expression": code, "html": html})
        return f"\n\n{indent}<!--ds-html-{len(cell.metadata['html']) - 1}-->\n\n"

    def _show(self, data: Any) -> None:
        self._listen()
        self.outputs.append(nbformat.v4.new_output("display_data", data=data))

    def _listen(self) -> None:
        sys.stdout.flush()
        if said := self._stdout.read().decode(errors="replace"):
            self.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=said))

    def _refuse_stderr(self) -> None:
        sys.stderr.flush()
        if said := self._stderr.read().decode(errors="replace").strip():
            raise PageError(f"{self.where} writes to stderr: {said}")


def _redirect(stream: Any, number: int, path: Path) -> BinaryIO:
    """Send a stream to a file, also what libraries write to it without Python; returns a reader."""
    with path.open("ab") as file:
        os.dup2(file.fileno(), number)
    stream.reconfigure(encoding="utf-8")
    return path.open("rb")


def main() -> None:
    """Write a page as Markdown, with its figures in it."""
    from densenet_solutions.files import write_text_atomically
    from densenet_solutions.site.build.compose import compose

    if len(sys.argv) != 3:
        sys.exit("usage: python -m densenet_solutions.site.build.run PAGE.py FOLDER")
    page, folder = map(Path, sys.argv[1:])
    try:
        document = compose(run(read_page(page.read_text(encoding="utf-8")), page.name), page.name)
    except (OSError, PageError, ValueError) as error:
        sys.exit(str(error))
    # A blank line would end a block of HTML.
    document.html = [re.sub(r"\n\s*\n", "\n", html) for html in document.html]
    print(write_text_atomically(folder / f"{page.stem}.md", document.fill(document.markdown)))


if __name__ == "__main__":
    main()
