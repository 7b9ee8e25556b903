"""What a layer of the wrong kernel or width means, by the role of the layer that belongs there."""

from __future__ import annotations

from densenet_solutions.check.rows import Role
from densenet_solutions.check.side_by_side import Difference, SideBySide
from densenet_solutions.check.trace import Source, width

Told = tuple[str, str]  # the sentence, and the topic of the line it breaks


def shape_difference(
    both: SideBySide, role: Role, right: Source, theirs: Source, i: int
) -> Difference | None:
    """Name the mistake behind layer `i`, whose kernel or width is not the right one's."""
    same = (theirs.kind, theirs.kernel) == (right.kind, right.kernel)
    if right.kind == "linear" and theirs.kernel == "1×1":
        same = theirs.out == right.out  # on one pixel, a 1×1 convolution is a linear layer
    if role.kind == "output" and theirs.kind == "output":
        return None  # what it holds is looked at next
    if same and (theirs.out == right.out or _compresses_alike(role, right, theirs)):
        return None
    tell = {
        "stem": _stem,
        "bottleneck": _bottleneck,
        "growth": _growth,
        "transition": _transition,
        "classifier": _classifier,
        "output": _output,
    }[role.kind]
    text, topic = tell(both, role, right, theirs, i)
    return Difference(text, topic, theirs.where, blocks=True)


def _compresses_alike(role: Role, right: Source, theirs: Source) -> bool:
    """Whether a transition is right but for what it reads, which is looked at next."""
    share = right.out / width(right.reads)
    wrong_read = width(theirs.reads) != width(right.reads)
    return (
        role.kind == "transition" and wrong_read and theirs.out == int(width(theirs.reads) * share)
    )


def _stem(both: SideBySide, role: Role, right: Source, theirs: Source, i: int) -> Told:
    if theirs.kind == "linear":
        return "There is no convolution.", "stem"
    if theirs.kernel != right.kernel:
        return f"The first convolution is {theirs.kernel} and not {right.kernel}.", "stem"
    return f"The first convolution has {theirs.out} channels and not {right.out}.", "stem"


def _bottleneck(both: SideBySide, role: Role, right: Source, theirs: Source, i: int) -> Told:
    k, following = both.target.growth, both.next(i)
    if theirs.kind in ("linear", "output") or (
        theirs.kernel == "1×1" and both.is_pooled(i) and (role.layer > 1 or following is None)
    ):
        return _ends(both, role, theirs)
    if theirs.kernel == "1×1" and role.layer == 1 and both.is_pooled(i):
        return f"There is one more transition, before block {role.block}.", "transition"
    after = (following.kernel, following.out) if following is not None else ("", 0)
    if theirs.kernel != "1×1":
        if theirs.out == right.out:
            return f"The bottleneck is a {theirs.kernel} convolution and not 1×1.", "bottleneck"
        text = f"There is no bottleneck: a {theirs.kernel} convolution reads the earlier features."
        return text, "bottleneck"
    if both.is_kept(i):
        return (
            f"The output of the 1×1 convolution ({theirs.out} channels) is concatenated too: it "
            "should feed the 3×3 convolution and vanish.",
            "bottleneck",
        )
    if (theirs.out, after[1]) == (k, right.out):
        return (
            f"k and 4k are swapped: the 1×1 convolution writes {k} channels, the 3×3 one "
            f"{right.out}.",
            "bottleneck",
        )
    if after[0] == "3×3" and after[1] != k:
        return f"The growth rate is {after[1]} and not {k}.", "growth"
    width = "k wide" if theirs.out == k else f"{theirs.out} channels wide"
    return f"The bottleneck is {width} and not {right.out}, which is 4k.", "bottleneck"


def _growth(both: SideBySide, role: Role, right: Source, theirs: Source, i: int) -> Told:
    alone = all(role.kind != "bottleneck" for role in both.target.roles)
    if theirs.kind in ("linear", "output"):
        return _ends(both, role, theirs)
    if alone and theirs.kernel == "1×1":
        if both.is_pooled(i):
            return _ends(both, role, theirs)
        return f"There is a bottleneck, a 1×1 convolution to {theirs.out}.", "bottleneck"
    if theirs.kernel != right.kernel:
        return f"The convolution that adds features is {theirs.kernel} and not 3×3.", "growth"
    return f"The growth rate is {theirs.out} and not {right.out}.", "growth"


def _transition(both: SideBySide, role: Role, right: Source, theirs: Source, i: int) -> Told:
    read = width(theirs.reads)
    pooled = all(any("pool" in t.kind for t in s.chain[-4:]) for s in theirs.reads)
    if theirs.kind == "output":
        return "There is no convolution.", "transition"
    if theirs.kind == "linear":
        if role.block == len(both.target.blocks) - 1:
            return f"There are {role.block} blocks and not {len(both.target.blocks)}.", "layers"
        return f"The network ends after block {role.block}.", "layers"
    if pooled and len(theirs.reads) > 1:
        return f"Transition {role.block} only pools: its convolution is missing.", "transition"
    if theirs.kernel != "1×1" or not (both.is_pooled(i) or theirs.out in (read, read // 2)):
        return _counts(
            both, role.block, f"goes on after {both.target.blocks[role.block - 1]} layers"
        )
    if theirs.out == read:
        return f"Transitions keep all {read} channels (θ = 1).", "compression"
    if theirs.out == read // 2:
        return f"Transitions halve the channels ({read} to {theirs.out}).", "compression"
    text = f"Transition {role.block} writes {theirs.out} of {read} channels and not {right.out}."
    return text, "compression"


def _classifier(both: SideBySide, role: Role, right: Source, theirs: Source, i: int) -> Told:
    if theirs.kind == "convolution":
        last, read = len(both.target.blocks), width(theirs.reads)
        if theirs.kernel == "1×1" and (both.is_pooled(i) or theirs.out in (read, read // 2)):
            text = f"There is one more transition, after the last block ({theirs})."
            return text, "transition"
        return _goes_on(both, last)
    return f"The classifier has {theirs.out} outputs and not {right.out}.", "classifier"


def _output(both: SideBySide, role: Role, right: Source, theirs: Source, i: int) -> Told:
    if both.target.blocks:
        return _goes_on(both, 1)
    return f"There is one more layer, {theirs}.", "transition"


def _ends(both: SideBySide, role: Role, theirs: Source) -> Told:
    """A block has fewer layers than it should."""
    if role.layer > 1:
        return _counts(both, role.block, f"ends after {role.layer - 1} layers")
    if theirs.kind == "output":
        return "The block has no layer.", "layers"
    if theirs.kind == "linear":
        return f"There are {role.block - 1} blocks and not {len(both.target.blocks)}.", "layers"
    return f"There is one more transition, before block {role.block}.", "transition"


def _goes_on(both: SideBySide, block: int) -> Told:
    return _counts(both, block, f"goes on after {both.target.blocks[block - 1]} layers")


def _counts(both: SideBySide, block: int, what: str) -> Told:
    """How many layers a block has, and whether the numbers are those of another network."""
    text = f"Block {block} {what}; it should have {both.target.blocks[block - 1]}."
    theirs = both.blocks_of_theirs()
    for name, blocks in both.target.known.items():
        if blocks == theirs:
            return f"{text} These are the blocks of {name}: {blocks}.", "layers"
    return text, "layers"
