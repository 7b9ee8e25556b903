"""`densenet-solutions check`: hold an own solution against the answer."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from densenet_solutions import checks
from densenet_solutions.cli.options import IMAGENET, SMALL, Batch, faults_in_words, names
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    from densenet_solutions.check import Report

#: Networks that a solution can be held against.
CHECKED = tuple(name for name in (*IMAGENET, *SMALL) if "densenet" in name)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Check your own solution, and be told which mistake it is. Exit code: 0 passed, 1 not "
    "passed, 2 wrong usage. Marks: ✓ right, ✗ a mistake, ○ a difference that does no harm, "
    "· a note.",
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE.py:NAME",
        help="For example net.py:MyNet, which builds the network.",
    ),
]
As = Annotated[str, typer.Option("--as", metavar="NETWORK", help="What it should be, see above.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


@app.callback()
def _check() -> None:
    """Check your own solution."""


@app.command()
def number(
    count: Annotated[str, typer.Argument(metavar="COUNT", help="Parameters, 7989096 or 7,989,096")],
    json: Json = False,
) -> None:
    """Say which networks have a number of parameters: right ones, or with which mistakes."""
    with faults_in_words():
        from densenet_solutions.check import parameter_count

        digits = count.translate(str.maketrans("", "", ",_ .'"))
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"COUNT is a whole number, got {count!r}")
        report = parameter_count(int(digits))
    _tell(report, json)


@app.command(
    help="Hold a network (images in, logits out) against one of the paper or of the book.\n\n"
    + names(NETWORK=CHECKED)
)
def densenet(target: Target, as_: As = "densenet121", json: Json = False) -> None:
    _known(as_)
    from densenet_solutions import check

    _run(lambda: check.densenet(_load(target), as_), json)


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

    _run(lambda: check.memory(_load(target), as_, batch=batch, resolution=resolution), json)


@app.command()
def houses(
    target: Annotated[
        str, typer.Argument(metavar="SUBMISSION.csv|FILE.py:NAME", help="Prices or a function.")
    ],
    json: Json = False,
) -> None:
    """Score a submission, or cross-validate a function (train, houses) → prices; look for leaks."""
    from densenet_solutions import check

    is_code = ".py:" in target
    _run(lambda: check.house_prices(_load(target) if is_code else Path(target)), json)


def _known(network: str) -> None:
    with faults_in_words():
        checks.choice("--as", network, CHECKED)


def _load(target: str) -> Any:
    from densenet_solutions.check.load import load

    return load(target)


def _run(check: Callable[[], Report], json: bool) -> None:
    """Run a check; what the reader's code prints goes to the error stream."""
    with faults_in_words(), progress("checking"):
        from densenet_solutions.check import Report
        from densenet_solutions.check.prepared import TheirError

        try:
            with contextlib.redirect_stdout(sys.stderr):
                report = check()
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
