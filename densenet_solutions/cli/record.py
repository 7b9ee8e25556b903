"""`densenet-solutions record`: make one of the recordings, or list them and what is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

app = typer.Typer(add_completion=False)


@app.command()
def record(
    name: Annotated[str | None, typer.Argument(help="Recording; see --list.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Folder for NAME.json; ./records without.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what another device or other code has made.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List recordings, and say which are stale.")
    ] = False,
) -> None:
    """Measure the cases of a recording one by one and write each; run again to resume."""
    from densenet_solutions.exercises.recipes import recipe
    from densenet_solutions.records import store
    from densenet_solutions.records.recorder import run_recipe

    directory = out or Path("records")
    if show:
        _list(out or store.RECORDS)
        return
    if name is None:
        raise typer.BadParameter("give the NAME of a recording, or --list to see them")
    console = Console(stderr=True)
    try:
        chosen = recipe(name)
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), console=console,
        ) as bars:  # fmt: skip
            task = bars.add_task(name, total=None)

            def progress(case: str, done: int, total: int) -> None:
                bars.update(task, description=case or name, completed=done, total=total)

            made = run_recipe(
                chosen,
                device=device,
                directory=directory,
                only=only,
                force=force,
                progress=progress,
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except KeyboardInterrupt:
        console.print("stopped; the same command resumes")
        raise typer.Exit(130) from None
    failed = sum(_ran_out(result) for result in made.cases.values())
    console.print(
        f"{directory / name}.json: {len(made.cases)} of {len(chosen.cases)} cases, "
        f"{failed} of them out of memory"
    )


def _ran_out(result: object) -> bool:
    return isinstance(result, dict) and bool(result.get("out_of_memory"))


def _list(directory: Path) -> None:
    from densenet_solutions.exercises.recipes import RECIPES
    from densenet_solutions.records import store

    there = {name: store.load_record(name, directory) for name in store.record_names(directory)}
    table = Table("recording", "cases", "state", "made")
    for name in sorted(set(RECIPES) | set(there)):
        made = there.get(name)
        if made is None:
            table.add_row(name, "", "not recorded", "")
            continue
        stale = len(made.stale_cases)
        state = f"{stale} stale: the code has changed" if stale else "up to date"
        when = f"{made.date[:10]}, {made.provenance.device}"
        table.add_row(name, str(len(made.cases)), state, when)
    Console().print(table)
