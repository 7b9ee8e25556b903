# %% [markdown]
# # Exercise 3.2c: The bench
#
# All set-ups, all tables. Nothing here is needed to understand [Keep each feature
# once](3-2-saving-memory.py); it is for those who doubt a number there, or want to repeat it.

# %%
import re
from statistics import median

from densenet_solutions.exercises.memory.own_process import OwnProcess
from densenet_solutions.exercises.saving_memory import costs, pictures, study
from densenet_solutions.exercises.saving_memory.at_work import IN_BFLOAT16, IN_BOTH
from densenet_solutions.exercises.saving_memory.bench import (
    AGAIN,
    BASELINE,
    CHANNELS_LAST,
    WHOLE_BUDGET,
    MemoryBench,
    beside,
)
from densenet_solutions.exercises.saving_memory.cores import COLUMNS, ROWS, TwoCores
from densenet_solutions.exercises.saving_memory.fits import Fit
from densenet_solutions.exercises.saving_memory.gradient_errors import COMPARED, GradientErrors
from densenet_solutions.exercises.saving_memory.kept import Kept
from densenet_solutions.exercises.saving_memory.reach import Reach
from densenet_solutions.memory import STRATEGIES, compiled
from densenet_solutions.memory.shared_storage.plan import SLICES, planned_for
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import (
    bare_mib,
    count,
    decimal,
    gib,
    mib,
    milliseconds,
    percent,
    times,
    up,
)
from densenet_solutions.site.page import how_made, record_note
from densenet_solutions.site.tables import KEY, table

SETTINGS = ("float32", "float32-one-thread", "bfloat16")
bench_record = load_record("bench-memory")
two, one, half = (
    from_json(MemoryBench, bench_record.cases[f"densenet121-8x224-{setting}"])
    for setting in SETTINGS
)
two_rows, one_rows, half_rows = (
    {row.name: row for row in result.rows} for result in (two, one, half)
)
warm_record = load_record("bench-memory-warm")
warm, earlier = (
    {
        setting: {row.name: row for row in from_json(MemoryBench, record.cases[case]).rows}
        for setting, case in cases.items()
    }
    for record, cases in (
        (warm_record, {setting: setting for setting in SETTINGS}),
        (bench_record, {s: f"densenet121-8x224-{s}{AGAIN}" for s in SETTINGS}),
    )
)


def words(name):
    if name == "compiled":
        return f"compiled, budget {compiled.BUDGET}"
    return name.replace("_", " ") if re.split("[, ]", name)[0] in STRATEGIES else name


def spread(row):
    return f"{times(row.time_ratio, 2)} [{row.time_ratio_low:.2f}, {row.time_ratio_high:.2f}]"


def bench_table(rows, setting, caption):
    return table(
        rows,
        {
            "way": (KEY, words),
            "MiB": ("peak_beyond_parameters", bare_mib, 1),
            "time": lambda row: spread(row).replace("×", ""),
            "warm": lambda row: (
                spread(warm[setting][row.name]).replace("×", "")
                if row.name in warm[setting]
                else ""
            ),
        },
        caption=caption,
    )


def seconds(row):
    return sorted(row.seconds)[len(row.seconds) // 2]


def less(rows, name):
    return rows[BASELINE].peak_beyond_parameters / rows[name].peak_beyond_parameters


settings = dict(zip(SETTINGS, (two_rows, one_rows, half_rows), strict=True))
pairs = [
    (rows[name], row) for setting, rows in settings.items() for name, row in warm[setting].items()
]
moved = [abs(now.time_ratio - then.time_ratio) for now, then in pairs]
busy_off = max(abs(row.processor_ratio - row.time_ratio) for pair in pairs for row in pair)
assert busy_off < 0.07
assert not any(row.page_faults > 12 for rows in warm.values() for row in rows.values())
for setting, rows in settings.items():  # the tables show one peak for both
    for name, row in warm[setting].items():
        assert abs(row.peak_beyond_parameters / rows[name].peak_beyond_parameters - 1) < 0.01, name
assert warm_record.devices["float32"] == bench_record.devices["densenet121-8x224-float32"]
for case, device in bench_record.devices.items():
    assert ("EPYC" in device) == (case.endswith(AGAIN) and "one-thread" not in case)
assert {case for case in bench_record.cases if case.endswith(AGAIN)} <= set(
    bench_record.stale_cases
)
assert 0.85 < one_rows["shared_storage"].time_ratio < 1.05
assert two_rows["shared_storage"].time_ratio < 1.2


# %% [markdown]
# ## Memory and time together
#
# On one thread, in float32, shared storage needs {{ times(less(one_rows, "shared_storage")) }} less memory at
# {{ times(one_rows["shared_storage"].time_ratio, 2) }} torchvision's time; recomputed layers
# {{ times(less(one_rows, "recompute_layer")) }} less
# ({{ times(less(two_rows, "recompute_layer")) }} on two threads) at
# {{ times(one_rows["recompute_layer"].time_ratio) }} the time.
#
# All ways take turns for {{ one.repeats }} rounds. *MiB* is the peak by the allocator of the CPU, beyond
# parameters, buffers and input; *time* the median of the ratios to torchvision's step in the same round, with
# quartiles; *warm* the same of another run, of which more below the tables. (Processor times give the same ratios, within
# {{ decimal(up(busy_off, 2)) }}.) On a CPU a turn is
# two steps, and the second is timed, since in training, too, a step follows one of its own kind. On one thread PyTorch
# computes 1×1 convolutions of fewer than 16 images by other code than on two. *torchvision channels_last* is the
# same network in the layout that PyTorch recommends for convolutions; shared storage uses it inside, and cuts
# the batch into at most eight slices. *Recompute bottleneck input* is what 3.2 calls [what stands before
# bottlenecks](3-2-saving-memory.py#recompute).
#
# DenseNet-121 · 8 × 224² · float32 · CPU, 1 thread · measured
# { .ds-setup }

# %%
bench_table(one_rows, "float32-one-thread", "One thread: the numbers of 3.2.")

# %% [markdown]
# DenseNet-121 · 8 × 224² · float32 · CPU, 2 threads · measured
# { .ds-setup }

# %%
assert SLICES == {"cpu": 8, "cuda": 1}
short = {
    name: tuple(1 - predicted / rows[name].peak_beyond_parameters for rows in (one_rows, two_rows))
    for name, predicted in study.predicted_peaks(("recompute_layer", "recompute_block")).items()
}
assert all(0.005 < single < 0.5 * double + 0.01 < 0.06 for single, double in short.values())
layer_short, block_short = short["recompute_layer"], short["recompute_block"]
tenth, whole = two_rows["compiled"], two_rows[WHOLE_BUDGET]
assert compiled.BUDGET == 0.1
assert (
    whole.peak_beyond_parameters / 5 < tenth.peak_beyond_parameters < whole.peak_beyond_parameters
)
in_time, least, most = beside(tenth.seconds, whole.seconds)
bench_table(two_rows, "float32", "Two threads.")

# %% [markdown]
# What `predict_memory` says of recomputation is a little too low, and by how much depends on the
# threads: {{ percent(layer_short[0]) }} on one and {{ percent(layer_short[1]) }} on two for layers,
# {{ percent(block_short[0]) }} and {{ percent(block_short[1]) }} for blocks. What is missing
# is taken and given back inside of operations, where only an allocator sees it; for what, we have not measured.
#
# *compiled* is the compiler's own recomputation. It may keep the budget, a tenth, of the activations
# that the compiler's default keeps. The default is budget 1, which peaks at
# {{ mib(whole.peak_beyond_parameters, 0) }}. A tenth of the activations does not make a tenth of
# the peak. It is {{ mib(tenth.peak_beyond_parameters, 0) }},
# {{ times(whole.peak_beyond_parameters / tenth.peak_beyond_parameters) }} less, at
# {{ times(in_time, 2) }} the time^[Quartiles {{ times(least, 2) }} to
# {{ times(most, 2) }}, on one occasion.]. The times in the table are those of compiled code against code
# that is not compiled.
#
# DenseNet-121 · 8 × 224² · bfloat16 autocast · CPU, 2 threads · measured
# { .ds-setup }

# %%
pages = {  # where a step was handed any
    (setting, name): row.page_faults
    for setting, rows in settings.items()
    for name, row in rows.items()
    if row.page_faults > 12
}
pages_of_two = [pages["float32", name] for name in (BASELINE, CHANNELS_LAST)]
pages_of_one = [
    pages["float32-one-thread", name] for name in (BASELINE, CHANNELS_LAST, "recompute_block")
]
assert len(pages) == len(pages_of_two) + len(pages_of_one)
earlier_table = table(
    earlier["float32"],
    {
        "way": (KEY, words),
        "1 thread": lambda row: spread(earlier["float32-one-thread"][row.name]).replace("×", ""),
        "2 threads": lambda row: spread(row).replace("×", ""),
        "2, bfloat16": lambda row: spread(earlier["bfloat16"][row.name]).replace("×", ""),
    },
    caption="Time; torchvision's step is 1. One thread: Intel Xeon; two: AMD EPYC.",
)
bench_table(
    half_rows,
    "bfloat16",
    "bfloat16 autocast; the time is relative to torchvision in bfloat16.",
)

# %% [markdown]
# {{ record_note(bench_record, warm_record) }}
#
# *Warm* is another run of the bench, on a processor of the same kind, without the compiler. In it the C library
# keeps what a step frees. Left alone it may hand it back to the operating system, and gets it again page by page,
# empty: in *time*, on two threads, {{ count(pages_of_two[0]) }} pages in torchvision's step and
# {{ count(pages_of_two[1]) }} in that of `channels_last`; on one {{ count(pages_of_one[0]) }},
# {{ count(pages_of_one[1]) }}, and {{ count(pages_of_one[2]) }} in that of recomputed blocks; elsewhere next to none.
# That belongs to a step as it is used, but comes and goes. Between the two columns ratios differ by up to
# {{ decimal(up(max(moved), 2)) }}. So trust a difference of less than {{ decimal(up(max(moved), 1), 1) }} only if
# both columns show it.
#
# ??? note "Earlier code, another processor"
#     Before shared storage was changed to do less on a CPU, on 28 November 2026, it was measured on two kinds of
#     processor. How much of the difference to the tables above is the code's, and how much the processor's, we do
#     not know.
#
#     {{ earlier_table }}
#
# ### Two cores

# %%
cores_record = load_record("two-cores")
cores = from_json(TwoCores, cores_record.cases["densenet121"])
where = {"together": False, "apart": True}
rounds = {word: cores.where(apart=apart) for word, apart in where.items()}
assert all(len(some) >= 10 for some in rounds.values())
beside_torchvision = [cores.ratio("shared_storage", BASELINE, apart=a) for a in (False, True)]
assert beside_torchvision[0][0] < beside_torchvision[1][1]
assert "AMD EPYC" in cores_record.provenance.device and cores_record.stale_cases
own_sums = [us for one in cores.rounds for us in one.own]


def others_sums(word):
    return median(us for one in rounds[word] for us in one.others)


def of_two_cores(name, base):
    """Columns: a way's time beside another's, where the cores are together and apart."""
    return {
        word: spread_of_three(cores.ratio(name, base, apart=apart)) for word, apart in where.items()
    }


def spread_of_three(three):
    return f"{decimal(three[0], 2)} [{three[1]:.2f}, {three[2]:.2f}]"


# %% [markdown]
# On two threads earlier versions of shared storage had two speeds, and went from one to the other within
# minutes. In trials that are not recorded it was slow when the second of the following sums was. Two threads
# multiply {{ count(ROWS) }} rows of {{ COLUMNS }} numbers, half of the rows each, and sum the columns. If each sums
# its own rows, this takes {{ decimal(median(own_sums), 0) }} µs. [PyTorch has each sum some of the
# columns](https://github.com/pytorch/pytorch/blob/v2.11.0/aten/src/ATen/native/TensorIteratorReduce.cpp) instead, of
# rows that the other wrote, too. That takes {{ decimal(others_sums("together"), 0) }} µs in some rounds, and
# {{ decimal(others_sums("apart"), 0) }} µs in others: presumably the machine of this recording, a virtual one, had
# two cores with a cache in common at one time, and two without at another.
#
# So shared storage cuts every operation on a slice alike, and each thread sums its own rows. In
# {{ len(cores.rounds) }} rounds of steps in turn, each between two such sums, the cores were together in
# {{ len(rounds["together"]) }} and apart in {{ len(rounds["apart"]) }} (in the others that changed).

# %%
table(
    {base: of_two_cores("shared_storage", base) for base in (BASELINE, CHANNELS_LAST)},
    {
        "shared storage's time beside": (KEY, words),
        "cores together": lambda row: row["together"],
        "cores apart": lambda row: row["apart"],
    },
    caption="DenseNet-121, 8 × 224², float32, two threads: median of the ratios in a round, and quartiles.",
)

# %% [markdown]
# {{ record_note(cores_record) }}
#
# With the cores apart its step still took longer beside torchvision's than with the cores together; why, we
# have not looked into. That was an AMD EPYC, and code of ours from before 28 November 2026. With later code it was
# not repeated.
#
# ## What is kept
#
# DenseNet-121 · 8 × 224² · float32 · no device, counted
# { .ds-setup }

# %%
pictures.kept_bars(study.kept_for_backward())

# %% [markdown]
# The stem's share includes the images.
#
# ## Over one step
#
# DenseNet-121 · 8 × 224² · float32 · plain predicted, shared storage measured on one thread
# { .ds-setup }

# %%
lines = study.timelines(load_record("step-timelines"))
live = lines["shared_storage"].live
assert live.index(max(live)) > 0.75 * len(live)
first_block, gradients = study.first_block_bytes(), 4 * study.parameters()
in_hand = lines["shared_storage"].peak - 2 * first_block - gradients
assert in_hand > 0.15 * lines["shared_storage"].peak
late = live[live.index(max(live)) : int(0.97 * len(live))]
assert sum(now > 0.97 * max(live) for now in late) > 0.2 * len(late)
pictures.two_timelines(study.plain_timeline(), lines["shared_storage"])

# %% [markdown]
# What is left at the peak? When the backward pass has reached the first block, and again and again from there on: the
# first block's features ({{ mib(first_block) }}), their gradients (as much), the gradients of nearly all
# parameters (all would be
# {{ mib(gradients) }}), which no way of keeping activations can save, and {{ mib(in_hand, 0) }} or a little more in
# hand for a moment. The third buffer of [3.2](3-2-saving-memory.py#share) is small here, behind the
# transition.

# %%
own_record = load_record("memory-own-process")
cublas = from_json(OwnProcess, own_record.cases["densenet121 b8"]).plain.cublas_bytes
gpu_record = load_record("bench-memory-gpu")
gpu = study.gpu_benches(gpu_record)
card = study.card(gpu_record)
gpu_rows = {batch: {row.name: row for row in result.rows} for batch, result in gpu.items()}
gpu_half = {
    batch: from_json(MemoryBench, gpu_record.cases[f"densenet121-{batch}x224-bfloat16"])
    for batch in (32, 128)
}
deep = study.gpu_benches(gpu_record, "densenet264")
deep_rows = {batch: {row.name: row for row in result.rows} for batch, result in deep.items()}
assert list(deep_rows) == [32, 128]
every = [*gpu.values(), *gpu_half.values(), *deep.values()]
work_record, dial_record = load_record("bench-at-work"), load_record("shared-storage-slices")
work, dials = study.at_work(work_record), study.at_work(dial_record)
other_times = work[256].row("shared_storage").time_ratio, dials[256].row("1").time_ratio


def time_at(batch, name):
    row = gpu_rows[batch][name]
    return spread(row).replace("×", "") if batch in (8, 256) else decimal(row.time_ratio)


# %% [markdown]
# ## On a GPU
#
# The same bench on an {{ card }}, by batch. With 256 images shared storage, which works through the whole
# batch at once here, needs {{ times(less(gpu_rows[256], "shared_storage")) }} less memory at
# {{ times(gpu_rows[256]["shared_storage"].time_ratio) }} the time ([on two other
# occasions](#how-long-the-gpu-is-at-work) {{ times(other_times[0]) }} and {{ times(other_times[1]) }}), recomputed layers
# {{ times(less(gpu_rows[256], "recompute_layer")) }} less at
# {{ times(gpu_rows[256]["recompute_layer"].time_ratio) }} (on another
# {{ times(work[256].row("recompute_layer").time_ratio) }}), and recomputed blocks
# {{ times(less(gpu_rows[256], "recompute_block")) }} less at
# {{ times(gpu_rows[256]["recompute_block"].time_ratio) }}
# ({{ times(work[256].row("recompute_block").time_ratio) }}).
# For DenseNet-264, with 128, shared storage needs {{ times(less(deep_rows[128], "shared_storage")) }} less at
# {{ times(deep_rows[128]["shared_storage"].time_ratio) }} the time.
#
# DenseNet-121 · 224² · float32 · {{ card }} · measured by its allocator
# { .ds-setup }

# %%
table(
    gpu_rows[8],
    {
        "way": (KEY, words),
        **{
            f"{batch} images": lambda row, batch=batch: mib(
                gpu_rows[batch][row.name].peak_beyond_parameters, 0
            )
            for batch in gpu
        },
    },
    caption="Peak beyond parameters, buffers and input.",
)

# %%
table(
    gpu_rows[8],
    {
        "way": (KEY, words),
        **{f"{batch} images": lambda row, batch=batch: time_at(batch, row.name) for batch in gpu},
    },
    caption=f"Time, torchvision's default being 1: median of {gpu[8].repeats} rounds in turn, "
    f"{gpu[128].repeats} from 128 images on; of 8 and 256 images quartiles too.",
)


# %%
def half_table(batch):
    return table(
        gpu_half[batch].rows,
        {
            "way": ("name", words),
            "peak": ("peak_beyond_parameters", mib, 0),
            "time": spread,
        },
        caption=f"bfloat16 autocast, {batch} images; the time is relative to torchvision in bfloat16.",
    )


half_table(32)

# %%
half_table(128)

# %%
table(
    deep_rows[32],
    {
        "way": (KEY, words),
        "32: MiB": ("peak_beyond_parameters", bare_mib),
        "time": ("time_ratio", decimal, 2),
        "128: MiB": lambda row: bare_mib(deep_rows[128][row.name].peak_beyond_parameters),
        "time ": lambda row: spread(deep_rows[128][row.name]).replace("×", ""),
    },
    caption="DenseNet-264 in float32, 32 and 128 images: peak, and time (quartiles for 128).",
)

# %%
plain_seconds = {batch: seconds(rows["torchvision"]) for batch, rows in gpu_rows.items()}
assert plain_seconds[32] < 1.5 * plain_seconds[8]
spread_of = {
    name: max(
        max(row.seconds) / min(row.seconds) for b in every for row in b.rows if row.name == name
    )
    for name in gpu_rows[8]
}
slowest = max(spread_of.values())
on_compiler = {
    row.name: row
    for row in study.on_a_gpu(MemoryBench, gpu_record, "densenet121-32x224-float32-compiled").rows
}


def other_plain(batch):
    """A plain step with so many images in other runs, shortest first."""
    found = [record[batch].seconds(BASELINE) for record in (work, dials)]
    found += [seconds(on_compiler[BASELINE])] if batch == 32 else []
    *some, last = map(milliseconds, sorted(found))
    return f"{', '.join(some)} and {last}"


steady = [gpu_rows[batch]["torchvision"].seconds for batch in (128, 256)]
assert all(max(rounds) < 1.011 * min(rounds) for rounds in steady)
plain_half = gpu_half[128].rows[0].seconds
assert gpu_half[128].rows[0].name == "torchvision" and max(plain_half) > 1.1 * min(plain_half)

# %% [markdown]
# {{ record_note(gpu_record) }}
#
# A plain step took {{ milliseconds(plain_seconds[32]) }} with 32 images here, and
# {{ milliseconds(plain_seconds[8]) }} with 8 (on other occasions {{ other_plain(32) }}, and {{ other_plain(8) }}),
# hardly more for four times the images, so presumably the ratios compare mostly the processor's work at these
# sizes. With 128 and 256 images in float32 DenseNet-121's plain rounds agree to a hundredth here. Others
# spread more (with 128 in bfloat16 {{ milliseconds(min(plain_half)) }} to {{ milliseconds(max(plain_half)) }}).
# Single rounds took up to {{ times(slowest) }} the fastest of the same way. Peaks are without what PyTorch
# keeps for cuBLAS
# ({{ mib(cublas, 0) }}); where it was taken in the first step of a process, it is subtracted.
#
# ### The compiler
#
# DenseNet-121 · 32 × 224² · float32 · {{ card }} · measured, all in turn
# { .ds-setup }

# %%
gpu_tenth, gpu_whole = on_compiler["compiled"], on_compiler[WHOLE_BUDGET]
tenth_in_whole = beside(gpu_tenth.seconds, gpu_whole.seconds)
assert tenth_in_whole[0] < tenth_in_whole[2] < 1
assert gpu_tenth.time_ratio_high < 1 < gpu_whole.time_ratio_high
table(
    on_compiler,
    {
        "way": (KEY, words),
        "MiB": ("peak_beyond_parameters", bare_mib),
        "time": lambda row: spread(row).replace("×", ""),
    },
    caption=f"Peak, and time: torchvision's step is 1, with quartiles of {gpu[32].repeats} rounds in turn. Compiling, before "
    "the first round, does not count.",
)

# %% [markdown]
# With a tenth as its budget the compiler needs {{ times(less(on_compiler, "compiled")) }} less memory than torchvision's
# step, and {{ times(gpu_tenth.time_ratio, 2) }} its time. With budget 1, its default, it needs
# about as much memory as torchvision's step, and is not faster than with a tenth: a tenth takes
# {{ times(tenth_in_whole[0], 2) }} its time, with quartiles
# {{ times(tenth_in_whole[1], 2) }} to {{ times(tenth_in_whole[2], 2) }}. With 32 images no kernel runs for
# {{ percent(1 - work[32].share("torchvision"), 0) }} of torchvision's step ([below](#how-long-the-gpu-is-at-work), on
# another occasion); with more images the compiler was not measured. Shared storage needs
# {{ times(gpu_tenth.peak_beyond_parameters / on_compiler["shared_storage"].peak_beyond_parameters) }} less memory than the
# compiler with a tenth, and {{ times(beside(on_compiler["shared_storage"].seconds, gpu_tenth.seconds)[0]) }} its time. No
# other way here is compiled.
#
# ### How long the GPU is at work
#
# The same ways once more, four of them in bfloat16 too, all in turn. *GPU* is the time of all kernels, copies and fills
# of another step, by PyTorch's profiler.
#
# DenseNet-121 · 224² · {{ card }} · measured, all of a column in turn
# { .ds-setup }


# %%
def in_ms(seconds):
    return milliseconds(seconds).removesuffix(" ms")


def step_and_kernels(batch):
    found = work[batch]
    return {
        f"{batch}: step": {name: in_ms(found.seconds(name)) for name in found.kernels},
        f"{batch}: GPU": {name: in_ms(one.seconds) for name, one in found.kernels.items()},
    }


table(
    work[8].kernels,
    {
        "way": (KEY, words),
        **step_and_kernels(8),
        **step_and_kernels(256),
        "kernels": {name: count(kernels.count) for name, kernels in work[256].kernels.items()},
    },
    caption="8 and 256 images, in ms: a step (median), and the GPU's work in another. Last, how many kernels "
    "that one starts with 256 images.",
)

# %%
shares = {batch: [found.share(name) for name in found.kernels] for batch, found in work.items()}
gpu_more = {
    batch: found.kernels["shared_storage"].seconds / found.kernels["torchvision"].seconds
    for batch, found in work.items()
}
in_half = {
    batch: {name: found.beside(name + IN_BFLOAT16, name) for name in IN_BOTH}
    for batch, found in work.items()
}


def of_float32(name):
    middle, low, high = in_half[256][name]
    return f"{times(middle, 2)} [{low:.2f}, {high:.2f}]"


again_256 = dials[256]
kernels_apart = abs(
    again_256.kernels["1"].seconds / work[256].kernels["shared_storage"].seconds - 1
)
shared_256 = (
    median(gpu_rows[256]["shared_storage"].seconds),
    work[256].seconds("shared_storage"),
    again_256.seconds("1"),
)
assert max(shares[8]) < 0.25 and min(shares[256]) > 0.6 and kernels_apart < 0.002
shared_128 = seconds(gpu_rows[128]["shared_storage"]), dials[128].seconds("1")
assert max(shared_256) > 1.04 * min(shared_256) and max(shares[256]) < 0.985
assert max(shared_128) > 1.2 * min(shared_128)
peaks_of_8 = [
    work[8].row(name + IN_BFLOAT16).peak_beyond_parameters
    for name in ("shared_storage", "recompute_layer")
]
assert peaks_of_8[0] > peaks_of_8[1]
not_faster = [in_half[32][name] for name in ("torchvision", "torchvision channels_last")]
assert all(middle > 1 for middle, _, _ in not_faster)

# %% [markdown]
# {{ record_note(work_record) }}
#
# With 8 images the GPU is at work for {{ percent(min(shares[8]), 0) }} to {{ percent(max(shares[8]), 0) }} of a
# step in this table, with 256 for {{ percent(min(shares[256]), 0) }} to {{ percent(max(shares[256]), 0) }}. It has
# {{ times(gpu_more[8]) }} as much to do for shared storage as for torchvision's network with 8 images, and
# {{ times(gpu_more[256]) }} with 256. In the rest no kernel runs, probably since the processor has not started one. How
# long that is varies from run to run: on three occasions shared storage's step of 256 images took
# {{ milliseconds(min(shared_256)) }} to
# {{ milliseconds(max(shared_256)) }}, its step of 128 images on two {{ milliseconds(shared_128[0]) }} and
# {{ milliseconds(shared_128[1]) }} ({{ times(gpu_rows[128]["shared_storage"].time_ratio) }} and
# {{ times(dials[128].row("1").time_ratio) }}), and in the two with 256 that were profiled its kernels took the
# same time within
# {{ percent(up(kernels_apart, 3)) }}.
#
# **bfloat16.** With 256 images a step takes {{ of_float32("torchvision") }} its time in float32 (convolutions in
# TF32), in `channels_last` {{ of_float32("torchvision channels_last") }} of that in float32 in that layout,
# with recomputed layers
# {{ of_float32("recompute_layer") }}, with shared storage {{ of_float32("shared_storage") }} (medians over
# rounds, and quartiles). With 32
# images, which were measured too, torchvision's is not faster, as far as we can tell, in either layout. With 8,
# shared storage needs more memory in bfloat16 than recomputed layers, {{ mib(peaks_of_8[0], 0) }} against
# {{ mib(peaks_of_8[1], 0) }}.
#
# ### The dial
#
# Shared storage computes what it does not keep, in slices of the batch. Fewer slices start fewer
# operations, and hold more at a time.
#
# DenseNet-121 · 8 and 256 × 224² · float32 · {{ card }} · measured in one run a batch
# { .ds-setup }

# %%
fits_record = load_record("how-far-gpu")


def slices(row):
    return "torchvision" if row.name == "torchvision" else row.name.replace("1,", "1 slice,")


def dial_table(batch):
    dial = dials[batch]
    return table(
        dial.rows,
        {
            "slices": slices,
            "peak": ("peak_beyond_parameters", mib, 0),
            "less": lambda row: times(dial.less(row.name)),
            "time": spread,
            "step": lambda row: milliseconds(dial.seconds(row.name)),
            "GPU at work": lambda row: milliseconds(dial.kernels[row.name].seconds),
        },
        caption=f"{batch} images. Time: torchvision's step is 1, with quartiles of {dial.repeats} "
        "rounds in turn. GPU at work: all kernels of another step, as above.",
    )


dial_table(8)

# %%
dial_table(256)

# %%
large = dials[256]

# %% [markdown]
# {{ record_note(dial_record) }}
#
# With 256 images eight slices need {{ times(large.less("8")) }} less memory and take
# {{ times(large.row("8").time_ratio) }} the time; they start {{ count(large.kernels["8"].count) }} kernels, one slice
# {{ count(large.kernels["1"].count) }}. With 32 and 128 images, which were measured too, eight slices need
# {{ times(dials[32].less("8")) }} and {{ times(dials[128].less("8")) }} less and take
# {{ times(dials[32].row("8").time_ratio) }} and {{ times(dials[128].row("8").time_ratio) }} the time. *Products
# in TF32* is `torch.set_float32_matmul_precision("high")`: the 1×1
# convolutions are matrix products here, which PyTorch computes in full float32 unless told otherwise,
# and its convolutions in TF32.
#
# A second dial keeps what the 1×1 convolutions wrote, and need not compute it again:
# `apply(model, keep_bottlenecks=0.5)` in the last half of each block's layers.
#
# DenseNet-121 · 8 × 224² · float32 · CPU · measured, all of a column in turn
# { .ds-setup }

# %%
kept_record = load_record("shared-storage-kept")
kept_one, kept_two = (
    from_json(Kept, kept_record.cases[case]) for case in ("one-thread", "two-threads")
)
on_two = kept_two.by_share()
assert not any(row.page_faults > 12 for row in [*kept_one.rows, *kept_two.rows])
torchvisions = kept_one.rows[0].peak_beyond_parameters
table(
    kept_one.by_share(),
    {
        "kept of": (KEY, lambda share: f"{percent(share, 0)} of the layers"),
        "peak": ("peak_beyond_parameters", mib),
        "less": lambda row: times(torchvisions / row.peak_beyond_parameters),
        "time, 1 thread": spread,
        "time, 2 threads": lambda row: spread(on_two[float(row.name)]),
    },
    caption=f"torchvision's step is 1, with quartiles of {kept_one.repeats} rounds. The peak is that "
    "of one thread.",
)

# %%
pictures.kept_curve({"1 thread": kept_one, "2 threads": kept_two})

# %% [markdown]
# {{ record_note(kept_record) }}
#
# As in *warm* above, the C library keeps what a step frees.
#
# ### What fits into 8 GiB
#
# PyTorch's allocator was told to take no more than 8 GiB. Two training steps in a row had to fit.
#
# DenseNet-121 · 224² · float32 · {{ study.card(fits_record) }} · measured; beside it the prediction, for tensors alone
# { .ds-setup }

# %%
fits = {name: from_json(Fit, case) for name, case in fits_record.cases.items()}
predicted_fit = {
    row.strategy: row.largest_batch
    for row in (from_json(Reach, case) for case in load_record("how-far").cases.values())
    if row.budget_bytes == fits["plain"].budget_bytes
}
table(
    fits,
    {
        "strategy": (KEY, words),
        "fits": "batch",
        "does not": "refused_batch",
        "predicted": predicted_fit,
    },
    caption="Largest batch that fitted, smallest that did not; those between were not tried. in place: "
    "ReLUs overwrite their input, as in plain; out of place: they do not.",
)

# %%
assert all(fit.batch <= predicted_fit[name] for name, fit in fits.items() if name in predicted_fit)
more = {name: fits[name].batch / fits["plain"].batch for name in fits}

# %% [markdown]
# {{ record_note(fits_record) }}
#
# A batch that was predicted from tensors alone is an upper bound of what fits. Beside
# {{ fits["plain"].batch }} images of the plain network, shared storage trains
# {{ fits["shared_storage"].batch }}, {{ times(more["shared_storage"]) }}, and in eight slices
# {{ fits["shared_storage in 8 slices"].batch }}, {{ times(more["shared_storage in 8 slices"]) }}.
#
# ## Is it the same gradient?
#
# Rounding depends on the order of operations, so two right answers in float32 differ. The fair reference is
# float64. Each row is the error of a gradient that was computed in float32,
# $\lVert g - g_{64}\rVert / \lVert g_{64}\rVert$ over all parameters, $g_{64}$ being the
# plain network's in float64.
#
# Two dense blocks of two layers · 4 × 32² · float32 against float64 · CPU, computed live
# { .ds-setup }

# %%
names = [name for name in costs.predictable_strategies() if STRATEGIES[name].exact]
errors = study.float32_errors([*names, "saved_in_8_bits"])
exact_errors = {name: errors[name] for name in names}
assert max(exact_errors.values()) < 3 * errors["plain"] < errors["saved_in_8_bits"] / 100
table(
    errors,
    {
        "strategy": (KEY, words),
        "promises": {name: row.exactness for name, row in STRATEGIES.items() if row.exact},
        "error of the gradient": (errors, ".1e"),
    },
    caption="In this small network the exact ways are about as near to the truth as the plain one; 8 bits "
    "are not.",
)

# %%
cost_record = load_record("strategies-study")
predicted = study.costs(cost_record)
assert predicted["shared_storage"].trial_shape == (8, 3, 96, 96)
errors_record = load_record("gradient-errors")
draws = [from_json(GradientErrors, case) for case in errors_record.cases.values()]


def over_draws(reference):
    """Strategy → median, least and most of its gradient's distance from a reference."""
    return {
        name: f"{percent(median(found), 2)} [{percent(min(found), 2)} to {percent(max(found), 2)}]"
        for name in COMPARED
        if any(found := [getattr(draw, reference)[name] for draw in draws])
    }


from_truth = {name: [draw.from_truth[name] for draw in draws] for name in COMPARED}
of_bits = from_truth.pop("saved_in_8_bits")
added_by_bits = [draw.from_plain["saved_in_8_bits"] for draw in draws]
exact_ones = [error for found in from_truth.values() for error in found]
assert max(from_truth["plain"]) > max(added_by_bits) and max(exact_ones) > max(of_bits)

# %% [markdown]
# A deep network untrained is less kind to rounding.
#
# DenseNet-121 · 8 × 96² · ten draws of weights and images · CPU, 1 thread · recorded
# { .ds-setup }

# %%
table(
    dict.fromkeys(COMPARED),
    {
        "strategy": (KEY, words),
        "from float64's gradient": over_draws("from_truth"),
        "from the plain one in float32": over_draws("from_plain"),
    },
    caption="How far a gradient in float32 lies off: median, least and most.",
)

# %% [markdown]
# {{ record_note(errors_record) }}
#
# In this network rounding in float32, the plain way or another exact one ({{ percent(min(exact_ones)) }} to
# {{ percent(max(exact_ones)) }}), can
# exceed what 8 bits add to it ({{ percent(min(added_by_bits)) }} to {{ percent(max(added_by_bits)) }}).
#
# *bitwise*: the same outputs, gradients and buffers as the plain network, bit for bit. *numerical*:
# the same up to rounding. In float64 tests compare every gradient, shared storage on the whole of
# DenseNet-121 too.
#
# ## Time of the strategies
#
# DenseNet-121 · 8 × 96² · float32 unless the strategy says otherwise · CPU, the timed steps on one thread of it · measured
# { .ds-setup }

# %%
timed = {
    name: row
    for name, row in predicted.items()
    if row.time_ratio and name not in ("offload", "in_place", "out_of_place")
}
scatter = max(row.scatter for row in timed.values())
table(
    timed,
    {"strategy": (KEY, words), "time, plain is 1": ("time_ratio", times, 1)},
    caption="Processor's time of one step: the fastest of three, in turn with plain steps.",
)

# %% [markdown]
# {{ record_note(cost_record) }}
#
# The slowest of three steps took up to {{ percent(up(scatter, 2), 0) }} longer than the fastest. A fastest
# of three on a shared machine says little about the second digit, and nothing about a GPU.
#
# ## How far does a memory go?

# %%
reach_record = load_record("how-far")
reaches = study.reaches(reach_record)
sizes = sorted({row.budget_bytes for row in reaches.values()})
batch = {key: row.largest_batch for key, row in reaches.items()}
layers = {key: row.deepest_depth for key, row in reaches.items()}
deep_batch, top = reaches["plain", sizes[0]].deep_batch, max(layers.values())
shown = (
    *("plain", "pool_first", "recompute_bottleneck_input", "recompute_layer", "recompute_block"),
    *("selective_checkpointing", "shared_storage"),
)
assert batch["recompute_layer", sizes[0]] > 4 * batch["plain", sizes[0]]


def deepest(name, size):
    return f"{'≥ ' * (layers[name, size] == top)}{count(layers[name, size])}"


# %% [markdown]
# Both tables are predictions, for tensors alone: a CUDA context, workspace, and what the allocator
# reserves and cannot use come on top ([3.1](3-1-memory.py#what-a-gpu-shows) and [3.1b](3-1b-trust.py) say how
# much). So the numbers without ≥
# are upper bounds, and not all by the same share: in 8 GiB shared storage should train
# {{ times(predicted_fit["shared_storage"] / predicted_fit["plain"]) }} the plain network's batch, and
# [did](#what-fits-into-8-gib) {{ times(more["shared_storage"]) }}.
#
# DenseNet-121 · 224² · float32 · predicted, no GPU
# { .ds-setup }

# %%
table(
    shown,
    {
        "strategy": words,
        **{f"in {gib(size, 0)}": lambda name, size=size: batch[name, size] for size in sizes},
    },
    caption="Largest batch, predicted.",
)

# %%
table(
    shown,
    {
        "strategy": words,
        **{f"in {gib(size, 0)}": lambda name, size=size: deepest(name, size) for size in sizes},
    },
    caption=f"Most layers at a batch of {deep_batch}, the third block lengthened: (6, 12, n, 16). "
    f"{count(top)} layers are the deepest that were tried.",
)

# %%
by_device = study.shared_storage_by_device((8, 3, 224, 224))
on_card = gpu_rows[8]["shared_storage"].peak_beyond_parameters
assert by_device["cpu"] < by_device["cuda"] < on_card

# %% [markdown]
# {{ record_note(reach_record) }}
#
# Shared storage stands here as it works on a GPU, on the whole batch at once; on a CPU it takes an
# eighth of a large one. For the 8 images of this page its peak comes to
# {{ mib(by_device["cpu"], 0) }} with a CPU's slices and {{ mib(by_device["cuda"], 0) }} with a GPU's, by
# prediction, which counts tensors alone; the {{ card }} needed {{ mib(on_card, 0) }}.
#
# ## The book's own network
#
# The book's DenseNet · 128 × 224² · float32 · predicted
# { .ds-setup }

# %%
before, after, inputs_again, layers_again = (
    study.books_step(name).peak_beyond_parameters
    for name in ("plain", "shared_storage", "recompute_bottleneck_input", "recompute_layer")
)
assert inputs_again == layers_again < before
with planned_for("cuda"):
    whole = study.books_step("shared_storage").peak_beyond_parameters
assert before > 3 * after and before > 2 * whole > 2 * after

# %% [markdown]
# It has no bottlenecks to compute again, and less to save. Recomputing what a layer reads or the layer as
# a whole comes to the same, {{ mib(layers_again, 0) }}. With shared storage its peak falls from {{ mib(before, 0) }}
# to {{ mib(after, 0) }} with a CPU's slices, {{ times(before / after) }} less, and to
# {{ mib(whole, 0) }} with a GPU's, {{ times(before / whole) }} less. With a CPU's the peak comes at the end of
# the backward
# pass, when the stem has its turn, whose maps have four times the pixels of the first block's.
#
# ## Repeat it
#
# `densenet-solutions bench memory` takes both peaks and times on your machine, with
# `--device cuda` on a GPU.
#
# ??? apparatus "Records, versions"
#     {{ how_made() }}
