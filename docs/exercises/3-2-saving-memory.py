# %% [markdown]
# # Exercise 3.2: how else can memory be saved, and what must the framework change?
#
# ## The question
#
# DenseNet needs much memory for its few parameters ([exercise 3.1](3-1-memory.py) says how much). The
# book asks how else it could be reduced, and how the framework would have to change for
# that. ([D2L, section 8.7, exercise
# 3](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %% tags=["hide-input"]
from densenet_solutions.memory import STRATEGIES, recompute, saved_in_8_bits
from densenet_solutions.memory import gates, low_rank
from densenet_solutions.memory.shared_storage import reference as shared_storage_reference
from densenet_solutions.models import connectivity
from densenet_solutions.records import load_record
from densenet_solutions.exercises.saving_memory import pictures
from densenet_solutions.site.numbers import billions, count, gib, mib, millions, percent, times
from densenet_solutions.site.page import claims, how_made, record_note, say, source
from densenet_solutions.site.tables import table
from densenet_solutions.exercises.saving_memory.bench import MemoryBench
from densenet_solutions.records.serialise import from_json
from densenet_solutions.exercises.saving_memory import claims as memory_claims
from densenet_solutions.exercises.saving_memory import costs as strategies_cost
from densenet_solutions.exercises.saving_memory import study

record = load_record("strategies-study")
timeline_record = load_record("step-timelines")
lines = study.timelines(timeline_record) | {"plain": study.plain_timeline()}
predicted = study.costs(record)
bench_record = load_record("bench-memory")
bench, one_bench, half_bench = (
    from_json(MemoryBench, bench_record.cases[f"densenet121-8x224-{setting}"])
    for setting in ("float32", "float32-one-thread", "bfloat16")
)
cost = study.with_measured_peaks(predicted, lines, bench)
time = {name: row.time_ratio for name, row in cost.items() if row.time_ratio}
plain, shared = cost["plain"], cost["shared_storage"]
saving = {
    name: plain.training_peak / row.training_peak for name, row in cost.items() if row.training_peak
}
contestants = {row.name: row for row in bench.rows}
half_rows = {row.name: row for row in half_bench.rows}
one_rows = {row.name: row for row in one_bench.rows}
alone = one_rows["shared_storage"]
assert contestants["compiled"].time_ratio < 1
timed, baseline = contestants["shared_storage"], bench.rows[0]
assert baseline.peak_beyond_parameters > 8 * timed.peak_beyond_parameters
assert baseline.page_faults > 10 * timed.page_faults
ratio = lines["plain"].peak / lines["shared_storage"].peak
assert ratio > 6

# %% [markdown]
# ## In one breath

# %% tags=["hide-input"]
say(f"""
Most of the memory is repetition: the plain implementation keeps every concatenation and every
normalised version of it for the backward pass. Keep each feature **once** and compute the rest
again when it is needed, and a training step of DenseNet-121 peaks at
{mib(lines["shared_storage"].peak, 0)} beyond the model instead of
{mib(lines["plain"].peak, 0)}, {times(ratio)} less, with the same gradients up
to rounding. On one core of a CPU its step takes {times(alone.time_ratio, 2)} the time of torchvision's (quartiles
{times(alone.time_ratio_low, 2)} to {times(alone.time_ratio_high, 2)} of {one_bench.repeats} rounds timed in turn), on two cores
{times(timed.time_ratio, 2)} ({times(timed.time_ratio_low, 2)} to {times(timed.time_ratio_high, 2)}). Nothing about the network has
to change. What must change is what autograd saves.
""")

# %% tags=["hide-input"]
pictures.two_timelines(lines["plain"], lines["shared_storage"])

# %% [markdown]
# One training step of DenseNet-121 on 8 images of 224×224 in float32; the plain network's is predicted,
# the other measured. The forward pass climbs and
# the backward pass descends. All peaks on this page are *beyond* parameters, buffers and input.
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

# %% [markdown]
# ## The answer
#
# ### Where the memory goes, and why it is quadratic

# %% tags=["hide-input"]
kept = study.kept_for_backward()
copies = kept["concatenated features"] + kept["normalised features"]
distinct = study.feature_bytes()
assert kept["concatenated features"] == kept["normalised features"] == study.read_bytes()
pictures.kept_bars(kept)

# %% tags=["hide-input"]
say(f"""
This is what autograd keeps between the two passes, every storage counted once (the stem's share includes the images
themselves). Layer $\\ell$ of a
block keeps its input, which a concatenation has just copied, because batch normalisation needs it;
and it keeps the normalised input, because the 1×1 convolution needs that. Over the $n$ layers of a
block that is

$$2 \\sum_{{\\ell=1}}^{{n}} \\bigl(c_0 + (\\ell-1)k\\bigr) = 2 n c_0 + k\\,n(n-1)$$

channels: quadratic in $n$. The sum, taken over the four blocks, is {mib(copies)}, to the byte what was
counted. But the concatenations only repeat the same $c_0 + (n-1)k$ features, and the normalised ones follow
from these by a scale, a shift and a ReLU. All features of all four blocks
together, each stored once, are {mib(distinct)}. **Everything else can be computed again**, and the
cheapest things to compute again, concatenation and normalisation, are the largest.
""")

# %% [markdown]
# ### Every way at once: memory against time

# %% tags=["hide-input"]
changes = {name: not row.exact for name, row in STRATEGIES.items()}
pictures.trade_off(list(cost.values()), changes)

# %% tags=["hide-input"]
record_note(record)

# %% tags=["hide-input"]
exact = {name for name in saving if not changes[name]}
scatter = max(row.scatter for row in cost.values())
assert min(exact, key=lambda name: cost[name].training_peak) == "shared_storage"
say(f"""
Circles give the same result, exactly or up to rounding; diamonds give another one, in the outputs or only in
the gradients. Left and low is good. Among the exact ways,
shared storage has the lowest peak: {times(saving["shared_storage"])} less at
{times(time["shared_storage"], 2)} the time. Recomputing each layer saves
{times(saving["recompute_layer"])} at {times(time["recompute_layer"], 2)}, in a few lines.
Times are the processor's, of one thread, on images of {plain.trial_shape[-1]}×{plain.trial_shape[-1]}, taken in
turn with plain steps, the fastest of {len(plain.seconds)} (the slowest took up to {percent(scatter, 0)} longer). At other sizes, on several threads and above all on a GPU they will differ.
""")


# %% tags=["hide-input"]
table(
    [
        "strategy",
        "training peak",
        "step time",
        "gradient error",
        "verdict",
    ],
    [
        [
            name.replace("_", " "),
            mib(row.training_peak) if row.training_peak else None,
            times(time[name], 2) if name in time else None,
            None if row.gradient_error is None else percent(row.gradient_error),
            STRATEGIES[name].verdict,
        ]
        for names in study.FAMILIES.values()
        for name in names
        if (row := cost.get(name))
    ],
    caption="DenseNet-121, 8 images of 224×224, float32 unless the strategy says otherwise; step times over "
    f"the plain step's and gradients against the plain one's, on images of {plain.trial_shape[-1]}×{plain.trial_shape[-1]}",
    align="lrrrl",
)

# %% tags=["hide-input"]
table(
    ["strategy", "inference peak", "parameters", "multiply-adds"],
    [
        [
            name.replace("_", " "),
            mib(row.inference_peak) if row.inference_peak else None,
            millions(row.parameters),
            billions(row.multiply_adds / row.input_shape[0]) if row.multiply_adds else None,
        ]
        for names in study.FAMILIES.values()
        for name in names
        if (row := cost.get(name))
    ],
    caption="The same network: what else changes. Multiply-adds are per image",
    align="lrrr",
)

# %% tags=["hide-input"]
measured = [name.replace("_", " ") for name, row in cost.items() if row.method != "predicted"]
half = ""
if (lost := cost["bfloat16"].gradient_error) is not None:
    half = (
        f"; in bfloat16, with 8 bits of precision, {percent(lost, 0)} of this gradient is rounding"
    )
say(f"""
Peaks are predicted on the meta device, except those of {", ".join(measured[:-1])} and {measured[-1]}, which are measured by
the allocator. Mind the gradient errors: an untrained DenseNet-121 amplifies rounding from layer to layer. In float32 pool
first differs from the plain gradient by {percent(cost["pool_first"].gradient_error)} and shared storage by
{percent(cost["shared_storage"].gradient_error)}, as much as activations in 8 bits
({percent(cost["saved_in_8_bits"].gradient_error)}){half}. In float64 all exact ways agree with the plain one on small
networks, and shared storage on the whole of DenseNet-121: tests compare every gradient. Offloading
has nowhere to go on a CPU: there it is plain, and its point lies on the plain one's. The compiler's own
recomputation compiles for minutes and has its row in the bench further down.
""")

# %% [markdown]
# Does each strategy keep its promise? The same comparison at a small size, computed as this page was
# built, for all that have the plain network's parameters: two dense blocks of two layers, four images
# of 32×32. *Bitwise* promises the same outputs, gradients and buffers, bit for bit; *numerical* the same
# up to rounding; with *another result* outputs or gradients differ.

# %% tags=["hide-input"]
names = [
    name
    for name in strategies_cost.predictable_strategies()
    if not changes[name] or name in ("saved_in_8_bits", "gradient_accumulation")
]
small = {row.strategy: row for row in strategies_cost.small_costs(names)}
for name, row in small.items():
    if STRATEGIES[name].exactness == "bitwise":
        assert row.gradient_error == 0, name
    if STRATEGIES[name].exactness == "numerical":
        assert row.gradient_error < 1e-4, name
assert small["shared_storage"].training_peak < small["plain"].training_peak
assert (
    small["saved_in_8_bits"].gradient_error < 0.05 < small["gradient_accumulation"].gradient_error
)


def error(row):
    return "0" if row.gradient_error == 0 else f"{row.gradient_error:.1g}"


table(
    ["strategy", "promises", "training peak", "of plain", "gradient error"],
    [
        [
            name.replace("_", " "),
            STRATEGIES[name].exactness.replace("changes-function", "another result"),
            mib(row.training_peak, 2),
            percent(row.training_peak / small["plain"].training_peak, 0),
            error(row),
        ]
        for name, row in small.items()
    ],
    caption="What each strategy promises, and what it keeps to, at a small size",
)

# %% [markdown]
# The gradient error is $\lVert g - g_\text{plain}\rVert / \lVert g_\text{plain}\rVert$ over all
# parameters, in float32.

# %% [markdown]
# ### Recompute
#
# Concatenation and normalisation are most of the memory and, compared with convolutions, little
# arithmetic. So Pleiss and others (arXiv:1707.06990) drop what comes before each 1×1 convolution, and run it
# again in the backward pass:

# %% tags=["hide-input"]
source(recompute.BottleneckInputRecomputed)

# %% tags=["hide-input"]
say(f"""
That halves the peak, to {mib(cost["recompute_bottleneck_input"].training_peak, 0)}, at {times(time["recompute_bottleneck_input"], 2)} the time
in the picture above: little arithmetic still has to pass through memory. What remains are the
bottlenecks. Recomputing the layer as a whole drops them too and leaves
{mib(cost["recompute_layer"].training_peak, 0)}. Recomputing a whole *block* keeps less still between
the passes, but when its turn comes all of its copies are back at once: the peak is
{mib(cost["recompute_block"].training_peak, 0)}. Less kept is not less peak.
""")
assert cost["recompute_layer"].training_peak < cost["recompute_block"].training_peak

# %% [markdown]
# ### The trap: batch normalisation remembers how often it ran
#
# Recomputation runs batch normalisation twice. In training mode each run updates the running mean
# and variance. So the naive way changes the network that you evaluate later:

# %% tags=["hide-input"]
updates = memory_claims.running_statistics(
    ["recompute_bottleneck_input", "recompute_layer", "recompute_block", "shared_storage"]
)
naive, *ours = updates
assert set(naive.layers_by_count) == {1, 2} and naive.largest_error > 1e-3
assert all(set(row.layers_by_count) == {1} for row in ours)
assert all(row.largest_error == 0 for row in ours if row.implementation != "shared_storage")
assert all(row.largest_error < 1e-5 for row in ours)
table(
    ["implementation", "updated once", "updated twice", "largest error of a running statistic"],
    [
        [
            row.implementation.replace("_", " ") if row in ours else row.implementation,
            row.layers_by_count.get(1, 0),
            row.layers_by_count.get(2, 0),
            "0" if row.largest_error == 0 else f"{row.largest_error:.1g}",
        ]
        for row in updates
    ],
    caption="Batch normalisation after one training step of a small DenseNet, live",
)

# %% [markdown]
# The gradients are right in every row, so no gradient check finds it. The fix is a context around
# the second run. Momentum 0 keeps every bit of the statistics, and the counter is put aside:

# %% tags=["hide-input"]
source(recompute.running_statistics_untouched)

# %% [markdown]
# ### Shared storage
#
# One step further, the copies are not even made for a moment. A dense block is *one* operation with
# one buffer for all of its features. Each layer writes its $k$ channels behind the others, so nothing
# is ever concatenated. The batch statistics of a feature are the same for every layer that reads it,
# so they are computed once. The buffer is all that is kept; the backward pass walks the layers in
# reverse, computes the bottleneck again, and adds into one gradient buffer. With the $C$ features before
# a layer as the columns of $X$, one pixel a row, the layer computes
#
# $$h = \mathrm{ReLU}\Bigl(\gamma\,\frac{X - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta\Bigr), \quad z = h\,W^\top,$$
#
# $$g = \mathrm{ReLU}\Bigl(\gamma'\,\frac{z - \nu}{\sqrt{\tau^2 + \varepsilon}} + \beta'\Bigr),$$
#
# $$y = \mathrm{conv}_{3\times3}(g),$$
#
# where $\mu, \sigma^2$ and $\nu, \tau^2$ are the mean and variance of each column of $X$ and of $z$. The columns
# of $X$ never change once they are written, so neither do $\mu$ and $\sigma^2$. In code:

# %% tags=["hide-input"]
source(shared_storage_reference.layer_forward)

# %% [markdown]
# The block in its shortest form, as one function with its own gradient:

# %% tags=["hide-input"]
source(shared_storage_reference.SharedStorageReference)

# %% tags=["hide-input"]
live = lines["shared_storage"].live
first_block = study.first_block_bytes()
assert max(range(len(live)), key=live.__getitem__) > 0.9 * len(live)
assert 2 * first_block + 4 * plain.parameters < shared.training_peak
say(f"""
The version that is measured above also treats the stem and the transitions like this and works in
slices, so that temporaries stay small. Its peak of {mib(shared.training_peak)} is
{times(shared.training_peak / distinct)} the {mib(distinct)} that all features have together. It is reached late in the
backward pass, when only the first block's are left: {mib(first_block)}, a buffer of the same size for their
gradients, the slices, and {mib(4 * plain.parameters)} for the gradients of almost all parameters, which no way of
keeping activations can save.
""")

# %% tags=["hide-input"]
book_plain, book_shared = (study.books_step(name) for name in ("plain", "shared_storage"))
at_peak = book_shared.bytes_by_category
assert at_peak["activations"] < 2**20 and at_peak["gradients"] > 0.99 * at_peak["parameters"]
say(f"""
The book's network of [exercise 3.1](3-1-memory.py) has no bottlenecks to compute again, and less to save: at 128
images of 224×224 the peak falls from {mib(book_plain.peak_beyond_parameters, 0)} to
{mib(book_shared.peak_beyond_parameters, 0)}, {times(book_plain.peak_beyond_parameters / book_shared.peak_beyond_parameters)}
less. It is reached at the end of the backward pass, when all blocks are done and the stem, whose maps have four
times the pixels of the first block's, has its turn.
""")

# %% tags=["hide-input"]
table(
    [
        "DenseNet-121, 8 images of 224×224",
        "peak, measured",
        "less",
        "step time, two threads",
        "quartiles",
        "one thread",
        "quartiles",
        "fresh pages per step",
    ],
    [
        [
            row.name.replace("_", " "),
            mib(row.peak_beyond_parameters),
            times(baseline.peak_beyond_parameters / row.peak_beyond_parameters),
            times(row.time_ratio, 2),
            f"{times(row.time_ratio_low, 2)} to {times(row.time_ratio_high, 2)}",
            *(
                (
                    times(one.time_ratio, 2),
                    f"{times(one.time_ratio_low, 2)} to {times(one.time_ratio_high, 2)}",
                )
                if (one := one_rows.get(row.name))
                else (None, None)
            ),
            row.page_faults,
        ]
        for row in bench.rows
    ],
    caption=f"Full size, in turn, {bench.repeats} rounds; the peak is the CPU allocator's, beyond "
    "parameters, buffers and input; a fresh page is one that the operating system had to hand out",
    align="lrrrrrrr",
)

# %% tags=["hide-input"]
record_note(bench_record)

# %% tags=["hide-input"]
short = {
    name: 1 - predicted[name].training_peak / cost[name].training_peak
    for name in ("recompute_layer", "recompute_block")
}
small_predicted, small_measured = study.workspace_of_recomputation()
scratch = small_measured.bytes_by_category["workspace"]
assert scratch > 0 and all(0.02 < share < 0.1 for share in short.values())
assert small_predicted.peak_bytes == small_measured.peak_bytes - scratch
say(f"""
For recomputation the prediction is too low, by {percent(short["recompute_layer"])} for layers and
{percent(short["recompute_block"])} for blocks (for the plain network by {mib(baseline.peak_beyond_parameters - predicted["plain"].training_peak)}).
What it misses is the scratch space that kernels take in the midst of an operation, which only an allocator
sees. A small network that recomputes its layers, measured live: {mib(small_measured.peak_bytes, 2)}, of which
{mib(scratch, 2)} are such workspace, and the rest is to the byte what was predicted. The other
predictions of recomputation on this page, how far it goes and the explorer's, lack it too. Times differ from
those above because those are of smaller images and one thread.

The peaks do not scatter, the times do. On two threads the rounds of shared storage took {min(timed.seconds):.2f} to
{max(timed.seconds):.2f} s, those of torchvision's network {min(baseline.seconds):.2f} to {max(baseline.seconds):.2f} s, on
a machine that is shared with others. *compiled* is the compiler's own recomputation, under a memory budget and after minutes
of compiling. One likely reason why so much recomputation costs so little can be counted, though how much it explains was
not measured. In
each step torchvision's network touches {count(baseline.page_faults)} fresh pages of memory, which the
operating system must hand out and fill with zeros, and shared storage {count(timed.page_faults)}: a small
step reuses the memory of the one before. On a GPU, where PyTorch's allocator keeps what is freed, expect no such help.

Under bfloat16 autocast, in the same bench, torchvision's network peaks at {mib(half_bench.rows[0].peak_beyond_parameters, 0)}
and shared storage at {mib(half_rows["shared_storage"].peak_beyond_parameters, 0)}, at
{times(half_rows["shared_storage"].time_ratio, 2)} the time: its slices are converted to float32 and back. Recomputing
layers takes {mib(half_rows["recompute_layer"].peak_beyond_parameters, 0)} at {times(half_rows["recompute_layer"].time_ratio, 2)}.
`densenet-solutions bench memory` repeats all this on your machine, on a GPU with `--device cuda`.
""")

# %% [markdown]
# ### How far does it go?

# %% tags=["hide-input"]
reach_record = load_record("how-far")
reaches = study.reaches(reach_record)
sizes = sorted({row.budget_bytes for row in reaches.values()})
top = max(row.deepest_depth for row in reaches.values())
strategies = list(dict.fromkeys(name for name, _ in reaches))
strategies = [name for name in strategies if name not in ("in_place", "out_of_place")]
for same in ("in_place", "out_of_place"):
    assert all(
        reaches[same, size].largest_batch == reaches["plain", size].largest_batch for size in sizes
    )
table(
    ["exact strategy", *(f"in {gib(size, 0)}" for size in sizes)],
    [
        [name.replace("_", " "), *(reaches[name, size].largest_batch for size in sizes)]
        for name in strategies
    ],
    caption="Largest batch of DenseNet-121; training on images of 224×224 in float32, predicted",
    align="l" + "r" * len(sizes),
)

# %% tags=["hide-input"]
table(
    ["exact strategy", *(f"in {gib(size, 0)}" for size in sizes)],
    [
        [
            name.replace("_", " "),
            *(
                ("≥ " if reaches[name, size].deepest_depth == top else "")
                + count(reaches[name, size].deepest_depth)
                for size in sizes
            ),
        ]
        for name in strategies
    ],
    caption=f"Most layers at a batch of {reaches['plain', sizes[0]].deep_batch}, the third block "
    f"lengthened; {count(top)} layers are the deepest that were tried. In place or not makes no difference; "
    "where layers or blocks are recomputed, the workspace of kernels will take some of it back",
    align="l" + "r" * len(sizes),
)

# %% tags=["hide-input"]
record_note(reach_record)

# %% tags=["hide-input"]
small_card, large_card = sizes[0], sizes[-1]
ordinary, stored = reaches["plain", small_card], reaches["shared_storage", small_card]
assert stored.largest_batch > 8 * ordinary.largest_batch
assert stored.largest_batch > reaches["plain", sizes[2]].largest_batch
assert stored.deepest_depth == top
say(f"""
In {gib(small_card, 0)} the plain network trains on {ordinary.largest_batch} images at once, with shared storage on
{count(stored.largest_batch)}: more than the plain network manages in {gib(sizes[2], 0)}
({reaches["plain", sizes[2]].largest_batch}). At a batch of {ordinary.deep_batch} a DenseNet may have
{count(reaches["plain", small_card].deepest_depth)} layers in {gib(small_card, 0)} and
{count(reaches["plain", large_card].deepest_depth)} in {gib(large_card, 0)}; with shared storage
{count(reaches["shared_storage", small_card].deepest_depth)} fit in {gib(small_card, 0)}, the most we tried. The deeper networks lengthen the third
block, $(6, 12, n, 16)$. Everything that the step allocates is counted; a GPU's context and its libraries' workspace are not,
and no GPU has confirmed these numbers yet.
""")

# %% [markdown]
# ### Reorder, or move
#
# Average pooling and a 1×1 convolution commute ([exercise 1](1-average-pooling.py)), so transitions
# may pool first. Moving what is kept to the host's memory recomputes nothing, but every byte travels to
# the host and back.

# %% tags=["hide-input"]
say(f"""
Pooling first takes the peak to {mib(cost["pool_first"].training_peak)}:
{percent(1 - cost["pool_first"].training_peak / plain.training_peak)} less, since transitions are few. It saves work more than memory: {billions((plain.multiply_adds - cost["pool_first"].multiply_adds) / 8)} fewer
multiply-adds an image. In time ({times(time["pool_first"], 2)}) that is within the noise.
""")

# %% [markdown]
# ### Fewer bits
#
# Under bfloat16 autocast, convolutions compute and keep 16 bits. Or the forward pass stays in
# float32 and only what autograd keeps is rounded, to 8 bits a number:

# %% tags=["hide-input"]
source(saved_in_8_bits.EightBit)

# %% tags=["hide-input"]
bits = cost["saved_in_8_bits"]
half_time = ""
if "bfloat16" in time:
    half_time = f" and, on this processor, {times(time['bfloat16'], 2)} of its time"
say(f"""
The loss stays exact, the peak falls to {mib(bits.training_peak)}, and the gradient is off by
{percent(small["saved_in_8_bits"].gradient_error)} in the small network above. One line of it holds a lesson. ReLU's gradient passes where its *output* is
positive. Plain rounding would turn {percent(memory_claims.rounded_to_zero())} of the positive outputs into
zeros and stop their gradients. So a small positive number is
rounded up. bfloat16 takes {percent(cost["bfloat16"].training_peak / plain.training_peak, 0)} of the plain peak{half_time}.
Its time is a question of whether the processor has units for it.

For inference, weights can be kept in 8 bits as well: {mib(cost["quantized_inference"].state_bytes)} instead of
{mib(plain.state_bytes)}. The peak beside them falls from {mib(plain.inference_peak)} to
{mib(cost["quantized_inference"].inference_peak)}, because the features of a block are kept in 8 bits too and
normalisation writes over its input. It is not a quarter, because what one layer reads is restored to float32; only integer
kernels would avoid that.
""")

# %% [markdown]
# ### Fewer connections
#
# If copies of earlier features fill the memory, read fewer of them. A fixed pattern says which of the
# sources $0, \dots, \ell-1$ layer $\ell$ reads:

# %% tags=["hide-input"]
source(connectivity.logarithmic)

# %% tags=["hide-input"]
source(connectivity.harmonic)

# %% tags=["hide-input"]
say(f"""
A block of $n$ layers has then about $n \\log_2 n$ or $2n$ connections instead of $n^2/2$, and the
quadratic term is gone. At DenseNet-121's depth that saves less than it sounds: peaks of
{mib(cost["logarithmic_connections"].training_peak, 0)} and
{mib(cost["harmonic_connections"].training_peak, 0)}, because bottlenecks, transitions and stem stay. Gates
go the other way: they start from all connections of a trained network, keep those it uses most, and learn.
A gate multiplies the scale and the shift of a normalisation, since
$\\mathrm{{ReLU}}(g\\,y) = g\\,\\mathrm{{ReLU}}(y)$ for $g \\ge 0$, so it costs no activation; a closed one is not
read at all.
""")

# %% tags=["hide-input"]
source(gates.GatedNorm)

# %% [markdown]
# ### Smaller layers
#
# Pruning must *remove* channels, here from every layer that reads them. Learned groups (CondenseNet,
# arXiv:1711.09224) let each group of outputs keep the inputs it uses most, then gather them and run a
# grouped convolution. Low-rank factors replace one convolution by two thinner ones:

# %% tags=["hide-input"]
source(low_rank.factorize)

# %% tags=["hide-input"]
assert cost["learned_groups"].training_peak > 0.99 * plain.training_peak
assert cost["low_rank"].training_peak > plain.training_peak
say(f"""
| network | parameters | multiply-adds | training peak |
|---|---:|---:|---:|
| plain | {millions(plain.parameters)} | {billions(plain.multiply_adds / 8)} | {mib(plain.training_peak)} |
| pruning | {millions(cost["channel_pruning"].parameters)} | {billions(cost["channel_pruning"].multiply_adds / 8)} | {mib(cost["channel_pruning"].training_peak)} |
| learned groups | {millions(cost["learned_groups"].parameters)} | {billions(cost["learned_groups"].multiply_adds / 8)} | {mib(cost["learned_groups"].training_peak)} |
| low rank | {millions(cost["low_rank"].parameters)} | {billions(cost["low_rank"].multiply_adds / 8)} | {mib(cost["low_rank"].training_peak)} |

All three save parameters and work. **Only pruning saves memory**: it alone makes features fewer. Groups
gather as many channels as they found, and factors add an activation between the two convolutions. They
are answers to another question.
""")

# %% [markdown]
# ### Fewer images at once
#
# Gradient accumulation runs the batch in parts. It is often called exact. With batch normalisation it
# is not: each part is normalised by its own statistics.

# %% tags=["hide-input"]
say(f"""
Four parts take the peak to {mib(cost["gradient_accumulation"].training_peak)}, but the gradient is
off by {percent(small["gradient_accumulation"].gradient_error, 0)} of its length in the small network above:
single images are poor statistics. Without batch statistics (in evaluation mode, or with another normalisation) it is exact, and a
test of this repository says so. Where parts are still large, the difference is the one between two
batch sizes, and mostly harmless.
""")

# %% [markdown]
# ### What it does to accuracy
#
# A strategy that gives another result may cost accuracy.

# %% tags=["hide-input"]
from densenet_solutions.exercises.saving_memory import accuracy as setting

say(f"""
This is a reduced setting that a CPU manages: the book's DenseNet on {count(setting.TRAIN_IMAGES)} images of
Fashion-MNIST at {setting.SETTINGS.resolution}×{setting.SETTINGS.resolution}, {setting.SETTINGS.epochs} epochs, tested on {count(setting.TEST_IMAGES)}
other images. It can tell a large loss from a small one, no more.
""")

# %% tags=["hide-input"]
accuracy_record = load_record("strategies-accuracy")
accuracy = study.accuracy_changes(accuracy_record)
seeds = accuracy["plain"].seeds
table(
    ["strategy", "right after the change", "after training", "against plain, in points"],
    [
        [
            name.replace("_", " "),
            percent(row.accuracy_at_change) if row.accuracy_at_change and name != "plain" else None,
            percent(row.accuracy),
            None if name == "plain" else pictures.points(row.difference, row.half_width),
        ]
        for name, row in accuracy.items()
    ],
    caption=f"Test accuracy on Fashion-MNIST of the book's DenseNet, {seeds} seed{'s' if seeds > 1 else ''}",
)

# %% tags=["hide-input"]
record_note(accuracy_record)

# %% tags=["hide-input"]
condensed = accuracy["learned_groups"]
worst = min(row.difference for row in accuracy.values())
noise = (accuracy["plain"].accuracy * (1 - accuracy["plain"].accuracy) / setting.TEST_IMAGES) ** 0.5
assert condensed.accuracy_at_change < accuracy["plain"].accuracy - 0.2
say(f"""
Gates, groups, pruning and factors were applied before the last epoch, which repairs them; quantisation comes
after it. Right after the change a network can be broken: with learned groups it falls
to {percent(condensed.accuracy_at_change)}, for here nothing prepared it for losing three quarters of its inputs
(CondenseNet removes them step by step, under a penalty). One more epoch brings it back to
{percent(condensed.accuracy)}. The largest loss after that is {100 * -worst:.1f} points, where the test set alone,
with its {count(setting.TEST_IMAGES)} images, leaves a standard error of {100 * noise:.1f} points.
{"One seed shows no more than that nothing collapses." if seeds < 3 else "Intervals are paired by seed and cover 95%."}
""")

# %% [markdown]
# ### What must change, on three levels
#
# **The model's code.** Connections, channels, ranks and groups are the model's business. No framework has
# to change, but the network is another one. Only pooling first changes code and not the function.
#
# **What autograd saves.** Frameworks save what each primitive operation needs, one operation at a time;
# none of them can see that a concatenation holds nothing new. Three interfaces exist to tell them:
# `checkpoint` (run this part again), `saved_tensors_hooks` (keep this in another form: 8 bits, the
# host's memory), and `autograd.Function` (this whole block is one operation, and here is its gradient).
# The first must know about modules with state, or it falls into the trap above. The third can do
# everything, and asks you to derive and test the backward pass.
#
# **What the compiler plans.** A compiler sees the joint graph of both passes and can choose what to keep
# under a budget (`torch._functorch.config.activation_memory_budget`). It finds recomputation by itself,
# after minutes of compiling. PyTorch's compiler can also write the inputs of one concatenation straight into
# its output; that one buffer may hold the results of a whole *chain* of concatenations is a statement about
# where tensors live that we know no way to make. A framework that allowed it would give `cat` views instead of
# copies, plan buffers over both passes, and mark state updates such as running statistics as not to be repeated.
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

# %% [markdown]
# ## What people say, checked
#
# Where no network is named, the numbers of this section are of a small one, measured live: the stem and
# the first block of the book's DenseNet, 64 images of 96×96 (the distilled student has $k$ = 16).

# %% tags=["hide-input"]
zeros = memory_claims.zero_weights()
sparse = {share: memory_claims.sparse_bytes_per_dense_byte(share) for share in (0.5, 0.9)}
clipped = memory_claims.relu6()
taught = memory_claims.distillation()
full_rank, quarter = (memory_claims.low_rank_factors(share) for share in (1.0, 0.25))
free, by_hand = memory_claims.early_freeing(), memory_claims.freeing_by_hand()
assert zeros.peak == zeros.reference_peak and zeros.share > 0.85
assert sparse[0.5] > 1
assert abs(clipped.share - clipped.reference_share) < 0.02 and clipped.peak > clipped.reference_peak
assert taught.peak >= taught.reference_peak and taught.parameters > taught.reference_parameters
assert quarter.parameters < quarter.reference_parameters and quarter.peak > quarter.reference_peak
assert by_hand.peak == by_hand.reference_peak and free.peak < free.reference_peak / 2
claims(
    [
        (
            "Activations that overwrite their input save training memory.",
            "does not hold",
            f"""In a DenseNet layer the convolution keeps the ReLU's output, and the ReLU needs the same
            tensor. Its input is needed by nobody and freed at once, in place or not:
            {mib(cost["out_of_place"].training_peak)} and {mib(cost["in_place"].training_peak)} for DenseNet-121. At
            inference in-place is {mib(cost["in_place"].inference_peak)} against
            {mib(cost["out_of_place"].inference_peak)}.""",
        ),
        (
            "An L1 penalty makes weights sparse and so saves memory.",
            "does not hold",
            f"""With {percent(zeros.share, 0)} of the weights zero the peak is {mib(zeros.peak)}, and with none
            zero it is {mib(zeros.reference_peak)}. A dense tensor stores its zeros. A sparse format
            stores indices: PyTorch's (coordinates, four 64-bit indices a value) takes {times(sparse[0.5])} the bytes for
            a feature map that is half zero, and at 90% zeros still {times(sparse[0.9], 2)}. Leaner formats save more,
            but convolutions do not read them. Zeros save memory when whole channels are removed.""",
        ),
        (
            "ReLU6 gives sparser activations than ReLU, which saves memory.",
            "does not hold",
            f"""It clips at 6, not at 0: {percent(clipped.share)} zeros against
            {percent(clipped.reference_share)}. It even costs memory, {mib(clipped.peak, 0)} against
            {mib(clipped.reference_peak, 0)}, because its gradient needs the input (was it above 6?), which a
            ReLU can throw away.""",
        ),
        (
            "Distillation reduces the memory of the small network.",
            "does not hold",
            f"""The student is small because it was built small. Taught, its training step peaks at
            {mib(taught.peak)}, and untaught at {mib(taught.reference_peak)}; and the teacher's
            parameters are needed besides. What teaching may improve is the accuracy of a given size.""",
        ),
        (
            "Low-rank factors save memory.",
            "does not hold",
            f"""They save parameters: {count(quarter.parameters)} instead of
            {count(quarter.reference_parameters)} at a quarter of the rank. The training peak rises, from
            {mib(quarter.reference_peak, 0)} to {mib(quarter.peak, 0)}, and to {mib(full_rank.peak, 0)} at full rank,
            by the activation between the factors. It can only fall where parameters outweigh activations.""",
        ),
        (
            "At inference, free feature maps as soon as they are no longer needed.",
            "holds with a condition",
            f"""Under `torch.no_grad()` that is what happens already: {mib(free.peak)} against
            {mib(free.reference_peak)} for the same forward pass with autograd on. Deleting by hand on top:
            {mib(by_hand.peak)} against {mib(by_hand.reference_peak)}, nothing. The condition is not to forget
            the context.""",
        ),
        (
            "Gradient accumulation gives the same gradient as the large batch.",
            "holds with a condition",
            f"""Without batch normalisation. With it, four parts of one image are off by
            {percent(small["gradient_accumulation"].gradient_error, 0)}.""",
        ),
        (
            "Checkpointing is exact.",
            "holds with a condition",
            f"""Its gradients are. Running statistics are not, unless someone looks after them:
            {naive.layers_by_count[2]} layers of the small network above were updated twice.""",
        ),
        (
            "The more you recompute, the less memory you need.",
            "does not hold",
            f"""In DenseNet-121 recomputing whole blocks peaks at {mib(cost["recompute_block"].training_peak, 0)}, recomputing
            single layers at {mib(cost["recompute_layer"].training_peak, 0)}: what is recomputed together is
            there together.""",
        ),
    ]
)

# %% [markdown]
# ## Use it

# %%
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
# - Pleiss, Chen, Huang, Li, van der Maaten, Weinberger, *Memory-efficient implementation of DenseNets*,
#   arXiv:1707.06990; Huang et al., *Convolutional networks with dense connectivity*, arXiv:2001.02394.
# - Chen, Xu, Zhang, Guestrin, *Training deep nets with sublinear memory cost*, arXiv:1604.06174.
# - Rota Bulò, Porzi, Kontschieder, *In-place activated BatchNorm*, arXiv:1712.02616.
# - Micikevicius et al., *Mixed precision training*, arXiv:1710.03740; Chen et al., *ActNN*,
#   arXiv:2104.14129; Jacob et al., *Quantization and training of neural networks*, arXiv:1712.05877.
# - Hu, Dey, Del Giorno, Hebert, Bagnell, *Log-DenseNet*, arXiv:1711.00002; Chao et al., *HarDNet*,
#   arXiv:1909.00948; Huang, Liu, van der Maaten, Weinberger, *CondenseNet*, arXiv:1711.09224.
# - Liu et al., *Network slimming*, arXiv:1708.06519; Denton et al., *Exploiting linear structure*,
#   arXiv:1404.0736; Bengio, Léonard, Courville, arXiv:1308.3432 (the gradient of a gate); Hinton,
#   Vinyals, Dean, *Distilling the knowledge in a neural network*, arXiv:1503.02531.
#
# ## How these numbers were made

# %% tags=["hide-input"]
how_made(timeline_record, bench_record, record, reach_record, accuracy_record)
