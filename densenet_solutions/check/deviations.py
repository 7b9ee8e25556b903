"""The ways in which builds deviate from right networks, as data.

Every option changes one field of a build and says so in a sentence. The sentences travel to the
pages as JSON (`search.tables`), so there is one place where they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from densenet_solutions.check.closed_form import Build, DenseBuild

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
        "bottleneck",
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
        "compression",
        (
            Option("1", {"compression": 1.0}, "Transitions keep the number of channels (θ = 1)."),
            Option("0.5", {"compression": 0.5}, "Transitions halve the number of channels."),
        ),
    ),
    Axis(
        "transitions",
        "transition",
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
        "growth",
        tuple(
            Option(str(k), {"growth_rate": k}, f"The growth rate is {k}.")
            for k in (12, 16, 24, 32, 40, 48, 64)
        ),
    ),
    Axis(
        "norms",
        "classifier",
        (
            Option("no last", {"norms": "no last"},
                   "The normalisation before the classifier is missing."),
            Option("none", {"norms": "none"},
                   "There are no normalisations, or they have no scale and shift (affine=False)."),
        ),
    ),
    Axis(
        "input",
        "dense",
        (
            Option("left out", {"keeps_input": False}, "A block's output lacks the block's input."),
        ),
    ),
    Axis(
        "layers",
        "layers",
        (
            Option("+1", {"added": (1, 1, 1, 1)}, "Every block has one layer more.", weight=2),
            Option("−1", {"added": (-1, -1, -1, -1)}, "Every block has one layer less.", weight=2),
            *_ONE_LAYER,
        ),
    ),
    Axis(
        "stem width",
        "stem",
        (
            Option("16", {"stem_width": 16}, "The first convolution has 16 channels."),
            Option("2k", {"stem_width": "2k"}, "The first convolution has 2k channels."),
            Option("64", {"stem_width": 64}, "The first convolution has 64 channels."),
        ),
    ),
    Axis(
        "stem",
        "stem",
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
        "projection",
        (
            Option("stages 2 to 4", {"projection": "stages 2 to 4"},
                   "The shortcut is a 1×1 convolution in every block of stages 2 to 4."),
            Option("every block", {"projection": "every block"},
                   "The shortcut is a 1×1 convolution in every block."),
        ),
    ),
    Axis(
        "projection norm",
        "projection norm",
        (
            Option("no", {"projection_norm": False},
                   "No normalisation follows the 1×1 convolution of a shortcut."),
            Option("yes", {"projection_norm": True},
                   "A normalisation follows the 1×1 convolution of a shortcut."),
        ),
    ),
    Axis(
        "stem",
        "resnet stem",
        (
            Option("3×3", {"stem_kernel": 3}, "The first convolution is 3×3."),
            Option("no norm", {"stem_norm": False}, "No normalisation follows the first "
                   "convolution."),
        ),
    ),
)  # fmt: skip

#: Of both.
COMMON_AXES = (
    Axis(
        "bias",
        "bias",
        (
            Option("all", {"bias": "all"}, "The convolutions have biases.", "harmless"),
            Option("all but stem", {"bias": "all but stem"},
                   "All convolutions but the first have biases.", "harmless", 2),
            Option("none", {"bias": "none"}, "The convolutions have no biases.", "harmless"),
        ),
    ),
    Axis(
        "classifier",
        "classifier bias",
        (Option("no bias", {"head_bias": False}, "The classifier has no bias."),),
    ),
    Axis(
        "buffers",
        "buffers",
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
