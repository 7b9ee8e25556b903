"""`densenet-solutions record`: make one of the recordings, or list them and what is stale."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from densenet_solutions import checks
from densenet_solutions.cli.options import (
    Device,
    chosen_device,
    faults_in_words,
    folder_path,
    names,
    resumption,
)
from densenet_solutions.exercises.recipes import RECORDINGS, recipe
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    from densenet_solutions.records import Record

app = typer.Typer(add_completion=False)


@app.command(
    help="Measure the cases of a recording one by one and write each; run again to resume.\n\n"
    + names(NAME=RECORDINGS)
)
def record(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A recording, see above.")
    ] = None,
    device: Device = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=folder_path,
            help="Where NAME.json is written, ./records without; missing folders are made. What "
            "--list reads; without, the package's records.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CASE", help="Only this case; may be given several times. NAME --list has all."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace what was made on another device, by other code, or is no record.",
        ),
    ] = False,
    show: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List the recordings, or the cases of NAME, and which are stale; with NAME and "
            "--out alone.",
        ),
    ] = False,
) -> None:
    folder = Path("records") if out is None else out
    with faults_in_words(left=lambda: "" if show else resumption(folder / f"{name}.json", "case")):
        if name is not None:
            try:
                chosen = recipe(name)
            except ValueError as error:
                raise ValueError(f"{error}; record --list has all") from error
        if show:
            given = {"--only": only, "--device": device, "--force": force}
            if ignored := [option for option, value in given.items() if value]:
                raise ValueError(
                    f"--list takes NAME and --out alone, got it with {', '.join(ignored)}: leave "
                    "out one of them"
                )
            _list(out, name)
            return
        if name is None:
            raise ValueError("give the NAME of a recording; --list names them")
        for case in only or ():
            checks.choice("--only", case, chosen.cases)
        from densenet_solutions.records.recorder import run_recipe

        where = chosen_device(device)
        shipped = _shipped(name)
        if where == "cpu" and shipped and not any(d.startswith("CPU") for d in shipped):
            typer.echo(
                f"made on {', '.join(shipped)}; here it runs on the CPU, which may take hours. "
                "Each case is written when it is done; --only CASE measures one, Ctrl-C stops",
                err=True,
            )
        with progress(name) as told:
            measured = []

            def progressed(case: str, done: int, total: int) -> None:
                measured.append(case)
                told(case, done, total)

            made = run_recipe(
                chosen, device=where, directory=folder, only=only, force=force, progress=progressed
            )
    failed = len(made.out_of_memory)
    typer.echo(f"{folder / name}.json")
    typer.echo(
        f"{len(made.cases)} of {len(chosen.cases)} cases"
        + f", {failed} of them out of memory" * bool(failed)
        + "; nothing was left to measure" * (not any(measured))
        + "; leave out --only for the others"
        * (only is not None and len(made.cases) < len(chosen.cases))
    )


def _shipped(name: str) -> list[str]:
    """The devices that the package's recording of this name was made on."""
    from densenet_solutions.records import load_record, record_names

    return sorted(set(load_record(name).devices.values())) if name in record_names() else []


def _list(folder: Path | None, name: str | None) -> None:
    from densenet_solutions.records import load_record, record_names

    if folder is not None and not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give one with records, or leave out --out")
    where = () if folder is None else (folder,)  # those of the package without
    try:
        there = {found: load_record(found, *where) for found in record_names(*where)}
    except ValueError as error:
        raise ValueError(f"{error}: give another --out, or move the file away") from error
    if name is not None:
        _list_cases(name, there.get(name))
        return
    table = Table.grid(padding=(0, 2))
    for known in sorted({*RECORDINGS, *there}):
        what = RECORDINGS[known].what if known in RECORDINGS else "no recording of this package"
        table.add_row(known, what)
        table.add_row("", f"[dim]{_state(known, there.get(known))}[/]")
    Console(highlight=False).print(table)
    Console(highlight=False).print(
        "\nabout: all cases, where they were recorded. stale: the code that a case depends on has "
        "changed since. Its page says so. On such a device record NAME --force --out FOLDER renews "
        "it, FOLDER being that of these records. NAME --list has the cases."
    )


def _list_cases(name: str, made: Record | None) -> None:
    """A case a line, in quotes where a shell needs them."""
    cases = recipe(name).cases
    sizes = " (batch sizes)" if all(case.isdigit() for case in cases) else ""
    typer.echo(f"cases of {name}{sizes}, for --only:")
    stale = made.stale_cases if made else ()
    for case in cases:
        state = "not recorded"
        if made is not None and case in made.cases:
            age = "stale" if case in stale else "up to date"
            state = f"{age}, made on {_device(made.devices[case])}"
        typer.echo(f"  {shlex.quote(case)}  {state}")
    if stale:
        typer.echo(
            f"stale: its code has changed since; renew it with record {name} --force --out FOLDER, "
            "FOLDER being the one that holds the record"
        )


def _device(name: str) -> str:
    """`"CPU (model, threads)"` → `"CPU"`; a GPU's name is short enough."""
    return name.partition(" (")[0]


def _state(name: str, made: Record | None) -> str:
    """How many cases are recorded and stale, where and when, and about how long all take."""
    about = [f"about {RECORDINGS[name].takes}"] if name in RECORDINGS else []
    if made is None:
        return "; ".join(["not recorded", *about])
    try:
        cases = len(recipe(name).cases)
    except (ModuleNotFoundError, ValueError):  # without the extra, or no recording of ours
        cases = len(made.cases)
    of = f" of {cases}" if cases > len(made.cases) else ""
    stale = len(made.stale_cases)
    age = f"{stale} of them stale" if stale else "up to date"
    devices = ", ".join(sorted({_device(device) for device in made.devices.values()}))
    number = f"{len(made.cases)}{of} case{'s' * (cases > 1)}"
    return "; ".join([f"{number}, {age}", f"{devices}, {made.date[:10]}", *about])
