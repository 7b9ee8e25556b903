# %% [markdown]
# # The book's DenseNet
#
# The book builds a small DenseNet and ends with five questions. This page introduces that
# network: its three parts, as code, as a drawing, and as the shapes of a real forward pass. If you
# have read [section 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html), skim it; the
# exercises lean on its names.

# %%
from densenet_solutions.exercises.table_1 import pictures, study
from densenet_solutions.measure import count_flops, count_parameters
from densenet_solutions.models import book_densenet, densenet
from densenet_solutions.site.numbers import count, millions, percent
from densenet_solutions.site.page import how_made, source
from densenet_solutions.site.tables import table

model = book_densenet()
total = count_parameters(model).total
traced = study.trace(model, (1, 1, 96, 96))
blocks = [row for row in traced if row.stage.startswith("denseblock")]
transitions = [row for row in traced if row.stage.startswith("transition")]
assert total == sum(row.parameters for row in traced)

# %% [markdown]
# ## The idea
#
# In a chain of layers, each one reads only its predecessor. In a **dense block** each layer reads
# the block's input *and the outputs of all layers before it*, concatenated along the channels:
#
# $$x_\ell = H_\ell([x_0, x_1, \dots, x_{\ell-1}]) .$$
#
# Here $x_0$ is the block's input. Every later $x_\ell$ has the same small number of channels, the
# **growth rate** $k$.

# %%
pictures.dense_connections(4)

# %% [markdown]
# ## Three parts
#
# The **layer** is $H_\ell$: batch normalisation, ReLU, a 3×3 convolution. (The paper's own networks
# put a 1×1 *bottleneck* convolution first; the book's has none, `bn_size=None`. See [exercise
# 4](exercises/4-table-1.py).)
#
# {{ source(densenet.DenseLayer) }}
#
# The **dense block** is a loop: compute, append, go on.
#
# {{ source(densenet.DenseBlock) }}
#
# Channels only ever grow inside a block, so between two blocks a **transition** takes some away: a
# 1×1 convolution halves them and a pooling halves the image. Which pooling, and why, is [exercise
# 1](exercises/1-average-pooling.py).
#
# {{ source(densenet.Transition) }}
#
# ## The whole network
#
# A stem, four dense blocks of four layers with $k = 32$, three transitions, a classifier.

# %%
before = [traced[3], *transitions]
pictures.staircase(
    [4] * len(blocks),
    [(a.output_shape[1], b.output_shape[1]) for a, b in zip(before, blocks)],
    [block.output_shape[-1] for block in blocks],
    name="The book's DenseNet",
)

# %%
table(
    traced,
    {
        "stage": "stage",
        "what it is": "what",
        "output (C×H×W)": lambda row: "×".join(map(str, row.output_shape[1:])),
        "parameters": "parameters",
    },
    caption="Every stage as a forward pass met it: one image of 1×96×96",
)

# %%
in_blocks = sum(row.parameters for row in blocks)
at_96, at_224 = (count_flops(model, (1, 1, side, side)).multiply_adds for side in (96, 224))
_, channels, height, width = blocks[-1].output_shape

# %% [markdown]
# In all {{ count(total) }} parameters, {{ percent(in_blocks / total, 0) }} of them in the dense
# blocks, and {{ millions(at_96, 0) }} multiply-adds for an image of 96×96
# ({{ millions(at_224, 0) }} at 224×224). The last block leaves {{ channels }} channels of
# {{ height }}×{{ width }}, averaged over the image before the classifier reads them.
#
# ## Run it yourself

# %% tags=["show"]
import torch

from densenet_solutions.models import book_densenet

model = book_densenet()
logits = model(torch.randn(8, 1, 96, 96))
logits.shape

# %% [markdown]
# ## How these numbers were made
#
# {{ how_made() }}
