"""The explorer's controls, data and table as HTML; `docs/assets/explorer.js` does the rest.

How a peak is read off a case, in float32 and without an optimizer: each category is a straight
line in the pixels of the batch, through the case's two points. `estimate` says it in Python, and
the script says the same; a browser test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from densenet_solutions.render.figures import COLOURS
from densenet_solutions.render.html import Html
from densenet_solutions.render.numbers import count, gib
from densenet_solutions.render.tables import table
from densenet_solutions.results import MEMORY_CATEGORIES, ExplorerCase, ExplorerPoint

SIDES = (96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)
DTYPES = {"float32": 4, "bfloat16": 2}
#: optimizer → state in multiples of the parameters.
OPTIMIZERS = {"none": 0, "sgd": 0, "sgd_momentum": 1, "adam": 2, "adamw": 2}
#: Common GPUs by memory in GiB; what the driver and the libraries take is left to the reader.
GPUS = (
    ("RTX 3060 Ti, RTX 4060", 8),
    ("RTX 3080", 10),
    ("RTX 3060, RTX 4070", 12),
    ("T4, V100, RTX 4080", 16),
    ("RTX 3090, RTX 4090, L4, A10", 24),
    ("V100 32 GB, RTX 5090", 32),
    ("A100 40 GB", 40),
    ("L40S, RTX 6000 Ada", 48),
    ("A100 80 GB, H100", 80),
    ("H200", 141),
)
STRATEGY_LABELS = {
    "plain": "training, plain",
    "recompute_bottleneck_input": "training, bottleneck input recomputed",
    "recompute_layer": "training, layers recomputed",
    "shared_storage": "training, shared storage",
    "inference": "inference",
}


def estimate(
    case: ExplorerCase, *, batch: int, side: int, dtype: str = "float32", optimizer: str = "none"
) -> dict[str, int]:
    """Bytes by category at the peak, as the page computes them.

    Between and beyond its two points a category is linear in `batch * side**2`, and never
    negative. bfloat16 (the whole network) takes half. An optimizer adds its state.

    Raises:
        ValueError: the side is not a multiple of 32, or an option is unknown.
    """
    if side % 32 or side < 32 or batch < 1:
        raise ValueError(
            f"batch is at least 1 and side a positive multiple of 32, got {batch=}, {side=}"
        )
    if dtype not in DTYPES or optimizer not in OPTIMIZERS:
        raise ValueError(
            f"dtype is one of {list(DTYPES)} and optimizer one of {list(OPTIMIZERS)}, "
            f"got {dtype=}, {optimizer=}"
        )
    first, second = case.line
    share = (batch * side**2 - _pixels(first)) / (_pixels(second) - _pixels(first))
    sizes = {}
    for name in MEMORY_CATEGORIES:
        low, high = first.by_category[name], second.by_category[name]
        value = max(0.0, low + (high - low) * share) * DTYPES[dtype] / 4
        if name == "optimizer" and case.strategy != "inference":
            value += OPTIMIZERS[optimizer] * case.parameters * DTYPES[dtype]
        sizes[name] = int(value + 0.5)
    return sizes


def largest_error(cases: Mapping[str, ExplorerCase]) -> float:
    """Largest relative difference between the line and a prediction off it."""
    return max(
        abs(sum(estimate(c, batch=p.batch, side=p.side).values()) / p.peak_bytes - 1)
        for c in cases.values()
        for p in c.checks
    )


def explorer(cases: Mapping[str, ExplorerCase]) -> Html:
    """Controls, output and data; without JavaScript only `static_table` remains."""
    versions = list(dict.fromkeys(c.version for c in cases.values()))
    strategies = list(dict.fromkeys(c.strategy for c in cases.values()))
    data = {
        "cases": {
            f"{c.version} {c.strategy}": {
                "parameters": c.parameters,
                "multiplyAdds": c.multiply_adds_224,
                "line": [
                    [_pixels(p), [p.by_category[name] for name in MEMORY_CATEGORIES]]
                    for p in c.line
                ],
            }
            for c in cases.values()
        },
        "categories": MEMORY_CATEGORIES,
        "bytes": DTYPES,
        "optimizers": OPTIMIZERS,
        "gpus": GPUS,
        "colours": {name: COLOURS[name] for name in MEMORY_CATEGORIES},
    }
    controls = "".join(
        (
            _select("version", "Network", {name: name for name in versions}),
            _select("strategy", "Step", {s: STRATEGY_LABELS.get(s, s) for s in strategies}),
            '<label>Batch <input type="number" name="batch" '
            'min="1" max="65536" value="32"></label>',
            _select("side", "Resolution", {str(s): f"{s} × {s}" for s in SIDES}, "224"),
            _select("dtype", "Numbers", {name: name for name in DTYPES}),
            _select("optimizer", "Optimizer", {name: name for name in OPTIMIZERS}),
        )
    )
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return Html(
        f'<form class="ds-explorer" id="explorer" hidden>{controls}</form>\n'
        '<div id="explorer-result" class="ds-explorer-result" aria-live="polite" hidden></div>\n'
        f'<script type="application/json" id="explorer-data">{text}</script>'
    )


def static_table(cases: Mapping[str, ExplorerCase], batch: int = 32, side: int = 224) -> Html:
    """Peaks of all networks and steps at one size."""
    versions = list(dict.fromkeys(c.version for c in cases.values()))
    strategies: Sequence[str] = list(dict.fromkeys(c.strategy for c in cases.values()))
    by_key = {(c.version, c.strategy): c for c in cases.values()}
    rows = []
    for version in versions:
        known = next(c for c in cases.values() if c.version == version)
        peaks = []
        for strategy in strategies:
            case = by_key.get((version, strategy))
            peaks.append(
                "—"
                if case is None
                else gib(sum(estimate(case, batch=batch, side=side).values()), 2)
            )
        rows.append([version, count(known.parameters), *peaks])
    return table(
        ["network", "parameters", *[STRATEGY_LABELS.get(s, s) for s in strategies]],
        rows,
        caption=f"Peak memory for {batch} images of {side} × {side}, float32, no optimizer.",
    )


def _pixels(point: ExplorerPoint) -> int:
    return point.batch * point.side**2


def _select(name: str, label: str, options: Mapping[str, str], chosen: str = "") -> str:
    rows = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{text}</option>'
        for value, text in options.items()
    )
    return f'<label>{label} <select name="{name}">{rows}</select></label>'
