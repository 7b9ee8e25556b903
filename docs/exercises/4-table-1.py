# %% [markdown]
# # Exercise 4: Every network of Table 1
#
# !!! question "Exercise 4"
#     Table 1 of the DenseNet paper lists networks for ImageNet. Build them all. ([D2L, section 8.7,
#     exercise 4](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises), in our
#     words)

# %%
import re
from dataclasses import replace

from torch import nn

from densenet_solutions.check import parameter_count
from densenet_solutions.check.box import number_box
from densenet_solutions.exercises.network.layer import bottleneck
from densenet_solutions.exercises.parameters.study import README_ERRORS
from densenet_solutions.exercises.table_1 import pictures, study
from densenet_solutions.models import TABLE_2, DenseNetConfig, book_densenet
from densenet_solutions.models import densenet as module
from densenet_solutions.site.numbers import apart, billions, count, decimal, percent
from densenet_solutions.site.page import how_made, source
from densenet_solutions.site.tables import KEY, table

rows = study.table_1()
by_name = {row.name: row for row in rows}
d121, d264 = by_name["DenseNet-121"], by_name["DenseNet-264"]
printed = {row.name: study.printed_rows(row.variant.config) for row in rows}
config = DenseNetConfig()
parity = study.parity_with_torchvision(resolution=64)
assert all(row.parameters == row.variant.parameters for row in rows)
assert parity.equal_keys and max(parity.logits, parity.gradients) < 1e-10 * parity.scale
built = {row.name: row.variant.config for row in rows if row.name != "DenseNet-161"}  # v1's only
k = config.growth_rate
assert {(c.growth_rate, c.block_config[:2]) for c in built.values()} == {(k, (6, 12))}
later = {name: "{2} and {3}".format(*c.block_config) for name, c in built.items()}
depth = {row.name: row.variant.config.depth for row in rows}
assert [name for name in depth if name != f"DenseNet-{depth[name]}"] == ["DenseNet-264"]

# %% [markdown]
# !!! turn "Your turn"
#     Build DenseNet-121 for three channels and 1000 classes, and count its parameters.
#
#     [guess: your count]
#
#     ??? hint "Hint 1: what the book leaves out"
#         The book's layer is a single 3×3 convolution. Table 1's is a pair, and the first of the
#         pair is 1×1. How wide is its output? And is that output a feature that later layers read?
#
#     ??? hint "Hint 2: what the table leaves out"
#         Each "conv" in Table 1 stands for BN-ReLU-convolution, except in the stem, where the
#         convolution comes first. And something normalises once more before the global average pool.
#
#     ??? hint "Type it, and see"
#         Which network has your count, or with which mistake?
#
#         {{ number_box(7_989_096) }}
#
#     ??? solution "Compare"
#         {{ count(d121.parameters) }}. The right count is far from sufficient: another pool, or a
#         ReLU before its normalisation, gives the same one. [Check yours](#check-yours)
#         tells more.
#
# !!! answer "The answer"
#     One class builds them all: growth rate k = {{ k }}, four dense blocks, transitions that
#     halve the channels. The first two blocks have 6 and 12 layers, the others {{ later["DenseNet-121"] }}
#     (DenseNet-121), {{ later["DenseNet-169"] }} (169), {{ later["DenseNet-201"] }} (201),
#     {{ later["DenseNet-264"] }} (264). The book's layer lacks the *bottleneck*: a 1×1 convolution to
#     4k channels before each 3×3. With equal weights DenseNet-121 gives torchvision's outputs and gradients^[Outputs {{ apart(parity.logits) }}, gradients
#     {{ apart(parity.gradients) }}: two images of 64², float64, training mode, one forward and backward pass
#     of a freshly initialised network.].
#
#     - **{{ count(d121.parameters) }}** parameters in DenseNet-121
#     - **{{ count(d264.parameters) }}** in DenseNet-264
#     - **{{ depth["DenseNet-264"] }}** layers that DenseNet-264 really has
#
# ## The shape: smaller images, more channels
#
# Every layer adds $k$ channels. Every transition keeps the share $\theta$ = ½ of them and halves the
# image.
#
# DenseNet-121 · 224² · drawn from its configuration
# { .ds-setup }

# %%
pictures.hourglass(
    config.block_config,
    config.block_widths,
    [row.side for row in printed["DenseNet-121"] if row.name.startswith("Dense")],
    caption="The image shrinks while the channels grow; each transition takes half of them "
    "away. The first bar of a block is what enters it.",
)

# %% [markdown]
# ## The layer

# %%
k, cheaper = config.growth_rate, 231
assert 4 * k * cheaper + 36 * k**2 < 9 * k * cheaper and 4 * k * 230 + 36 * k**2 > 9 * k * 230
reads = study.channels_read(config)
wider = [c for c in reads if c > 4 * k]
assert len(reads) == 58 and sorted(reads)[:5] == [64, 96, 4 * k, 4 * k, 5 * k]

# %% [markdown]
# The 1×1 convolution brings what the layer reads to $4k$ = {{ 4 * k }} channels. {{ len(wider) }} of
# DenseNet-121's {{ len(reads) }} layers read more than that, two read as many, and the first two less. Drag:
# from {{ cheaper }} channels on the pair has fewer weights than a 3×3 convolution alone.

# %%
bottleneck()

# %% [markdown]
# Only the 3×3 convolution reads what the bottleneck writes. It is no feature; only the $k$ channels of the
# 3×3 convolution are appended.
#
# What follows is the package's own code. That a layer is cut into `bottleneck` and `rest` serves [exercise
# 3.2](3-2-saving-memory.py), where the first part is run again in the backward pass.
#
# {{ source(module.DenseLayer) }}
#
# ## The block and the transition
#
# {{ source(module.DenseBlock) }}
#
# {{ source(module.Transition) }}
#
# ## The class that builds
#
# A stem, then blocks with transitions between them, one last normalisation (`norm5`), a ReLU, the
# global average pool (the mean over height and width) and the classifier.
#
# {{ source(module.DenseNet.__init__) }}
#
# {{ source(module.DenseNet.forward) }}
#
# ## The five configurations
#
# DenseNet-161, with $k$ = 48, stands in the paper's earlier versions only.

# %% tags=["show"]
from densenet_solutions.models import TABLE_1

for name, row in TABLE_1.items():
    c = row.config
    print(f"{name}: k = {c.growth_rate}, stem {c.num_init_features}, {c.block_config}")

# %% [markdown]
# ## Table 1, from the running networks
#
# Output sizes are read from a forward pass, and layers are described by the modules themselves.


# %%
def without_numbers(what):
    """What the networks have in common: `"[1×1 conv, 128; 3×3 conv, 32] × 6"` → the brackets."""
    return re.sub(r", \d+(?=[,;\]]|$)|^\d+-d | × \d+$", "", what)


def number(row):
    """Channels that leave a stage, and the layers of a block."""
    layers = f"×{row.what.rpartition('× ')[2]} → " if "]" in row.what else ""
    return f"{layers}{row.channels}"


def stage_name(stage):
    """Rows of one stage are told apart by their module."""
    one = stage[0]
    alone = sum(other[0].name == one.name for other in together) == 1
    part = {"conv": "convolution", "pool": "pool", "connected": "classifier"}
    return one.name if alone else f"{one.name}, {part[one.what.split(', ')[0].split()[-1]]}"


together = list(zip(*printed.values(), strict=True))
assert all(len({without_numbers(row.what) for row in stage}) == 1 for stage in together)
table(
    together,
    {
        "stage": stage_name,
        **{
            row.name.removeprefix("DenseNet-"): lambda stage, i=i: number(stage[i])
            for i, row in enumerate(rows)
        },
        "output": lambda stage: f"{stage[0].side}²",
        "what it is": lambda stage: without_numbers(stage[0].what),
    },
    caption="Table 1 at 224²: the channels that leave a stage. ×n → are the layers of a block, each a 1×1 "
    "convolution to 4k channels and a 3×3 to k",
    align="lrrrrrll",
)

# %%
table(
    rows,
    {
        "network": "name",
        "parameters": "parameters",
        "k": "variant.config.growth_rate",
        "multiply-adds": ("multiply_adds", billions),
        "top-1 error": lambda row: (
            f"{error:.2f}%" if (error := row.variant.top1_error) else f"{README_ERRORS[row.name]}%"
        ),
    },
    caption="Counted here at 224². Errors on ImageNet, single crop, from the paper's Table 3 "
    f"(DenseNet-161: the authors' README, which has {README_ERRORS['DenseNet-169']}% for DenseNet-169 "
    f"and {README_ERRORS['DenseNet-201']}% for DenseNet-201)",
)

# %%
cifar = study.table_2()
assert all(f"{cifar[name] / 1e6:.1f}M" == row.printed_parameters for name, row in TABLE_2.items())
counted = table(
    cifar,
    {
        "network": KEY,
        "parameters": (cifar, count),
        "as printed": {name: row.printed_parameters for name, row in TABLE_2.items()},
    },
    caption="All counts round to what the paper prints.",
)

# %% [markdown]
# ??? lines "Table 2: the networks for CIFAR"
#     For 32² images in colour and ten classes the stem is one 3×3 convolution and there are three equal
#     blocks of $n$ layers. Without a bottleneck the depth is $L = 3n + 4$, the stem has 16 channels, and transitions keep all
#     channels. *BC* means a bottleneck and θ = ½: the depth is $L = 6n + 4$ and the stem has $2k$
#     channels.
#
#     {{ counted }}
#
# ## Is 264 really 264?

# %%
assert d264.variant.config.block_config == (6, 12, 64, 48)
assert all(2 * sum(row.variant.config.block_config) + 5 == depth[row.name] for row in rows)

# %% [markdown]
# The number in a name counts weighted layers: two convolutions in a dense layer, one in each of
# three transitions, one in the stem, and the classifier. With $n_b$ layers in block $b$ that makes
# $2\sum_b n_b + 5$, which is always odd. All names but one are right. With blocks of 6, 12, 64 and 48
# layers, 264 has **{{ depth["DenseNet-264"] }}**. We keep the paper's name and the paper's
# blocks^[torchvision has no DenseNet-264. The authors published weights for it, with their technical report,
# as a Torch7 file (256 MB, in their README, which calls its Torch models deprecated).].
#
# ## Which mistake gives which number
#
# A wrong count often tells the mistake. Here are seven counts, with three channels and 1000 classes. Two
# are harmless: biases, which the authors drop, and running statistics, which are stored but are no
# parameters.

# %%
wrong = [13_908_584, 10_869_096, 3_338_216, 7_976_808, 7_989_096, 8_062_625]
found = {n: parameter_count(n).findings for n in wrong}
assert all(len(findings) == 1 for findings in found.values())
said = {n: findings[0].text.split(", but: ") for n, findings in found.items()}
assert all(network == "DenseNet-121, 3 channels, 1000 classes" for network, _ in said.values())
what = {n: mistake for n, (_, mistake) in said.items()}
kinds = {
    n: {"wrong": "wrong", "harmless": "harmless"}[findings[0].kind] for n, findings in found.items()
}
norm_last = module.DenseNet(config)
for part in norm_last.modules():
    if isinstance(part, module.Transition):
        part.norm = nn.BatchNorm2d(part.conv.out_channels)
    elif isinstance(part, module.DenseLayer):
        part.norm1 = nn.BatchNorm2d(part.conv1.out_channels)
        part.norm2 = nn.BatchNorm2d(part.conv2.out_channels)
built = sum(p.numel() for p in norm_last.parameters())
what[built] = "Norm and ReLU come after each convolution, not before it; the last norm stays."
kinds[built] = "wrong"
assert list(kinds.values()).count("harmless") == 2
table(
    what,
    {"parameters": (KEY, count), "what is different": what, "verdict": kinds},
    caption="Common mistakes in DenseNet-121 and their counts. The check knows all but the last, which "
    "was built for this table",
)

# %% tags=["lines"]
from itertools import product


def parameters(bottleneck, compression, biases, last_norm, channels, classes):
    k, c = 32, 64
    total = c * (49 * channels + 2 + biases)  # 7×7 convolution and its norm
    for n in (6, 12, 24, 16):
        for _ in range(n):
            reads = c  # by the 3×3 convolution
            total += 2 * c  # the layer's first norm
            if bottleneck:
                reads = bottleneck * k
                total += (c + biases + 2) * reads  # the 1×1 and its norm
            total += (9 * reads + biases) * k
            c += k
        if n != 16:  # a transition
            total += 2 * c + (c + biases) * int(compression * c)
            c = int(compression * c)
    return total + 2 * c * last_norm + (c + 1) * classes


options = (4, 1, 0), (0.5, 1), (0, 1), (1, 0), (3, 1), (1000, 10)
builds = {build: parameters(*build) for build in product(*options)}
[build for build, total in builds.items() if total == 7_989_096]

# %%
assert builds[4, 0.5, 0, 1, 3, 1000] == d121.parameters
assert built == 7_917_736 and not parameter_count(built).builds  # the search does not know it
assert set(wrong) - set(builds.values()) == {8_062_625}  # the search counts statistics too

# %% [markdown]
# These lines search six choices. `check.parameter_count` searches more, and more networks.

# %% [markdown]
# ## What people say

# %%
bare = 10_869_096
assert "no bottleneck" in said[bare][1]
book = book_densenet().config
book_reads = study.channels_read(book)
assert max(book_reads) < cheaper and book.growth_rate == k
plain, paired = (
    study.weights_of_layers(replace(book, bn_size=size)) for size in (None, config.bn_size)
)
assert plain < paired and bare > d121.parameters
least = config.minimum_resolution


def shrinking(side):
    """Height after each halving: two of the stem, which round up, and three transitions."""
    sides = [side]
    for _ in range(2):
        sides.append((sides[-1] + 1) // 2)
    for _ in range(3):
        sides.append(sides[-1] // 2)
    return ", ".join(map(str, sides))


assert shrinking(least).endswith(" 1") and shrinking(least - 1).endswith(" 0")

# %% [markdown]
# !!! holds-with-a-condition "DenseNet-121 has 121 layers."
#     It has {{ depth["DenseNet-121"] }} *weighted* layers if convolutions and the classifier count and
#     normalisations do not.
#
# !!! does-not-hold "DenseNet-264 has 264 layers."
#     By the same count it has {{ depth["DenseNet-264"] }}.
#
# !!! holds-with-a-condition "The bottleneck makes the network larger: it adds a convolution to every layer."
#     True where layers read little: with fewer than 7.2 $k$ channels on average, {{ decimal(36 * k / 5, 1) }}
#     at $k$ = {{ k }}, the bottleneck costs more weights of convolutions than it saves. The book's read {{ min(book_reads) }} to {{ max(book_reads) }}, and with bottlenecks their convolutions would have
#     {{ percent(paired / plain - 1, 0) }} more weights. In DenseNet-121 bottlenecks save
#     {{ percent(1 - d121.parameters / bare, 0) }}: without them it has {{ count(bare) }} parameters.
#
# !!! holds-with-a-condition "A DenseNet for ImageNet works for any image."
#     It halves the image five times. The stem rounds up and transitions round down:
#     {{ shrinking(least) }}, but {{ shrinking(least - 1) }}. So images under {{ least }} pixels are too
#     small; our networks raise an error.
#
# ## Check yours
#
# !!! check "Check yours"
#     The count is only the first step. Hold the network itself against the paper's: names may
#     differ, shapes, order, pools, outputs and gradients may not. All five networks are
#     `exercise_4.py` in the [course](../reference/check.md#the-exercises-as-a-course).
#
#     ```python
#     from densenet_solutions import check
#
#     check.densenet(MyNet(), "densenet121")
#     ```
#
# ??? lines "Use ours, with torchvision's trained weights"
#     ```python
#     from torchvision.models import DenseNet121_Weights
#     from densenet_solutions.models import densenet121, load_densenet_weights
#
#     model = densenet121()
#     weights = DenseNet121_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
#     load_densenet_weights(model, weights)
#     ```
#
#     For ten classes take `densenet121(num_classes=10)` and
#     `load_densenet_weights(model, weights, other_classes=True)`, which leaves the classifier as it
#     is. Other channels or growth rates have other shapes, which these weights do not fit. They are the
#     authors' weights, ported (about 31 MB to download). The file spells some names in an old way, `norm.1`
#     for `norm1`; both are taken.
#
# ??? apparatus "Sources, records, versions"
#     - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional
#       Networks*, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993): section 3, Tables 1 to 3,
#       its earlier versions for DenseNet-161, and the [authors'
#       README](https://github.com/liuzhuang13/DenseNet).
#     - The DenseNets of [torchvision](https://docs.pytorch.org/vision/stable/models/densenet.html).
#     - K. He et al., *Delving Deep into Rectifiers*,
#       [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): the initialisation.
#
#     {{ how_made() }}
