"""What stands between two layers: normalisation, ReLU and pooling, and in which order."""

from __future__ import annotations

import re
from itertools import takewhile

from densenet_solutions.check.rows import Role
from densenet_solutions.check.side_by_side import Difference, SideBySide
from densenet_solutions.check.trace import Segment, Source, Token, Trace

Chain = tuple[Token, ...]

_IN_PLACE = (
    "ReLU changes the features that are kept, and not only what a layer reads: it works in place "
    "(inplace=True), or stands before the concatenation."
)
_POST_ACTIVATION = (
    "Normalisation and ReLU come after the convolutions (Conv-BN-ReLU) and not before them "
    "(BN-ReLU-Conv)."
)


class Chains:
    """Compares what features go through before a layer reads them; tells each thing once.

    Shared is what all readers of a source have in common: it happens to the features themselves.
    """

    def __init__(self, both: SideBySide) -> None:
        self.both = both
        self.already_told: set[tuple[int, int]] = set()  # our number of a source, and position
        self.shared_of_ours, self.shared_of_theirs = _shared(both.ours), _shared(both.theirs)
        self.normed_after: set[int] = set()  # our numbers of layers whose output is normed at once
        self.post_activation = False  # what a 3×3 convolution adds is normalised, and then kept
        our_number = dict(zip(both.theirs.layers, both.ours.layers, strict=False))
        for segment in both.theirs.reads():
            number, chain = segment.source, segment.chain
            if chain and chain[0].kind == "norm" and self.shared_of_theirs[number]:
                self.normed_after.add(our_number.get(number, -1))
                adds = both.theirs.sources[number].kernel == "3×3" and both.readers[number] > 1
                self.post_activation |= adds

    def difference(self, role: Role, right: Source, theirs: Source) -> Difference | None:
        """The first difference before `role` that has not been told yet."""
        read = {(self.both.pairs[s.source], s.start): s for s in theirs.reads}
        for segment in right.reads:
            their_segment = read[segment.source, segment.start]
            due, found = without_dropout(segment), without_dropout(their_segment)
            if due == found:
                continue
            alike = takewhile(lambda tokens: tokens[0] == tokens[1], zip(due, found, strict=False))
            i = len(list(alike))
            shared_due = self.shared_of_ours[segment.source]
            shared_found = self.shared_of_theirs[their_segment.source]
            pools_first = role.kind == "transition" and i < len(found) and "pool" in found[i].kind
            shared = i < shared_due or (i < shared_found and not pools_first)
            if shared:
                if (segment.source, i) in self.already_told:
                    continue
                self.already_told.add((segment.source, i))
                due, found = due[:shared_due], found[:shared_found]
            layer = self.both.role_of.get(segment.source) if shared else role
            text = self._sentence(role, due[i:], found[i:], _place(layer, shared), shared)
            topic = layer.kind if layer is not None and text != _IN_PLACE else ""
            return Difference(
                text,
                topic if topic in ("stem", "transition", "classifier") else "layer",
                found[i].where if i < len(found) else theirs.where,
                same_function=_reordered(due, found) or not all(t.is_known for t in found),
            )
        return None

    def _sentence(self, role: Role, due: Chain, found: Chain, at: str, shared: bool) -> str:
        """The first rule that fits two chains, of which the first operations differ."""
        right, other = (chain[0] if chain else Token("") for chain in (due, found))
        if "norm" in (right.kind, other.kind) and self.post_activation:
            return _POST_ACTIVATION
        missing = bool(due) and right not in found
        replaced = missing and bool(found) and other not in due and other.kind != "norm"
        number = next(n for n, layer in self.both.role_of.items() if layer == role)
        after = right.kind == "norm" and number in self.normed_after
        moved = after if missing else "pool" in other.kind  # to the other side of a convolution
        moved = moved and role.kind == "transition" and not shared
        if moved:
            self.already_told.add((number, 0))  # what stands, or is missing, on that side
        before = {"classifier": "", "growth": " before the 3×3 convolution"}
        reader = "" if shared else before.get(role.kind, " before the 1×1 convolution")
        relu = " and before ReLU" if right.kind == "ReLU" else ""
        order = ", ".join(map(str, due))
        rules = (
            ("pool" in other.kind and "pool" in right.kind, f"{at}, {other} and not {right}."),
            (_reordered(due, found), f"{at}, {other} comes before {right}; right is: {order}."),
            (moved and missing, f"{at}, the convolution comes before the normalisation."),
            (moved, f"{at}, {other} comes before the convolution{relu}."),
            (replaced, f"{at}, {other} in place of {right}."),
            (missing, f"{at}, {right} is missing{reader}."),
            (shared and other.kind == "ReLU", _IN_PLACE),
            (True, f"{at}, {other} that does not belong there."),
        )
        return next(sentence for fits, sentence in rules if fits)


def _shared(trace: Trace) -> dict[int, int]:
    """How many operations, counted from each source, all of its readers have in common."""
    chains: dict[int, list[Chain]] = {}
    for segment in trace.reads():
        chains.setdefault(segment.source, []).append(without_dropout(segment))
    return {number: _common(found) for number, found in chains.items()}


def _common(chains: list[Chain]) -> int:
    if len(chains) == 1:  # one reader: what is pooled is shared, the rest belongs to the reader
        return max((i for i, t in enumerate(chains[0], start=1) if t.is_pool), default=0)
    numbers = [{token.number for token in tokens} for tokens in zip(*chains, strict=False)]
    return len(list(takewhile(lambda same: len(same) == 1, numbers)))


def without_dropout(segment: Segment) -> Chain:
    """What happens to channels; dropout is compared by its rate, in `function`."""
    return tuple(token for token in segment.chain if token.kind != "dropout")


def _reordered(due: Chain, found: Chain) -> bool:
    return sorted(map(str, due)) == sorted(map(str, found))


def _place(layer: Role | None, shared: bool) -> str:
    if layer is None:
        return "Of the block's input"
    after = "After" if shared and layer.kind == "growth" else "In"
    return {
        "output": "At the end",
        "classifier": "Before the classifier",
        "stem": f"{'After' if shared else 'Before'} the first convolution",
        "transition": f"In transition {layer.block}",
    }.get(layer.kind, f"{after} layer {layer.layer} of block {layer.block}")


def grouped(text: str) -> str:
    """The sentence without its numbers of layers and blocks: what is the same elsewhere."""
    return re.sub(r"(layer|block|transition) \d+", r"\1", text)
