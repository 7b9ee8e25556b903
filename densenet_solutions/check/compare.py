"""Pair the layers of two networks in order of use, and name what differs, first things first."""

from __future__ import annotations

from densenet_solutions.check.chains import Chains
from densenet_solutions.check.rows import Role
from densenet_solutions.check.shapes import shape_difference
from densenet_solutions.check.side_by_side import Difference, SideBySide, capital
from densenet_solutions.check.trace import Segment, Source

_OTHER_ORDER = (
    "Features are concatenated in another order, the new ones first for instance. It is the same "
    "function with the channels of the weights permuted."
)
_NO_FEATURES = ": the output of a bottleneck is no feature."


def differences(both: SideBySide) -> list[Difference]:
    """All differences up to the first one after which layers cannot be paired.

    Fills `both.pairs` on the way.
    """
    found: list[Difference] = []
    chains = Chains(both)
    layers = both.theirs.layers
    for i, (role, number) in enumerate(zip(both.target.roles, both.ours.layers, strict=True)):
        if i >= len(layers):
            return [*found, Difference(f"The network ends before {role}.", "layers")]
        right, theirs = both.ours.sources[number], both.theirs.sources[layers[i]]
        both.pairs[layers[i]] = number
        blocking = shape_difference(both, role, right, theirs, i)
        blocking = blocking or _sources(both, role, right, theirs)
        if blocking is not None:
            return [*found, blocking]
        found += _geometry(role, right, theirs)
        if theirs.tensors.get("weight", ("", ""))[1] is None:
            text = f"{capital(role)} computes its weight from parameters."
            found.append(Difference(text, "weights", theirs.where, same_function=True))
        between = chains.difference(role, right, theirs)
        found += [between] if between is not None else []
        found += _order(both, right, theirs)
    if len(layers) > len(both.ours.layers):
        extra = both.theirs.sources[layers[len(both.ours.layers)]]
        text = f"After the classifier there is one more layer, {extra}."
        return [*found, Difference(text, "classifier", extra.where)]
    return found + _constants(both)


def _geometry(role: Role, right: Source, theirs: Source) -> list[Difference]:
    """Stride, padding, dilation and groups."""
    if right.kind != theirs.kind:
        return []
    topic = role.kind if role.kind in ("stem", "transition") else "layer"
    other = [(a, b) for a, b in zip(right.settings, theirs.settings, strict=True) if a != b]
    if not other:
        return []
    should, found = (" and ".join(parts) for parts in zip(*other, strict=True))
    return [Difference(f"{capital(role)} has {found}, not {should}.", topic, theirs.where)]


def _order(both: SideBySide, right: Source, theirs: Source) -> list[Difference]:
    order = [both.pairs[segment.source] for segment in theirs.reads]
    if order == [segment.source for segment in right.reads]:
        return []
    return [Difference(_OTHER_ORDER, "dense", theirs.where, same_function=True)]


def _sources(both: SideBySide, role: Role, right: Source, theirs: Source) -> Difference | None:
    """Whether a layer reads the channels that it should."""
    found = [(both.pairs.get(s.source), s.start, s.stop) for s in theirs.reads]
    due = [s.channels for s in right.reads]
    if sorted(found, key=str) == sorted(due, key=str):
        return None
    for segment in theirs.reads:
        other = both.theirs.sources[segment.source] if segment.source >= 0 else None
        if other is not None and other.kind == "sum":
            text = f"Features are added and not concatenated: {role} reads a sum."
            return Difference(text, "dense", other.where)
        if other is None or not (other.is_layer or other.kind == "image"):
            what = f" ({other.kind.removeprefix('other: ')})" if other is not None else ""
            text = f"What {role} reads cannot be followed{what}; outputs and gradients decide."
            return Difference(text, "dense", theirs.where, same_function=True)
    missing = [s for s in right.reads if s.channels not in found]
    extra = [s for s, channels in zip(theirs.reads, found, strict=True) if channels not in due]
    text = _reading(both, role, right, missing, extra)
    topic = "bottleneck" if text.endswith(_NO_FEATURES) else "dense"
    return Difference(text, topic, theirs.where)


def _reading(
    both: SideBySide, role: Role, right: Source, missing: list[Segment], extra: list[Segment]
) -> str:
    first = missing[0].source if missing else -1
    verb = "hold" if role.kind == "output" else "read"
    if missing and not extra:
        if len(missing) == 1 and first == right.reads[0].source and len(right.reads) > 1:
            return f"{capital(role)} does not {verb} the block's input: the block has not kept it."
        return (
            f"{capital(role)} does not {verb} {len(missing)} of the {len(right.reads)} earlier "
            f"outputs, that of {both.role_of.get(first, 'the image')} for one."
        )
    maker = both.role_of.get(both.pairs.get(extra[0].source, -1)) if extra else None
    if maker is not None:
        if maker.kind == "bottleneck":
            return f"{capital(role)} reads {maker} too{_NO_FEATURES}"
        if not missing:
            return f"{capital(role)} also reads {maker}."
    if {s.source for s in missing} == {both.pairs.get(s.source) for s in extra}:
        return f"{capital(role)} reads only some channels of earlier outputs, or some twice."
    return f"{capital(role)} reads other channels than those of all earlier layers of its block."


def _constants(both: SideBySide) -> list[Difference]:
    """eps and momentum of the normalisations, and whether they learn and track."""
    found: dict[str, Difference] = {}
    for right, theirs in zip(both.ours.norms, both.theirs.norms, strict=False):
        for a, b in zip(right.settings, theirs.settings, strict=True):
            if a != b:
                text = f"Normalisations have {b}, not {a}."
                found.setdefault(a, Difference(text, "norm", theirs.where, strict=True))
    for norm in both.theirs.norms:
        if "weight" not in norm.tensors or "mean" not in norm.tensors:
            lacks = "running statistics" if "weight" in norm.tensors else "scale and shift"
            text = f"A normalisation has no {lacks}."
            found.setdefault("lacks", Difference(text, "affine", norm.where, strict=True))
    return list(found.values())
