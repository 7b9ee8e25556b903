"""What the ledger's frames say: titles, captions and descriptions, from the ledger alone."""

from __future__ import annotations

from collections.abc import Sequence

from densenet_solutions.exercises.network.ledger import Ledger
from densenet_solutions.exercises.network.watch import Moment
from densenet_solutions.site.draw import sub
from densenet_solutions.site.numbers import count

#: strategy → what its pile is called.
TITLES = {
    "plain": "plain",
    "recompute_bottleneck_input": "recompute copies",
    "recompute_layer": "recompute layers",
    "recompute_block": "recompute block",
    "shared_storage": "shared storage",
}
NAMES = {
    "input": "input",
    "features": "new",
    "concatenation": "copied",
    "normalised": "normalised",
    "bottleneck": "bottleneck",
    "normalised bottleneck": "normalised",
    "buffer": "buffer",
    "gradient": "gradient",
    "scratch": "temporary",
}


def label(moment: Moment, book: Ledger) -> str:
    if moment.phase in ("forward", "backward"):
        return f"{moment.phase}, layer {moment.layer} of {book.num_layers}"
    return {"before": "before", "turn": "the turn", "after": "after"}[moment.phase]


def caption(ledgers: Sequence[Ledger], at: int) -> str:
    book, moment = ledgers[0], ledgers[0].moments[at]
    k, reads = book.growth_rate, book.in_channels + (moment.layer - 1) * book.growth_rate
    different = book.in_channels + book.num_layers * k
    shared = any(b.strategy == "shared_storage" for b in ledgers)
    held = _each(ledgers, [shown(b.moments[at]) for b in ledgers])
    if moment.phase == "before":
        made = (
            f" Shared storage makes its buffer for all {different} channels now, and copies "
            f"x{sub(0)} into it."
        )
        return f"The block is entered with {book.in_channels} channels, x{sub(0)}." + made * shared
    if moment.phase == "forward":
        return (
            f"Layer {moment.layer} reads {reads} channels to write {k}. "
            f"{'; '.join(_does(b, moment.layer) for b in ledgers)}. Channels held now: {held}."
        )
    if moment.phase == "turn":
        return (
            f"The forward pass is over. The block has {different} channels of features. "
            f"Kept for the backward pass: {held}. The dashed copy is the block's "
            "output, not counted, since what comes next keeps it."
            + " With shared storage the output is the buffer itself."
            * shared
        )
    if moment.phase == "backward":
        most = _each(ledgers, [max(m.peak_channels for m in b.moments) for b in ledgers])
        at_work = sum(shown(b.moments[at]) for b in ledgers if b.strategy == "shared_storage")
        parts = (
            f" Shared storage has {different} channels three times (features, the gradient that "
            f"came, the one it collects), {k} of the layer's own gradient, and "
            f"{round(at_work) - 3 * different - k} for what the layer reads, normalised, and its "
            "gradient, each for one part of the batch (which counts as a part of the channels)."
        )
        return (
            f"The gradient passes layer {moment.layer}. "
            f"Channels at once, with the gradients of features: {held}."
            + parts * (shared and moment.layer == book.num_layers)
            + (
                " No other moment holds more."
                if most == held
                else f" At its fullest moment this block alone holds: {most}."
            )
        )
    return (
        "Of features and their gradients only that of the block's input is left; the parameters' "
        "gradients, not drawn, stay too."
    )


def _each(ledgers: Sequence[Ledger], channels: Sequence[float]) -> str:
    sizes = [
        f"{TITLES[book.strategy]} {count(round(n))}"
        for book, n in zip(ledgers, channels, strict=True)
    ]
    return " and ".join(part for part in (", ".join(sizes[:-1]), sizes[-1]) if part)


def _does(book: Ledger, layer: int) -> str:
    """What a strategy does in a layer's forward pass."""
    if book.strategy == "plain":
        reads = "copies them, normalises the copy" if layer > 1 else "normalises them"
        more = ", and its bottleneck twice" if "bottleneck" in book.kept() else ""
        return f"The plain block {reads} and keeps both{more}"
    if book.strategy == "shared_storage":
        gone = ", and lets go of the block's input" if layer == book.num_layers else ""
        return f"shared storage adds the {book.growth_rate} to its buffer{gone}"
    return f"recomputing lets {'the copies' if layer > 1 else 'what it normalised'} go again"


def shown(moment: Moment) -> float:
    """The number that stands over a pile: what a layer leaves, or going back the most."""
    return moment.peak_channels if moment.phase == "backward" else moment.channels


def alt(ledgers: Sequence[Ledger], at: int) -> str:
    parts = []
    for book in ledgers:
        moment = book.moments[at]
        held = (
            ", ".join(f"{NAMES[s.kind]} {round(s.channels, 1):g}" for s in moment.held) or "nothing"
        )
        passing = ", ".join(f"{NAMES[s.kind]} {round(s.channels, 1):g}" for s in moment.passing)
        parts.append(
            f"{TITLES[book.strategy]} holds, in channels: {held or 'nothing'}"
            + (f"; and for a moment: {passing}" if passing else "")
        )
    return f"{label(book.moments[at], book)}. ".capitalize() + ". ".join(parts) + "."
