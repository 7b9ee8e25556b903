"""What a DenseNet's step asks of a GPU's allocator, in order, without running it.

Written down are the births and deaths of storages that `Step.trace` sees when PyTorch runs a plain
step or inference; `tape_saving.py` has the ways that save memory. The same in the browser is
`docs/assets/explorer-own.js`. That they hold for any growth rate, layers and compression is tested
against `predict_memory`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from densenet_solutions.measure.tracker import Operation
from densenet_solutions.models.config import DenseNetConfig


@dataclass
class Tape:
    """Storages by number: bytes, and events in order, a number when born, `~number` when it dies.

    `gradients` are those of parameters, which stay when the step is over, `kept` what was alive
    when the backward pass began; `with_it` are storages that die with another. A number takes
    `width` bytes if nothing else is said.
    """

    width: int = 4
    sizes: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    gradients: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)
    with_it: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def new(self, numbers: int, width: int | None = None) -> int:
        """A storage of so many numbers is born."""
        self.sizes.append(numbers * (self.width if width is None else width))
        self.events.append(len(self.sizes) - 1)
        return len(self.sizes) - 1

    def free(self, *storages: int) -> None:
        for storage in storages:
            self.events += [~one for one in (storage, *self.with_it.get(storage, ()))]

    def passing(self, numbers: int) -> None:
        """A storage that is there for a moment."""
        self.free(self.new(numbers))

    def gradient(self, numbers: int) -> None:
        """A parameter's gradient, in single precision."""
        self.gradients.add(self.new(numbers, 4))

    def backward(self) -> None:
        """The backward pass begins."""
        born = {event for event in self.events if event >= 0}
        self.kept = born - {~event for event in self.events if event < 0}

    def operations(self) -> Iterator[Operation]:
        """For `CudaCache.play`."""
        for event in self.events:
            born = ((event, self.sizes[event]),) if event >= 0 else ()
            yield Operation(born, () if event >= 0 else (~event,))


@dataclass(frozen=True)
class Block:
    """A dense block: channels that enter and leave it, and behind the transition (0 without one).

    `rows` are the pixels of all images, each of `side`².
    """

    start: int
    end: int
    after: int
    images: int
    side: int

    @property
    def rows(self) -> int:
        return self.images * self.side**2


class TapedStep:
    """The plain step; `tape()` runs it. `autocast` is to bfloat16.

    Methods that make something return its storage's number. `*dead` die with what they name.
    """

    def __init__(
        self, config: DenseNetConfig, batch: int, side: int, *, autocast: bool = False
    ) -> None:
        self.on = Tape(2 if autocast else 4)
        self.config, self.batch, self.side, self.autocast = config, batch, side, autocast
        self.k, self.h = config.growth_rate, (config.bn_size or 0) * config.growth_rate
        self.width = config.num_init_features
        self.stem_pixels = (side // 2) ** 2
        self.stem_numbers = self.width * batch * self.stem_pixels
        self.images = config.in_channels * batch * side**2
        self.casts: list[tuple[int, ...]] = []
        widths = (*config.block_widths, (0, 0))
        self.blocks = [
            Block(start, end, after, batch, side // 4 // 2**i)
            for i, ((start, end), (after, _)) in enumerate(pairwise(widths))
        ]

    def tape(self) -> Tape:
        """Forward and backward."""
        stem = self.stem()
        x, kept = stem[-1], []
        for block in self.blocks:
            x, of_block = self.forward(block, x)
            kept.append(of_block)
        gradient = self.head(self.blocks[-1], x)
        for block in reversed(self.blocks):
            gradient = self.backward(block, kept.pop(), gradient)
        self.stem_backward(stem, gradient)
        return self.on

    # --- operations -------------------------------------------------------------------------------

    def norm(self, channels: int, rows: int, *dead: int) -> int:
        """Batch normalization and ReLU: what the convolution reads; `dead` die between the two."""
        a = self.on.new(channels * rows)
        statistics = self.on.new(channels), self.on.new(channels)
        self.on.free(*dead)
        return self.rectified(a, channels * rows, statistics)

    def rectified(self, a: int, numbers: int, statistics: tuple[int, int]) -> int:
        """What the ReLU makes of `a`, in its place or not; the statistics die with it."""
        relu = a if self.config.inplace else self.on.new(numbers)
        if relu != a:
            self.on.free(a)
        self.on.with_it[relu] = statistics
        return relu

    def norm_backward(self, channels: int, rows: int, a: int, da: int, *dead: int) -> int:
        """From the gradient of what `norm` made to that of its input."""
        relu = self.on.new(channels * rows)
        self.on.free(a, da)
        dx = self.on.new(channels * rows)
        self.on.gradient(channels)
        self.on.gradient(channels)
        self.on.free(*dead, relu)
        return dx

    def cast(self, *numbers: int) -> None:
        """Copies in half precision of what an operation reads, before it runs."""
        if self.autocast:
            self.casts.append(tuple(self.on.new(some) for some in numbers if some))

    def convolution(self, inputs: int, outputs: int, rows: int, kernel: int = 1) -> int:
        self.cast(outputs * self.config.bias, kernel**2 * inputs * outputs)
        return self.on.new(outputs * rows)

    def weights(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        """Gradients of a convolution's kernel and, if it has one, of its bias."""
        self.weight_gradients(kernel**2 * inputs * outputs, outputs * self.config.bias)

    def weight_gradients(self, *numbers: int) -> None:
        """Gradients of weights; under autocast of their copies first."""
        numbers = tuple(some for some in numbers if some)
        halves = [self.on.new(some) for some in numbers] if self.autocast else []
        if self.autocast:
            self.on.free(*self.casts.pop())
        for i, some in enumerate(numbers):
            self.on.gradient(some)
            self.on.free(*halves[i : i + 1])

    def wide(self, inputs: int, outputs: int, rows: int, kernel: int = 3) -> None:
        """Copies that the backward pass of a convolution wider than 1×1 makes for a moment."""
        self.on.passing((inputs + outputs) * rows + kernel**2 * inputs * outputs)

    # --- stem and head ----------------------------------------------------------------------------

    def stem_convolution(self) -> int:
        channels = self.config.in_channels
        self.cast(self.width * self.config.bias, 49 * channels * self.width, self.images)
        return self.on.new(self.stem_numbers)

    def stem(self) -> tuple[int, ...]:
        """What is kept of the stem, its output last."""
        z = self.stem_convolution()
        a = self.norm(self.width, self.batch * self.stem_pixels)
        x = self.on.new(self.stem_numbers // 4)
        winners = self.on.new(self.stem_numbers // 4, 8)
        return z, a, winners, x

    def stem_backward(self, stem: tuple[int, ...], gradient: int) -> None:
        z, a, winners, _ = stem
        da = self.on.new(self.stem_numbers)
        self.on.free(winners, gradient)
        dz = self.norm_backward(self.width, self.batch * self.stem_pixels, a, da, z)
        channels = self.config.in_channels
        self.on.passing(self.stem_numbers + self.images + 49 * channels * self.width)
        self.weights(channels, self.width, 7)
        self.on.free(dz)

    def head(self, block: Block, x: int) -> int:
        """From the last features through loss and classifier to the gradient of these features."""
        on, logits = self.on, self.batch * self.config.num_classes
        weights = self.config.num_classes * block.end, self.config.num_classes
        a = self.last_norm(block.end, block.rows)
        mean = on.new(self.batch * block.end)
        self.cast(*weights)
        scores = [on.new(logits)]
        if self.autocast:
            scores.append(on.new(logits, 4))
        logs = on.new(logits, 4)
        for _ in range(2):  # the loss, and the sum of its weights
            on.new(1)
        on.backward()
        on.new(1)
        on.free(*scores)
        of_loss = on.new(logits, 4)
        of_scores = on.new(logits, 4)
        on.free(logs, of_loss)
        if self.autocast:
            single, of_scores = of_scores, on.new(logits)
            on.free(single)
        dmean = on.new(self.batch * block.end)
        self.weight_gradients(*weights)
        on.free(of_scores, mean)
        da = on.new(block.end * block.rows)
        on.free(dmean)
        return self.norm_backward(block.end, block.rows, a, da, *self.after_head(x))

    def last_norm(self, channels: int, rows: int) -> int:
        return self.norm(channels, rows)

    def after_head(self, x: int) -> tuple[int, ...]:
        """What dies with the last normalization."""
        return (x,)

    # --- a block and its transition ---------------------------------------------------------------

    def layer(self, channels: int, rows: int, *dead: int) -> tuple[list[int], int]:
        """A layer behind its first ReLU: what is kept inside, and its output.

        `dead` die after the first convolution.
        """
        if not self.h:
            y = self.convolution(channels, self.k, rows, 3)
            self.on.free(*dead)
            return [], y
        z = self.convolution(channels, self.h, rows)
        self.on.free(*dead)
        a = self.norm(self.h, rows)
        return [z, a], self.convolution(self.h, self.k, rows, 3)

    def forward(self, block: Block, x: int) -> tuple[int, list[int]]:
        """Output of a block and the transition behind it, and what is kept."""
        kept: list[int] = []
        for channels in range(block.start, block.end, self.k):
            a = self.norm(channels, block.rows)
            inside, y = self.layer(channels, block.rows)
            kept += [x, a, *inside]
            x = self.on.new((channels + self.k) * block.rows)
            self.on.free(y)
        return self.transition(block, x, kept)

    def transition(self, block: Block, x: int, kept: list[int]) -> tuple[int, list[int]]:
        if not block.after:
            return x, kept
        a = self.norm(block.end, block.rows)
        t = self.convolution(block.end, block.after, block.rows)
        return self.on.new(block.after * block.rows // 4), [*kept, x, a, t]

    def transition_backward(self, block: Block, kept: list[int], gradient: int) -> int:
        x, a, t = kept
        dt = self.on.new(block.after * block.rows)
        self.on.free(t, gradient)
        da = self.on.new(block.end * block.rows)
        self.weights(block.end, block.after)
        self.on.free(dt)
        return self.norm_backward(block.end, block.rows, a, da, x)

    def bottleneck_backward(self, z: int, a: int, rows: int, *dy: int) -> int:
        """From the gradient of a layer's output, which dies if it is given, to its bottleneck's."""
        da = self.on.new(self.h * rows)
        self.wide(self.h, self.k, rows)
        self.weights(self.h, self.k, 3)
        self.on.free(*dy)
        return self.norm_backward(self.h, rows, a, da, z)

    def layer_backward(
        self, channels: int, rows: int, a: int, dy: tuple[int, ...], *dead: int
    ) -> int:
        """Through a layer's first convolution, after which `dy` dies, and its normalization."""
        da = self.on.new(channels * rows)
        if self.h:
            self.weights(channels, self.h)
        else:
            self.wide(channels, self.k, rows)
            self.weights(channels, self.k, 3)
        self.on.free(*dy)
        return self.norm_backward(channels, rows, a, da, *dead)

    def backward(self, block: Block, kept: list[int], gradient: int) -> int:
        """From the gradient of what `forward` returned to that of what it got."""
        if block.after:
            gradient = self.transition_backward(block, last(kept, 3), gradient)
        for channels in range(block.end - self.k, block.start - 1, -self.k):
            x, a, *inside = last(kept, 4 if self.h else 2)
            dy = (self.bottleneck_backward(*inside, block.rows),) if inside else ()
            dx = self.layer_backward(channels, block.rows, a, dy, x)
            total = self.on.new(channels * block.rows)
            self.on.free(gradient, dx)
            gradient = total
        return gradient


def last(stack: list[int], count: int) -> list[int]:
    """Take the last ones of a list."""
    found = stack[-count:]
    del stack[-count:]
    return found


class TapedInference(TapedStep):
    """The forward pass alone, where nothing is kept."""

    def tape(self) -> Tape:
        on = self.on
        z = self.stem_convolution()
        if self.autocast:
            on.free(self.casts[0][-1])  # the images
        a = self.norm(self.width, self.batch * self.stem_pixels, z)
        x = on.new(self.stem_numbers // 4)
        winners = on.new(self.stem_numbers // 4, 8)
        on.free(a, winners)
        for block in self.blocks:
            x = self.infer(block, x)
        block, classes = self.blocks[-1], self.config.num_classes
        self.norm(block.end, block.rows, x)
        on.new(self.batch * block.end)
        self.cast(classes, classes * block.end)
        on.new(self.batch * classes)
        return on

    def infer(self, block: Block, x: int) -> int:
        on, rows, entered = self.on, block.rows, x
        for channels in range(block.start, block.end, self.k):
            inside, y = self.layer(channels, rows, self.norm(channels, rows))
            on.free(*inside)
            more = on.new((channels + self.k) * rows)
            on.free(*([] if x == entered else [x]), y)
            x = more
        on.free(entered)
        if not block.after:
            return x
        a = self.norm(block.end, rows)
        t = self.convolution(block.end, block.after, rows)
        on.free(a)
        after = on.new(block.after * rows // 4)
        on.free(x, t)
        return after
