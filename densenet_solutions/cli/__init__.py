"""`densenet-solutions`: measure, train, houses, start, check, bench, record.

Each command lives in its own module and is imported only when it is needed; the modules import
PyTorch only when they run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from densenet_solutions import __version__
from densenet_solutions.cli.words import reword

#: command → module that defines a Typer `app` with it.
COMMANDS = {
    "measure": "densenet_solutions.cli.measure",
    "train": "densenet_solutions.cli.train",
    "houses": "densenet_solutions.cli.houses",
    "start": "densenet_solutions.cli.start",
    "check": "densenet_solutions.cli.check",
    "bench": "densenet_solutions.cli.bench",
    "record": "densenet_solutions.cli.record",
}


class _LazyGroup(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.obj = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            reword(error, ctx.obj)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            reword(error, ctx.obj)
            raise

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            try:
                return super().main(*args, **options)
            finally:
                sys.stdout.flush()
        except OSError as error:
            # Python flushes it once more. A test's output has no file number.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            where = error.filename or "standard output"
            typer.echo(f"Error: {where}: {error.strerror or error}", err=True)
            raise SystemExit(1) from None

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # for "did you mean"
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},  # the commands inherit it
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"densenet-solutions {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Measured answers to the DenseNet exercises of Dive into Deep Learning."""
