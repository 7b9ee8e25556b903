"""MkDocs hook: put the explorer's controls, table and origin into its page, from the records."""

from __future__ import annotations

from typing import Any

from densenet_solutions.exercises.explorer import pictures as explorer
from densenet_solutions.exercises.explorer.study import ExplorerCase
from densenet_solutions.records import load_record, record_names
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import percent

RECORDS = ("explorer-grid",)


def on_page_markdown(markdown: str, *, page: Any, **kwargs: Any) -> str:
    """Fill the marks in `explorer.md`."""
    return fill(markdown) if page.file.src_uri == "explorer.md" else markdown


def fill(markdown: str) -> str:
    """Replace the three marks of the page by what the records say."""
    records = [load_record(name) for name in RECORDS if name in record_names()]
    if not records:
        return (
            markdown + "\n\nNothing is recorded yet: `densenet-solutions record explorer-grid`.\n"
        )
    cases = {
        name: from_json(ExplorerCase, case)
        for record in records
        for name, case in record.cases.items()
    }
    parts = {
        "explorer": explorer.explorer(cases).html,
        "explorer-table": explorer.static_table(cases).html,
        "explorer-origin": _origin(records, cases),
    }
    for name, text in parts.items():
        markdown = markdown.replace(f"<!-- {name} -->", text)
    return markdown


def _origin(records: list[Any], cases: dict[str, ExplorerCase]) -> str:
    first = next(iter(cases.values()))
    line = " and ".join(f"{p.batch} images of {p.side}²" for p in first.line)
    checks = " and ".join(f"{p.batch} of {p.side}²" for p in first.checks)
    made = "".join(f"- `{r.name}`: {r.origin}. Made by `{r.command}`.\n" for r in records)
    error = percent(explorer.largest_error(cases), 2)
    return f"""
Every case was predicted by `predict_memory`, without a GPU, at two sizes ({line}). Between and
beyond them each category is taken as a straight line in the number of pixels of the batch, for
sides that are multiples of 32. Against predictions off the line ({checks}) the error is at most
{error}; for a few small images, where gradients decide, it is larger. *bfloat16 throughout* means
parameters and all, and takes half of float32. *bfloat16 autocast* keeps the parameters in float32
and was predicted as a CPU's autocast decides; a GPU's has a list of operations of its own.
Where layers or blocks are recomputed, the scratch space of kernels comes on top; [exercise
3.2](exercises/3-2-saving-memory.py) measures it.

{made}"""
