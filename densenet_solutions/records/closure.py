"""Which code a result depends on: the imports of what measured it, and theirs, as one fingerprint.

Imports are read from the syntax trees, so nothing is imported, and an import inside a function
counts too. A name that a package passes on (`from densenet_solutions.models import densenet121`)
leads to the file that defines it, not to all that the package names.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

NAME = "densenet_solutions"
PACKAGE = Path(__file__).parents[1]

#: What cannot change a value: it writes, checks, prints or shows.
_WITHOUT_INFLUENCE = ("records", "files.py", "checks.py", "progress.py", "site", "cli")
#: The table of all strategies: a case depends on those it uses, and names them itself.
_BARRIERS = ("memory/__init__.py",)


class Import(NamedTuple):
    """`from module import name`, or `import module` (no name)."""

    module: str
    name: str | None


def root(function: Callable[..., Any]) -> str:
    """Path of the module that defines `function`, relative to the package.

    Raises:
        ValueError: it is not the package's.
    """
    while isinstance(function, functools.partial):
        function = function.func
    module = function.__module__
    path = _file(PACKAGE, module)
    if path is None:
        raise ValueError(f"what is recorded is measured by {NAME}, got a function of {module}")
    return path


def closure(roots: Iterable[str], package: Path = PACKAGE) -> tuple[str, ...]:
    """The modules `roots` and all that they import inside the package, as sorted relative paths.

    Raises:
        FileNotFoundError: a root does not exist.
    """
    found: set[str] = set()
    todo = list(roots)
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += _neighbours(package, path)
    return tuple(sorted(found))


def libraries(roots: Iterable[str], package: Path = PACKAGE) -> tuple[str, ...]:
    """Top-level names of the third-party modules that the closure of `roots` imports, sorted."""
    names = {
        found.module.partition(".")[0]
        for path in closure(roots, package)
        for found in imports(package / path)
    }
    return tuple(sorted(names - {NAME} - sys.stdlib_module_names))


def fingerprint(roots: Iterable[str], package: Path = PACKAGE) -> str:
    """SHA-256 of the code in the closure of `roots`, with the names of its files.

    Comments, docstrings and formatting do not count: the syntax tree is what is hashed, in a form
    that is the same under every version of Python.

    Raises:
        FileNotFoundError: a root does not exist.
    """
    digest = hashlib.sha256()
    for path in closure(roots, package):
        code = _code((package / path).read_text(encoding="utf-8"))
        digest.update(path.encode() + b"\0" + code.encode() + b"\0")
    return digest.hexdigest()


def imports(path: Path, *, at_load: bool = False, types: bool = False) -> tuple[Import, ...]:
    """What a file imports.

    Args:
        at_load: only what is imported when the file is, so nothing inside a function.
        types: also what is imported for type checking alone.
    """
    return _imports(path.read_text(encoding="utf-8"), at_load, types)


def _neighbours(package: Path, path: str) -> Iterator[str]:
    for module, name in imports(package / path):
        target = _defined_in(package, module, name)
        if target is not None and target not in _BARRIERS and not _is_without_influence(target):
            yield target


@functools.cache
def _is_without_influence(path: str) -> bool:
    return any(Path(path).is_relative_to(room) for room in _WITHOUT_INFLUENCE)


def _defined_in(package: Path, module: str, name: str | None) -> str | None:
    """The file behind `from module import name`; `None` when it is not in the package."""
    if name is not None and (inside := _file(package, f"{module}.{name}")) is not None:
        return inside
    path = _file(package, module)
    if path is not None and name is not None and path.endswith("__init__.py"):
        for found in imports(package / path):
            if found.name == name:
                return _defined_in(package, found.module, name)
    return path


def _file(package: Path, module: str) -> str | None:
    top, *parts = module.split(".")
    if top != NAME:
        return None
    for path in (Path(*parts, "__init__.py"), Path(*parts).with_suffix(".py") if parts else None):
        if path is not None and (package / path).is_file():
            return path.as_posix()
    return None


@functools.cache
def _imports(text: str, at_load: bool, types: bool) -> tuple[Import, ...]:
    found: list[Import] = []
    todo: list[ast.AST] = [ast.parse(text)]
    while todo:
        node = todo.pop()
        if not types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if at_load and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            found += [Import(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"imports are absolute, got {ast.unparse(node)!r}")
            found += [Import(str(node.module), alias.name) for alias in node.names]
        todo += ast.iter_child_nodes(node)
    return tuple(found)


@functools.cache
def _code(text: str) -> str:
    tree = ast.parse(text)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return _tree(tree)


def _tree(node: Any) -> str:
    """Like `ast.dump`, without empty fields and empty text, which some versions of Python have."""
    if isinstance(node, list):
        return f"[{', '.join(_tree(item) for item in node if not _is_empty_text(item))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        f"{name}={_tree(value)}"
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    ]
    return f"{type(node).__name__}({', '.join(fields)})"


def _is_empty_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""
