"""The ways that save memory, as `tape.py` has the plain step: births and deaths of storages."""

from __future__ import annotations

from densenet_solutions.exercises.explorer.tape import Block, TapedStep, last
from densenet_solutions.memory.shared_storage.plan import Plan
from densenet_solutions.models.config import DenseNetConfig


class TapedCopies(TapedStep):
    """Copies are made again: of a block its features are kept one by one, and its bottlenecks."""

    #: Layers and transitions are made again as a whole.
    whole = False

    def forward(self, block: Block, x: int) -> tuple[int, list[int]]:
        on, rows = self.on, block.rows
        features, kept = [x], list[int]()
        for channels in range(block.start, block.end, self.k):
            copy = on.new(channels * rows)
            a = self.norm(channels, rows)
            if self.whole:
                inside, y = self.layer(channels, rows, a)
                on.free(copy, *inside)
            else:
                on.free(copy)
                inside, y = self.layer(channels, rows, a)
                kept += inside
            features.append(y)
        end = on.new(block.end * rows)
        on.free(features.pop())
        return self.transition(block, end, [*kept, *features])

    def block_gradient(self, block: Block, kept: list[int], gradient: int) -> int:
        """Through the transition."""
        return self.transition_backward(block, last(kept, 3), gradient)

    def backward(self, block: Block, kept: list[int], gradient: int) -> int:
        on, rows = self.on, block.rows
        if block.after:
            gradient = self.block_gradient(block, kept, gradient)
        features = last(kept, (block.end - block.start) // self.k)
        sums = [gradient]  # of all features, and later of each
        for channels in range(block.end - self.k, block.start - 1, -self.k):
            of_each = len(sums) > 1
            dy = (sums.pop(),) if of_each else ()
            if self.h and not self.whole:
                dy = (self.bottleneck_backward(*last(kept, 2), rows, *dy),)
            copy = on.new(channels * rows)
            a = self.norm(channels, rows)
            if self.h and self.whole:
                z = on.new(self.h * rows)
                dy = (self.bottleneck_backward(z, self.norm(self.h, rows), rows, *dy),)
            dx = self.layer_backward(channels, rows, a, dy, features.pop(), copy)
            before, sums = sums, []
            for i, width in enumerate([block.start, *[self.k] * len(features)]):
                sums.append(on.new(width * rows))
                if of_each:
                    on.free(before[i])
            on.free(*([] if of_each else before), dx)
        return sums[0]


class TapedLayers(TapedCopies):
    """Layers and transitions are made again as a whole."""

    whole = True

    def transition(self, block: Block, x: int, kept: list[int]) -> tuple[int, list[int]]:
        if not block.after:
            return x, kept
        a = self.norm(block.end, block.rows)
        t = self.convolution(block.end, block.after, block.rows)
        self.on.free(a)
        after = self.on.new(block.after * block.rows // 4)
        self.on.free(t)
        return after, [*kept, x]

    def block_gradient(self, block: Block, kept: list[int], gradient: int) -> int:
        x = kept.pop()
        a = self.norm(block.end, block.rows)
        t = self.convolution(block.end, block.after, block.rows)
        return self.transition_backward(block, [x, a, t], gradient)


class TapedSharedStorage(TapedStep):
    """Shared storage, in `slices` of a batch."""

    def __init__(self, config: DenseNetConfig, batch: int, side: int, slices: int = 1) -> None:
        super().__init__(config, batch, side)
        self.slices = slices

    def plan(self, side: int) -> Plan:
        return Plan((self.batch, side, side), self.slices)

    def parts(self, plan: Plan, columns: int) -> list[int]:
        """Rows of some images after the other."""
        return [rows.stop - rows.start for _, rows, _ in plan.images(columns)]

    def statistics(self, columns: int, plan: Plan) -> None:
        """What a mean and a variance take for a moment."""
        for rows in plan.row_chunks():
            self.on.passing(columns * (rows.stop - rows.start))

    def as_rows(self, numbers: int, images: int, *dead: int) -> int:
        """A convolution's output as rows, which is a copy unless it is of one image."""
        maps = self.on.new(numbers)
        rows = maps if images == 1 else self.on.new(numbers)
        self.on.free(*dead, *([] if rows == maps else [maps]))
        return rows

    def kernel_gradient(self, channels: int, rows: int) -> None:
        """What a 3×3 convolution finds of its input and of its kernel, for a moment."""
        dh = self.on.new(channels * rows)
        self.on.passing(9 * channels * self.k)
        self.on.free(dh)

    # --- stem and head ----------------------------------------------------------------------------

    def stem_convolution(self) -> int:
        """Its output as rows, from images with their channels last."""
        return self.as_rows(self.stem_numbers, self.batch, self.on.new(self.images))

    def stem(self) -> tuple[int, ...]:
        plan = self.plan(self.side // 2)
        z = self.stem_convolution()
        self.statistics(self.width, plan)
        parts = []
        for rows in self.parts(plan, self.width):
            parts.append(self.on.new(self.width * rows // 4))
            self.on.free(self.on.new(self.width * rows // 4, 8))
        if len(parts) > 1:
            joined = self.on.new(self.stem_numbers // 4)
            self.on.free(*parts)
            parts = [joined]
        self.on.free(z)
        return tuple(parts)

    def stem_backward(self, stem: tuple[int, ...], gradient: int) -> None:
        on, width, channels = self.on, self.width, self.config.in_channels
        plan = self.plan(self.side // 2)
        z = self.stem_convolution()
        dz = on.new(self.stem_numbers)
        held: list[int] = []
        for rows in self.parts(plan, width):
            pooled = on.new(width * rows // 4)
            winners = on.new(width * rows // 4, 8)
            on.free(*held)
            held = [pooled]
            dh = on.new(width * rows)
            on.free(winners, dh)
            on.passing(width * rows)
        self.weights(channels, width, 7)
        for rows in self.parts(plan, width):
            images = rows // self.stem_pixels * channels * self.side**2
            on.passing(width * rows + images + 49 * channels * width)
        on.gradient(width)
        on.gradient(width)
        on.free(gradient, z, dz, *held)

    def last_norm(self, channels: int, rows: int) -> int:
        """Normalized features, and again in the layout that the plain network has."""
        normalized = self.on.new(channels * rows)
        statistics = self.on.new(channels), self.on.new(channels)
        copied = self.on.new(channels * rows)
        self.on.free(normalized)
        return self.rectified(copied, channels * rows, statistics)

    def after_head(self, x: int) -> tuple[int, ...]:
        return ()

    # --- a block and its transition ---------------------------------------------------------------

    def forward(self, block: Block, x: int) -> tuple[int, list[int]]:
        on, rows, plan = self.on, block.rows, self.plan(block.side)
        features = on.new(block.end * rows)
        kept = [features, on.new(block.end)]
        self.statistics(block.start, plan)
        for channels in range(block.start, block.end, self.k):
            kept += [on.new(channels) for _ in range(3)]  # what normalizes it
            new = (self.bottleneck if self.h else self.wide_layer)(channels, plan, kept)
            self.statistics(self.k, plan)
            on.free(new)
        if not block.after:
            on.free(x)
            return features, kept
        kept += [on.new(block.end) for _ in range(3)]
        output = on.new(block.after * rows // 4)
        parts, held = self.parts(plan, block.end), list[int]()
        scratch = on.new(block.end * parts[0])
        for some in parts:
            pooled = on.new(block.end * some // 4)
            on.free(*held)
            held = [pooled]
        on.free(scratch, *held, x)
        return output, kept

    def bottleneck(self, channels: int, plan: Plan, kept: list[int]) -> int:
        """Output of a layer with bottleneck, as rows."""
        on = self.on
        scratch = on.new(channels * plan.rows_at_once)
        hidden = on.new(self.h * plan.rows)
        on.free(scratch)
        self.statistics(self.h, plan)
        kept += [on.new(self.h) for _ in range(4)]
        return self.as_rows(self.k * plan.rows, self.batch, hidden)

    def wide_layer(self, channels: int, plan: Plan, kept: list[int]) -> int:
        """Output of a layer without bottleneck, as rows."""
        on, parts = self.on, self.parts(plan, channels)
        new = on.new(self.k * plan.rows)
        scratch = on.new(channels * parts[0])
        for some in parts:
            on.free(self.as_rows(self.k * some, some * self.batch // plan.rows))
        on.free(scratch)
        return new

    def backward(self, block: Block, kept: list[int], gradient: int) -> int:
        on, rows, plan = self.on, block.rows, self.plan(block.side)
        of_features = on.new(block.end * rows)
        if block.after:
            self.weights(block.end, block.after)
            parts, held = self.parts(plan, block.end), list[int]()
            scratch = on.new(block.end * parts[0])
            for some in parts:
                on.passing(block.end * some // 4)
                dpool = on.new(block.end * some // 4)
                on.free(*held)
                held = [dpool]
                on.passing(block.end * some)
            on.gradient(block.end)
            on.gradient(block.end)
            on.free(scratch, *held)
        for channels in range(block.end - self.k, block.start - 1, -self.k):
            dy = on.new(self.k * rows)
            if self.h:
                self.in_groups(block, channels, plan)
            else:
                self.weights(channels, self.k, 3)
                parts = self.parts(plan, channels)
                scratch = on.new(channels * parts[0])
                for some in parts:
                    self.kernel_gradient(channels, some)
                on.free(scratch)
            on.gradient(channels)
            on.gradient(channels)
            on.free(dy)
        dx = on.new(block.start * rows)
        on.free(*kept, gradient, of_features)
        return dx

    def in_groups(self, block: Block, channels: int, plan: Plan) -> None:
        """Backward through a layer with bottleneck, some of its channels at a time."""
        on, parts = self.on, self.parts(plan, 128)
        self.weights(channels, self.h)
        self.weights(self.h, self.k, 3)
        normalized = on.new(channels * plan.rows_at_once)
        size = min(self.h, max(8, block.end // 4 // 8 * 8))
        maps = [on.new(size * plan.rows) for _ in range(2)]
        for first in range(0, self.h, size):
            group = min(size, self.h - first)
            scratch = on.new(group * parts[0])
            for some in parts:
                self.kernel_gradient(group, some)
                on.passing(group * some)
            on.free(scratch)
            on.passing(channels * plan.rows_at_once)
        on.gradient(self.h)
        on.gradient(self.h)
        on.free(normalized, *maps)
