"""The explorer's controls, data and table as HTML; `docs/assets/explorer.js` does the rest.

How a peak is read off a case, in float32 and without an optimizer: each category is a straight
line in the pixels of the batch, through the case's two points. `estimate` says it in Python, and
the script says the same; a browser test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from densenet_solutions.exercises.explorer.study import ExplorerCase, ExplorerPoint
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES
from densenet_solutions.site.figures import COLOURS
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import gib
from densenet_solutions.site.tables import table

RESOLUTIONS = (96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)
#: Numbers → bytes of a parameter. Under autocast parameters stay in float32; it has its own cases.
DTYPES = {"float32": 4, "bfloat16": 2, "autocast": 4}
#: optimizer → state in multiples of the parameters.
OPTIMIZERS = {"none": 0, "sgd": 0, "sgd_momentum": 1, "adam": 2, "adamw": 2}
#: GPUs and the GiB that `torch.cuda.get_device_properties(0).total_memory` reports on them, the
#: least that users report: less than on the box, since error correction and the driver take some,
#: and NVIDIA's gigabytes are partly decimal. H100 and H200 are nvidia-smi's 81,559 and 143,771 MiB
#: less what torch does not see.
GPUS = (
    ("T4", 14.56),
    ("V100 16 GB", 15.75),
    ("RTX 4090", 23.6),
    ("RTX 5090", 31.4),
    ("A100 40 GB", 39.4),
    ("L40S", 44.4),
    ("H100 80 GB", 79.1),
    ("H200", 139.8),
)
#: What a GPU needs to spare, or it is called tight: for the CUDA context, for the workspace of
#: libraries, and for memory that the caching allocator reserves and cannot use.
HEADROOM_BYTES, HEADROOM_SHARE = 2**30, 0.25
DTYPE_LABELS = {
    "float32": "float32",
    "bfloat16": "bfloat16 throughout",
    "autocast": "bfloat16 autocast",
}


def estimate(
    case: ExplorerCase,
    *,
    batch: int,
    resolution: int,
    dtype: str = "float32",
    optimizer: str = "none",
) -> dict[str, int]:
    """Bytes by category at the peak, as the page computes them.

    Between and beyond its two points a category is linear in `batch * resolution**2`, and never
    negative. bfloat16 (the whole network) takes half. An optimizer adds its state.

    Raises:
        ValueError: the resolution is not a multiple of 32, an option is unknown, or the case was
            predicted under autocast and the type is another, or the other way round.
    """
    if resolution % 32 or resolution < 32 or batch < 1:
        raise ValueError(
            "batch is at least 1 and resolution a positive multiple of 32, "
            f"got {batch=}, {resolution=}"
        )
    if dtype not in DTYPES or optimizer not in OPTIMIZERS:
        raise ValueError(
            f"dtype is one of {list(DTYPES)} and optimizer one of {list(OPTIMIZERS)}, "
            f"got {dtype=}, {optimizer=}"
        )
    if (dtype == "autocast") != case.autocast:
        raise ValueError(f"this case has autocast={case.autocast}, got {dtype=}")
    first, second = case.line
    share = (batch * resolution**2 - _pixels(first)) / (_pixels(second) - _pixels(first))
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
        abs(
            sum(estimate(c, batch=p.batch, resolution=p.resolution, dtype=_numbers(c)).values())
            / p.peak_bytes
            - 1
        )
        for c in cases.values()
        for p in c.checks
    )


def explorer(cases: Mapping[str, ExplorerCase]) -> Html:
    """Controls, output and data; without JavaScript only `static_table` remains."""
    networks = list(dict.fromkeys(c.network for c in cases.values()))
    strategies = list(dict.fromkeys(c.strategy for c in cases.values()))
    data = {
        "cases": {
            name: {
                "parameters": c.parameters,
                "multiplyAdds": c.multiply_adds_224,
                "line": [
                    [_pixels(p), [p.by_category[name] for name in MEMORY_CATEGORIES]]
                    for p in c.line
                ],
            }
            for name, c in cases.items()
        },
        "categories": MEMORY_CATEGORIES,
        "bytes": DTYPES,
        "optimizers": OPTIMIZERS,
        "gpus": GPUS,
        "headroom": [HEADROOM_BYTES, HEADROOM_SHARE],
        "colours": {name: COLOURS[name] for name in MEMORY_CATEGORIES},
    }
    controls = "".join(
        (
            _select("network", "Network", {name: name for name in networks}),
            _select("strategy", "Step", {s: _label(s) for s in strategies}),
            '<label>Batch <input type="number" name="batch" '
            'min="1" max="65536" value="32">'
            '<input type="range" min="0" max="12" step="0.25" value="5" '
            'aria-label="Batch, doubling with each step of the slider"></label>',
            _select("resolution", "Resolution", {str(r): f"{r} × {r}" for r in RESOLUTIONS}, "224"),
            _select("dtype", "Number format", DTYPE_LABELS),
            _select("optimizer", "Optimizer", {name: name for name in OPTIMIZERS}),
        )
    )
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return Html(
        f'<form class="ds-explorer" id="explorer" hidden>{controls}</form>\n'
        '<div id="explorer-result" class="ds-explorer-result" aria-live="polite" hidden></div>\n'
        f'<script type="application/json" id="explorer-data">{text}</script>'
    )


def static_table(cases: Mapping[str, ExplorerCase], batch: int = 32, resolution: int = 224) -> Html:
    """Peaks of all networks and steps at one size."""
    networks = list(dict.fromkeys(c.network for c in cases.values()))
    strategies: Sequence[str] = list(dict.fromkeys(c.strategy for c in cases.values()))
    by_key = {(c.network, c.strategy, c.autocast): c for c in cases.values()}

    def peak(case: ExplorerCase | None) -> str | None:
        if case is None:
            return None
        sizes = estimate(case, batch=batch, resolution=resolution, dtype=_numbers(case))
        return gib(sum(sizes.values()), 2).removesuffix(" GiB")

    tables = [
        table(
            strategies,
            {
                "step": _label,
                **{
                    network.removeprefix("densenet"): lambda strategy, v=network, a=autocast: peak(
                        by_key.get((v, strategy, a))
                    )
                    for network in networks
                },
            },
            caption=f"Peak memory in GiB, {batch} images of {resolution} × {resolution}, "
            f"without an optimizer: DenseNets in {'bfloat16 autocast' if autocast else 'float32'}",
        ).html
        for autocast in (False, True)
    ]
    return Html("\n".join(tables))


def _label(strategy: str) -> str:
    words = strategy.replace("_", " ")
    return words if strategy == "inference" else f"training, {words}"


def _numbers(case: ExplorerCase) -> str:
    return "autocast" if case.autocast else "float32"


def _pixels(point: ExplorerPoint) -> int:
    return point.batch * point.resolution**2


def _select(name: str, label: str, options: Mapping[str, str], chosen: str = "") -> str:
    rows = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{text}</option>'
        for value, text in options.items()
    )
    return f'<label>{label} <select name="{name}">{rows}</select></label>'
