"""The explorer's controls, data and tables as HTML; `docs/assets/explorer.js` does the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping

from densenet_solutions.exercises.explorer.cards import (
    CARDS,
    GIB,
    LARGEST,
    Margin,
    largest_batch,
)
from densenet_solutions.exercises.explorer.estimate import (
    OPTIMIZERS,
    RESOLUTIONS,
    need,
)
from densenet_solutions.exercises.explorer.own import CONFIGS, OWN
from densenet_solutions.exercises.explorer.predictions import (
    METHODS,
    SIZES,
    STRETCHES,
    ExplorerCase,
    case_name,
)
from densenet_solutions.measure.cuda_cache import CUBLAS_WORKSPACE
from densenet_solutions.models.config import DenseNetConfig
from densenet_solutions.site.figures import colour
from densenet_solutions.site.html import Html
from densenet_solutions.site.numbers import count, decimal
from densenet_solutions.site.tables import KEY, table

#: What the controls say of a case's names; the hyphens do not break.
NETWORKS = {
    "densenet121": "DenseNet‑121",
    "densenet169": "DenseNet‑169",
    "densenet201": "DenseNet‑201",
    "densenet264": "DenseNet‑264",
    "densenet161": "DenseNet‑161",
    "book-densenet": "the book’s DenseNet",
    "book-resnet18": "the book’s ResNet‑18",
}
WAYS = {
    "plain": "plain",
    "recompute_bottleneck_input": "recompute copies",
    "recompute_layer": "recompute layers",
    "shared_storage": "shared storage",
    "shared_storage in 8 slices": "shared, 8 slices",
    "inference": "inference",
}
_KINDS = {  # in the order of the script's `alive`
    "always there": "parameters",
    "activations": "activations",
    "temporaries": "temporaries",
    "gradients": "gradients",
}


def explorer(cases: Mapping[str, ExplorerCase], margins: Margin) -> Html:
    """Controls, places for what they show, and data; the script unhides them."""
    networks = {name: words for name, words in NETWORKS.items() if f"{name} plain" in cases}
    data = {
        "cases": {name: _numbers(case) for name, case in cases.items()},
        "networks": {name: _network(config) for name, config in CONFIGS.items()},
        "sizes": SIZES,
        "stretches": STRETCHES,
        "cards": CARDS,
        "optimizers": OPTIMIZERS,
        "largest": LARGEST,
        "cublas": CUBLAS_WORKSPACE,
        "context": margins.context_bytes,
        "miss": {
            name: [margins.miss[name, train] for train in (False, True)]
            for name in (*networks, OWN)
        },
        "kinds": [[name, colour(meaning)] for name, meaning in _KINDS.items()],
    }
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    steps = "".join(
        f'<figure data-case="{name}"><figcaption><b>{name.upper()}</b> '
        '<span class="ds-explorer-name"></span> <strong></strong></figcaption>'
        f'<svg viewBox="0 0 {STRETCHES} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="What is alive in the course of step {name.upper()}"></svg>'
        '<p class="ds-explorer-alive"></p></figure>'
        for name in "ab"
    )
    flags = "".join(f'<b data-case="{name}">{name.upper()}</b>' for name in "ab")
    legend = "".join(
        f'<span><i style="background:{colour(meaning)}"></i> {name}</span>'
        for name, meaning in _KINDS.items()
    )
    controls = (
        *(_one(*one, networks) for one in (("a", "plain"), ("b", "shared_storage"))),
        "<fieldset><legend>Both</legend>",
        f'<label class="ds-explorer-wide">Batch <input type="number" name="batch" '
        f'min="1" max="{LARGEST}" value="32">'
        '<input type="range" data-slider min="0" max="12" value="5" '
        'aria-label="Batch, in powers of two"></label>',
        _select("side", "Images", {str(r): f"{r} × {r}" for r in RESOLUTIONS}, "224"),
        _select("numbers", "Numbers", {"float32": "float32", "autocast": "bfloat16 autocast"}),
        _select("optimizer", "Optimizer",
                dict(zip(OPTIMIZERS, ("none", "SGD, momentum", "Adam"), strict=True))),
        f'<label>Moment <input type="range" name="moment" min="0" max="{STRETCHES}" value="0">'
        '</label><button type="button">Copy link</button></fieldset>',
    )  # fmt: skip
    return Html(
        '<div class="ds-explorer" id="explorer" data-search-exclude hidden>'
        '<div class="ds-explorer-result">'
        f'<div class="ds-explorer-steps">{steps}</div>'
        f'<p class="ds-explorer-legend">{legend}</p><p aria-live="polite"></p>'
        "<table><thead><tr><th>card, GiB</th>"
        f'<th class="ds-explorer-flags" aria-hidden="true">{flags}</th>'
        "<th>A up to</th><th>B up to</th></tr></thead><tbody></tbody></table></div>"
        f"<form>{''.join(controls)}</form></div>\n"
        f'<script type="application/json" id="explorer-data">{text}</script>'
    )


def reserved_table(cases: Mapping[str, ExplorerCase], batch: int, resolution: int) -> Html:
    """What is reserved, networks by ways, in float32 and without an optimizer."""

    def reserved(network: str, way: str) -> str | None:
        case = cases.get(case_name(network, way, False))
        return None if case is None else decimal(need(case, batch, resolution).reserved / GIB)

    return table(
        NETWORKS,
        {
            "network": (KEY, NETWORKS.get),
            **{words: {n: reserved(n, way) for n in NETWORKS} for way, words in WAYS.items()},
        },
        caption=f"GiB that PyTorch reserves by the third of three steps with {batch} images of "
        f"{resolution} × {resolution}",
    )


def batch_table(cases: Mapping[str, ExplorerCase], margins: Margin, resolution: int) -> Html:
    """The largest batch of DenseNet-121 that fits a card, by ways; what may fit in brackets."""

    def batches(card: str, way: str) -> str:
        case = cases[case_name("densenet121", way, False)]
        fits, may = largest_batch(case, resolution, CARDS[card] * GIB, margins)
        return f"{count(fits)} ({count(may)})"

    return table(
        CARDS,
        {
            "card": KEY,
            "GiB": (CARDS, decimal, 1),
            **{words: {c: batches(c, way) for c in CARDS} for way, words in WAYS.items()},
        },
        align="lr" + "r" * len(METHODS),
        caption=f"Largest batch of DenseNet-121 with images of {resolution} × {resolution} that we "
        "expect to fit, and in brackets the largest that may. Above 256 images these are straight "
        "lines prolonged, of which three were tried, in 8 GiB (below).",
    )


def _numbers(case: ExplorerCase) -> dict[str, object]:
    return {
        "p": case.parameters,
        "f": case.fixed_bytes,
        "c": case.in_channels,
        "x": [p.pixels for p in case.points],
        "a": [p.allocated_bytes for p in case.points],
        "r": [p.reserved_bytes for p in case.points],
        "s": [step.pixels for step in case.steps],
        "l": [[kib for row in step.live for kib in row] for step in case.steps],
    }


def _network(config: DenseNetConfig) -> dict[str, object]:
    """What `explorer-own.js` builds a network from; the stem has `2k` channels."""
    assert config.num_init_features == 2 * config.growth_rate
    return {
        "k": config.growth_rate,
        "layers": config.block_config,
        "theta": config.compression,
        "h": config.bn_size or 0,
        "inplace": config.inplace,
        "bias": config.bias,
        "channels": config.in_channels,
        "classes": config.num_classes,
    }


def _one(name: str, way: str, networks: Mapping[str, str]) -> str:
    """Controls of one of the two cases."""
    return (
        f"<fieldset><legend>{name.upper()}</legend>"
        + _select(name, "Network", networks)
        + _select(f"{name}-way", "Step", WAYS, way)
        + f'<label>k <input type="number" name="{name}-k" min="4" max="128" '
        'aria-label="Growth rate k"></label>'
        f'<label>Layers <input name="{name}-layers" inputmode="numeric" autocomplete="off" '
        'aria-label="Layers of each dense block"></label>'
        f'<label>θ <input name="{name}-theta" inputmode="decimal" autocomplete="off" '
        'aria-label="Compression θ"></label></fieldset>'
    )


def _select(name: str, label: str, options: Mapping[str, str], chosen: str = "") -> str:
    rows = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{text}</option>'
        for value, text in options.items()
    )
    return f'<label>{label} <select name="{name}">{rows}</select></label>'
