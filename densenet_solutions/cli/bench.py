"""`densenet-solutions bench`: memory and time of training steps, time of the site's builds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from densenet_solutions.exercises.saving_memory.bench import MemoryBench

app = typer.Typer(no_args_is_help=True, help="Measure against a baseline or a bar.")

DTYPES = {"float32": None, "bfloat16": "bfloat16", "float16": "float16"}


@app.callback()
def _bench() -> None:
    """Measure against a baseline or a bar."""


@app.command()
def memory(
    variant: Annotated[str, typer.Option(help="row of Table 1")] = "densenet121",
    batch: Annotated[int, typer.Option(min=1, help="images in a batch")] = 8,
    side: Annotated[int, typer.Option(min=29, help="height and width of the images")] = 224,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="float32, or bfloat16 or float16 for autocast")
    ] = "float32",
    repeats: Annotated[int, typer.Option(min=1, help="timed rounds")] = 5,
    compile_: Annotated[
        bool, typer.Option("--compile", help="with torch.compile's memory budget: minutes")
    ] = False,
) -> None:
    """Peak memory and time of one training step: torchvision, recomputation, shared storage."""
    import torch

    from densenet_solutions.exercises.saving_memory.bench import bench_memory

    if dtype not in DTYPES:
        raise typer.BadParameter(f"dtype is one of {list(DTYPES)}, got {dtype!r}")
    errors = Console(stderr=True)
    autocast = DTYPES[dtype]
    try:
        with errors.status("setting up") as status:
            bench = bench_memory(
                variant,
                batch,
                side,
                device=device,
                autocast=None if autocast is None else getattr(torch, autocast),
                repeats=repeats,
                compiled=compile_,
                progress=status.update,
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(report(bench))


@app.command()
def speed(
    batch: Annotated[int, typer.Option(min=1, help="images in a batch")] = 4,
    side: Annotated[int, typer.Option(min=29, help="height and width of the images")] = 224,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    repeats: Annotated[int, typer.Option(min=1, help="timed rounds")] = 15,
) -> None:
    """Time of our DenseNet-121 as a ratio to torchvision's, forward and training step."""
    from densenet_solutions.exercises.table_1.speed import against_torchvision

    with Console(stderr=True).status("timing in turn"):
        found = against_torchvision(batch=batch, resolution=side, repeats=repeats, device=device)
    table = Table(
        title=f"DenseNet-121, {batch} images of {side}x{side}, {device}",
        caption="our time over torchvision's, median and 95% interval of the rounds",
    )
    for column in ("", "ratio", "interval", "our seconds"):
        table.add_column(column, justify="left" if not column else "right")
    for name, ratio in found.items():
        interval = f"{ratio.low:.2f} to {ratio.high:.2f}"
        table.add_row(name, f"{ratio.median:.2f}", interval, f"{ratio.seconds:.3f}")
    Console().print(table)


@app.command()
def site(
    root: Annotated[Path, typer.Option(help="a checkout of the repository")] = Path(),
    page: Annotated[
        list[str] | None, typer.Option(help="edit only this page; may be repeated")
    ] = None,
) -> None:
    """Time builds of the site: cold, unchanged, one page edited. Exit code 1: one is too slow."""
    from densenet_solutions.site.build.benchmark import BARS, build_times

    table = Table("build", "seconds", "at most", "slowest page", "its seconds", title="The site")
    slow = False
    try:
        with Console(stderr=True).status("building"):
            for made in build_times(root, page):
                slowest = max(made.pages, key=made.pages.__getitem__, default="")
                table.add_row(
                    f"{made.kind} {made.edited or ''}".strip(),
                    f"{made.seconds:.1f}",
                    f"{BARS[made.kind]:.0f}",
                    slowest,
                    f"{made.pages[slowest]:.1f}" if slowest else "",
                    style=None if made.is_within else "bold red",
                )
                slow |= not made.is_within
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except RuntimeError as error:
        Console(stderr=True).print(str(error), markup=False)
        raise typer.Exit(2) from error
    Console().print(table)
    raise typer.Exit(int(slow))


def report(bench: MemoryBench) -> Table:
    """The table that the command prints; the first row is what the others are compared with."""
    shape = "x".join(map(str, bench.input_shape))
    table = Table(
        title=f"{bench.network}, {shape}, {bench.dtype}, {bench.device}",
        caption="peak beyond parameters, buffers and input; time as a ratio to the first row",
    )
    for column in ("", "peak", "less", "time", "quartiles"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    baseline = bench.rows[0].peak_beyond_parameters
    for row in bench.rows:
        peak, ratio = row.peak_beyond_parameters, row.time_ratio
        table.add_row(
            row.name,
            "does not fit" if peak is None else f"{peak / 2**20:,.1f} MiB",
            "" if peak is None or baseline is None else f"{baseline / peak:.1f}x",
            "" if ratio is None else f"{ratio:.2f}",
            "" if ratio is None else f"{row.time_ratio_low:.2f} to {row.time_ratio_high:.2f}",
        )
    return table
