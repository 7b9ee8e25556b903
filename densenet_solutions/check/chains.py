"""What stands between two layers: normalisation, ReLU and pooling, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from densenet_solutions.check.reference import Role
from densenet_solutions.check.side_by_side import Difference, SideBySide
from densenet_solutions.check.trace import Segment, Source, Token, Trace

_NAMES = {
    "norm": "batch normalisation",
    "average pool": "average pooling",
    "max pool": "max pooling",
}
_KNOWN = ("norm", "ReLU", "average pool", "max pool")


class Chains:
    """Compares what features go through before a layer reads them; tells each thing once."""

    def __init__(self, both: SideBySide) -> None:
        self.both = both
        self.told: set[tuple[int, int]] = set()
        self.shared, self.theirs = _shared(both.ours), _shared(both.theirs)

    def difference(self, role: Role, right: Source, theirs: Source) -> Difference | None:
        """The first difference before `role` that has not been told yet."""
        pairs = self.both.pairs
        chains = {(pairs[s.source], s.start): s for s in theirs.reads}
        for segment in right.reads:
            want = without_dropout(segment).chain
            other = chains[segment.source, segment.start]
            have = without_dropout(other).chain
            if kinds(want) == kinds(have):
                continue
            i = _agree(want, have)
            shared = i < max(self.shared[segment.source], self.theirs[other.source])
            place = (segment.source, i)
            if shared and place in self.told:
                continue
            self.told |= {place} if shared else set()
            made = self.both.role_of.get(segment.source)
            text, where = self._tell(role, want[i:], have[i:], made if shared else role, shared)
            topic = _topic(made if shared else role)
            same = sorted(kinds(want)) == sorted(kinds(have)) or _unknown(have)
            return Difference(text, topic, where or theirs.where, same_function=same)
        return None

    def _tell(
        self,
        role: Role,
        want: tuple[Token, ...],
        have: tuple[Token, ...],
        at: Role | None,
        shared: bool,
    ) -> tuple[str, str]:
        place = _place(at, shared)
        wanted = want[0] if want else None
        found = have[0] if have else None
        where = found.where if found else ""
        if found is not None and wanted is not None:
            if "pool" in found.kind and "pool" in wanted.kind:
                return f"{place}, {name(found)} and not {name(wanted)}.", where
            if sorted(kinds(want)) == sorted(kinds(have)):
                order = ", ".join(name(token) for token in want)
                text = f"{place}, {name(found)} comes before {name(wanted)}; right is: {order}."
                return text, where
        if wanted is not None and (found is None or not _contains(have, wanted)):
            if wanted.kind == "norm" and self._post_activation():
                return (
                    f"{place}, normalisation and ReLU come after the convolutions (Conv-BN-ReLU) "
                    "and not before them.",
                    where,
                )
            if found is not None and not _contains(want, found) and found.kind not in _KNOWN:
                return f"{place}, {name(found)} in place of {name(wanted)}.", where
            before = "" if shared else f" before {role}"
            return f"{place}, {name(wanted)} is missing{before}.", where
        assert found is not None
        if found.kind in ("norm", "ReLU") and self._post_activation():
            return (
                f"{place}, normalisation and ReLU come after the convolutions (Conv-BN-ReLU) and "
                "not before them.",
                where,
            )
        if shared and found.kind == "ReLU":
            return (
                f"{place}, ReLU is applied to the features themselves, before they are kept: in "
                "place (inplace=True), or where it does not belong.",
                where,
            )
        return f"{place}, {name(found)} that does not belong there.", where

    def _post_activation(self) -> bool:
        """Whether nearly all normalisations read just what one convolution has written."""
        norms = self.both.theirs.norms
        direct = sum(len(norm.reads) == 1 and not norm.reads[0].chain for norm in norms)
        return direct > 0.9 * len(norms)


def _shared(trace: Trace) -> dict[int, int]:
    """How many operations, counted from each source, all of its readers have in common."""
    chains: dict[int, list[tuple[Token, ...]]] = {}
    for source in trace.sources:
        for segment in source.reads:
            chains.setdefault(segment.source, []).append(without_dropout(segment).chain)
    return {number: _common(found) for number, found in chains.items()}


def _common(chains: Sequence[tuple[Token, ...]]) -> int:
    if len(chains) == 1:  # one reader: what is pooled is shared, the rest belongs to the reader
        pools = [i for i, t in enumerate(chains[0]) if "pool" in t.kind and t.detail != "global"]
        return pools[-1] + 1 if pools else 0
    common = 0
    for tokens in zip(*chains, strict=False):
        if len(set(tokens)) > 1:
            break
        common += 1
    return common


def without_dropout(segment: Segment) -> Segment:
    """Dropout is compared by its rate, in `network`."""
    return replace(segment, chain=tuple(t for t in segment.chain if t.kind != "dropout"))


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
        return "At the start"
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
