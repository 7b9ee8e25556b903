"""The ways in which builds deviate from right networks, as data.

Every option changes fields of a build and says so in a sentence. The sentences travel to the pages
as JSON (`search.tables`), so there is one place where they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: Deviations weigh at most this much together.
MOST = 3


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
    """Options of which a build has one at most; they break the lines of `topic`."""

    name: str
    topic: str
    options: tuple[Option, ...]


def _axis(name: str, topic: str, field: str, *options: tuple[Any, ...]) -> Axis:
    """Options as rows: name, value of the field (or fields), sentence, and kind and weight."""
    made = (
        Option(option, value if isinstance(value, dict) else {field: value}, *rest)
        for option, value, *rest in options
    )
    return Axis(name, topic, tuple(made))


def _added(block: int, step: int) -> tuple[Any, ...]:
    """The option that one block has a layer more or less."""
    sign, more = ("+", "more") if step > 0 else ("−", "less")
    layers = tuple(step if i == block else 0 for i in range(4))
    text = f"Block {block + 1} has one layer {more}."
    return (f"block {block + 1} {sign}1", layers, text, "mistake", 2)


_RARE = ("mistake", 2)

_DENSE = (
    _axis(
        "bottleneck", "bottleneck", "bottleneck",
        ("none", "none", "There is no bottleneck: each layer is one 3×3 convolution."),
        ("k", "k", "The bottleneck is k wide and not 4k."),
        ("2k", "2k", "The bottleneck is 2k wide and not 4k.", *_RARE),
        ("4k", "4k", "Each layer has a bottleneck of 4k channels."),
        ("k kept", "k kept", "The 1×1 convolution is k wide and its output is concatenated too."),
        ("4k kept", "4k kept", "The output of the 1×1 convolution is concatenated too."),
        ("swapped", "swapped",
         "k and 4k are swapped: the 1×1 convolution writes k channels, the 3×3 one 4k."),
        ("3×3", {"bottleneck_kernel": 3},
         "The bottleneck is a 3×3 convolution and not a 1×1 one.", *_RARE),
    ),
    _axis(
        "compression", "compression", "compression",
        ("1", 1.0, "Transitions keep the number of channels (θ = 1)."),
        ("0.5", 0.5, "Transitions halve the number of channels."),
    ),
    _axis(
        "transitions", "transition", "transitions",
        ("last", "last", "There is one more transition, after the last block."),
        ("first", "first", "There is one more transition, before the first block."),
        ("pool only", "pool only",
         "Transitions only pool: their normalisation and 1×1 convolution are missing."),
    ),
    _axis(
        "growth rate", "growth", "growth_rate",
        *((str(k), k, f"The growth rate is {k}.") for k in (12, 16, 24, 32, 40, 48, 64)),
    ),
    _axis(
        "norms", "classifier", "norms",
        ("no last", "no last", "The normalisation before the classifier is missing."),
        ("none", "none",
         "There are no normalisations, or they have no scale and shift (affine=False)."),
    ),
    _axis(
        "input", "dense", "keeps_input",
        ("left out", False, "A block's output lacks the block's input."),
    ),
    _axis(
        "layers", "layers", "added",
        ("+1", (1, 1, 1, 1), "Every block has one layer more.", *_RARE),
        ("−1", (-1, -1, -1, -1), "Every block has one layer less.", *_RARE),
        *(_added(block, step) for block in range(4) for step in (1, -1)),
    ),
    _axis(
        "stem width", "stem", "stem_width",
        ("16", 16, "The first convolution has 16 channels."),
        ("2k", "2k", "The first convolution has 2k channels."),
        ("64", 64, "The first convolution has 64 channels."),
    ),
    _axis(
        "stem", "stem", "stem_kernel",
        ("3×3", 3, "The first convolution is 3×3."),
        ("7×7", 7, "The first convolution is 7×7."),
        ("no norm", {"stem_norm": False}, "No normalisation follows the first convolution."),
        ("norm", {"stem_norm": True},
         "A normalisation follows the first convolution, besides the one of the first layer.",
         *_RARE),
    ),
)  # fmt: skip

_RESIDUAL = (
    _axis(
        "projection", "projection", "projection",
        ("stages 2 to 4", "stages 2 to 4",
         "The shortcut is a 1×1 convolution in every block of stages 2 to 4."),
        ("every block", "every block", "The shortcut is a 1×1 convolution in every block."),
    ),
    _axis(
        "projection norm", "projection norm", "projection_norm",
        ("no", False, "No normalisation follows the 1×1 convolution of a shortcut."),
        ("yes", True, "A normalisation follows the 1×1 convolution of a shortcut."),
    ),
    _axis(
        "stem", "resnet stem", "stem_kernel",
        ("3×3", 3, "The first convolution is 3×3."),
        ("no norm", {"stem_norm": False}, "No normalisation follows the first convolution."),
    ),
)  # fmt: skip

_COMMON = (
    _axis(
        "bias", "bias", "bias",
        ("all", "all", "The convolutions have biases.", "harmless"),
        ("all but stem", "all but stem", "All convolutions but the first have biases.",
         "harmless", 2),
        ("none", "none", "The convolutions have no biases.", "harmless"),
    ),
    _axis(
        "classifier", "classifier bias", "head_bias",
        ("no bias", False, "The classifier has no bias."),
        ("none", {"head": False}, "It is counted without the classifier.", "counting", 2),
    ),
    _axis(
        "buffers", "buffers", "buffers",
        ("all", "all", "Running statistics are counted too (all of state_dict()).", "counting"),
        ("statistics", "statistics", "Running means and variances are counted too.", "counting"),
    ),
)  # fmt: skip

#: Family → the axes on which its builds can deviate.
AXES = {"dense": _DENSE + _COMMON, "residual": _RESIDUAL + _COMMON}
