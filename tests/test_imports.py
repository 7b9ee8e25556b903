"""Imports run one way. The rules are read from the syntax trees; nothing is imported."""

from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from densenet_solutions.records import closure
from densenet_solutions.records.closure import NAME, PACKAGE

#: room → rooms it may import, besides itself.
MAY_IMPORT = {
    "checks": set(),
    "asked": set(),
    "threads": set(),
    "files": set(),
    "progress": set(),
    "records": {"files"},
    "models": set(),
    "measure": {"asked", "threads"},
    "memory": {"models", "asked"},
    "images": {"files"},
    "training": {"models", "images", "files", "records", "progress"},
    "houses": {"models", "training", "files"},
    "site": {"files", "records"},
    "exercises": {
        "models", "measure", "memory", "training", "images", "houses", "records", "site", "files",
        "threads",
    },
    "check": {"models", "measure", "memory", "houses", "records", "site", "files"},
    "__main__": {"cli"},
    "cli": {
        "check", "models", "measure", "memory", "training", "images", "houses", "exercises",
        "records", "files", "site", "progress", "threads",
    },
}  # fmt: skip

#: Heavy libraries that a room must not import, not even inside a function.
MUST_NOT_IMPORT = {
    "files": {"torch", "numpy", "pandas", "matplotlib"},
    "site": {"torch", "torchvision", "pandas", "sklearn"},
}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path, *, at_load: bool = False) -> set[str]:
    """Names of the modules that a file imports; `at_load`: only when it is itself imported."""
    found = closure.imports(path, at_load=at_load, types=not at_load)
    return {
        f"{module}.{name}" if f"{module}.{name}" in MODULES else module for module, name in found
    }


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == NAME and len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    here = room(module_of(path))
    if not here:
        assert not imports(path), "the package itself imports nothing"
        return
    assert here in MAY_IMPORT, f"{here} is a new room: say in MAY_IMPORT what it may import"
    used = {room(name) for name in imports(path)} - {"", here, "checks"}
    assert used <= MAY_IMPORT[here]
    heavy = {name.split(".")[0] for name in imports(path)} & MUST_NOT_IMPORT.get(here, set())
    assert not heavy


def test_there_is_no_circle_of_rooms_or_of_modules() -> None:
    tuple(TopologicalSorter(MAY_IMPORT).static_order())
    graph = {
        module: {name for name in imports(path, at_load=True) if name in MODULES} - {module}
        for module, path in MODULES.items()
    }
    tuple(TopologicalSorter(graph).static_order())
