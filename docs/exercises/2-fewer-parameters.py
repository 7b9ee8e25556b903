# %% [markdown]
# # Exercise 2: Why does DenseNet have fewer parameters?
#
# !!! question "Exercise 2"
#     One of DenseNet's advantages is that its model is smaller than ResNet's. What in its design
#     makes it so? ([D2L, section 8.7, exercise
#     2](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises), in our words)

# %%
from dataclasses import replace
from statistics import fmean as mean

import torch
from torchvision.models import resnet50
from torchvision.models.resnet import Bottleneck

from densenet_solutions.check.box import number_box
from densenet_solutions.exercises.network.widening import sum_or_concatenation
from densenet_solutions.exercises.parameters import pictures, study
from densenet_solutions.exercises.parameters.reuse import load_feature_reuse
from densenet_solutions.exercises.parameters.reuse_pictures import heat_maps, shares
from densenet_solutions.exercises.pooling import comparison
from densenet_solutions.exercises.pooling.converged import LEARNING_RATES
from densenet_solutions.exercises.pooling.study import converged, learning_rates
from densenet_solutions.models import TABLE_1, TABLE_2, DenseNetConfig
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import (
    count,
    decimal,
    gib,
    interval,
    millions,
    percent,
    times,
)
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import table

by_stage = study.parameters_by_stage()
dense_total, resnet_total = (sum(by_stage[name].values()) for name in ("DenseNet", "ResNet-18"))
costs = study.last_convolution_of_each_stage()
first, last = costs[0], costs[-1]
assert last.densenet == 9 * 32 * last.densenet_reads and last.resnet == 9 * last.resnet_width**2

matched, reevaluated = study.matched_models(), study.reevaluated_models()
by_name = {model.name: model for model in matched}
equal, penalised = study.at_equal_accuracy(matched), study.at_equal_accuracy(reevaluated)
ratios = {row.densenet.name: row.parameter_ratio for row in equal}
rough = times(ratios.pop("DenseNet-121"))
assert list(ratios) == ["DenseNet-169", "DenseNet-201", "DenseNet-264"]
assert min(ratios.values()) > 1.8 and max(ratios.values()) < 2.2  # "about half"
assert rough == "3.0×"  # "a third"
least, most = times(min(ratios.values())), times(max(ratios.values()))

published = {name.replace("densenet", "DenseNet-"): row.config for name, row in TABLE_1.items()}
bare = {
    name: study.without_economies(name, published[name])
    for name in [r.densenet.name for r in equal]
}
resnets = {row.densenet.name: row.resnet_parameters for row in equal}
larger = [name for name in bare if bare[name].without_both > resnets[name]]
assert larger == list(ratios)
assert bare["DenseNet-121"].without_both < resnets["DenseNet-121"]

# %% [markdown]
# !!! turn "Your turn"
#     A 3×3 convolution from $c$ to $c'$ channels has $9\,c\,c'$ weights. How many does the last one
#     of the book's ResNet-18 have, which reads and writes 512 channels? And the last one of its
#     DenseNet, which reads {{ last.densenet_reads }} and writes 32?
#
#     [guess: ResNet-18] [guess: DenseNet]
#
#     ??? hint "Hint 1: add up a block"
#         The layers of a dense block read $c_0,\ c_0 + k,\ c_0 + 2k, \dots$ channels. What is the
#         sum over $n$ layers? Compare it with *one* convolution as wide as the block's end.
#
#     ??? hint "Hint 2: be suspicious"
#         "8 million against 60 million" compares a network with a much better one. Which ResNet is
#         as accurate as DenseNet-121?
#
#     ??? hint "Type it, and see"
#         Count your two networks with `sum(p.numel() for p in net.parameters())`, and type a number.
#
#         {{ number_box(11_523_338) }}
#
#     ??? solution "Compare"
#         {{ count(last.resnet) }} and {{ count(last.densenet) }}:
#         {{ times(last.resnet / last.densenet, 0) }} as many.
#
# !!! answer "The answer"
#     Each layer writes only 32 channels and reads what earlier ones wrote; ResNet-18's write up to 512.
#     Transitions halve the channels (*compression*), and the paper's ImageNet networks put a 1×1
#     *bottleneck* before each 3×3. DenseNet-169 has
#     {{ millions(bare["DenseNet-169"].published, 0) }} parameters, a ResNet of the same accuracy
#     {{ millions(resnets["DenseNet-169"], 0) }}^[ImageNet, the paper's [matched
#     experiment](#a-fair-comparison-equal-accuracy), interpolated between ResNet-50 and ResNet-101.]. With
#     narrow layers alone it would have {{ millions(bare["DenseNet-169"].without_both, 0) }}. (On CIFAR-10 two such
#     networks beat larger ResNets.)
#
#     - **{{ least }} to {{ most }}** fewer parameters at equal error on ImageNet; DenseNet-121, roughly,
#       {{ rough }}
#     - **{{ times(last.resnet / last.densenet, 0) }}** fewer weights in the last convolution of the
#       book's networks
#     - **{{ times(resnet_total / dense_total, 0) }}** fewer parameters in the book's DenseNet than in its ResNet-18, of
#       [about the same accuracy](#a-fair-comparison-equal-accuracy) on Fashion-MNIST
#
# ## A narrow output is cheap
#
# Draw the weights of a convolution as a rectangle: as wide as the channels it reads, as high as
# those it writes. In the stages of ResNet-18 a convolution reads and writes $c$ channels, a square^[But for
# the first of each later stage, which reads half as many. From ResNet-50 on, the 3×3 convolution stands
# between two 1×1 convolutions and, but for the first block, is narrower than what the block reads.]. When
# the resolution halves, $c$ doubles and the square becomes four times as large. A dense layer writes only
# the growth rate $k$ = 32. Its rectangle gets longer, never higher.
#
# The book's networks · last 3×3 convolution of each stage · areas to scale · counted
# { .ds-setup }

# %%
assert first.densenet > first.resnet
with torch.device("meta"):
    deep = [block for block in resnet50().modules() if isinstance(block, Bottleneck)]
narrower = [block.conv2.in_channels < block.conv1.in_channels for block in deep]
assert not narrower[0] and all(narrower[1:])
pictures.weights_to_scale(
    costs,
    "In the first stage ResNet-18's convolution has fewer weights than DenseNet's, in the last "
    f"{times(last.resnet / last.densenet, 0)} as many.",
)

# %% tags=["lines"]
from torch import nn

from densenet_solutions.models import book_densenet, book_resnet18

nets, found = {"DenseNet": book_densenet(), "ResNet-18": book_resnet18()}, {}
for name, net in nets.items():
    for path, conv in net.named_modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            stage = path.removeprefix("features.").split(".")[0]
            found[name, stage] = conv  # the last one of a stage stays
for (name, stage), conv in found.items():
    writes, reads, height, width = conv.weight.shape
    weights = writes * reads * height * width
    print(f"{name} {stage}: {reads} to {writes}, {weights:,}")

# %%
counted = [conv.weight.numel() for conv in found.values()]
assert counted == [cost.densenet for cost in costs] + [cost.resnet for cost in costs]
wide = study.at_equal_width()
assert wide.block < wide.one_convolution / 2
n, reads_on_average = 4, (wide.entering + wide.leaving - 32) / 2
assert wide.leaving == wide.entering + n * 32 and wide.block == 9 * n * 32 * reads_on_average

# %% [markdown]
# Part of this is only that ResNet-18 becomes wider. So take **equal width**. The last block of the
# book's DenseNet grows from {{ wide.entering }} to {{ wide.leaving }} channels. Its four
# convolutions have {{ count(wide.block) }} weights together. One single convolution from
# {{ wide.leaving }} to {{ wide.leaving }} channels has {{ count(wide.one_convolution) }}.
#
# In general: $n$ such layers that grow a block from $c_0$ to $c = c_0 + nk$ channels read $c_0$ to $c - k$ of
# them, on average $(c_0 + c - k)/2$, and write $k$. So they have $9\,nk\,(c_0 + c - k)/2$ weights, a little
# less than $\tfrac92 (c^2 - c_0^2)$. That is quadratic too, but less than half of one $9c^2$ convolution.
#
# ## Why narrow layers may suffice
#
# The paper's explanation: a narrow layer need not carry everything that later layers need. What an
# earlier layer found stays readable, unchanged. A new layer only *adds* something. ResNet adds too,
# but into one sum (and a ReLU follows it, which the picture leaves out). As far as we know nobody has
# measured whether this is really the reason, and neither have we.

# %%
sum_or_concatenation()

# %% [markdown]
# ## Where the parameters sit
#
# The book's networks · all parameters · counted
# { .ds-setup }

# %%
last_stage = by_stage["ResNet-18"]["stage 4"] / resnet_total
assert last_stage > 0.7
pictures.stage_bars(
    by_stage,
    f"ResNet-18 keeps {percent(last_stage, 0)} of its parameters in its last stage; DenseNet's "
    "blocks have about equal shares, since every transition halves the channels.",
)

# %% [markdown]
# In all, DenseNet has {{ count(dense_total) }} parameters and ResNet-18 {{ count(resnet_total) }},
# {{ times(resnet_total / dense_total) }} as many. Are the two equally accurate? On one set of small
# images accuracy does not tell them apart, see [below](#a-fair-comparison-equal-accuracy).
#
# ??? lines "The whole network in one formula"
#     With a [bottleneck](#bottleneck-and-compression), a layer that reads $c$ channels has
#     $p(c) = (2 + 4k)\,c + 8k + 36k^2$ parameters, normalisations included; without, $(2 + 9k)\,c$. The $n$ layers of a block read $c_0, c_0 + k, \dots$
#     channels, in sum $s = n c_0 + k\,n(n-1)/2$. A transition from $m$ channels adds
#     $2m + m\lfloor\theta m\rfloor$, where it keeps the share $\theta$ of them. With stem and classifier
#     this function agrees with a count of the built network for the
#     {{ len(study.check_closed_form()) - 1 }} DenseNets of Tables 1 and 2, and for DenseNet-161. The
#     book's convolutions have biases, which it leaves out.
#
#     {{ source(study.closed_form) }}
#
# ## Bottleneck and compression
#
# The paper's ImageNet networks economise twice. A *bottleneck*, a 1×1 convolution before each 3×3 one,
# brings the channels that are read to $4k$, fewer than most layers read; the book leaves it out. And the
# *compression* $\theta$ is the share of channels that a transition keeps: one half, in the book's network
# too. Besides, the growth rate $k$ and the number of layers of each block (below, of the third) can be set.

# %%
assert all(check.formula == check.counted for check in study.check_closed_form())
growth, compression = study.vary_growth_rate(), study.vary_compression()
at = dict(zip(growth.values, growth.parameters))
keeping = dict(zip(compression.values, compression.parameters))
with_bottleneck = study.closed_form(DenseNetConfig())
without = bare["DenseNet-121"].without_bottleneck
assert without > with_bottleneck and at[64] / at[32] > 3.5
pictures.sweeps(
    [
        (growth, "growth rate k (stem 2k)", 32),
        (study.vary_depth(), "layers of block 3", 24),
        (compression, "compression θ", 0.5),
    ],
    f"Twice the growth rate (stem 2k wide) costs {decimal(at[64] / at[32], 1)} times the parameters; "
    "the ring is DenseNet-121.",
)

# %% [markdown]
# The growth rate enters squared (not quite four times, since some parts, the classifier among them, grow
# only with $k$). Leaving compression out ($\theta = 1$) costs
# {{ times(keeping[1.0] / keeping[0.5], 2) }}. In DenseNet-121 the bottleneck saves, too: without it the
# network would need {{ millions(without) }} parameters instead of {{ millions(with_bottleneck) }}. (In the
# book's narrow network [it would cost](4-table-1.py#what-people-say).)
#
# ## A fair comparison: equal accuracy
#
# Compare networks that reach the same error. The paper made a matched experiment (section 4.4,
# figure 3): its DenseNets were trained with the code and the settings of fb.resnet.torch, the
# public ResNets of that time. By the paper's account nothing differs but the architecture.
#
# ImageNet · single 224² crop · errors as published, trained with one code · parameters counted here
# { .ds-setup }

# %%
d264, r152 = by_name["DenseNet-264"], by_name["ResNet-152"]
assert d264.top1_error < r152.top1_error
pictures.accuracy(
    matched,
    f"At equal error DenseNet-169, 201 and 264 need {least} to {most} fewer parameters, and "
    f"DenseNet-121 roughly {rough}.",
    cost="parameters",
)

# %%
torchvisions = {row.densenet.name: row for row in penalised}
again = {model.name: model.top1_error for model in reevaluated}
loss = [again[name] - by_name[name].top1_error for name in torchvisions]
assert len(loss) == 3 and min(loss) > 0.5 and max(loss) < 0.65
by_readme = [
    row.parameter_ratio
    for row in study.at_equal_accuracy(
        [replace(m, top1_error=study.README_ERRORS.get(m.name, m.top1_error)) for m in matched]
    )
    if row.densenet.name in ("DenseNet-169", "DenseNet-201")
]
assert len({times(ratio) for ratio in by_readme}) == 1 < len(by_readme)
by_authors = [again[n] - study.README_ERRORS[n] for n in torchvisions]
crossing = [
    [row.densenet.name for row in rows if row.between == ("ResNet-34", "ResNet-50")]
    for rows in (equal, penalised)
]
assert crossing == [["DenseNet-121"], ["DenseNet-121", "DenseNet-169"]]
table(
    equal,
    {
        "DenseNet": "densenet.name",
        "fewer parameters": ("parameter_ratio", times),
        "share of the multiply-adds": (lambda row: 1 / row.multiply_add_ratio, decimal),
        "error": ("densenet.top1_error", "{:.2f}%".format),
    },
    caption="Against a ResNet of the same error, interpolated between two published ones "
    "(DenseNet-264 against ResNet-152, which it beats by 0.01 points)",
)

# %%
by_torchvision = table(
    penalised,
    {
        "DenseNet": "densenet.name",
        "torchvision's error": lambda row: f"{again[row.densenet.name]:.2f}%",
        "fewer parameters by it": ("parameter_ratio", times),
    },
    caption="The same comparison by the errors in torchvision's metadata",
)

# %% [markdown]
# ??? note "Why torchvision's figures differ, and three cautions"
#     {{ by_torchvision }}
#
#     torchvision's DenseNet weights are the authors' own, ported from Torch. Evaluated in torchvision's
#     pipeline, they lose {{ decimal(min(loss), 1) }} to {{ decimal(max(loss), 1) }} points against Table 3
#     of the paper, and {{ decimal(min(by_authors), 1) }} to {{ decimal(max(by_authors), 1) }} against the
#     errors in the authors' README. The ResNets were trained *and* evaluated there. So that comparison
#     handicaps one side.
#
#     Three cautions. The public ResNet-50 of the matched experiment is a variant, with a normalisation after
#     the addition (the README of these models says so), and three of the four rows lean on it. For both comparisons: the interpolation between ResNet-34 and ResNet-50 crosses a change of design, so
#     DenseNet-121's row is rough, and by torchvision's errors DenseNet-169's too; and every published error
#     is one training run. DenseNet-161 is left out: Table 3 does not list it. The authors' README does, to
#     one decimal, and with lower errors for two others: {{ study.README_ERRORS["DenseNet-169"] }}% for
#     DenseNet-169 ({{ decimal(by_name["DenseNet-169"].top1_error) }}% in Table 3) and
#     {{ study.README_ERRORS["DenseNet-201"] }}% for DenseNet-201
#     ({{ decimal(by_name["DenseNet-201"].top1_error) }}%). With those each would need
#     {{ times(by_readme[0]) }} fewer.
#
# Would narrow layers alone save as much? Take bottleneck and compression away, and DenseNet-169, 201 and 264
# have *more* parameters than a ResNet that is as accurate as the published network; DenseNet-121 has roughly
# {{ percent(1 - bare["DenseNet-121"].without_both / resnets["DenseNet-121"], 0) }} fewer. How accurate they
# would then be is unknown: for ImageNet the paper has no such network.

# %%
table(
    bare.values(),
    {
        "DenseNet": "name",
        "as published": ("published", millions),
        "no compression": ("without_compression", millions),
        "no bottleneck": ("without_bottleneck", millions),
        "neither": ("without_both", millions),
        "ResNet as accurate as published": (lambda row: resnets[row.name], millions),
    },
    caption="Parameters, counted",
)

# %%
alike = converged()
ours, theirs = alike["average"], alike["ResNet-18"]
apart = comparison.differences(
    {m: (comparison.final(ours, m), comparison.final(theirs, m)) for m in comparison.ON_TEST_IMAGES}
)
accuracies, losses = (
    [mean(comparison.final(of, measure)) for of in (ours, theirs)]
    for measure in comparison.ON_TEST_IMAGES
)
in_accuracy, in_loss = apart.values()
points = interval(*(100 * end for end in in_accuracy.interval))
assert not in_accuracy.told_apart and max(map(abs, in_accuracy.interval)) < 0.002
assert in_loss.told_apart and in_loss.interval[1] < 0
[rate] = {run.settings.learning_rate for run in [*ours, *theirs]}
half_way, at_next = (
    [learning_rates()[n][at].epochs[-1].test_loss for n in ("average", "ResNet-18")]
    for at in (rate, 0.1)
)
assert rate == min(LEARNING_RATES) and half_way[1] < half_way[0]
assert abs(at_next[1] - at_next[0]) < 0.001  # "level"
plain_40, plain_100, small = (TABLE_2[n] for n in ("L=40, k=12", "L=100, k=12", "BC, L=100, k=12"))
assert plain_40.printed_parameters == "1.0M" and plain_100.printed_parameters == "7.0M"
assert small.printed_parameters == "0.8M" and 10.2e6 / small.parameters > 12.5
on_cifar = [  # network, parameters, error as published
    ("DenseNet (100, 12), neither", plain_100.parameters, 4.10),
    ("DenseNet (40, 12), neither", plain_40.parameters, 5.24),
    ("DenseNet-BC (100, 12), both", small.parameters, 4.51),
    ("ResNet-1001, pre-activation", 10.2e6, 4.62),
    ("ResNet-164, pre-activation", 1.7e6, 5.46),
]

# %% [markdown]
# On CIFAR-10 the paper did train DenseNets with neither (Table 2). The two smaller ones each have
# fewer parameters *and* a lower error than one of the ResNets below, which were trained in another way. (The
# third has {{ millions(TABLE_2["L=100, k=24"].parameters) }}.) With bottleneck
# and compression it goes further, to about 13 times fewer than ResNet-1001^[One published figure each. The ResNets' are medians
# of five runs, from their own paper ([arXiv:1603.05027](https://arxiv.org/abs/1603.05027)). So this is rougher
# than the matched experiment.]. Over a range of sizes the paper's figure 4 shows DenseNet-BC with about one
# third of the parameters of pre-activation ResNets at equal error.

# %%
table(
    on_cifar,
    {"network (depth, k)": 0, "parameters": (1, millions, 1), "error": (2, "{:.2f}%".format)},
    caption="CIFAR-10 with augmentation, errors as published; the DenseNets' parameters counted here",
)

# %% [markdown]
# And the book's own two? We trained them alike on Fashion-MNIST at 64², five seeds each, as in
# [exercise 1](1-average-pooling.py#what-our-training-says). DenseNet is right in
# {{ percent(accuracies[0], 2) }} of the test images. ResNet-18, with
# {{ times(resnet_total / dense_total, 0) }} the parameters, is right in {{ percent(accuracies[1], 2) }}. The
# difference is {{ decimal(100 * in_accuracy.mean, 3) }} points, interval {{ points }}: accuracy does not tell
# them apart.
#
# ??? note "How they were trained, and their loss"
#     Each has its learning rate, the best of three by accuracy on held-out images. At the highest of them
#     ResNet-18 diverged; for both the lowest was best, so a better one may lie below. A pair of one seed
#     shares the order of the images; one pair of the five ran on two cards, an H100 and an H200. Intervals
#     are Student's, at 95% over five pairs, for other seeds and these 10,000 test images.
#
#     Of accuracy and test loss only the loss is clearly different after Holm's correction:
#     {{ decimal(losses[0], 3) }} against {{ decimal(losses[1], 3) }}, interval of the difference
#     {{ interval(*in_loss.interval, 3) }}. But after five epochs at the same rate ResNet-18's loss on held-out
#     images was the lower one, {{ decimal(half_way[1], 3) }} against {{ decimal(half_way[0], 3) }} (one seed);
#     at rate 0.1 the two were level.
#
# {{ record_note(load_record("pooling-converged")) }}
#
# ## Can reuse be seen in the weights?

# %%
reuse = load_feature_reuse()
run = reuse.training
trained, untrained = ([shares(b) for b in blocks] for blocks in (reuse.trained, reuse.untrained))
classifier = [blocks[2][-1][0] for blocks in (trained, untrained)]
assert classifier[0] < 0.61 < 0.9 < classifier[1] and trained[2][-1][-1] == 1
# Layers that have a choice, block by block, and what they give the block's input at least.
layers, fresh = ([block[1:-1] for block in blocks] for blocks in (trained, untrained))
to_input, untrained_to_input = (
    [min(column[0] for column in block) for block in blocks] for blocks in (layers, fresh)
)
least_to_input, untrained_least = (
    [column[0] == min(column) for block in blocks for column in block] for blocks in (layers, fresh)
)
evenest = [min(min(map(min, block)) for block in blocks) for blocks in (layers, fresh)]
assert sum(untrained_least) < 5 and evenest[0] > 0.85 and evenest[1] > 0.9
assert sum(least_to_input) == len(least_to_input) - 1 and all(least_to_input[-5:])
assert [a - b > 0.05 for a, b in zip(untrained_to_input, to_input)] == [False, True, True]

# %% [markdown]
# {{ reuse.network }} · Fashion-MNIST, {{ count(run.train_images) }} images of
# {{ run.settings.resolution }}² · {{ run.settings.epochs }} epochs, one run,
# {{ percent(run.test_accuracy) }} test accuracy · recorded
# { .ds-setup }

# %%
heat_maps(
    reuse.trained,
    "In the last block every reader after the first puts least weight on the block's input, and the "
    "classifier most on the last layer.",
)

# %%
floor = study.kept_without_gradient(run.settings, run.train_images)
kept = study.weight_kept(reuse)
above = [100 * (share - floor) for row in kept for reader in row.by_reader for share in reader]
nearer = [100 * difference for row in kept for difference in row.near_minus_far]
by_block = ", ".join(decimal(100 * mean(row.near_minus_far), 1) for row in kept)
assert min(above) > 0 and all(0.5 < 100 * mean(row.near_minus_far) < 1 for row in kept)
assert all(min(row.near_minus_far) < 0 < max(row.near_minus_far) for row in kept)

# %% [markdown]
# {{ record_note() }}
#
# A column is a reader, a row a source, and a square the mean absolute weight, as a share of its
# column's largest. The paper reads reuse from its figure 5, in
# which layers spread their weights over many sources. Ours do too: no source of a block's layers gets less
# than {{ percent(evenest[0], 0) }} of the largest weight. But before training it was
# {{ percent(evenest[1], 0) }}, since random weights are alike on average. So our picture cannot show reuse.
#
# It shows two others of the paper's observations. The classifier uses late features most: it gives the
# block's input {{ percent(classifier[0], 0) }} of its largest weight, untrained
# {{ percent(classifier[1], 0) }}. And layers give least to the block's input, from which the paper concludes
# that many of the features that a transition hands on are redundant. Of our {{ len(least_to_input) }} layers
# that read more than one source {{ sum(least_to_input) }} do; before training {{ sum(untrained_least) }} did^[The lowest
# share of the input falls from {{ percent(untrained_to_input[1], 0) }} before training to
# {{ percent(to_input[1], 0) }} in the second block, and from {{ percent(untrained_to_input[2], 0) }} to
# {{ percent(to_input[2], 0) }} in the third (one run). The paper saw least weight on the input
# in its second and third block.].
#
# ??? note "How much of each weight is left after training?"
#     Divide each mean absolute weight after training by the same one before. Weight decay alone, without
#     any gradient, would leave {{ percent(floor) }}: SGD with momentum {{ run.settings.momentum }}, weight
#     decay {{ run.settings.weight_decay }} and a cosine schedule is linear in such a weight, and a recursion
#     over the steps gives the share. In the blocks' layers what is left lies above that floor, by
#     {{ decimal(min(above), 1) }} to {{ decimal(max(above), 1) }} percentage points. That says little: a
#     filter that is read through a normalisation grows under any gradient. (A filter's length does not
#     change what comes out, so its gradient is at right angles to the filter. The gradient's part of a step
#     lengthens the filter, while decay shortens it.)
#
#     Is more left of the weights on the layer just before than of those on earlier ones? Without the block's
#     input, {{ by_block }} points more on average over the readers of a block. Single readers differ by
#     {{ decimal(min(nearer), 1) }} to {{ decimal(max(nearer), 1) }} points, the scale of the normalisation
#     before each weight not counted in. One run cannot say whether that is chance.
#
# What happens when connections are cut is in [exercise
# 3.2b](3-2b-other-ways.py#what-it-does-to-accuracy).
#
# ## Fewer parameters does not mean less of everything else

# %%
macs_dense, macs_resnet = study.book_multiply_adds(224)
memory_dense, memory_resnet = study.book_training_memory(224, 128)
assert dense_total < resnet_total and macs_dense < macs_resnet and memory_dense > memory_resnet

# %% [markdown]
# The book's networks · 224² · memory of a training step with 128 images, float32 · predicted
# { .ds-setup }

# %%
pictures.relative_costs(
    {
        "parameters": (dense_total, resnet_total),
        "multiply-adds": (macs_dense, macs_resnet),
        "training memory": (memory_dense, memory_resnet),
    },
    f"With {percent(dense_total / resnet_total)} of the parameters the book's DenseNet takes "
    f"{gib(memory_dense)} to train, ResNet-18 {gib(memory_resnet)}.",
)

# %% [markdown]
# A weight of a convolution is used at every position of the image. So a small model can still be a lot of
# work. Why the memory is larger is [exercise 3.1](3-1-memory.py).
#
# ## What people say

# %%
change = study.shortcut_hands_features_on()
assert change == 0
d121, r50, r34 = (by_name[name] for name in ("DenseNet-121", "ResNet-50", "ResNet-34"))
assert r34.top1_error > d121.top1_error > r50.top1_error > r152.top1_error
d121_size, r152_size = millions(d121.parameters, 0), millions(r152.parameters, 0)

# %% [markdown]
# !!! does-not-hold "DenseNet-121 has {{ d121_size }} parameters and ResNet-152 {{ r152_size }}: that shows DenseNet's efficiency."
#     Their errors are {{ decimal(d121.top1_error) }}% and {{ decimal(r152.top1_error) }}%. At equal
#     error DenseNet-121 saves roughly {{ rough }}, not
#     {{ times(r152.parameters / d121.parameters) }}.
#
# !!! does-not-hold "ResNet's layers cannot access earlier features."
#     Within a stage the shortcut hands them on, summed: where the residual branch gives zero, the block
#     returns its input. But the summands can no longer be told apart. And between stages the
#     shortcut is itself a strided 1×1 convolution, which skips three positions of four and mixes
#     the channels.
#
# !!! check "Check yours"
#     The book's DenseNet has {{ count(dense_total) }} parameters, its ResNet-18
#     {{ count(resnet_total) }}. For another number, `check.parameter_count(n)` and the box under *Your
#     turn* name the build, or the mistake. A formula of your own is `exercise_2.py` in the
#     [course](../reference/check.md#the-exercises-as-a-course).
#
# ??? apparatus "Sources, records, versions"
#     - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional
#       Networks*, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993): section 4.4, Tables 1 to 3,
#       figures 3 to 5; DenseNet-161: its earlier versions, and the [authors'
#       README](https://github.com/liuzhuang13/DenseNet).
#     - ResNets of the matched experiment:
#       [fb.resnet.torch](https://github.com/facebook/fb.resnet.torch), single-crop errors.
#     - Re-evaluation: the metadata of torchvision's weights (`IMAGENET1K_V1`), read when this page
#       was built.
#
#     {{ how_made() }}
