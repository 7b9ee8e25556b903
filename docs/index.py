# %% [markdown]
# # DenseNet, answered
#
# *Dive into Deep Learning* ends its [section on
# DenseNet](https://d2l.ai/chapter_convolutional-modern/densenet.html) with five questions, one of
# them in two parts. These are answers that run: every number below was computed when this page was
# built, or recorded on hardware that its page names. New to the network? [Start
# here](network.py).

# %%
from densenet_solutions.exercises.houses import pictures as houses_pictures
from densenet_solutions.exercises.houses import study as houses
from densenet_solutions.exercises.memory import study as memory
from densenet_solutions.exercises.parameters import study as parameters
from densenet_solutions.exercises.pooling import study as pooling
from densenet_solutions.exercises.saving_memory import pictures
from densenet_solutions.exercises.saving_memory import study as saving_memory
from densenet_solutions.measure import count_flops
from densenet_solutions.memory.pool_first import PoolsFirst
from densenet_solutions.models import TABLE_1, DenseNetConfig
from densenet_solutions.models.densenet import Transition
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import count, decimal, interval, mib, times
from densenet_solutions.site.page import how_made

features = (1, 256, 56, 56)  # what the first transition of DenseNet-121 reads
work, pooled_first = (
    count_flops(transition(256, 128, DenseNetConfig()), features).multiply_adds
    for transition in (Transition, PoolsFirst)
)
_, maximum = pooling.differences("pooling-training-reduced", "max", "average")
assert 4 * pooled_first == work and maximum.low > 0

by_stage = parameters.parameters_by_stage()
dense, resnet = (sum(by_stage[name].values()) for name in ("DenseNet", "ResNet-18"))
equal = parameters.at_equal_accuracy(parameters.published_models())
least, *_, most = sorted(row.parameter_ratio for row in equal)
assert dense < resnet / 14 and least > 1

peak = {name: step.peak_bytes for name, step in memory.book_steps(128, 224).items()}
more_memory = peak["DenseNet"] / peak["ResNet-18"]
assert more_memory > 1

shared = saving_memory.timelines(load_record("step-timelines"))["shared_storage"]
plain = saving_memory.plain_timeline()
assert plain.peak > 6 * shared.peak

sizes = [row.parameters for row in TABLE_1.values()]

on_the_books_folds = houses.dense_on_the_books_folds()
standings = {row.family: row for row in houses.standings()}
fresh = {family: sum(row.fresh) / len(row.fresh) for family, row in standings.items()}
tree = min(houses.TREES, key=fresh.get)
against, depths = standings[tree].against_dense, houses.depths()
dense_end, plain_end = (depths.as_it_is[name][-1] for name in ("dense", "plain"))
assert against.low < 0 < against.high and plain_end > 1.1 * dense_end

# %% [markdown]
# <div class="ds-answers" markdown>
# <div markdown>
#
# ## [1 · Why average pooling?](exercises/1-average-pooling.py)
#
# ¼ of a transition's work
# { .ds-number }
#
# Averaging is linear, so a transition may pool *before* it convolves and give the same result; the
# paper itself gives no reason. Better accuracy is not one that we could find: in a small training,
# maximum pooling was ahead by {{ decimal(100 * maximum.mean) }} percentage points, 95% interval
# {{ interval(100 * maximum.low, 100 * maximum.high) }}.
#
# </div>
# <div markdown>
#
# ## [2 · Why fewer parameters?](exercises/2-fewer-parameters.py)
#
# {{ times(resnet / dense) }} fewer
# { .ds-number }
#
# A layer writes only its growth rate: {{ count(dense) }} parameters in the book's DenseNet,
# {{ count(resnet) }} in its ResNet-18. At equal published accuracy on ImageNet the factor is
# {{ times(least) }} to {{ times(most) }}.
#
# </div>
# <div markdown>
#
# ## [3.1 · Is the memory really high?](exercises/3-1-memory.py)
#
# {{ times(more_memory, 2) }} ResNet-18's
# { .ds-number }
#
# In training on large batches, yes: {{ mib(peak["DenseNet"], 0) }} against
# {{ mib(peak["ResNet-18"], 0) }}, predicted, for 128 images of 224×224, although the model itself
# is the smaller one.
#
# </div>
# <div markdown>
#
# ## [3.2 · How else can memory be saved?](exercises/3-2-saving-memory.py)
#
# {{ times(plain.peak / shared.peak) }} less
# { .ds-number }
#
# Most of it is repetition. With one buffer for all features of a block, a training step of
# DenseNet-121 needs {{ mib(shared.peak, 0) }} beyond the model instead of {{ mib(plain.peak, 0) }},
# and the gradients stay the same up to rounding.
#
# </div>
# <div markdown>
#
# ## [4 · Every network of Table 1](exercises/4-table-1.py)
#
# {{ len(sizes) }} networks
# { .ds-number }
#
# From {{ count(min(sizes)) }} to {{ count(max(sizes)) }} parameters, from one class, DenseNet-161
# of the table's earlier versions included. The counts are recomputed by a formula, and the weights
# of all but DenseNet-264, which torchvision lacks, move to torchvision and back.
#
# </div>
# <div markdown>
#
# ## [5 · A dense MLP for house prices](exercises/5-house-prices.py)
#
# {{ decimal(fresh["dense"], 3) }} in log price
# { .ds-number }
#
# Root mean squared error in cross-validation over fresh partitions
# ({{ decimal(on_the_books_folds.rmse, 3) }} on the book's folds), no worse and no better than the
# best boosted trees ({{ houses_pictures.NAMES[tree] }} minus ours: 95% interval
# {{ interval(against.low, against.high, 4) }}). At {{ depths.depths[-1] }} layers a plain MLP of
# the same size has {{ decimal(plain_end, 3) }}, a dense one {{ decimal(dense_end, 3) }}. But most
# of the gain over the book comes from features.
#
# </div>
# </div>
#
# ## One training step, twice
#
# The memory of one training step of DenseNet-121 on 8 images of 224×224, from its first operation
# to its last: the plain implementation, predicted from the shapes of its tensors, and one that
# keeps every feature once, measured on a CPU ([how numbers are made](about/how-it-is-made.md)).

# %%
pictures.two_timelines(plain, shared)

# %% [markdown]
# ## Three ways to use this site
#
# **Read** the exercises in any order; each stands by itself, with hints to try first.
# **Play** with network, batch, resolution and ways to save memory in the [explorer](explorer.py).
# **Import** the code behind the pages: it is a package with a [reference](reference/index.md).
#
# ## How these numbers were made
#
# {{ how_made() }}
