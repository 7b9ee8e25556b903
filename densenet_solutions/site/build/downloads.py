"""A page as a notebook to take away: it holds what the page shows, and runs from top to bottom.

The site's Markdown becomes Jupyter's: folds are `<details>`, boxes are block quotes, attributes and
`<div>`s vanish, links lead to the living site. Formulas stay as they are.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from html import escape

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from densenet_solutions.site.lesson import VERDICTS

#: Where a link to a page leads; None: nowhere, because there is no living site.
Address = Callable[[str], str | None]

_INSTALL = '%pip install --quiet "densenet-solutions[houses,plots] @ git+{}"'
_HOW = """\
This notebook needs the package `densenet-solutions` with two of its extras. In a checkout of the
package's repository this command installs them: `pip install ".[houses,plots]"`"""
_THREAD = """\
import torch

torch.set_num_threads(1)  # as on the site: sums and scratch space depend on it"""

_BOX = re.compile(
    r"^(?P<mark>!!!|\?\?\?\+?|===) +(?P<kind>[\w-]*)[\w -]*?(?: *\"(?P<title>.*)\")?\n"
    r"(?P<body>(?:(?: {4}.*)?\n)*(?: {4}.*)?)",
    re.MULTILINE,
)
_MARKUP = re.compile(
    r"(?P<code>^ *(?P<fence>`{3,}).*?^ *(?P=fence) *$|(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))"
    r"|(?P<div>^ *</?div[^>\n]*>[ \t]*$)"
    r"|\^\[(?P<aside>(?:[^][]|\[[^][]*\](?:\([^()]*\))?)+)\]"
    r"|\[guess: (?P<guess>[^][]+)\]"
    r"|(?P<attributes>[ \t]*\{:?(?: *[.#][\w-]+| *[\w-]+=\"[^\"\n]*\")+ *\})"
    r"|\[(?P<text>(?:[^][]|\[[^][]*\])*)\]\((?P<to>(?![a-z]+:)[^)\s]+\.(?:md|py)(?:#[^)\s]*)?)\)",
    re.DOTALL | re.MULTILINE,
)


def notebook(page: NotebookNode, repository: str | None, address: Address) -> NotebookNode:
    """The notebook of an executed page; with a `repository` its first cell installs the package."""
    cells = [
        new_code_cell(_INSTALL.format(repository), metadata={"tags": ["install"]})
        if repository
        else new_markdown_cell(_HOW),
        new_code_cell(_THREAD),
    ]
    for cell in page.cells:
        if cell.cell_type == "code":
            cells.append(
                new_code_cell(cell.source, outputs=[_output(o, address) for o in cell.outputs])
            )
            continue
        shown = cell.metadata.get("html", ())
        parts = re.split(r"^<!--ds-html-(\d+)-->$", cell.source, flags=re.MULTILINE)
        for text, number in zip(parts[::2], [*map(int, parts[1::2]), None], strict=True):
            for i, entry in enumerate(shown):  # what stands within a box
                text = text.replace(f"<!--ds-html-{i}-->", re.sub(r"\s*\n\s*", " ", entry["html"]))
            if text.strip():
                cells.append(new_markdown_cell(for_jupyter(text, address)))
            if number is not None:
                html = new_output("display_data", data={"text/html": shown[number]["html"]})
                cells.append(new_code_cell(shown[number]["expression"], outputs=[html]))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same page gives the same file
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )


def _output(output: NotebookNode, address: Address) -> NotebookNode:
    markdown = output.get("data", {}).get("text/markdown")
    if markdown is None:
        return output
    return new_output("display_data", data={"text/markdown": for_jupyter(markdown, address)})


def for_jupyter(text: str, address: Address) -> str:
    """The site's Markdown as Jupyter understands it."""

    def plain(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        if match["aside"]:
            return f" ({_MARKUP.sub(plain, match['aside'])})"
        if match["guess"]:
            return f"{match['guess']}: ____"
        if match["to"]:
            where = address(match["to"])
            return f"[{match['text']}]({where})" if where else match["text"]
        return ""

    return re.sub(r"\n{3,}", "\n\n", _MARKUP.sub(plain, _unbox(text))).strip()


def _unbox(text: str) -> str:
    return _BOX.sub(_box, text)


def _box(match: re.Match[str]) -> str:
    title, kind = match["title"] or match["kind"].capitalize(), match["kind"]
    body = _unbox(textwrap.dedent(match["body"]).strip()).strip()
    if match["mark"].startswith("?"):
        summary = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(title, quote=False))
        return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>\n\n"
    if match["mark"] == "===":
        return f"**{title}**\n\n{body}\n\n"
    verdict = f" *{kind.replace('-', ' ')}*" if kind in VERDICTS else ""
    quoted = f"**{title}**{verdict}\n\n{body}"
    return textwrap.indent(quoted, "> ", lambda line: True).replace("> \n", ">\n") + "\n\n"
