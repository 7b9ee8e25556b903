"""Executed pages on disk. A page runs again when anything that could change its output changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
from importlib.metadata import distributions
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from densenet_solutions.files import write_text_atomically

log = logging.getLogger("mkdocs.plugins.densenet_solutions")

_RUNNERS = ("site/build/run.py", "site/build/interpret.py")
_PACKAGE = Path(__file__).parents[2]
#: What the package reads, where it changes what a page shows.
_VARIABLES = ("DENSENET_SOLUTIONS_REPO_URL",)


def page_key(text: str, surroundings: str) -> str:
    """Key of a page: its source, and what `surroundings()` said."""
    return hashlib.sha256(f"{surroundings}\n{text}".encode()).hexdigest()[:16]


def surroundings(package: Path = _PACKAGE) -> str:
    """All but its own source that can change what a page shows.

    The package (sources, records, data; of what is above the pages, only what runs them), Python
    and all distributions that are installed, variables of the environment.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package).as_posix()
        above = name.startswith(("cli/", "site/build/")) and name not in _RUNNERS
        if path.is_file() and not above and not re.search(r"(^|/)(\.|__pycache__/)", name):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    installed = sorted(f"{found.name}={found.version}" for found in distributions())
    variables = [f"{name}={os.environ.get(name, '')}" for name in _VARIABLES]
    return "\n".join([digest.hexdigest(), platform.python_version(), *installed, *variables])


class PageCache:
    """Executed notebooks in `folder`, one file a page; the newest replaces the older ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, page: str, key: str) -> NotebookNode | None:
        """The executed notebook, or None where there is none or it cannot be read."""
        try:
            return nbformat.from_dict(json.loads(self._path(page, key).read_text("utf-8")))
        except (OSError, ValueError):
            return None

    def store(self, page: str, key: str, notebook: NotebookNode) -> None:
        """Keep the notebook and drop what the page had before; a read-only disk only costs time."""
        path = self._path(page, key)
        try:
            write_text_atomically(path, json.dumps(notebook))
            for old in self.folder.glob(self._path(page, "*").name):
                if old != path:
                    old.unlink(missing_ok=True)
        except OSError as error:
            log.info("The output of %s is not cached: %s", page, error)

    def _path(self, page: str, key: str) -> Path:
        return self.folder / f"{page.replace('/', '--').removesuffix('.py')}.{key}.json"
