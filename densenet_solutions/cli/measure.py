"""`densenet-solutions measure`: parameters, multiply-adds and peak memory of a network."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    from densenet_solutions.measure import MemoryResult
    from densenet_solutions.memory import Strategy

app = typer.Typer(add_completion=False)

#: `Strategy.exactness` in plain words.
_RESULTS = {
    "bitwise": "the same results to the bit",
    "numerical": "the same results up to rounding",
    "approximate": "the same loss, rounded gradients",
    "changes-function": "another function",
}


def _print_strategies(ctx: typer.Context, asked: bool) -> None:
    if not asked:
        return
    more = [word for word in ctx.obj or () if word not in ("measure", "--list-strategies")]
    if more:
        ctx.fail(f"--list-strategies stands alone, got it with {' '.join(more)}: leave that out")
    from densenet_solutions.memory import STRATEGIES as TABLE

    table = Table.grid(padding=(0, 2))
    for family, members in itertools.groupby(TABLE.values(), lambda one: one.family):
        table.add_row(f"[bold]{family}[/]")
        for one in members:
            marks = _RESULTS[one.exactness] + ("" if one.predictable else "; needs --device")
            marks += "" if one.step else " and --infer"
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
    "that operations return; workspace is scratch space inside of them, which only measuring sees. "
    "Without a strategy, peak resident is the most that the whole process has had, Python and "
    "libraries included."
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
        typer.Option(
            metavar="RULE", help="sgd, sgd_momentum, adam or adamw: its step and state count too."
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16", "float64"],
        typer.Option(
            metavar="TYPE",
            help="float32, bfloat16, float16 or float64: of parameters, buffers and images; "
            "--autocast is applied on top.",
        ),
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
            metavar="WHOSE",
            help="What is predicted. meta: each operation by its definition; cpu: a CPU's kernels; "
            "cuda: a GPU's, with what its allocator would reserve, which is nearest to a GPU. No "
            "device is needed.",
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

        _refuse(TABLE[strategy or "plain"], train, device, kernels)
        if strategy == "bfloat16" and (autocast or dtype != "float32"):
            got = f"--autocast {autocast}" if autocast else f"--dtype {dtype}"
            raise ValueError(
                f"--strategy bfloat16 casts a float32 network, got {got}: leave out one of them"
            )
        if autocast and dtype == "float64":
            raise ValueError(
                "--autocast casts float32, bfloat16 and float16, got --dtype float64, which it "
                "leaves alone: leave out one of them"
            )
        # they tell of what the platform lacks; a table has no use for it
        for name in ("torch.distributed.elastic", "torch.utils.cpp_extension"):
            logging.getLogger(name).setLevel(logging.ERROR)
        options = {
            "train": train,
            "optimizer": optimizer,
            "dtype": getattr(torch, dtype),
            "autocast": getattr(torch, autocast) if autocast else None,
        }
        net, chosen = CATALOGUE[network], TABLE[strategy or "plain"]
        shape = net.shape(batch, resolution)
        predicted = kernels if chosen.predictable else None
        with progress(network) as told:
            found = [
                _found(told, net.build, shape, one, predicted, device, options)
                for one in {"plain": TABLE["plain"], chosen.name: chosen}.values()
            ]
    if as_json:
        report: dict[str, Any] = {"network": network, "input_shape": list(shape)}
        report |= {"strategy": strategy, **_plain_data(found[-1])}
        if len(found) > 1:
            report["plain"] = _plain_data(found[0])
        typer.echo(json.dumps(report, indent=1))
        return
    tables = [_alone(network, strategy, *found)] if len(found) == 1 else _beside(network, *found)
    for table in tables:
        Console().print(table)


#: Where a strategy that cannot be predicted saves something.
_ANYWHERE, _WHERE = "--device cpu or --device cuda", {"offload": "--device cuda"}


def _refuse(strategy: Strategy, train: bool, device: str | None, kernels: str) -> None:
    """Refuse what cannot be done with a strategy, all of it at once."""
    if device is not None:
        checks.device(device)
    found = {}
    if train and strategy.step is None:
        found["does not train"] = "add --infer"
    if not strategy.predictable and (device is None or kernels != "meta"):
        found["cannot be predicted"] = " and ".join(
            ["leave out --kernels"] * (kernels != "meta")
            + [f"add {_WHERE.get(strategy.name, _ANYWHERE)} to measure it"] * (device is None)
        ) + ", or give --autocast bfloat16 in its place" * (strategy.name == "bfloat16")
    if found:
        raise ValueError(
            f"strategy {strategy.name!r} {' and '.join(found)}: {' and '.join(found.values())}"
        )


@dataclass(frozen=True)
class _Found:
    """Counts and memory of a network under a strategy; without multiply-adds where data decide."""

    strategy: str
    parameters: int
    multiply_adds: int | None
    results: tuple[MemoryResult, ...]


def _found(
    told: Callable[[str, int, int], None],
    build: Callable[[], Any],
    shape: tuple[int, ...],
    strategy: Strategy,
    kernels: str | None,
    device: str | None,
    options: dict[str, Any],
) -> _Found:
    """Count, predict with `kernels`, and measure on `device`."""
    from densenet_solutions.measure import (
        count_flops,
        count_parameters,
        measure_memory,
        predict_memory,
    )

    def model_fn() -> Any:
        return build() if strategy.name == "plain" else strategy.apply(build())

    options = options | {"step": strategy.step if options["train"] else None}
    try:
        work = count_flops(model_fn, shape).multiply_adds
    except ValueError:  # this step does not run without data
        work = None
    results = []
    if kernels is not None:
        told(f"predicting {strategy.name}", 0, 0)
        results.append(predict_memory(model_fn, shape, device=kernels, **options))
    if device is not None:
        _check_size(results, device)
        told(f"measuring {strategy.name} on {device}", 0, 0)
        results.append(measure_memory(model_fn, shape, device=device, **options))
    return _Found(strategy.name, count_parameters(model_fn).total, work, tuple(results))


def _check_size(predicted: Sequence[MemoryResult], device: str) -> None:
    """Refuse what the machine has no memory for: Linux would end the process without a word."""
    has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if _SYSCONF else None
    needs = max((result.peak_bytes for result in predicted), default=0)
    if device == "cpu" and has is not None and needs > has:
        raise ValueError(
            f"a measurement needs {needs / 2**30:,.1f} GiB, as predicted, and this machine has "
            f"{has / 2**30:,.1f}: lower --batch or --resolution, or leave out --device"
        )


#: Windows has none.
_SYSCONF = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})


def _plain_data(found: _Found) -> dict[str, Any]:
    from densenet_solutions.records.serialise import to_json

    return {
        "parameters": found.parameters,
        "multiply_adds": found.multiply_adds,
        "results": [
            {key: value for key, value in to_json(result).items() if "timeline" not in key}
            | {"peak_beyond_parameters": result.peak_beyond_parameters}
            | (_unknown(result) if result.out_of_memory else {})
            | ({"slices": _slices(result)} if found.strategy == "shared_storage" else {})
            for result in found.results
        ],
    }


def _unknown(result: MemoryResult) -> dict[str, Any]:
    """What is not known of a step that ran out of memory."""
    parts = dict.fromkeys(result.bytes_by_category)
    return {"bytes_by_category": parts, "peak_beyond_parameters": None}


def _slices(result: MemoryResult) -> int:
    """Into how many slices shared storage cuts a large batch."""
    from densenet_solutions.memory.shared_storage.plan import SLICES

    return SLICES["cuda" if _on_gpu(result) else "cpu"]


def _on_gpu(result: MemoryResult) -> bool:
    return result.device == "cuda" or result.method == "cuda-allocator"


def _method(result: MemoryResult) -> str:
    if result.method == "predicted":
        return "predicted" + f" ({result.device.upper()} kernels)" * (result.device != "meta")
    return f"measured ({result.device}'s allocator)"


def _alone(network: str, strategy: str | None, found: _Found) -> Table:
    """A column for each method."""
    table = _empty(network, strategy or "", found.strategy, found.results)
    for result in found.results:
        table.add_column(_method(result), justify="right")
    _add_rows(table, [found] * len(found.results), found.results, ratio=False)
    return table


def _beside(network: str, plain: _Found, changed: _Found) -> list[Table]:
    """A table for each method: plain, changed, and plain divided by changed."""
    tables = []
    for results in zip(plain.results, changed.results, strict=True):
        ratio = "; less: plain divided by the strategy"
        table = _empty(network, _method(results[0]), changed.strategy, results, ratio)
        for title in (plain.strategy, changed.strategy, "less"):
            table.add_column(title, justify="right")
        _add_rows(table, [plain, changed], results, ratio=True)
        tables.append(table)
        if results[0].peak_bytes == results[1].peak_bytes and not results[0].out_of_memory:
            table.caption = f"{table.caption}\n{changed.strategy} has the peak of plain here"
    return tables


def _empty(
    network: str, first: str, strategy: str, results: Sequence[MemoryResult], more: str = ""
) -> Table:
    """A table without rows, under the settings that its results share, `first` before them."""
    last = results[-1]
    settings = [
        *([first] if first else []),
        "training step" if last.train else "inference",
        "input " + " × ".join(map(str, last.input_shapes[0])),
        last.dtype + (f", autocast to {last.autocast}" if last.autocast else ""),
        f"optimizer {last.optimizer}" if last.optimizer else "no optimizer",
        *([f"{last.threads} thread{'s' * (last.threads > 1)}"] if last.threads else []),
        f"PyTorch {last.packages['torch']}",
    ]
    caption = f"what is in memory at the moment of the peak, by what it is there for{more}"
    return Table(
        "",
        title=f"{network}\n{', '.join(settings)}",
        caption="\n".join([caption, *_notes(strategy, results)]),
    )


def _add_rows(
    table: Table, networks: Sequence[_Found], results: Sequence[MemoryResult], *, ratio: bool
) -> None:
    """What is counted and what is in memory; with `ratio` also the first over the second."""
    from densenet_solutions.site.numbers import billions, count, mib

    def less(key: str) -> list[str]:
        if not ratio or any(r.out_of_memory or not getattr(r, key) for r in results):
            return []
        first, second = (getattr(r, key) for r in results)
        return [f"{first / second:.1f}x"]

    table.add_row("number of parameters", *(count(network.parameters) for network in networks))
    works = [network.multiply_adds for network in networks]
    table.add_row(
        "multiply-adds of the batch, forward",
        *("—" if work is None else billions(work) for work in works),
    )
    table.add_section()
    for category in results[-1].bytes_by_category:
        table.add_row(
            category,
            *("—" if r.out_of_memory else mib(r.bytes_by_category[category]) for r in results),
        )
    table.add_section()
    peaks = ["out of memory, at least " * r.out_of_memory + mib(r.peak_bytes) for r in results]
    table.add_row("peak", *peaks, *less("peak_bytes"), style="bold")
    for key, label in (
        ("peak_beyond_parameters", "peak beyond parameters, buffers, input"),
        ("reserved_bytes", "reserved by the allocator"),
        ("context_bytes", "outside of the allocator"),
        # of the whole process, so it says nothing of the second of two
        *([] if ratio else [("peak_resident_bytes", "process, peak resident")]),
    ):
        sizes = [
            None if r.out_of_memory and key == "peak_beyond_parameters" else getattr(r, key)
            for r in results
        ]
        if any(size is not None for size in sizes):
            cells = ["—" if size is None else mib(size) for size in sizes]
            table.add_row(label, *cells, *(less(key) if key != "context_bytes" else ()))


def _notes(name: str, results: Sequence[MemoryResult]) -> list[str]:
    """What is to be known of the results, each thing once."""
    from densenet_solutions.memory import STRATEGIES as TABLE
    from densenet_solutions.memory import training_step

    notes = list(dict.fromkeys(note for result in results for note in result.notes))
    last, strategy = results[-1], TABLE[name]
    if not last.train and strategy.step not in (None, training_step):
        notes.append(f"{name} changes the training step, and nothing at inference")
    elif strategy.costs and (last.train or strategy.step is None):
        notes.append(f"it costs: {strategy.costs[0].lower()}{strategy.costs[1:-1]}")
    if name == "quantized_inference":
        notes.append("its 8-bit weights are buffers, so they do not count as parameters")
    if name == "shared_storage":
        of, more = ("a GPU's", "") if _on_gpu(last) else ("a CPU's", "; a GPU's need more memory")
        notes.append(f"shared_storage works in {of} slices, at most {_slices(last)} a batch{more}")
    return [_in_rows(note) for note in notes]


def _in_rows(note: str) -> str:
    """A note of the instrument in the words of the table."""
    for instrument, table in {
        "reserved_bytes": "what is reserved by the allocator",
        "with fake CPU tensors": "traced as on a CPU, without data",
    }.items():
        note = note.replace(instrument, table)
    return note
