# %% [markdown]
# # Exercise 3.2b: Everything else people suggest
#
# [Keep each feature once](3-2-saving-memory.py) leaves the network as it is. These are the other
# ideas, by family: what each does to memory, to the result and to accuracy. Most change the
# network. Some sound right and save nothing.

# %%
from statistics import mean

from densenet_solutions.exercises.pooling.comparison import holm
from densenet_solutions.exercises.saving_memory import accuracy as trained
from densenet_solutions.exercises.saving_memory import claims, costs, pictures, study
from densenet_solutions.exercises.saving_memory.at_work import IN_BFLOAT16
from densenet_solutions.exercises.saving_memory.bench import BASELINE, CHANNELS_LAST
from densenet_solutions.exercises.saving_memory.fits import Fit
from densenet_solutions.memory import STRATEGIES, low_rank, saved_in_8_bits
from densenet_solutions.models import book_densenet, connectivity
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import (
    bare_mib,
    billions,
    count,
    mib,
    millions,
    percent,
    plus_minus,
    times,
)
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import KEY, table

cost_record = load_record("strategies-study")
added = study.predicted_costs(["in_place_normalization", "one_shot_aggregation"])
cost = {**added, **study.costs(cost_record)}
peak = {name: row.training_peak for name, row in cost.items() if row.training_peak}
plain = cost["plain"]
ELSEWHERE = (  # the ways of 3.2, and what cannot be shown on a CPU
    "recompute_bottleneck_input", "recompute_layer", "recompute_block", "selective_checkpointing",
    "shared_storage", "in_place", "out_of_place", "offload",
)  # fmt: skip
here = {name: cost[name] for name in STRATEGIES if name in cost and name not in ELSEWHERE}


def words(name):
    return name.replace("_", " ")


def an_image(row):
    """Multiply-adds of one image."""
    return row.multiply_adds and row.multiply_adds / row.input_shape[0]


# Every verdict that numbers can decide:
changes = {name: not row.exact for name, row in STRATEGIES.items()}
assert cost["pool_first"].multiply_adds < plain.multiply_adds and not changes["pool_first"]
patterns = [cost[f"{name}_connections"] for name in ("random", "logarithmic", "harmonic")]
one_shot = cost["one_shot_aggregation"]
assert all(changes[row.strategy] for row in (*patterns, one_shot))
assert min(patterns, key=lambda row: row.multiply_adds) is cost["harmonic_connections"]
assert all(one_shot.multiply_adds < row.multiply_adds for row in patterns)
assert all(one_shot.training_peak < row.training_peak for row in patterns)
fewer = [cost[name] for name in ("learned_groups", "channel_pruning", "low_rank")]
assert all(row.multiply_adds < plain.multiply_adds for row in fewer)
assert all(row.parameters < plain.parameters for row in fewer)
assert peak["low_rank"] > plain.training_peak == peak["learned_groups"]
assert peak["channel_pruning"] < plain.training_peak
assert cost["channel_pruning"].inference_peak < plain.inference_peak

# %%
small = {
    row.strategy: row for row in costs.small_costs(("saved_in_8_bits", "gradient_accumulation"))
}
bits_error, parts_error = (
    small[name].gradient_error for name in ("saved_in_8_bits", "gradient_accumulation")
)
larger_parts = costs.cost(
    "gradient_accumulation", costs.small_network(), (64, 3, 32, 32), quick=True
).gradient_error
in_float32_off, in_bits_off = (
    [case["from_truth"][name] for case in load_record("gradient-errors").cases.values()]
    for name in ("plain", "saved_in_8_bits")
)
assert max(in_float32_off) < 0.02
assert bits_error < 0.05 < 0.2 < larger_parts < parts_error
pool_first, bits, quantized, activated = (
    cost[name]
    for name in ("pool_first", "saved_in_8_bits", "quantized_inference", "in_place_normalization")
)
assert changes["in_place_normalization"]
assert 0.5 < activated.training_peak / plain.training_peak < 0.55
less_work = an_image(plain) - an_image(pool_first)
kept = study.kept_for_backward()
pooled = plain.training_peak - pool_first.training_peak
assert pooled == kept["transitions"] / 10  # C/4 of the 5C/2 channels that one keeps
copies = kept["concatenated features"] + kept["normalised features"]
stays = sum(kept.values()) - copies  # bottlenecks, transitions and stem, for the most part
assert stays > 0.6 * max(peak["logarithmic_connections"], peak["harmonic_connections"])
quantized_stem = study.quantized_stem()
assert quantized.inference_peak > quantized_stem > plain.inference_peak / 4
work_record = load_record("bench-at-work")
card, work = study.card(work_record), study.at_work(work_record)
in_half, in_half_last = (  # the time of torchvision's step in bfloat16, that in float32 being 1
    {
        batch: found.beside(layout + IN_BFLOAT16, layout)[0]
        for batch, found in work.items()
        if batch >= 32
    }
    for layout in (BASELINE, CHANNELS_LAST)
)
assert in_half_last[256] < in_half[256] < 1
assert min(in_half[32], in_half_last[32]) > 0.95
assert 0.45 < peak["bfloat16"] / plain.training_peak < 0.55
drawn = study.random_patterns(5)
assert drawn[0] == peak["random_connections"] == max(drawn)  # the one that was trained, too
connected = [*drawn, *(row.training_peak for row in (*patterns, cost["gates"], one_shot))]
bits_apart, half_apart, parts_apart = (
    cost[name].gradient_error for name in ("saved_in_8_bits", "bfloat16", "gradient_accumulation")
)
assert {cost[name].trial_shape for name in ("bfloat16", "gradient_accumulation")} == {
    (8, 3, 96, 96)
}
images_apart = claims.rounded_images()
assert bits_apart < 0.01 < 0.2 < images_apart < half_apart < parts_apart
accuracy = study.accuracy_changes(load_record("strategies-accuracy"))
assert all(accuracy[name].p > 0.05 for name in ("saved_in_8_bits", "bfloat16"))
in_parts = accuracy["gradient_accumulation"]
assert in_parts.difference + in_parts.half_width < 0
assert (
    bits.training_peak < 0.3 * plain.training_peak and max(connected) < 0.85 * plain.training_peak
)

# %% [markdown]
# **In short.** The plain step peaks at {{ mib(plain.training_peak, 0) }}. Keeping activations in 8 bits
# makes that {{ mib(bits.training_peak, 0) }}, and bfloat16 {{ mib(peak["bfloat16"], 0) }}; in a
# [small test](#what-it-does-to-accuracy) neither shows a loss of accuracy. An invertible activation
# ({{ mib(activated.training_peak, 0) }}) and fewer connections ({{ mib(min(connected), 0) }} to
# {{ mib(max(connected), 0) }}) make another network. Low rank and learned groups save parameters, not this
# peak. A batch in parts ({{ mib(peak["gradient_accumulation"], 0) }}) has another gradient, and in parts
# of {{ trained.SETTINGS.batch_size // 4 }} cost
# {{ plus_minus(-100 * in_parts.difference, 100 * in_parts.half_width, 1) }}
# points of accuracy in that test.
#
# Where nothing else is said, peaks of DenseNet-121 on this page are predicted for one set-up, beyond
# parameters, buffers and input:
#
# DenseNet-121 · 8 × 224² · float32 unless the idea says otherwise · predicted, no GPU
# { .ds-setup }
#
# ## Reorder, or move
#
# Average pooling and a 1×1 convolution commute ([exercise 1](1-average-pooling.py)), so transitions
# may **pool first**. The peak is {{ percent(pooled / plain.training_peak) }} lower. Transitions keep
# {{ percent(kept["transitions"] / sum(kept.values()), 0) }} of what is kept for the backward pass, and
# pooling first saves a tenth of that. The concatenated map and the normalised one stay. It saves work
# more than memory: {{ billions(less_work) }} fewer multiply-adds an image.
#
# **Offloading** moves what is kept to the host's memory. It recomputes nothing, but every byte
# travels to the host and back. It acts on a GPU only, and there we have not measured it.
#
# ## Fewer bits
#
# Under bfloat16 autocast, convolutions compute and keep 16 bits. Or the forward pass stays in
# float32 and only what autograd keeps is rounded, to 8 bits a number:
#
# {{ source(saved_in_8_bits.EightBit) }}
#
# With 8 bits the loss stays exact, and the peak falls to {{ mib(bits.training_peak) }}, at
# {{ times(bits.time_ratio) }} [a step's time](3-2c-bench.py#time-of-the-strategies) on our CPU. bfloat16
# takes {{ percent(peak["bfloat16"] / plain.training_peak, 0) }} of the plain peak. What is lost is exactness: with 8 bits
# of the gradient, in bfloat16 of the loss too. How far is the gradient off?
#
# - **8 bits**: {{ percent(min(in_bits_off), 1) }} to {{ percent(max(in_bits_off), 1) }} of its length, in an
#   untrained DenseNet-121 against float64 ([ten draws](3-2c-bench.py#is-it-the-same-gradient)). Plain float32
#   is off by {{ percent(min(in_float32_off), 1) }} to {{ percent(max(in_float32_off), 1) }} there^[In a small
#   network 8 bits are {{ percent(bits_error) }} from plain float32: two dense blocks of two layers, 4 images of
#   32 × 32, live.].
# - **bfloat16**: {{ percent(half_apart, 0) }}, against float32^[The same network, untrained, 8 images of
#   96 × 96, one draw, recorded.]. It rounds in the forward pass too, where 8 bits do not, and this untrained
#   network magnifies that: rounding nothing but the images to bfloat16 moves the gradient by
#   {{ percent(images_apart, 0) }}^[Another draw, live.].
#
# What the two do to the training of a smaller network is [below](#what-it-does-to-accuracy). On our CPU a step
# in bfloat16 takes {{ times(cost["bfloat16"].time_ratio) }} the time. On an {{ card }} torchvision's step of
# 256 images takes
# {{ times(in_half[256], 2) }} its time in float32^[Convolutions in TF32.], and in `channels_last`
# {{ times(in_half_last[256], 2) }} its time in float32 in that layout; with 32 images it is [not
# faster](3-2c-bench.py#how-long-the-gpu-is-at-work) as
# far as we can tell.
#
# One line of the 8 bits holds a lesson. ReLU's gradient passes where its *output* is positive. Plain rounding
# would turn {{ percent(claims.rounded_to_zero()) }} of the positive outputs (of standard normal numbers behind
# a ReLU) into zeros and stop their gradients. So a small positive number is rounded up.
#
# For inference, weights can be kept in 8 bits too: parameters and buffers then take {{ mib(quantized.state_bytes) }}
# instead of {{ mib(plain.state_bytes) }}. The peak beside them falls only from {{ mib(plain.inference_peak) }} to
# {{ mib(quantized.inference_peak) }}, not to a quarter: the stem, in float32, takes
# {{ mib(quantized_stem) }}, predicted, and the first block, which restores what a layer reads to float32, makes
# the peak. Integer kernels could avoid most of that; we have not measured it.
#
# ## An activation with an inverse
#
# **In-place activated batch normalisation** ([arXiv:1712.02616](https://arxiv.org/abs/1712.02616))
# makes one operation of a normalisation and the activation behind it, and keeps the output only. The
# backward pass inverts the activation, then scale and shift, and has the normalised input again.
# What a normalisation reads need not be kept, and the peak falls to
# {{ mib(activated.training_peak, 0) }}, {{ percent(activated.training_peak / plain.training_peak, 0) }}
# of the plain one. A ReLU has no inverse, so a leaky ReLU takes its
# place, and no scale may be zero. So it is another network, whose accuracy we have not measured. (Ours
# is not in place: in our block the next concatenation still reads what a layer's first normalisation reads, and
# for simplicity none is.)
#
# ## Fewer connections
#
# If copies of earlier features fill the memory, read fewer of them. A fixed pattern says which of
# the sources $0, \dots, \ell-1$ layer $\ell$ reads:
#
# {{ source(connectivity.logarithmic) }}
#
# {{ source(connectivity.harmonic) }}
#
# A block of $n$ layers has then about $n \log_2 n$ or $2n$ connections instead of $n^2/2$, and the
# quadratic term is gone. At DenseNet-121's depth that saves less than it sounds: peaks of
# {{ mib(peak["logarithmic_connections"], 0) }} and {{ mib(peak["harmonic_connections"], 0) }},
# because bottlenecks, transitions and stem stay. Or let chance decide: keep the layer before, and each
# earlier source with probability ½. Five such patterns have {{ mib(min(drawn), 0) }} to
# {{ mib(max(drawn), 0) }}; the tables below have the first of them, which is the largest.
#
# **Gates**, one a source, go the other way: each layer of a trained network closes, in one go, half of them. It
# keeps the layer before, and of the others those with the largest mean absolute weight. (The tables'
# peak is that of an untrained network, whose weights choose by chance.)
#
# **One-shot aggregation** ([VoVNet](https://arxiv.org/abs/1904.09730)) goes furthest: inside a
# block every layer reads only its predecessor, and all of them are concatenated once, at the end.
# DenseNet-121 with these connections, its bottlenecks and widths as they were, peaks at
# {{ mib(one_shot.training_peak, 0) }} and takes {{ billions(an_image(one_shot)) }} multiply-adds an
# image instead of {{ billions(an_image(plain)) }}; what it loses in accuracy we have not measured.
# The authors, whose layers are wider, report detectors twice as fast as with DenseNet and 1.6 to
# 4.1 times less energy.
#
# ## Smaller layers
#
# Pruning must *remove* channels, here from every layer that reads them. Learned groups
# (CondenseNet, arXiv:1711.09224) let each group of outputs keep the inputs it uses most, then
# gather them and run a grouped convolution. Low-rank factors replace one convolution by two thinner
# ones:
#
# {{ source(low_rank.factorize) }}

# %%
table(
    {
        "plain": plain,
        "pruning": cost["channel_pruning"],
        "learned groups": cost["learned_groups"],
        "low rank": cost["low_rank"],
    },
    {
        "network": KEY,
        "parameters": ("parameters", millions),
        "multiply-adds": (an_image, billions),
        "training peak": ("training_peak", mib),
    },
)

# %%
training, test_images = trained.SETTINGS, trained.TEST_IMAGES
in_segments = study.simulated_in_segments()
usual, expandable = in_segments["default"], in_segments["expandable"]
assert expandable.reserved_bytes < 0.95 * usual.reserved_bytes
assert 3 * 4 * plain.parameters < 0.1 * plain.training_peak  # parameters, gradients, momentum

# %% [markdown]
# All three save parameters and work. **Only pruning lowers this peak**: it alone makes features fewer.
# Each of the four groups gathers the quarter that it reads, so together as many channels as before, and factors
# add an activation between the two
# convolutions. With very few images parameters and their gradients weigh more
# ([below](#what-people-say)).
#
# ## Fewer images at once
#
# Gradient accumulation runs the batch in parts. It is often called exact. With batch normalisation
# it is not: each part is normalised by its own statistics.
#
# Four parts take the peak to {{ mib(peak["gradient_accumulation"]) }} and, on our CPU, a step's time to
# {{ times(cost["gradient_accumulation"].time_ratio) }}, but the gradient is off: by
# {{ percent(parts_error, 0) }} of its length in a small network with parts of one image,
# {{ percent(larger_parts, 0) }} with parts of sixteen^[Two dense blocks of two layers, 4 and 64 images of
# 32 × 32, live.], and {{ percent(parts_apart, 0) }} in DenseNet-121 with parts of two^[8 images of 96², one
# draw, recorded.], all untrained. Two gradients of one length that have nothing to do with each other, at right
# angles, would be {{ percent(2**0.5, 0) }} apart. Without batch statistics (in
# evaluation mode, or with group normalisation) it is exact, and a test of this repository says so. What
# parts of {{ training.batch_size // 4 }} do to accuracy is [below](#what-it-does-to-accuracy). A normalisation
# that does not see how the batch is cut makes the
# problem go away, and is another network: group normalisation, or fixed small groups of images, each
# normalised by itself, if each part consists of whole groups.
#
# ## More devices, and the allocator
#
# Data parallelism gives each device a part of the batch, and with it a part of the activations, at the
# price of the section before: each normalises its own part, unless `SyncBatchNorm` exchanges the
# statistics. ZeRO (in PyTorch `FSDP`) also shards parameters, gradients and the optimizer's state, of which
# DenseNet-121 has little. And part of what a GPU reserves is not held by any tensor
# ([3.1](3-1-memory.py#what-a-gpu-shows)). `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True` (newer name:
# `PYTORCH_ALLOC_CONF`) is meant to
# waste less. Simulated by the rules of PyTorch's allocator, {{ mib(usual.reserved_bytes, 0) }} reserved
# become {{ mib(expandable.reserved_bytes, 0) }}, parameters, buffers and input included; on a GPU we
# have not measured it.
#
# ## What it does to accuracy
#
# This is a reduced setting that a CPU manages: the book's DenseNet on
# {{ count(trained.TRAIN_IMAGES) }} images of Fashion-MNIST at
# {{ training.resolution }}×{{ training.resolution }} in batches of {{ training.batch_size }}, which
# accumulation cuts in four, {{ training.epochs }} epochs, tested on {{ count(test_images) }} other images. It
# can tell a large loss from a small one, no more.

# %%
others = {name: row for name, row in accuracy.items() if name not in ("plain", trained.RESTARTED)}
exact_accuracy, seeds = accuracy["plain"].accuracy, accuracy["plain"].seeds
assert seeds >= 3  # there are intervals
table(
    accuracy,
    {
        "strategy": (KEY, words),
        "before the last epoch": (
            {name: row.at_change for name, row in accuracy.items() if row.at_change},
            lambda found: (
                f"{percent(mean(found), 0)} [{percent(min(found), 0)} to {percent(max(found), 0)}]"
            ),
        ),
        "after training": ("accuracy", percent),
        "against plain, in points": (
            others,
            lambda row: pictures.points(row.difference, row.half_width),
        ),
    },
    caption=f"Test accuracy on Fashion-MNIST of the book's DenseNet, mean of {seeds} seeds; before "
    "the last epoch, right after the change, with least and most",
)

# %%
condensed = accuracy["learned_groups"]
assert max(condensed.at_change) < exact_accuracy - 0.2
assert condensed.accuracy > exact_accuracy - 0.05
alone = {name for name, row in others.items() if row.p < 0.05}
corrected = {name for name, p in holm({n: row.p for n, row in others.items()}).items() if p < 0.05}
assert len(corrected) == 3 and len(alone - corrected) == 1


def listed(names):
    """The rows of these names, in the table's order."""
    return ", ".join(words(name) for name in others if name in names) or "none"


four_layers = {
    name: study.connections_left(name, book_densenet())
    for name in ("logarithmic_connections", "harmonic_connections", "random_connections", "gates")
}
many_layers = {
    name: study.connections_left(name, costs.full_network()) for name in list(four_layers)[:3]
}
blocks = len(book_densenet().config.block_config)
[connections] = {total // blocks for _, total in four_layers.values()}
a_block = {name: left // blocks for name, (left, _) in four_layers.items()}
kept_share = {name: percent(left / total, 0) for name, (left, total) in many_layers.items()}

# %% [markdown]
# {{ record_note() }}
#
# Gates, groups, pruning and factors were applied before the last epoch, which trains them on;
# quantisation comes after it. The last epoch of a changed network starts with a new optimizer, so it is
# held against a plain network that does so too, the row *plain restarted*; all others against *plain*.
# Right after the change a network can be broken: with learned groups
# it falls to {{ percent(mean(condensed.at_change), 0) }}. Each group drops three quarters of its inputs at
# once, where CondenseNet drops them step by step, under a penalty. One more epoch brings it to
# {{ percent(condensed.accuracy) }} on average.
#
# Which rows show a loss? Three do: {{ listed(corrected) }}. Their 95% intervals exclude zero, and Holm's
# correction for {{ count(len(others)) }} comparisons leaves them. It does not leave
# {{ listed(alone - corrected) }}, and of that many rows one may exclude zero by chance. (Intervals are
# Student's, of differences
# paired by seed.)
#
# What it does not show: seeds change the start and the order of images only. Training and test images are
# the same each time, random connections one pattern. And a block of this network has 4 layers without
# bottlenecks. Of its {{ connections }} connections the logarithmic pattern keeps
# {{ a_block["logarithmic_connections"] }}, the harmonic one {{ a_block["harmonic_connections"] }}, chance
# {{ a_block["random_connections"] }} and gates {{ a_block["gates"] }}; in DenseNet-121, whose peaks stand above,
# the first three keep {{ kept_share["logarithmic_connections"] }}, {{ kept_share["harmonic_connections"] }} and
# {{ kept_share["random_connections"] }}. So these rows say nothing of deep blocks.
#
# ## All at a glance

# %%
table(
    here,
    {
        "idea": (KEY, words),
        "training, MiB": (peak, bare_mib),
        "inference, MiB": ("inference_peak", bare_mib),
        "parameters": ("parameters", millions),
        "time": ("time_ratio", times, 1),
        "verdict": {name: row.verdict for name, row in STRATEGIES.items()},
    },
    caption="What each idea does to peaks of memory, and to the time of a step of 8 × 96² on a CPU (the plain "
    "one is 1); quantised inference has no training step.",
)

# %%
catalogue = table(
    {name: STRATEGIES[name] for name in here},
    {
        "idea": (KEY, words),
        "what it does, what it costs, where it comes from": lambda row: (
            f"{row.family.capitalize()}: {row.summary} {row.costs} ({row.source})"
        ),
    },
)

# %% [markdown]
# {{ record_note(cost_record) }}
#
# ??? note "What each idea does and costs, and where it comes from"
#     {{ catalogue }}
#
# ## What people say
#
# Where no network is named, peaks of this section are predicted live for a small one: the stem and the
# first block of the book's DenseNet, 64 images of 96×96 (the distilled student has $k$ = 16). Zeros
# after its activations are counted on 16 random images of 64×64.

# %%
sparse = {share: claims.sparse_bytes_per_dense_byte(share) for share in (0.5, 0.9)}
clipped, of_output = claims.relu6(), claims.relu6_of_output()
taught = claims.distillation()
full_rank, quarter = (claims.low_rank_factors(share) for share in (1.0, 0.25))
one_image = claims.low_rank_of_one_image()
free, by_hand = claims.early_freeing(), claims.freeing_by_hand()
named = claims.named_maps()
assert sparse[0.5] > 1
fits_record = load_record("how-far-gpu")
out_of_place, in_place = (
    from_json(Fit, fits_record.cases[name]).batch for name in ("out_of_place", "in_place")
)
assert 0 <= in_place - out_of_place < 0.02 * in_place
assert abs(clipped.share - clipped.reference_share) < 0.02 and clipped.peak > clipped.reference_peak
assert of_output.peak == clipped.reference_peak
assert taught.peak >= taught.reference_peak and taught.parameters > taught.reference_parameters
assert quarter.parameters < quarter.reference_parameters
assert full_rank.peak > quarter.peak > quarter.reference_peak
assert one_image.peak < 0.95 * one_image.reference_peak
fewer_gradients = 4 * (one_image.reference_parameters - one_image.parameters)
assert one_image.reference_peak - one_image.peak < fewer_gradients
assert by_hand.peak == by_hand.reference_peak and named.peak > 2 * named.reference_peak
assert free.peak < free.reference_peak / 2

# %% [markdown]
# !!! holds-with-a-condition "Checkpointing is exact."
#     Its gradients are, if nothing changes between the passes. Running statistics are not, unless
#     someone [looks after them](3-2-saving-memory.py#the-trap-batch-normalisation-remembers).
#
# !!! does-not-hold "ReLUs that overwrite their input save training memory."
#     Hardly: in 8 GiB an {{ study.card(fits_record) }} trained {{ in_place }} images of DenseNet-121 with them and
#     {{ out_of_place }} without. The convolution after it keeps the ReLU's output, and the ReLU needs that
#     same tensor. Its input is needed by nobody, so it is freed at once, in place or not.
#
# !!! does-not-hold "An L1 penalty makes weights sparse and so saves memory."
#     A dense tensor stores its zeros, so what a step holds depends on shapes alone. A sparse format
#     stores indices: PyTorch's (coordinates) has four of 64 bits for each value that is not zero, of a
#     convolution's weight or of a feature map. It takes {{ times(sparse[0.5]) }} the bytes if half is zero, and
#     at 90% zeros still
#     {{ times(sparse[0.9], 2) }}^[Counted on 2 × 8 × 16 × 16 numbers; the size does not matter.]. Leaner
#     formats save more. PyTorch's `conv2d` refuses a weight in this one.
#     Zeros save memory when whole channels are removed.
#
# !!! does-not-hold "ReLU6 gives sparser activations than ReLU, which saves memory."
#     At 0 it does what ReLU does, and at 6 it clips: {{ percent(clipped.share) }} zeros against
#     {{ percent(clipped.reference_share) }}. In PyTorch it even costs memory,
#     {{ mib(clipped.peak, 0) }} against {{ mib(clipped.reference_peak, 0) }}, since PyTorch keeps its
#     input for the gradient. The output would do, as with a ReLU. It is 6 exactly where the input was 6
#     or more. A ReLU6 of ours that keeps its output takes {{ mib(of_output.peak, 0) }}.
#
# !!! does-not-hold "Distillation reduces the memory of the small network."
#     The student is small because it was built small. Taught, its training step peaks at
#     {{ mib(taught.peak) }}, and untaught at {{ mib(taught.reference_peak) }}; and the teacher's
#     parameters are needed besides. What teaching may improve is the accuracy of a given size.
#
# !!! holds-with-a-condition "Low-rank factors save memory."
#     They save parameters: {{ count(quarter.parameters) }} instead of
#     {{ count(quarter.reference_parameters) }} at a quarter of the rank. With 64 images the training
#     peak rises, from {{ mib(quarter.reference_peak, 0) }} to {{ mib(quarter.peak, 0) }}, and to
#     {{ mib(full_rank.peak, 0) }} at full rank, by the activation between the factors. With very few
#     images it can fall. With one of 128×128 DenseNet-121's falls from
#     {{ mib(one_image.reference_peak, 0) }} to {{ mib(one_image.peak, 0) }}, as gradients become fewer
#     too. These peaks leave the parameters themselves out.
#
# !!! holds-with-a-condition "At inference, free feature maps as soon as they are no longer needed."
#     Under `torch.no_grad()` this network does so already: {{ mib(free.peak) }} against
#     {{ mib(free.reference_peak) }} for the same forward pass with autograd on. Deleting by hand on
#     top brings nothing, {{ mib(by_hand.peak) }}. The conditions are the context, and no variable that still
#     names an old map: six convolutions whose results all keep a name need {{ mib(named.peak, 0) }} instead of
#     {{ mib(named.reference_peak, 0) }}.
#
# ??? apparatus "Sources, records, versions"
#     - Micikevicius et al., *Mixed precision training* (in float16),
#       [arXiv:1710.03740](https://arxiv.org/abs/1710.03740); Kalamkar et al., *A study of bfloat16*,
#       [arXiv:1905.12322](https://arxiv.org/abs/1905.12322); Chen et al., *ActNN*,
#       [arXiv:2104.14129](https://arxiv.org/abs/2104.14129); Jacob et al., *Quantization and training of neural
#       networks*,
#       [arXiv:1712.05877](https://arxiv.org/abs/1712.05877).
#     - Hu, Dey, Del Giorno, Hebert, Bagnell, *Log-DenseNet*,
#       [arXiv:1711.00002](https://arxiv.org/abs/1711.00002); Chao et al., *HarDNet*,
#       [arXiv:1909.00948](https://arxiv.org/abs/1909.00948); Huang, Liu, van der Maaten, Weinberger,
#       *CondenseNet*, [arXiv:1711.09224](https://arxiv.org/abs/1711.09224).
#     - Liu et al., *Network slimming*, [arXiv:1708.06519](https://arxiv.org/abs/1708.06519); Denton et al.,
#       *Exploiting linear structure*,
#       [arXiv:1404.0736](https://arxiv.org/abs/1404.0736); Hinton, Vinyals, Dean, *Distilling the knowledge in
#       a neural network*, [arXiv:1503.02531](https://arxiv.org/abs/1503.02531).
#
#     {{ how_made() }}
