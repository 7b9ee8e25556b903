"""Which build has this number of parameters? A search through every build of the closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from densenet_solutions import checks
from densenet_solutions.check.closed_form import Build, Terms, terms
from densenet_solutions.check.deviations import AXES, MOST, Axis, Option
from densenet_solutions.check.lines import LINES, line
from densenet_solutions.check.report import Finding, Report
from densenet_solutions.check.rows import CHANNELS, CLASSES, ROWS, Row

_NOTHING = (
    "No build that is searched has this number. Searched are the DenseNets and ResNets of the "
    f"papers and of the book, with up to {MOST} deviations, for {' or '.join(map(str, CHANNELS))} "
    f"channels and {', '.join(map(str, CLASSES[:-1]))} or {CLASSES[-1]} classes."
)
#: How a number may be written; the groups of three have one separator. 7.978 may be millions.
WRITTEN = r"[0-9]+|(?![0-9]+[.][0-9]{3}$)[0-9]{1,3}([\s,._'])[0-9]{3}(\1[0-9]{3})*"
Chosen = tuple[tuple[Axis, Option], ...]


@dataclass(frozen=True)
class Deviation:
    """One thing in which a build differs from a published network, and the line it breaks."""

    axis: str
    option: str
    kind: str
    text: str
    line: str


@dataclass(frozen=True)
class _Setup:
    """A network for some images and classes."""

    name: str
    title: str
    channels: int
    classes: int

    def called(self, joined: str = ", ", last: str = ", ") -> str:
        channels = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
        return f"{self.title}{joined}{channels}{last}{self.classes} classes"


@dataclass(frozen=True)
class Match(_Setup):
    """A build with exactly the number that was asked for; without deviations it is right."""

    deviations: tuple[Deviation, ...]


@dataclass(frozen=True)
class Near(_Setup):
    """A right network, the number minus its count, and what that difference may mean."""

    parameters: int
    difference: int
    meaning: str


@dataclass(frozen=True)
class ParameterReport(Report):
    """What a number of parameters says.

    Attributes:
        builds: all builds with exactly this number, fewest deviations first.
        nearest: if there is none, the right networks that come nearest.
    """

    parameters: int
    builds: tuple[Match, ...]
    nearest: tuple[Near, ...]

    @property
    def passed(self) -> bool:
        """Whether a right network has this number."""
        return bool(self.builds) and not self.builds[0].deviations


def parameter_count(n: int) -> ParameterReport:
    """Which networks have `n` parameters: right ones, and wrong ones with their mistakes.

    Every published row and every combination of deviations up to a weight of three is counted in
    closed form, for 1 and 3 channels and 10, 100 and 1000 classes. A right network passes.

    Raises:
        TypeError, ValueError: `n` is not a whole number of at least 1.

    Examples:
        >>> print(parameter_count(7_989_096))  # doctest: +ELLIPSIS
        7,989,096 parameters: not passed
        ○ DenseNet-121, 3 channels, 1000 classes, but: The convolutions have biases.
        ...
    """
    n = checks.integer("n", n)
    builds = tuple(_matches(n))
    nearest = () if builds else _nearest(n)
    findings = tuple(_finding(match) for match in builds) or _nothing(nearest)
    return ParameterReport(f"{n:,} parameters", findings, n, builds, nearest)


def wrong_count(n: int, right: int, title: str, *, explained: bool = False) -> Finding:
    """What `n` parameters say where there should be `right`: another network, or a mistake.

    `explained`: the mistake is known already.
    """
    text = f"{n:,} parameters and not {right:,}."
    for build in parameter_count(n).builds if n > 0 else ():
        if not build.deviations:
            return Finding("wrong", f"{text} {n:,} is the number of {build.called()}.")
        if build.title == title and not explained:
            so = " ".join(deviation.text for deviation in build.deviations)
            return Finding("wrong", f"{text} It is the number of this build: {so}")
    return Finding("wrong", text)


def _finding(match: Match) -> Finding:
    if not match.deviations:
        return Finding("right", f"{match.called()}: right.")
    kinds = {deviation.kind for deviation in match.deviations}
    text = f"{match.called()}, but: " + " ".join(d.text for d in match.deviations)
    if len(match.deviations) >= MOST:
        text += " (Three deviations at once can meet a number by chance.)"
    line = " ".join(dict.fromkeys(d.line for d in match.deviations))
    return Finding("wrong" if "mistake" in kinds else "harmless", text, line)


def _nothing(nearest: tuple[Near, ...]) -> tuple[Finding, ...]:
    found = [Finding("wrong", _NOTHING)]
    for near in nearest:
        sign = "more" if near.difference > 0 else "fewer"
        called = f"{near.called(' with ', ' and ')} ({near.parameters:,})"
        text = f"{abs(near.difference):,} {sign} than {called}. {near.meaning}"
        found.append(Finding("note", text.strip()))
    return tuple(found)


class Candidate(NamedTuple):
    """A build that is searched: a row's with some deviations, and what they weigh."""

    row: Row
    weight: int
    chosen: Chosen
    build: Build


@cache
def _index() -> tuple[list[Candidate], np.ndarray]:
    """All candidates, lightest first, and their terms `(candidates, 3)`."""
    found = [c for row in ROWS for c in _candidates(row, row.build, AXES[row.build.family])]
    found.sort(key=lambda candidate: candidate.weight)  # stable: rows and options keep their order
    counted = (terms(candidate.build) for candidate in found)
    return found, np.array([(t.fixed, t.per_channel, t.per_class) for t in counted], np.int64)


def _candidates(
    row: Row, build: Build, axes: tuple[Axis, ...], chosen: Chosen = (), weight: int = 0
) -> Iterator[Candidate]:
    """A build, and those that deviate from it on `axes`, within the weight."""
    yield Candidate(row, weight, chosen, build)
    for i, axis in enumerate(axes):
        for option in axis.options:
            heavier = weight + option.weight
            if heavier <= MOST and _applies(build, option):
                changed, more = replace(build, **option.changes), (*chosen, (axis, option))
                yield from _candidates(row, changed, axes[i + 1 :], more, heavier)


def _applies(build: Build, option: Option) -> bool:
    """Whether the option changes the build, and leaves every block a layer."""
    if all(getattr(build, name) == value for name, value in option.changes.items()):
        return False
    added = option.changes.get("added")
    if added is None:
        return True
    beyond = any(added[len(build.blocks) :]) and not all(added)
    return not beyond and all(a + b > 0 for a, b in zip(build.blocks, added, strict=False))


def _matches(n: int) -> Iterator[Match]:
    candidates, columns = _index()
    hits = []
    for channels, classes in product(CHANNELS, CLASSES):
        for i in np.flatnonzero(columns @ (1, channels, classes) == n).tolist():
            row = candidates[i].row
            unusual = (channels != row.channels) + (classes != row.classes)
            hits.append((candidates[i].weight, unusual, i, channels, classes))
    seen = set()
    for *_, i, channels, classes in sorted(hits):
        row, _, chosen, build = candidates[i]
        network = (build.normal(), channels, classes if build.head else 0)
        if network in seen:  # told in another way
            continue
        seen.add(network)
        deviations = tuple(
            Deviation(axis.name, option.name, option.kind, option.text,
                      line(axis.topic, row.authority))
            for axis, option in chosen
        )  # fmt: skip
        yield Match(row.name, row.title, channels, classes, deviations)


def _nearest(n: int) -> tuple[Near, ...]:
    """The three right networks nearest to `n`: those of which it is a whole setup first."""
    found = []
    for row, channels, classes in product(ROWS, CHANNELS, CLASSES):
        count = terms(row.build)
        total = count.count(channels, classes)
        meaning = _meaning(n - total, count, channels, classes)
        found.append(Near(row.name, row.title, channels, classes, total, n - total, meaning))
    found.sort(key=lambda near: (not near.meaning, abs(near.difference)))
    chosen: dict[str, Near] = {}
    for near in found:
        chosen.setdefault(near.name, near)
    return tuple(chosen.values())[:3]


def _meaning(difference: int, count: Terms, channels: int, classes: int) -> str:
    """What the difference is a multiple of, if the multiple is a possible setup."""
    more, rest = divmod(difference, count.per_class)
    if not rest and 2 <= classes + more <= 100_000:
        return f"So {classes + more:,} classes make it: {count.per_class:,} parameters each."
    more, rest = divmod(difference, count.per_channel)
    if not rest and 1 <= channels + more <= 32:
        return f"So {channels + more} channels make it: {count.per_channel:,} parameters each."
    return ""


def tables() -> dict[str, Any]:
    """Rows, axes and sentences for the pages, where `check.js` searches the same builds."""
    told = ("name", "title", "authority", "channels", "classes")
    return {
        "channels": list(CHANNELS),
        "classes": list(CLASSES),
        "most": MOST,
        "nothing": _NOTHING,
        "written": WRITTEN,
        "rows": [
            {name: getattr(row, name) for name in told}
            | {"build": asdict(row.build), "family": row.build.family}
            for row in ROWS
        ],
        "axes": {
            family: [asdict(axis) | {"lines": LINES[axis.topic]} for axis in axes]
            for family, axes in AXES.items()
        },
    }
