"""How long the site takes to build: from nothing, with nothing changed, with one page edited."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: What a build may take on a machine with two cores, in seconds, by kind; `"page"` is any one page.
BARS: Mapping[str, float] = {"cold": 90, "unchanged": 5, "edited": 15, "page": 15}

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".cache", "site", "__pycache__", ".*_cache")
_RAN = re.compile(r"Ran (\S+) in ([\d.]+) s")

Build = Callable[[Path], str]


@dataclass(frozen=True)
class BuildTime:
    """One build: `kind` is a key of `BARS`, `edited` the page that was edited before it.

    `seconds` is the whole command's; `pages` holds those of every page that was executed.
    """

    kind: str
    edited: str | None
    seconds: float
    pages: Mapping[str, float]

    @property
    def is_within(self) -> bool:
        """Whether the build and each of its pages kept to `BARS`."""
        slowest = max(self.pages.values(), default=0)
        return self.seconds <= BARS[self.kind] and slowest <= BARS["page"]


def mkdocs_build(root: Path) -> str:
    """Build strictly in `root`; returns what MkDocs logged.

    Raises:
        RuntimeError: the build failed.
    """
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the site does not build:\n{done.stderr}")
    return done.stderr


def executed_pages(root: Path) -> list[str]:
    """Pages under `docs/` that are executed, in the order of their names."""
    docs = root / "docs"
    return sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.py"))


def build_times(
    root: Path, edits: Sequence[str] | None = None, *, build: Build = mkdocs_build
) -> Iterator[BuildTime]:
    """Time a cold build, an unchanged one and one after an edit of each page, in a copy of `root`.

    Args:
        edits: pages to edit, relative to `docs/`; all executed ones by default.

    Raises:
        ValueError: `root` has no site, or there is no such page.
        RuntimeError: a build failed.
    """
    if not (root / "mkdocs.yml").exists():
        raise ValueError(f"a checkout of the site has a mkdocs.yml, got {root}")
    known = executed_pages(root)
    for page in edits or ():
        if page not in known:
            raise ValueError(f"executed pages are {known}, got {page!r}")
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "site"
        shutil.copytree(root, copy, ignore=_LEFT_OUT)
        yield _timed("cold", None, copy, build)
        yield _timed("unchanged", None, copy, build)
        for page in known if edits is None else edits:
            with (copy / "docs" / page).open("a", encoding="utf-8") as file:
                file.write("# edited\n")
            yield _timed("edited", page, copy, build)


def _timed(kind: str, edited: str | None, root: Path, build: Build) -> BuildTime:
    start = time.perf_counter()
    log = build(root)
    seconds = time.perf_counter() - start
    return BuildTime(kind, edited, seconds, {page: float(s) for page, s in _RAN.findall(log)})
