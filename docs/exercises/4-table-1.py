# %% [markdown]
# # Exercise 4: every network of Table 1
#
# ## The question
#
# Table 1 of the DenseNet paper lists four networks for ImageNet. The book asks you to build them
# all. ([D2L, section 8.7, exercise
# 4](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %%
import re

from densenet_solutions.exercises.table_1 import mistakes, pictures, study
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models import densenet as module
from densenet_solutions.site.numbers import apart, billions, count, decimal, millions, percent
from densenet_solutions.site.page import how_made, source
from densenet_solutions.site.tables import KEY, table

rows = study.table_1()
by_name = {row.name: row for row in rows}
d121, d264 = by_name["DenseNet-121"], by_name["DenseNet-264"]
stages = {
    name: {row.stage: row for row in traced} for name, traced in study.table_1_stages().items()
}
parity = study.parity_with_torchvision(resolution=32)
assert all(row.parameters == row.recorded_parameters for row in rows)
assert parity.equal_keys and max(parity.logits, parity.gradients) < 1e-10 * parity.scale


def with_percent(error):
    return f"{decimal(error)}%"


# %% [markdown]
# ## In one breath
#
# One class builds them all; a row of Table 1 is a row of data. DenseNet-121 comes to
# {{ count(d121.parameters) }} parameters and {{ billions(d121.multiply_adds, 3) }} multiply-adds at
# 224×224, DenseNet-264 to {{ count(d264.parameters) }}. With the weights of a freshly initialised
# torchvision network copied over, our DenseNet-121 gives torchvision's logits
# {{ apart(parity.logits) }} and its gradients {{ apart(parity.gradients) }}, in float64, checked
# while this page was built.
#
# ## Try it first
#
# ??? question "Hint 1: what the book leaves out"
#     The book's block is a single 3×3 convolution. Table 1's is a pair, and the first of the pair
#     is 1×1. How wide is its output, and is that output a feature that later layers read?
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

# %%
config = DenseNetConfig()
resolutions = [
    row.output_shape[-1]
    for name, row in stages["DenseNet-121"].items()
    if name.startswith("denseblock")
]
pictures.staircase(config.block_config, config.block_widths, resolutions, name="DenseNet-121")

# %% [markdown]
# ### The layer, the block, the transition
#
# This is all the code there is to the architecture. $H_\ell$ is the paper's composite function with
# the bottleneck of DenseNet-B:
#
# {{ source(module.DenseLayer) }}
#
# {{ source(module.DenseBlock) }}
#
# {{ source(module.Transition) }}
#
# ### Table 1, from the running networks
#
# Output sizes are read from a forward pass, layers are described by the modules themselves.
# (DenseNet-161, with $k = 48$, stands in the paper's earlier versions.)

# %%
shown = {
    name: row
    for name, row in stages["DenseNet-121"].items()
    if re.search("conv|pool|connected", row.what)
}


def without_numbers(row):
    """What the networks have in common: `"[1×1 conv, 128; 3×3 conv, 32] × 6"` → the brackets."""
    return re.sub(r", \d+(?=[,;\]]|$)|^\d+-d | × \d+$", "", row.what)


def number(row):
    """Layers of a block; of other stages the channels that leave them."""
    return row.what.rpartition("× ")[2] if "]" in row.what else str(row.output_shape[1])


for name in shown:
    assert len({without_numbers(traced[name]) for traced in stages.values()}) == 1, name
table(
    shown,
    {
        "stage": KEY,
        "output": lambda row: "×".join(map(str, row.output_shape[2:])) or "1×1",
        "what it is": without_numbers,
        **{name.removeprefix("DenseNet-"): (traced, number) for name, traced in stages.items()},
    },
    caption="Table 1 at 224×224. Numbers: the layers of a block, and elsewhere the channels that "
    "leave the stage. In a layer the 1×1 convolution is 4k channels wide and the 3×3 convolution k",
)

# %%
table(
    rows,
    {
        "network": "name",
        "k": "config.growth_rate",
        "layers per block": lambda row: ", ".join(map(str, row.config.block_config)),
        "parameters": "parameters",
        "multiply-adds": ("multiply_adds", billions),
        "top-1 error": ("top1_error", with_percent),
        "top-5 error": ("top5_error", with_percent),
    },
    caption="Counted here; errors on ImageNet, single crop, as the paper's Table 3 prints them "
    "(torchvision's own weights, which exercise 2 uses, differ a little)",
)

# %% [markdown]
# ### Is 264 really 264?
#
# The number in a name counts the weighted layers on the path: two convolutions per dense layer, one
# per transition, one in the stem, and the classifier, $2\sum_b n_b + 5$ in all.

# %%
assert [row.name for row in rows if row.name != f"DenseNet-{row.depth}"] == ["DenseNet-264"]
assert d264.config.block_config == (6, 12, 64, 48)
assert all(2 * sum(row.config.block_config) + 5 == row.depth for row in rows)
table(
    rows,
    {
        "network": "name",
        "2 × layers + 5": lambda row: f"2 × {sum(row.config.block_config)} + 5",
        "depth": "depth",
    },
)

# %% [markdown]
# All names are right but one: the row called 264, with blocks of 6, 12, 64 and 48 layers, has
# **{{ d264.depth }}** weighted layers. An even number is impossible by this count. We keep the
# paper's name and the paper's blocks.
#
# ### The same function as torchvision's
#
# Module names equal torchvision's, so a state dict moves in both directions with `strict=True`.
# That makes an exact check possible: same weights, same images, one training step, in float64.

# %%
table(
    {
        "names and shapes of all tensors": "none",
        "logits": apart(parity.logits),
        "gradients of all parameters": apart(parity.gradients),
    },
    {"compared": KEY, "largest difference": str},
    caption="DenseNet-121 of torchvision and ours; the largest gradient entry is "
    f"{decimal(parity.scale)}",
)

# %% [markdown]
# ### Table 2: the networks for CIFAR
#
# For 32×32 images the stem is one 3×3 convolution and there are three equal blocks. Without a
# bottleneck the depth is $L = 3n + 4$, with one $L = 6n + 4$.

# %%
cifar = study.table_2()
assert all(f"{row.parameters / 1e6:.1f}M" == row.printed for row in cifar)
table(
    cifar,
    {
        "network": "name",
        "layers per block": "config.block_config.0",
        "θ": ("config.compression", "g"),
        "the paper prints": "printed",
        "counted": "parameters",
    },
    caption="Table 2's CIFAR-10 networks: every count rounds to what the paper prints",
)

# %% [markdown]
# ### Two wrong builds, and what they teach
#
# Two other networks circulate under the name DenseNet-121. Both train, both have the right number
# of blocks, and both are a different network. With one channel and ten classes:

# %%
builds = mistakes.builds_called_densenet121()
right, every, bare = builds
table(builds, {"build": "name", "parameters": "parameters", "what is wrong": "wrong_line"})

# %%
more = bare.parameters / right.parameters - 1
bare_depth = sum(config.block_config) + 5
assert more > 0

# %% [markdown]
# In the first, the 1×1 convolution is taken for a layer of its own: it is $k$ wide instead of $4k$,
# and its output is concatenated like any other. The block then grows twice as fast, and
# {{ millions(right.parameters, 1) }} become {{ millions(every.parameters, 1) }}. The bottleneck's
# output is scaffolding: the 3×3 convolution reads it, nobody else does.
#
# {{ source(mistakes.EveryConvolutionIsAFeature) }}
#
# The second takes the book's block (one 3×3 convolution, no bottleneck) and Table 1's numbers of
# layers. It has half the convolutions, {{ percent(more, 0) }} more parameters, and a depth of
# {{ bare_depth }}, not {{ d121.depth }}.
#
# ## What people say, checked
#
# !!! holds-with-a-condition "DenseNet-121 has 121 layers."
#     It has {{ d121.depth }} *weighted* layers if convolutions and the classifier count and
#     normalisations do not. Counted that way 169, 201 and 161 are right too.
#
# !!! does-not-hold "DenseNet-264 has 264 layers."
#     By the same count it has {{ d264.depth }}.
#
# !!! does-not-hold "The bottleneck makes the network larger: it adds a convolution to every layer."
#     The same layers without it have {{ count(bare.parameters) }} parameters, with it
#     {{ count(right.parameters) }} (one channel, ten classes; the first also has biases). The 3×3
#     convolution then reads $4k$ channels instead of up to a thousand.
#
# !!! holds-with-a-condition "A DenseNet for ImageNet works for any image."
#     Stem and transitions halve the image five times. Below {{ config.minimum_resolution }} pixels
#     a side nothing is left to pool, and our networks say so.
#
# ## Use it

# %% tags=["show"]
from densenet_solutions.models import cifar_densenet, densenet121

model = densenet121(num_classes=10, in_channels=1)  # every option of DenseNetConfig
small = cifar_densenet(100, 12, bottleneck=True)
print(small.config.block_config, small.config.depth)

# %% [markdown]
# torchvision's trained weights load too, once downloaded (about 31 MB for DenseNet-121):
#
# ```python
# from torchvision.models import DenseNet121_Weights
# from densenet_solutions.models import densenet121, load_densenet_weights
#
# model = densenet121()
# weights = DenseNet121_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
# load_densenet_weights(model, weights)
# ```
#
# The file spells some keys in an old way (`norm.1` for `norm1`). `load_densenet_weights` renames
# them, so it takes the file's keys as well as those of a torchvision model. There are no published
# weights for DenseNet-264.
#
# An impossible request is refused with its reason:

# %% tags=["show"]
try:
    densenet121(compression=1.5)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Sources
#
# - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional
#   Networks*, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993): section 3, Tables 1, 2 and 3.
# - The DenseNets of [torchvision](https://docs.pytorch.org/vision/stable/models/densenet.html),
#   which the parity check runs against.
# - K. He, X. Zhang, S. Ren, J. Sun, *Delving Deep into Rectifiers*,
#   [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): the initialisation.
#
# ## How these numbers were made
#
# {{ how_made() }}
