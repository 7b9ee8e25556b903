"""The networks that are searched and the ways in which builds deviate from them, as data.

Every option changes one field of a build, says so in a sentence, and names what it breaks. The
sentences travel to the pages as JSON (`search.tables`), so there is one place where they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from densenet_solutions.check.closed_form import Build, DenseBuild, ResidualBuild
from densenet_solutions.models import BOOK, TABLE_1, TABLE_2
from densenet_solutions.models.config import DenseNetConfig

#: What a row is held against; it decides which line a deviation breaks.
Source = Literal["paper", "plain", "book", "resnet", "book resnet"]


@dataclass(frozen=True)
class Row:
    """A right network: its build, and the images and classes it was published for."""

    name: str
    title: str
    source: Source
    build: Build
    channels: int
    classes: int


@dataclass(frozen=True)
class Option:
    """One deviation: `changes` are fields of the build.

    `kind` is `"mistake"`, `"harmless"` (the same function) or `"counting"` (the network may be
    right). Mistakes that are rare weigh 2, and fewer of them are combined.
    """

    name: str
    changes: Mapping[str, Any]
    text: str
    kind: Literal["mistake", "harmless", "counting"] = "mistake"
    weight: int = 1


@dataclass(frozen=True)
class Axis:
    """Options of which a build has one at most; `lines` says what they break, by source."""

    name: str
    lines: Mapping[str, str]
    options: tuple[Option, ...]

    def line(self, source: Source) -> str:
        return self.lines.get(source, self.lines.get("paper", ""))


CHANNELS = (1, 3)
CLASSES = (10, 100, 1000)
#: Deviations weigh at most this much together.
MOST = 3

_BOOK_RESNET = ResidualBuild(blocks=(2, 2, 2, 2), projection_norm=False, bias="all")
_RESNETS = {
    "resnet18": ResidualBuild(blocks=(2, 2, 2, 2)),
    "resnet34": ResidualBuild(blocks=(3, 4, 6, 3)),
    "resnet50": ResidualBuild(blocks=(3, 4, 6, 3), wide=True),
    "resnet101": ResidualBuild(blocks=(3, 4, 23, 3), wide=True),
    "resnet152": ResidualBuild(blocks=(3, 8, 36, 3), wide=True),
}


def build_of(config: DenseNetConfig) -> DenseBuild:
    """The build that a configuration describes."""
    return DenseBuild(
        blocks=config.block_config,
        growth_rate=config.growth_rate,
        stem_width=config.num_init_features,
        stem_kernel=7 if config.stem == "imagenet" else 3,
        stem_norm=config.stem == "imagenet",
        bottleneck="none" if config.bn_size is None else f"{config.bn_size}k",
        compression=float(config.compression),
        bias="all" if config.bias else "none",
    )


def dense_configs() -> dict[str, DenseNetConfig]:
    """Every DenseNet by its name in `models.NETWORKS`."""
    book = {"book-densenet": BOOK.config}
    return {name: row.config for name, row in TABLE_1.items()} | book | _table_2()


def _table_2() -> dict[str, DenseNetConfig]:
    configs = [row.config for row in TABLE_2.values()]
    return {
        f"cifar-densenet-{'bc-' if c.bn_size else ''}{c.depth}-{c.growth_rate}": c for c in configs
    }


def _cifar_title(config: DenseNetConfig) -> str:
    kind = "-BC" if config.bn_size else ""
    return f"DenseNet{kind} with L = {config.depth}, k = {config.growth_rate}"


def _rows() -> tuple[Row, ...]:
    rows = [
        Row(name, name.replace("densenet", "DenseNet-"), "paper", build_of(row.config), 3, 1000)
        for name, row in TABLE_1.items()
    ]
    book = build_of(BOOK.config)
    rows.append(Row("book-densenet", "the book's DenseNet", "book", book, 1, 10))
    rows.append(Row("book-resnet18", "the book's ResNet-18", "book resnet", _BOOK_RESNET, 1, 10))
    rows += [
        Row(name, name.replace("resnet", "ResNet-"), "resnet", build, 3, 1000)
        for name, build in _RESNETS.items()
    ]
    for name, config in _table_2().items():
        source: Source = "plain" if config.bn_size is None else "paper"
        rows.append(Row(name, _cifar_title(config), source, build_of(config), 3, 10))
    return tuple(rows)


ROWS = _rows()

_BOTTLENECK = (
    "Paper, section 3, Bottleneck layers: a 1×1 convolution to 4k channels before each 3×3 one; "
    "only the 3×3 convolution's k channels are features."
)
_BLOCK_OF_BOOK = "Book, section 8.7.2: a layer is normalisation, ReLU and one 3×3 convolution to k."
_ONE_LAYER = [
    Option(
        f"block {i + 1} {'+' if step > 0 else '−'}1",
        {"added": tuple(step if j == i else 0 for j in range(4))},
        f"Block {i + 1} has one layer {'more' if step > 0 else 'less'}.",
        weight=2,
    )
    for i in range(4)
    for step in (1, -1)
]

#: Of dense networks.
DENSE_AXES = (
    Axis(
        "bottleneck",
        {
            "paper": _BOTTLENECK,
            "plain": "Paper, Table 2: only rows with a B have bottlenecks.",
            "book": _BLOCK_OF_BOOK,
        },
        (
            Option("none", {"bottleneck": "none"},
                   "There is no bottleneck: each layer is one 3×3 convolution."),
            Option("k", {"bottleneck": "k"}, "The bottleneck is k wide and not 4k."),
            Option("2k", {"bottleneck": "2k"}, "The bottleneck is 2k wide and not 4k.", weight=2),
            Option("4k", {"bottleneck": "4k"}, "Each layer has a bottleneck of 4k channels."),
            Option("k kept", {"bottleneck": "k kept"},
                   "The 1×1 convolution is k wide and its output is concatenated too."),
            Option("4k kept", {"bottleneck": "4k kept"},
                   "The output of the 1×1 convolution is concatenated too."),
            Option("swapped", {"bottleneck": "swapped"},
                   "k and 4k are swapped: the 1×1 convolution writes k channels, the 3×3 one 4k."),
            Option("3×3", {"bottleneck_kernel": 3},
                   "The bottleneck is a 3×3 convolution and not a 1×1 one.", weight=2),
        ),
    ),
    Axis(
        "compression",
        {
            "paper": "Paper, section 3, Compression: a transition writes θ times the channels it "
            "reads, and θ is 0.5 in DenseNet-BC, which is the DenseNet of Table 1.",
            "plain": "Paper, section 3, Compression: without the letter C, θ is 1.",
            "book": "Book, section 8.7.4: transition_block halves the number of channels.",
        },
        (
            Option("1", {"compression": 1.0}, "Transitions keep the number of channels (θ = 1)."),
            Option("0.5", {"compression": 0.5}, "Transitions halve the number of channels."),
        ),
    ),
    Axis(
        "transitions",
        {
            "paper": "Paper, section 3, Pooling layers, and Table 1: a normalisation, a 1×1 "
            "convolution and a 2×2 average pooling, between two blocks only.",
            "book": "Book, section 8.7.4: a transition layer is added between the dense blocks.",
        },
        (
            Option("last", {"transitions": "last"}, "There is one more transition, after the "
                   "last block."),
            Option("first", {"transitions": "first"}, "There is one more transition, before the "
                   "first block."),
            Option("pool only", {"transitions": "pool only"}, "Transitions only pool: their "
                   "normalisation and 1×1 convolution are missing."),
        ),
    ),
    Axis(
        "growth rate",
        {
            "paper": "Paper, Table 1: the growth rate is 32 (48 in DenseNet-161); Table 2 gives "
            "the k of each row.",
            "book": "Book, section 8.7.4: the growth rate is 32.",
        },
        tuple(
            Option(str(k), {"growth_rate": k}, f"The growth rate is {k}.")
            for k in (12, 16, 24, 32, 40, 48, 64)
        ),
    ),
    Axis(
        "norms",
        {
            "paper": "Paper, Table 1: each “conv” is the sequence BN-ReLU-Conv. The authors' code "
            "and torchvision (norm5) normalise once more before the classifier.",
            "book": "Book, section 8.7.4: batch normalisation and ReLU follow the last block.",
        },
        (
            Option("no last", {"norms": "no last"},
                   "The normalisation before the classifier is missing."),
            Option("none", {"norms": "none"},
                   "There are no normalisations, or they have no scale and shift (affine=False)."),
        ),
    ),
    Axis(
        "input",
        {
            "paper": "Paper, equation 2: x_ℓ = H_ℓ([x_0, x_1, …, x_ℓ−1]), and x_0 belongs to it.",
            "book": "Book, section 8.7.2: input and output of each layer are concatenated.",
        },
        (
            Option("left out", {"keeps_input": False}, "A block's output lacks the block's input."),
        ),
    ),
    Axis(
        "layers",
        {
            "paper": "Paper, Table 1 (for CIFAR section 3, Implementation Details): the number of "
            "layers of each block.",
            "book": "Book, section 8.7.4: four blocks of four layers.",
        },
        (
            Option("+1", {"added": (1, 1, 1, 1)}, "Every block has one layer more.", weight=2),
            Option("−1", {"added": (-1, -1, -1, -1)}, "Every block has one layer less.", weight=2),
            *_ONE_LAYER,
        ),
    ),
    Axis(
        "stem width",
        {
            "paper": "Paper, section 3, Implementation Details: the first convolution has 2k "
            "channels in DenseNet-BC and on ImageNet, 16 in the other CIFAR networks.",
            "book": "Book, section 8.7.4: the first convolution has 64 channels.",
        },
        (
            Option("16", {"stem_width": 16}, "The first convolution has 16 channels."),
            Option("2k", {"stem_width": "2k"}, "The first convolution has 2k channels."),
            Option("64", {"stem_width": 64}, "The first convolution has 64 channels."),
        ),
    ),
    Axis(
        "stem",
        {
            "paper": "Paper, Table 1: a 7×7 convolution of stride 2; on CIFAR (section 3, "
            "Implementation Details) one 3×3 convolution.",
            "book": "Book, section 8.7.4: a 7×7 convolution, then batch normalisation.",
        },
        (
            Option("3×3", {"stem_kernel": 3}, "The first convolution is 3×3."),
            Option("7×7", {"stem_kernel": 7}, "The first convolution is 7×7."),
            Option("no norm", {"stem_norm": False}, "No normalisation follows the first "
                   "convolution."),
            Option("norm", {"stem_norm": True}, "A normalisation follows the first convolution, "
                   "besides the one of the first layer.", weight=2),
        ),
    ),
)  # fmt: skip

#: Of residual networks.
RESIDUAL_AXES = (
    Axis(
        "projection",
        {
            "resnet": "He et al. (arXiv:1512.03385), section 3.3: the shortcut is a projection "
            "only where the dimensions increase.",
            "book resnet": "Book, section 8.6.3: only the first block of stages 2 to 4 is built "
            "with use_1x1conv=True.",
        },
        (
            Option("stages 2 to 4", {"projection": "stages 2 to 4"},
                   "The shortcut is a 1×1 convolution in every block of stages 2 to 4."),
            Option("every block", {"projection": "every block"},
                   "The shortcut is a 1×1 convolution in every block."),
        ),
    ),
    Axis(
        "projection norm",
        {
            "resnet": "He et al., section 3.4: batch normalisation follows each convolution.",
            "book resnet": "Book, section 8.6.2: conv3 of Residual has no normalisation.",
        },
        (
            Option("no", {"projection_norm": False},
                   "No normalisation follows the 1×1 convolution of a shortcut."),
            Option("yes", {"projection_norm": True},
                   "A normalisation follows the 1×1 convolution of a shortcut."),
        ),
    ),
    Axis(
        "stem",
        {
            "resnet": "He et al., Table 1: a 7×7 convolution of stride 2.",
            "book resnet": "Book, section 8.6.3: a 7×7 convolution, then batch normalisation.",
        },
        (
            Option("3×3", {"stem_kernel": 3}, "The first convolution is 3×3."),
            Option("no norm", {"stem_norm": False}, "No normalisation follows the first "
                   "convolution."),
        ),
    ),
)  # fmt: skip

_NO_BIAS = (
    "The authors' code and torchvision have none: the normalisation that follows takes a constant "
    "away again."
)
#: Of both.
COMMON_AXES = (
    Axis(
        "bias",
        {
            "paper": _NO_BIAS,
            "book": "The book leaves PyTorch's default, which is a bias in every convolution.",
            "book resnet": "The book leaves PyTorch's default, a bias in every convolution.",
        },
        (
            Option("all", {"bias": "all"}, "The convolutions have biases.", "harmless"),
            Option("all but stem", {"bias": "all but stem"},
                   "All convolutions but the first have biases.", "harmless", 2),
            Option("none", {"bias": "none"}, "The convolutions have no biases.", "harmless"),
        ),
    ),
    Axis(
        "classifier",
        {"paper": "The classifier is a fully-connected layer with a bias."},
        (Option("no bias", {"head_bias": False}, "The classifier has no bias."),),
    ),
    Axis(
        "buffers",
        {"paper": "Running means, variances and counters are buffers: no step of the optimizer "
                  "changes them, and no published count includes them."},
        (
            Option("all", {"buffers": "all"},
                   "Running statistics are counted too (all of state_dict()).", "counting"),
            Option("statistics", {"buffers": "statistics"},
                   "Running means and variances are counted too.", "counting"),
        ),
    ),
)  # fmt: skip


def axes_of(build: Build) -> tuple[Axis, ...]:
    """The axes on which a build can deviate."""
    return (DENSE_AXES if isinstance(build, DenseBuild) else RESIDUAL_AXES) + COMMON_AXES
