"""In a page's process: cells in, outputs and filled Markdown out.

A Markdown cell is a template: `{{ expression }}` is replaced by the value of the expression at the
point where it stands; objects that show themselves are inserted as what they show.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, BinaryIO

import nbformat
from nbformat import NotebookNode

_EXPRESSION = re.compile(r"\{\{\s+((?:(?!\n[ \t]*\n).)+?)\s+\}\}", re.DOTALL)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class PageError(Exception):
    """A page did not run; the message says which cell, and shows what was raised."""


class Interpreter:
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
