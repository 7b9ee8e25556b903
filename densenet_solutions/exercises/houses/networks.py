"""The networks that the recorded search of exercise 5 chose, in words and with other options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from densenet_solutions import checks
from densenet_solutions.exercises.houses import recordings
from densenet_solutions.houses.encoders import BookEncoder
from densenet_solutions.houses.models import Ensemble, Network

#: What `--features` takes → an encoder.
ENCODERS: Mapping[str, Any] = dict(
    zip(("book", "ours", "bins"), recordings.ENCODERS.values(), strict=True)
)


def ensemble(
    connection: str = "dense",
    *,
    depth: int | None = None,
    growth_rate: int | None = None,
    epochs: int | None = None,
    features: str | None = None,
) -> Ensemble:
    """The chosen networks of a connection; what is given is changed in each of them.

    Raises:
        ValueError: there are no features of this name.
    """
    if features is not None:
        checks.choice("features", features, ENCODERS)
    changed = []
    for network in recordings.chosen_networks(connection):
        options = dict(network.options)
        if depth is not None:
            options["block_config"] = (depth,)
        if growth_rate is not None:
            options["growth_rate"] = growth_rate
        training = network.training if epochs is None else replace(network.training, epochs=epochs)
        encoder = network.encoder if features is None else ENCODERS[features]
        changed.append(Network(options, training, encoder))
    return Ensemble(tuple(changed))


def features_of(network: Network) -> str:
    """The name of its features in `ENCODERS`."""
    encoder = network.encoder
    if encoder is BookEncoder:
        return "book"
    return "bins" if getattr(encoder, "keywords", {}).get("n_bins") else "ours"


def in_words(network: Network) -> str:
    """Every option on one line."""
    o, t = network.options, network.training
    layers = sum(o["block_config"])
    return (
        f"{o['connection']}: {layers} layer{'s' * (layers > 1)} of {o['growth_rate']}, "
        f"{o['activation']}, norm {o['norm']}, init {o['init']}, dropout {o['dropout']:g} "
        f"(inputs {o['input_dropout']:g}), AdamW, learning rate {t.learning_rate:g}, "
        f"weight decay {t.weight_decay:g}, batch {t.batch_size}, "
        f"{t.epochs} epoch{'s' * (t.epochs > 1)}, features {features_of(network)}"
    )
