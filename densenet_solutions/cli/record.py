"""`densenet-solutions record`: make one of the recordings, or list them and what is stale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from densenet_solutions.cli.options import Device, chosen_device, faults_in_words
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    from densenet_solutions.records import Record

app = typer.Typer(add_completion=False)


@app.command()
def record(
    name: Annotated[str | None, typer.Argument(help="A recording; --list names them.")] = None,
    device: Device = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of NAME.json; ./records without.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this case; may be given several times.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace what was made on another device or by other code."),
    ] = False,
    show: Annotated[
        bool, typer.Option("--list", help="List the recordings, and which of them are stale.")
    ] = False,
) -> None:
    """Measure the cases of a recording one by one and write each; run again to resume."""
    with faults_in_words(resumes=True):
        if show:
            _list(out)
            return
        if name is None:
            raise ValueError("give the NAME of a recording; --list names them")
        from densenet_solutions.exercises.recipes import recipe
        from densenet_solutions.records.recorder import run_recipe

        folder = Path("records") if out is None else out
        chosen = recipe(name)
        where = chosen_device(device)
        with progress(name) as told:
            made = run_recipe(
                chosen, device=where, directory=folder, only=only, force=force, progress=told
            )
    failed = sum(_ran_out(result) for result in made.cases.values())
    typer.echo(f"{folder / name}.json")
    typer.echo(f"{len(made.cases)} of {len(chosen.cases)} cases, {failed} of them out of memory")


def _ran_out(result: object) -> bool:
    return isinstance(result, dict) and bool(result.get("out_of_memory"))


def _list(folder: Path | None) -> None:
    from densenet_solutions.exercises.recipes import RECIPES
    from densenet_solutions.records import load_record, record_names

    if folder is not None and not folder.is_dir():
        raise ValueError(f"--out is a folder with records, got {str(folder)!r}")
    where = () if folder is None else (folder,)  # those of the package without
    there = {name: load_record(name, *where) for name in record_names(*where)}
    table = Table(
        *("recording", "cases", "state", "made"),
        caption="stale: the code that a case depends on has changed since it was recorded; its "
        "page says so, and recording it again renews it",
    )
    for name in sorted(set(RECIPES) | set(there)):
        table.add_row(name, *(_row(there[name]) if name in there else ("", "not recorded", "")))
    Console().print(table)


def _row(made: Record) -> tuple[str, str, str]:
    stale = len(made.stale_cases)
    state = f"{stale} stale" if stale else "up to date"
    return str(len(made.cases)), state, made.date[:10]
