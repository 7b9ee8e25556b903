"""Which build has this number of parameters? A search through every build of the closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from densenet_solutions import checks
from densenet_solutions.check.closed_form import Build, Terms, terms, terms_of_normal
from densenet_solutions.check.deviations import (
    COMMON_AXES,
    DENSE_AXES,
    MOST,
    RESIDUAL_AXES,
    Axis,
    Option,
    axes_of,
)
from densenet_solutions.check.lines import LINES, line
from densenet_solutions.check.report import Finding, Report
from densenet_solutions.check.rows import CHANNELS, CLASSES, ROWS, Row

#: Options of a build: (number of the axis, number of the option).
Chosen = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Deviation:
    """One thing in which a build differs from a published network, and the line it breaks."""

    axis: str
    option: str
    kind: str
    text: str
    line: str


@dataclass(frozen=True)
class Match:
    """A build with exactly the number that was asked for; without deviations it is right."""

    name: str
    title: str
    channels: int
    classes: int
    deviations: tuple[Deviation, ...]

    @property
    def setup(self) -> str:
        channels = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
        return f"{self.title}, {channels}, {self.classes} classes"


@dataclass(frozen=True)
class Near:
    """A right network, the number minus its count, and what that difference may mean."""

    name: str
    title: str
    channels: int
    classes: int
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
            text += f" So many has {build.setup}."
        elif build.title == title and not explained:
            so = " ".join(deviation.text for deviation in build.deviations)
            text += f" It is the number of this build: {so}"
        else:
            continue
        break
    return Finding("wrong", text)


def _finding(match: Match) -> Finding:
    if not match.deviations:
        return Finding("right", f"{match.setup}: right.")
    kinds = {deviation.kind for deviation in match.deviations}
    text = f"{match.setup}, but: " + " ".join(d.text for d in match.deviations)
    if len(match.deviations) >= MOST:
        text += " (Three deviations at once can meet a number by chance.)"
    line = " ".join(dict.fromkeys(d.line for d in match.deviations))
    return Finding("wrong" if "mistake" in kinds else "harmless", text, line)


def _nothing(nearest: tuple[Near, ...]) -> tuple[Finding, ...]:
    found = [Finding("wrong", "No build that is searched has this number.")]
    for near in nearest:
        sign = "more" if near.difference > 0 else "fewer"
        text = (
            f"{abs(near.difference):,} {sign} than {near.title} with {near.channels} "
            f"channel{'s' if near.channels > 1 else ''} and {near.classes} classes "
            f"({near.parameters:,}). {near.meaning}"
        )
        found.append(Finding("note", text.strip()))
    return tuple(found)


@dataclass(frozen=True)
class _Index:
    """All builds as columns; row `i` is `rows[i]` with `options[i]`, lightest first."""

    rows: tuple[int, ...]
    options: tuple[Chosen, ...]
    terms: np.ndarray  # (builds, 3)
    keys: tuple[Build, ...]


@cache
def _index() -> _Index:
    found: list[tuple[int, int, Chosen, Terms, Build]] = []
    for number, row in enumerate(ROWS):
        builds: list[tuple[int, Chosen, Build]] = []
        _deviate(builds, row.build, axes_of(row.build))
        for weight, chosen, build in builds:
            normal = build.normal()
            found.append((weight, number, chosen, terms_of_normal(normal), normal))
    found.sort(key=lambda entry: entry[:3])
    columns = np.array([(t.fixed, t.per_channel, t.per_class) for *_, t, _ in found], np.int64)
    return _Index(
        tuple(entry[1] for entry in found),
        tuple(entry[2] for entry in found),
        columns,
        tuple(entry[4] for entry in found),
    )


def _deviate(
    found: list[tuple[int, Chosen, Build]],
    build: Build,
    axes: tuple[Axis, ...],
    chosen: Chosen = (),
    weight: int = 0,
) -> None:
    """Add all builds within a weight: `(weight, chosen options, build)`."""
    found.append((weight, chosen, build))
    for i in range(chosen[-1][0] + 1 if chosen else 0, len(axes)):
        for j, option in enumerate(axes[i].options):
            if weight + option.weight <= MOST and _applies(build, option):
                changed = replace(build, **option.changes)
                _deviate(found, changed, axes, (*chosen, (i, j)), weight + option.weight)


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
    index = _index()
    fixed, per_channel, per_class = index.terms.T
    hits = []
    for channels in CHANNELS:
        for classes in CLASSES:
            counts = fixed + per_channel * channels + per_class * classes
            for i in np.flatnonzero(counts == n).tolist():
                row = ROWS[index.rows[i]]
                unusual = (channels != row.channels) + (classes != row.classes)
                weight = sum(_option(row, pair)[1].weight for pair in index.options[i])
                hits.append((weight, unusual, i, channels, classes))
    seen = set()
    for *_, i, channels, classes in sorted(hits):
        same = (index.keys[i], channels, classes)
        if same in seen:  # the same network told in another way
            continue
        seen.add(same)
        row = ROWS[index.rows[i]]
        deviations = tuple(_deviation(row, pair) for pair in index.options[i])
        yield Match(row.name, row.title, channels, classes, deviations)


def _option(row: Row, pair: tuple[int, int]) -> tuple[Axis, Option]:
    axis = axes_of(row.build)[pair[0]]
    return axis, axis.options[pair[1]]


def _deviation(row: Row, pair: tuple[int, int]) -> Deviation:
    axis, option = _option(row, pair)
    return Deviation(axis.name, option.name, option.kind, option.text, line(axis.topic, row.source))


def _nearest(n: int, most: int = 3) -> tuple[Near, ...]:
    """The right networks nearest to `n`: those of which it is a whole setup first."""
    found = []
    for number, row in enumerate(ROWS):
        count = terms(row.build)
        for channels in CHANNELS:
            for classes in CLASSES:
                total = count.count(channels, classes)
                meaning = _meaning(n - total, count, channels, classes)
                order = (not meaning, abs(n - total), number, channels, classes)
                near = Near(row.name, row.title, channels, classes, total, n - total, meaning)
                found.append((order, near))
    found.sort(key=lambda entry: entry[0])
    chosen: list[Near] = []
    for _, near in found:
        if near.name not in {other.name for other in chosen}:
            chosen.append(near)
    return tuple(chosen[:most])


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

    def axes(of: tuple[Axis, ...]) -> list[dict[str, Any]]:
        return [asdict(axis) | {"lines": LINES[axis.topic]} for axis in of]

    return {
        "channels": list(CHANNELS),
        "classes": list(CLASSES),
        "most": MOST,
        "rows": [
            {**asdict(row), "family": "dense" if hasattr(row.build, "growth_rate") else "residual"}
            for row in ROWS
        ],
        "axes": {
            "dense": axes(DENSE_AXES + COMMON_AXES),
            "residual": axes(RESIDUAL_AXES + COMMON_AXES),
        },
    }
