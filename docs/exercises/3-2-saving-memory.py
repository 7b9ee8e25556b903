# %% [markdown]
# # Exercise 3.2: how else can memory be saved, and what must the framework change?
#
# ## The question
#
# DenseNet needs much memory for its few parameters ([exercise 3.1](3-1-memory.py) says how much).
# The book asks how else it could be reduced, and how the framework would have to change for that.
# ([D2L, section 8.7, exercise
# 3](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %%
from densenet_solutions.exercises.saving_memory import accuracy as trained
from densenet_solutions.exercises.saving_memory import claims, costs, pictures, study
from densenet_solutions.exercises.saving_memory.bench import MemoryBench
from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES, gates, low_rank, recompute, saved_in_8_bits
from densenet_solutions.memory.shared_storage import reference
from densenet_solutions.models import connectivity
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import (
    billions,
    count,
    decimal,
    gib,
    mib,
    millions,
    percent,
    times,
)  # fmt: skip
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import KEY, table

lines = study.timelines(load_record("step-timelines")) | {"plain": study.plain_timeline()}
cost_record = load_record("strategies-study")
predicted = study.costs(cost_record)
bench_record = load_record("bench-memory")
bench, one_bench, half_bench = (
    from_json(MemoryBench, bench_record.cases[f"densenet121-8x224-{setting}"])
    for setting in ("float32", "float32-one-thread", "bfloat16")
)
rows, one_rows, half_rows = (
    {row.name: row for row in result.rows} for result in (bench, one_bench, half_bench)
)
cost = study.with_measured_peaks(predicted, lines, bench)
peak = {name: row.training_peak for name, row in cost.items() if row.training_peak}
time = {name: row.time_ratio for name, row in cost.items() if row.time_ratio}
plain, shared = cost["plain"], cost["shared_storage"]
baseline, timed, alone = rows["torchvision"], rows["shared_storage"], one_rows["shared_storage"]
ratio = lines["plain"].peak / lines["shared_storage"].peak
resolution = plain.trial_shape[-1]  # of the images on which steps are timed
assert ratio > 6


def words(name):
    return name.replace("_", " ")


def an_image(row):
    """Multiply-adds of one image."""
    return row.multiply_adds and row.multiply_adds / row.input_shape[0]


def quartiles(row):
    return f"{times(row.time_ratio_low, 2)} to {times(row.time_ratio_high, 2)}"


# %% [markdown]
# ## In one breath
#
# Most of the memory is repetition: the plain implementation keeps every concatenation and every
# normalised version of it for the backward pass. Keep each feature **once** and compute the rest
# again when it is needed, and a training step of DenseNet-121 peaks at
# {{ mib(lines["shared_storage"].peak, 0) }} beyond the model instead of
# {{ mib(lines["plain"].peak, 0) }}, {{ times(ratio) }} less, with the same gradients up to
# rounding. On one core of a CPU its step takes {{ times(alone.time_ratio, 2) }} the time of
# torchvision's (quartiles {{ quartiles(alone) }} of {{ one_bench.repeats }} rounds timed in turn),
# on two cores {{ times(timed.time_ratio, 2) }} ({{ quartiles(timed) }}). Nothing about the network
# has to change. What must change is what autograd saves.

# %%
pictures.two_timelines(lines["plain"], lines["shared_storage"])

# %% [markdown]
# One training step of DenseNet-121 on 8 images of 224×224 in float32; the plain network's is
# predicted, the other measured. The forward pass climbs and the backward pass descends. All peaks
# on this page are *beyond* parameters, buffers and input.
#
# ## Try it first
#
# ??? question "Hint 1: what does a gradient need?"
#     Write down, for concatenation, batch normalisation, ReLU and convolution, which tensor each
#     one needs in its backward pass. Which of these tensors hold the same numbers, or numbers that
#     a cheap operation can restore?
#
# ??? question "Hint 2: count one block"
#     Layer $\ell$ of a block reads $c_0 + (\ell-1)k$ channels. How many channels are kept if every
#     layer keeps its own copy of its input? How many are *different*?
#
# ??? question "Hint 3: what else runs twice?"
#     If you run a layer a second time in the backward pass, which of its modules has a memory of
#     how often it ran?
#
# ## The answer
#
# ### Where the memory goes, and why it is quadratic

# %%
kept = study.kept_for_backward()
copies = kept["concatenated features"] + kept["normalised features"]
distinct = study.feature_bytes()
assert kept["concatenated features"] == kept["normalised features"] == study.read_bytes()
assert max(kept.values()) == study.read_bytes()
pictures.kept_bars(kept)

# %% [markdown]
# This is what autograd keeps between the two passes, every storage counted once (the stem's share
# includes the images themselves). Layer $\ell$ of a block keeps its input, which a concatenation
# has just copied, because batch normalisation needs it; and it keeps the normalised input, because
# the 1×1 convolution needs that. Over the $n$ layers of a block that is
#
# $$2 \sum_{\ell=1}^{n} \bigl(c_0 + (\ell-1)k\bigr) = 2 n c_0 + k\,n(n-1)$$
#
# channels: quadratic in $n$. The sum, taken over the four blocks, is {{ mib(copies) }}, to the byte
# what was counted. But the concatenations only repeat the same $c_0 + (n-1)k$ features, and the
# normalised ones follow from these by a scale, a shift and a ReLU. All features of all four blocks
# together, each stored once, are {{ mib(distinct) }}. **Everything else can be computed again**,
# and the cheapest things to compute again, concatenation and normalisation, are the largest.
#
# ### Every way at once: memory against time

# %%
changes = {name: not row.exact for name, row in STRATEGIES.items()}
exact = [name for name in peak if not changes[name]]
assert min(exact, key=peak.get) == "shared_storage"
scatter = max(row.scatter for row in cost.values())
pictures.trade_off(list(cost.values()), changes)

# %% [markdown]
# {{ record_note(cost_record) }}
#
# Circles give the same result, exactly or up to rounding; diamonds give another one, in the outputs
# or only in the gradients. Left and low is good. Among the exact ways, shared storage has the
# lowest peak: {{ times(plain.training_peak / shared.training_peak) }} less at
# {{ times(time["shared_storage"], 2) }} the time. Recomputing each layer saves
# {{ times(plain.training_peak / peak["recompute_layer"]) }} at
# {{ times(time["recompute_layer"], 2) }}, in a few lines. Times are the processor's, of one thread,
# on images of {{ resolution }}×{{ resolution }}, taken in turn with plain steps, the fastest of
# {{ len(plain.seconds) }} (the slowest took up to {{ percent(scatter, 0) }} longer). At other
# sizes, on several threads and above all on a GPU they will differ.


# %%
def between_passes(name):
    """Bytes alive where the forward pass ends, in a small network."""
    strategy = STRATEGIES[name]
    timeline = predict_memory(
        lambda: strategy.apply(costs.small_network()), costs.SMALL_SHAPE, step=strategy.step
    ).timeline
    return timeline[[point.phase for point in timeline].index("backward") - 1].bytes


# Every verdict of the table that numbers can decide:
assert peak["out_of_place"] == peak["in_place"] == peak["offload"] == plain.training_peak
assert cost["out_of_place"].inference_peak > cost["in_place"].inference_peak
assert cost["in_place"].inference_peak == plain.inference_peak
assert 0.45 < peak["recompute_bottleneck_input"] / plain.training_peak < 0.55
assert between_passes("recompute_block") < between_passes("recompute_layer")
assert peak["recompute_block"] > peak["recompute_layer"]
assert cost["pool_first"].multiply_adds < plain.multiply_adds and not changes["pool_first"]
assert time["bfloat16"] < 0.8 and cost["bfloat16"].gradient_error > 0.5
assert cost["saved_in_8_bits"].gradient_error < 0.01 and "quantized_inference" not in peak
patterns = [cost[f"{name}_connections"] for name in ("random", "logarithmic", "harmonic")]
assert all(changes[row.strategy] for row in patterns)
assert min(patterns, key=lambda row: row.multiply_adds) is cost["harmonic_connections"]
fewer = [cost[name] for name in ("learned_groups", "channel_pruning", "low_rank")]
assert all(row.multiply_adds < plain.multiply_adds for row in fewer)
assert all(row.parameters < plain.parameters for row in fewer)
assert peak["low_rank"] > plain.training_peak == peak["learned_groups"]
assert peak["channel_pruning"] < plain.training_peak
assert cost["channel_pruning"].inference_peak < plain.inference_peak
assert cost["gradient_accumulation"].gradient_error > 0.5

catalogue = table(
    STRATEGIES,
    {
        "strategy": (KEY, words),
        "what it does, what it costs, where it comes from": lambda row: (
            f"{row.family.capitalize()}: {row.summary} {row.costs} ({row.source})"
        ),
    },
)
ordered = {name: cost[name] for name in STRATEGIES if name in cost}
table(
    ordered,
    {
        "strategy": (KEY, words),
        "training peak": (peak, mib),
        "step time": (time, times, 2),
        "gradient error": ("gradient_error", percent),
        "verdict": {name: row.verdict for name, row in STRATEGIES.items()},
    },
    caption="DenseNet-121, 8 images of 224×224, float32 unless the strategy says otherwise; step "
    "times over the plain step's and gradients against the plain one's, on images of "
    f"{resolution}×{resolution}",
)

# %%
table(
    ordered,
    {
        "strategy": (KEY, words),
        "inference peak": ("inference_peak", mib),
        "parameters": ("parameters", millions),
        "multiply-adds": (an_image, billions),
    },
    caption="The same network: what else changes. Multiply-adds are per image",
)

# %% [markdown]
# ??? note "What each strategy does and costs, and where it comes from"
#     {{ catalogue }}

# %%
*others, last = [words(name) for name, row in cost.items() if row.method != "predicted"]
error = {
    name: percent(cost[name].gradient_error)
    for name in ("pool_first", "shared_storage", "saved_in_8_bits")
}

# %% [markdown]
# Peaks are predicted on the meta device, except those of {{ ", ".join(others) }} and {{ last }},
# which are measured by the allocator. Mind the gradient errors: an untrained DenseNet-121 amplifies
# rounding from layer to layer. In float32 pool first differs from the plain gradient by
# {{ error["pool_first"] }} and shared storage by {{ error["shared_storage"] }}, as much as
# activations in 8 bits ({{ error["saved_in_8_bits"] }}); in bfloat16, with 8 bits of precision,
# {{ percent(cost["bfloat16"].gradient_error, 0) }} of this gradient is rounding. In float64 all
# exact ways agree with the plain one on small networks, and shared storage on the whole of
# DenseNet-121: tests compare every gradient. Offloading has nowhere to go on a CPU: there it is
# plain, and its point lies on the plain one's. The compiler's own recomputation compiles for
# minutes and has its row in the bench further down.
#
# Does each strategy keep its promise? The same comparison at a small size, computed as this page
# was built, for all that have the plain network's parameters: two dense blocks of two layers, four
# images of 32×32. *Bitwise* promises the same outputs, gradients and buffers, bit for bit;
# *numerical* the same up to rounding; with *another result* outputs or gradients differ.

# %%
small = {
    row.strategy: row
    for row in costs.small_costs(
        [
            name
            for name in costs.predictable_strategies()
            if not changes[name] or name in ("saved_in_8_bits", "gradient_accumulation")
        ]
    )
}
allowed = {"bitwise": 0, "numerical": 1e-4, "approximate": 0.05, "changes-function": 2}
for name, row in small.items():
    assert row.gradient_error <= allowed[STRATEGIES[name].exactness], name
bits_error, parts_error = (
    small[name].gradient_error for name in ("saved_in_8_bits", "gradient_accumulation")
)
assert bits_error < 0.05 < parts_error
table(
    small,
    {
        "strategy": (KEY, words),
        "promises": {
            name: row.exactness if row.exact else "another result"
            for name, row in STRATEGIES.items()
        },
        "training peak": ("training_peak", mib, 2),
        "of plain": (lambda row: row.training_peak / small["plain"].training_peak, percent, 0),
        "gradient error": ("gradient_error", ".1g"),
    },
    caption="What each strategy promises, and what it keeps to, at a small size",
)

# %% [markdown]
# The gradient error is $\lVert g - g_\text{plain}\rVert / \lVert g_\text{plain}\rVert$ over all
# parameters, in float32.
#
# ### Recompute
#
# Concatenation and normalisation are most of the memory and, compared with convolutions, little
# arithmetic. So Pleiss and others (arXiv:1707.06990) drop what comes before each 1×1 convolution,
# and run it again in the backward pass:
#
# {{ source(recompute.BottleneckInputRecomputed) }}
#
# That halves the peak, to {{ mib(peak["recompute_bottleneck_input"], 0) }}, at
# {{ times(time["recompute_bottleneck_input"], 2) }} the time in the picture above: little
# arithmetic still has to pass through memory. What remains are the bottlenecks. Recomputing the
# layer as a whole drops them too and leaves {{ mib(peak["recompute_layer"], 0) }}. Recomputing a
# whole *block* keeps less still between the passes, but when its turn comes all of its copies are
# back at once: the peak is {{ mib(peak["recompute_block"], 0) }}. Less kept is not less peak.
#
# ### The trap: batch normalisation remembers how often it ran
#
# Recomputation runs batch normalisation twice. In training mode each run updates the running mean
# and variance. So the naive way changes the network that you evaluate later:

# %%
updates = claims.running_statistics(
    ["recompute_bottleneck_input", "recompute_layer", "recompute_block", "shared_storage"]
)
naive, *ours = updates
assert set(naive.layers_by_count) == {1, 2} and naive.largest_error > 1e-3
assert all(set(row.layers_by_count) == {1} and row.largest_error < 1e-5 for row in ours)
assert all(row.largest_error == 0 for row in ours if row.implementation != "shared_storage")
table(
    updates,
    {
        "implementation": lambda row: row.implementation.replace("_", " " if row in ours else "_"),
        "updated once": lambda row: row.layers_by_count.get(1, 0),
        "updated twice": lambda row: row.layers_by_count.get(2, 0),
        "largest error of a running statistic": ("largest_error", ".1g"),
    },
    caption="Batch normalisation after one training step of a small DenseNet, live",
)

# %% [markdown]
# The gradients are right in every row, so no gradient check finds it. The fix is a context around
# the second run. Momentum 0 keeps every bit of the statistics, and the counter is put aside:
#
# {{ source(recompute.running_statistics_untouched) }}
#
# ### Shared storage
#
# One step further, the copies are not even made for a moment. A dense block is *one* operation with
# one buffer for all of its features. Each layer writes its $k$ channels behind the others, so
# nothing is ever concatenated. The batch statistics of a feature are the same for every layer that
# reads it, so they are computed once. The buffer is all that is kept; the backward pass walks the
# layers in reverse, computes the bottleneck again, and adds into one gradient buffer. With the $C$
# features before a layer as the columns of $X$, one pixel a row, the layer computes
#
# $$h = \mathrm{ReLU}\Bigl(\gamma\,\frac{X - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta\Bigr),
# \quad z = h\,W^\top,$$
#
# $$g = \mathrm{ReLU}\Bigl(\gamma'\,\frac{z - \nu}{\sqrt{\tau^2 + \varepsilon}} + \beta'\Bigr),$$
#
# $$y = \mathrm{conv}_{3\times3}(g),$$
#
# where $\mu, \sigma^2$ and $\nu, \tau^2$ are the mean and variance of each column of $X$ and of
# $z$. The columns of $X$ never change once they are written, so neither do $\mu$ and $\sigma^2$. In
# code:
#
# {{ source(reference.layer_forward) }}
#
# The block in its shortest form, as one function with its own gradient:
#
# {{ source(reference.SharedStorageReference) }}

# %%
live = lines["shared_storage"].live
assert live.index(max(live)) > 0.9 * len(live)
first_block, gradients = study.first_block_bytes(), 4 * plain.parameters
assert 2 * first_block + gradients < shared.training_peak
book_plain, book_shared = (study.books_step(name) for name in ("plain", "shared_storage"))
at_peak = book_shared.bytes_by_category
assert at_peak["activations"] < 2**20 and at_peak["gradients"] > 0.99 * at_peak["parameters"]
book_before, book_after = book_plain.peak_beyond_parameters, book_shared.peak_beyond_parameters

# %% [markdown]
# The version that is measured above also treats the stem and the transitions like this and works in
# slices, so that temporaries stay small. Its peak of {{ mib(shared.training_peak) }} is
# {{ times(shared.training_peak / distinct) }} the {{ mib(distinct) }} that all features have
# together. It is reached late in the backward pass, when only the first block's are left:
# {{ mib(first_block) }}, a buffer of the same size for their gradients, the slices, and
# {{ mib(gradients) }} for the gradients of almost all parameters, which no way of keeping
# activations can save.
#
# The book's network of [exercise 3.1](3-1-memory.py) has no bottlenecks to compute again, and less
# to save: at 128 images of 224×224 the peak falls from {{ mib(book_before, 0) }} to
# {{ mib(book_after, 0) }}, {{ times(book_before / book_after) }} less. It is reached at the end of
# the backward pass, when all blocks are done and the stem, whose maps have four times the pixels of
# the first block's, has its turn.

# %%
assert baseline.peak_beyond_parameters > 8 * timed.peak_beyond_parameters
assert baseline.page_faults > 10 * timed.page_faults
assert rows["compiled"].time_ratio < 1  # less saved, but faster
table(
    rows,
    {
        "DenseNet-121, 8 images of 224×224": (KEY, words),
        "peak, measured": ("peak_beyond_parameters", mib),
        "less": (
            lambda row: baseline.peak_beyond_parameters / row.peak_beyond_parameters,
            times,
        ),
        "step time, two threads": ("time_ratio", times, 2),
        "quartiles": quartiles,
        "one thread": ({name: row.time_ratio for name, row in one_rows.items()}, times, 2),
        "quartiles, one thread": (one_rows, quartiles),
        "fresh pages per step": "page_faults",
    },
    caption=f"Full size, in turn, {bench.repeats} rounds; the peak is the CPU allocator's, beyond "
    "parameters, buffers and input; a fresh page is one that the operating system had to hand out",
)

# %%
short = {
    name: 1 - predicted[name].training_peak / peak[name]
    for name in ("recompute_layer", "recompute_block")
}
plain_short = baseline.peak_beyond_parameters - predicted["plain"].training_peak
small_predicted, small_measured = study.workspace_of_recomputation()
scratch = small_measured.bytes_by_category["workspace"]
assert scratch > 0 and all(0.02 < share < 0.1 for share in short.values())
assert small_predicted.peak_bytes == small_measured.peak_bytes - scratch

half_shared, half_layer = half_rows["shared_storage"], half_rows["recompute_layer"]
half_peak = {name: mib(row.peak_beyond_parameters, 0) for name, row in half_rows.items()}

# %% [markdown]
# {{ record_note(bench_record) }}
#
# For recomputation the prediction is too low, by {{ percent(short["recompute_layer"]) }} for layers
# and {{ percent(short["recompute_block"]) }} for blocks (for the plain network by
# {{ mib(plain_short) }}). What it misses is the scratch space that kernels take in the midst of an
# operation, which only an allocator sees. A small network that recomputes its layers, measured
# live: {{ mib(small_measured.peak_bytes, 2) }}, of which {{ mib(scratch, 2) }} are such workspace,
# and the rest is to the byte what was predicted. The other predictions of recomputation on this
# page, how far it goes and the explorer's, lack it too. Times differ from those above because those
# are of smaller images and one thread.
#
# The peaks do not scatter, the times do. On two threads the rounds of shared storage took
# {{ decimal(min(timed.seconds)) }} to {{ decimal(max(timed.seconds)) }} s, those of torchvision's
# network {{ decimal(min(baseline.seconds)) }} to {{ decimal(max(baseline.seconds)) }} s, on a
# machine that is shared with others. *compiled* is the compiler's own recomputation, under a memory
# budget and after minutes of compiling. One likely reason why so much recomputation costs so little
# can be counted, though how much it explains was not measured. In each step torchvision's network
# touches {{ count(baseline.page_faults) }} fresh pages of memory, which the operating system must
# hand out and fill with zeros, and shared storage {{ count(timed.page_faults) }}: a small step
# reuses the memory of the one before. On a GPU, where PyTorch's allocator keeps what is freed,
# expect no such help.
#
# Under bfloat16 autocast, in the same bench, torchvision's network peaks at
# {{ half_peak["torchvision"] }} and shared storage at {{ half_peak["shared_storage"] }}, at
# {{ times(half_shared.time_ratio, 2) }} the time: its slices are converted to float32 and back.
# Recomputing layers takes {{ half_peak["recompute_layer"] }} at
# {{ times(half_layer.time_ratio, 2) }}. `densenet-solutions bench memory` repeats all this on your
# machine, on a GPU with `--device cuda`.
#
# ### How far does it go?

# %%
reaches = study.reaches(load_record("how-far"))
sizes = sorted({row.budget_bytes for row in reaches.values()})
batch = {key: row.largest_batch for key, row in reaches.items()}
layers = {key: row.deepest_depth for key, row in reaches.items()}
deep_batch, top = reaches["plain", sizes[0]].deep_batch, max(layers.values())
strategies = list(dict.fromkeys(name for name, _ in reaches))
for same in ("in_place", "out_of_place"):
    strategies.remove(same)
    assert all(batch[same, size] == batch["plain", size] for size in sizes)
    assert all(layers[same, size] == layers["plain", size] for size in sizes)
table(
    strategies,
    {
        "exact strategy": words,
        **{f"in {gib(size, 0)}": lambda name, size=size: batch[name, size] for size in sizes},
    },
    caption="Largest batch of DenseNet-121; training on images of 224×224 in float32, predicted",
)


# %%
def deepest(name, size):
    return f"{'≥ ' * (layers[name, size] == top)}{count(layers[name, size])}"


table(
    strategies,
    {
        "exact strategy": words,
        **{f"in {gib(size, 0)}": lambda name, size=size: deepest(name, size) for size in sizes},
    },
    caption=f"Most layers at a batch of {deep_batch}, the third block lengthened; {count(top)} "
    "layers are the deepest that were tried. In place or not makes no difference; where layers or "
    "blocks are recomputed, the workspace of kernels will take some of it back",
)

# %%
small_card, middle_card, large_card = sizes[0], sizes[2], sizes[-1]
small_size, middle_size, large_size = gib(small_card, 0), gib(middle_card, 0), gib(large_card, 0)
plain_batch, shared_batch = batch["plain", small_card], batch["shared_storage", small_card]
assert shared_batch > 8 * plain_batch and shared_batch > batch["plain", middle_card]
assert layers["shared_storage", small_card] == top

# %% [markdown]
# {{ record_note() }}
#
# In {{ small_size }} the plain network trains on {{ plain_batch }} images at once, with shared
# storage on {{ count(shared_batch) }}: more than the plain network manages in {{ middle_size }}
# ({{ batch["plain", middle_card] }}). At a batch of {{ deep_batch }} a DenseNet may have
# {{ layers["plain", small_card] }} layers in {{ small_size }} and {{ layers["plain", large_card] }}
# in {{ large_size }}; with shared storage {{ count(top) }} fit in {{ small_size }}, the most we
# tried. The deeper networks lengthen the third block, $(6, 12, n, 16)$. Everything that the step
# allocates is counted; a GPU's context and its libraries' workspace are not, and no GPU has
# confirmed these numbers yet.
#
# ### Reorder, or move
#
# Average pooling and a 1×1 convolution commute ([exercise 1](1-average-pooling.py)), so transitions
# may pool first. Moving what is kept to the host's memory recomputes nothing, but every byte
# travels to the host and back.

# %%
pool_first, bits, quantized = (
    cost[name] for name in ("pool_first", "saved_in_8_bits", "quantized_inference")
)
less_work = an_image(plain) - an_image(pool_first)
assert abs(time["pool_first"] - 1) < 0.05
assert quantized.inference_peak > plain.inference_peak / 4

# %% [markdown]
# Pooling first takes the peak to {{ mib(pool_first.training_peak) }}:
# {{ percent(1 - pool_first.training_peak / plain.training_peak) }} less, since transitions are few.
# It saves work more than memory: {{ billions(less_work) }} fewer multiply-adds an image. In time
# ({{ times(time["pool_first"], 2) }}) that is within the noise.
#
# ### Fewer bits
#
# Under bfloat16 autocast, convolutions compute and keep 16 bits. Or the forward pass stays in
# float32 and only what autograd keeps is rounded, to 8 bits a number:
#
# {{ source(saved_in_8_bits.EightBit) }}
#
# The loss stays exact, the peak falls to {{ mib(bits.training_peak) }}, and the gradient is off by
# {{ percent(bits_error) }} in the small network above. One line of it holds a lesson. ReLU's
# gradient passes where its *output* is positive. Plain rounding would turn
# {{ percent(claims.rounded_to_zero()) }} of the positive outputs into zeros and stop their
# gradients. So a small positive number is rounded up. bfloat16 takes
# {{ percent(peak["bfloat16"] / plain.training_peak, 0) }} of the plain peak and, on this processor,
# {{ times(time["bfloat16"], 2) }} of its time. Its time is a question of whether the processor has
# units for it.
#
# For inference, weights can be kept in 8 bits as well: {{ mib(quantized.state_bytes) }} instead of
# {{ mib(plain.state_bytes) }}. The peak beside them falls from {{ mib(plain.inference_peak) }} to
# {{ mib(quantized.inference_peak) }}, because the features of a block are kept in 8 bits too and
# normalisation writes over its input. It is not a quarter, because what one layer reads is restored
# to float32; only integer kernels would avoid that.
#
# ### Fewer connections
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
# because bottlenecks, transitions and stem stay. Gates go the other way: they start from all
# connections of a trained network, keep those it uses most, and learn. A gate multiplies the scale
# and the shift of a normalisation, since $\mathrm{ReLU}(g\,y) = g\,\mathrm{ReLU}(y)$ for $g \ge 0$,
# so it costs no activation; a closed one is not read at all.
#
# {{ source(gates.GatedNorm) }}
#
# ### Smaller layers
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

# %% [markdown]
# All three save parameters and work. **Only pruning saves memory**: it alone makes features fewer.
# Groups gather as many channels as they found, and factors add an activation between the two
# convolutions. They are answers to another question.
#
# ### Fewer images at once
#
# Gradient accumulation runs the batch in parts. It is often called exact. With batch normalisation
# it is not: each part is normalised by its own statistics.
#
# Four parts take the peak to {{ mib(peak["gradient_accumulation"]) }}, but the gradient is off by
# {{ percent(parts_error, 0) }} of its length in the small network above: single images are poor
# statistics. Without batch statistics (in evaluation mode, or with another normalisation) it is
# exact, and a test of this repository says so. Where parts are still large, the difference is the
# one between two batch sizes, and mostly harmless.
#
# ### What it does to accuracy
#
# A strategy that gives another result may cost accuracy.
#
# This is a reduced setting that a CPU manages: the book's DenseNet on
# {{ count(trained.TRAIN_IMAGES) }} images of Fashion-MNIST at
# {{ training.resolution }}×{{ training.resolution }}, {{ training.epochs }} epochs, tested on
# {{ count(test_images) }} other images. It can tell a large loss from a small one, no more.

# %%
accuracy = study.accuracy_changes(load_record("strategies-accuracy"))
others = {name: row for name, row in accuracy.items() if name != "plain"}
exact_accuracy, seeds = accuracy["plain"].accuracy, accuracy["plain"].seeds
assert seeds >= 3  # there are intervals
table(
    accuracy,
    {
        "strategy": (KEY, words),
        "right after the change": (
            {name: row.accuracy_at_change for name, row in others.items()},
            percent,
        ),
        "after training": ("accuracy", percent),
        "against plain, in points": (
            others,
            lambda row: pictures.points(row.difference, row.half_width),
        ),
    },
    caption=f"Test accuracy on Fashion-MNIST of the book's DenseNet, {seeds} seeds",
)

# %%
condensed = accuracy["learned_groups"]
assert condensed.accuracy_at_change < exact_accuracy - 0.2
largest_loss = -min(row.difference for row in accuracy.values())
standard_error = (exact_accuracy * (1 - exact_accuracy) / test_images) ** 0.5

# %% [markdown]
# {{ record_note() }}
#
# Gates, groups, pruning and factors were applied before the last epoch, which repairs them;
# quantisation comes after it. Right after the change a network can be broken: with learned groups
# it falls to {{ percent(condensed.accuracy_at_change) }}, for here nothing prepared it for losing
# three quarters of its inputs (CondenseNet removes them step by step, under a penalty). One more
# epoch brings it back to {{ percent(condensed.accuracy) }}. The largest loss after that is
# {{ decimal(100 * largest_loss, 1) }} points, where the test set alone, with its
# {{ count(test_images) }} images, leaves a standard error of {{ decimal(100 * standard_error, 1) }}
# points. Intervals are paired by seed and cover 95%.
#
# ### What must change, on three levels
#
# **The model's code.** Connections, channels, ranks and groups are the model's business. No
# framework has to change, but the network is another one. Only pooling first changes code and not
# the function.
#
# **What autograd saves.** Frameworks save what each primitive operation needs, one operation at a
# time; none of them can see that a concatenation holds nothing new. Three interfaces exist to tell
# them: `checkpoint` (run this part again), `saved_tensors_hooks` (keep this in another form: 8
# bits, the host's memory), and `autograd.Function` (this whole block is one operation, and here is
# its gradient). The first must know about modules with state, or it falls into the trap above. The
# third can do everything, and asks you to derive and test the backward pass.
#
# **What the compiler plans.** A compiler sees the joint graph of both passes and can choose what to
# keep under a budget (`torch._functorch.config.activation_memory_budget`). It finds recomputation
# by itself, after minutes of compiling. PyTorch's compiler can also write the inputs of one
# concatenation straight into its output; that one buffer may hold the results of a whole *chain* of
# concatenations is a statement about where tensors live that we know no way to make. A framework
# that allowed it would give `cat` views instead of copies, plan buffers over both passes, and mark
# state updates such as running statistics as not to be repeated.
#
# ### Which one when
#
# | situation | take |
# |---|---|
# | training does not fit | shared storage: the same function, gradients up to rounding, a fraction of the peak |
# | your own architecture, no time to derive gradients | recompute each layer, with the statistics untouched |
# | one input shape, and minutes to compile are no matter | the compiler's memory budget: less saved, but faster |
# | a GPU with bfloat16 | autocast first, then one of the above on top |
# | gradients may be a little noisy | activations in 8 bits |
# | inference on a small device | pruning, then quantisation; not autograd tricks, there is no autograd |
# | a new network is wanted anyway | harmonic connections, which also run faster |
# | parameters must be few, memory is not short | learned groups, low rank |
# | huge batches | accumulation, if each part is still large enough for its statistics |
#
# ## What people say, checked
#
# Where no network is named, the numbers of this section are of a small one, measured live: the stem
# and the first block of the book's DenseNet, 64 images of 96×96 (the distilled student has $k$ =
# 16).

# %%
zeros = claims.zero_weights()
sparse = {share: claims.sparse_bytes_per_dense_byte(share) for share in (0.5, 0.9)}
clipped = claims.relu6()
taught = claims.distillation()
full_rank, quarter = (claims.low_rank_factors(share) for share in (1.0, 0.25))
free, by_hand = claims.early_freeing(), claims.freeing_by_hand()
assert zeros.peak == zeros.reference_peak and zeros.share > 0.85
assert sparse[0.5] > 1
assert abs(clipped.share - clipped.reference_share) < 0.02 and clipped.peak > clipped.reference_peak
assert taught.peak >= taught.reference_peak and taught.parameters > taught.reference_parameters
assert quarter.parameters < quarter.reference_parameters
assert full_rank.peak > quarter.peak > quarter.reference_peak
assert by_hand.peak == by_hand.reference_peak and free.peak < free.reference_peak / 2

# %% [markdown]
# !!! does-not-hold "Activations that overwrite their input save training memory."
#     In a DenseNet layer the convolution keeps the ReLU's output, and the ReLU needs the same
#     tensor. Its input is needed by nobody and freed at once, in place or not:
#     {{ mib(peak["out_of_place"]) }} and {{ mib(peak["in_place"]) }} for DenseNet-121. At
#     inference in-place is {{ mib(cost["in_place"].inference_peak) }} against
#     {{ mib(cost["out_of_place"].inference_peak) }}.
#
# !!! does-not-hold "An L1 penalty makes weights sparse and so saves memory."
#     With {{ percent(zeros.share, 0) }} of the weights zero the peak is {{ mib(zeros.peak) }}, and
#     with none zero it is {{ mib(zeros.reference_peak) }}. A dense tensor stores its zeros. A
#     sparse format stores indices: PyTorch's (coordinates, four 64-bit indices a value) takes
#     {{ times(sparse[0.5]) }} the bytes for a feature map that is half zero, and at 90% zeros still
#     {{ times(sparse[0.9], 2) }}. Leaner formats save more, but convolutions do not read them.
#     Zeros save memory when whole channels are removed.
#
# !!! does-not-hold "ReLU6 gives sparser activations than ReLU, which saves memory."
#     It clips at 6, not at 0: {{ percent(clipped.share) }} zeros against
#     {{ percent(clipped.reference_share) }}. It even costs memory, {{ mib(clipped.peak, 0) }}
#     against {{ mib(clipped.reference_peak, 0) }}, because its gradient needs the input (was it
#     above 6?), which a ReLU can throw away.
#
# !!! does-not-hold "Distillation reduces the memory of the small network."
#     The student is small because it was built small. Taught, its training step peaks at
#     {{ mib(taught.peak) }}, and untaught at {{ mib(taught.reference_peak) }}; and the teacher's
#     parameters are needed besides. What teaching may improve is the accuracy of a given size.
#
# !!! does-not-hold "Low-rank factors save memory."
#     They save parameters: {{ count(quarter.parameters) }} instead of
#     {{ count(quarter.reference_parameters) }} at a quarter of the rank. The training peak rises,
#     from {{ mib(quarter.reference_peak, 0) }} to {{ mib(quarter.peak, 0) }}, and to
#     {{ mib(full_rank.peak, 0) }} at full rank, by the activation between the factors. It can only
#     fall where parameters outweigh activations.
#
# !!! holds-with-a-condition "At inference, free feature maps as soon as they are no longer needed."
#     Under `torch.no_grad()` that is what happens already: {{ mib(free.peak) }} against
#     {{ mib(free.reference_peak) }} for the same forward pass with autograd on. Deleting by hand on
#     top: {{ mib(by_hand.peak) }} against {{ mib(by_hand.reference_peak) }}, nothing. The condition
#     is not to forget the context.
#
# !!! holds-with-a-condition "Gradient accumulation gives the same gradient as the large batch."
#     Without batch normalisation. With it, four parts of one image are off by
#     {{ percent(parts_error, 0) }}.
#
# !!! holds-with-a-condition "Checkpointing is exact."
#     Its gradients are. Running statistics are not, unless someone looks after them:
#     {{ naive.layers_by_count[2] }} layers of the small network above were updated twice.
#
# !!! does-not-hold "The more you recompute, the less memory you need."
#     In DenseNet-121 recomputing whole blocks peaks at {{ mib(peak["recompute_block"], 0) }},
#     recomputing single layers at {{ mib(peak["recompute_layer"], 0) }}: what is recomputed
#     together is there together.
#
# ## Use it

# %% tags=["show"]
import torch

from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import densenet121

strategy = STRATEGIES["shared_storage"]
model = strategy.apply(densenet121(num_classes=10))  # a copy; names in its state dict are the same
loss = strategy.step(model, torch.randn(2, 3, 64, 64), torch.tensor([3, 7]))

# %% [markdown]
# The other names are the keys of `STRATEGIES`. `densenet-solutions bench memory` compares the exact
# ones on your machine.
#
# ## Sources
#
# - Pleiss, Chen, Huang, Li, van der Maaten, Weinberger, *Memory-efficient implementation of
#   DenseNets*, arXiv:1707.06990; Huang et al., *Convolutional networks with dense connectivity*,
#   arXiv:2001.02394.
# - Chen, Xu, Zhang, Guestrin, *Training deep nets with sublinear memory cost*, arXiv:1604.06174.
# - Rota Bulò, Porzi, Kontschieder, *In-place activated BatchNorm*, arXiv:1712.02616.
# - Micikevicius et al., *Mixed precision training*, arXiv:1710.03740; Chen et al., *ActNN*,
#   arXiv:2104.14129; Jacob et al., *Quantization and training of neural networks*,
#   arXiv:1712.05877.
# - Hu, Dey, Del Giorno, Hebert, Bagnell, *Log-DenseNet*, arXiv:1711.00002; Chao et al., *HarDNet*,
#   arXiv:1909.00948; Huang, Liu, van der Maaten, Weinberger, *CondenseNet*, arXiv:1711.09224.
# - Liu et al., *Network slimming*, arXiv:1708.06519; Denton et al., *Exploiting linear structure*,
#   arXiv:1404.0736; Bengio, Léonard, Courville, arXiv:1308.3432 (the gradient of a gate); Hinton,
#   Vinyals, Dean, *Distilling the knowledge in a neural network*, arXiv:1503.02531.
#
# ## How these numbers were made
#
# {{ how_made() }}
