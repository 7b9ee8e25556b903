# %% [markdown]
# # Exercise 3.1: Is DenseNet's memory consumption really high?
#
# !!! question "Exercise 3, first part"
#     DenseNet has been criticised for its memory. Is it really high? *Measure*: take images
#     of 224 × 224 instead of 96 × 96, and compare the *actual GPU memory* of the networks. ([D2L,
#     section 8.7, exercise
#     3](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises), in our words)

# %%
from dataclasses import replace
from itertools import pairwise

from densenet_solutions.exercises.memory import gpu, lines, pictures, study
from densenet_solutions.exercises.memory.batch_frames import batch_frames
from densenet_solutions.exercises.memory.fair import FairModel
from densenet_solutions.exercises.memory.own_process import OwnProcess
from densenet_solutions.exercises.memory.published import PublishedMemory, agreement
from densenet_solutions.exercises.memory.reported import Compared
from densenet_solutions.exercises.network.ledger import ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames
from densenet_solutions.exercises.parameters.study import RESNET_ERRORS
from densenet_solutions.measure.cuda_cache import CUBLAS_WORKSPACE_HOPPER
from densenet_solutions.models import TABLE_1
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import (
    billions,
    count,
    decimal,
    gib,
    mib,
    millions,
    milliseconds,
    percent,
    times,
)
from densenet_solutions.site.page import how_made, record_note
from densenet_solutions.site.tables import KEY, table

steps = study.book_steps(128, 224)
dense, resnet = steps["DenseNet"], steps["ResNet-18"]
peak = {name: mib(step.peak_bytes, 0) for name, step in steps.items()}
single = {name: step.peak_bytes for name, step in study.book_steps(1, 224).items()}
crossings = {resolution: study.crossing(resolution) for resolution in (96, 224)}
parameter_ratio = resnet.bytes_by_category["parameters"] / dense.bytes_by_category["parameters"]
memory_ratio = dense.peak_bytes / resnet.peak_bytes
assert 14.5 < parameter_ratio < 15.5 and 1.45 < memory_ratio < 1.55
assert single["DenseNet"] < single["ResNet-18"]
assert 1 < crossings[224] < crossings[96] < 128
grid_record = load_record("memory-grid")
grid = gpu.held(grid_record, load_record("memory-grid-predicted").cases)
case = {row.case.name: row for row in grid}
book_training = gpu.book_training(grid)
assert {row.gpu for row in grid if "book" in row.case.network} == {"H100"}
at_128 = {name: book_training[name, 224, 128] for name in lines.NETWORKS}
allocated = {name: row.measured.peak_bytes for name, row in at_128.items()}
reserved = {name: row.measured.reserved_bytes for name, row in at_128.items()}
gpu_ratio = allocated["DenseNet"] / allocated["ResNet-18"]
reserved_ratio = reserved["DenseNet"] / reserved["ResNet-18"]
own, own_8 = (
    from_json(OwnProcess, load_record("memory-own-process").cases[f"book-densenet b{batch}"])
    for batch in (128, 8)
)
assert 1.45 < gpu_ratio < 1.55 and reserved["DenseNet"] > 1.2 * reserved["ResNet-18"]


def inference(batch, precision="float32"):
    """What an H100 measured of the book's DenseNet and ResNet-18."""
    return [
        case[f"{key} 224 b{batch} infer {precision}"].measured for key in lines.NETWORKS.values()
    ]


infer = {batch: inference(batch) for batch in (1, 32, 128, 256)}
infer_ratio = {
    batch: ours.peak_bytes / theirs.peak_bytes for batch, (ours, theirs) in infer.items()
}
assert 0.19 < infer_ratio[1] < 0.22
assert 0.95 < infer_ratio[32] < 1 < infer_ratio[128] < infer_ratio[256] < 1.125
half, half_of_64 = (inference(n, "bfloat16") for n in (128, 64))
reserved_infer = {
    batch: ours.reserved_bytes / theirs.reserved_bytes for batch, (ours, theirs) in infer.items()
}
assert reserved_infer[1] < 0.5 and min(reserved_infer[32], reserved_infer[256]) > 1.3
assert reserved_infer[128] > 1.7 and half[0].reserved_bytes < 1.2 * half[1].reserved_bytes
assert half_of_64[0].reserved_bytes < half_of_64[1].reserved_bytes
of_121, of_50, of_161 = (
    case[f"{name} 224 b128 infer float32"] for name in ("densenet121", "resnet50", "densenet161")
)
assert (of_121.gpu, of_50.gpu, of_161.gpu) == ("H100", "H200", "H200")
assert of_121.measured.reserved_bytes < of_50.measured.reserved_bytes
assert of_50.measured.reserved_bytes < of_161.measured.reserved_bytes

# %% [markdown]
# !!! turn "Your turn"
#     The book's ResNet-18 has {{ times(parameter_ratio, 0) }} the parameters of its DenseNet. Which
#     of the two needs more memory in a training step with one image of 224 × 224? With 128 images?
#     From how many images on does the answer change?
#
#     [guess: 1 image] [guess: 128] [guess: from]
#
#     ??? hint "Hint 1: what has to be remembered?"
#         The backward pass of a convolution needs the convolution's input. Which tensors of a dense
#         block are inputs of something? How often is the same feature among them?
#
#     ??? hint "Hint 2: two kinds of memory"
#         Some memory grows with the batch, and some does not. Write the peak as $a + b\,N$ for both
#         networks. Which has the larger $a$, which the larger $b$?
#
#     ??? solution "Compare"
#         With one image ResNet-18: {{ mib(single["ResNet-18"], 0) }} against
#         {{ mib(single["DenseNet"], 0) }}. With 128 DenseNet: {{ peak["DenseNet"] }} against
#         {{ peak["ResNet-18"] }}. It changes at about {{ crossings[224] }} images.
#
#         See it without a GPU, and without the memory. Change the number of images until the order
#         changes.
#
#         ```python
#         from densenet_solutions.measure import predict_memory
#         from densenet_solutions.models import book_densenet, book_resnet18
#
#         for net in (book_densenet, book_resnet18):
#             peak = predict_memory(net, (1, 1, 224, 224)).peak_bytes
#             print(net.__name__, peak / 2**20, "MiB")
#         ```
# !!! answer "The answer"
#     In training with many images, yes. The book's DenseNet takes half as much memory again as its
#     ResNet-18, with a fifteenth of the parameters, because its layers and transitions keep copies of the
#     features before them for the backward pass. With few images, no. At inference nothing is kept, and with many
#     images DenseNet allocates up to an eighth more^[At inference in float32 (H100, 224²) DenseNet allocates a fifth of
#     what ResNet-18 does with one image, {{ times(infer_ratio[32], 2) }} with 32 and
#     {{ times(infer_ratio[256], 2) }} with 256. With 128 PyTorch *reserves*
#     {{ times(reserved_infer[128]) }} as much for it.].
#
#     - **{{ times(gpu_ratio) }}** ResNet-18's memory on an H100, allocated for 128 images of 224 × 224
#     - **{{ gib(reserved["DenseNet"]) }}** that PyTorch took from the card for DenseNet, for now or later;
#       for ResNet-18 {{ gib(reserved["ResNet-18"]) }} ({{ times(reserved_ratio) }})
#     - **{{ crossings[224] }}** images, about, from which on DenseNet needs more^[Predicted. On the
#       H100 it is below ResNet-18 with 1 image and above with 8.]
#
# ## One training step, watched
#
# You need no GPU to watch a training step. On PyTorch's *meta* device tensors have a shape and no
# contents, so any batch fits on any laptop. We run the step there, and follow every tensor from birth
# to death.
#
# The book's networks · 128 × 224², 1 channel · float32, no optimizer · predicted
# { .ds-setup }

# %%
pictures.step_timelines(steps)

# %%
share = {
    name: step.bytes_by_category["activations"] / step.peak_bytes for name, step in steps.items()
}
assert min(share.values()) > 0.8
assert all(step.bytes_by_category["gradients"] < 2**20 for step in steps.values())

# %% [markdown]
# *Activations*, tensors that wait for the backward pass, are {{ percent(share["DenseNet"], 0) }} of
# DenseNet's peak and {{ percent(share["ResNet-18"], 0) }} of ResNet-18's. The peak comes where the
# forward pass ends. Almost no parameter has its gradient yet.
#
# ## What is kept
#
# What are these activations? A dense layer reads everything before it as one concatenated tensor. PyTorch
# makes that tensor anew for every layer (in our code after the first), and keeps it; it keeps a normalised
# copy, too. Drag
# through one block, and watch the early features come again and again.
#
# The book's first block · 8 images, 56 × 56 · float32 · counted
# { .ds-setup }

# %%
ledger_frames([ledger("plain")])

# %%
in_blocks = study.kept_in_blocks(128, 224)
kept = study.kept_by_part(128, 224)
dense_kept, resnet_kept = (kept[name] for name in lines.NETWORKS)
assert all(
    abs(sum(kept[name].values()) / steps[name].most("activations") - 1) < 0.01 for name in kept
)
assert abs(sum(in_blocks.values()) / dense_kept["blocks"] - 1) < 0.001
assert dense_kept["stem"] == resnet_kept["stem"]
after_stem = dense_kept["blocks"] + dense_kept["transitions"]
assert 1.8 < after_stem / resnet_kept["blocks"] < 2
parts = {
    "stem": (dense_kept["stem"], resnet_kept["stem"]),
    "blocks, what they are given": (in_blocks["input"], None),
    "blocks, concatenated copies": (in_blocks["concatenation"], None),
    "blocks, normalised copies": (in_blocks["normalised"], None),
    "transitions": (dense_kept["transitions"], None),
    "stages of ResNet-18": (None, resnet_kept["blocks"]),
    "end": (dense_kept["end"], resnet_kept["end"]),
}

# %% [markdown]
# Here is the whole network. Both stems keep the same, {{ mib(dense_kept["stem"], 0) }}. The difference comes
# after them: {{ mib(after_stem, 0) }} in DenseNet's blocks and transitions (a transition keeps both copies once
# more, and what it pools), {{ mib(resnet_kept["blocks"], 0) }} in ResNet-18's stages.
#
# The book's networks · 128 × 224² · float32 · counted
# { .ds-setup }

# %%
table(
    parts,
    {"kept for the backward pass": KEY, "DenseNet": (0, mib, 0), "ResNet-18": (1, mib, 0)},
    caption=f"The stems keep the same, DenseNet's blocks and transitions "
    f"{times(after_stem / resnet_kept['blocks'])} what ResNet-18's stages keep. At its end DenseNet "
    "normalises once more.",
)

# %%
lines_record = load_record("memory-lines")
by_side = lines.read(lines_record.cases)
assert all(
    dict(zip(peaks.batches, peaks.held))[128] == steps[name].peak_bytes
    for name, peaks in by_side[224].items()
)
(dense_a, dense_b), (resnet_a, resnet_b) = (by_side[224][name].line for name in lines.NETWORKS)
assert dense_a < resnet_a and dense_b > resnet_b
at_8 = lines.BATCHES.index(8)
fixed_8 = [by_side[224][name].fixed[at_8] for name in lines.NETWORKS]
slopes = [  # with few images
    (peaks.held[at_8] - peaks.held[at_8 - 1]) / 4
    for peaks in (by_side[224][name] for name in lines.NETWORKS)
]
assert lines.BATCHES[at_8 - 1] == 4
assert crossings[224] - 1 < (fixed_8[1] - fixed_8[0]) / (slopes[0] - slopes[1]) < crossings[224]
one, eight = (
    {name: book_training[name, 224, batch].measured.peak_bytes for name in lines.NETWORKS}
    for batch in (1, 8)
)
one_workspace = book_training["DenseNet", 224, 1].workspace
assert one["DenseNet"] < one["ResNet-18"] and eight["DenseNet"] > eight["ResNet-18"]
assert 1 < crossings[224] <= 8
[context] = {row.measured.context_bytes for row in at_128.values()}
[before] = {row.taken_bytes - row.measured.reserved_bytes - context for row in at_128.values()}
assert 2 * CUBLAS_WORKSPACE_HOPPER <= before < 2 * CUBLAS_WORKSPACE_HOPPER + 4 * 2**20
begun = gpu.first_steps(grid, grid_record)
assert book_training["DenseNet", 224, 1].case.name in begun
at_96 = [
    row.case.name in begun
    for (name, side, batch), row in book_training.items()
    if (name, side) == ("DenseNet", 96) and batch <= 64
]
assert sum(at_96) == 3 and len(at_96) == 4

# %% [markdown]
# That is the answer to *why*, and [exercise 3.2](3-2-saving-memory.py) starts from it.
#
# ## Where the lines cross
#
# With $N$ images the peak is nearly $a + b\,N$. ResNet-18 has the larger $a$: it has more parameters, and
# they do not grow with the images. With few images its peak comes in the backward pass, when gradients are
# alive too, so its parameters count nearly twice: {{ mib(fixed_8[1], 0) }} with eight images of 224², of
# DenseNet's peak {{ mib(fixed_8[0], 0) }}. DenseNet has the larger $b$, there {{ mib(slopes[0]) }} an image
# against {{ mib(slopes[1]) }}. So the lines must cross, at ({{ decimal(fixed_8[1] / 2**20, 0) }} −
# {{ decimal(fixed_8[0] / 2**20, 0) }}) / ({{ decimal(slopes[0] / 2**20, 1) }} −
# {{ decimal(slopes[1] / 2**20, 1) }}), between {{ crossings[224] - 1 }} and {{ crossings[224] }} images. (With many
# images ResNet-18's line is [another](3-1b-trust.py#the-lines-in-numbers).)
#
# The book's networks · float32, no optimizer · lines predicted, rings measured on an H100
# { .ds-setup }

# %%
pictures.batch_lines(
    {side: by_side[side] for side in (96, 224)},
    crossings,
    measured={key: row for key, row in book_training.items() if key[1] == 224},
    last=64,
)

# %% [markdown]
# The H100 agrees: with eight images DenseNet is above ResNet-18, {{ mib(eight["DenseNet"], 0) }} against
# {{ mib(eight["ResNet-18"], 0) }}, and with one below it^[With one image {{ mib(one["DenseNet"], 0) }} against
# {{ mib(one["ResNet-18"], 0) }}, of which {{ mib(one_workspace, 0) }} of DenseNet's are libraries' workspace.
# It was probably the first step of its process, and [that
# counts](3-1b-trust.py#where-the-errors-come-from). At 96² three of DenseNet's four steps up to 64 images
# were probably first steps too, so no rings are drawn there.].
#
# The larger the images, the fewer of them it takes until DenseNet needs more ([all the
# lines](3-1b-trust.py#the-lines-in-numbers)). Find the place yourself. Dotted marks are what PyTorch's
# allocator would *reserve*, take from the card for now or later; the [next section](#what-a-gpu-shows)
# says how that is known.
#
# The book's networks · float32, no optimizer · bars and dotted marks predicted, solid marks measured on
# an H100
# { .ds-setup }

# %%
batch_frames(
    by_side,
    {key: row.measured.reserved_bytes for key, row in book_training.items()},
    begun={key for key, row in book_training.items() if row.case.name in begun},
    gpu="H100",
)

# %% [markdown]
# {{ record_note(lines_record) }}
#
# ## What a GPU shows
#
# On a GPU three numbers are called memory, and they differ.
#
# 1. **Allocated**: what tensors take, rounded up^[To pieces of 512 bytes; above 1 MiB a piece that is up
#    to 1 MiB too large is not split.], and scratch memory (*workspace*) that libraries such as cuDNN ask for.
#    `torch.cuda.max_memory_allocated()` shows it.
# 2. **Reserved**: what PyTorch's allocator has taken from the card. It keeps freed pieces for later, and
#    pieces of the wrong size cannot be used. This decides what fits^[Not quite: under pressure the
#    allocator first gives back what is free and tries again.].
# 3. **Gone from the card**: reserved, and what CUDA needs for itself (its *context*) and libraries keep:
#    {{ mib(context, 0) }} in the two steps below^[And {{ mib(before, 0) }} that PyTorch had reserved before
#    they began, and that our first two numbers leave out.]. nvidia-smi shows such a number.
#
# The allocator's rules are published code, so the first two can be *simulated*: play every birth and
# death of a tensor through them^[One size is no published rule: what a convolution takes while it runs.
# We [inferred it](3-1b-trust.py#on-our-own-gpus) from what training reserved, in these steps too.]. The
# {{ peak["DenseNet"] }} of DenseNet's tensors become {{ mib(at_128["DenseNet"].predicted.allocated_bytes, 0) }}
# when rounded up, with workspace for cuBLAS. This is what the simulation says without a GPU, and what a GPU
# said.
#
# The book's networks · 128 × 224² · float32 · predicted without a GPU, measured on an H100
# { .ds-setup }

# %%
table(
    at_128,
    {
        "network": KEY,
        "allocated, predicted": ("predicted.allocated_bytes", mib, 0),
        "measured": ("measured.peak_bytes", mib, 0),
        "reserved, simulated": ("predicted.reserved_bytes", mib, 0),
        "measured ": ("measured.reserved_bytes", mib, 0),
        "gone from the card": ("taken_bytes", mib, 0),
    },
    caption="Allocated is predicted to a hundredth, reserved to two hundredths. What PyTorch held before is in "
    "the last column only.",
)

# %%
assert all(abs(row.allocated_error) < 0.01 for row in at_128.values())
assert all(abs(row.reserved_error) < 0.02 for row in at_128.values())
large = gpu.large_steps(grid)
in_float32 = large["training, float32"]
of_allocated = gpu.agreement(in_float32, lambda row: row.allocated_error)
in_bfloat16 = gpu.agreement(large["training, bfloat16"], lambda row: row.reserved_error)
too_low = [
    -row.allocated_error
    for row in large["inference, float32"]
    if row.case.network.startswith("densenet")
]
assert 0.1 < min(too_low) < max(too_low) < 0.12
below = [
    row.allocated_error
    for row in gpu.small_steps(grid, "inference")
    if row.case.network.startswith("densenet")
]
assert min(below) < -0.2 and max(below) > 0.15
published = load_record("memory-reported")
rows = [from_json(Compared, row) for row in published.cases.values()]
left = [(study.published_bytes(row) - row.reserved_bytes) / 2**20 for row in rows]
others = load_record("gpu-published")
judged = agreement(
    {name: from_json(PublishedMemory, row) for name, row in others.cases.items()}, "reserved"
)

# %% [markdown]
# {{ record_note(grid_record) }}
#
# Two steps prove little. Over the {{ count(len(in_float32)) }} different training steps above 1 GiB that we
# measured in float32, of ten networks, the median error of what is allocated is
# {{ percent(of_allocated.median, 2) }}. Of what is reserved it is {{ percent(in_bfloat16.median) }} in
# bfloat16, to which nothing was fitted (no record proves that). At *inference*, of the DenseNets of Table 1 in
# float32, the prediction of what is allocated is {{ percent(min(too_low)) }} to {{ percent(max(too_low)) }} too
# low above 1 GiB, for want of workspace. Below it (8 images or more) it is from {{ percent(-min(below)) }} too low to
# {{ percent(max(below)) }} too high. [How far the prediction can be trusted](3-1b-trust.py) has
# every kind of step, and where the errors come from.
#
# Other people have measured DenseNets on their cards, and published what they saw^[The numbers of
# *memory-efficient* networks
# were published for early implementations. We predict torchvision's code of today and, in gpleiss's row, our own
# recomputation, which works as his code does now. [More on the
# sources](3-1b-trust.py#on-other-peoples-cards).].
#
# Published on GPUs, as printed · beside it our prediction with SGD and momentum
# { .ds-setup }

# %%
table(
    rows,
    {
        "network and batch": "setting",
        "published": "said",
        "tensors": ("tensor_bytes", mib, 0),
        "reserved": ("reserved_bytes", mib, 0),
        "source": "where",
    },
    caption=f"What is reserved, simulated, is {count(round(min(left)))} to "
    f"{count(round(max(left)))} MiB short of what was published, if MB and GB mean MiB and GiB there. "
    "A CUDA context may be much of it.",
    align="lrrrl",
)

# %% [markdown]
# {{ record_note(published) }}
#
# Five rows may be luck. Of {{ count(judged.judged) }} networks that
# [GPUMemNet](https://arxiv.org/abs/2602.17817) measured on another card, chosen by a rule before any of them
# was predicted with this simulation, the median error is {{ percent(judged.median_error) }} of what nvidia-smi
# showed, of which {{ count(round(judged.constant_mib)) }} MiB are one constant for that machine
# ([how](3-1b-trust.py#on-other-peoples-cards)).
#
# ## Quadratic in depth, and how to see it
#
# Layer $\ell$ of a block reads $c_0 + (\ell - 1)k$ channels, and the plain implementation keeps them
# twice: as they are, and normalised. Over $L$ layers that has the term $kL^2$. Throw both away after
# the forward pass and make them again in the backward pass
# ([recomputation](3-2-saving-memory.py)). What stays is what each layer makes anew, the same for every
# layer: its $k$ features and, with a bottleneck, $4k$ channels before and $4k$ after its normalisation.
# The sum is linear.
#
# Do not fit an exponent to such a curve: it comes out somewhere between 1 and 2. Look at
# differences. A quadratic has constant *second* differences, a line constant *first* ones.
#
# One block with bottleneck, k = 32 · 1 × 32² · float32 · no device, counted
# { .ds-setup }

# %%
depth = study.by_depth()
first, second = depth.first_differences("recomputed"), depth.second_differences("naive")
deeper = study.parameters_by_depth()
steps_up = [b - a for a, b in pairwise(deeper.values())]
bends = {b - a for a, b in pairwise(steps_up)}
# each channel that a layer reads has 4k weights in its convolution and 2 in its normalization
of_layers = 24 * 24 * 32 * (4 * 32 + 2)
assert min(bends) == of_layers + (24 * 32) ** 2
assert {b - a for a, b in pairwise(deeper)} == {24} and len(bends) == 1 and min(bends) > 0
k, layers, channel = 32, 4, 4 * 32 * 32  # growth rate, layers from row to row, bytes of a channel
assert len(set(second)) == len(set(first)) == 1
assert second[0] == 2 * k * layers**2 * channel + 8 * k * layers**2  # 8: mean and deviation saved
# Features, and the end of the block once more as it is and normalised for the classifier.
new = layers * (k + 4 * k + 4 * k + 2 * k) * channel
assert 0 < first[0] - new < 0.002 * new
pictures.depth_lines(depth.layers, depth.kept)


# %%
def by_layers(values):
    """By number of layers; differences begin with the second or the third."""
    return dict(zip(depth.layers[-len(values) :], values))


table(
    dict.fromkeys(depth.layers),
    {
        "layers": KEY,
        "plain": by_layers(depth.kept["naive"]),
        "second difference": by_layers(second),
        "recomputed": by_layers(depth.kept["recomputed"]),
        "first difference": by_layers(first),
    },
    caption="Bytes kept: the plain block's second differences are constant, the recomputed one's "
    "first ones.",
)

# %% [markdown]
# So what the *plain implementation* keeps of features is quadratic, and the network does not ask for
# that. *Parameters*, and a gradient for each, are quadratic in any implementation, because a deeper layer
# reads more channels.
#
# ??? note "The formulas give these numbers"
#     A row of the table adds four layers, and each of them reads $4k$ channels more than those that the
#     row before added. That is kept twice: $2 \cdot 16k$ channels of {{ count(channel) }} bytes, and 8
#     bytes for a mean and a deviation of each of $16k$ channels, together {{ count(second[0]) }}. And each
#     new layer of the recomputed block costs $k + 4k + 4k$ channels, and $2k$ where the block's end is
#     joined and normalised once; the rest of {{ count(first[0]) }} are such statistics and the
#     classifier's input.
#
#     With {{ ", ".join(map(str, [*deeper][:-1])) }} and {{ [*deeper][-1] }} layers in its third block
#     DenseNet-121 has {{ ", ".join(millions(n) for n in [*deeper.values()][:-1]) }} and
#     {{ millions([*deeper.values()][-1]) }} parameters. Their second differences are
#     {{ count(min(bends)) }} each: {{ count(of_layers) }} belong to the layers, and
#     {{ count((24 * 32) ** 2) }} to the transition behind the block, which reads $24 k$ channels more each
#     time and writes $12 k$ more.
#
# ## A fair comparison
#
# The book's two networks differ in everything. Published ImageNet networks can be compared at equal
# accuracy, at equal parameters or at equal work, each time with an imaginary ResNet between the two nearest
# real ones, interpolated in a straight line.
#
# ImageNet networks · 32 × 224² · float32 · predicted
# { .ds-setup }


# %%
def published_error(name):
    """Top-1 error in the paper's matched experiment, see exercise 2."""
    if name in TABLE_1:
        return TABLE_1[name].top1_error
    return RESNET_ERRORS[name.replace("resnet", "ResNet-")]


fair_record = load_record("memory-fair")
cases = fair_record.cases
models = {name: from_json(FairModel, case) for name, case in cases.items()}
as_published = {
    name: replace(model, top1_error=published_error(name)) for name, model in models.items()
}
yardsticks = {
    "equal error, the paper's": study.fair_ratios(as_published, "top1_error"),
    "torchvision's": study.fair_ratios(models, "top1_error"),
    "equal parameters": study.fair_ratios(models, "parameters"),
    "equal multiply-adds": study.fair_ratios(models, "multiply_adds"),
}
equally_accurate = yardsticks["torchvision's"]
assert all(ratio > 1 for ratios in yardsticks.values() for ratio in ratios.values())
table(
    equally_accurate,
    {"network": KEY, **{heading: (ratios, times, 2) for heading, ratios in yardsticks.items()}},
    caption="Training memory as a multiple of that of a comparable ResNet: more by every yardstick.",
)

# %%
seconds = load_record("step-times").cases["224 b32 float32"]
step_times = {
    name: f"{milliseconds(sorted(rounds)[len(rounds) // 2])} ({1000 * min(rounds):.0f} to "
    f"{1000 * max(rounds):.0f})"
    for name, rounds in seconds.items()
}
details = table(
    models,
    {
        "network": "name",
        "parameters": "parameters",
        "multiply-adds": ("multiply_adds", billions),
        "torchvision's top-1 error": ("top1_error", "{:.2f}%".format),
        "training peak": ("training_bytes", mib, 0),
        "inference peak": ("inference_bytes", mib, 0),
        "step on an H100": step_times,
    },
)
d121, d169, r50 = (models[name] for name in ("densenet121", "densenet169", "resnet50"))
against_r50 = [d.training_bytes / r50.training_bytes for d in (d121, d169)]
assert d121.top1_error > d169.top1_error > r50.top1_error
assert published_error("densenet169") < published_error("resnet50")
assert d121.parameters < min(model.parameters for name, model in models.items() if "resnet" in name)

# %% [markdown]
# {{ record_note(fair_record) }}
#
# These are plain implementations. By the errors of the paper's matched experiment DenseNet-169 is
# better than ResNet-50, by torchvision's it is worse ([exercise
# 2](2-fewer-parameters.py#a-fair-comparison-equal-accuracy) says why). Against ResNet-50 itself
# DenseNet-121 and 169 need {{ times(against_r50[0], 2) }} and {{ times(against_r50[1], 2) }}. Three
# cautions: the matched experiment's ResNet-50 is a variant, between ResNet-34 and ResNet-50 the design changes, and
# DenseNet-121 has fewer parameters
# than any of these ResNets, so there it is held against ResNet-18.
#
# ??? note "The networks of this comparison"
#     {{ details }}
#
#     Peaks and times are those of 32 images, float32. Where times were taken, they are the median of
#     nine rounds in turn, and the least and the most; several of these ranges overlap.
# %%
doubled = [row.share("doubled") for row in study.summaries().values()]
nameless, retained = (
    study.two_steps(retain_graph=True, keep_loss=keep) / dense.peak_bytes for keep in (False, True)
)
assert 1 < nameless < 1.5 < 1.9 < retained < 2.1

# %% [markdown]
# ## What people say
#
# !!! does-not-hold "Fewer parameters mean less memory."
#     The book's DenseNet has {{ times(parameter_ratio, 0) }} fewer parameters than its ResNet-18. To
#     train with 128 images of 224² it needs {{ times(memory_ratio, 2) }} the memory, with one image
#     {{ times(single["DenseNet"] / single["ResNet-18"], 2) }} (predicted).
#
# !!! holds-with-a-condition "DenseNet is a memory hog at inference too."
#     For the book's pair in float32 with many images, by what is *reserved*: DenseNet takes
#     {{ mib(infer[128][0].reserved_bytes, 0) }} and ResNet-18 {{ mib(infer[128][1].reserved_bytes, 0) }} for 128
#     (H100, 224²). What is allocated is a tenth more, {{ mib(infer[128][0].peak_bytes, 0) }} against
#     {{ mib(infer[128][1].peak_bytes, 0) }}^[With one image the book's DenseNet reserves
#     {{ mib(infer[1][0].reserved_bytes, 0) }} and its ResNet-18 {{ mib(infer[1][1].reserved_bytes, 0) }}. In
#     bfloat16, 128 images, {{ mib(half[0].reserved_bytes, 0) }} and {{ mib(half[1].reserved_bytes, 0) }}, and with
#     64, {{ mib(half_of_64[0].reserved_bytes, 0) }} and {{ mib(half_of_64[1].reserved_bytes, 0) }}.]. For
#     others it depends: for 128 images ResNet-50 reserved {{ mib(of_50.measured.reserved_bytes, 0) }} on an H200,
#     DenseNet-121 {{ mib(of_121.measured.reserved_bytes, 0) }} (H100) and DenseNet-161
#     {{ mib(of_161.measured.reserved_bytes, 0) }} (H200).
#
# !!! holds-with-a-condition "DenseNet's memory grows quadratically with depth."
#     What is kept for the backward pass does, in the plain implementation. With recomputation that
#     part is linear. Parameters and their gradients stay quadratic.
#
# !!! does-not-hold "Sum up the outputs of all modules, and double it for the gradients."
#     Popular summaries do something like it. For three networks, over all modules without children, such a sum is
#     {{ times(min(doubled), 2) }} to {{ times(max(doubled), 2) }} of what is kept for the backward pass:
#     [why](3-1b-trust.py#why-summaries-by-hooks-are-wrong).
#
# ## Check yours
#
# !!! check "Measure it on your GPU"
#     A free one on Colab will do; the T4 there has about 14.5 GiB. [An H200 said](3-1b-trust.py#in-a-process-of-your-own)
#     {{ mib(own.plain.allocated_bytes, 0) }} allocated and {{ mib(own.plain.reserved_bytes, 0) }} reserved.
#
#     - *A little less?* {{ mib(own.plain.cublas_bytes, 0) }} of both are cuBLAS's workspaces, which are smaller
#       on cards before Hopper. The table above is without them: they were there before its steps began.
#     - *More?* Is `torch.backends.cudnn.benchmark` on? It raised what is allocated to
#       {{ mib(own.benchmark.allocated_bytes, 0) }}, and with 8 images from
#       {{ mib(own_8.plain.allocated_bytes, 0) }} to {{ mib(own_8.benchmark.allocated_bytes, 0) }}.
#     - *Much less?* Was it under `no_grad`, or in half precision?
#     - *Twice as much?* Is an earlier forward pass still waiting for its backward pass, or was
#       `retain_graph=True` set and the last loss still in a variable? ({{ times(retained) }}, predicted;
#       in the loop below, where the loss has no name, `retain_graph=True` makes it
#       {{ times(nameless) }}.)
#
#     ```python
#     import torch
#     from densenet_solutions.models import book_densenet
#
#     net = book_densenet().cuda()
#     x = torch.randn(128, 1, 224, 224, device="cuda")
#     y = torch.randint(10, (128,), device="cuda")
#     for _ in range(3):  # the first steps fill the allocator's cache
#         net.zero_grad()
#         torch.nn.functional.cross_entropy(net(x), y).backward()
#     print(torch.cuda.max_memory_allocated() / 2**20, "MiB allocated")
#     print(torch.cuda.max_memory_reserved() / 2**20, "MiB reserved")
#     ```
#
#     To see *what* is alive, call `torch.cuda.memory._record_memory_history()` before the step and
#     `torch.cuda.memory._dump_snapshot("step.pickle")` after it, and open the file at
#     [pytorch.org/memory_viz](https://pytorch.org/memory_viz).
#     `densenet-solutions record memory-grid --device cuda` measures the ten networks of [What a GPU
#     shows](#what-a-gpu-shows).
#
# Your own answer is `exercise_3_1.py` in the
# [course](../reference/check.md#the-exercises-as-a-course). The [explorer](../explorer.py) holds two
# steps of your choice side by side, and says which cards they fit.
#
# ??? apparatus "Sources, records, versions"
#     - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional
#       Networks*, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), Table 1.
#     - G. Pleiss et al., *Memory-Efficient Implementation of DenseNets*,
#       [arXiv:1707.06990](https://arxiv.org/abs/1707.06990): where the quadratic growth comes from.
#     - The allocator's rules: `c10/cuda/CUDACachingAllocator.cpp` of
#       [PyTorch](https://github.com/pytorch/pytorch).
#
#     {{ how_made() }}
