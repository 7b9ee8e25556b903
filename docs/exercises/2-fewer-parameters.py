# %% [markdown]
# # Exercise 2: why does DenseNet have fewer parameters than ResNet?
#
# ## The question
#
# One of DenseNet's selling points is a small model. The book asks why: what in its design lets it
# do with fewer parameters than ResNet? ([D2L, section 8.7, exercise
# 2](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %%
from densenet_solutions.exercises.parameters import pictures, study
from densenet_solutions.exercises.parameters.reuse import load_feature_reuse
from densenet_solutions.exercises.parameters.reuse_pictures import faintest_share, heat_maps
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.site.numbers import count, decimal, gib, millions, percent, times
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import table

by_stage = study.parameters_by_stage()
dense_total = sum(by_stage["DenseNet"].values())
resnet_total = sum(by_stage["ResNet-18"].values())
costs = study.last_convolution_of_each_stage()
last = costs[-1]
assert last.densenet == 9 * 32 * last.densenet_reads and last.resnet == 9 * last.resnet_width**2

models = study.published_models()
by_name = {model.name: model for model in models}
equal = study.at_equal_accuracy(models)
ratios = [row.parameter_ratio for row in equal]
assert min(ratios) > 1

# %% [markdown]
# ## In one breath
#
# A 3×3 convolution has 9 × (channels read) × (channels written) weights, and a DenseNet layer
# writes only the growth rate, $k$ = 32, where ResNet-18 writes up to {{ last.resnet_width }}. The
# last 3×3 convolution of the book's DenseNet has {{ count(last.densenet) }} weights and ResNet-18's
# has {{ count(last.resnet) }}, {{ times(last.resnet / last.densenet, 0) }} as many; the whole
# networks have {{ count(dense_total) }} and {{ count(resnet_total) }} parameters, a ratio of
# {{ times(resnet_total / dense_total) }}. Measured fairly, at **equal accuracy** on ImageNet, the
# saving is real but smaller: {{ times(min(ratios)) }} to {{ times(max(ratios)) }}.
#
# ## Try it first
#
# ??? question "Hint 1: count one layer"
#     A 3×3 convolution from $c$ to $c'$ channels has $9\,c\,c'$ weights. Write down $c$ and $c'$
#     for the last layer of each network.
#
# ??? question "Hint 2: add up a block"
#     The layers of a dense block read $c_0,\ c_0 + k,\ c_0 + 2k, \dots$ channels. What is the sum
#     over $n$ layers? Which part grows with $n^2$, and what stands in front of it?
#
# ??? question "Hint 3: be suspicious"
#     "8 million against 60 million" compares a network with a much better one. Which ResNet is as
#     accurate as DenseNet-121?
#
# ## The answer
#
# ### One layer: a narrow output is cheap
#
# A ResNet stage keeps $c$ channels: each of its 3×3 convolutions reads $c$ and writes $c$, which
# costs $9c^2$. When the resolution halves, $c$ doubles and the cost quadruples. A dense layer also
# reads everything so far, but it *writes* only $k$ channels: $9kc$. The cost is linear in the width
# of the block, not quadratic.

# %%
pictures.convolution_costs(costs)

# %%
assert costs[0].densenet > costs[0].resnet
resnet_growth, densenet_growth = last.resnet / costs[0].resnet, last.densenet / costs[0].densenet

# %% [markdown]
# In stage 1 DenseNet's convolution is the *larger* one: it reads {{ costs[0].densenet_reads }}
# channels where ResNet reads {{ costs[0].resnet_width }}. Three stages later ResNet's has grown
# {{ times(resnet_growth, 0) }} and DenseNet's {{ times(densenet_growth, 2) }}.
#
# ### The whole network: where the parameters sit

# %%
pictures.stage_bars(by_stage)

# %%
last_stage = by_stage["ResNet-18"]["stage 4"] / resnet_total
assert last_stage > 0.7

# %% [markdown]
# ResNet-18 keeps {{ percent(last_stage, 0) }} of its parameters in its last stage, where images are
# smallest and channels most numerous. DenseNet's four blocks hold about equal shares: halving the
# channels in each transition keeps the widths, and so the costs, level.
#
# ### The closed form
#
# The paper's ImageNet networks put a *bottleneck* before each 3×3 convolution: a 1×1 convolution
# that shrinks the $c$ channels read to $4k$. Such a layer has a normalisation with a scale and a
# shift for each channel ($2c$), the bottleneck ($4kc$), a second normalisation ($8k$) and the 3×3
# convolution ($9 \cdot 4k \cdot k$):
#
# $$p(c) = (2 + 4k)\,c + 8k + 36k^2 .$$
#
# The $n$ layers of a block read $c_0, c_0 + k, \dots$, and summing gives
#
# $$\sum_{\ell=0}^{n-1} p(c_0 + \ell k) = (2 + 4k)\,s + n\,(8k + 36k^2),$$
#
# $$s = n c_0 + k\,\frac{n(n-1)}{2} .$$
#
# A transition from $m$ channels adds $2m + m\lfloor\theta m\rfloor$, where the compression $\theta$
# is the share of channels it keeps (½ in Table 1); stem and classifier are what they are. That is
# the whole network:
#
# {{ source(study.closed_form) }}

# %%
checks = study.check_closed_form()
assert all(check.formula == check.counted for check in checks)
table(
    checks,
    {
        "network": lambda check: check.name.replace("densenet", "DenseNet-"),
        "closed form": "formula",
        "counted": "counted",
    },
    caption="The formula and a count of the built network, for every row of Tables 1 and 2 "
    "(L: depth; BC: with bottleneck and compression)",
)

# %% [markdown]
# ### The three dials

# %%
growth, compression = study.vary_growth_rate(), study.vary_compression()
pictures.sweeps(
    [
        (growth, "growth rate k", 32),
        (study.vary_depth(), "layers of block 3", 24),
        (compression, "compression θ", 0.5),
    ]
)

# %%
at = dict(zip(growth.values, growth.parameters))
keeping = dict(zip(compression.values, compression.parameters))
with_bottleneck = study.closed_form(DenseNetConfig())
without = study.without_bottleneck(DenseNetConfig())
assert without > with_bottleneck

# %% [markdown]
# All three panels start from DenseNet-121 (ringed). Doubling the growth rate from 32 to 64
# multiplies its parameters by {{ decimal(at[64] / at[32]) }}: the growth rate enters squared.
# Taking compression away ($\theta = 1$) costs {{ times(keeping[1.0] / keeping[0.5], 2) }}. The
# bottleneck saves too: without it the same layers would need {{ millions(without) }} instead of
# {{ millions(with_bottleneck) }}.
#
# ### A fair comparison: equal accuracy
#
# Depth is no common currency, and neither is a convenient pair of names. What counts is the error a
# network reaches. The accuracies below are those torchvision publishes for its first weights; the
# parameters are counted here.

# %%
pictures.accuracy(models, cost="parameters")

# %%
table(
    equal,
    {
        "DenseNet": "densenet.name",
        "top-1 error": ("densenet.top1_error", "{:.2f}%".format),
        "parameters": ("densenet.parameters", millions, 1),
        "as good as ResNet": lambda row: "–".join(row.between).replace("–ResNet-", "–"),
        "its parameters": ("resnet_parameters", millions, 1),
        "ratio": ("parameter_ratio", times),
    },
    caption="What a ResNet of the same error would need, interpolated between two published ones",
)

# %% [markdown]
# The advantage is {{ times(min(ratios)) }} to {{ times(max(ratios)) }}. Three things stand behind
# the numbers and should be said. The interpolation between ResNet-34 and ResNet-50 crosses a change
# of design (the bottleneck), so the first two rows are rough. A published accuracy is one training
# run. And the two families were trained by different people with similar, not identical recipes;
# ResNet's newer V2 weights, trained with a recipe that the DenseNets never got, are left out for
# that reason.
#
# ### Why do narrow layers suffice?
#
# A narrow layer would be a poor layer if it had to carry everything that later layers need. In a
# dense block it does not: what an earlier layer found stays readable, unchanged, for all that
# follow (equation 2 of the paper, $x_\ell = H_\ell([x_0, \dots, x_{\ell-1}])$). A layer only has to
# *add* something. If that is what happens, a trained network must really put weight on its early
# features.

# %%
reuse = load_feature_reuse()
heat_maps(reuse.trained)

# %%
kept = study.weight_kept(reuse)
near = ", ".join(percent(row.near, 0) for row in kept)
far = ", ".join(percent(row.far, 0) for row in kept)
faintest = faintest_share(reuse.trained)
weight_decay = reuse.training.settings.weight_decay
assert len(kept) == 3 and all(abs(row.far / row.near - 1) < 0.25 for row in kept)

# %% [markdown]
# {{ record_note() }}
#
# This is the paper's figure 5 for a small network of ours ({{ reuse.network }}, trained on
# {{ count(reuse.training.train_images) }} images of Fashion-MNIST). Each column is a layer, each
# row a source that it reads, and a square is the mean absolute weight that the layer puts on the
# source, as a share of the largest in its column (full colour is 1). Even the faintest square has
# {{ percent(faintest, 0) }} of its column's largest: late layers do read early features.
#
# Read it with care, though. An *untrained* network looks just as even, because initial weights do
# not know which source is near. The telling question is what training, with weight decay that fades
# what is not needed, left of them. Weights on the nearest source kept {{ near }} of their initial
# size in the three blocks, weights on everything earlier {{ far }}. Training gave up early features
# hardly more than late ones. That is what reuse predicts; it is no proof that the early features
# are *needed*, for a short training with a strong weight decay ({{ weight_decay }}) shrinks every
# weight, wanted or not; the scale of the normalisation before each weight is not counted; and this
# is one network and one run. What happens when connections are really cut is measured in [exercise
# 3.2](3-2-saving-memory.py).
#
# ### The other half of the truth
#
# Fewer parameters is not less of everything.

# %%
macs_dense, macs_resnet = study.book_multiply_adds(224)
memory_dense, memory_resnet = study.book_training_memory(224, 128)
assert dense_total < resnet_total and macs_dense < macs_resnet and memory_dense > memory_resnet
pictures.relative_costs(
    {
        "parameters": (dense_total, resnet_total),
        "multiply-adds": (macs_dense, macs_resnet),
        "training memory": (memory_dense, memory_resnet),
    }
)

# %% [markdown]
# The book's two networks at 224×224, batch 128: DenseNet has
# {{ percent(dense_total / resnet_total) }} of ResNet-18's parameters,
# {{ percent(macs_dense / macs_resnet, 0) }} of its multiply-adds, and
# **{{ percent(memory_dense / memory_resnet, 0) }}** of its memory in a training step
# ({{ gib(memory_dense) }} against {{ gib(memory_resnet) }}, predicted; [exercise
# 3.1](3-1-memory.py) explains it and checks the prediction on a CPU). These two networks are not
# equally accurate, so look at the published families too:

# %%
pictures.accuracy(models, cost="multiply_adds")

# %%
work = {row.densenet.name: 1 / row.multiply_add_ratio for row in equal}
hardest = max(work, key=work.get)
assert work[hardest] > 1
assert all(row.multiply_add_ratio < row.parameter_ratio for row in equal)

# %% [markdown]
# In multiply-adds, at equal accuracy, the published DenseNets need between
# {{ times(min(work.values()), 2) }} and {{ times(work[hardest], 2) }} of what ResNets need: less of
# an advantage than in parameters for every one of them, and for {{ hardest }} none at all. A weight
# of a convolution is used once for every position of the image, so a small model that works at high
# resolution is busy all the same.
#
# ## What people say, checked

# %%
change = study.shortcut_hands_features_on()
single_dense, single_resnet = study.book_training_memory(224, 1)
assert change == 0 and single_dense < single_resnet
d121, r152 = by_name["DenseNet-121"], by_name["ResNet-152"]
r50, r34 = by_name["ResNet-50"], by_name["ResNet-34"]
assert r34.top1_error > d121.top1_error > r50.top1_error > r152.top1_error
assert equal[0].densenet == d121
apart = r152.parameters / d121.parameters
d121_size, r152_size = millions(d121.parameters, 0), millions(r152.parameters, 0)

# %% [markdown]
# !!! holds-with-a-condition "Dense connections need fewer channels because features are reused."
#     The arithmetic above shows *that* narrow layers are cheap. Training left early and near
#     sources about equal weight, which reuse predicts and which a uniform decay would give as well.
#     That reuse is *why* narrow layers suffice is the paper's explanation: plausible, and not
#     proved here.
#
# !!! does-not-hold "ResNet's layers cannot access earlier features."
#     The shortcut hands them on, summed. Set the residual branch to zero and the block returns its
#     input unchanged (largest difference: {{ decimal(change, 0) }}). What ResNet's later layers
#     cannot do is tell the summands apart; concatenation keeps them separate.
#
# !!! holds-with-a-condition "Fewer parameters make DenseNet cheaper."
#     Cheaper to store and to send, and mostly in multiply-adds, though there it saves less than in
#     parameters. Not cheaper in memory once batches are large: to train, the book's DenseNet takes
#     {{ times(memory_dense / memory_resnet, 2) }} what ResNet-18 takes at 224×224 and batch 128,
#     with {{ times(resnet_total / dense_total, 0) }} fewer parameters (at a batch of 1 it takes
#     {{ percent(single_dense / single_resnet, 0) }}).
#
# !!! does-not-hold "DenseNet-121 has {{ d121_size }} parameters and ResNet-152 {{ r152_size }}: that shows DenseNet's efficiency."
#     It compares unequal networks: their errors are {{ decimal(d121.top1_error) }}% and
#     {{ decimal(r152.top1_error) }}%. DenseNet-121 stands between ResNet-34
#     ({{ decimal(r34.top1_error) }}%) and ResNet-50 ({{ decimal(r50.top1_error) }}%), and the ratio
#     there is {{ times(equal[0].parameter_ratio) }}, not {{ times(apart) }}.
#
# ## Use it

# %% tags=["show"]
from densenet_solutions.exercises.parameters.study import closed_form
from densenet_solutions.measure import count_parameters
from densenet_solutions.models import densenet121

model = densenet121(growth_rate=24, num_init_features=48)
print(count_parameters(model).by_kind)
assert closed_form(model.config) == count_parameters(model).total

# %% [markdown]
# ## Sources
#
# - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional
#   Networks*, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993): equation 2, Tables 1 to 3,
#   figures 3 and 5.
# - K. He, X. Zhang, S. Ren, J. Sun, *Deep Residual Learning for Image Recognition*,
#   [arXiv:1512.03385](https://arxiv.org/abs/1512.03385).
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, *Dive into Deep Learning*, sections
#   [8.6](https://d2l.ai/chapter_convolutional-modern/resnet.html) and
#   [8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html).
# - Accuracies: the metadata of torchvision's weights (`IMAGENET1K_V1`), read when this page was
#   built.
#
# ## How these numbers were made
#
# {{ how_made() }}
