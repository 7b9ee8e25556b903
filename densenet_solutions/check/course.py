"""The exercises as a course: a folder with one small file an exercise, and what is solved in it."""

from __future__ import annotations

import ast
import contextlib
import math
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from densenet_solutions import checks
from densenet_solutions.check.network import dense_block, densenet, transition
from densenet_solutions.check.prepared import TheirError, failure_told, loaded, their_code
from densenet_solutions.check.prices import house_prices
from densenet_solutions.check.report import Finding, Report, any_wrong
from densenet_solutions.check.rows import right_network
from densenet_solutions.check.search import wrong_count
from densenet_solutions.check.settings import as_left, left_changed
from densenet_solutions.check.training_memory import memory
from densenet_solutions.files import write_text_atomically
from densenet_solutions.measure import predict_memory
from densenet_solutions.models import TABLE_1, DenseNet, DenseNetConfig, book_densenet
from densenet_solutions.models import book_resnet18 as resnet


@dataclass(frozen=True)
class Exercise:
    """One file of the course: what it defines, and the reports that hold it against the answer."""

    title: str
    defines: str
    reports: Callable[[Any], Iterator[Report]]


@dataclass(frozen=True)
class CourseReport(Report):
    """What is solved in a folder. Passed: everything.

    Attributes:
        solved: files whose exercise is solved.
        mistaken: files with a wrong answer.
        open: files that nobody has begun.
        unchecked: files that the check itself failed on.
        missing: files that are not there.
    """

    solved: tuple[str, ...]
    mistaken: tuple[str, ...]
    open: tuple[str, ...]
    unchecked: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not (self.open or self.mistaken or self.unchecked or self.missing)

    @property
    def _verdict(self) -> str:
        wrong = f"{len(self.mistaken)} wrong, " if self.mistaken else ""
        failed = f", {len(self.unchecked)} not checked" if self.unchecked else ""
        missing = f", {len(self.missing)} missing" if self.missing else ""
        return f"{len(self.solved)} solved, {wrong}{len(self.open)} open{failed}{missing}"


def start(folder: str | Path = "densenet-exercises") -> tuple[Path, ...]:
    """Write one file an exercise, with signatures and docstrings; returns those that were written.

    A file that is there already stays as it is.

    Raises:
        ValueError: `folder`, or what it is to lie in, is a file or cannot be written to.
        OSError: a file cannot be written after all.
    """
    folder, written = checks.output_folder(folder), []
    for file in EXERCISES:
        path = folder / file
        if not os.path.lexists(path):  # a link to nothing is there, too
            written.append(write_text_atomically(path, _template(file).read_text(encoding="utf-8")))
    return tuple(written)


def _template(file: str) -> Path:
    return Path(__file__).with_name("start").joinpath(file).with_suffix(".txt")


def course(
    folder: str | Path = ".",
    *,
    only: str | None = None,
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> CourseReport:
    """Check every exercise that was begun in a folder of `start`.

    Where the check itself fails on a file, it says so and goes on; alone, with `only`, it raises.

    Args:
        folder: where the files are.
        only: one file, such as `"exercise_4.py"`.
        told: (file, how many are done, of how many) hears how far the check is.

    Raises:
        ValueError: there is no such file.
    """
    if only is not None:
        checks.choice("only", only, tuple(EXERCISES))
    wanted = [file for file in EXERCISES if only in (None, file)]
    here = [file for file in wanted if (Path(folder) / file).is_file()]
    if not here:
        for file in wanted:
            if (Path(folder) / file).is_dir():
                raise ValueError(
                    f"{file} is a folder, and an exercise is a file: rename the folder"
                )
        inside, new = Path(folder) / "densenet-exercises", f" {shlex.quote(str(folder))}"
        if any((Path(folder) / file).exists() for file in EXERCISES):
            way = f"`densenet-solutions start{new}` writes those that are missing"
        elif inside.is_dir():
            way = f"give folder={str(inside)!r}"
        else:
            new = "" if Path(folder) == Path() else new
            way = f"`densenet-solutions start{new}` writes a folder with all of them"
        raise ValueError(f"there is no {only or 'exercise'} in {str(folder)!r}: {way}")
    missing = [file for file in wanted if file not in here]
    findings = _missing(Path(folder), missing)
    solved, mistaken, untouched, unchecked = [], [], [], []
    for i, file in enumerate(here):
        told(file, i, len(here))
        title, defines = EXERCISES[file].title, EXERCISES[file].defines
        if not begun(Path(folder) / file):
            untouched.append(file)
            findings.append(Finding("note", f"{title}: open. Write {defines} in {file}."))
            continue
        try:
            seen = _seen(Path(folder) / file, EXERCISES[file])
        except Exception as cause:
            if only is not None:
                raise
            unchecked.append(file)
            findings.append(_unchecked(title, file, cause))
            continue
        if any_wrong(seen):
            mistaken.append(file)
        else:
            solved.append(file)
            findings.append(Finding("right", f"{title}: solved."))
        findings += [replace(f, text=f"{title}: {f.text}") for f in seen]
    told_apart = (tuple(files) for files in (solved, mistaken, untouched, unchecked, missing))
    return CourseReport("exercises", tuple(findings), *told_apart)


def begun(path: Path) -> bool:
    """Whether there is other code in a file than `start` writes; words about it do not count."""
    try:
        mine, empty = (_code(file) for file in (path, _template(path.name)))
    except (SyntaxError, ValueError):  # what cannot be parsed was written by somebody
        return True
    return mine != empty


def _code(path: Path) -> str:
    """A file's syntax without docstrings, which may be those of an earlier version."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)


def _missing(folder: Path, files: Sequence[str]) -> list[Finding]:
    if not files:
        return []
    text = f"There is no file {', '.join(files)} here: missing, and not solved."
    return [Finding("note", text, f"`densenet-solutions start {folder}` writes what is missing.")]


def _unchecked(title: str, file: str, cause: Exception) -> Finding:
    return Finding(
        "note",
        f"{title}: not checked, because the check itself raises {type(cause).__name__}: {cause} "
        "This is a mistake of densenet-solutions, whatever your solution is.",
        f"`densenet-solutions check --only {file}` shows the traceback.",
    )


def _seen(path: Path, exercise: Exercise) -> list[Finding]:
    """What is wrong in the first report that is not passed; or else its remarks, one line each."""
    remarks: dict[str, Finding] = {}
    failure: list[Finding] = []
    with failure_told(failure), contextlib.ExitStack() as stack:
        try:
            mine = stack.enter_context(loaded(f"{path}:{exercise.defines}"))
        except ValueError as error:  # the file does not define it
            raise TheirError(f"{error}.") from error
        if not callable(mine):
            raise TheirError(f"{exercise.defines} is a class or a function, got {mine!r}.")
        for report in exercise.reports(mine):
            if not report.passed:
                return list(report.wrong)
            for finding in report.remarks:
                text = finding.text.split(" (And in ")[0]
                remarks.setdefault(text, Finding(finding.kind, text))
        if left := left_changed():
            text = f"Your file calls {left}. In a program of your own, all that runs has it."
            remarks[left] = Finding("note", text)
    return failure or list(remarks.values())


def _blocks(block: Any) -> Iterator[Report]:
    for channels, k, layers in ((64, 32, 4), (6, 3, 2)):
        build = partial(block, channels, k, layers)
        yield dense_block(build, channels, k, layers, bn_size=None)


def _transitions(module: Any) -> Iterator[Report]:
    for channels in (256, 6, 7):
        yield transition(partial(module, channels), channels)


def _counts(parameters: Any) -> Iterator[Report]:
    """A formula of the parameters, against networks that are built."""
    rows = {right_network(n).title: TABLE_1[n].config for n in ("densenet121", "densenet161")}
    other = DenseNetConfig(growth_rate=5, block_config=(2, 1, 3), num_init_features=7,
                           in_channels=2, num_classes=11)  # fmt: skip
    for title, config in (rows | {"a small network": other}).items():
        given = _sizes(config, "in_channels", "num_classes")
        right = right_network(config).parameters
        n = _whole(parameters, "parameters", 10**12, **given)
        text = f"{title} ({', '.join(f'{name} {value}' for name, value in given.items())}):"
        finding = Finding("right", "") if n == right else wrong_count(n, right, title)
        yield Report(title, (Finding(finding.kind, f"{text} {finding.text}", finding.line),))


def _crossings(crossing: Any) -> Iterator[Report]:
    """DenseNet needs less than ResNet-18 for a fifth fewer images, and more for a fifth more."""
    for resolution in (96, 224):
        n = _whole(crossing, "images", 100_000, resolution=resolution)
        for batch, more in ((max(1, int(n / 1.2)), False), (int(n * 1.2) + 1, True)):
            shape = (batch, 1, resolution, resolution)
            ours, other = (predict_memory(net, shape).peak_bytes for net in (book_densenet, resnet))
            if (ours > other) != more:
                text = (
                    f"You say {n} for images of {resolution}². An answer may be a fifth off, and "
                    f"even with {batch} DenseNet {'already' if ours > other else 'still'} needs "
                    f"{'more' if ours > other else 'less'}: {ours / 2**20:.0f} MiB against "
                    f"{other / 2**20:.0f} MiB at the peak, parameters included, predicted."
                )
                yield Report("crossing", (Finding("wrong", text),))


def _memory(network: Any) -> Iterator[Report]:
    yield densenet(network, "book-densenet")  # for another number of parameters, a note is all
    yield memory(network, "book-densenet")


def _table_1(build: Any) -> Iterator[Report]:
    """DenseNet-121 and a small network by what they compute, the others by their parameters."""
    small = DenseNetConfig(growth_rate=6, block_config=(1, 2, 3, 2), num_init_features=10)
    for name, config in (("densenet121", TABLE_1["densenet121"].config), ("a small one", small)):
        report = densenet(partial(build, **_sizes(config)), config)
        yield report
        if report.expected != right_network(config).parameters:
            text = f"It is to have 3 channels and 1000 classes; it is {report.title}."
            yield Report(name, (Finding("wrong", text),))
    for name, row in TABLE_1.items():
        title = right_network(name).title
        with their_code(f"Building {title}"), as_left():
            theirs = sorted(p.numel() for p in build(**_sizes(row.config)).parameters())
        with torch.device("meta"):
            ours = sorted(p.numel() for p in DenseNet(row.config).parameters())
        if theirs != ours:
            finding = wrong_count(sum(theirs), row.parameters, title)
            yield Report(name, (replace(finding, text=f"{title}: {finding.text}"),))


def _sizes(config: DenseNetConfig, *more: str) -> dict[str, Any]:
    names = ("growth_rate", "block_config", "num_init_features", *more)
    return {name: getattr(config, name) for name in names}


def _prices(predict: Any) -> Iterator[Report]:
    yield house_prices(predict)


def _whole(function: Any, of: str, most: int, **given: Any) -> int:
    """What the reader's function makes of the arguments: a whole number from 1 to `most`."""
    with their_code("Your function"), as_left():
        n = function(**given)
    if isinstance(n, int) and abs(n) > 10**18:  # it may have more digits than Python prints
        got = f"about {'−' if n < 0 else ''}10^{round(n.bit_length() * math.log10(2))}"
        raise TheirError(f"What your function returns is 1 to {most:,} {of}, got {got}.")
    try:
        return checks.integer("what your function returns", n, at_most=most)
    except (TypeError, ValueError) as error:
        raise TheirError(f"{error}.") from error


#: file → exercise, in the order of the pages.
EXERCISES = {
    "dense_block.py": Exercise("Warm-up", "DenseBlock", _blocks),
    "exercise_1.py": Exercise("Exercise 1", "Transition", _transitions),
    "exercise_2.py": Exercise("Exercise 2", "parameters", _counts),
    "exercise_3_1.py": Exercise("Exercise 3.1", "crossing", _crossings),
    "exercise_3_2.py": Exercise("Exercise 3.2", "network", _memory),
    "exercise_4.py": Exercise("Exercise 4", "densenet", _table_1),
    "exercise_5.py": Exercise("Exercise 5", "predict", _prices),
}
