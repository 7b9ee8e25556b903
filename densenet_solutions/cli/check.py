"""`densenet-solutions check`: hold an own solution against the answer."""

from __future__ import annotations

import contextlib
import inspect
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from densenet_solutions import checks
from densenet_solutions.cli.options import (
    IMAGENET,
    SMALL,
    Batch,
    faults_in_words,
    folder_path,
    names,
)
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    from densenet_solutions.check import Report

#: Networks that a solution can be held against.
CHECKED = tuple(name for name in (*IMAGENET, *SMALL) if "densenet" in name)

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Commands(TyperGroup):
    """The commands; what is given in place of one is pointed to it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and (meant := _meant(args[0])):
            ctx.fail(f"{args[0]!r} is no command; write check {meant}")
        return super().resolve_command(ctx, args)


def _meant(given: str) -> str:
    """What is to be written for a folder, a number or a file; empty: it is none of them."""
    word = shlex.quote(given)
    if Path(given).is_dir():
        return f"--folder {word}"
    if re.fullmatch("[0-9][0-9,._']*", given):
        return f"number {word}"
    if given.endswith(".csv"):
        return f"houses {word}"
    if re.fullmatch(r"(.*/)?(dense_block|exercise_[0-9_]+)\.py", given):
        return f"--only {word}"
    if ".py" in given:
        return f"densenet {word}{':NAME' * given.endswith('.py')}, or another command before it"
    return ""


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    help="Check your own solution, and be told which mistake it is. Without a command: all "
    "exercises of the folder that `densenet-solutions start` wrote. Exit code: 0 passed, 1 not "
    "passed, 2 wrong usage. Marks: ✓ right, ✗ a mistake, ○ a difference that does no harm (of a "
    "number: the build that has it), · a note.",
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE.py:NAME",
        help="For example net.py:MyNet, which builds the network, or 'net.py:Net(32)'.",
    ),
]
_WITH_ARGUMENTS = "With its arguments, such as '{}'; --in-channels is not passed on to it."
Block = Annotated[
    str,
    typer.Argument(metavar="FILE.py:NAME", help=_WITH_ARGUMENTS.format("net.py:Block(64, 32, 6)")),
]
Transition = Annotated[
    str,
    typer.Argument(metavar="FILE.py:NAME", help=_WITH_ARGUMENTS.format("net.py:Transition(64)")),
]
As = Annotated[str, typer.Option("--as", metavar="NETWORK", help="What it should be, see above.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Channels = Annotated[int, typer.Option(min=1, metavar="N", help="Channels that it reads.")]


@app.callback(invoke_without_command=True)
def _check(
    ctx: typer.Context,
    folder: Annotated[
        Path,
        typer.Option(
            "--folder", parser=folder_path, metavar="FOLDER", help="Where the exercises are."
        ),
    ] = Path(),
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="One of them, for example exercise_4.py."),
    ] = None,
    json: Json = False,
) -> None:
    if ctx.invoked_subcommand is not None:
        given = {"--folder": _typed(ctx, "folder"), "--only": bool(only), "--json": json}
        if ignored := [option for option, is_given in given.items() if is_given]:
            last = f": write it after {ctx.invoked_subcommand}" if ignored == ["--json"] else ""
            ctx.fail(
                f"{', '.join(ignored)} before a command is of no use, got it before "
                f"{ctx.invoked_subcommand!r}{last or ': leave it out, or the command'}"
            )
        return
    from densenet_solutions import check
    from densenet_solutions.check.course import EXERCISES

    with faults_in_words():
        if len(only or ()) > 1:
            raise ValueError(f"--only is given once, got {' and '.join(only or ())}")
        if folder.is_file():
            way = _meant(str(folder))
            raise ValueError(
                "--folder is a folder, got a file" + f": write check {way}" * bool(way)
            )
        file = None
        if only:
            folder, file = folder / Path(only[0]).parent, Path(only[0]).name
            checks.choice("--only", file, tuple(EXERCISES))
    _run(lambda told: check.course(folder, only=file, told=told), json)


def _typed(context: typer.Context, name: str) -> bool:
    """Whether an option was given, even if by its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@app.command(context_settings={"ignore_unknown_options": True})
def number(
    count: Annotated[str, typer.Argument(metavar="COUNT", help="Parameters, 7989096 or 7,989,096")],
    json: Json = False,
) -> None:
    """Say which networks have a number of parameters: right ones, or with which mistakes.

    ✓ right, ○ the build that has it, not passed.
    """
    with faults_in_words(), progress("counting"):
        from densenet_solutions.check.search import WRITTEN, parameter_count

        if re.fullmatch(r"[0-9]{1,3}\.[0-9]{3}", count.strip()):
            raise ValueError(
                f"COUNT is a whole number, got {count!r}, which may be a decimal one: write "
                f"{count.strip().replace('.', '')}"
            )
        if not re.fullmatch(WRITTEN, count.strip()):
            raise ValueError(
                'COUNT is a whole number of at least 1, such as 7989096, 7,989,096 or "7 989 096", '
                f"got {count!r}"
            )
        report = parameter_count(checks.integer("COUNT", int(re.sub("[^0-9]", "", count))))
    _tell(report, json)


@app.command(
    help="Hold a network (images in, logits out) against one of the paper or of the book. "
    "DenseNet-121 takes about a minute.\n\n" + names(NETWORK=CHECKED)
)
def densenet(target: Target, as_: As = "densenet121", json: Json = False) -> None:
    _known(as_)
    from densenet_solutions import check

    _run_on(target, lambda net: check.densenet(_complete(net, target), as_), json)


@app.command()
def block(
    target: Block,
    in_channels: Channels,
    growth_rate: Annotated[
        int, typer.Option(min=1, metavar="N", help="Channels that each layer adds.")
    ],
    layers: Annotated[int, typer.Option(min=1, metavar="N", help="Layers of the block.")],
    bottleneck: Annotated[
        bool, typer.Option(help="1×1 convolutions to 4k as in the paper, or none as in the book.")
    ] = True,
    json: Json = False,
) -> None:
    """Hold a dense block against the paper's; with --no-bottleneck against the book's."""
    from densenet_solutions import check

    size, sizes = 4 if bottleneck else None, (in_channels, growth_rate, layers)

    def report(part: Any) -> Report:
        return check.dense_block(_complete(part, target, *sizes), *sizes, bn_size=size)

    _run_on(target, report, json, "--in-channels, --growth-rate or --layers")


@app.command()
def transition(
    target: Transition,
    in_channels: Annotated[int, typer.Option(min=2, metavar="N", help="Channels that it reads.")],
    out_channels: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Channels that it writes; half of them by default."),
    ] = None,
    json: Json = False,
) -> None:
    """Hold a transition between two blocks against the paper's."""
    from densenet_solutions import check

    out = in_channels // 2 if out_channels is None else out_channels

    def report(part: Any) -> Report:
        return check.transition(_complete(part, target, in_channels, out), in_channels, out)

    _run_on(target, report, json, "--in-channels")


@app.command(
    help="Say what a network keeps for its backward pass, and whether its peak is that of the "
    "plain network, of recomputation or of shared storage. One passes that needs clearly less than "
    "the plain network and keeps at most half of its copies of earlier features. "
    "DenseNet-121 takes about a minute.\n\n" + names(NETWORK=CHECKED)
)
def memory(
    target: Target,
    as_: As = "densenet121",
    batch: Batch = 8,
    resolution: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Height and width; by default as published."),
    ] = None,
    json: Json = False,
) -> None:
    _known(as_)
    from densenet_solutions import check

    def report(net: Any) -> Report:
        net = _complete(net, target)
        return check.memory(net, as_, batch=batch, resolution=resolution)

    _run_on(target, report, json, "--batch or --resolution")


@app.command()
def houses(
    target: Annotated[
        str, typer.Argument(metavar="SUBMISSION.csv|FILE.py:NAME", help="Prices or a function.")
    ],
    json: Json = False,
) -> None:
    """Score a submission, or cross-validate a function (train, houses) → prices; look for leaks.

    Passed: better than the mean of log prices, without a leak. Of a submission it is only seen
    whether test prices were looked up. `start` writes an exercise_5.py that says what train and
    houses are.
    """
    from densenet_solutions import check

    with faults_in_words():
        if target.endswith(".py"):
            raise ValueError(
                f"a function is given as FILE.py:NAME: write {target}:predict, or its other name"
            )
        if Path(target).is_dir():
            raise ValueError(f"SUBMISSION.csv is a file, got the folder {target!r}")
    if ".py:" in target:
        _run_on(target, lambda named: check.house_prices(_made(named, target)), json)
    else:
        _run(lambda _: check.house_prices(Path(target)), json)


def _made(named: Any, target: str) -> Any:
    """What a name stands for; with arguments, what the call returns: it is to be a function."""
    from densenet_solutions.check.prepared import their_code

    if not target.endswith(")"):
        return named
    with their_code(f"Calling {target.partition('.py:')[2]}"):
        made = named()
    if not callable(made):
        raise typer.BadParameter(
            f"{target} returns {type(made).__name__}, and a function is needed: write "
            f"{target.partition('(')[0]}"
        )
    return made


def _known(network: str) -> None:
    with faults_in_words():
        checks.choice("--as", network, CHECKED)


def _complete(named: Any, target: str, *sizes: int) -> Any:
    """What TARGET names; wrong usage if it needs arguments and has none."""
    if target.endswith(")"):
        return named
    try:
        given = inspect.signature(named).parameters.values()
    except ValueError:  # it is not written in Python
        return named
    needs = [p.name for p in given if p.default is p.empty and p.kind not in _ANY_NUMBER]
    if needs:
        arguments = ", ".join(map(str, sizes[: len(needs)])) or "…"
        raise typer.BadParameter(  # no `ValueError`, in which names become options
            f"{target} needs {', '.join(needs)}, and no option is passed on to it: write "
            f"'{target}({arguments})'"
        )
    return named


def _run_on(target: str, check: Callable[[Any], Report], json: bool, sizes: str = "") -> None:
    """Run a check of what TARGET names; `sizes` as in `faults_in_words`."""

    def report(_: object) -> Report:
        from densenet_solutions.check.prepared import loaded

        with loaded(target) as named:
            if not callable(named):
                raise typer.BadParameter(
                    f"{target} is of the type {type(named).__name__}, and a function, a class or a "
                    "network is needed"
                )
            return check(named)

    _run(report, json, sizes)


def _run(
    check: Callable[[Callable[[str, int, int], None]], Report], json: bool, sizes: str = ""
) -> None:
    """Run a check; what the reader's code prints goes to the error stream."""
    with faults_in_words(sizes=sizes), progress("checking") as told:
        from densenet_solutions.check import Report
        from densenet_solutions.check.prepared import TheirError

        try:
            with contextlib.redirect_stdout(sys.stderr):
                report = check(told)
        except TheirError as failure:
            report = Report("your file", (failure.finding,))
    _tell(report, json)


def _tell(report: Report, json: bool) -> None:
    if json:
        typer.echo(report.to_json())
    else:
        Console().print(report)
    if not report.passed:
        raise typer.Exit(1)
