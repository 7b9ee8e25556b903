# %% [markdown]
# # Does it fit? { #memory-explorer }
#
# Two steps, A and B, on the same images. What does PyTorch reserve for each on a GPU, which cards have
# that much, and how large may the batch be? The ways to save memory are explained in [exercise
# 3.2](exercises/3-2-saving-memory.py).

# %%
import statistics

from densenet_solutions.exercises.explorer.cards import (
    GIB,
    Margin,
    gone,
    largest_batch,
    margin,
    misses,
    off_the_points,
    said,
)
from densenet_solutions.exercises.explorer.estimate import need
from densenet_solutions.exercises.explorer.own import own_trace
from densenet_solutions.exercises.explorer.own_predicted import config_of
from densenet_solutions.exercises.explorer.pictures import (
    WAYS,
    batch_table,
    explorer,
    reserved_table,
)
from densenet_solutions.exercises.explorer.predictions import (
    AUTOCAST_SIZES,
    NETWORKS,
    SIZES,
    ExplorerCase,
    predict,
)
from densenet_solutions.exercises.memory.gpu import first_steps, held
from densenet_solutions.exercises.saving_memory.bench import MemoryBench
from densenet_solutions.exercises.saving_memory.fits import Fit
from densenet_solutions.exercises.saving_memory.study import card as card_of
from densenet_solutions.measure import CudaCache
from densenet_solutions.models import TABLE_1
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import MIB, gib, mib, percent, times, up
from densenet_solutions.site.page import how_made
from densenet_solutions.site.tables import KEY, table

cases = {
    name: from_json(ExplorerCase, case)
    for record in ("explorer-grid", "explorer-shared-storage")
    for name, case in load_record(record).cases.items()
}
simulated = predict("book-resnet18", "plain", 1, 224, optimizer="adam").reserved_bytes
with_adam = simulated / need(cases["book-resnet18 plain"], 1, 224, "adam").reserved - 1
assert with_adam > 0.08
predicted = load_record("memory-grid-predicted").cases
on_gpus = held(load_record("memory-grid"), predicted)
assert {row.gpu for row in on_gpus} == {"H100", "H200"}
margins = margin(on_gpus, cases)
miss = {name: margins.miss[name, True] for name in ("book-densenet", "book-resnet18")}
for book in miss:
    off = {
        row.measured.reserved_bytes / said(row, cases).reserved: row.case.name
        for row in on_gpus
        if row.case.network == book and row.case.train and row.measured.reserved_bytes > GIB
    }
    assert off[max(off)].endswith("bfloat16")
of_table_1 = max(margins.miss[name, True] for name in TABLE_1)
wide, *narrow = sorted((margins.miss[name, False] for name in TABLE_1), reverse=True)
assert wide == margins.miss["densenet161", False]
steps = [row for row in on_gpus if row.case.network in NETWORKS]
small_miss = misses(steps, cases, up_to=GIB)
assert any(more > margins.miss[which] for which, more in small_miss.items())
worst = {
    train: max(more for (_, trained), more in small_miss.items() if trained == train)
    for train in (True, False)
}
begun = first_steps(on_gpus, load_record("memory-grid"))
later = max(
    more
    for (_, train), more in misses(
        (row for row in steps if row.case.name not in begun), cases, up_to=GIB
    ).items()
    if train
)
assert later < worst[True]
most_more = max(
    row.measured.reserved_bytes - said(row, cases).reserved
    for row in steps
    if row.measured.reserved_bytes <= GIB
)
[device] = {row.measured.device_bytes for row in on_gpus if row.case.alone}
away = sorted(gone(on_gpus))
assert max(away) == margins.context_bytes
[least] = [row for row in on_gpus if row.case.alone and row.case.name in begun]
assert gone([least]) == away[:1]  # there the library's share is in what the step reserved
usual = [size for size in away[1:] if size < 860 * MIB]

# %% [markdown]
# {{ explorer(cases, margins) }}
#
# **How to read it.** The areas are the tensors that are alive in the course of the step; parameters,
# buffers, the optimizer's state and the images are always there. Move over the areas, or use *Moment*,
# to look into the step. The dashed line and the large number are what PyTorch's allocator *reserves*:
# it keeps freed pieces, and not every piece can be used again. (It is simulated over three steps in a row, since a
# second one can need more.) Where memory gets short it gives free
# pieces back first, so larger batches can fit, sometimes much larger ones. Below, each line
# is as long as the memory that PyTorch finds on that card (on a logarithmic scale), and the flags stand
# at what is reserved and {{ mib(margins.context_bytes, 0) }} more, the most that we saw gone from a card besides
# what a step reserved. The band at a flag begins where the tensors fit beside these
# {{ mib(margins.context_bytes, 0) }}. It ends where there is also room for the largest error of that
# network in the steps that [3.1](exercises/3-1-memory.py#what-a-gpu-shows) measured on an H100 or an H200, in
# training or in
# inference, plain, with more than 1 GiB reserved. (cuDNN's
# [benchmark mode](exercises/3-1b-trust.py#in-a-process-of-your-own) can reserve far more. What cuBLAS takes of
# a process is in the
# {{ mib(margins.context_bytes, 0) }}.) Smaller steps were off by
# more for some networks. A card whose line ends left of the band we call too small (✗), inside it is
# tight (≈), right of it we expect that the step fits (✓). The last columns have the largest batch of
# which we expect it. On cards other than
# those two nothing was measured.
# { .ds-explorer-words }
#
# Your own network: change the growth rate $k$ (4 to 128), the layers of up to four dense blocks (64 in each at
# most), and what share $\theta$ of its channels a transition keeps (from 0.2). The stem then has $2k$ channels, and
# bottlenecks $4k$, or there are none, as in the book's DenseNet. Images and classes stay those of the network
# that you came from.
# { .ds-explorer-words }
#
# ## The same as tables
#
# float32, no optimizer · predicted for a GPU, its allocator simulated
# { .ds-setup }
#
# {{ reserved_table(cases, 32, 224) }}
#
# {{ batch_table(cases, margins, 224) }}

# %%
fits_record = load_record("how-far-gpu")
fits = {name: from_json(Fit, case) for name, case in fits_record.cases.items() if name in WAYS}
card = card_of(fits_record)
ranges = {
    name: largest_batch(
        cases[f"{fit.network} {name}"],
        fit.resolution,
        fit.budget_bytes + margins.context_bytes,
        margins,
    )
    for name, fit in fits.items()
}
assert all(low <= fits[name].batch <= high for name, (low, high) in ranges.items())
last = SIZES[-1][0]
assert (
    SIZES[-1][1] == 224 and sum(fit.batch > last for fit in fits.values()) == 3
)  # as a table says
layers = fits["recompute_layer"].batch / ranges["recompute_layer"][0]
exact = Margin(margins.context_bytes, dict.fromkeys(margins.miss, 0.0))
recomputed = fits["recompute_layer"]
without_margin, _ = largest_batch(
    cases[f"{recomputed.network} recompute_layer"],
    recomputed.resolution,
    recomputed.budget_bytes + exact.context_bytes,
    exact,
)
needed = need(cases["densenet121 recompute_layer"], recomputed.batch, recomputed.resolution)
assert recomputed.network == "densenet121" and needed.reserved > 1.4 * recomputed.budget_bytes
assert ranges["recompute_layer"][0] < without_margin < recomputed.batch / 1.5
assert (
    layers
    > 1.5
    > 1.3
    > max(fit.batch / ranges[name][0] for name, fit in fits.items() if name != "recompute_layer")
)

own = load_record("explorer-own").cases


def played(case):
    """What the rules say of a network that was drawn."""
    size = case["way"], case["batch"], case["side"]
    return CudaCache().play(own_trace(config_of(case), *size, autocast=case["autocast"])[1])


own_played = [(played(case), case) for case in own.values()]
own_allocated, own_reserved = (
    sorted(abs(getattr(use, of) / case[of] - 1) for use, case in own_played)
    for of in ("allocated_bytes", "reserved_bytes")
)
own_off = max(abs(use.reserved_bytes - case["reserved_bytes"]) for use, case in own_played)
own_same = sum(error == 0 for error in own_reserved)
bench = load_record("bench-memory-gpu").cases


def more_held(strategy, images):
    """By which share more a GPU allocated than the explorer says."""
    rows = from_json(MemoryBench, bench[f"densenet121-{images}x224-float32"]).rows
    [row] = [row for row in rows if row.name == strategy]
    case = cases[f"densenet121 {strategy}"]
    there = case.fixed_bytes + 4 * images * 3 * 224**2
    return (row.peak_beyond_parameters + there) / need(case, images, 224).allocated - 1


shared_held = [more_held("shared_storage", images) for images in (8, 32, 128, 256)]
layers_held = [more_held("recompute_layer", images) for images in (8, 32, 128, 256)]
assert min(shared_held[:2]) > 0.15 and 0 < max(shared_held[2:]) < 0.1
assert max(map(abs, layers_held)) < 0.02
book, copied = (
    need(cases[f"book-densenet {way}"], 32, 224) for way in ("plain", "recompute_bottleneck_input")
)
assert copied.allocated < 0.7 * book.allocated and copied.reserved > 0.9 * book.reserved

# %% [markdown]
# For the book's DenseNet with 32 images of 224², recomputing copies lowers what is allocated from
# {{ mib(book.allocated, 0) }} to {{ mib(copied.allocated, 0) }}, and what is reserved from
# {{ mib(book.reserved, 0) }} to {{ mib(copied.reserved, 0) }} only. The simulated allocator keeps the pieces that are
# freed, and takes a new one for every tensor that fits into none of them. An allocator that is short of
# memory gives free pieces back first; the simulated one never is.

# %% [markdown]
# ## Can it be trusted?
#
# PyTorch was told to reserve no more than 8 GiB, and the largest batch was searched for by doubling and
# halving, to a hundredth; each batch was tried for two steps. It lies in our range each time. The ranges are
# wide, and no other largest
# batches of this page were tried: these are of one network, in float32, on one card.
#
# DenseNet-121 · 224² · float32 · predicted without a GPU, measured on an {{ card }}
# { .ds-setup }

# %%
table(
    fits,
    {
        "step": (KEY, WAYS.get),
        "it fits up to": {name: low for name, (low, high) in ranges.items()},
        "it may up to": {name: high for name, (low, high) in ranges.items()},
        "trained": "batch",
    },
    caption="Largest batch: the measured one lies between what fits and what may.",
)

# %%
pairs = off_the_points(cases, predicted)
both = {row.case.network for row in on_gpus} & set(NETWORKS)
assert len(pairs) > 150
large = [(said, fresh) for said, fresh in pairs if fresh.reserved > GIB]
small = [(said, fresh) for said, fresh in pairs if fresh.reserved <= GIB]


def errors(pairs, which):
    """Sizes of the relative errors, sorted."""
    return sorted(abs(said[which] / fresh[which] - 1) for said, fresh in pairs)


def ninth_decile(pairs, which):
    found = errors(pairs, which)
    return percent(found[int(0.9 * len(found))])


kinds = {f"above 1 GiB, {len(large)} steps": large, f"below, {len(small)} steps": small}

# %% [markdown]
# Every network of the list was predicted, with every step, by `predict_memory(…, device="cuda")` at
# {{ len(SIZES) }} sizes; under autocast plain steps and inference, at {{ len(AUTOCAST_SIZES) }}. Between and
# beyond them what is allocated
# and reserved is taken as a straight
# line in the pixels of the batch. Against predictions at other sizes that is good for large steps. For
# small ones reserved memory is not a line, since it comes in pieces of 2 and 20 MiB.
#
# Plain training and inference of {{ len(both) }} networks that exercise 3.1 has too · 96² and 224² · lines against predictions
# { .ds-setup }

# %%
table(
    kinds,
    {
        "reserved": KEY,
        "allocated, median error": lambda pairs: percent(statistics.median(errors(pairs, 0))),
        "nine of ten within": lambda pairs: ninth_decile(pairs, 0),
        "reserved, median error": lambda pairs: percent(statistics.median(errors(pairs, 1))),
        "nine of ten within ": lambda pairs: ninth_decile(pairs, 1),
    },
    caption="How far the lines are from predictions at other sizes.",
)

# %% [markdown]
# Where the band ends is measured, for each network by itself; networks of your own
# were not measured, and take the largest error of all DenseNets. In training steps that reserved more
# than 1 GiB it was up to {{ percent(up(of_table_1, 2), 0) }} more than is said here for the networks of Table
# 1, {{ percent(up(miss["book-densenet"], 2), 0) }} for the book's DenseNet and
# {{ percent(up(miss["book-resnet18"], 2), 0) }} for its ResNet-18, both in bfloat16. In inference that reserved
# as much it was up to
# {{ percent(up(wide, 2), 0) }} for DenseNet-161 and {{ percent(up(max(narrow), 2), 0) }} for the other four of Table 1;
# [exercise 3.1b](exercises/3-1b-trust.py#where-the-errors-come-from) says where that comes from. Smaller steps
# reserved up to
# {{ percent(up(worst[True], 2), 0) }} more in training ({{ percent(up(later, 2), 0) }} without what were probably first
# steps of processes) and {{ percent(up(worst[False], 2), 0) }} in inference, but never more than
# {{ mib(most_more, 0) }}; for them the band can end too early. Besides what a step
# reserved, {{ mib(min(usual), 0) }} to {{ mib(max(usual), 0) }} were gone from the card in {{ len(usual) }} of
# {{ len(away) }} cases, {{ mib(max(away), 0) }} at most: the CUDA context, what libraries keep, and what
# PyTorch had reserved before the step^[{{ mib(min(away), 0) }} in one, probably the first of its process,
# where some of that is in what the step reserved.]. The band counts the most, so a card that ends up to
# {{ mib(max(away) - min(usual), 0) }} left of it may do.
# Recomputation and shared storage were not measured like that, and the plain steps' error stands in. What
# they *allocate* was measured for DenseNet-121 on an H200: recomputed layers allocated what is said here to
# {{ percent(up(max(map(abs, layers_held)), 3)) }}, shared storage {{ percent(shared_held[0], 0) }} more with 8 images,
# {{ percent(shared_held[1], 0) }} with 32, {{ percent(shared_held[2], 0) }} with 128 and
# {{ percent(shared_held[3], 0) }} with 256, so for it the band can begin, and perhaps end, too early. For
# recomputed layers ✓ was far too careful there: a batch {{ times(layers) }} as large as the one that we expected to
# fit did. Without any margin for errors it would still be {{ times(recomputed.batch / without_margin) }}: where the
# allocator, short of memory, got by with 8 GiB, the simulation, which never is, says
# {{ gib(needed.reserved, 1) }} (by its straight line, prolonged). What is gone from a card was recorded on the
# H100 only. Another card's may be smaller or larger, and the largest batches above, with
# a limit on what PyTorch reserves, say nothing about it.
#
# - **Networks of your own** are not predicted by PyTorch's operations. Rules say which tensors come and go in
#   a step, and in which order, as PyTorch has it in a few networks that we looked at; your browser follows them,
#   and plays the result through the same simulated allocator. When all that earlier draws
#   had shown was mended, {{ len(own) }} networks were drawn at random, each with one way and one size, and
#   predicted by PyTorch's operations as well. By the rules what is allocated is off by up to
#   {{ percent(up(own_allocated[-1], 3)) }}; what is reserved is the same to the byte in
#   {{ own_same }}, and off by {{ mib(own_off, 0) }} at most in the others.
#   Your browser does that for the images that you ask for. The largest batches, and the areas, are on lines between
#   and beyond {{ len(SIZES) }} sizes here too.
# - **An optimizer** adds its state in training. On a GPU Adam needs some memory of its own besides,
#   and with few images more can be reserved than is said here, with any optimizer: {{ percent(with_adam, 0) }}
#   more, simulated, for the book's ResNet-18 with Adam and one image of 224².
# - **Recomputing copies** makes each layer's concatenated and normalised input again, as torchvision's
#   `memory_efficient=True` does; **recomputing layers** makes all that is inside a layer again.
# - **Shared storage** works through the whole batch at once on a GPU. In 8 slices it needs less, but for one
#   image, which is not cut;
#   [exercise 3.2](exercises/3-2-saving-memory.py) says what slices cost in time.
# - **bfloat16 autocast** keeps the parameters in float32. It is predicted as a CPU's autocast decides.
# - **Sides of images** are multiples of 32, and beyond {{ last }} images of 224² the lines are only
#   extended (under autocast beyond {{ AUTOCAST_SIZES[-1][0] }}, but for networks of your own).
#
# ??? apparatus "Records, versions"
#     V100, A100 and H100 are those sold with 16, 40 and 80 GB. The sizes are what users report of
#     `torch.cuda.get_device_properties(0).total_memory`, the least that we found, rounded down to a tenth; our H100
#     had {{ gib(device, 2) }}.
#
#     {{ how_made() }}
