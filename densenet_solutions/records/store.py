"""One JSON file a record: read, write, and tell whether the code has changed since."""

from __future__ import annotations

import ast
import datetime
import functools
import hashlib
import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import densenet_solutions
from densenet_solutions.files import write_text_atomically
from densenet_solutions.records.serialise import dumps, from_json, to_json


@dataclass(frozen=True)
class Provenance:
    """Where a number comes from: enough to make it again.

    `packages` maps distribution names to versions; `date` is ISO 8601 in UTC.
    """

    package: str
    python: str
    packages: Mapping[str, str]
    device: str
    platform: str
    date: str
    driver: str | None = None

    @property
    def machine(self) -> str:
        """The device, as a page writes it."""
        return self.device.replace(", 1 threads", ", 1 thread")


RECORDS = Path(__file__).parent
_PACKAGE = RECORDS.parent


@dataclass(frozen=True)
class Record:
    """Results of one recording.

    `cases` maps the name of a case to its result as plain JSON data; a case that did not fit into
    memory is `{"out_of_memory": true}`. `sources` lists the package's modules the results depend
    on, as paths relative to the package, and `fingerprint` is theirs at the time of recording.
    """

    name: str
    command: str
    provenance: Provenance
    seed: int | None
    sources: tuple[str, ...]
    fingerprint: str
    cases: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_stale(self) -> bool:
        """Whether the sources have changed since, comments and docstrings aside."""
        try:
            return fingerprint(self.sources) != self.fingerprint
        except FileNotFoundError:
            return True

    @property
    def origin(self) -> str:
        """One line for a page: device, library, date, and a warning when the code has changed."""
        made = self.provenance
        line = (
            f"{made.machine}, PyTorch {made.packages.get('torch', 'unknown')}, "
            f"Python {made.python}, {made.date[:10]}"
        )
        return f"{line}; recorded with an earlier version of the code" if self.is_stale else line


def fingerprint(sources: Iterable[str]) -> str:
    """SHA-256 of the code in `sources` (paths relative to the package), comments left out.

    Docstrings and formatting do not count either: the syntax tree is what is hashed, in a form that
    is the same under every version of Python.

    Raises:
        FileNotFoundError: a source does not exist.
    """
    digest = hashlib.sha256()
    for source in sorted(sources):
        code = _code((_PACKAGE / source).read_text(encoding="utf-8"))
        digest.update(source.encode() + b"\0" + code.encode() + b"\0")
    return digest.hexdigest()


@functools.cache
def _code(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
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


def load_record(name: str, directory: Path = RECORDS) -> Record:
    """Read the record `name`.

    Raises:
        FileNotFoundError: there is no such record; the message lists those there are.
        ValueError: the file is not a record, or was changed by something else than a recording.
    """
    path = _path(name, directory)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(record_names(directory)) or "none"
        raise FileNotFoundError(f"no record {name!r} in {directory}; there are: {known}") from None
    try:
        data = json.loads(text)
        seal = data.pop("sha256", None)
        record = from_json(Record, data)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a record: {error}") from error
    if seal != _seal(record):
        raise ValueError(
            f"{path} was edited after it was recorded: its checksum does not fit. Records are made "
            f"by a program, never by hand: `{record.command}`"
        )
    return record


def save_record(record: Record, directory: Path = RECORDS) -> Path:
    """Write `record` to its file, atomically and with a checksum, and return the path."""
    sealed = {**to_json(record), "sha256": _seal(record)}
    return write_text_atomically(_path(record.name, directory), dumps(sealed))


def _seal(record: Record) -> str:
    return hashlib.sha256(dumps(record).encode()).hexdigest()


def record_names(directory: Path = RECORDS) -> list[str]:
    """Names of the records in `directory`, sorted."""
    return sorted(path.stem for path in directory.glob("*.json"))


def provenance(device: str = "cpu") -> Provenance:
    """Provenance of what is computed now on `device` (`"cpu"` or `"cuda"`)."""
    import torch

    driver = None
    name = f"CPU ({_processor()}, {torch.get_num_threads()} threads)"
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
        driver = f"CUDA {torch.version.cuda}"
    packages = {}
    for package in ("torch", "torchvision", "numpy", "pandas", "scikit-learn"):
        try:
            packages[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Provenance(
        package=densenet_solutions.__version__,
        python=".".join(map(str, sys.version_info[:3])),
        packages=packages,
        device=name,
        platform=platform.platform(terse=True),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        driver=driver,
    )


def _path(name: str, directory: Path) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(f"record names are lower-case words joined by - or _, got {name!r}")
    return directory / f"{name}.json"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
