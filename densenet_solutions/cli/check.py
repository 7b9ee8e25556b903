"""`densenet-solutions check`: hold an own solution against the answer."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from densenet_solutions import checks
from densenet_solutions.cli.options import IMAGENET, SMALL, Batch, faults_in_words, names
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    from densenet_solutions.check import Report

#: Networks that a solution can be held against.
CHECKED = tuple(name for name in (*IMAGENET, *SMALL) if "densenet" in name)

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Commands(TyperGroup):
    """The commands; a file in place of one is pointed to `--only`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0].endswith(".py"):
            ctx.fail(f"{args[0]!r} is no command; write {ctx.command_path} --only {args[0]}")
        return super().resolve_command(ctx, args)


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
Part = Annotated[
    str,
    typer.Argument(
        metavar="FILE.py:NAME",
        help="With its arguments, such as 'net.py:Transition(64)' or 'net.py:Block(64, 32, 6)'; "
        "--in-channels is not passed on to it.",
    ),
]
As = Annotated[str, typer.Option("--as", metavar="NETWORK", help="What it should be, see above.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels that it reads.")]


@app.callback(invoke_without_command=True)
def _check(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Option(help="Where the exercises are.")] = Path(),
    only: Annotated[
        str | None, typer.Option(metavar="FILE", help="One of them: exercise_4.py.")
    ] = None,
    json: Json = False,
) -> None:
    if ctx.invoked_subcommand is None:
        from densenet_solutions import check
        from densenet_solutions.check.course import EXERCISES

        if only is not None:
            folder, only = folder / Path(only).parent, Path(only).name
            with faults_in_words():
                checks.choice("--only", only, tuple(EXERCISES))
        _run(lambda told: check.course(folder, only=only, told=told), json)


@app.command(context_settings={"ignore_unknown_options": True})
def number(
    count: Annotated[str, typer.Argument(metavar="COUNT", help="Parameters, 7989096 or 7,989,096")],
    json: Json = False,
) -> None:
    """Say which networks have a number of parameters: right ones, or with which mistakes.

    ✓ right, ○ the build that has it, not passed.
    """
    with faults_in_words():
        from densenet_solutions.check.search import WRITTEN, parameter_count

        if not re.fullmatch(WRITTEN, count.strip()):
            raise ValueError(
                "COUNT is a whole number, with three digits after each comma if it has any, such "
                f"as 7,989,096, got {count!r}"
            )
        report = parameter_count(checks.integer("COUNT", int(re.sub("[^0-9]", "", count))))
    _tell(report, json)


@app.command(
    help="Hold a network (images in, logits out) against one of the paper or of the book.\n\n"
    + names(NETWORK=CHECKED)
)
def densenet(target: Target, as_: As = "densenet121", json: Json = False) -> None:
    _known(as_)
    from densenet_solutions import check

    _run_on(target, lambda net: check.densenet(net, as_), json)


@app.command()
def block(
    target: Part,
    in_channels: Channels,
    growth_rate: Annotated[int, typer.Option(min=1, help="Channels that each layer adds.")],
    layers: Annotated[int, typer.Option(min=1, help="Layers of the block.")],
    bottleneck: Annotated[
        bool, typer.Option(help="1×1 convolutions to 4k as in the paper, or none as in the book.")
    ] = True,
    json: Json = False,
) -> None:
    """Hold a dense block against the paper's or the book's."""
    from densenet_solutions import check

    size, sizes = 4 if bottleneck else None, (in_channels, growth_rate, layers)

    def report(part: Any) -> Report:
        return check.dense_block(_complete(part, target, *sizes), *sizes, bn_size=size)

    _run_on(target, report, json)


@app.command()
def transition(
    target: Part,
    in_channels: Annotated[int, typer.Option(min=2, help="Channels that it reads.")],
    out_channels: Annotated[
        int | None, typer.Option(min=1, help="Channels that it writes; half of them by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Hold a transition between two blocks against the paper's."""
    from densenet_solutions import check

    out = in_channels // 2 if out_channels is None else out_channels

    def report(part: Any) -> Report:
        return check.transition(_complete(part, target, in_channels, out), in_channels, out)

    _run_on(target, report, json)


@app.command(
    help="Say what a network keeps for its backward pass, and whether its peak is that of the "
    "plain network, of recomputation or of shared storage.\n\n" + names(NETWORK=CHECKED)
)
def memory(
    target: Target,
    as_: As = "densenet121",
    batch: Batch = 8,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Height and width; by default as published.")
    ] = None,
    json: Json = False,
) -> None:
    _known(as_)
    from densenet_solutions import check

    def report(net: Any) -> Report:
        return check.memory(net, as_, batch=batch, resolution=resolution)

    _run_on(target, report, json)


@app.command()
def houses(
    target: Annotated[
        str, typer.Argument(metavar="SUBMISSION.csv|FILE.py:NAME", help="Prices or a function.")
    ],
    json: Json = False,
) -> None:
    """Score a submission, or cross-validate a function (train, houses) → prices; look for leaks.

    `start` writes an exercise_5.py that says what train and houses are.
    """
    from densenet_solutions import check

    if ".py:" in target:
        _run_on(target, check.house_prices, json)
    else:
        _run(lambda _: check.house_prices(Path(target)), json)


def _known(network: str) -> None:
    with faults_in_words():
        checks.choice("--as", network, CHECKED)


def _complete(named: Any, target: str, *sizes: int) -> Any:
    """What TARGET names; wrong usage if it needs arguments and has none."""
    if target.endswith(")") or not callable(named):
        return named
    given = inspect.signature(named).parameters.values()
    needs = [p.name for p in given if p.default is p.empty and p.kind not in _ANY_NUMBER]
    if needs:
        arguments = ", ".join(map(str, sizes[: len(needs)]))
        raise typer.BadParameter(  # no `ValueError`, in which names become options
            f"{target} needs {', '.join(needs)}, and no option is passed on to it: write "
            f"'{target}({arguments})'"
        )
    return named


def _run_on(target: str, check: Callable[[Any], Report], json: bool) -> None:
    """Run a check of what TARGET names."""

    def report(_: object) -> Report:
        from densenet_solutions.check.prepared import loaded

        with loaded(target) as named:
            return check(named)

    _run(report, json)


def _run(check: Callable[[Callable[[str, int, int], None]], Report], json: bool) -> None:
    """Run a check; what the reader's code prints goes to the error stream."""
    with faults_in_words(), progress("checking") as told:
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
