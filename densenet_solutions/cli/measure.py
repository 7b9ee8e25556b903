"""`densenet-solutions measure`: parameters, multiply-adds and peak memory of a network."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

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

if TYPE_CHECKING:
    from densenet_solutions.memory import Strategy

app = typer.Typer(add_completion=False)

#: `Strategy.exactness` in plain words.
_RESULTS = {
    "bitwise": "the same results to the bit",
    "numerical": "the same results up to rounding",
    "approximate": "the same loss, rounded gradients",
    "changes-function": "another function",
}


def _print_strategies(asked: bool) -> None:
    if not asked:
        return
    from densenet_solutions.memory import STRATEGIES as TABLE

    table = Table.grid(padding=(0, 2))
    for family, members in itertools.groupby(TABLE.values(), lambda one: one.family):
        table.add_row(f"[bold]{family}[/]")
        for one in members:
            marks = _RESULTS[one.exactness] + ("" if one.predictable else "; needs --device")
            table.add_row(one.name, f"{one.summary} [dim]({marks})[/]")
        table.add_row()
    table.add_row("", "[dim]another function: other results than the plain network's, or step's[/]")
    Console(highlight=False).print(table)
    raise typer.Exit


@app.command(
    help="Predict the peak memory of a step, and measure it if a --device is given. With a "
    "--strategy, the plain network stands beside it.\n\n"
    + names(NETWORK=NETWORKS)
    + "\n\nSTRATEGY, by family (--list-strategies says what each does):\n\n"
    + names(**STRATEGIES)
    + "\n\nROWS of the table: activations are kept for the backward pass; temporaries are the rest "
    "that operations return; workspace is scratch space inside of them, which only measuring sees."
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
        typer.Option(help="Of parameters, buffers and images; --autocast is applied on top."),
    ] = "float32",
    autocast: Autocast = None,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", metavar="STRATEGY", help="A way to save memory; none without."),
    ] = None,
    list_strategies: Annotated[
        bool,
        typer.Option(
            "--list-strategies",
            callback=_print_strategies,
            is_eager=True,
            help="Say what each strategy does.",
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help="cpu or cuda (or cuda:1, …): measure there too; only predict without.",
        ),
    ] = None,
    kernels: Annotated[
        Literal["meta", "cpu", "cuda"],
        typer.Option(
            help="Whose kernels are predicted: each operation by its definition, a CPU's, or a "
            "GPU's, with what its allocator would reserve. No device is needed."
        ),
    ] = "meta",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    with faults_in_words():
        checks.choice("NETWORK", network, NETWORKS)
        if strategy is not None:
            checks.choice("--strategy", strategy, tuple(itertools.chain(*STRATEGIES.values())))
        if optimizer and not train:
            raise ValueError("inference has no optimizer: leave out --infer or --optimizer")
        import torch

        from densenet_solutions.memory import STRATEGIES as TABLE
        from densenet_solutions.models import NETWORKS as CATALOGUE

        if strategy is not None and train and TABLE[strategy].step is None:
            raise ValueError(f"strategy {strategy!r} does not train; add --infer")
        predictable = strategy is None or TABLE[strategy].predictable
        if not predictable and kernels != "meta":
            raise ValueError(f"strategy {strategy!r} cannot be predicted: leave out --kernels")
        if device is not None:
            checks.device(device)
        elif not predictable:
            raise ValueError(
                f"strategy {strategy!r} cannot be predicted; add --device cpu or --device cuda "
                "to measure it"
            )
        # torch.distributed tells of a missing platform feature; a table has no use for it
        logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
        options = {
            "train": train,
            "optimizer": optimizer,
            "dtype": getattr(torch, dtype),
            "autocast": getattr(torch, autocast) if autocast else None,
        }
        net = CATALOGUE[network]
        shape = net.shape(batch, resolution)
        asked = kernels if predictable else None
        both = ["plain"] if strategy in (None, "plain") else ["plain", strategy]
        with progress(network) as told:
            found = [
                _found(told, net.build, shape, TABLE[name], asked, device, options) for name in both
            ]
    report = {"network": network, "input_shape": list(shape), "strategy": strategy, **found[-1]}
    if len(both) > 1:
        report["plain"] = found[0]
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    if len(both) == 1:
        results = report["results"]
        Console().print(
            _table(report, results, [_method(r) for r in results], found * len(results))
        )
        return
    for results in zip(*(network["results"] for network in found), strict=True):
        Console().print(_table(report, results, both, found, _method(results[0])))


def _found(
    told: Callable[[str, int, int], None],
    build: Callable[[], Any],
    shape: tuple[int, ...],
    strategy: Strategy,
    kernels: str | None,
    device: str | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Counts and memory of a network under a strategy; without `kernels` nothing is predicted."""
    import torch

    from densenet_solutions.measure import (
        count_flops,
        count_parameters,
        measure_memory,
        predict_memory,
    )
    from densenet_solutions.records.serialise import to_json

    def model_fn() -> torch.nn.Module:
        return build() if strategy.name == "plain" else strategy.apply(build())

    options = options | {"step": strategy.step if options["train"] else None}
    with torch.device("meta"):
        model = model_fn()
    try:
        work = count_flops(model, shape).multiply_adds
    except ValueError:  # this step does not run without data
        work = None
    results = []
    if kernels is not None:
        told(f"predicting {strategy.name}", 0, 0)
        results.append(predict_memory(model_fn, shape, device=kernels, **options))
    if device is not None:
        told(f"measuring {strategy.name} on {device}", 0, 0)
        results.append(measure_memory(model_fn, shape, device=device, **options))
    return {
        "parameters": count_parameters(model).total,
        "multiply_adds": work,
        "results": [
            {key: value for key, value in to_json(result).items() if "timeline" not in key}
            | {"peak_beyond_parameters": result.peak_beyond_parameters}
            | ({"kernels": kernels} if result.method == "predicted" else {})
            for result in results
        ],
    }


def _method(result: dict[str, Any]) -> str:
    if result["method"] == "predicted":
        kernels = result["kernels"]
        return "predicted" + f" ({kernels.upper()} kernels)" * (kernels != "meta")
    return f"measured ({result['device']}'s allocator)"


def _table(
    report: dict[str, Any],
    results: Sequence[dict[str, Any]],
    titles: Sequence[str],
    networks: Sequence[dict[str, Any]],
    method: str = "",
) -> Table:
    """A column for each result; with a `method` that they share, the plain network comes first."""
    from densenet_solutions.site.numbers import billions, count, mib

    last = results[-1]
    settings = [
        *([method] if method else []),
        *([report["strategy"]] if report["strategy"] and not method else []),
        "training step" if last["train"] else "inference",
        "input " + " × ".join(map(str, report["input_shape"])),
        last["dtype"] + (f", autocast to {last['autocast']}" if last["autocast"] else ""),
        f"optimizer {last['optimizer']}" if last["optimizer"] else "no optimizer",
    ]
    table = Table(
        title=f"{report['network']}\n{', '.join(settings)}",
        caption="what is in memory at the moment of the peak, by what it is there for"
        + ("; less: plain divided by the strategy" if method else "")
        + "".join(f"\n{note}" for note in _notes(report, results)),
    )
    for title in ("", *titles, *(["less"] if method else [])):
        table.add_column(title, justify="right" if title else "left")

    def size(key: str) -> list[str]:
        return ["—" if result[key] is None else mib(result[key]) for result in results]

    def ratio(key: str) -> list[str]:
        known = method and not any(r["out_of_memory"] or not r[key] for r in results)
        return [f"{results[0][key] / last[key]:.1f}x"] if known else []

    table.add_row("number of parameters", *(count(network["parameters"]) for network in networks))
    works = [network["multiply_adds"] for network in networks]
    table.add_row(
        "multiply-adds, forward", *("—" if work is None else billions(work) for work in works)
    )
    table.add_section()
    for category in last["bytes_by_category"]:
        table.add_row(category, *(mib(r["bytes_by_category"][category]) for r in results))
    table.add_section()
    peaks = [
        "out of memory, at least " * r["out_of_memory"] + mib(r["peak_bytes"]) for r in results
    ]
    table.add_row("peak", *peaks, *ratio("peak_bytes"), style="bold")
    for key, label in (
        ("peak_beyond_parameters", "peak beyond parameters, buffers, input"),
        ("reserved_bytes", "reserved by the allocator"),
        ("context_bytes", "outside of the allocator"),
        # of the whole process, so it says nothing of the second of two
        *([] if method else [("peak_resident_bytes", "process, peak resident")]),
    ):
        if any(result[key] is not None for result in results):
            told = key in ("peak_beyond_parameters", "reserved_bytes")
            table.add_row(label, *size(key), *(ratio(key) if told else ()))
    return table


def _notes(report: dict[str, Any], results: Sequence[dict[str, Any]]) -> list[str]:
    """What is to be known of the results, each thing once."""
    from densenet_solutions.memory import STRATEGIES as TABLE
    from densenet_solutions.memory import training_step

    notes = list(dict.fromkeys(note for result in results for note in result["notes"]))
    name, last = report["strategy"], results[-1]
    if name is not None:
        if not last["train"] and TABLE[name].step not in (None, training_step):
            notes.append(f"{name} changes the training step, and nothing at inference")
        elif TABLE[name].costs:
            notes.append(f"it costs: {TABLE[name].costs[0].lower()}{TABLE[name].costs[1:-1]}")
    if name == "shared_storage" and last.get("kernels", "cuda") != "cuda":
        notes.append("shared_storage is predicted in a CPU's slices; a GPU's need more")
    return notes
