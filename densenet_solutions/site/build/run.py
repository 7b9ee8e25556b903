"""Run a page from top to bottom in a process of its own: a file in, a notebook with outputs out.

The fork server imports the heavy libraries once and never the package, so a page always runs
today's code. A page that raises, hangs or dies, and a builder that ends, leave nothing behind.

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
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

try:
    import jupytext
    from nbformat import NotebookNode

    from densenet_solutions.site.build.interpret import Interpreter, PageError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed; pages need the extra 'docs': "
        "pip install '.[docs]' in a clone of this repository",
        name=error.name,
    ) from None

#: What most pages import, and what PyTorch itself imports when the meta device is first used.
LIBRARIES = [
    "IPython.core.interactiveshell", "jupytext", "matplotlib.figure",
    "matplotlib.backends.backend_svg", "mkdocs.__main__",
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

_context: Any = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
if _context.get_start_method() == "forkserver":
    _context.set_forkserver_preload(LIBRARIES)
_starting, _stopped = threading.Lock(), threading.Event()
_running: set[Any] = set()


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
        ready = wait([mine, process.sentinel], timeout)
        if not ready:
            raise PageError(f"{page} ran longer than {timeout:g} s and was stopped")
        if mine not in ready:
            raise EOFError
        done, failure = mine.recv()
    except EOFError:
        process.join()
        raise PageError(f"{page}: its process died with code {process.exitcode}") from None
    except OSError as error:  # no memory, no process, no place for a socket
        raise PageError(f"{page} could not be run: {error}") from error
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
    if hasattr(os, "killpg"):
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


def _run(
    answer: Connection,
    notebook: NotebookNode,
    page: str,
    leftovers: Sequence[Path],
    environment: dict[str, str],
) -> None:
    """What happens in the page's process."""
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
        interpreter = Interpreter(folder)
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
