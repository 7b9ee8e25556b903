# %% [markdown]
# # DenseNet, answered
#
# Worked answers to the five DenseNet exercises of [*Dive into Deep Learning*,
# 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html), for everybody who has just read
# it: a hint, a short answer, the evidence, and a check for your own solution. New to DenseNet?
# [Start with the network](network.py).

# %%
from densenet_solutions.exercises.houses import study as houses
from densenet_solutions.exercises.memory import study as memory
from densenet_solutions.exercises.network.ledger import ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames
from densenet_solutions.exercises.network.thumbnails import thumbnail
from densenet_solutions.exercises.parameters import study as parameters
from densenet_solutions.exercises.saving_memory import study as saving_memory
from densenet_solutions.models import TABLE_1
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import mib, times
from densenet_solutions.site.page import how_made

equal = parameters.at_equal_accuracy(parameters.matched_models())
ratios = {row.densenet.name: row.parameter_ratio for row in equal}
rough = ratios.pop("DenseNet-121")
assert min(ratios.values()) > 1.8 and max(ratios.values()) < 2.2 < rough  # "about half"
peak = {name: step.peak_bytes for name, step in memory.book_steps(128, 224).items()}
more_memory = peak["DenseNet"] / peak["ResNet-18"]
assert more_memory > 1.4
shared = saving_memory.timelines(load_record("step-timelines"))["shared_storage"]
plain = saving_memory.plain_timeline()
assert plain.peak > 6 * shared.peak
plain_mlp = houses.connections()["plain"].difference
assert plain_mlp.low < 0 < plain_mlp.high  # "not clearly"
depth = TABLE_1["densenet264"].config.depth
ledgers = [ledger("plain"), ledger("shared_storage")]
block = ledgers[0]
kept_once = block.in_channels + (block.num_layers - 1) * block.growth_rate
assert kept_once < sum(block.kept().values()) / 2  # "most" are copies

# %% [markdown]
# ## One dense block, running
#
# Drag through one training step, forward and back. Most of what the plain block keeps for the backward
# pass is copies of the same features, raw or normalised. Shared storage, the answer to exercise 3.2,
# keeps each once.
#
# The book's first block · 8 images, 56 × 56 · float32 · predicted, shared storage as on a CPU
# { .ds-setup }

# %%
ledger_frames(ledgers, small=True)

# %% [markdown]
# ## Six answers
#
# <div class="ds-answers" markdown>
# <div markdown>
#
# {{ thumbnail("1") }}
#
# ### [1 · Why average pooling?](exercises/1-average-pooling.py)
#
# The paper gives no reason. What averaging does can be measured.
#
# </div>
# <div markdown>
#
# {{ thumbnail("2") }}
#
# ### [2 · Why fewer parameters?](exercises/2-fewer-parameters.py)
#
# Narrow layers, bottlenecks, compression: about half the parameters at equal ImageNet accuracy.
#
# </div>
# <div markdown>
#
# {{ thumbnail("3.1") }}
#
# ### [3.1 · Is the memory really high?](exercises/3-1-memory.py)
#
# In training on many images, yes: the book's DenseNet takes {{ times(more_memory) }} ResNet-18's.
#
# </div>
# <div markdown>
#
# {{ thumbnail("3.2") }}
#
# ### [3.2 · How else can memory be saved?](exercises/3-2-saving-memory.py)
#
# Keep features once: DenseNet-121 falls from {{ mib(plain.peak, 0) }} to {{ mib(shared.peak, 0) }}.
#
# </div>
# <div markdown>
#
# {{ thumbnail("4") }}
#
# ### [4 · Every network of Table 1](exercises/4-table-1.py)
#
# One class builds them all. Type your count to check.
#
# </div>
# <div markdown>
#
# {{ thumbnail("5") }}
#
# ### [5 · A dense MLP for house prices](exercises/5-house-prices.py)
#
# On new splits, tuned alike, dense connections did not clearly help.
#
# </div>
# </div>
#
# ## Three things people say
#
# !!! does-not-hold "DenseNet-264 has 264 layers."
#     It has {{ depth }}. [Exercise 4](exercises/4-table-1.py) counts.
#
# !!! does-not-hold "DenseNet-121 has 8 M parameters and ResNet-152 60 M: that shows its efficiency."
#     ResNet-152 is far more accurate. [Exercise 2](exercises/2-fewer-parameters.py) compares fairly.
#
# !!! holds-with-a-condition "DenseNet's memory grows quadratically with depth."
#     What is kept of features does, if every layer keeps its own copy of all that came before. If the
#     copies are recomputed instead, it grows linearly: [exercise 3.1](exercises/3-1-memory.py).
#
# Hold two training steps side by side in the [explorer](explorer.py), and see which cards they fit. Or
# import the code behind the pages: it is a package with a [reference](reference/index.md).
#
# ??? apparatus "How these numbers were made"
#     3.1: the book's networks, 128 images of 224², predicted. 3.2: DenseNet-121, 8 images of 224²,
#     plain predicted and shared storage measured on a CPU, without weights and input.
#
#     {{ how_made() }}
