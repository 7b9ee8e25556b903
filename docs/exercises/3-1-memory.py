# %% [markdown]
# # Exercise 3.1: is DenseNet's memory consumption really high?
#
# ## The question
#
# DenseNet is criticised for the memory it needs. The book asks whether that is so, and suggests
# images of 224 × 224 pixels in place of 96 × 96 to see it. ([D2L, section 8.7, exercise
# 3](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %%
from densenet_solutions.exercises.memory import pictures, study
from densenet_solutions.exercises.memory.fair import FairModel
from densenet_solutions.records import load_record, record_names
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import billions, count, mib, percent, times
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import KEY, table

steps = study.book_steps(128, 224)
dense, resnet = steps["DenseNet"], steps["ResNet-18"]
peak = {name: mib(step.peak_bytes, 0) for name, step in steps.items()}
single = {name: step.peak_bytes for name, step in study.book_steps(1, 224).items()}
crossings = {resolution: study.crossing(resolution) for resolution in (96, 224)}
parameter_ratio = resnet.bytes_by_category["parameters"] / dense.bytes_by_category["parameters"]
memory_ratio = dense.peak_bytes / resnet.peak_bytes
assert 14 < parameter_ratio < 16 and 1.3 < memory_ratio < 1.7
assert single["DenseNet"] < single["ResNet-18"]
assert 1 < crossings[224] < crossings[96] < 128

# %% [markdown]
# ## In one breath
#
# Yes, when you train with many or large images; no, when you do not. At 224 × 224 and a batch of
# 128 a training step peaks at **{{ peak["DenseNet"] }}** for the book's DenseNet and at
# **{{ peak["ResNet-18"] }}** for its ResNet-18 (predicted; the predictor is checked below),
# although DenseNet has {{ times(parameter_ratio, 0) }} *fewer* parameters. At a batch of 1 the
# order is reversed: {{ mib(single["DenseNet"], 0) }} against {{ mib(single["ResNet-18"], 0) }}.
# DenseNet overtakes at a batch of {{ crossings[224] }} ({{ crossings[96] }} at 96 × 96).
#
# ## Try it first
#
# ??? question "Hint 1: what has to be remembered?"
#     The backward pass of a convolution needs the convolution's input. Which tensors of a dense
#     block are inputs of something? How often is the same feature among them?
#
# ??? question "Hint 2: two kinds of memory"
#     Some memory grows with the batch, and some does not. Write the peak as $a + b\,N$ for both
#     networks. Which has the larger $a$, which the larger $b$?
#
# ??? question "Hint 3: measure, do not estimate"
#     `torch.profiler` with `profile_memory=True` sees what PyTorch's allocator hands out. On the
#     meta device the same step runs without any memory at all.
#
# ## The answer
#
# ### One training step, watched
#
# The instrument runs the step on PyTorch's *meta* device, where tensors have shapes but no data,
# and follows every storage from birth to death. Nothing is allocated, so any batch fits on any
# laptop.

# %%
pictures.step_timelines(steps)

# %%
kept = {
    name: step.bytes_by_category["activations"] / step.peak_bytes for name, step in steps.items()
}
assert min(kept.values()) > 0.8
assert all(step.bytes_by_category["gradients"] < 2**20 for step in steps.values())

# %% [markdown]
# Each network climbs through its forward pass, because every layer leaves tensors behind for the
# backward pass, and comes down again as these are used up. At the peak such *activations* are
# {{ percent(kept["DenseNet"]) }} of DenseNet's memory and {{ percent(kept["ResNet-18"]) }} of
# ResNet-18's. It comes where the forward pass ends, before almost any parameter has its gradient.
# *Buffers* are running statistics; *temporaries* are what an operation returns and nobody keeps.

# %%
table(
    {
        **{
            category: [step.bytes_by_category[category] for step in steps.values()]
            for category in dense.bytes_by_category
            if any(step.bytes_by_category[category] for step in steps.values())
        },
        "**peak**": [step.peak_bytes for step in steps.values()],
    },
    {"at the peak, batch 128": KEY, "DenseNet": (0, mib), "ResNet-18": (1, mib)},
    caption="What the memory is there for: one training step at 224 × 224, float32, no optimizer.",
)

# %% [markdown]
# ### The batch at which DenseNet overtakes
#
# Parameters and their gradients do not depend on the batch, activations are proportional to it.
# ResNet-18 has much of the first and DenseNet of the second, so the lines must cross.

# %%
batches = (1, 2, 4, 8, 16, 32, 64, 128)
peaks = {resolution: study.sweep(batches, resolution) for resolution in (96, 224)}
pictures.batch_lines(batches, peaks, crossings)

# %%
table(
    dict.fromkeys((1, 16, 128)),
    {
        "batch": KEY,
        **{
            f"{name}, {resolution}²": (dict(zip(batches, values)), mib)
            for resolution, networks in peaks.items()
            for name, values in networks.items()
        },
    },
    caption="Predicted peak of a training step.",
)

# %%
growth = {name: peaks[224][name][-1] / peaks[96][name][-1] for name in steps}
pixels = (224 / 96) ** 2
assert all(0.75 * pixels < ratio < 1.1 * pixels for ratio in growth.values())

# %% [markdown]
# An image of 224 × 224 has {{ times(pixels) }} the pixels of one of 96 × 96. At a batch of 128
# DenseNet's peak grows by {{ times(growth["DenseNet"]) }} and ResNet-18's by
# {{ times(growth["ResNet-18"]) }}: almost all of DenseNet's memory follows the pixels.
#
# ### Quadratic in depth, and how to see it
#
# Layer $\ell$ of a dense block reads the concatenation of all features before it, which is
# $c_0 + (\ell - 1)k$ channels, and the plain implementation keeps that concatenation. The sum over
# $L$ layers has a term $\tfrac{1}{2}kL^2$. If the concatenations are computed again when needed,
# only what each layer *writes* is kept, and that is linear in $L$.
#
# Do not fit an exponent to such a curve: at practical depths the linear term is large, and the
# exponent comes out somewhere between 1 and 2. Differences decide. A quadratic has constant
# *second* differences, a line has constant *first* ones.

# %%
depth = study.by_depth()
pictures.depth_lines(depth.layers, depth.kept)

# %%
first = depth.first_differences("recomputed")
second = depth.second_differences("naive")
assert len(set(second)) == len(set(first)) == 1 and second[0] > 0


def by_layers(values):
    """By number of layers; differences begin with the second or the third."""
    return dict(zip(depth.layers[-len(values) :], values))


table(
    dict.fromkeys(depth.layers),
    {
        "layers": KEY,
        "plain, kept": by_layers(depth.kept["naive"]),
        "first difference": by_layers(depth.first_differences("naive")),
        "second difference": by_layers(second),
        "recomputed, kept": by_layers(depth.kept["recomputed"]),
        "its first difference": by_layers(first),
    },
    caption="Bytes kept for the backward pass by one dense block with bottleneck, k = 32, one "
    "32 × 32 image.",
)

# %% [markdown]
# To the byte: the second difference of the plain block is always {{ count(second[0]) }}, and the
# first difference of the recomputed one always {{ count(first[0]) }}. So the *plain implementation*
# is quadratic; DenseNet itself is not. Exercise [3.2](3-2-saving-memory.py) takes it from there.
#
# ### Three fair ways to compare
#
# The book's two networks differ in everything. Published ImageNet networks can be compared at equal
# parameters, at equal work or at equal accuracy. Each time we interpolate between the two published
# ResNets that enclose the DenseNet. A DenseNet with fewer parameters than ResNet-18 is compared
# with ResNet-18 itself.

# %%
cases = load_record("memory-fair").cases
published = {name: from_json(FairModel, case) for name, case in cases.items()}
table(
    published,
    {
        "network": "name",
        "parameters": "parameters",
        "multiply-adds": ("multiply_adds", billions),
        "top-1 error": ("top1_error", "{:.2f}%".format),
        "training peak": ("training_bytes", mib, 0),
        "inference peak": ("inference_bytes", mib, 0),
    },
    caption="Predicted peaks for 32 images of 224 × 224, float32. Errors are torchvision's, first "
    "weights (V1).",
)

# %%
yardsticks = {
    "equal parameters": study.fair_ratios(published, "parameters"),
    "equal multiply-adds": study.fair_ratios(published, "multiply_adds"),
    "equal accuracy": study.fair_ratios(published, "top1_error"),
}
equally_accurate = yardsticks["equal accuracy"]
assert all(ratio > 1 for ratios in yardsticks.values() for ratio in ratios.values())
table(
    equally_accurate,
    {"DenseNet": KEY, **{heading: (ratios, times, 2) for heading, ratios in yardsticks.items()}},
    caption="Training memory of a DenseNet as a multiple of that of a comparable ResNet.",
)

# %%
low, high = min(equally_accurate.values()), max(equally_accurate.values())
r34, r50, d121, d169 = (
    published[name] for name in ("resnet34", "resnet50", "densenet121", "densenet169")
)
jump = r50.training_bytes / r34.training_bytes
d121_to_r50, d169_to_r50 = (d.training_bytes / r50.training_bytes for d in (d121, d169))
assert r34.top1_error > d121.top1_error > d169.top1_error > r50.top1_error

# %% [markdown]
# {{ record_note() }}
#
# In the plain implementation DenseNet needs more by every yardstick. At equal accuracy, the one
# that matters to most people, it needs {{ times(low, 2) }} to {{ times(high, 2) }} the memory of a
# ResNet in training. But the first two of these rows stand between ResNet-34 and ResNet-50, whose
# memory is {{ times(jump) }} as large: against ResNet-50 itself, which is more accurate than both,
# they need {{ times(d121_to_r50, 2) }} and {{ times(d169_to_r50, 2) }}. The other two yardsticks
# compare with the shallow ResNets without bottlenecks, which are less accurate; only DenseNet-201
# at equal multiply-adds meets ResNet-50 and ResNet-101. [Exercise 3.2](3-2-saving-memory.py) shows
# how little of DenseNet's memory has to be.
#
# ### Training against inference
#
# Without autograd nothing is kept: a tensor dies as soon as no later layer reads it.

# %%
inference = study.book_steps(128, 224, train=False)
assert all(step.bytes_by_category["activations"] == 0 for step in inference.values())
assert all(inference[name].peak_bytes < steps[name].peak_bytes / 2 for name in steps)
table(
    {name: (steps[name].peak_bytes, inference[name].peak_bytes) for name in steps},
    {
        "batch 128, 224 × 224": KEY,
        "training": (0, mib),
        "inference": (1, mib),
        "ratio": (lambda peaks: peaks[0] / peaks[1], times),
    },
)

# %% [markdown]
# ### Is the prediction true?
#
# It would be a poor instrument that had only itself as a witness. Here a real step runs on the CPU,
# while the profiler records every allocation and release of PyTorch's allocator.

# %%
both = study.predicted_and_measured(2, 96)
errors = {name: abs(p.peak_bytes / m.peak_bytes - 1) for name, (p, m) in both.items()}
assert max(errors.values()) < 0.01
table(
    both,
    {
        "batch 2, 96 × 96": KEY,
        "predicted": ("0.peak_bytes", mib, 2),
        "CPU allocator": ("1.peak_bytes", mib, 2),
        "difference": (errors, percent, 2),
        "whole process": ("1.peak_resident_bytes", mib, 0),
    },
    caption="Peak of one training step. The last column holds Python, PyTorch and the libraries "
    "too.",
)

# %%
assert "memory-grid" not in record_names(), "a GPU was recorded: say here what it found"

# %% [markdown]
# !!! note "No GPU record yet"
#     Measurements of the book's networks, of all of Table 1 and of the deep ResNets on a GPU have
#     **not been recorded yet**. What you read here about memory is prediction, checked against the
#     allocator of a CPU. On CUDA the libraries' workspace comes on top, and this page cannot say
#     how much. To record it: `densenet-solutions record memory-grid --device cuda`.
#
# ### Why summaries by hooks are wrong, in both directions
#
# Popular summaries put a hook on every module, add up the outputs and often double the sum "for
# gradients". This is what they see:
#
# {{ source(study.hook_summary) }}

# %%
summaries = study.summaries()
wrong = [
    value / row.kept
    for row in summaries.values()
    for value in (row.all_outputs, row.doubled, row.distinct)
]
least, most = times(min(wrong), 2), times(max(wrong), 2)
assert min(wrong) < 0.95 and max(wrong) > 1.5


def beside(kept, said):
    return f"{mib(said, 0)} ({times(said / kept, 2)})"


table(
    summaries,
    {
        "batch 8, 224 × 224": KEY,
        "really kept": ("kept", mib, 0),
        "all outputs": lambda row: beside(row.kept, row.all_outputs),
        "twice that": lambda row: beside(row.kept, row.doubled),
        "distinct storages": lambda row: beside(row.kept, row.distinct),
    },
    caption="Three conventions against the bytes that are kept for the backward pass.",
    align="lrrrr",
)

# %% [markdown]
# Between {{ least }} and {{ most }} of the truth, depending on the convention and the network.
# `torch.cat` is no module, so concatenations are missed. A ReLU in place has an output, but no
# memory of its own, so it is counted twice. An output that no backward pass reads is counted,
# though it is freed at once. And gradients of activations live for a moment each, never all
# together: doubling has no basis.
#
# ## What people say, checked

# %%
parameters_of_peak = dense.bytes_by_category["parameters"] / dense.peak_bytes
many = {resolution: study.sweep((1024,), resolution) for resolution in (96, 224)}
limit = {
    resolution: peaks["DenseNet"][0] / peaks["ResNet-18"][0] for resolution, peaks in many.items()
}
assert abs(limit[96] - limit[224]) < 0.03

# %% [markdown]
# !!! holds-with-a-condition "DenseNet needs a lot of memory."
#     In training, from a batch of {{ crossings[224] }} on at 224 × 224:
#     {{ times(memory_ratio, 2) }} ResNet-18's at a batch of 128. At a batch of 1 it needs less than
#     ResNet-18.
#
# !!! does-not-hold "Fewer parameters mean less memory."
#     The book's DenseNet has {{ times(parameter_ratio, 0) }} fewer parameters and needs
#     {{ times(memory_ratio, 2) }} the memory. Parameters are {{ percent(parameters_of_peak) }} of
#     its peak.
#
# !!! holds-with-a-condition "DenseNet's memory grows quadratically with depth."
#     For the plain implementation: its second differences are constant to the byte. With
#     recomputation the first differences are.
#
# !!! does-not-hold "DenseNet is a memory hog at inference too."
#     Without autograd nothing is kept: {{ mib(inference["DenseNet"].peak_bytes, 0) }} at a batch of
#     128, where ResNet-18 needs {{ mib(inference["ResNet-18"].peak_bytes, 0) }} and training
#     {{ peak["DenseNet"] }}.
#
# !!! does-not-hold "A model summary tells you the memory of a training step."
#     The usual conventions come to {{ least }} to {{ most }} of what is kept.
#
# !!! holds-with-a-condition "Larger images make DenseNet's disadvantage larger."
#     They move the crossing, from a batch of {{ crossings[96] }} to one of {{ crossings[224] }}.
#     Where activations are nearly everything the ratio no longer depends on the size: for 1,024
#     images it is {{ times(limit[96], 2) }} at 96 × 96 and {{ times(limit[224], 2) }} at 224 × 224.
#
# ## Use it
#
# The instrument takes any module of yours. `measure_memory` has the same arguments and a `device`.

# %% tags=["show"]
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
# - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional
#   Networks*, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), Table 1.
# - G. Pleiss et al., *Memory-Efficient Implementation of DenseNets*,
#   [arXiv:1707.06990](https://arxiv.org/abs/1707.06990): where the quadratic growth comes from.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning*, sections
#   [8.6](https://d2l.ai/chapter_convolutional-modern/resnet.html) and
#   [8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html).
#
# ## How these numbers were made
#
# {{ how_made() }}
