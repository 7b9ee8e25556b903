"""One JSON file a record: read, write, and tell which of its cases the code has left behind."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import json
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import densenet_solutions
from densenet_solutions import checks
from densenet_solutions.files import write_text_atomically
from densenet_solutions.records.closure import PACKAGE, fingerprint
from densenet_solutions.records.serialise import dumps, from_json

RECORDS = Path(__file__).parent

#: Distributions whose versions a page shows for what it computed itself.
LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from. `packages` maps names of distributions to versions."""

    package: str
    python: str
    packages: Mapping[str, str]
    device: str
    platform: str
    driver: str | None = None


@dataclass(frozen=True)
class Made:
    """When and by which code a case was measured.

    `roots` are the modules, relative to the package, whose imports the `fingerprint` covers; see
    `densenet_solutions.records.closure`. `date` is ISO 8601 in UTC; `commit` that of the checkout,
    with `+` when files had been changed since, or `None` where there was no checkout. `device` is
    that of this case if it is not the record's.
    """

    roots: tuple[str, ...]
    fingerprint: str
    date: str
    commit: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class Record:
    """Results of one recording.

    `cases` maps the name of a case to its result as plain JSON data; a case that did not fit into
    memory is `{"out_of_memory": true}`. `made` says of every case how old it is.
    """

    name: str
    command: str
    provenance: Provenance
    seed: int | None
    cases: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.cases) != set(self.made):
            unlike = sorted(set(self.cases) ^ set(self.made))
            raise ValueError(f"every case has a result and an entry in `made`, got {unlike}")

    @property
    def stale_cases(self) -> tuple[str, ...]:
        """Names of the cases whose code has changed since, comments and docstrings aside."""
        now = {roots: _fingerprint(roots) for roots in {made.roots for made in self.made.values()}}
        return tuple(
            case for case, made in self.made.items() if now[made.roots] != made.fingerprint
        )

    @property
    def out_of_memory(self) -> tuple[str, ...]:
        """Names of the cases that did not fit into memory."""
        return tuple(
            case
            for case, result in self.cases.items()
            if isinstance(result, dict) and result.get("out_of_memory")
        )

    @property
    def devices(self) -> Mapping[str, str]:
        """Name of a case → the device that it was measured on."""
        return {case: made.device or self.provenance.device for case, made in self.made.items()}

    @property
    def date(self) -> str:
        """When the latest case was measured, ISO 8601 in UTC; empty without cases."""
        return max((made.date for made in self.made.values()), default="")

    @property
    def origin(self) -> str:
        """One line for a page: devices, library, dates, and a warning when the code has changed."""
        made = self.provenance
        counts = Counter(self.devices.values())
        where = made.device
        if len(counts) > 1:
            where = " and ".join(
                f"{device} ({n} case{'s' * (n > 1)})" for device, n in counts.most_common()
            )
        dates = sorted({case.date[:10] for case in self.made.values()})
        line = (
            f"{where}, PyTorch {made.packages.get('torch', 'unknown')}, "
            f"Python {made.python}, {' to '.join(dates[:: max(1, len(dates) - 1)])}"
        )
        stale = self.stale_cases
        if stale:
            one = f" (case{'s' if len(stale) > 1 else ''} {_some(stale)})"
            which = "" if len(stale) == len(self.cases) else one
            line += f"; recorded with an earlier version of the code{which}"
        return line


#: Every record that was read in this process, in order; a page says at its end what it rests on.
loaded: list[Record] = []


def load_record(name: str, directory: str | Path = RECORDS) -> Record:
    """Read the record `name`.

    Raises:
        FileNotFoundError: there is no such record; the message lists those there are.
        ValueError: the file cannot be read, is not a record, or is that of another name.
    """
    path = _path(name, Path(directory))
    try:
        record = from_json(Record, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = ", ".join(record_names(directory)) or "none"
        raise FileNotFoundError(f"no record {name!r} in {directory}; there are: {known}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a record: {error}") from error
    if record.name != name:
        raise ValueError(f"{path} should hold the record {name!r}, got {record.name!r}")
    loaded.append(record)
    return record


def save_record(record: Record, directory: str | Path = RECORDS) -> Path:
    """Write `record` to its file, atomically, and return the path."""
    return write_text_atomically(_path(record.name, Path(directory)), dumps(record))


def record_names(directory: str | Path = RECORDS) -> list[str]:
    """Names of the records in `directory`, sorted."""
    return sorted(path.stem for path in Path(directory).glob("*.json"))


def provenance(device: str = "cpu", libraries: Iterable[str] = LIBRARIES) -> Provenance:
    """Provenance of what is computed now on `device` (`"cpu"` or `"cuda"`).

    `libraries` are names of distributions or of modules; those that are not installed are left out.
    """
    import torch

    driver = None
    threads = torch.get_num_threads()
    name = f"CPU ({_processor()}, {threads} thread{'s' if threads > 1 else ''})"
    if checks.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
        driver = f"CUDA {torch.version.cuda}"
    return Provenance(
        package=densenet_solutions.__version__,
        python=".".join(map(str, sys.version_info[:3])),
        packages=_versions(libraries),
        device=name,
        platform=platform.platform(terse=True),
        driver=driver,
    )


def made_now(roots: Iterable[str]) -> Made:
    """The entry of a case that is measured now by the code in `roots`."""
    roots = tuple(sorted(set(roots)))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Made(roots, fingerprint(roots), now, _commit())


@functools.cache
def _fingerprint(roots: tuple[str, ...]) -> str | None:
    try:
        return fingerprint(roots)
    except FileNotFoundError:
        return None  # a module has gone


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    versions = {}
    for library in libraries:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:  # the name of a module, perhaps
            for name in _distributions().get(library, ())[:1]:
                versions[name] = importlib.metadata.version(name)
    return versions


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Name of a module → distributions that bring it: scikit-learn brings `sklearn`."""
    return importlib.metadata.packages_distributions()


@functools.cache
def _commit() -> str | None:
    """The checkout's commit, with `+` when its files have changed; `None` without a checkout."""
    git = ("git", "-C", str(PACKAGE))
    try:
        # A package that was installed may lie inside of somebody else's repository.
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", "__init__.py"], check=True, capture_output=True
        )
        described = subprocess.run(
            [*git, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def _path(name: str, directory: Path) -> Path:
    if not isinstance(name, str):
        raise TypeError(f"the name of a record is text, got {name!r}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(f"record names are lower-case words joined by - or _, got {name!r}")
    return directory / f"{name}.json"


def _some(names: tuple[str, ...]) -> str:
    """The first few names; with semicolons where a name has a comma.

    Examples:
        >>> _some(("a", "b", "c", "d", "e"))
        'a, b, c and 2 more'
        >>> _some(("a", "a, again"))
        'a; a, again'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ("; " if any("," in name for name in names) else ", ").join(names[:3]) + more


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
