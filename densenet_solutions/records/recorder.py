"""Run the cases of a recording one by one; nothing that was finished is lost or run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from densenet_solutions.records.serialise import to_json
from densenet_solutions.records.store import (
    RECORDS,
    Record,
    fingerprint,
    load_record,
    provenance,
    save_record,
)


@dataclass(frozen=True)
class Recipe:
    """How a record is made: its cases in order, and the function that measures one of them.

    `measure(case, device)` gets an entry of `cases` and returns a result (a dataclass of
    `densenet_solutions.results` or plain data). `sources` are the modules it depends on, as paths
    relative to the package.
    """

    name: str
    cases: Mapping[str, Any]
    measure: Callable[[Any, str], Any]
    sources: Sequence[str]
    seed: int | None = None


def run_recipe(
    recipe: Recipe,
    *,
    device: str = "cpu",
    directory: Path = RECORDS,
    only: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] = lambda case, done, total: None,
) -> Record:
    """Measure every case that is not there yet and write the record after each one.

    A case that runs out of memory is recorded as such. A record whose code has changed, or that
    was made on another device, starts afresh. `progress(case, done, total)` is called before each
    case and once at the end.

    Raises:
        ValueError: `only` names a case that the recipe does not have.
    """
    import torch

    unknown = set(only or ()) - set(recipe.cases)
    if unknown:
        raise ValueError(
            f"record {recipe.name!r} has the cases {list(recipe.cases)}, got {sorted(unknown)}"
        )
    record = Record(
        name=recipe.name,
        command=f"densenet-solutions record {recipe.name} --device {device}",
        provenance=provenance(device),
        seed=recipe.seed,
        sources=tuple(sorted(recipe.sources)),
        fingerprint=fingerprint(recipe.sources),
    )
    record = replace(record, cases=_finished(record, directory))
    todo = [case for case in (only or recipe.cases) if case not in record.cases]
    for done, case in enumerate(todo):
        progress(case, done, len(todo))
        try:
            result = to_json(recipe.measure(recipe.cases[case], device))
        except torch.OutOfMemoryError:
            result = {"out_of_memory": True}
            torch.cuda.empty_cache()
        cases = {**record.cases, case: result}
        ordered = {name: cases[name] for name in recipe.cases if name in cases}
        record = replace(record, cases=ordered)
        save_record(record, directory)
    progress("", len(todo), len(todo))
    return record


def _finished(fresh: Record, directory: Path) -> Mapping[str, Any]:
    try:
        old = load_record(fresh.name, directory)
    except (FileNotFoundError, ValueError):
        return {}
    same = old.fingerprint == fresh.fingerprint and old.provenance.device == fresh.provenance.device
    return old.cases if same else {}
