"""Run the cases of a recording one by one; nothing that was finished is lost or run again."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from densenet_solutions import checks
from densenet_solutions.records.closure import libraries, root
from densenet_solutions.records.serialise import to_json
from densenet_solutions.records.store import (
    Provenance,
    Record,
    load_record,
    made_now,
    provenance,
    save_record,
)


@dataclass(frozen=True)
class Recipe:
    """How a record is made: its cases in order, and the function that measures one of them.

    `measure(case, device)` gets an entry of `cases` and returns a result (a dataclass or plain
    data). A case depends on the module of `measure` and on all that it imports. What the case
    itself chooses comes on top: `uses(case)` are functions of the chosen modules, for example
    those of a strategy. `needs(case)` are modules outside the package's dependencies that a case
    imports.
    """

    name: str
    cases: Mapping[str, Any]
    measure: Callable[[Any, str], Any]
    seed: int | None = None
    uses: Callable[[Any], Iterable[Callable[..., Any]]] = lambda case: ()
    needs: Callable[[Any], Iterable[str]] = lambda case: ()

    def roots(self, case: str) -> tuple[str, ...]:
        """The modules whose closure the fingerprint of the case `case` covers."""
        functions = (self.measure, *self.uses(self.cases[case]))
        return tuple(sorted({root(function) for function in functions}))


def run_recipe(
    recipe: Recipe,
    *,
    device: str = "cpu",
    directory: str | Path = Path("records"),
    only: Sequence[str] | None = None,
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda case, done, total: None,
) -> Record:
    """Measure every case that is not there yet and write the record after each one.

    A case that runs out of memory is recorded as such. `progress(case, done, total)` is called
    before each case and once at the end.

    Args:
        directory: where the record is, or is to be.
        only: names of cases; the others stay as they are.
        force: measure anew what was made on another device, by other versions of the libraries or
            by other code. Without it, such a record is refused and left alone.

    Raises:
        ValueError: `only` names a case that the recipe does not have; a library is missing; the
            folder cannot be written to; or a record is there that this one would replace.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"what is recorded is a Recipe, got {recipe!r}")
    if isinstance(only, str):
        raise TypeError(f"only is a sequence of names of cases, got {only!r}")
    for case in only or ():
        checks.choice(f"a case of {recipe.name}", case, recipe.cases)
    checks.device(device)
    directory = checks.output_folder(directory)
    checks.output_file(directory / f"{recipe.name}.json")
    roots = {path for case in recipe.cases for path in recipe.roots(case)}
    record = Record(
        name=recipe.name,
        command=f"densenet-solutions record {recipe.name} --device {device}",
        provenance=provenance(device, libraries(roots)),
        seed=recipe.seed,
    )
    wanted = list(only or recipe.cases)
    record = _taken_up(record, wanted, directory, force)
    todo = [case for case in wanted if case not in record.cases]
    _check_libraries(recipe, todo)
    for done, case in enumerate(todo):
        progress(case, done, len(todo))
        result = _measured(recipe, case, device)
        record = replace(
            record,
            cases=_ordered(recipe, {**record.cases, case: result}),
            made=_ordered(recipe, {**record.made, case: made_now(recipe.roots(case))}),
        )
        save_record(record, directory)
    progress("", len(todo), len(todo))
    return record


def _taken_up(fresh: Record, wanted: Sequence[str], directory: Path, force: bool) -> Record:
    """`fresh` with those cases of the record that is there already which need not be measured."""
    try:
        old = load_record(fresh.name, directory)
    except FileNotFoundError:
        return fresh
    except ValueError as error:
        if force:
            return fresh
        raise ValueError(f"{error}. {_WAY_OUT}") from error
    differences = _differences(old.provenance, fresh.provenance)
    stale = [case for case in old.stale_cases if case in wanted]
    if (differences or stale) and not force:
        said = [*differences, *([f"by other code: {', '.join(stale)}"] if stale else [])]
        raise ValueError(f"{directory / fresh.name}.json was made {'; '.join(said)}. {_WAY_OUT}")
    kept = [] if differences else [case for case in old.cases if case not in stale]
    return replace(
        fresh,
        cases={case: old.cases[case] for case in kept},
        made={case: old.made[case] for case in kept},
    )


_WAY_OUT = "It is left alone: record into another folder (--out), or replace it (--force)"


def _differences(old: Provenance, new: Provenance) -> list[str]:
    """In what two environments differ, so that their numbers do not belong into one record."""
    found = []
    if (old.device, old.driver) != (new.device, new.driver):
        found.append(f"on another device: {old.device}, and this is {new.device}")
    found += [
        f"with {name} {old.packages.get(name, '(not noted)')}, and this is {version}"
        for name, version in new.packages.items()
        if old.packages.get(name) != version
    ]
    return found


def _check_libraries(recipe: Recipe, cases: Sequence[str]) -> None:
    needed = {module for case in cases for module in recipe.needs(recipe.cases[case])}
    missing = sorted(module for module in needed if importlib.util.find_spec(module) is None)
    if missing:
        raise ValueError(
            f"record {recipe.name!r} needs libraries that are not installed: "
            f"pip install {' '.join(missing)}"
        )


def _measured(recipe: Recipe, case: str, device: str) -> Any:
    import torch

    try:
        return to_json(recipe.measure(recipe.cases[case], device))
    except (RuntimeError, MemoryError) as error:
        # The CPU's allocator has no exception of its own.
        on_cpu = "DefaultCPUAllocator" in str(error)
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not on_cpu:
            raise
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return {"out_of_memory": True}


def _ordered(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """In the recipe's order; cases that it does not have any more come last."""
    return {case: values[case] for case in (*recipe.cases, *values) if case in values}
