"""`densenet-solutions start`: the exercises as a folder of small files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from densenet_solutions.cli.options import faults_in_words, folder_path

#: Where the exercises are written by default.
FOLDER = "densenet-exercises"

app = typer.Typer(add_completion=False)


@app.command(
    help="Write a folder with one small file an exercise: signatures and docstrings, no answers."
    "\n\nA file that is there already stays as it is. `densenet-solutions check` in the folder "
    "says what is solved."
)
def start(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", parser=folder_path, help="It is made if it is not there."),
    ] = Path(FOLDER),
) -> None:
    with faults_in_words():
        from densenet_solutions.check.course import EXERCISES, start

        if folder == Path(FOLDER) and any(Path(file).is_file() for file in EXERCISES):
            raise ValueError(
                "FOLDER would lie among exercises that are in this folder already: give . to write "
                f"those that are missing, or another FOLDER than {FOLDER}"
            )
        for file in EXERCISES:
            if (folder / file).is_dir():
                raise ValueError(
                    f"{folder / file} is a folder, and an exercise is a file: rename it, or give "
                    "another FOLDER"
                )
        written = start(folder)
    for path in written:
        typer.echo(f"wrote {path}")
    if not written:
        typer.echo(f"all files are in {folder} already")
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    typer.echo(f"Write your answers into them; then: {there}densenet-solutions check")
