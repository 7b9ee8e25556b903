"""Parameters of a whole family of networks in closed form: the right builds and the wrong ones.

A build is plain data. `terms` counts it without building anything; `docs/assets/check.js` holds the
same formula once more for the pages, and a test compares the two. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

Buffers = Literal["not counted", "all", "statistics"]
Bias = Literal["none", "all", "all but stem"]


@dataclass(frozen=True, kw_only=True)
class DenseBuild:
    """A DenseNet, built rightly or not. `k` is `growth_rate`, `m` the bottleneck's width.

    Args:
        bottleneck: `"4k"`, `"2k"`, `"k"`, `"none"`; `"k kept"`, `"4k kept"`: the 1×1 convolution's
            output is concatenated as well; `"swapped"`: 1×1 to k, 3×3 to 4k.
        added: layers more or less than `blocks`, per block.
        transitions: the convolution's θ is `compression`; `"pool only"` leaves norm and
            convolution out; `"first"`, `"last"`: there is one more before the first block or after
            the last.
        keeps_input: whether a block's output holds its input.
        norms: `"no last"`: the one before the classifier is missing.
        head: whether the classifier is counted.
    """

    family: ClassVar = "dense"
    blocks: tuple[int, ...]
    growth_rate: int
    stem_width: int | str  # "2k": twice the growth rate
    stem_kernel: int = 7
    stem_norm: bool = True
    bottleneck: str = "4k"
    bottleneck_kernel: int = 1
    compression: float = 0.5
    transitions: Literal["between", "first", "last", "pool only"] = "between"
    keeps_input: bool = True
    added: tuple[int, ...] = (0, 0, 0, 0)
    bias: Bias = "none"
    norms: Literal["all", "no last", "none"] = "all"
    head: bool = True
    head_bias: bool = True
    buffers: Buffers = "not counted"

    def normal(self) -> DenseBuild:
        """The same network in one spelling, so that two descriptions of it are seen to be one."""
        return replace(
            self,
            stem_width=2 * self.growth_rate if self.stem_width == "2k" else self.stem_width,
            blocks=tuple(a + b for a, b in zip(self.blocks, self.added, strict=False)),
            added=(0, 0, 0, 0),
            buffers="not counted" if self.norms == "none" else self.buffers,
            bottleneck_kernel=1 if self.bottleneck == "none" else self.bottleneck_kernel,
            compression=1.0 if self.transitions == "pool only" else self.compression,
            stem_norm=self.stem_norm and self.norms != "none",
        )


@dataclass(frozen=True, kw_only=True)
class ResidualBuild:
    """A ResNet: `blocks` residual blocks a stage; `wide` blocks are 1×1, 3×3, 1×1 to 4 times."""

    family: ClassVar = "residual"
    blocks: tuple[int, ...]
    wide: bool = False
    stem_kernel: int = 7
    stem_norm: bool = True
    projection: Literal["where needed", "stages 2 to 4", "every block"] = "where needed"
    projection_norm: bool = True
    bias: Bias = "none"
    head: bool = True
    head_bias: bool = True
    buffers: Buffers = "not counted"

    def normal(self) -> ResidualBuild:
        return self


Build = DenseBuild | ResidualBuild


@dataclass(frozen=True)
class Terms:
    """A count is `fixed + per_channel · channels + per_class · classes`."""

    fixed: int
    per_channel: int
    per_class: int

    def count(self, channels: int, classes: int) -> int:
        return self.fixed + self.per_channel * channels + self.per_class * classes


@dataclass
class _Sum:
    """Weights of convolutions and their outputs (biases); channels and number of the norms."""

    bias: bool
    weights: int = 0
    outputs: int = 0
    normed: int = 0
    norms: int = 0

    def convolution(self, inputs: int, outputs: int, kernel: int = 1, times: int = 1) -> None:
        """`times` convolutions that read `inputs` channels in all and write `outputs` each."""
        self.weights += kernel**2 * inputs * outputs
        self.outputs += outputs * times * self.bias

    def norm(self, channels: int, times: int = 1) -> None:
        self.normed += channels
        self.norms += times

    def total(self, buffers: Buffers) -> int:
        """Scale and shift of every norm; buffers are mean and variance, and a counter each."""
        kept = 0 if buffers == "not counted" else 2 * self.normed
        kept += self.norms if buffers == "all" else 0
        return self.weights + self.outputs + 2 * self.normed + kept


def terms(build: Build) -> Terms:
    """Count a build.

    Examples:
        >>> terms(DenseBuild(blocks=(6, 12, 24, 16), growth_rate=32, stem_width=64)).count(3, 1000)
        7978856
        >>> terms(ResidualBuild(blocks=(2, 2, 2, 2))).count(3, 1000)
        11689512
    """
    build = build.normal()
    return _dense(build) if isinstance(build, DenseBuild) else _residual(build)


def _dense(build: DenseBuild) -> Terms:
    width = build.stem_width
    assert isinstance(width, int)
    total = _Sum(build.bias != "none")
    per_channel = build.stem_kernel**2 * width
    total.outputs += width if build.bias == "all" else 0
    if build.stem_norm:
        total.norm(width)
    if build.transitions == "first":
        width = _transition(total, build, width)
    for i, layers in enumerate(build.blocks):
        new = _layers(total, build, width, layers)
        width = new + (width if build.keeps_input else 0)
        last = i == len(build.blocks) - 1
        if build.transitions != "pool only" and (not last or build.transitions == "last"):
            width = _transition(total, build, width)
    if build.norms == "all":
        total.norm(width)
    if build.norms == "none":
        total.normed = total.norms = 0
    return Terms(total.total(build.buffers), per_channel, _per_class(build, width))


def _layers(total: _Sum, build: DenseBuild, width: int, layers: int) -> int:
    """Add the layers of one block that starts with `width` channels; returns how many it adds."""
    k = build.growth_rate
    m = {"2k": 2 * k, "k": k, "k kept": k, "swapped": k, "none": 0}.get(build.bottleneck, 4 * k)
    new = 4 * k if build.bottleneck == "swapped" else k
    kept = m if build.bottleneck.endswith("kept") else 0
    read = layers * width + (new + kept) * (layers * (layers - 1) // 2)  # channels, over all layers
    total.norm(read, layers)
    if build.bottleneck == "none":
        total.convolution(read, new, 3, layers)
        return layers * new
    total.convolution(read, m, build.bottleneck_kernel, layers)
    between = read + layers * m if kept else layers * m
    total.norm(between, layers)
    total.convolution(between, new, 3, layers)
    return layers * (new + kept)


def _transition(total: _Sum, build: DenseBuild, width: int) -> int:
    out = int(width * build.compression)
    total.norm(width)
    total.convolution(width, out)
    return out


def _residual(build: ResidualBuild) -> Terms:
    total = _Sum(build.bias != "none")
    width = 64
    total.outputs += width if build.bias == "all" else 0
    if build.stem_norm:
        total.norm(width)
    for stage, blocks in enumerate(build.blocks):
        inner = 64 * 2**stage
        out = 4 * inner if build.wide else inner
        for block in range(blocks):
            sides: tuple[tuple[int, int, int], ...]
            if build.wide:
                sides = ((width, inner, 1), (inner, inner, 3), (inner, out, 1))
            else:
                sides = ((width, inner, 3), (inner, out, 3))
            for read, written, kernel in sides:
                total.convolution(read, written, kernel)
                total.norm(written)
            needed = block == 0 and (stage > 0 or width != out)
            stages = build.projection == "stages 2 to 4" and stage > 0
            if needed or stages or build.projection == "every block":
                total.convolution(width, out)
                if build.projection_norm:
                    total.norm(out)
            width = out
    return Terms(total.total(build.buffers), build.stem_kernel**2 * 64, _per_class(build, width))


def _per_class(build: Build, width: int) -> int:
    return width + build.head_bias if build.head else 0
