"""Run the notebooks of a built site as they are, with this Python's libraries.

`python tests/site/notebooks.py SITE [NAME…]` gives each a kernel and an empty folder of its own.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell


def run_notebook(path: Path, folder: Path) -> str:
    """Run all cells but the one that installs, in an empty folder; says how many."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    notebook.cells.insert(0, new_code_cell(f"import os; os.chdir({str(folder)!r})"))
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", skip_cells_with_tag="install"
    ).execute()
    left = [found.name for found in folder.iterdir()]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    if said or left or not outputs:
        raise ValueError(f"{path.name} writes to stderr {said}, leaves {left}, shows {outputs}")
    return f"{path.name}: {len(notebook.cells) - 1} cells, {len(outputs)} outputs"


def _alone(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return run_notebook(path, Path(folder))


if __name__ == "__main__":
    found = {path.stem: path for path in sorted(Path(sys.argv[1]).rglob("*.ipynb"))}
    with ThreadPoolExecutor(2) as two:
        for line in two.map(_alone, [found[name] for name in sys.argv[2:] or found]):
            print(line)
