"""`densenet-solutions bench`: memory and time of training steps, held against torchvision's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from densenet_solutions import checks
from densenet_solutions.cli.options import (
    IMAGENET,
    Autocast,
    Batch,
    Device,
    Network,
    Repeats,
    Resolution,
    chosen_device,
    faults_in_words,
    names,
)
from densenet_solutions.progress import progress

if TYPE_CHECKING:
    from densenet_solutions.exercises.saving_memory.bench import MemoryBench

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measure memory and time against torchvision."
)


@app.callback()
def _bench() -> None:
    """Measure memory and time against torchvision."""


@app.command(
    help="Compare peak and time of a training step: torchvision, recomputation, shared storage. "
    "On a CPU with the defaults it takes minutes.\n\n" + names(NETWORK=IMAGENET)
)
def memory(
    network: Network = "densenet121",
    batch: Batch = 8,
    resolution: Resolution = 224,
    device: Device = None,
    autocast: Autocast = None,
    repeats: Repeats = 5,
    compiled: Annotated[
        bool, typer.Option("--compile", help="With torch.compile's memory budget: takes minutes.")
    ] = False,
) -> None:
    with faults_in_words(sizes="--batch or --resolution"):
        checks.choice("NETWORK", network, IMAGENET)
        where = chosen_device(device)
        with progress(network) as told:
            import torch

            from densenet_solutions.exercises.saving_memory.bench import bench_memory
            from densenet_solutions.measure.options import StepOptions
            from densenet_solutions.models import TABLE_1

            build = TABLE_1[network].build
            shape = StepOptions(build, (batch, 3, resolution, resolution)).shapes[0]
            with torch.device("meta"):  # images of a wrong size are told in our words
                build().train()(torch.empty(shape))
            bench = bench_memory(
                network,
                batch,
                resolution,
                device=where,
                autocast=getattr(torch, autocast) if autocast else None,
                repeats=repeats,
                compiled=compiled,
                progress=told,
            )
    Console().print(report(bench, torch.get_num_threads()))


def report(bench: MemoryBench, threads: int) -> Table:
    """The table that the command prints; the first row is what the others are compared with."""
    shape = " × ".join(map(str, bench.input_shape))
    place = bench.device + f" ({threads} thread{'s' * (threads > 1)})" * (bench.device == "cpu")
    table = Table(
        title=f"{bench.network}, {shape}, {bench.dtype}, {place}, "
        f"{bench.repeats} round{'s' * (bench.repeats > 1)}",
        caption="MiB: peak beyond parameters, buffers and input; less: the first row's MiB "
        "divided by the row's; time: over the first row's, median and quartiles of the rounds; "
        "CPU: likewise, processor time of all threads together"
        + "; one round says little of time"
        * (bench.repeats == 1),
    )
    for column in ("", "MiB", "less", "time", "quartiles", "CPU"):
        table.add_column(
            column, justify="right" if column else "left", overflow="fold", no_wrap=bool(column)
        )
    baseline = bench.rows[0].peak_beyond_parameters
    for row in bench.rows:
        peak, ratio = row.peak_beyond_parameters, row.time_ratio
        table.add_row(
            row.name,
            "does not fit" if peak is None else f"{peak / 2**20:,.1f}",
            "" if peak is None or baseline is None else f"{baseline / peak:.1f}x",
            "" if ratio is None else f"{ratio:.2f}",
            "" if ratio is None else f"{row.time_ratio_low:.2f}–{row.time_ratio_high:.2f}",
            "" if row.processor_ratio is None else f"{row.processor_ratio:.2f}",
        )
    return table
