"""Run a page from top to bottom in a kernel of its own. A page that raises raises here."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from densenet_solutions.site.build.warm import WarmKernels

#: Pages that run now, each in an event loop of its own.
_running: dict[asyncio.Task[None], asyncio.AbstractEventLoop] = {}

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class PageError(Exception):
    """A page did not run; the message says which cell, what was raised, and shows the code."""


def execute(
    notebook: NotebookNode,
    page: str,
    *,
    timeout: float,
    threads: int,
    kernel: str = "python3",
    warm: WarmKernels | None = None,
) -> NotebookNode:
    """Run `notebook` and return it with outputs; `metadata["densenet"]` tells seconds and cells.

    The kernel's working directory is an empty temporary one: a page writes nothing into the
    sources. `timeout` bounds the whole page, in seconds; `threads` is what the page may use. With
    `warm`, the kernel is forked from a process that has the heavy libraries already.

    Raises:
        PageError: a cell raised, the page took too long, or there is no kernel.
    """
    notebook = nbformat.from_dict(notebook)
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="densenet-page-") as directory,
        tempfile.TemporaryFile("w+") as said,
    ):
        client = _Client(
            notebook,
            warm=warm,
            kernel_name=kernel,
            resources={"metadata": {"path": directory}},
            allow_errors=False,
            record_timing=False,
            shutdown_kernel="immediate",  # all outputs are here: nothing to wait for
        )
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MPLBACKEND": "agg"}
        try:
            # In a thread of its own: the caller's may already have a running event loop.
            with ThreadPoolExecutor(1) as alone:
                alone.submit(
                    lambda: asyncio.run(_run(client, timeout, env=environment, stderr=said))
                ).result()
        except CellExecutionError as error:
            raise PageError(_explain(notebook, page, error)) from None
        except (TimeoutError, DeadKernelError, RuntimeError) as error:
            if time.perf_counter() - start >= timeout:  # stopping it can look like its death
                raise PageError(f"{page} ran longer than {timeout:g} s and was stopped") from None
            said.seek(0)
            raise PageError(f"{page}: the kernel died ({error})\n{said.read()}") from None
        except NoSuchKernel:
            raise PageError(
                f'{page}: there is no Python kernel; pip install -e ".[docs]" brings one'
            ) from None
    cells = sum(1 for cell in notebook.cells if cell.cell_type == "code")
    notebook.metadata["densenet"] = {"seconds": time.perf_counter() - start, "cells": cells}
    return notebook


class _Client(NotebookClient):
    """A client that takes its kernel from a warm process if there is one, and clears up itself."""

    def __init__(self, notebook: NotebookNode, *, warm: WarmKernels | None, **options: Any) -> None:
        super().__init__(notebook, **options)
        self._warm = warm

    def create_kernel_manager(self) -> Any:
        if self._warm is None:
            return super().create_kernel_manager()
        self.km = self._warm.manager()
        return self.km


def stop_all() -> None:
    """Stop every page that runs, with its kernel; `execute` raises `CancelledError` for each."""
    for task, loop in list(_running.items()):
        loop.call_soon_threadsafe(task.cancel)


async def _run(client: NotebookClient, timeout: float, **kernel: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    _running[task] = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(client.async_execute(**kernel), timeout)
    finally:
        del _running[task]


def _explain(notebook: NotebookNode, page: str, error: CellExecutionError) -> str:
    number, cell = next(
        (i, cell)
        for i, cell in enumerate(notebook.cells, start=1)
        if any(output.output_type == "error" for output in cell.get("outputs", ()))
    )
    failure: Any = next(output for output in cell.outputs if output.output_type == "error")
    trace = _ESCAPES.sub("", "\n".join(failure.traceback)).strip()
    return (
        f"{page}: cell {number} raised {failure.ename}: {failure.evalue}\n\n"
        f"{cell.source.strip()}\n\n{trace}"
    )
