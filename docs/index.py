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
from densenet_solutions.exercises.saving_memory import pictures
from densenet_solutions.exercises.saving_memory import study as saving_memory
from densenet_solutions.models import TABLE_1
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import count, decimal, interval, mib, times
from densenet_solutions.site.page import how_made

equal = parameters.at_equal_accuracy(parameters.matched_models())
least, *_, most = sorted(row.parameter_ratio for row in equal)
assert least > 1.75 and most < 3.05

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
# No stated reason
# { .ds-number }
#
# The paper gives none, and its authors' code pools by averages between blocks as at the end. What
# averaging does is small and can be told: opposite signs cancel, and it is linear.
#
# </div>
# <div markdown>
#
# ## [2 · Why fewer parameters?](exercises/2-fewer-parameters.py)
#
# {{ times(least) }} to {{ times(most) }} fewer
# { .ds-number }
#
# Each layer writes little and finds the rest with its predecessors. At equal error on ImageNet
# DenseNets need {{ times(least) }} to {{ times(most) }} fewer parameters than ResNets.
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
