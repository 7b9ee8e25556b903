# %% [markdown]
# # The book's DenseNet
#
# This page shows the small DenseNet of [D2L, section
# 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html): how it grows, what a training step
# keeps of it, and its shapes. The exercises lean on these names.

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

# %% [markdown]
# !!! turn "Your turn"
#     The book's DenseNet begins with 64 channels. It has four blocks of four layers, each layer adds
#     32 channels, and a transition after each block but the last halves them. How many channels reach
#     the classifier? And how many parameters has the network, for one channel and ten classes?
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
#         {{ widths[-1][1] }} channels, and {{ count(total) }} parameters.
#
# ## Everybody reads everything before
#
# In a chain each layer reads only its predecessor. In a **dense block** layer $H_\ell$ reads the
# block's input $x_0$ *and* what all layers before it wrote: $x_\ell = H_\ell([x_0, x_1, \dots,
# x_{\ell-1}])$. The brackets join channels.

# %%
pictures.dense_connections(4, "Four layers have ten connections; a chain would have four.")

# %% [markdown]
# ## So what is read gets wider
#
# Every layer appends the same small number of new channels, the **growth rate** $k$. Step through a
# block.

# %%
widening()

# %% [markdown]
# ## What a training step keeps
#
# The gradient of a convolution's weights needs what the convolution read, and a normalisation's needs
# what it read. So in the *plain* block, as PyTorch runs it, every layer keeps all that it reads (from the
# second on joined anew) and a copy that is normalised and rectified, until the gradient has passed. Most
# of that is copies of the same features. Two other ways stand beside it. *Recomputing* a layer lets go of
# what is inside it, and runs it again in the backward pass. *Shared storage* has one buffer for all
# features of a block, and works through the batch in slices. Drag through one step, forward and back.
#
# The book's first block · 8 × 56² · float32 · counted, shared storage in a CPU's slices
# { .ds-setup }

# %%
plain, again, shared = (ledger(name) for name in ("plain", "recompute_layer", "shared_storage"))
assert sum(plain.kept().values()) > 4 * sum(shared.kept().values())
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
# Why that matters is [exercise 3.1](exercises/3-1-memory.py); how to keep each feature once is
# [exercise 3.2](exercises/3-2-saving-memory.py).
#
# ## Layer and transition
#
# The book's layer is normalisation, ReLU, a 3×3 convolution. The paper's ImageNet networks put a
# 1×1 *bottleneck* convolution before it, as drawn here. Between two blocks a **transition** halves
# channels and image.

# %%
operations()

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
    caption="Four blocks of four layers: channels grow, transitions halve them, the image shrinks.",
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
    caption="All stages with parameters but two normalisations, which have "
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
# **Growth rate** $k$: the channels that a layer writes. **Bottleneck**: a 1×1 convolution that
# brings what a layer reads to $4k$ channels, fewer than most layers of the ImageNet networks read.
# **Compression** $\theta$: the share of channels that a transition keeps. **BC** in a network's name: with
# a bottleneck in every layer, and $\theta = ½$. **Recomputation** (gradient
# checkpointing): forget what is inside a layer or a block and compute it again in the backward pass. **Shared storage**: one
# buffer for all features of a block.
#
# !!! check "Check yours"
#     Type the book's block, and be told what differs: `check.dense_block(MyBlock(64, 32, 4), 64, 32, 4,
#     bn_size=None)`; `check.densenet(MyNet(), "book-densenet")` takes the whole network. The block is
#     the first file of the [course](reference/check.md#the-exercises-as-a-course).
#
# ??? apparatus "Records, versions"
#     {{ how_made() }}
