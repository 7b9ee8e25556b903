"""An executed notebook → one Markdown document, rendered and checked like any other page."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from html import escape

from nbformat import NotebookNode

#: Tags a cell may carry.
TAGS = {
    "show": "show the code above what it puts out",
    "lines": "show the code, and below it what it puts out, in a fold",
}


@dataclass
class Document:
    """Markdown, with HTML outputs left out: each stands where its placeholder is.

    HTML is put back by `fill` after rendering, so that Markdown never touches it.
    """

    markdown: str = ""
    html: list[str] = field(default_factory=list)

    def fill(self, content: str) -> str:
        """Put the HTML outputs back into the rendered page."""
        content = content.replace(_BREAK, "")
        return _PLACEHOLDER.sub(lambda m: self.html[int(m[1])], content)

    def hold(self, html: str) -> str:
        """Keep HTML for `fill`; returns its placeholder."""
        # pandas dresses its tables for Jupyter; a plain table gets the site's style.
        html = re.sub(r"<style scoped>.*?</style>", "", html, flags=re.DOTALL)
        html = html.replace('<table border="1" class="dataframe">', "<table>")
        self.html.append(f'<div class="ds-output">{html}</div>')
        return f"<!--ds-output-{len(self.html) - 1}-->"


_PLACEHOLDER = re.compile(r"(?:<p>)?<!--ds-output-(\d+)-->(?:</p>)?")
_BREAK = "<!--ds-cell-->"  # keeps lists of two cells apart


def compose(notebook: NotebookNode, page: str) -> Document:
    """Write the notebook as Markdown.

    Raises:
        ValueError: a cell has an unknown tag or puts out something a page cannot show.
    """
    document = Document()
    blocks: list[str] = []
    for number, cell in enumerate(notebook.cells, start=1):
        tags = set(cell.metadata.get("tags", ()))
        if unknown := tags - set(TAGS):
            raise ValueError(
                f"{page}: cell {number} has the tags {sorted(unknown)}; known are {list(TAGS)}"
            )
        if cell.cell_type == "markdown":
            text = cell.source
            for i, shown in enumerate(cell.metadata.get("html", ())):
                text = text.replace(f"<!--ds-html-{i}-->", document.hold(shown["html"]))
            blocks.append(text)
        elif cell.cell_type == "code":
            shown = [_fence(cell.source, "python")] if tags else []
            where = f"{page}: cell {number}"
            shown += [_output(output, document, where) for output in cell.outputs]
            if "lines" in tags:
                inside = textwrap.indent("\n\n".join(shown), "    ")
                shown = [f'??? lines "The lines behind it, to run yourself"\n\n{inside}']
            blocks += shown
    document.markdown = f"\n\n{_BREAK}\n\n".join(block.strip("\n") for block in blocks if block)
    return document


def _output(output: NotebookNode, document: Document, where: str) -> str:
    if output.output_type == "stream":
        if output.name == "stderr":
            raise ValueError(f"{where} writes to stderr: {output.text.strip()}")
        return _fence(output.text, "text", "ds-stdout")
    if output.output_type == "error":
        raise ValueError(f"{where} holds an error: {output.ename}")
    data = output.data
    if "text/html" in data:
        return document.hold(data["text/html"])
    if "text/markdown" in data:
        return str(data["text/markdown"])
    for kind in data:
        if kind.startswith("image/") or kind.startswith("application/"):
            raise ValueError(
                f"{where} puts out {kind}; figures go through densenet_solutions.site.figures.svg"
            )
    return _fence(data.get("text/plain", ""), "text", "ds-stdout")


def _fence(text: str, language: str, *classes: str) -> str:
    if not text.strip():
        return ""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    names = " ".join(f".{name}" for name in (language, *classes))
    info = f"{{ {names} }}" if classes else language
    return f"{fence}{info}\n{text.rstrip()}\n{fence}"


def build_note(notebook: NotebookNode, stem: str, colab: str | None) -> str:
    """The line that offers the notebook and says how long the page ran."""
    made = notebook.metadata["densenet"]
    links = [
        f'<a href="{escape(stem)}.ipynb" download>Notebook</a>',
        f'<a href="{escape(stem)}.py" download>Script</a>',
    ]
    if colab:
        links.append(f'<a href="{escape(colab, quote=True)}">Open in Colab</a>')
    return (
        f'<p class="ds-build" data-search-exclude data-cells="{made["cells"]}">'
        f"{' · '.join(links)}<span>Ran from top to bottom when the site was built: "
        f"{made['cells']} cells, {made['seconds']:.1f} s</span></p>"
    )
