"""`densenet-solutions measure`: parameters, multiply-adds and peak memory of a network."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from densenet_solutions import checks
from densenet_solutions.cli.options import (
    NETWORKS,
    STRATEGIES,
    Autocast,
    Batch,
    Network,
    Resolution,
    faults_in_words,
    names,
)
from densenet_solutions.progress import progress

app = typer.Typer(add_completion=False)


@app.command(
    help="Predict the peak memory of a step, and measure it if a --device is given.\n\n"
    + names(NETWORK=NETWORKS, STRATEGY=STRATEGIES)
)
def measure(
    network: Network,
    batch: Batch = 8,
    resolution: Resolution = 224,
    train: Annotated[
        bool, typer.Option("--train/--infer", help="A training step, or inference.")
    ] = True,
    optimizer: Annotated[
        Literal["sgd", "sgd_momentum", "adam", "adamw"] | None,
        typer.Option(help="Its step and state count too."),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16", "float64"],
        typer.Option(help="Of parameters, buffers and images."),
    ] = "float32",
    autocast: Autocast = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="STRATEGY",
            help="A way to save memory; none without.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda (or cuda:1, …): measure there too; only predict without."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    with faults_in_words(), progress(network) as told:
        checks.choice("NETWORK", network, NETWORKS)
        if strategy is not None:
            checks.choice("--strategy", strategy, STRATEGIES)
        report = _report(
            told, network, batch, resolution, train, optimizer, dtype, autocast, strategy, device
        )
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        _print(report)


def _report(
    told: Callable[[str, int, int], None],
    name: str,
    batch: int,
    resolution: int,
    train: bool,
    optimizer: str | None,
    dtype: str,
    autocast: str | None,
    strategy: str | None,
    device: str | None,
) -> dict[str, Any]:
    import torch

    from densenet_solutions.measure import (
        count_flops,
        count_parameters,
        measure_memory,
        predict_memory,
    )
    from densenet_solutions.memory import STRATEGIES
    from densenet_solutions.models import NETWORKS
    from densenet_solutions.records.serialise import to_json

    # torch.distributed tells of a missing platform feature; a table has no use for it
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    if device is not None:
        checks.device(device)
    net = NETWORKS[name]
    shape = net.shape(batch, resolution)
    chosen = STRATEGIES[strategy] if strategy else None

    def build() -> torch.nn.Module:
        return net.build() if chosen is None else chosen.apply(net.build())

    options: dict[str, Any] = {
        "train": train,
        "optimizer": optimizer,
        "dtype": getattr(torch, dtype),
        "autocast": getattr(torch, autocast) if autocast else None,
        "step": chosen.step if chosen is not None and train else None,
    }
    with torch.device("meta"):
        model = build()
    try:
        work = count_flops(model, shape).multiply_adds
    except ValueError:  # this step does not run without data
        work = None
    results = []
    if chosen is None or chosen.predictable:
        told("predicting", 0, 0)
        results.append(predict_memory(build, shape, **options))
    elif device is None:
        raise ValueError(
            f"strategy {strategy!r} cannot be predicted; add --device cpu or --device cuda "
            "to measure it"
        )
    if device is not None:
        told(f"measuring on {device}", 0, 0)
        results.append(measure_memory(build, shape, device=device, **options))
    return {
        "network": name,
        "input_shape": list(shape),
        "strategy": strategy,
        "parameters": count_parameters(model).total,
        "multiply_adds": work,
        "results": [
            {key: value for key, value in to_json(result).items() if "timeline" not in key}
            | {"peak_beyond_parameters": result.peak_beyond_parameters}
            for result in results
        ],
    }


def _print(report: dict[str, Any]) -> None:
    from densenet_solutions.site.numbers import billions, count, mib

    results = report["results"]
    first = results[0]
    settings = [
        "training step" if first["train"] else "inference",
        "input " + " × ".join(map(str, report["input_shape"])),
        first["dtype"] + (f", autocast to {first['autocast']}" if first["autocast"] else ""),
        f"optimizer {first['optimizer']}" if first["optimizer"] else "no optimizer",
    ]
    if report["strategy"]:
        settings.insert(1, report["strategy"])
    table = Table(
        title=f"{report['network']}\n{', '.join(settings)}",
        caption="what is in memory at the moment of the peak, by what it is there for",
    )
    table.add_column("")
    for result in results:
        device = "" if result["method"] == "predicted" else f" ({result['device']})"
        table.add_column(result["method"] + device, justify="right")
    table.add_row("number of parameters", *[count(report["parameters"])] * len(results))
    work = report["multiply_adds"]
    table.add_row(
        "multiply-adds, forward", *["—" if work is None else billions(work)] * len(results)
    )
    table.add_section()
    for category in first["bytes_by_category"]:
        table.add_row(category, *[mib(r["bytes_by_category"][category]) for r in results])
    table.add_section()
    note = ["out of memory, at least " if r["out_of_memory"] else "" for r in results]
    peaks = [n + mib(r["peak_bytes"]) for n, r in zip(note, results, strict=True)]
    table.add_row("peak", *peaks, style="bold")
    beyond = [mib(r["peak_beyond_parameters"]) for r in results]
    table.add_row("peak beyond parameters, buffers, input", *beyond)
    for key, label in (
        ("reserved_bytes", "reserved by the allocator"),
        ("context_bytes", "outside of the allocator"),
        ("peak_resident_bytes", "process, peak resident"),
    ):
        if any(result[key] is not None for result in results):
            table.add_row(label, *["—" if r[key] is None else mib(r[key]) for r in results])
    Console().print(table)
