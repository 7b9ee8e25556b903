"""What stands between two layers: normalisation, ReLU and pooling, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from densenet_solutions.check.rows import Role
from densenet_solutions.check.side_by_side import Difference, SideBySide
from densenet_solutions.check.trace import Segment, Source, Token, Trace

_NAMES = {
    "norm": "batch normalisation",
    "average pool": "average pooling",
    "max pool": "max pooling",
}
_IN_PLACE = (
    "ReLU changes the features that are kept, and not only what a layer reads: it works in place "
    "(inplace=True), or stands before the concatenation."
)
_KNOWN = ("norm", "ReLU", "average pool", "max pool")


class Chains:
    """Compares what features go through before a layer reads them; tells each thing once."""

    def __init__(self, both: SideBySide) -> None:
        self.both = both
        self.told: set[tuple[int, int]] = set()
        self.shared, self.theirs = _shared(both.ours), _shared(both.theirs)
        self.first = _first_shared(both, self.theirs)
        self.post_activation = _is_post_activation(both, self.theirs)

    def difference(self, role: Role, right: Source, theirs: Source) -> Difference | None:
        """The first difference before `role` that has not been told yet."""
        pairs = self.both.pairs
        chains = {(pairs[s.source], s.start): s for s in theirs.reads}
        for segment in right.reads:
            want = without_dropout(segment)
            other = chains[segment.source, segment.start]
            have = without_dropout(other)
            if kinds(want) == kinds(have):
                continue
            i = _agree(want, have)
            ends = self.shared[segment.source], self.theirs[other.source]
            first_pooled = role.kind == "transition" and i < len(have) and "pool" in have[i].kind
            shared = i < ends[0] or (i < ends[1] and not first_pooled)
            place = (segment.source, i)
            if shared and place in self.told:
                continue
            if shared:  # what happens to the features themselves, before anyone reads them
                self.told.add(place)
                want, have = want[: ends[0]], have[: ends[1]]
            made = self.both.role_of.get(segment.source) if shared else role
            text, found = self._tell(role, want[i:], have[i:], made, shared)
            where = found.where if found is not None else theirs.where
            same = sorted(kinds(want)) == sorted(kinds(have)) or _unknown(have)
            topic = "layer" if text == _IN_PLACE else _topic(made)
            return Difference(text, topic, where, same_function=same)
        return None

    def _tell(
        self,
        role: Role,
        want: tuple[Token, ...],
        have: tuple[Token, ...],
        at: Role | None,
        shared: bool,
    ) -> tuple[str, Token | None]:
        """The sentence, and the operation at which it points."""
        place = _place(at, shared)
        wanted = want[0] if want else None
        found = have[0] if have else None
        if "norm" in {token.kind for token in (wanted, found) if token} and self.post_activation:
            return (
                "Normalisation and ReLU come after the convolutions (Conv-BN-ReLU) and not before "
                "them (BN-ReLU-Conv).",
                found,
            )
        if found is not None and wanted is not None:
            if "pool" in found.kind and "pool" in wanted.kind:
                return f"{place}, {name(found)} and not {name(wanted)}.", found
            if sorted(kinds(want)) == sorted(kinds(have)):
                order = ", ".join(name(token) for token in want)
                text = f"{place}, {name(found)} comes before {name(wanted)}; right is: {order}."
                return text, found
        if wanted is not None and (found is None or not _contains(have, wanted)):
            return self._missing(role, wanted, found, want, place, shared), found
        assert found is not None
        if role.kind == "transition" and "pool" in found.kind and not shared:
            self.told.add((self._number(role), 0))  # where it is missing afterwards
            before = " and before ReLU" if wanted is not None and wanted.kind == "ReLU" else ""
            return f"{place}, {name(found)} comes before the convolution{before}.", found
        if shared and found.kind == "ReLU":
            return _IN_PLACE, found
        return f"{place}, {name(found)} that does not belong there.", found

    def _missing(
        self,
        role: Role,
        wanted: Token,
        found: Token | None,
        want: tuple[Token, ...],
        place: str,
        shared: bool,
    ) -> str:
        if wanted.kind == "norm" and role.kind == "transition" and not shared:
            number = self._number(role)
            after = self.first.get(number)
            if after is not None and after.kind == "norm":
                self.told.add((number, 0))
                return f"{place}, the convolution comes before the normalisation."
        if found is not None and not _contains(want, found) and found.kind != "norm":
            return f"{place}, {name(found)} in place of {name(wanted)}."
        before = {"classifier": "", "growth": " before the 3×3 convolution"}.get(
            role.kind, " before the 1×1 convolution"
        )
        return f"{place}, {name(wanted)} is missing{'' if shared else before}."

    def _number(self, role: Role) -> int:
        """The number of our source with this role."""
        return next(number for number, other in self.both.role_of.items() if other == role)


def _first_shared(both: SideBySide, shared: dict[int, int]) -> dict[int, Token]:
    """The first operation on the features of each layer of theirs, by our number of the layer."""
    ours = dict(zip(both.theirs.layers, both.ours.layers, strict=False))
    first = {}
    for segment in both.theirs.reads():
        if segment.source in ours and segment.chain and shared[segment.source]:
            first[ours[segment.source]] = segment.chain[0]
    return first


def _is_post_activation(both: SideBySide, shared: dict[int, int]) -> bool:
    """Whether what a 3×3 convolution adds is normalised before it is kept."""
    return any(
        shared.get(segment.source)
        and segment.chain[0].kind == "norm"
        and both.theirs.sources[segment.source].kernel == "3×3"
        and both.readers[segment.source] > 1
        for segment in both.theirs.reads()
    )


def _shared(trace: Trace) -> dict[int, int]:
    """How many operations, counted from each source, all of its readers have in common."""
    chains: dict[int, list[tuple[Token, ...]]] = {}
    for segment in trace.reads():
        chains.setdefault(segment.source, []).append(without_dropout(segment))
    return {number: _common(found) for number, found in chains.items()}


def _common(chains: Sequence[tuple[Token, ...]]) -> int:
    if len(chains) == 1:  # one reader: what is pooled is shared, the rest belongs to the reader
        pools = [i for i, token in enumerate(chains[0]) if token.is_pool]
        return pools[-1] + 1 if pools else 0
    common = 0
    for tokens in zip(*chains, strict=False):
        if len(set(tokens)) > 1:
            break
        common += 1
    return common


def without_dropout(segment: Segment) -> tuple[Token, ...]:
    """What happens to channels; dropout is compared by its rate, in `function`."""
    return tuple(token for token in segment.chain if token.kind != "dropout")


def kinds(chain: tuple[Token, ...]) -> list[tuple[str, str]]:
    """Operations without the numbers that follow from widths."""
    return [(token.kind, "" if token.kind == "norm" else token.detail) for token in chain]


def name(token: Token) -> str:
    called = _NAMES.get(token.kind, f"“{token.kind}”")
    called = token.kind if token.kind == "ReLU" else called
    if token.detail == "global":
        return f"global {called}"
    return f"{called} ({token.detail})" if token.detail and token.kind != "norm" else called


def _agree(want: tuple[Token, ...], have: tuple[Token, ...]) -> int:
    i = 0
    while i < min(len(want), len(have)) and kinds(want[i : i + 1]) == kinds(have[i : i + 1]):
        i += 1
    return i


def _contains(chain: tuple[Token, ...], token: Token) -> bool:
    return kinds((token,))[0] in kinds(chain)


def _unknown(chain: tuple[Token, ...]) -> bool:
    return any(token.kind not in _KNOWN for token in chain)


def _topic(at: Role | None) -> str:
    kind = at.kind if at is not None else ""
    return kind if kind in ("stem", "transition", "classifier") else "layer"


def _place(at: Role | None, shared: bool) -> str:
    if at is None:
        return "Of the block's input"
    if at.kind == "output":
        return "At the end"
    if at.kind == "classifier":
        return "Before the classifier"
    if at.kind == "stem":
        return "After the first convolution" if shared else "Before the first convolution"
    if at.kind == "transition":
        return f"In transition {at.block}"
    after = "After" if shared and at.kind == "growth" else "In"
    return f"{after} layer {at.layer} of block {at.block}"


def grouped(text: str) -> str:
    """The sentence without its numbers of layers and blocks: what is the same elsewhere."""
    return re.sub(r"(layer|block|transition) \d+", r"\1", text)
