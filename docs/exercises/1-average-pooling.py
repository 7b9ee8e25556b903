# %% [markdown]
# # Exercise 1: Why average pooling?
#
# !!! question "Exercise 1"
#     Between two dense blocks stands a transition: batch normalisation, ReLU, a 1×1 convolution
#     that halves the channels, and a 2×2 average pooling that halves the resolution. Why does it
#     average, when the stem takes the maximum? ([D2L, section 8.7, exercise
#     1](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises), in our words)

# %%
from statistics import fmean as mean

from densenet_solutions import check
from densenet_solutions.exercises.network.layer import operations
from densenet_solutions.exercises.network.window import pool, window
from densenet_solutions.exercises.pooling import pictures, study
from densenet_solutions.exercises.pooling.converged import LEARNING_RATES, SEEDS, VARIANTS
from densenet_solutions.exercises.pooling.swap import swap_frames
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models.densenet import Transition
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import count, decimal, mib, percent
from densenet_solutions.site.page import how_made, record_note
from densenet_solutions.site.tables import KEY, table

names = pictures.NAMES
trained = study.trained_features()
first = [run.transitions[0] for run in trained["average"]]  # first transition, one a seed
average, maximum = (pool(name, (0.8, -2.0, 2.8, 0.4)).output for name in ("average", "maximum"))
assert average == 0.5 and maximum == 2.8
said = check.transition(Transition(256, 128, DenseNetConfig(pooling="max")), 256).findings[0]
assert "max pooling" in said.text

# %% [markdown]
# !!! turn "Your turn"
#     A window holds 0.8, −2.0, 2.8 and 0.4. What do the average and the maximum make of it? And for
#     which of the two may you pool *before* the 1×1 convolution and get the same result?
#
#     [guess: average] [guess: maximum] [guess: may go first]
#
#     ??? hint "Hint 1: look at the sign"
#         In the stem a ReLU stands directly before the pool. What stands before the transition's
#         pool, and what will its result meet next?
#
#     ??? hint "Hint 2: swap two layers"
#         A 1×1 convolution mixes channels and leaves positions alone. Average pooling mixes
#         positions and leaves channels alone. Are both linear?
#
#     ??? solution "Compare"
#         {{ decimal(average, 1) }} and {{ decimal(maximum, 1) }}. Only the average commutes with
#         the convolution, because only the average is linear.
#
#         Now write the whole transition, with the pool that you would take, and have it checked.
#
#         ```python
#         from densenet_solutions import check
#
#         check.transition(MyTransition(256), in_channels=256)
#         ```
#
#         Of our own, with a maximum, it says: "{{ said.text }}"
#
# !!! answer "The answer"
#     The paper gives no reason. Habit comes nearest to one: in the authors' code the same function
#     ends every block, and it averages, between blocks as at the end. The stem's maximum was taken
#     over from ResNet. What averaging *does* is modest: opposite signs cancel before the next ReLU,
#     all four values share the gradient, and the whole step is linear.
#
#     - **0** reasons in the paper
#     - **4 of 4** inputs get gradient at the pool, with the maximum 1 of 4
#     - **¼** of the transition's convolution would be left if one pooled first^[Neither the
#       authors' code nor torchvision does.]
#
# ## Where it comes from
#
# The authors' Lua code has one function, `addTransition`, for what follows a dense block:
# normalisation, ReLU, then average pooling. Between blocks there is a 1×1 convolution before a 2×2
# pool. After the last block the pool covers the whole map. Their networks for CIFAR contain no
# maximum pool at all. The one in the ImageNet stem stands under the comment that the initial
# transforms follow ResNet. So the exception is the stem, and it is borrowed.
#
# The paper gives transitions one more role: through "at most two or three" of them the loss reaches
# every layer (section 5, *implicit deep supervision*). It does not say that averaging helps there.

# %%
operations()

# %% [markdown]
# ## Opposite signs cancel
#
# No ReLU stands between the transition's convolution and its pool. So the window holds values of
# both signs.

# %%
window()

# %%
relu = study.relu_after_pool(1.0)
assert relu["max"] == 0 < 0.1 < relu["average"]
below_zero = mean(f.negative for f in first)
correlation = mean(f.neighbour_correlation for f in first)
variance = {
    m.pooling: mean(f.moments[i].variance for f in first) for i, m in enumerate(first[0].moments)
}
assert variance["average"] < variance["max"] < 1 and 0.5 < below_zero < 0.6

# %% [markdown]
# What does it matter? Whoever reads the pooled value normalises it and applies a ReLU. Where the
# scale of that normalisation is positive, as all are at first, taking the maximum and then the ReLU
# is the same as the ReLU and then the maximum. So a maximum acts as if the ReLU stood before it, as
# in the stem. The average differs: a negative response can lower a positive one before the ReLU
# sees either^[Neither keeps a strongly negative value: the ReLU removes it in both cases.].
#
# The size of it: in our trained networks^[Five networks that average, at their first transition,
# trained for three epochs on 5,000 images of Fashion-MNIST at 32².] {{ percent(below_zero, 0) }} of the convolution's outputs are
# negative, and averaging leaves {{ percent(variance["average"], 0) }} of their variance (the
# maximum {{ percent(variance["max"], 0) }}). The limit: the next normalisation moves a channel's mean to
# zero and restores its scale, for either pooling. What its ReLU then removes is what lies below the
# *mean*, so these figures say that signs are mixed and not how much is lost.
#
# A real feature map · first transition of a trained network that averages · Fashion-MNIST, 32² ·
# one of the three channels of largest variance that have both signs · recorded
# { .ds-setup }

# %%
feature_map = study.feature_maps()[1]
pooled, routed = study.pooled_and_routed(feature_map)
negative = {name: mean(v < 0 for row in matrix for v in row) for name, matrix in pooled.items()}
assert negative["max"] <= negative["average"]
pictures.pooled_map(
    feature_map,
    pooled,
    routed,
    f"After averaging {percent(negative['average'], 0)} of the cells are negative (orange), after "
    f"the maximum {percent(negative['max'], 0)}; going back, only the average serves all cells.",
)

# %% [markdown]
# {{ record_note() }}
#
# ## It is linear
#
# Drag one value of the window. Convolve and pool, or pool and convolve: the average gives the same
# in both orders.

# %%
swap_frames()

# %%
commutes = {row.pooling: row for row in study.commutation()}
assert commutes["average"].largest_difference < 1e-12 < 0.1 < commutes["max"].largest_difference
saving = study.pool_first_saving()
plain_work, first_work = saving.transition_multiply_adds
total_plain, total_first = saving.multiply_adds
kept_plain, kept_first = saving.kept_bytes["transition1"]
assert first_work * 4 == plain_work and kept_first < kept_plain
assert saving.largest_difference < 1e-9 * saving.largest_logit

# %% [markdown]
# With $W$ for the convolution, $P$ for a window and $p$ for its positions,
#
# $$
# \frac14 \sum_{p \in P} W x_p = W \Bigl( \frac14 \sum_{p \in P} x_p \Bigr).
# $$
#
# So a finished DenseNet can be rewritten to pool first, and the convolution then visits a quarter
# of the positions. In DenseNet-121 at 224² the transitions' convolutions fall from
# {{ count(plain_work // 10**6) }} to {{ count(first_work // 10**6) }} million multiply-adds, which
# saves {{ percent(1 - total_first / total_plain) }} of the network's. The rest of the transition gets no
# cheaper: normalisation and ReLU keep their size, and the pool now handles twice the channels. The
# first transition keeps {{ mib(kept_first) }} of one image for its backward pass instead of
# {{ mib(kept_plain) }}.
#
# Is this the reason? Hardly. Neither the authors nor torchvision pool first. A designer could also put a maximum first and train
# that network. And a stride commutes too.
#
# ## Everybody shares the gradient
#
# "The maximum passes gradient to one input in four, the average to all." That is true at the pool's
# input, and there are no weights there. One step further back every position is read by *all*
# channels of the convolution, and each may have picked another winner.
#
# The book's DenseNet, untrained · 16 images of Fashion-MNIST, 32² · one training step, float64
# { .ds-setup }

# %%
fresh = {row.pooling: row for row in study.untrained_gradient_reach()}
evenness = {name: row.evenness[2] for name, row in fresh.items()}
assert fresh["average"].pool_input == 1 and abs(fresh["max"].pool_input - 0.25) < 0.01
assert evenness["max"] > 0.9 * evenness["average"] > 3 * evenness["stride"]
trained_evenness = {name: mean(run.reach.evenness[2] for run in trained[name]) for name in names}
assert trained_evenness["max"] > 0.8 * trained_evenness["average"] > 3 * trained_evenness["stride"]
table(
    fresh,
    {
        "pooling": names,
        "evenness at the block's output": (evenness, decimal),
        "pool inputs with gradient": ("pool_input", percent, 0),
    },
    caption="At the block's output the maximum spreads the gradient almost as evenly as the "
    "average; a stride does not",
)

# %% [markdown]
# Evenness is $(\sum |g|)^2 / (n \sum g^2)$. It is 1 if all entries get equally much. The average too is
# far from 1, since a ReLU and an uneven loss stand behind it. In our trained networks^[The five of each
# kind, at the first transition's block.] it is {{ decimal(trained_evenness["average"]) }} for the average,
# {{ decimal(trained_evenness["max"]) }} for the maximum and
# {{ decimal(trained_evenness["stride"]) }} for the stride.
#
# ## It blurs before it subsamples
#
# Detail that is too fine for the smaller grid does not disappear. It returns as a false coarse
# pattern (aliasing) unless it is blurred first. Take the row 0 0 1 1 0 0 1 1 and pool it by twos.

# %%
row = study.pooled_rows((0, 0, 1, 1, 0, 0, 1, 1))
assert row["max"].still == (0, 1, 0, 1) and row["max"].moved == (1, 1, 1, 1)
assert set(row["average"].moved) == {0.5} and sum(row["average"].still) == 2


def cells(values):
    return " ".join(f"{value:g}" for value in values)


table(
    row,
    {
        "pooling": names,
        "as it is": lambda found: cells(found.still),
        "moved by one": lambda found: cells(found.moved),
    },
    caption="Moved by one, the maximum turns stripes into white; the average keeps the mean",
)

# %% [markdown]
# This is the example of Zhang (2019). He counts average pooling among the methods that ignore the
# sampling theorem as well: a box of two is the weakest blur.
#
# ## What trainings at scale say
#
# No published experiment that we know changes only the transition's pool of a DenseNet. These come
# near:
#
# - **Blur helps a little, mostly in the stem.** Zhang (2019) blurs in stem and transitions, and
#   DenseNet-121's accuracy on ImageNet rises from 74.43% to between 75.03% and 75.14%. With his box
#   of two it is 75.04%, and then a transition averages as before: only the stem has changed.
# - **A stride wastes.** ResNet-D (He et al., 2018) puts a 2×2 average before a 1×1 convolution that
#   had a stride and ignored three quarters of its input, and gains on ImageNet.
# - **Which pool is better depends on the code.** Boureau et al. (2010) find the maximum suited to
#   sparse features and explain when the average does as well. After a ReLU features are sparse;
#   in a transition they are not. Scherer et al. (2010) prefer the maximum for recognising objects.
# - **It may not matter much.** Springenberg et al. (2014) replace pooling by strided convolutions
#   without losing accuracy on small images.
#
# ## What our training says

# %%
rates = study.learning_rates()
converged = {name: runs for name, runs in study.converged().items() if runs}
chosen_record, training_record = (
    load_record("pooling-learning-rates"),
    load_record("pooling-converged"),
)
planned = len(VARIANTS) * len(SEEDS)
done = sum(map(len, converged.values()))
one = converged["average"][0]


def both(of, form):
    return lambda runs: ", ".join(form(of(run)) for run in runs)


def last(run):
    return run.epochs[-1]


chosen = {name: runs[0].settings.learning_rate for name, runs in converged.items()}
at_an_end = [
    name for name, rate in chosen.items() if rate in (LEARNING_RATES[0], LEARNING_RATES[-1])
]
two = {name: runs for name, runs in converged.items() if len(runs) == 2}
fitted = {name: [last(run).train_accuracy for run in runs] for name, runs in two.items()}
losses = {name: [last(run).test_loss for run in runs] for name, runs in two.items()}
accuracies = {name: [last(run).test_accuracy for run in runs] for name, runs in two.items()}
others = [name for name in two if name != "average"]
assert len(two) == 5 and done == len(training_record.cases) == 11
assert all(max(fitted["average"]) < min(fitted[name]) for name in others)
assert all(max(losses["average"]) < min(losses[name]) for name in others)
lead = [b - a for a, b in zip(accuracies["average"], accuracies["maximum"])]
assert min(lead) > 0 and max(lead) < 0.004

# %% [markdown]
# Ways to halve the resolution, with all else alike but the learning rate. Each has its own, the best
# of three on images that were kept from the training set. The rules were written down before the
# first run, and one was added when a training had diverged: such a rate is passed over.
#
# The book's DenseNet · Fashion-MNIST, {{ count(one.train_images) }} images of
# {{ one.settings.resolution }}² · SGD with momentum, {{ one.settings.epochs }} epochs, learning rate
# to zero · bfloat16 · H100 · one number a seed
# { .ds-setup }

# %%
table(
    converged,
    {
        "transition": KEY,
        "rate": (chosen, "g"),
        "training accuracy": both(lambda run: last(run).train_accuracy, percent),
        "test accuracy": both(lambda run: last(run).test_accuracy, percent),
        "test loss": both(lambda run: last(run).test_loss, lambda loss: decimal(loss, 3)),
    },
    caption="The average fits the training images least and has the lowest test loss; the maximum "
    "is right a little more often than the average",
    align="lrrrr",
)

# %% [markdown]
# {{ record_note(training_record) }}
#
# After ten epochs the average fits less, and its test loss is lowest. But it is not right more often:
# the maximum is ahead by {{ decimal(100 * min(lead)) }} and {{ decimal(100 * max(lead)) }} points in
# two seeds. After five epochs, on held-out images, the maximum was ahead at all three learning rates,
# in accuracy and in loss. So the loss says how far a training has gone as much as which pool was used.
# And for {{ len(at_an_end) }} of {{ len(chosen) }} rows the best rate is at an end of the three, so a
# better one may lie outside. Two seeds are too few for an interval: take all of this as a hint.
#
# {{ count(planned) }} trainings were planned, five of each kind, the blur and ResNet-18 among them,
# and the GPU's time was over after {{ count(done) }}.
# `densenet-solutions record pooling-converged --device cuda` takes up the rest.

# %%
by_rate = table(
    rates,
    {
        "transition": KEY,
        **{
            f"rate {rate:g}": lambda runs, rate=rate: (
                percent(last(runs[rate]).test_accuracy) if rate in runs else None
            )
            for rate in LEARNING_RATES
        },
    },
    caption="Accuracy on 10,000 held-out training images, by learning rate; one seed",
)
held_out = {
    rate: last(rates["maximum"][rate]).test_accuracy - last(rates["average"][rate]).test_accuracy
    for rate in LEARNING_RATES
}
assert min(held_out.values()) > 0
held_out_loss = {
    rate: last(rates["maximum"][rate]).test_loss - last(rates["average"][rate]).test_loss
    for rate in LEARNING_RATES
}
assert max(held_out_loss.values()) < 0
by_rate_loss = table(
    rates,
    {
        "transition": KEY,
        **{
            f"rate {rate:g}": lambda runs, rate=rate: (
                decimal(last(runs[rate]).test_loss, 3) if rate in runs else None
            )
            for rate in LEARNING_RATES
        },
    },
    caption="Loss on the same images",
)

# %% [markdown]
# ??? note "How the learning rates were chosen"
#     {{ by_rate }}
#
#     {{ by_rate_loss }}
#
#     Five epochs on 50,000 images. The dash is a training that diverged. At each of the three rates
#     the maximum is ahead of the average, by {{ decimal(100 * min(held_out.values())) }} to
#     {{ decimal(100 * max(held_out.values())) }} points.
#     {{ record_note(chosen_record) }}
#
# ## And the stem?
#
# There the ReLU stands before the pool, so nothing is negative. The maximum answers "is this edge
# anywhere here?", and a sparse strong response is not diluted by the zeros around it. Its blur is
# missing there as well. We know of no proof that the stem *needs* the maximum.
#
# ## What people say

# %%
explained = {name: mean(f.explained[name] for f in first) for name in names}


def share_changed(runs, pixels):
    shares = [1 - run.shift_agreement[pixels] for run in runs]
    low, high = percent(min(shares), 0).removesuffix("%"), percent(max(shares), 0)
    return f"{percent(mean(shares), 0)} [{low} to {high}]"


changed = {name: {by: share_changed(trained[name], by) for by in ("1", "3")} for name in names}
assert explained["average"] > max(explained["max"], explained["stride"])

# %% [markdown]
# !!! not-decidable-here "Averaging is chosen because every feature receives gradient."
#     Why somebody chose it no measurement tells. At the block's output the maximum spreads gradient
#     nearly as evenly: untrained {{ decimal(evenness["max"]) }} against
#     {{ decimal(evenness["average"]) }}, trained {{ decimal(trained_evenness["max"]) }} against
#     {{ decimal(trained_evenness["average"]) }}.
#
# !!! not-decidable-here "Average pooling regularises."
#     In our training it fits less, and after ten epochs its test loss is lower, in both of two seeds;
#     so is its accuracy. At scale blur raised accuracy (Zhang), mostly in the stem.
#
# !!! holds-with-a-condition "Average pooling retains more information."
#     If a *linear* reconstruction is to recover the four values: {{ percent(explained["average"], 0) }}
#     of their variance, maximum {{ percent(explained["max"], 0) }}. That could hardly come out
#     otherwise, since neighbours are alike (correlation {{ decimal(correlation) }}) and the mean is
#     nearly the best linear summary of them.
#
# !!! does-not-hold "Average pooling makes the network invariant to translation."
#     When the image moves by one pixel of 32, {{ changed["average"]["1"] }} of the predictions change
#     (maximum {{ changed["max"]["1"] }}, stride {{ changed["stride"]["1"] }}), and
#     by three {{ changed["average"]["3"] }} (maximum {{ changed["max"]["3"] }}, stride
#     {{ changed["stride"]["3"] }}). In brackets stands the range over five seeds.
#
# !!! holds-with-a-condition "Average pooling makes the transition cheaper."
#     Only if the pool moves before the convolution, and then only the convolution costs a quarter.
#
# !!! check "Check yours"
#     Hold your own transition against the paper's: `check.transition(MyTransition(256), 256)`, or
#     `densenet-solutions check transition "my_net.py:MyTransition(256)" --in-channels 256`. It says
#     which layer differs, the pool included. In the [course](../reference/check.md#the-exercises-as-a-course)
#     it is `exercise_1.py`.
#
# ??? apparatus "Sources, records, versions"
#     - Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*,
#       [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), sections 3 and 5; the [authors'
#       code](https://github.com/liuzhuang13/DenseNet), `models/densenet.lua`.
#     - Zhang, *Making Convolutional Networks Shift-Invariant Again*,
#       [arXiv:1904.11486](https://arxiv.org/abs/1904.11486), and the [README of its
#       code](https://github.com/adobe/antialiased-cnns).
#     - He et al., *Bag of Tricks*, [arXiv:1812.01187](https://arxiv.org/abs/1812.01187) (ResNet-D).
#     - Springenberg et al., *Striving for Simplicity*,
#       [arXiv:1412.6806](https://arxiv.org/abs/1412.6806).
#     - Boureau, Ponce, LeCun, *A Theoretical Analysis of Feature Pooling in Visual Recognition*,
#       ICML 2010; Scherer, Müller, Behnke, *Evaluation of Pooling Operations*, ICANN 2010.
#
#     {{ how_made() }}
