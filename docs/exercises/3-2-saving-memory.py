# %% [markdown]
# # Exercise 3.2: Keep each feature once
#
# !!! question "Exercise 3, second part"
#     DenseNet was criticised for its memory. Is there *another way* to need less of it? And how
#     would the *framework* have to change? ([D2L, section 8.7, exercise
#     3](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises), in our words)

# %%
from statistics import median

from densenet_solutions.exercises.network.buffer import buffer_frames
from densenet_solutions.exercises.network.ledger import ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames
from densenet_solutions.exercises.network.trap import trap_frames
from densenet_solutions.exercises.saving_memory import claims, pictures, study
from densenet_solutions.exercises.saving_memory.bench import MemoryBench
from densenet_solutions.exercises.saving_memory.dial import IN_TF32, Dial
from densenet_solutions.exercises.saving_memory.kept import Kept
from densenet_solutions.memory import recompute, selective_checkpointing
from densenet_solutions.memory.shared_storage import reference
from densenet_solutions.memory.shared_storage.plan import SLICES, planned_for
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import count, mib, milliseconds, percent, times
from densenet_solutions.site.page import how_made, record_note, source

record = load_record("bench-memory")
bench = from_json(MemoryBench, record.cases["densenet121-8x224-float32-one-thread"])
rows = {row.name: row for row in bench.rows}
peak = {name: row.peak_beyond_parameters for name, row in rows.items()}
time = {name: row.time_ratio for name, row in rows.items()}
shared = rows["shared_storage"]
ratio = peak["torchvision"] / peak["shared_storage"]
assert 9.5 < ratio < 10.5 and 0.85 < time["shared_storage"] < 1.15
in_float32 = [
    {row.name: row for row in from_json(MemoryBench, record.cases[case]).rows}
    for case in record.cases
    if "-float32" in case
]
in_bfloat16 = sorted(
    row.time_ratio
    for case in record.cases
    if "-bfloat16" in case
    for row in from_json(MemoryBench, record.cases[case]).rows
    if row.name == "shared_storage"
)
beside_last_on_cpu = [
    study.beside(found["shared_storage"], found["torchvision channels_last"])
    for found in in_float32
]
in_all = [found["shared_storage"].time_ratio for found in in_float32] + [
    from_json(Kept, case).by_share()[0.0].time_ratio
    for case in load_record("shared-storage-kept").cases.values()
]
assert min(peak, key=peak.get) == "shared_storage"
gpu_record = load_record("bench-memory-gpu")
gpu = study.gpu_benches(gpu_record)
on_gpu = {batch: {row.name: row for row in result.rows} for batch, result in gpu.items()}
large = on_gpu[256]
gpu_ratio = {
    batch: found["torchvision"].peak_beyond_parameters
    / found["shared_storage"].peak_beyond_parameters
    for batch, found in on_gpu.items()
}
gpu_layer = (
    large["torchvision"].peak_beyond_parameters / large["recompute_layer"].peak_beyond_parameters
)
assert 5 < gpu_ratio[8] < gpu_ratio[256] < 9 and 4.5 < gpu_layer < 5
assert min(large, key=lambda name: large[name].peak_beyond_parameters) == "shared_storage"
assert all(1.5 < found["shared_storage"].time_ratio < 2.5 for found in on_gpu.values())
card = study.card(gpu_record)
beside_last = {
    batch: study.beside(found["shared_storage"], found["torchvision channels_last"])
    for batch, found in on_gpu.items()
}
with planned_for("cuda"):  # the whole batch at once
    whole = study.predicted_peaks(["shared_storage"])["shared_storage"]
    blocks_only = study.sharing_blocks_only()
books_plain, books_shared = (
    study.books_step(name).peak_beyond_parameters for name in ("plain", "shared_storage")
)
books_ratio = books_plain / books_shared
assert SLICES == {"cpu": 8, "cuda": 1} and shared.peak_beyond_parameters < whole < blocks_only
few, many = (
    from_json(Dial, load_record("shared-storage-slices").cases[batch]) for batch in ("8", "256")
)
small = ledger("plain")
kept_channels, different = round(small.turn.channels), 64 + 4 * 32

# %% [markdown]
# !!! turn "Your turn"
#     Take one dense block of the book: it gets 64 channels, and each of its four layers adds 32.
#     A layer reads everything before it, as one concatenated tensor, and normalises it. Autograd
#     keeps the tensor for the normalisation, and the normalised one for the convolution. How many
#     channels are kept, and how many has the block?
#
#     [guess: kept] [guess: features]
#
#     ??? hint "Hint 1: one layer at a time"
#         Layer 1 reads 64 channels, layer 2 reads 96. Each leaves two tensors of that width.
#
#     ??? hint "Hint 2: what does a gradient need?"
#         Which of the kept tensors hold the same numbers? Which could a cheap operation restore?
#
#     ??? solution "Compare"
#         Kept are {{ count(kept_channels) }}: 2 × (64 + 96 + 128 + 160). The block has
#         {{ different }} channels of features: its input and four times 32.
#
#         See what a network of yours keeps.
#
#         ```python
#         from densenet_solutions import check
#
#         check.memory(MyNet, "book-densenet", batch=1)
#         ```
#
# !!! answer "The answer"
#     Keep each feature once. PyTorch keeps a copy of all earlier features for every layer, and a
#     normalised one. Give a block one buffer that layers append to; compute the rest of a layer, stem
#     and transitions again in the backward pass, on a CPU in eight slices of the batch. The network does
#     not change; what autograd saves does.
#
#     - **{{ times(ratio) }}** less memory at DenseNet-121's peak: {{ mib(peak["torchvision"], 0) }} become
#       {{ mib(peak["shared_storage"], 0) }}^[CPU, 8 images of 224², beyond parameters, buffers and input. {{ card }}, one slice:
#       {{ times(gpu_ratio[8]) }}, with 256 images {{ times(gpu_ratio[256]) }}. [The book's
#       network](3-2c-bench.py#the-books-own-network), predicted: {{ times(books_ratio) }} in slices.]
#     - **{{ times(time["shared_storage"], 2) }}** the time of torchvision's step on a CPU^[One thread,
#       float32; in [all such runs](3-2c-bench.py), on one thread or two, {{ times(min(in_all), 2) }} to
#       {{ times(max(in_all), 2) }}; bfloat16 {{ times(in_bfloat16[0], 2) }} and
#       {{ times(in_bfloat16[1], 2) }}. Beside `channels_last`, {{ times(min(beside_last_on_cpu), 2) }} to
#       {{ times(max(beside_last_on_cpu), 2) }}.]
#     - **{{ times(large["shared_storage"].time_ratio) }}** its time on an {{ card }} with 256
#       images^[{{ times(on_gpu[8]["shared_storage"].time_ratio) }} with 8. Beside torchvision's in
#       `channels_last`, {{ times(beside_last[256]) }} with 256 and {{ times(beside_last[8]) }} with 8.]

# %%
assert kept_channels == 896

# %% [markdown]
# ## Where the memory goes
#
# Move through one training step. A row is a tensor that is held, a column a channel.
#
# The book's first block · 8 images, 56 × 56 · float32 · counted, shared storage in a CPU's slices
# { .ds-setup }

# %%
one_buffer = ledger("shared_storage")
last_back = {
    name: book.moments[-2].peak_channels
    for name, book in (("plain", small), ("shared", one_buffer))
}
assert last_back["shared"] > last_back["plain"]
ledger_frames([small, one_buffer])

# %%
kept = study.kept_for_backward()
copies = kept["concatenated features"] + kept["normalised features"]
distinct = study.feature_bytes()
assert kept["concatenated features"] == kept["normalised features"] == study.read_bytes()
assert copies > 12 * distinct

# %% [markdown]
# With $n$ layers, $c_0$ channels at the start and growth rate $k$ the rows add up to
# $2 n c_0 + k\,n(n-1)$ channels, which is quadratic in $n$, for $c_0 + nk$ channels of features. In
# DenseNet-121 that is {{ mib(copies) }} by formula and by count, half of it read and half the same normalised, for
# {{ mib(distinct) }} of features ([8 images of 224²](3-2c-bench.py#what-is-kept)).
#
# ## Recompute
#
# Concatenation and normalisation fill most of the memory, and are little arithmetic. So Pleiss and
# others let go of what stands before each *bottleneck*, the 1×1 convolution before the 3×3 one, and
# run it again when the gradient comes.

# %%
assert 0.45 < peak["recompute_bottleneck_input"] / peak["torchvision"] < 0.55
assert peak["recompute_layer"] < peak["recompute_block"] < peak["recompute_bottleneck_input"]
bottlenecks = kept["bottleneck outputs"] + kept["normalised bottlenecks"]
assert bottlenecks > 0.5 * peak["recompute_bottleneck_input"]

# %% [markdown]
# That halves the {{ mib(peak["torchvision"], 0) }} of DenseNet-121 to
# {{ mib(peak["recompute_bottleneck_input"], 0) }}, mostly bottlenecks. Run the *layers*, and the
# transitions, *as a whole* again, and these go too: {{ mib(peak["recompute_layer"], 0) }}.
#
# !!! does-not-hold "The more you recompute, the less memory you need."
#     Run a whole *block* (and transition) again: less is kept between the passes, but the peak is
#     {{ mib(peak["recompute_block"], 0) }}. What is recomputed together is in memory together.
#
# ## The trap: batch normalisation remembers
#
# In training mode every run of a batch normalisation moves its running mean and variance. Run it
# again in the backward pass, and they move twice.

# %%
trap_frames()

# %%
updates = claims.running_statistics(
    [
        *("recompute_bottleneck_input", "recompute_layer", "recompute_block"),
        *("selective_checkpointing", "shared_storage"),
    ]
)
naive, *ours = updates
assert set(naive.layers_by_count) == {1, 2}
assert all(set(row.layers_by_count) == {1} and row.largest_error < 1e-5 for row in ours)

# %% [markdown]
# The gradients are right, so no gradient check finds this. torchvision's `memory_efficient=True` walks
# into it: in a network with blocks of 3 and 4 layers it updates {{ naive.layers_by_count[2] }} of
# {{ sum(naive.layers_by_count.values()) }} normalisations twice. The cure is a context around the second run,
# which keeps the statistics as they are.
#
# ??? note "In code, and one more condition"
#     {{ source(recompute.BottleneckInputRecomputed) }}
#
#     {{ source(recompute.running_statistics_untouched) }}
#
#     Recomputing is exact only while parameters, buffers and the mode stay what they were in the
#     forward pass. `torch.utils.checkpoint` does not notice changed parameters or buffers, and gives
#     another gradient without a word. Ours raises an error for parameters, modes, and running statistics
#     that are used.
#
# ## Share
#
# The concatenated copies need not even be made, and of the normalised ones only one layer's at a time.
# The block gets *one buffer*. A layer reads a view of it, which
# costs nothing, and writes its 32 channels behind the others.

# %%
buffer_frames()

# %% [markdown]
# In ten lines, with one pixel a row and `c` the channels before a layer:
#
# ```python
# def forward(x):
#     buffer = empty(pixels, c0 + n * k)
#     buffer[:, :c0] = x
#     for layer in layers:
#         buffer[:, c : c + k] = layer(buffer[:, :c])  # a view, not a copy
#     keep(buffer)  # and nothing else
#
# def backward(gradient):  # a second buffer, as large as the first
#     for layer in reversed(layers):
#         again = layer(buffer[:, :c])  # bottleneck and all
#         gradient[:, :c] += again.backward(gradient[:, c : c + k])
# ```
#
# By prediction, sharing inside the blocks brings DenseNet-121's step to {{ mib(blocks_only, 0) }}, with
# stem and transitions, in functions of the same kind, to {{ mib(whole, 0) }} (an {{ card }} took
# {{ mib(on_gpu[8]["shared_storage"].peak_beyond_parameters, 0) }}). In eight slices, on a CPU, it is
# {{ mib(peak["shared_storage"], 0) }}; each slice is normalised by the whole batch's statistics.
#
# ??? note "The block as runnable code, in its shortest form"
#     With the features before a layer as $X$, a layer is
#     $h = \mathrm{ReLU}(\gamma\,(X - \mu)/\sqrt{\sigma^2 + \varepsilon} + \beta)$ and
#     $z = h\,W^\top$, and then the same with a 3×3 convolution.
#
#     {{ source(reference.SharedStorageReference) }}
#
#     {{ source(reference.layer_forward) }}
#
# ## What it saves, and what it costs
#
# DenseNet-121 · 224² · float32 · CPU, limited to 1 thread, and {{ card }} · one bench a panel
# { .ds-setup }

# %%
pictures.memory_and_time(
    {
        "CPU, 8 images": (bench, pictures.ON_A_CPU),
        f"{card}, 256 images": (gpu[256], pictures.ON_A_GPU),
    },
    caption="Shared storage saves most on both. Parameters, buffers and input are left out.",
)

# %% [markdown]
# {{ record_note(record, gpu_record) }}

# %%
started = load_record("step-operations").cases
half_bench, half_128 = (
    from_json(MemoryBench, gpu_record.cases[f"densenet121-{batch}x224-bfloat16"])
    for batch in (32, 128)
)
pairs = [
    (row, on_gpu[batch][row.name])
    for batch, found in ((32, half_bench), (128, half_128))
    for row in found.rows
]
plain_halved = [
    row.peak_beyond_parameters / full.peak_beyond_parameters
    for row, full in pairs
    if row.name == "torchvision"
]
assert all(0.48 < size < 0.52 for size in plain_halved)
assert all(min(row.seconds) < max(full.seconds) for row, full in pairs)  # rounds overlap
assert all(min(full.seconds) < max(row.seconds) for row, full in pairs)
half_cpu = from_json(MemoryBench, record.cases["densenet121-8x224-bfloat16"])
less = []
for found in (half_bench, half_128, half_cpu):
    ours, layer = (
        next(row for row in found.rows if row.name == name)
        for name in ("shared_storage", "recompute_layer")
    )
    less.append(1 - ours.peak_beyond_parameters / layer.peak_beyond_parameters)
    if found is half_128:  # the quartiles overlap
        assert abs(study.beside(ours, layer) - 1) < 0.05
        assert max(ours.time_ratio_low, layer.time_ratio_low) < min(
            ours.time_ratio_high, layer.time_ratio_high
        )
*less_in_half, less_on_cpu = less
assert 0 < less_in_half[0] < less_in_half[1] < 0.1 < 0.4 < less_on_cpu
assert few.kernel_seconds["1"] < few.seconds("1") / 4
assert few.row(IN_TF32).time_ratio > few.row("1").time_ratio_low
bench_8 = {name: median(on_gpu[8][name].seconds) for name in ("torchvision", "shared_storage")}
assert few.kernel_seconds["torchvision"] < few.seconds("torchvision") / 4
assert many.kernel_seconds["1"] > 0.95 * many.seconds("1")
tf32 = many.row(IN_TF32).time_ratio
assert many.row("1").time_ratio - tf32 > 0.2

# %% [markdown]
# ??? note "Why a GPU takes longer, and two things that you can set"
#     With 8 images both steps wait for the processor to start operations. The kernels of torchvision's
#     step take {{ milliseconds(few.kernel_seconds["torchvision"]) }} and the step
#     {{ milliseconds(few.seconds("torchvision")) }}; those of shared storage
#     {{ milliseconds(few.kernel_seconds["1"]) }} and the step {{ milliseconds(few.seconds("1")) }} (kernels of one step each, by the profiler; steps are medians, in
#     the bench {{ milliseconds(bench_8["torchvision"]) }} and
#     {{ milliseconds(bench_8["shared_storage"]) }}). Shared storage
#     calls {{ count(started["shared_storage 8"]) }} operations, torchvision's network
#     {{ count(started["torchvision 8"]) }}. With 256 images, in one slice, the GPU is at work nearly all the time, and has more to do.
#
#     You can set two things. The 1×1 convolutions are matrix products here, which
#     PyTorch computes in full float32, and its convolutions in TF32, with about three digits; after
#     `torch.set_float32_matmul_precision("high")` the step of 256 images takes {{ times(tf32) }} the plain one instead
#     of {{ times(many.row("1").time_ratio) }}. And `apply(model, slices=8)` works on an eighth of the
#     batch at a time: {{ times(many.less("8")) }} less memory instead of {{ times(many.less("1")) }}, at
#     {{ times(many.row("8").time_ratio) }} the time ([the dial](3-2c-bench.py#the-dial)). With 8 images
#     the first shows no difference, and the second brings {{ times(few.less("8")) }} less memory instead of
#     {{ times(few.less("1")) }}, at {{ times(few.row("8").time_ratio) }} the time.

# %%
selective = study.predicted_peaks(["selective_checkpointing"])["selective_checkpointing"]
assert peak["recompute_layer"] < selective < peak["recompute_bottleneck_input"]
gradients = study.gradients_of_inputs()
# At its end the backward pass has the parameters' gradients; there is no room for these besides.
assert gradients + 4 * study.parameters() > peak["torchvision"]

# %% [markdown]
# ## What the framework must change
#
# Autograd saves what each operation by itself needs. It does not see that a concatenation holds
# nothing new. It can be told in three places.
#
# !!! note "The model's code"
#     A *module* could own the memory of its results, and share it. In Lua Torch it
#     did. In PyTorch, without an `autograd.Function`, it can read fewer features, as
#     [VoVNet](https://arxiv.org/abs/1904.09730) does.
#
#     ??? note "The authors' own implementation in Lua, 2017"
#         It let modules share, at four levels
#         ([`-optMemory`](https://github.com/liuzhuang13/DenseNet/tree/master/models)). The first is
#         a general tool. The second, in its place, shares gradients, of which each module kept its own:
#         they come to {{ mib(gradients, 0) }} or more in the step above, counted on PyTorch's modules. Autograd frees a gradient once it is
#         used, so PyTorch has that saving already. The third also shares what layers concatenate,
#         and the fourth their normalised copies too, computed again in the backward pass: Pleiss's
#         way, with running statistics put back.
#
# !!! note "Autograd"
#     Four interfaces say what to save instead. `checkpoint`: run this part again. *Selective*
#     checkpointing: run it again, except these operations. `saved_tensors_hooks`: keep it in another
#     form. `autograd.Function`: this block is one operation, and here is its gradient. The first two
#     fall into the trap above, the second, if it keeps normalisations, only in the count of batches. The last
#     can do everything, and you write the backward pass.
#
#     ??? note "Pleiss's idea as a policy"
#         Selective checkpointing keeps what a convolution has computed and runs everything else again,
#         the second normalisation too. Predicted for the step above, with each layer and transition
#         under `checkpoint` and this policy, it peaks at {{ mib(selective, 0) }}.
#
#         {{ source(selective_checkpointing.keep_convolutions) }}
#
# !!! note "The compiler"
#     A compiler sees both passes and can choose what to keep under a budget
#     (`torch._functorch.config.activation_memory_budget`). We know of no way to tell it
#     that one buffer can serve a whole *chain* of concatenations. `cat` would have to give views, and buffers to be planned over both passes.
#
# ## Which one when
#
# | you have | take |
# |---|---|
# | a DenseNet that does not fit | shared storage |
# | an architecture of your own | recompute each layer, statistics untouched |
# | a GPU with bfloat16 | autocast: about half the plain peak |
# | no training at all | `inference_mode()`: nothing is kept |
#
# Shared storage has limits: first derivatives only, no `torch.func`; a block with hooks or
# unknown layers inside runs as it is, with a warning. Whether bfloat16 is faster our
# [benches](3-2c-bench.py#on-a-gpu) do not tell; its gradient [differs](3-2b-other-ways.py#fewer-bits).
# In bfloat16 shared storage needs {{ percent(less_in_half[0], 0) }} and
# {{ percent(less_in_half[1], 0) }} less than recomputing each layer ({{ card }}, 32 and 128 images), on a
# CPU, with 8 images in eight slices, {{ percent(less_on_cpu, 0) }}. [Everything else](3-2b-other-ways.py) has its own page.
#
# ## Check yours
#
# !!! check "Check yours"
#     Give `check.memory` a function that builds your network. It predicts the peak of a step, and
#     says what your network keeps beside the answers above.
#
#     ```python
#     from densenet_solutions import check
#
#     print(check.memory(MyNet, "densenet121", batch=8))
#     ```
#
#     The book's network with less memory is `exercise_3_2.py` in the
#     [course](../reference/check.md#the-exercises-as-a-course).
#
# ??? apparatus "Sources, records, versions"
#     As copies `check.memory` counts what is joined and normalised after a block, too, and not the
#     blocks' inputs where a first layer reads them uncopied.
#
#     - Pleiss, Chen, Huang, Li, van der Maaten, Weinberger, *Memory-efficient implementation of
#       DenseNets*, [arXiv:1707.06990](https://arxiv.org/abs/1707.06990).
#     - Huang et al., *Convolutional networks with dense connectivity*,
#       [arXiv:2001.02394](https://arxiv.org/abs/2001.02394); the Lua implementation is
#       [liuzhuang13/DenseNet](https://github.com/liuzhuang13/DenseNet).
#     - Chen, Xu, Zhang, Guestrin, *Training deep nets with sublinear memory cost*,
#       [arXiv:1604.06174](https://arxiv.org/abs/1604.06174).
#     - Rota Bulò, Porzi, Kontschieder, *In-place activated BatchNorm*,
#       [arXiv:1712.02616](https://arxiv.org/abs/1712.02616).
#     - Lee et al., *An energy and GPU-computation efficient backbone network* (VoVNet),
#       [arXiv:1904.09730](https://arxiv.org/abs/1904.09730).
#
#     {{ how_made() }}
