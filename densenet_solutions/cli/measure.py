"""`densenet-solutions measure`: parameters, multiply-adds and peak memory of a network."""

from __future__ import annotations

import json
import logging
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(add_completion=False)


@app.command()
def measure(
    name: Annotated[str, typer.Argument(help="Network, for example densenet121.")],
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 8,
    resolution: Annotated[int, typer.Option(min=1, help="Side of the images in pixels.")] = 224,
    train: Annotated[bool, typer.Option("--train/--infer", help="What to run.")] = True,
    optimizer: Annotated[
        str | None, typer.Option(help="sgd, sgd_momentum, adam or adamw; none without.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    autocast: Annotated[bool, typer.Option(help="Run the forward pass in bfloat16.")] = False,
    strategy: Annotated[str | None, typer.Option(help="A memory strategy by name.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda: measure there too, not only predict.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict the peak memory of a step, and measure it if a --device is given."""
    try:
        report = _report(
            name, batch, resolution, train, optimizer, dtype, autocast, strategy, device
        )
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        _print(report)


def _report(
    name: str,
    batch: int,
    resolution: int,
    train: bool,
    optimizer: str | None,
    dtype: str,
    autocast: bool,
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
    from densenet_solutions.models.catalogue import network
    from densenet_solutions.records.serialise import to_json

    # torch.distributed tells of a missing platform feature; a table has no use for it
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    types = ("float32", "bfloat16", "float16", "float64")
    if dtype not in types:
        raise ValueError(f"--dtype is one of {types}, got {dtype!r}")
    if strategy is not None and strategy not in STRATEGIES:
        raise ValueError(f"--strategy is one of {sorted(STRATEGIES)}, got {strategy!r}")
    net = network(name)
    shape = net.shape(batch, resolution)
    build, options = net.build, dict[str, Any](train=train, optimizer=optimizer)
    chosen = STRATEGIES[strategy] if strategy else None
    if chosen is not None:
        build = lambda: chosen.apply(net.build())  # noqa: E731 (two factories, one name)
        options["step"] = chosen.step if train else None
    options["dtype"] = getattr(torch, dtype)
    options["autocast"] = torch.bfloat16 if autocast else None
    with torch.device("meta"):
        model = build()
    try:
        work = count_flops(model, shape).multiply_adds
    except ValueError:  # this step does not run without data
        work = None
    report: dict[str, Any] = {
        "network": name,
        "input_shape": list(shape),
        "strategy": strategy,
        "parameters": count_parameters(model).total,
        "multiply_adds": work,
        "results": [],
    }
    if chosen is None or chosen.predictable:
        report["results"].append(predict_memory(build, shape, **options))
    elif device is None:
        raise ValueError(
            f"strategy {strategy!r} cannot be predicted; add --device cpu or --device cuda "
            "to measure it"
        )
    if device is not None:
        report["results"].append(measure_memory(build, shape, device=device, **options))
    report["results"] = [
        {key: value for key, value in to_json(result).items() if key != "timeline"}
        | {"peak_beyond_parameters": result.peak_beyond_parameters}
        for result in report["results"]
    ]
    return report


def _print(report: dict[str, Any]) -> None:
    from densenet_solutions.site.numbers import billions, count, mib

    results = report["results"]
    first = results[0]
    what = "training step" if first["train"] else "inference"
    shape = " x ".join(map(str, report["input_shape"]))
    changed = f" with {report['strategy'].replace('_', ' ')}" if report["strategy"] else ""
    table = Table(title=f"{report['network']}{changed}, {what}, input {shape}")
    table.add_column("")
    for result in results:
        device = "" if result["method"] == "predicted" else f" ({result['device']})"
        table.add_column(result["method"] + device, justify="right")
    table.add_row("parameters", *[count(report["parameters"])] * len(results))
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
