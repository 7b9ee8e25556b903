# %% [markdown]
# # The book's DenseNet
#
# This page shows the small DenseNet of [D2L, section
# 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html): how it grows, what a training step
# keeps of it, and its shapes. The exercises use the [words](#words) that it introduces; there
# you also find what *counted* or *predicted* above a figure means.

# %%
from densenet_solutions.check.box import number_box
from densenet_solutions.exercises.network.layer import bottleneck, operations
from densenet_solutions.exercises.network.ledger import ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames
from densenet_solutions.exercises.network.widening import widening
from densenet_solutions.exercises.table_1 import pictures, study
from densenet_solutions.measure import count_flops, count_parameters
from densenet_solutions.models import book_densenet
from densenet_solutions.site.numbers import count, millions, percent
from densenet_solutions.site.page import how_made
from densenet_solutions.site.tables import table

model = book_densenet()
total = count_parameters(model).total
traced = study.trace(model, (1, 1, 96, 96))
blocks = [row for row in traced if row.stage.startswith("denseblock")]
assert total == sum(row.parameters for row in traced)
widths = model.config.block_widths
widest = max(study.channels_read(model.config))
assert widest < 230

# %% [markdown]
# !!! turn "Your turn"
#     The book's DenseNet begins with a *stem*: a 7 × 7 convolution from one channel to 64, and a
#     normalisation. It has four blocks of four layers; a layer is a normalisation and a 3 × 3 convolution,
#     and adds 32 channels. After each block but the last a transition, a normalisation and a 1 × 1
#     convolution, halves the channels. One more normalisation stands before the classifier. How many
#     channels reach the classifier? And how many parameters does the network have, for ten classes, if
#     convolutions have biases, as in the book?
#
#     [guess: channels] [guess: parameters]
#
#     ??? hint "Hint 1: one block at a time"
#         A block adds 4 × 32 channels to what it gets.
#
#     ??? hint "Hint 2: where the parameters are"
#         A layer that reads $c$ channels has $9 \cdot 32\,c$ weights in its convolution. The book's
#         convolutions have biases, and a normalisation has two numbers a channel.
#
#     ??? hint "Type it, and see"
#         {{ number_box(1_019_722) }}
#
#     ??? solution "Compare"
#         {{ widths[-1][1] }} channels, and {{ count(total) }} parameters:
#         {{ " + ".join(count(row.parameters) for row in traced if row.parameters) }}, from the stem's
#         convolution to the classifier.
#
# ## Every layer reads all earlier ones
#
# In a chain each layer reads only its predecessor. In a **dense block** layer $H_\ell$ reads the
# block's input $x_0$ *and* what all layers before it wrote: $x_\ell = H_\ell([x_0, x_1, \dots,
# x_{\ell-1}])$. The brackets join channels.

# %%
pictures.dense_connections(4, "Four layers have ten connections; a chain would have four.")

# %% [markdown]
# ## So each layer reads more than the last
#
# Every layer appends the same small number of new channels, the **growth rate** $k$. Step through a
# block.

# %%
widening()

# %% [markdown]
# ## What a training step keeps
#
# The gradient of a convolution's weights needs what the convolution read, and a normalisation's needs
# what it read. So in the *plain* block, as PyTorch runs it, every layer keeps two tensors until its
# gradient has been computed: what it reads, and the same after normalisation and ReLU. From the second
# layer on, what it reads is a fresh concatenation. So most of this is the same features again, raw or
# normalised.
#
# Two other ways are shown beside it. *Recomputing* throws away what a layer made inside, and runs the layer
# again in the backward pass. *Shared storage* has one buffer for all features of a block. Layers append to
# it and read from it, and the backward pass computes the rest again. On a CPU both passes take a few images
# of the batch at a time (a *slice*), so that temporary tensors stay small. Drag through one step, forward and back. (A ReLU keeps
# only its own output. The normalised tensor before it is let go.)
#
# The book's first block · 8 images of 224², 56 × 56 here · float32 · predicted, shared storage as on a CPU
# { .ds-setup }

# %%
plain, again, shared = (ledger(name) for name in ("plain", "recompute_layer", "shared_storage"))
assert sum(plain.kept().values()) > 4 * sum(shared.kept().values())
most = [max(m.peak_channels for m in book.moments) for book in (plain, again, shared)]
kept_by_plain, leaving = round(sum(plain.kept().values())), 64 + 4 * 32
assert round(most[0]) == kept_by_plain + leaving + 2 * (leaving - 32)
assert sum(again.kept().values()) < sum(shared.kept().values()) and most[0] > most[1] > most[2]
ledger_frames([plain, again, shared])

# %% tags=["lines"]
import torch

from densenet_solutions.models import book_densenet

block = book_densenet().features.denseblock1
x = torch.randn(8, 64, 56, 56, requires_grad=True)
weights = {p.untyped_storage().data_ptr() for p in block.parameters()}
kept = {}


def note(tensor):  # autograd hands over all that it keeps
    storage = tensor.untyped_storage()
    if storage.data_ptr() not in weights:
        kept[storage.data_ptr()] = storage.nbytes()
    return tensor


with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
    y = block(x)
channel = 4 * x[:, 0].numel()  # bytes
channels = sum(kept.values()) / channel  # norms' statistics counted in
round(channels, 2)

# %%
assert 0 <= channels - sum(plain.kept().values()) < 0.1

# %% [markdown]
# At the turn recomputing seems to keep least. But its output, dashed, is a second copy, which the
# transition will keep; with shared storage the output is the buffer. What this block, taken alone, needs is
# the most that it holds at once. In the plain block that is {{ count(round(most[0])) }} channels, at the
# first step back: {{ count(kept_by_plain) }} kept, {{ leaving }} of the gradient that arrives, and twice
# {{ leaving - 32 }} of gradients inside the last layer. With recomputing it is
# {{ count(round(most[1])) }}, with shared storage {{ count(round(most[2])) }}. (A
# whole plain network holds at its turn what all blocks have kept. With many images its peak is there; with
# recomputing and with shared storage it comes later, in the backward pass.)
#
# Why that matters is [exercise 3.1](exercises/3-1-memory.py); how to keep each feature once is
# [exercise 3.2](exercises/3-2-saving-memory.py).
#
# ## Layer and transition
#
# The book's layer is normalisation, ReLU, a 3×3 convolution. The paper's ImageNet networks put
# normalisation, ReLU and a 1×1 convolution before that, the *bottleneck*. Between two blocks a
# **transition** halves channels and image. Drawn are the first layer and the first transition of
# DenseNet-121.

# %%
operations()

# %% [markdown]
# A bottleneck pays only in wide layers. Drag: below some 230 channels it costs weights, above it saves
# them. No layer of the book's network reads more than {{ widest }}.

# %%
bottleneck()

# %% [markdown]
# ## The whole network
#
# The book's DenseNet · 96² · shapes and counts of a forward pass
# { .ds-setup }

# %%
assert [row.output_shape[1] for row in blocks] == [leaving for _, leaving in widths]
pictures.hourglass(
    [4] * len(blocks),
    widths,
    [block.output_shape[-1] for block in blocks],
    caption="Four blocks of four layers: channels grow, transitions halve them, the image shrinks. "
    "The first bar of a block is what enters it.",
)

# %%
table(
    [row for row in traced if row.parameters > 600],
    {
        "stage": "stage",
        "parameters": "parameters",
        "output": lambda row: "×".join(map(str, row.output_shape[1:])),
        "what it is": "what",
    },
    caption="Not listed are two normalisations, with "
    f"{count(total - sum(row.parameters for row in traced if row.parameters > 600))} parameters "
    "together. ReLUs and pools have none; the stem's maximum pool halves 48² to 24². Outputs are "
    "channels × height × width",
)

# %%
assert [0 < row.parameters <= 600 for row in traced].count(True) == 2
assert traced[0].output_shape[-1] == 48 and blocks[0].output_shape[-1] == 24
in_blocks = sum(row.parameters for row in blocks)
at_96 = count_flops(model, (1, 1, 96, 96)).multiply_adds

# %% [markdown]
# In all {{ count(total) }} parameters, {{ percent(in_blocks / total, 0) }} of them in the blocks,
# and {{ millions(at_96, 0) }} multiply-adds for an image of 96². As code it is one class and a
# configuration:

# %% tags=["show"]
from pprint import pprint

from densenet_solutions.models import book_densenet

pprint(book_densenet().config)

# %% [markdown]
# ## Words
#
# **Stem**: what stands before the first block. **Head**: what stands after the last one,
# a normalisation, pooling and classifier. **Growth rate** $k$: the channels that a layer writes. **Bottleneck**: a 1×1 convolution that
# brings what a layer reads to $4k$ channels, fewer than most layers of the ImageNet networks read.
# **Compression** $\theta$: the share of channels that a transition keeps. **BC** in a network's name: with
# a bottleneck in every layer, and $\theta = ½$. **Recomputation** (gradient checkpointing): forget what
# is inside a layer or a block and compute it again in the backward pass. **Shared storage**: one buffer for
# all features of a block.
#
# Above most figures and tables you see where their numbers come from. *Counted*: added up from the shapes of
# tensors or from the network itself. *Predicted*: a step was followed on PyTorch's meta device, where
# tensors have no contents. *Simulated*: the rules of a GPU's allocator were played through with a predicted
# step. *Measured*: a clock, an allocator or a test set said so. *Recorded*: it was computed or measured before
# this site was built, and the file is in the repository.
#
# !!! check "Check yours"
#     Type the book's block, and be told what differs: `check.dense_block(MyBlock(64, 32, 4), 64, 32, 4,
#     bn_size=None)`; `check.densenet(MyNet(), "book-densenet")` takes the whole network. The block is
#     the first file of the [course](reference/check.md#the-exercises-as-a-course).
#
# ??? apparatus "Records, versions"
#     {{ how_made() }}
