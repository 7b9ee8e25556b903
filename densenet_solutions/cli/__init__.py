"""`densenet-solutions`: measure, record, bench, train, houses.

Each command lives in its own module and is imported only when it runs.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

#: command → module that defines a Typer `app` with it.
COMMANDS = {
    "measure": "densenet_solutions.cli.measure",
    "record": "densenet_solutions.cli.record",
    "bench": "densenet_solutions.cli.bench",
    "train": "densenet_solutions.cli.train",
    "houses": "densenet_solutions.cli.houses",
}


class _LazyGroup(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return typer.main.get_command(importlib.import_module(COMMANDS[cmd_name]).app)


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Measured answers to the DenseNet exercises of Dive into Deep Learning.",
)


@app.callback()
def _main() -> None:
    """Measured answers to the DenseNet exercises of Dive into Deep Learning."""
