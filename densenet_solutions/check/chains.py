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
        self.told: set[tuple[int, int]] = set()
        self.ours, self.theirs = _shared(both.ours), _shared(both.theirs)
        ours = dict(zip(both.theirs.layers, both.ours.layers, strict=False))
        self.first: dict[int, Token] = {}  # what is first shared, by our number of the layer
        self.post_activation = False  # what a 3×3 convolution adds is normalised, and then kept
        for segment in both.theirs.reads():
            number = segment.source
            if segment.chain and self.theirs.get(number):
                self.first[ours.get(number, -1)] = segment.chain[0]
                adds = both.theirs.sources[number].kernel == "3×3" and both.readers[number] > 1
                self.post_activation |= adds and segment.chain[0].kind == "norm"

    def difference(self, role: Role, right: Source, theirs: Source) -> Difference | None:
        """The first difference before `role` that has not been told yet."""
        pairs = self.both.pairs
        chains = {(pairs[s.source], s.start): s for s in theirs.reads}
        for segment in right.reads:
            other = chains[segment.source, segment.start]
            want, have = without_dropout(segment), without_dropout(other)
            if want == have:
                continue
            alike = takewhile(lambda tokens: tokens[0] == tokens[1], zip(want, have, strict=False))
            i = len(list(alike))
            ends = self.ours[segment.source], self.theirs[other.source]
            first_pooled = role.kind == "transition" and i < len(have) and "pool" in have[i].kind
            shared = i < ends[0] or (i < ends[1] and not first_pooled)
            place = (segment.source, i)
            if shared and place in self.told:
                continue
            if shared:
                self.told.add(place)
                want, have = want[: ends[0]], have[: ends[1]]
            made = self.both.role_of.get(segment.source) if shared else role
            text = self._tell(role, want[i:], have[i:], _place(made, shared), shared)
            reordered = sorted(map(str, want)) == sorted(map(str, have))
            kind = made.kind if made is not None and text != _IN_PLACE else ""
            return Difference(
                text,
                kind if kind in ("stem", "transition", "classifier") else "layer",
                have[i].where if i < len(have) else theirs.where,
                same_function=reordered or not all(token.is_known for token in have),
            )
        return None

    def _tell(self, role: Role, want: Chain, have: Chain, place: str, shared: bool) -> str:
        """The sentence on two chains, the first operations of which differ."""
        wanted, found = (chain[0] if chain else Token("") for chain in (want, have))
        number = next(n for n, other in self.both.role_of.items() if other == role)
        in_transition = role.kind == "transition" and not shared
        if "norm" in (wanted.kind, found.kind) and self.post_activation:
            return _POST_ACTIVATION
        if "pool" in found.kind and "pool" in wanted.kind:
            return f"{place}, {found} and not {wanted}."
        if have and sorted(map(str, want)) == sorted(map(str, have)):
            order = ", ".join(map(str, want))
            return f"{place}, {found} comes before {wanted}; right is: {order}."
        if want and wanted not in have:
            first = self.first.get(number, Token(""))
            if in_transition and wanted.kind == first.kind == "norm":
                self.told.add((number, 0))
                return f"{place}, the convolution comes before the normalisation."
            if have and found not in want and found.kind != "norm":
                return f"{place}, {found} in place of {wanted}."
            kernel = {"classifier": "", "growth": " before the 3×3 convolution"}
            before = kernel.get(role.kind, " before the 1×1 convolution")
            return f"{place}, {wanted} is missing{'' if shared else before}."
        if in_transition and "pool" in found.kind:
            self.told.add((number, 0))  # where it is missing afterwards
            before = " and before ReLU" if wanted.kind == "ReLU" else ""
            return f"{place}, {found} comes before the convolution{before}."
        if shared and found.kind == "ReLU":
            return _IN_PLACE
        return f"{place}, {found} that does not belong there."


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


def _place(at: Role | None, shared: bool) -> str:
    if at is None:
        return "Of the block's input"
    after = "After" if shared and at.kind == "growth" else "In"
    return {
        "output": "At the end",
        "classifier": "Before the classifier",
        "stem": f"{'After' if shared else 'Before'} the first convolution",
        "transition": f"In transition {at.block}",
    }.get(at.kind, f"{after} layer {at.layer} of block {at.block}")


def grouped(text: str) -> str:
    """The sentence without its numbers of layers and blocks: what is the same elsewhere."""
    return re.sub(r"(layer|block|transition) \d+", r"\1", text)
