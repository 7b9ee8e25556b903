# %% [markdown]
# # Exercise 4: every network of Table 1
#
# ## The question
#
# Table 1 of the DenseNet paper lists four networks for ImageNet. The book asks you to build them
# all. ([D2L, section 8.7, exercise
# 4](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %% tags=["hide-input"]
import re

from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models import densenet as module
from densenet_solutions.exercises.table_1 import pictures as drawings
from densenet_solutions.site.numbers import apart, billions, count, millions
from densenet_solutions.site.page import claims, how_made, say, source
from densenet_solutions.site.tables import table
from densenet_solutions.exercises.table_1 import study
from densenet_solutions.exercises.table_1 import mistakes

rows = study.table_1()
by_name = {row.name: row for row in rows}
stages = study.table_1_stages()
parity = study.parity_with_torchvision(resolution=32)
assert all(row.parameters == row.recorded_parameters for row in rows)
assert parity.equal_keys and parity.logits < 1e-10 and parity.gradients < 1e-10
d121, d264 = by_name["DenseNet-121"], by_name["DenseNet-264"]

# %% [markdown]
# ## In one breath

# %% tags=["hide-input"]
say(f"""
One class builds them all; a row of Table 1 is a row of data. DenseNet-121 comes to
{count(d121.parameters)} parameters and {billions(d121.multiply_adds, 3)} multiply-adds at 224×224,
DenseNet-264 to {count(d264.parameters)}. With the weights of a freshly initialised torchvision network copied over, our DenseNet-121 gives
torchvision's logits {apart(parity.logits)} and its gradients {apart(parity.gradients)}, in float64, checked
while this page was built.
""")

# %% [markdown]
# ## Try it first
#
# ??? question "Hint 1: what the book leaves out"
#     The book's block is a single 3×3 convolution. Table 1's is a pair, and the first of the pair is
#     1×1. How wide is its output, and is that output a feature that later layers read?
#
# ??? question "Hint 2: check yourself before you train"
#     Count parameters. 7,978,856 with three channels in and 1000 classes is right for DenseNet-121;
#     any other number tells you which line is wrong.
#
# ## The answer
#
# ### The staircase
#
# Every layer adds $k$ channels, every transition keeps the share $\theta$ of them and halves the
# image. Drawn from its configuration, DenseNet-121 is four flights of stairs:

# %% tags=["hide-input"]
config = DenseNetConfig()
sides = [
    row.output_shape[-1] for row in stages["DenseNet-121"] if row.stage.startswith("denseblock")
]
drawings.staircase(config.block_config, config.block_widths, sides, name="DenseNet-121")

# %% [markdown]
# ### The layer, the block, the transition
#
# This is all the code there is to the architecture. $H_\ell$ is the paper's composite function with
# the bottleneck of DenseNet-B:

# %% tags=["hide-input"]
source(module.DenseLayer)

# %% tags=["hide-input"]
source(module.DenseBlock)

# %% tags=["hide-input"]
source(module.Transition)

# %% [markdown]
# ### Table 1, from the running networks
#
# Output sizes are read from a forward pass, layers are described by the modules themselves.
# (DenseNet-161, with $k = 48$, stands in the paper's earlier versions.)

# %% tags=["hide-input"]
named = {row.stage: row for row in stages["DenseNet-121"]}
shown = [
    name
    for name, row in named.items()
    if "conv" in row.what or "pool" in row.what or "connected" in row.what
]


def without_numbers(what):
    """What the networks have in common: `"[1×1 conv, 128; 3×3 conv, 32] × 6"` → the brackets."""
    return re.sub(r", \d+(?=[,;\]]|$)|^\d+-d | × \d+$", "", what)


def number(row):
    """Layers of a block; of other stages the channels that leave them."""
    return row.what.rpartition("× ")[2] if "]" in row.what else str(row.output_shape[1])


found = {name: {row.stage: row for row in traced} for name, traced in stages.items()}
for name in shown:
    assert len({without_numbers(traced[name].what) for traced in found.values()}) == 1, name
table(
    ["stage", "output", "what it is", *(name.removeprefix("DenseNet-") for name in stages)],
    [
        [
            name,
            "×".join(map(str, named[name].output_shape[2:])) or "1×1",
            without_numbers(named[name].what),
            *(number(traced[name]) for traced in found.values()),
        ]
        for name in shown
    ],
    caption="Table 1 at 224×224. Numbers: the layers of a block, and elsewhere the channels that leave "
    "the stage. In a layer the 1×1 convolution is 4k channels wide and the 3×3 convolution k",
)

# %% tags=["hide-input"]
table(
    [
        "network",
        "k",
        "layers per block",
        "parameters",
        "multiply-adds",
        "top-1 error",
        "top-5 error",
    ],
    [
        [
            row.name,
            row.config.growth_rate,
            ", ".join(map(str, row.config.block_config)),
            row.parameters,
            billions(row.multiply_adds),
            *("—" if e is None else f"{e:.2f}%" for e in (row.top1_error, row.top5_error)),
        ]
        for row in rows
    ],
    caption="Counted here; errors on ImageNet, single crop, as the paper's Table 3 prints them "
    "(torchvision's own weights, which exercise 2 uses, differ a little)",
)

# %% [markdown]
# ### Is 264 really 264?
#
# The number in a name counts the weighted layers on the path: two convolutions per dense layer, one
# per transition, one in the stem, and the classifier, $2\sum_b n_b + 5$ in all.

# %% tags=["hide-input"]
table(
    ["network", "2 × layers + 5", "depth"],
    [[row.name, f"2 × {sum(row.config.block_config)} + 5", row.depth] for row in rows],
)

# %% tags=["hide-input"]
assert [row.name for row in rows if row.name != f"DenseNet-{row.depth}"] == ["DenseNet-264"]
say(f"""
All names are right but one: the row called 264, with blocks of 6, 12, 64 and 48 layers, has
**{d264.depth}** weighted layers. An even number is impossible by this count. We keep the paper's
name and the paper's blocks.
""")

# %% [markdown]
# ### The same function as torchvision's
#
# Module names equal torchvision's, so a state dict moves in both directions with `strict=True`. That
# makes an exact check possible: same weights, same images, one training step, in float64.

# %% tags=["hide-input"]
table(
    ["compared", "largest difference"],
    [
        ["names and shapes of all tensors", "none" if parity.equal_keys else "some"],
        ["logits", apart(parity.logits)],
        ["gradients of all parameters", apart(parity.gradients)],
    ],
    caption="DenseNet-121 of torchvision and ours; the largest gradient entry is "
    f"{parity.scale:.2f}",
)

# %% [markdown]
# ### Table 2: the networks for CIFAR
#
# For 32×32 images the stem is one 3×3 convolution and there are three equal blocks. Without a
# bottleneck the depth is $L = 3n + 4$, with one $L = 6n + 4$.

# %% tags=["hide-input"]
cifar = study.table_2()
assert all(f"{row.parameters / 1e6:.1f}M" == row.printed for row in cifar)
table(
    ["network", "layers per block", "θ", "the paper prints", "counted"],
    [
        [
            row.name,
            row.config.block_config[0],
            f"{row.config.compression:g}",
            row.printed,
            row.parameters,
        ]
        for row in cifar
    ],
    caption="Table 2's CIFAR-10 networks: every count rounds to what the paper prints",
)

# %% [markdown]
# ### Two wrong builds, and what they teach
#
# Two other networks circulate under the name DenseNet-121. Both train, both have the right number of
# blocks, and both are a different network. With one channel and ten classes:

# %% tags=["hide-input"]
builds = mistakes.builds_called_densenet121()
right, every, bare = builds
assert (every.parameters, bare.parameters) == (23_245_586, 9_850_890)
table(
    ["build", "parameters", "what is wrong"],
    [[build.name, build.parameters, build.wrong_line] for build in builds],
)

# %% tags=["hide-input"]
say(f"""
In the first, the 1×1 convolution is taken for a layer of its own: it is $k$ wide instead of $4k$, and
its output is concatenated like any other. The block then grows twice as fast, and
{millions(right.parameters, 1)} become {millions(every.parameters, 1)}. The bottleneck's output is scaffolding:
the 3×3 convolution reads it, nobody else does.
""")

# %% tags=["hide-input"]
source(mistakes.EveryConvolutionIsAFeature)

# %% tags=["hide-input"]
say(f"""
The second takes the book's block (one 3×3 convolution, no bottleneck) and Table 1's numbers of
layers. It has half the convolutions, {bare.parameters / right.parameters - 1:.0%} more parameters, and
a depth of {sum(config.block_config) + 5}, not {d121.depth}.
""")

# %% [markdown]
# ## What people say, checked

# %% tags=["hide-input"]
claims(
    [
        (
            "DenseNet-121 has 121 layers.",
            "holds with a condition",
            f"It has {d121.depth} *weighted* layers if convolutions and the classifier count and "
            "normalisations do not. Counted that way 169, 201 and 161 are right too.",
        ),
        (
            "DenseNet-264 has 264 layers.",
            "does not hold",
            f"By the same count it has {d264.depth}.",
        ),
        (
            "The bottleneck makes the network larger: it adds a convolution to every layer.",
            "does not hold",
            f"The same layers without it have {count(bare.parameters)} parameters, with it "
            f"{count(right.parameters)} (one channel, ten classes; the first also has biases). The 3×3 "
            "convolution then reads $4k$ channels instead of up to a thousand.",
        ),
        (
            "A DenseNet for ImageNet works for any image.",
            "holds with a condition",
            f"Stem and transitions halve the image five times. Below {config.minimum_resolution} pixels a "
            "side nothing is left to pool, and our networks say so.",
        ),
    ]
)

# %% [markdown]
# ## Use it

# %%
from densenet_solutions.models import cifar_densenet, densenet121

model = densenet121(num_classes=10, in_channels=1)  # every option of DenseNetConfig
small = cifar_densenet(100, 12, bottleneck=True)
print(small.config.block_config, small.config.depth)

# %% [markdown]
# torchvision's trained weights load too, once downloaded (about 31 MB for DenseNet-121):
#
# ```python
# from torchvision.models import DenseNet121_Weights
# from densenet_solutions.models import densenet121, load_torchvision_weights
#
# model = densenet121()
# weights = DenseNet121_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
# load_torchvision_weights(model, weights)
# ```
#
# The file spells some keys in an old way (`norm.1` for `norm1`). `load_torchvision_weights` renames
# them, so it takes the file's keys as well as those of a torchvision model. There are no published
# weights for DenseNet-264.

# %% tags=["hide-input"]
source(module.load_torchvision_weights)

# %% [markdown]
# An impossible request is refused with its reason:

# %%
try:
    densenet121(compression=1.5)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Sources
#
# - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional Networks*,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993): section 3, Tables 1, 2 and 3.
# - The DenseNets of [torchvision](https://docs.pytorch.org/vision/stable/models/densenet.html), which
#   the parity check runs against.
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving Deep into Rectifiers*,
#   [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): the initialisation.
#
# ## How these numbers were made

# %% tags=["hide-input"]
how_made()
