# %% [markdown]
# # Exercise 3.2: Keep each feature once
#
# !!! question "Exercise 3, second part"
#     DenseNet was criticised for its memory. Is there *another way* to need less of it? And how
#     would the *framework* have to change? ([D2L, section 8.7, exercise
#     3](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises), in our words)

# %%

from densenet_solutions.exercises.network.buffer import buffer_frames
from densenet_solutions.exercises.network.ledger import ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames
from densenet_solutions.exercises.network.trap import trap_frames
from densenet_solutions.exercises.saving_memory import claims, pictures, study
from densenet_solutions.exercises.saving_memory.at_work import IN_BFLOAT16
from densenet_solutions.exercises.saving_memory.bench import AGAIN, MemoryBench
from densenet_solutions.exercises.saving_memory.dial import IN_TF32
from densenet_solutions.memory import recompute, selective_checkpointing
from densenet_solutions.memory.shared_storage import reference
from densenet_solutions.memory.shared_storage.plan import SLICES, planned_for
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import count, decimal, mib, milliseconds, percent, times
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import KEY, table

record = load_record("bench-memory")
bench = from_json(MemoryBench, record.cases["densenet121-8x224-float32-one-thread"])
rows = {row.name: row for row in bench.rows}
peak = {name: row.peak_beyond_parameters for name, row in rows.items()}
time = {name: row.time_ratio for name, row in rows.items()}
shared = rows["shared_storage"]
ratio = peak["torchvision"] / peak["shared_storage"]
assert 9.5 < ratio < 10.5 and 0.85 < time["shared_storage"] < 1.15
warm_record = load_record("bench-memory-warm")


def on_a_cpu(setting):
    """Way → row, of every run of the bench: as it is, warm, and with earlier code."""
    name = f"densenet121-8x224-{setting}"
    found = record.cases[name], warm_record.cases[setting], record.cases[name + AGAIN]
    return [{row.name: row for row in from_json(MemoryBench, case).rows} for case in found]


in_all = {how: on_a_cpu(how) for how in ("float32-one-thread", "float32", "bfloat16")}
on_one, on_two, in_bfloat16 = (
    [rows["shared_storage"].time_ratio for rows in runs] for runs in in_all.values()
)
assert on_one[2] > max(on_one[:2]) and on_two[2] > max(on_two[:2])
assert f"{in_bfloat16[0]:.2f}" == f"{in_bfloat16[1]:.2f}"
beside_last_on_cpu = [
    study.beside(rows["shared_storage"], rows["torchvision channels_last"])
    for runs in in_all.values()
    for rows in runs[:2]
]
assert on_one[0] == time["shared_storage"]
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
with planned_for("cuda"):  # the whole batch at once
    whole = study.predicted_peaks(["shared_storage"])["shared_storage"]
    blocks_only = study.sharing_blocks_only()
books_plain, books_shared = (
    study.books_step(name).peak_beyond_parameters for name in ("plain", "shared_storage")
)
books_ratio = books_plain / books_shared
assert SLICES == {"cpu": 8, "cuda": 1} and shared.peak_beyond_parameters < whole < blocks_only
dials = study.at_work(load_record("shared-storage-slices"))
few, many = dials[8], dials[256]
work_record = load_record("bench-at-work")
work = study.at_work(work_record)
gpu_times = {  # of shared storage on three occasions, torchvision's step being 1
    batch: sorted(
        row.time_ratio
        for row in (
            on_gpu[batch]["shared_storage"],
            work[batch].row("shared_storage"),
            slices.row("1"),
        )
    )
    for batch, slices in ((8, few), (256, many))
}
beside_last = {
    batch: sorted(
        study.beside(ours, last)
        for ours, last in (
            (on_gpu[batch]["shared_storage"], on_gpu[batch]["torchvision channels_last"]),
            (work[batch].row("shared_storage"), work[batch].row("torchvision channels_last")),
        )
    )
    for batch in gpu_times
}
assert f"{beside_last[256][0]:.1f}" == f"{beside_last[256][-1]:.1f}"
small = ledger("plain")
kept_channels, different = round(small.turn.channels), 64 + 4 * 32

# %% [markdown]
# !!! turn "Your turn"
#     Take one dense block of the book: it gets 64 channels, and each of its four layers adds 32.
#     A layer reads everything before it, as one concatenated tensor, and normalises it. Autograd keeps
#     both tensors. How many channels are kept, and how many does the block have?
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
#     Keep each feature once, and compute the rest again. For every layer autograd keeps all earlier
#     features, joined anew, and the same normalised. Give a block one buffer, to which layers append, and
#     run everything else again in the backward pass. The network stays the same. A framework could do so
#     by itself if its `cat` copied nothing, and if it planned both passes together.
#
#     - **{{ times(ratio) }}** less memory at DenseNet-121's peak: {{ mib(peak["torchvision"], 0) }} become
#       {{ mib(peak["shared_storage"], 0) }}^[CPU, one thread, 8 images of 224²; without weights, running statistics and
#       images. {{ card }}:
#       {{ times(gpu_ratio[8]) }}, with 256 images {{ times(gpu_ratio[256]) }}. [The book's
#       network](3-2c-bench.py#the-books-own-network), 128 images, predicted for a CPU:
#       {{ times(books_ratio) }}.]
#     - **{{ times(time["shared_storage"], 2) }}** the time of torchvision's step on a CPU^[One thread, float32; [again](3-2c-bench.py)
#       {{ times(on_one[1], 2) }}. Two threads {{ times(on_two[0], 2) }}, {{ times(on_two[1], 2) }}; bfloat16
#       {{ times(in_bfloat16[0], 2) }}. With earlier code on another processor {{ times(on_two[2], 2) }},
#       {{ times(in_bfloat16[2], 2) }}. Beside `channels_last` {{ times(min(beside_last_on_cpu), 2) }} to
#       {{ times(max(beside_last_on_cpu), 2) }}.]
#     - **{{ times(gpu_times[256][0]) }} to {{ times(gpu_times[256][-1]) }}** torchvision's time on an {{ card }} with 256
#       images^[On three occasions; {{ times(gpu_times[8][0]) }} to {{ times(gpu_times[8][-1]) }} with 8. Beside
#       torchvision's in `channels_last`, on two, {{ times(beside_last[256][-1], 1) }} both times with 256, and
#       {{ times(beside_last[8][0], 2) }} to {{ times(beside_last[8][-1], 2) }} with 8.]

# %%
assert kept_channels == 896

# %% [markdown]
# ## Where the memory goes
#
# Slide through one training step. A row is a tensor, a column a channel.
#
# The book's first block · 8 images, 56 × 56 · float32 · predicted, shared storage as on a CPU
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
# With $n$ layers that add $k$ channels each to $c_0$ the rows add up to $2 n c_0 + k\,n(n-1)$. In DenseNet-121
# that is {{ mib(copies) }}, half as they were read and half normalised, for {{ mib(distinct) }} of features ([8
# images of 224²](3-2c-bench.py#what-is-kept)).
#
# ## Recompute
#
# Concatenation and normalisation fill most of the memory, and cost little arithmetic. So [Pleiss and others
# (2017)](https://arxiv.org/abs/1707.06990) let go of what stands before each *bottleneck*, the 1×1
# convolution before the 3×3 one, and run it again when the gradient comes.

# %%
assert 0.45 < peak["recompute_bottleneck_input"] / peak["torchvision"] < 0.55
assert peak["recompute_layer"] < peak["recompute_block"] < peak["recompute_bottleneck_input"]
bottlenecks = kept["bottleneck outputs"] + kept["normalised bottlenecks"]
assert bottlenecks > 0.5 * peak["recompute_bottleneck_input"]

# %% [markdown]
# That halves DenseNet-121's {{ mib(peak["torchvision"], 0) }} to
# {{ mib(peak["recompute_bottleneck_input"], 0) }}. More than half of this is what bottlenecks wrote, and the
# same normalised. Recompute whole *layers*, and transitions, and that goes too:
# {{ mib(peak["recompute_layer"], 0) }}.
#
# !!! does-not-hold "The more you recompute, the less memory you need."
#     With whole *blocks* less is kept between the passes, but the peak is
#     {{ mib(peak["recompute_block"], 0) }}: what is recomputed together is in memory together.
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
naive, *ours = updates  # in blocks of 3 and 4 layers
assert naive.layers_by_count[2] == 3 + 4 and set(naive.layers_by_count) == {1, 2}
assert all(set(row.layers_by_count) == {1} and row.largest_error < 1e-5 for row in ours)

# %% [markdown]
# The gradients are right, so no gradient check finds this. torchvision's `memory_efficient=True` walks
# into it, in the first normalisation of every dense layer. The cure is a context manager around the second
# run, which keeps the statistics as they are.
#
# ??? note "In code, and one more condition"
#     {{ source(recompute.BottleneckInputRecomputed) }}
#
#     {{ source(recompute.running_statistics_untouched) }}
#
#     Recomputing is exact only while parameters, buffers and the mode stay what they were in the
#     forward pass. `torch.utils.checkpoint` does not notice changed parameters or buffers, and gives
#     another gradient without a word. Ours raises an error if the mode has changed, or, as far as autograd
#     counts writes, a parameter or a running statistic that is used. A write through `.data`, or a step of
#     an optimizer with `fused=True`, it does not count.
#
# ## Share
#
# The concatenated copies need not even be made. The block gets *one buffer*. A layer reads a view of it,
# which costs nothing, and writes its 32 channels behind the others.

# %%
buffer_frames()

# %% [markdown]
# ```python
# def forward(x):  # pseudo-code; a row of the buffer is a pixel
#     buffer, c = empty(pixels, c0 + n * k), c0
#     buffer[:, :c0] = x
#     for layer in layers:
#         buffer[:, c : c + k] = layer(buffer[:, :c])  # reads a view
#         c += k
#     keep(buffer)  # and the statistics, which are small
#
# def backward(gradient):
#     total, c = gradient.clone(), c0 + n * k  # a third buffer
#     for layer in reversed(layers):
#         c -= k
#         again = layer(buffer[:, :c])  # bottleneck and all
#         total[:, :c] += gradient_of(again, total[:, c : c + k])
# ```
#
# Transitions are treated likewise, and the stem is run again. The temporary tensors inside a layer are still large. So
# on a CPU it takes part of the batch at a time, an eighth or more: a *slice*, normalised by
# the whole batch's statistics. The result is the same, [up to rounding](3-2c-bench.py#is-it-the-same-gradient).
#
# DenseNet-121 · 8 × 224² · float32 · CPU, 1 thread · measured, but where *predicted* is written
# { .ds-setup }

# %%
steps = [peak["recompute_layer"] - blocks_only, whole - peak["shared_storage"], blocks_only - whole]
assert peak["torchvision"] - peak["recompute_layer"] > 5 * steps[2] and steps == sorted(steps)
table(
    {
        "plain, torchvision's": peak["torchvision"],
        "recompute what stands before bottlenecks": peak["recompute_bottleneck_input"],
        "recompute layers and transitions": peak["recompute_layer"],
        "instead, one buffer for each block (predicted, whole batch)": blocks_only,
        "and for stem and transitions too (predicted, whole batch)": whole,
        "and in slices: shared storage on a CPU": peak["shared_storage"],
    },
    {"step by step": KEY, "peak": (lambda size: size, mib, 0)},
    caption="Recomputing brings most, then stem and transitions, then slices; shared storage takes "
    f"{times(time['shared_storage'], 2)} the plain time, recomputed layers "
    f"{times(time['recompute_layer'], 2)}.",
)

# %% [markdown]
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
# DenseNet-121 · 224² · float32 · CPU, limited to 1 thread, and {{ card }} · one bench per panel
# { .ds-setup }

# %%
pictures.memory_and_time(
    {
        "CPU, 8 images": (bench, pictures.ON_A_CPU),
        f"{card}, 256 images": (gpu[256], pictures.ON_A_GPU),
    },
    caption="Shared storage needs least on both. Weights, running statistics and images are left out.",
)

# %%
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
few_less, *more_less = (
    1
    - found.row("shared_storage" + IN_BFLOAT16).peak_beyond_parameters
    / found.row("recompute_layer" + IN_BFLOAT16).peak_beyond_parameters
    for found in work.values()
)
half_less = [*less_in_half, *more_less]
assert few_less < 0 < min(half_less) < max(half_less) < 0.1 < 0.4 < less_on_cpu
for dial in (few, dials[32], dials[128]):
    assert dial.kernels[IN_TF32].seconds < 0.91 * dial.kernels["1"].seconds
    _, low, high = dial.beside(IN_TF32, "1")
    assert low < 1 < high
assert many.beside(IN_TF32, "1")[2] < 0.95
at_8 = {
    name: (milliseconds(work[8].kernels[name].seconds), milliseconds(work[8].seconds(name)))
    for name in ("torchvision", "shared_storage", "recompute_block")
}
assert all(work[8].share(name) < 0.2 for name in at_8)
kernels = {name: work[8].kernels[name].count for name in at_8}
assert kernels["recompute_block"] < 1.1 * kernels["torchvision"]
busy = {name: work[256].kernels[name].seconds for name in ("torchvision", "shared_storage")}
assert min(work[256].share(name) for name in ("torchvision", "shared_storage")) > 0.95
more_busy = busy["shared_storage"] / busy["torchvision"]
tf32 = many.row(IN_TF32).time_ratio
assert many.row("1").time_ratio - tf32 > 0.1

# %% [markdown]
# ??? note "Why a GPU takes longer, and two things that you can set"
#     With 8 images the GPU mostly waits, in torchvision's step as in ours, presumably for the processor, which
#     runs Python and autograd and starts every kernel. The kernels of torchvision's
#     step take {{ at_8["torchvision"][0] }} and the step {{ at_8["torchvision"][1] }}; those of shared storage
#     {{ at_8["shared_storage"][0] }} of {{ at_8["shared_storage"][1] }}, and of recomputed blocks
#     {{ at_8["recompute_block"][0] }} of {{ at_8["recompute_block"][1] }} ([kernels of one step each; steps are
#     medians](3-2c-bench.py#how-long-the-gpu-is-at-work)). So nearly all that shared storage and recomputed blocks
#     add is time without a kernel. Shared storage
#     starts {{ count(kernels["shared_storage"]) }} kernels and torchvision's step
#     {{ count(kernels["torchvision"]) }} (copies and fills count). But recomputed blocks start
#     {{ count(kernels["recompute_block"]) }}, hardly more. So
#     their number does not explain the time alone; what else does, we have not measured. With 256 images the
#     GPU was at work
#     for {{ percent(work[256].share("torchvision"), 0) }} of torchvision's step and, on that occasion,
#     {{ percent(work[256].share("shared_storage"), 0) }} of shared storage's, in one slice, and had
#     {{ times(more_busy) }} as much to do.
#
#     You can set two things. The 1×1 convolutions are matrix products here, which
#     PyTorch computes in full float32, and its convolutions in TF32, with about three digits; after
#     `torch.set_float32_matmul_precision("high")` the step of 256 images takes {{ times(tf32) }} the plain one instead
#     of {{ times(many.row("1").time_ratio) }}. And `apply(model, slices=8)` works on an eighth of a
#     large batch at a time: {{ times(many.less("8")) }} less memory instead of {{ times(many.less("1")) }}, at
#     {{ times(many.row("8").time_ratio) }} the time ([the dial](3-2c-bench.py#the-dial)). With 8, 32 and 128
#     images the first makes kernels faster, but no step that we could tell. With 8 the second brings
#     {{ times(few.less("8")) }} less memory instead of
#     {{ times(few.less("1")) }}, at {{ times(few.row("8").time_ratio) }} the time.
#
#     {{ record_note(record, warm_record, gpu_record, work_record) }}

# %%
selective = study.predicted_peaks(["selective_checkpointing"])["selective_checkpointing"]
assert peak["recompute_layer"] < selective < peak["recompute_bottleneck_input"]
gradients = study.gradients_of_inputs()
# At its end the backward pass has the parameters' gradients; there is no room for these besides.
assert gradients + 4 * study.parameters() > peak["torchvision"]

by_compiler = {
    row.name: row
    for row in study.on_a_gpu(MemoryBench, gpu_record, "densenet121-32x224-float32-compiled").rows
}
compiler_less, shared_less = (
    by_compiler["torchvision"].peak_beyond_parameters / by_compiler[name].peak_beyond_parameters
    for name in ("compiled", "shared_storage")
)
compiler_time = by_compiler["compiled"].time_ratio
assert by_compiler["compiled"].time_ratio_high < 1 < compiler_less < shared_less

# %% [markdown]
# ## What the framework must change
#
# Autograd saves what each operation by itself needs, and does not see that a concatenation holds nothing
# new. To do all this by itself, a framework would need a `cat` that returns views of one buffer for a whole
# chain of concatenations, and a plan of that buffer over both passes. Today you can tell it in three places.
#
# - **The model's code.** A *module* could own the memory of its results, and share it. In Lua Torch it did.
#   In PyTorch a model can avoid joined copies (convolve each feature by itself, and add), or become one
#   that reads less ([VoVNet](https://arxiv.org/abs/1904.09730)).
# - **Autograd.** Four interfaces say what to save instead. `checkpoint`: run this part again. *Selective*
#   checkpointing: run it again, except these operations. `saved_tensors_hooks`: keep it in another form.
#   `autograd.Function`: this block is one operation, and here is its gradient. The first two fall into the
#   trap above. The last can do everything, and you write the backward pass.
# - **The compiler.** It sees both passes, and can keep what fits an `activation_memory_budget`. We
#   know no way to tell it that one buffer can serve a chain of concatenations. With a tenth as budget an {{ card }} needed
#   [{{ times(compiler_less) }} less memory](3-2c-bench.py#the-compiler) for 32 images than torchvision's step,
#   at {{ times(compiler_time, 2) }} its time ({{ decimal(by_compiler["compiled"].time_ratio_low, 2) }} to
#   {{ decimal(by_compiler["compiled"].time_ratio_high, 2) }}).
#
# ??? note "The authors' Lua code, 2017, and Pleiss's idea as a policy"
#     The Lua code let modules share, at four levels
#     ([`-optMemory`](https://github.com/liuzhuang13/DenseNet/tree/master/models)). The first is a general
#     tool. The second, in its place, shares gradients, of which each module kept its own: they come to
#     {{ mib(gradients, 0) }} or more in the step above, counted on PyTorch's modules. Autograd frees a
#     gradient once it is used, so PyTorch has that saving already. The third also shares what layers
#     concatenate, and the fourth their normalised copies too, computed again in the backward pass: Pleiss's
#     way, with running statistics put back.
#
#     Selective checkpointing keeps what a convolution has computed and runs everything else again, the
#     second normalisation too. Predicted for the step above, with each layer and transition under
#     `checkpoint` and this policy, it peaks at {{ mib(selective, 0) }}. (If it keeps normalisations instead,
#     the trap is only in the count of batches.)
#
#     {{ source(selective_checkpointing.keep_convolutions) }}
#
# ## Which one when
#
# | you have | take |
# |---|---|
# | a DenseNet too large | shared storage |
# | your own network | recompute each layer, statistics untouched, or a compiler's budget |
# | a GPU with bfloat16 | autocast: about half the plain peak, a [less exact](3-2b-other-ways.py#fewer-bits) gradient |
# | no training at all | `inference_mode()`: nothing is kept |
#
# Shared storage has limits: first derivatives only, no `torch.func`; a block with hooks, or with unknown layers
# beside a known block, runs as it is, with a warning; and on an {{ card }} in bfloat16 it needs only
# {{ percent(min(half_less), 0) }} to
# {{ percent(max(half_less), 0) }} less than recomputing layers, and with 8 images more^[By
# {{ percent(-few_less, 0) }}; less with
# 32 to 256. On a CPU, with 8, {{ percent(less_on_cpu, 0) }} less.]. [Other ways](3-2b-other-ways.py) have their own page.
#
# ## Check yours
#
# !!! check "Check yours"
#     `check.memory(MyNet, "densenet121", batch=8)` predicts the peak of a step of what `MyNet` builds,
#     and says what it keeps beside the answers above. The book's network with less memory is
#     `exercise_3_2.py` in the [course](../reference/check.md#the-exercises-as-a-course).
#
# ??? apparatus "Sources, records, versions"
#     As copies `check.memory` counts what is joined and normalised after a block, too, and neither the blocks'
#     inputs, where a first layer reads them uncopied, nor what is normalised of them.
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
