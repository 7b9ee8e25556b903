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
    text, topic = _Mistake(both, role, right, theirs, i).told()
    return Difference(text, topic, theirs.where)


def _compresses_alike(role: Role, right: Source, theirs: Source) -> bool:
    """Whether a transition is right but for what it reads, which is looked at next."""
    read, should = width(theirs.reads), width(right.reads)
    halved = theirs.out == int(read * right.out / should)
    return role.kind == "transition" and read != should and halved


class _Mistake:
    """Layer `i` of theirs stands where ours has another; `ends`: it is no convolution at all."""

    def __init__(self, both: SideBySide, role: Role, right: Source, theirs: Source, i: int) -> None:
        self.both, self.role, self.right, self.theirs, self.i = both, role, right, theirs, i
        self.blocks, self.k, self.read = both.target.blocks, both.target.growth, width(theirs.reads)
        self.ends = theirs.kind in ("linear", "output")
        self.is_transition = theirs.kernel == "1×1" and (
            both.is_pooled(i) or theirs.out in (self.read, self.read // 2)
        )

    def told(self) -> Told:
        tell = {
            "stem": self.stem, "bottleneck": self.bottleneck, "growth": self.growth,
            "transition": self.transition, "classifier": self.classifier, "output": self.output,
        }  # fmt: skip
        return tell[self.role.kind]()

    def stem(self) -> Told:
        if self.ends:
            return "There is no convolution.", "stem"
        kernel, right = self.theirs.kernel, self.right
        if kernel != right.kernel:
            return f"The first convolution is {kernel} and not {right.kernel}.", "stem"
        text = f"The first convolution has {self.theirs.out} channels and not {right.out}."
        return text, "stem"

    def bottleneck(self) -> Told:
        both, kernel, out, should = self.both, self.theirs.kernel, self.theirs.out, self.right.out
        following = both.next(self.i)
        after = (following.kernel, following.out) if following is not None else ("", 0)
        if self.ends or (kernel == "1×1" and both.is_pooled(self.i)):
            return self._block_ends()
        adds = (kernel, out) == ("3×3", self.k)
        if adds and self.role.layer == 1 < self.role.block and not both.is_pooled(self.i - 1):
            # What passed for a transition is not pooled: one more bottleneck of the same shape.
            return self._goes_on(self.role.block - 1)
        if kernel != "1×1" and out == should:
            return f"The bottleneck is a {kernel} convolution and not 1×1.", "bottleneck"
        if kernel != "1×1":
            text = f"There is no bottleneck: a {kernel} convolution reads the earlier features."
        elif both.is_kept(self.i):
            text = (
                f"The output of the 1×1 convolution ({out} channels) is concatenated too: it "
                "should feed the 3×3 convolution and vanish."
            )
        elif (out, after[1]) == (self.k, should):
            text = (
                f"k and 4k are swapped: the 1×1 convolution writes {out} channels, the 3×3 one "
                f"{should}."
            )
        elif after[0] == "3×3" and after[1] != self.k:
            return f"The growth rate is {after[1]} and not {self.k}.", "growth"
        else:
            wide = "k wide" if out == self.k else f"{out} channels wide"
            text = f"The bottleneck is {wide} and not {should}, which is 4k."
        return text, "bottleneck"

    def growth(self) -> Told:
        kernel, out = self.theirs.kernel, self.theirs.out
        alone = all(role.kind != "bottleneck" for role in self.both.target.roles)
        if self.ends or (alone and kernel == "1×1" and self.both.is_pooled(self.i)):
            return self._block_ends()
        if alone and kernel == "1×1":
            return f"There is a bottleneck, a 1×1 convolution to {out}.", "bottleneck"
        if kernel != self.right.kernel:
            return f"The convolution that adds features is {kernel} and not 3×3.", "growth"
        return f"The growth rate is {out} and not {self.right.out}.", "growth"

    def transition(self) -> Told:
        theirs, read, block = self.theirs, self.read, self.role.block
        pooled = all(any("pool" in t.kind for t in s.chain[-4:]) for s in theirs.reads)
        if theirs.kind == "output" or (self.ends and not self.blocks):
            return "There is no convolution.", "transition"
        if theirs.kind == "linear":
            if block == len(self.blocks) - 1:
                return f"There are {block} blocks and not {len(self.blocks)}.", "layers"
            return f"The network ends after block {block}.", "layers"
        if pooled and len(theirs.reads) > 1:
            return f"Transition {block} only pools: its convolution is missing.", "transition"
        if theirs.kernel != "1×1" and (not self.blocks or self.both.is_pooled(self.i)):
            called = f"convolution of transition {block}" if self.blocks else "convolution"
            return f"The {called} is {theirs.kernel} and not {self.right.kernel}.", "transition"
        if self.blocks and not self.is_transition:
            return self._goes_on(block)
        if not self.blocks and self.right.out != read // 2:  # a part, by itself: as was asked for
            return f"It writes {theirs.out} channels and not {self.right.out}.", ""
        if theirs.out == read:
            return f"Transitions keep all {read} channels (θ = 1).", "compression"
        if theirs.out == read // 2:
            return f"Transitions halve the channels ({read} to {theirs.out}).", "compression"
        text = (
            f"Transition {block} writes {theirs.out} of {read} channels and not {self.right.out}."
        )
        return text, "compression"

    def classifier(self) -> Told:
        if self.theirs.kind == "convolution":
            if self.is_transition:
                text = f"There is one more transition, after the last block ({self.theirs})."
                return text, "transition"
            return self._goes_on(len(self.blocks))
        text = f"The classifier has {self.theirs.out} outputs and not {self.right.out}."
        return text, "classifier"

    def output(self) -> Told:
        if self.blocks:
            return self._goes_on(1)
        return f"There is one more layer, {self.theirs}.", "transition"

    def _block_ends(self) -> Told:
        """A block has fewer layers than it should."""
        block, layer = self.role.block, self.role.layer
        if layer > 1:
            return self._counts(block, f"ends after {layer - 1} layers")
        if self.theirs.kind == "output":
            return "The block has no layer.", "layers"
        if self.theirs.kind == "linear":
            return f"There are {block - 1} blocks and not {len(self.blocks)}.", "layers"
        return f"There is one more transition, before block {block}.", "transition"

    def _goes_on(self, block: int) -> Told:
        return self._counts(block, f"goes on after {self.blocks[block - 1]} layers")

    def _counts(self, block: int, what: str) -> Told:
        """How many layers a block has, and whether the numbers are those of another network."""
        text = f"Block {block} {what}; it should have {self.blocks[block - 1]}."
        theirs = self.both.blocks_of_theirs()
        for name, blocks in self.both.target.known.items():
            if blocks == theirs:
                return f"{text} These are the blocks of {name}: {blocks}.", "layers"
        return text, "layers"
