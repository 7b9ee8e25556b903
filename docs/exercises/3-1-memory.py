# %% [markdown]
# # Exercise 3.1: is DenseNet's memory consumption really high?
#
# ## The question
#
# DenseNet is criticised for the memory it needs. The book asks whether that is so, and suggests
# images of 224 × 224 pixels in place of 96 × 96 to see it.
# ([D2L, section 8.7, exercise 3](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %% tags=["hide-input"]
from densenet_solutions.records import load_record, record_names
from densenet_solutions.exercises.memory import pictures
from densenet_solutions.site.numbers import count, mib, percent, times
from densenet_solutions.site.page import claims, how_made, record_note, say, source
from densenet_solutions.site.tables import table
from densenet_solutions.exercises.memory.fair import FairModel
from densenet_solutions.records.serialise import from_json
from densenet_solutions.exercises.memory import study

steps = study.book_steps(128, 224)
dense, res = steps["DenseNet"], steps["ResNet-18"]
single = study.book_steps(1, 224)
crossings = {side: study.crossing(side) for side in (96, 224)}
parameter_ratio = res.bytes_by_category["parameters"] / dense.bytes_by_category["parameters"]
memory_ratio = dense.peak_bytes / res.peak_bytes
assert 14 < parameter_ratio < 16 and 1.3 < memory_ratio < 1.7
assert single["DenseNet"].peak_bytes < single["ResNet-18"].peak_bytes
assert all(1 < batch < 128 for batch in crossings.values())

# %% [markdown]
# ## In one breath

# %% tags=["hide-input"]
say(f"""
Yes, when you train with many or large images; no, when you do not. At 224 × 224 and a batch of 128
a training step peaks at **{mib(dense.peak_bytes, 0)}** for the book's DenseNet and at
**{mib(res.peak_bytes, 0)}** for its ResNet-18 (predicted; the predictor is checked below), although DenseNet has {times(parameter_ratio, 0)} *fewer* parameters. At a
batch of 1 the order is reversed: {mib(single["DenseNet"].peak_bytes, 0)} against
{mib(single["ResNet-18"].peak_bytes, 0)}. DenseNet overtakes at a batch of {crossings[224]}
({crossings[96]} at 96 × 96).
""")

# %% [markdown]
# ## Try it first
#
# ??? question "Hint 1: what has to be remembered?"
#     The backward pass of a convolution needs the convolution's input. Which tensors of a dense block
#     are inputs of something? How often is the same feature among them?
#
# ??? question "Hint 2: two kinds of memory"
#     Some memory grows with the batch, and some does not. Write the peak as $a + b\,N$ for both
#     networks. Which has the larger $a$, which the larger $b$?
#
# ??? question "Hint 3: measure, do not estimate"
#     `torch.profiler` with `profile_memory=True` sees what PyTorch's allocator hands out. On the meta device the same
#     step runs without any memory at all.

# %% [markdown]
# ## The answer
#
# ### One training step, watched
#
# The instrument runs the step on PyTorch's *meta* device, where tensors have shapes but no data, and
# follows every storage from birth to death. Nothing is allocated, so any batch fits on any laptop.

# %% tags=["hide-input"]
pictures.step_timelines(steps)

# %% tags=["hide-input"]
kept = {name: result.bytes_by_category["activations"] for name, result in steps.items()}
for name, result in steps.items():
    assert kept[name] > 0.8 * result.peak_bytes
say(f"""
Each network climbs through its forward pass, because every layer leaves tensors behind for the
backward pass, and comes down again as these are used up. At the peak such *activations* are
{percent(kept["DenseNet"] / dense.peak_bytes)} of DenseNet's memory and
{percent(kept["ResNet-18"] / res.peak_bytes)} of ResNet-18's. It comes where the forward pass ends, before almost any parameter
has its gradient. *Buffers* are running statistics; *temporaries* are what an operation returns and nobody keeps.
""")
assert all(result.bytes_by_category["gradients"] < 2**20 for result in steps.values())

# %% tags=["hide-input"]
categories = [
    name
    for name in dense.bytes_by_category
    if dense.bytes_by_category[name] or res.bytes_by_category[name]
]
table(
    ["at the peak, batch 128", "DenseNet", "ResNet-18"],
    [
        *[
            [name, mib(dense.bytes_by_category[name]), mib(res.bytes_by_category[name])]
            for name in categories
        ],
        ["**peak**", mib(dense.peak_bytes), mib(res.peak_bytes)],
    ],
    caption="What the memory is there for: one training step at 224 × 224, float32, no optimizer.",
)

# %% [markdown]
# ### The batch at which DenseNet overtakes
#
# Parameters and their gradients do not depend on the batch, activations are proportional to it.
# ResNet-18 has much of the first and DenseNet of the second, so the lines must cross.

# %% tags=["hide-input"]
batches = (1, 2, 4, 8, 16, 32, 64, 128)
peaks = {side: study.sweep(batches, side) for side in (96, 224)}
pictures.batch_lines(batches, peaks, crossings)

# %% tags=["hide-input"]
growth = {name: peaks[224][name][-1] / peaks[96][name][-1] for name in study.BOOK}
pixels = (224 / 96) ** 2
assert all(4 < value < 6 for value in growth.values())
table(
    ["batch", "DenseNet, 96²", "ResNet-18, 96²", "DenseNet, 224²", "ResNet-18, 224²"],
    [
        [batch, *[mib(peaks[side][name][i]) for side in (96, 224) for name in study.BOOK]]
        for i, batch in enumerate(batches)
        if batch in (1, 16, 128)
    ],
    caption="Predicted peak of a training step.",
)

# %% tags=["hide-input"]
say(f"""
An image of 224 × 224 has {times(pixels)} the pixels of one of 96 × 96. At a batch of 128 DenseNet's
peak grows by {times(growth["DenseNet"])} and ResNet-18's by {times(growth["ResNet-18"])}: almost all
of DenseNet's memory follows the pixels.
""")

# %% [markdown]
# ### Quadratic in depth, and how to see it
#
# Layer $\ell$ of a dense block reads the concatenation of all features before it, which is
# $c_0 + (\ell - 1)k$ channels, and the plain implementation keeps that concatenation. The sum
# over $L$ layers has a term $\tfrac{1}{2}kL^2$. If the concatenations are computed again when needed,
# only what each layer *writes* is kept, and that is linear in $L$.
#
# Do not fit an exponent to such a curve: at practical depths the linear term is large, and the
# exponent comes out somewhere between 1 and 2. Differences decide. A quadratic has constant *second*
# differences, a line has constant *first* ones.

# %% tags=["hide-input"]
depth = study.by_depth()
first = depth.first_differences("recomputed")
second = depth.second_differences("naive")
assert len(set(second)) == 1 and second[0] > 0
assert len(set(first)) == 1
pictures.depth_lines(depth.layers, depth.kept)

# %% tags=["hide-input"]
naive_first = depth.first_differences("naive")
table(
    [
        "layers",
        "plain, kept",
        "first difference",
        "second difference",
        "recomputed, kept",
        "its first difference",
    ],
    [
        [
            layers,
            depth.kept["naive"][i],
            naive_first[i - 1] if i >= 1 else None,
            second[i - 2] if i >= 2 else None,
            depth.kept["recomputed"][i],
            first[i - 1] if i >= 1 else None,
        ]
        for i, layers in enumerate(depth.layers)
    ],
    caption="Bytes kept for the backward pass by one dense block with bottleneck, k = 32, one 32 × 32 image.",
)

# %% tags=["hide-input"]
say(f"""
To the byte: the second difference of the plain block is always {count(second[0])}, and the first
difference of the recomputed one always {count(first[0])}. So the *plain implementation* is
quadratic; DenseNet itself is not. Exercise [3.2](3-2-saving-memory.py) takes it from there.
""")

# %% [markdown]
# ### Three fair ways to compare
#
# The book's two networks differ in everything. Published ImageNet networks can be compared at equal
# parameters, at equal work or at equal accuracy. Each time we interpolate between the two published
# ResNets that enclose the DenseNet. A DenseNet with fewer parameters than ResNet-18 is compared with
# ResNet-18 itself.

# %% tags=["hide-input"]
fair_record = load_record("memory-fair")
fair = {name: from_json(FairModel, case) for name, case in fair_record.cases.items()}
ratios = {
    yardstick: study.fair_ratios(fair, yardstick)
    for yardstick in ("parameters", "multiply_adds", "top1_error")
}
assert all(ratio > 1 for values in ratios.values() for ratio in values.values())
table(
    ["network", "parameters", "multiply-adds", "top-1 error", "training peak", "inference peak"],
    [
        [
            m.name,
            m.parameters,
            f"{m.multiply_adds / 1e9:.2f} G",
            f"{m.top1_error:.2f}%",
            mib(m.training_bytes, 0),
            mib(m.inference_bytes, 0),
        ]
        for m in fair.values()
    ],
    caption="Predicted peaks for 32 images of 224 × 224, float32. Errors are torchvision's, first weights (V1).",
)

# %% tags=["hide-input"]
table(
    ["DenseNet", "equal parameters", "equal multiply-adds", "equal accuracy"],
    [[name, *[times(ratios[y][name], 2) for y in ratios]] for name in ratios["parameters"]],
    caption="Training memory of a DenseNet as a multiple of that of a comparable ResNet.",
)

# %% tags=["hide-input"]
record_note(fair_record)

# %% tags=["hide-input"]
low, high = min(ratios["top1_error"].values()), max(ratios["top1_error"].values())
against_50 = {
    name: fair[name].training_bytes / fair["resnet50"].training_bytes
    for name in ("densenet121", "densenet169")
}
assert all(fair["resnet50"].top1_error < fair[name].top1_error for name in against_50)
say(f"""
In the plain implementation DenseNet needs more by every yardstick. At equal accuracy, the one that matters to most
people, it needs {times(low, 2)} to {times(high, 2)} the memory of a ResNet in training. But the first two of these rows
stand between ResNet-34 and ResNet-50, whose memory is {times(fair["resnet50"].training_bytes / fair["resnet34"].training_bytes)} as large: against ResNet-50 itself, which is
more accurate than both, they need {times(against_50["densenet121"], 2)} and {times(against_50["densenet169"], 2)}. The
other two yardsticks compare with the shallow ResNets without bottlenecks, which are less accurate; only
DenseNet-201 at equal multiply-adds meets ResNet-50 and ResNet-101. [Exercise 3.2](3-2-saving-memory.py) shows how
little of DenseNet's memory has to be.
""")

# %% [markdown]
# ### Training against inference
#
# Without autograd nothing is kept: a tensor dies as soon as no later layer reads it.

# %% tags=["hide-input"]
quiet = study.book_steps(128, 224, train=False)
assert all(result.bytes_by_category["activations"] == 0 for result in quiet.values())
assert all(quiet[name].peak_bytes < 0.5 * steps[name].peak_bytes for name in quiet)
table(
    ["batch 128, 224 × 224", "training", "inference", "ratio"],
    [
        [
            name,
            mib(steps[name].peak_bytes),
            mib(quiet[name].peak_bytes),
            times(steps[name].peak_bytes / quiet[name].peak_bytes),
        ]
        for name in steps
    ],
)

# %% [markdown]
# ### Is the prediction true?
#
# It would be a poor instrument that had only itself as a witness. Here a real step runs on the CPU,
# while the profiler records every allocation and release of PyTorch's allocator.

# %% tags=["hide-input"]
both = study.predicted_and_measured(2, 96)
errors = {name: abs(p.peak_bytes - m.peak_bytes) / m.peak_bytes for name, (p, m) in both.items()}
assert all(error < 0.01 for error in errors.values())
table(
    ["batch 2, 96 × 96", "predicted", "CPU allocator", "difference", "whole process"],
    [
        [
            name,
            mib(p.peak_bytes, 2),
            mib(m.peak_bytes, 2),
            percent(errors[name], 2),
            "—" if m.peak_resident_bytes is None else mib(m.peak_resident_bytes, 0),
        ]
        for name, (p, m) in both.items()
    ],
    caption="Peak of one training step. The last column holds Python, PyTorch and the libraries too.",
)

# %% tags=["hide-input"]
if "memory-grid" in record_names():
    grid = load_record("memory-grid")
    fits = {k: c for k, c in grid.cases.items() if not c.get("out_of_memory")}
    worst = max(abs(c["predicted_bytes"] / c["measured_bytes"] - 1) for c in fits.values())
    gpu = say(f"""
    On a GPU ({grid.origin}), {len(fits)} of {len(grid.cases)} cases of the grid fitted, and the
    largest difference between prediction and the allocator was {percent(worst)}.
    """)
else:
    gpu = say("""
    !!! note "No GPU record yet"
        Measurements of the book's networks, of all of Table 1 and of the deep ResNets on a GPU have **not
        been recorded yet**. What you read here about memory is prediction, checked against the allocator of
        a CPU. On CUDA the libraries' workspace comes on top, and this page cannot say how much. To record it:
        `densenet-solutions record memory-grid --device cuda`.
    """)
gpu

# %% [markdown]
# ### Why summaries by hooks are wrong, in both directions
#
# Popular summaries put a hook on every module, add up the outputs and often double the sum "for
# gradients". This is what they see:

# %% tags=["hide-input"]
source(study.hook_summary)

# %% tags=["hide-input"]
summaries = study.summaries()
wrong = [
    value / row.kept
    for row in summaries.values()
    for value in (row.all_outputs, row.doubled, row.distinct)
]
assert min(wrong) < 0.95 and max(wrong) > 1.5
table(
    ["batch 8, 224 × 224", "really kept", "all outputs", "twice that", "distinct storages"],
    [
        [
            name,
            mib(row.kept, 0),
            *[
                f"{mib(v, 0)} ({times(v / row.kept, 2)})"
                for v in (row.all_outputs, row.doubled, row.distinct)
            ],
        ]
        for name, row in summaries.items()
    ],
    caption="Three conventions against the bytes that are kept for the backward pass.",
    align="lrrrr",
)

# %% tags=["hide-input"]
say(f"""
Between {times(min(wrong), 2)} and {times(max(wrong), 2)} of the truth, depending on the convention
and the network. `torch.cat` is no module, so concatenations are missed. A ReLU in place has an output, but
no memory of its own, so it is counted twice. An output that no backward pass reads is counted, though it is freed
at once. And gradients of activations live for a moment each, never all together: doubling has no basis.
""")

# %% [markdown]
# ## What people say, checked

# %% tags=["hide-input"]
limits = {}
for side in (96, 224):
    many = study.sweep((1024,), side)
    limits[side] = many["DenseNet"][0] / many["ResNet-18"][0]
assert abs(limits[96] - limits[224]) < 0.03
claims(
    [
        (
            "DenseNet needs a lot of memory.",
            "holds with a condition",
            f"In training, from a batch of {crossings[224]} on at 224 × 224: {times(memory_ratio, 2)} "
            f"ResNet-18's at a batch of 128. At a batch of 1 it needs less than ResNet-18.",
        ),
        (
            "Fewer parameters mean less memory.",
            "does not hold",
            f"The book's DenseNet has {times(parameter_ratio, 0)} fewer parameters and needs "
            f"{times(memory_ratio, 2)} the memory. Parameters are "
            f"{percent(dense.bytes_by_category['parameters'] / dense.peak_bytes)} of its peak.",
        ),
        (
            "DenseNet's memory grows quadratically with depth.",
            "holds with a condition",
            "For the plain implementation: its second differences are constant to the byte. "
            "With recomputation the first differences are.",
        ),
        (
            "DenseNet is a memory hog at inference too.",
            "does not hold",
            f"Without autograd nothing is kept: {mib(quiet['DenseNet'].peak_bytes, 0)} at a batch of 128, where "
            f"ResNet-18 needs {mib(quiet['ResNet-18'].peak_bytes, 0)} and training {mib(dense.peak_bytes, 0)}.",
        ),
        (
            "A model summary tells you the memory of a training step.",
            "does not hold",
            f"The usual conventions come to {times(min(wrong), 2)} to {times(max(wrong), 2)} of what is kept.",
        ),
        (
            "Larger images make DenseNet's disadvantage larger.",
            "holds with a condition",
            f"They move the crossing, from a batch of {crossings[96]} to one of {crossings[224]}. Where activations "
            f"are nearly everything the ratio no longer depends on the size: for 1,024 images it is "
            f"{times(limits[96], 2)} at 96 × 96 and {times(limits[224], 2)} at 224 × 224.",
        ),
    ]
)

# %% tags=["hide-input"]
assert crossings[224] < crossings[96]
assert quiet["DenseNet"].peak_bytes < dense.peak_bytes / 2

# %% [markdown]
# ## Use it
#
# The instrument takes any module of yours. `measure_memory` has the same arguments and a `device`.

# %%
from densenet_solutions.measure import predict_memory
from densenet_solutions.models import book_densenet

result = predict_memory(book_densenet, (1024, 1, 224, 224), optimizer="adam")
{name: f"{value / 2**20:.1f} MiB" for name, value in result.bytes_by_category.items()}

# %% [markdown]
# On the command line: `densenet-solutions measure densenet121 --batch 32 --optimizer adam`. The
# [explorer](../explorer.py) has such numbers for every network of Table 1.
#
# ## Sources
#
# - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional Networks*,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), Table 1.
# - G. Pleiss et al., *Memory-Efficient Implementation of DenseNets*,
#   [arXiv:1707.06990](https://arxiv.org/abs/1707.06990): where the quadratic growth comes from.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning*, sections
#   [8.6](https://d2l.ai/chapter_convolutional-modern/resnet.html) and
#   [8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html).
#
# ## How these numbers were made

# %% tags=["hide-input"]
how_made(fair_record)
