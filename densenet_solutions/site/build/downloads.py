"""A page as a notebook to take away: the cells without outputs, and how to get the package."""

from __future__ import annotations

import nbformat

from densenet_solutions.files import write_text_atomically
from densenet_solutions.site.build.run import read_page


def write_notebook(text: str, path: str, repository: str | None) -> None:
    """Write the page `text` (percent format) to `path` as .ipynb; it runs from top to bottom."""
    notebook = read_page(text)
    where = f"git+{repository}" if repository else "-e ."
    hint = "This notebook needs the package `densenet-solutions`" + (
        ": `%pip install " + where + "`." if repository else ", installed from its repository."
    )
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(hint))
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same page gives the same file
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    write_text_atomically(path, nbformat.writes(notebook))
