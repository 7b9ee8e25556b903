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
from statistics import stdev

from torchvision.models import DenseNet121_Weights

from densenet_solutions import check
from densenet_solutions.exercises.network.layer import operations
from densenet_solutions.exercises.network.window import pool, window
from densenet_solutions.exercises.pooling import aliasing, comparison, pictures, study
from densenet_solutions.exercises.pooling.converged import LEARNING_RATES, SEEDS
from densenet_solutions.exercises.pooling.swap import both_orders, swap_frames
from densenet_solutions.exercises.pooling.training import REDUCED, TRAIN_IMAGES
from densenet_solutions.models import TABLE_1, DenseNetConfig
from densenet_solutions.models.densenet import Transition
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import count, decimal, interval, mib, percent
from densenet_solutions.site.page import how_made, record_note
from densenet_solutions.site.tables import KEY, table

names = pictures.NAMES
trained = study.trained_features()
first = [run.transitions[0] for run in trained["average"]]  # first transition, one a seed
spoilt, cruder = (
    {name: [f.aliasing[way][name] for f in first] for name in first[0].aliasing[way]}
    for way in ("Fourier", "line")
)
second = [run.transitions[1] for run in trained["average"]]
later = {
    name: mean(f.aliasing["Fourier"][name] for f in second) for name in ("average", "max")
}  # at the second transition
assert REDUCED.resolution // 8 == 4  # its maps: stem and first transition halve three times
average, maximum = (pool(name, (0.8, -2.0, 2.8, 0.4)).output for name in ("average", "maximum"))
assert average == 0.5 and maximum == 2.8
runs = study.converged()
del runs["ResNet-18"]  # in exercise 2
compared = comparison.against_average(runs)
accuracy, test_loss, fit = (compared[measure] for measure in comparison.MEASURES)
behind = accuracy["blur"]
behind_of_five = comparison.holm({name: d.p for name, d in accuracy.items()})["blur"]
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
#         the convolution, because only the average is linear. (A bias is no obstacle: the average
#         of a constant is the constant.)
#
#         Now write the whole transition, with the pool that you would take, and have it checked.
#
#         ```python
#         from densenet_solutions import check
#
#         check.transition(MyTransition(256), in_channels=256)
#         ```
#
#         Of our transition with a maximum it says: "{{ said.text }}"
#
# !!! answer "The answer"
#     The paper gives no reason, and in our training runs accuracy does not clearly depend on it. What
#     speaks for an average: all four values count, negative ones too, which no ReLU has removed here. It
#     blurs before it drops positions, so fewer false patterns arise (*aliasing*). It is linear, too: it could
#     come before the convolution, though in the authors' code it does not. The stem's maximum follows ResNet.
#
#     - **half** of the maximum's aliasing is left with the average, at the first transition of our trained
#       networks^[{{ decimal(mean(spoilt["average"])) }}
#       against {{ decimal(mean(spoilt["max"])) }}; at the second transition, on maps of 4²,
#       {{ decimal(later["average"]) }} against {{ decimal(later["max"]) }}. [How it is
#       measured](#it-blurs-before-it-subsamples).]
#     - **¼** of the convolution's multiply-adds would be left if the transition pooled first^[Neither the
#       authors' code nor torchvision does.]
#     - **0 of 5** other ways to halve the map differ clearly from the average in accuracy^[The blur only
#       just not: p = {{ decimal(behind.adjusted, 3) }} among the 15 comparisons of
#       these runs, {{ decimal(behind_of_five, 3) }} among the five of accuracy.]
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
# No ReLU stands between the transition's convolution and its pool, so a window can hold values of both
# signs. In an average a negative value can pull a positive one down. A maximum keeps the largest, whatever
# its neighbours are. Beside the two stands a *stride*: there the convolution visits every second row and
# column only, one position in four, and nothing is pooled.

# %%
window()

# %%
relu = study.relu_after_pool(1.0)
assert relu["max"] == 0 < 0.1 < relu["average"]
below_zero = mean(f.negative for f in first)
variance = {
    m.pooling: mean(f.moments[i].variance for f in first) for i, m in enumerate(first[0].moments)
}
assert variance["average"] < variance["max"] < 1 and 0.5 < below_zero < 0.6
assert [m.pooling for m in first[0].moments[:2]] == ["average", "max"]


def ranged(field, which=None, *, digits):
    """Least and most of a share over the five networks."""
    values = [getattr(f, field) for f in first]
    if which is not None:
        values = [moments[which].variance for moments in values]
    return f"[{100 * min(values):.{digits}f} to {100 * max(values):.{digits}f}]"


# %% [markdown]
# The next layer normalises the pooled value, and applies a ReLU. Normalisation and ReLU keep the order of
# values, as long as the normalisation's scale is positive, as all are at first. So the maximum of a window is
# also the maximum of what comes out behind them: within it no response lowers another^[As in the stem, where a
# normalisation and a ReLU stand before the pool as well as behind it.]. In an average one can be pulled down before the ReLU sees it. (The figures
# below count signs before that normalisation. The ReLU cuts elsewhere, at first at the mean of the pooled values.)
#
# ??? note "How much cancels in trained networks"
#     In five networks that average, at their first transition, {{ percent(below_zero, 0) }}
#     {{ ranged("negative", digits=0) }} of the convolution's outputs are negative, and
#     {{ percent(mean(f.mixed for f in first), 0) }} {{ ranged("mixed", digits=0) }} of the windows hold both
#     signs. (Trained for three epochs on 5,000 images of Fashion-MNIST at 32²; in brackets the range.) The
#     sizes of the windows' sums add up to {{ percent(mean(f.cancelled for f in first), 0) }}
#     {{ ranged("cancelled", digits=0) }} less than the sizes of all outputs; at the second transition to {{ percent(mean(f.cancelled for f in second), 0) }}
#     [{{ decimal(100 * min(f.cancelled for f in second), 0) }} to
#     {{ decimal(100 * max(f.cancelled for f in second), 0) }}] less.
#
#     Averaging leaves {{ percent(variance["average"], 0) }} {{ ranged("moments", 0, digits=0) }} of the
#     outputs' variance, the maximum {{ percent(variance["max"], 0) }}
#     {{ ranged("moments", 1, digits=0) }}. That has nothing to do with signs: raise all numbers by ten, and
#     as much is left, though none is negative. It comes from pooling unlike values.
#
# A real feature map · first transition of a trained network that averages · Fashion-MNIST, 32² ·
# one of the three channels of largest variance among those with a quarter to three quarters of negative
# values · recorded
# { .ds-setup }

# %%
feature_map = study.feature_maps()[1]
pooled, routed = study.pooled_and_routed(feature_map)
shown_maps = {"before": feature_map.before, **pooled}
negative = {name: mean(v < 0 for row in of for v in row) for name, of in shown_maps.items()}
assert negative["max"] == negative["stride"] < negative["before"] < negative["average"]
pictures.pooled_map(
    feature_map,
    pooled,
    routed,
    "Averaging pulls strong cells towards their neighbours; the maximum stays positive where one of "
    "four is. Of the gradient that arrives at the pooled map (below), only the average gives to all "
    "four cells.",
)

# %% [markdown]
# {{ record_note() }}
#
# ## The average is linear
#
# Drag one value of the window. Convolve and pool, or pool and convolve: the average gives the same
# in both orders.

# %%
swap_frames()

# %% tags=["lines"]
import torch
from torch.nn import functional as F

a, b = [-3.0, 2.0, -1.0, 2.0], [2.0, 1.0, 0.0, 1.0]  # a window, two channels
x = torch.tensor([a, b]).reshape(1, 2, 2, 2)
weights = torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1)  # a − b
poolings, swapped = {"average": F.avg_pool2d, "maximum": F.max_pool2d}, {}
for name, pooling in poolings.items():
    convolve_first = pooling(F.conv2d(x, weights), 2).item()
    pool_first = F.conv2d(pooling(x, 2), weights).item()
    swapped[name] = convolve_first, pool_first
swapped

# %%
assert swapped == both_orders((a, b), (1, -1))
commutes = study.commutation()
assert commutes["average"] < 1e-12 < 0.1 < commutes["max"]
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
# Is this the reason? Hardly. Neither the authors nor torchvision pool first. A designer could also
# put a maximum first and train that network, as we do [below](#what-our-training-says). And a stride
# commutes too, so commuting alone is no reason to average.
#
# ## Does the maximum starve positions of gradient?
#
# Hardly. "The maximum passes gradient to one input in four, the average to all." That is true at the
# pool's input, so each filter of the 1×1 convolution learns from one position in four. But one step
# further back, at the block's output, every position is read by *all* of these filters, and each may have
# picked another winner. How evenly does the gradient arrive there? *Evenness* is 1 if all positions of a
# map get equally much, and 1/n if one of n gets all.
#
# The book's DenseNet, first transition · five seeds, untrained and trained · four batches of 64 test images
# of Fashion-MNIST, 32² · a training step's gradient in float64 · recorded
# { .ds-setup }

# %%
evenness = {
    when: {
        name: [reach.evenness for run in trained[name] for reach in getattr(run, field)]
        for name in names
    }
    for when, field in (("untrained", "fresh"), ("trained", "reach"))
}
beside = {  # the maximum's for one of the average's, seed by seed and batch by batch
    when: [m / a for m, a in zip(found["max"], found["average"], strict=True)]
    for when, found in evenness.items()
}
at_the_pool = {
    name: [reach.pool_input for run in trained[name] for reach in run.fresh] for name in names
}
assert min(at_the_pool["average"]) == 1 and 0.24 < min(at_the_pool["max"]) < 0.26
assert all(0.8 < mean(found) < 0.95 for found in beside.values())
assert all(max(of["stride"]) < min(of["max"]) for of in evenness.values())


def mean_and_range(values, digits=3):
    return f"{decimal(mean(values), digits)} {interval(min(values), max(values), digits)}"


table(
    dict.fromkeys(names),
    {
        "pooling": names,
        **{
            when: {name: mean_and_range(values, 2) for name, values in found.items()}
            for when, found in evenness.items()
        },
        "pool inputs with gradient": {
            name: percent(mean(shares), 0) for name, shares in at_the_pool.items() if shares[0]
        },
    },
    caption="Evenness of the gradient at the block's output, mean and range: with the maximum it is "
    "nearly as even as with the average, with the stride far less",
)

# %% [markdown]
# ??? note "How evenness is counted"
#     It is $(\sum a)^2 / (n \sum a^2)$ over the $n$ positions of a map, and then the mean over images. A
#     position's $a$ is the sum of the sizes of its channels' gradients. For the same seed and batch
#     the maximum's is {{ percent(mean(beside["untrained"]), 0) }} of the average's before training
#     ({{ percent(min(beside["untrained"]), 0) }} to {{ percent(max(beside["untrained"]), 0) }}) and
#     {{ percent(mean(beside["trained"]), 0) }} after it ({{ percent(min(beside["trained"]), 0) }} to
#     {{ percent(max(beside["trained"]), 0) }}).
#
# ## It blurs before it subsamples
#
# Detail that is too fine for the smaller grid does not disappear. It returns as a false coarse
# pattern (aliasing) unless it is blurred first. A stride of two turns 0 1 0 1 0 1 0 1 into zeros only; move
# the row by one, and it gives ones only. Now pool 0 0 1 1 0 0 1 1 in pairs, then move it left by one and pool
# it again (0 is black, 1 is white):

# %%
row = study.pooled_rows((0, 0, 1, 1, 0, 0, 1, 1))
assert row["max"].still == (0, 1, 0, 1) and row["max"].moved == (1, 1, 1, 1)
assert row["stride"].still == row["stride"].moved == row["average"].still == (0, 1, 0, 1)
assert set(row["average"].moved) == {0.5}
finer = study.pooled_rows((0, 1, 0, 1, 0, 1, 0, 1))["stride"]
assert set(finer.still) == {0} and set(finer.moved) == {1}


def cells(values):
    return " ".join(f"{value:g}" for value in values)


table(
    row,
    {
        "pooling": names,
        "as it is": lambda found: cells(found.still),
        "moved left by one": lambda found: cells(found.moved),
    },
    caption="Moved by one, the maximum turns stripes into white, the average into grey of the same mean",
)

# %% [markdown]
# The stride looks right in this row by luck. The row is the example of Zhang (2019). To him
# average pooling, too, ignores the sampling theorem: averaging two neighbours is the weakest blur.
#
# How much is aliased in real features? Move a map by one cell, and pool it. Ideally the result is the old
# pooled map, moved by half a cell. We compute that ideal by interpolation, and take how far the real one is
# from it^[Mean squared error over the sum of the two maps' variances, mean over channels: 0 where nothing is
# spoilt, 1 for two unrelated maps. The interpolation is the Fourier series: the sum of waves, none finer
# than the grid can show, that passes through all values. Where nothing is aliased it is exact.].
#
# First transition's feature maps of 8², moved sideways · 256 images of Fashion-MNIST at 32² · five
# networks trained with the average · mean and range over networks · recorded
# { .ds-setup }

# %%
order = ["blur", "average", "max", "stride"]
for networks in trained.values():  # whatever they were trained with, and either interpolation
    for errors in (e for run in networks for e in run.transitions[0].aliasing.values()):
        assert sorted(errors, key=errors.get) == order
    for transition in (run.transitions[1] for run in networks):
        errors = transition.aliasing["Fourier"]
        assert sorted(errors, key=errors.get) == order


table(
    {name: name for name in ("stride", "max", "average", "blur")},
    {
        "pooling": {**names, "blur": "blur 1 2 1"},
        "by Fourier series": {name: mean_and_range(values) for name, values in spoilt.items()},
        "by two neighbours": {name: decimal(mean(values), 3) for name, values in cruder.items()},
    },
    caption="Error of the half-shift. The order is the same by both: stride, maximum, average, blur.",
)

# %%
of_maximum = {}  # the average's error for one of the maximum's, second transition
for name, networks in trained.items():
    errors = [run.transitions[1].aliasing["Fourier"] for run in networks]
    of_maximum[name] = mean(e["average"] for e in errors) / mean(e["max"] for e in errors)

# %% tags=["lines"]
import torch
from torch.nn import functional as F

from densenet_solutions.exercises.pooling.study import feature_maps


def half_a_cell_on(rows):  # periodic rows, by their Fourier series
    n = rows.shape[-1]
    turn = torch.exp(1j * torch.pi * torch.arange(n // 2 + 1) / n)
    return torch.fft.irfft(torch.fft.rfft(rows) * turn, n=n)


x = torch.tensor([found.before for found in feature_maps()])
x = x[None]  # three channels, 8 × 8
x = torch.cat((x, x.flip(-1)), dim=-1)  # periodic: its mirror image follows
for name in "avg_pool2d", "max_pool2d":
    pooling = getattr(F, name)
    moved = pooling(x.roll(-1, -1), 2)
    expected = half_a_cell_on(pooling(x, 2))
    error = (moved - expected).square().mean((0, 2, 3))
    size = sum(m.var((0, 2, 3), correction=0) for m in (moved, expected))
    print(name, [round(value, 3) for value in (error / size).tolist()])

# %%
shown = torch.tensor([found.before for found in feature_maps()])[None]
by_maximum = aliasing.half_shift_error(shown, aliasing.POOLS["max"])
assert abs((error / size).mean().item() - by_maximum) < 1e-5
assert 0.45 < mean(spoilt["average"]) / mean(spoilt["max"]) < 0.55
assert 0.25 < mean(spoilt["blur"]) / mean(spoilt["average"]) < 1 / 3

# %% [markdown]
# {{ record_note(load_record("pooling-features")) }}
#
# The error says how faithfully a map moves, not how much of it is left: a pool that removes detail has
# less left to spoil. The order is the same with a cruder interpolation, the mean of two neighbours, in each
# of the ten networks trained with maximum or stride, and at the second transition.
#
# ??? note "Limits"
#     The maps are small and continued by their mirror image, and only sideways moves are counted. At the
#     second transition maps are only 4². There the average's error is
#     {{ percent(of_maximum["average"], 0) }} of the maximum's in the networks that average,
#     {{ percent(of_maximum["max"], 0) }} and {{ percent(of_maximum["stride"], 0) }} in those that take the
#     maximum or a stride.
#
# ## What others have trained

# %%
ported = DenseNet121_Weights.IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]["acc@1"]
in_paper = 100 - TABLE_1["densenet121"].top1_error
assert decimal(ported) == "74.43" and ported + 0.5 < in_paper < 75.03

# %% [markdown]
# No published experiment that we know changes only the transition's pool of a DenseNet. Zhang (2019) adds
# blur to DenseNet-121, and the small gain may have other causes.
#
# ??? note "What comes near, and what it says"
#     - **What blur does for accuracy is open.** Zhang (2019) blurs in stem and transitions. Trained from
#       scratch, his blurred DenseNet-121s reach 75.03% to 75.29% on ImageNet. One of them (75.04%) blurs
#       with a box of two: its transitions average, and only its stem differs. Fine-tuned from the ported
#       weights, a blurred one reaches 75.79%; the network without blur was not fine-tuned likewise. His 74.43%
#       without blur equals torchvision's figure for the authors' ported weights, which the paper puts at
#       {{ decimal(in_paper) }}%. So little of the rise from scratch need be due to blur.
#     - **A learned average.** LIP (Gao et al., 2019) puts averages in the place of the pools of DenseNet-121's
#       stem and transitions, with weights that small convolutions compute from the features. Both change together,
#       and layers are added, so it does not tell what a transition's pool does.
#     - **A stride wastes.** ResNet-D (He et al., 2018) puts a 2×2 average before a 1×1 convolution that
#       had a stride and ignored three quarters of its input, and gains on ImageNet.
#     - **Which pool is better depends on the features.** Boureau et al. (2010) find the maximum suited to
#       features that are rarely active, and explain when the average does as well. What a transition pools
#       has passed no ReLU and is hardly ever zero, so their result does not decide here. Scherer et al. (2010) prefer the maximum for recognising objects.
#     - **An added convolution with a stride did about as well as a pool; a stride in the one that was there, worse.**
#       Springenberg et al. (2014, table 3) put one in the place of each maximum pool. On CIFAR-10 that network errs
#       0.2 points less to 0.1 points more than one that has as many convolutions and the pools besides. Where the
#       convolution before a pool strides itself instead, the error is 0.5 to 1.0 points higher than with the
#       pool (three networks, one figure each). In one of the three that convolution is 1×1, as in our stride; in
#       the others it is larger, so that no position is skipped. In our training accuracy shows no such loss
#       ([below](#what-our-training-says)).
#
# ## What our training says

# %%
record = load_record("pooling-converged")
one = runs["average"][0]


def mean_and_spread(measure, form, digits):
    """Mean over seeds ± standard deviation."""

    def shown(of):
        values = comparison.final(of, measure)
        return f"{form(mean(values), digits)} ± {form(stdev(values), digits)}"

    return shown


def points(difference, digits=2):
    return decimal(100 * difference, digits)


def in_points(difference, digits=1):
    return interval(*(100 * end for end in difference.interval), digits)


lead = accuracy["maximum"]
lead_interval, stride_interval, blur_interval = (
    in_points(accuracy[name], 2) for name in ("maximum", "stride", "blur")
)
fewer, ties = (
    ("maximum", "stride", "maximum before the convolution"),
    ("average after a ReLU", "blur"),
)
assert not any(d.told_apart for d in accuracy.values())
assert all(accuracy[name].mean < 0 for name in ties)
assert -0.001 < lead.interval[0] < 0 < lead.interval[1] < 0.003
assert sum(map(len, compared.values())) == 15
assert behind.p < 0.05 < behind.adjusted < 0.06 and behind.interval[1] < 0
assert all(test_loss[name].told_apart and test_loss[name].mean > 0 for name in fewer)
assert not any(test_loss[name].told_apart for name in ties)
assert all(d.told_apart and (d.mean < 0) == (name != "blur") for name, d in fit.items())
assert all(d.mean > 0 for d in test_loss.values())

card = {name: where.split()[1] for name, where in record.devices.items()}
assert [card[f"average {s}"] for s in SEEDS] == ["H100", "H100", "H200", "H200", "H200"]
assert {v for v in runs for s in SEEDS if card[f"{v} {s}"] != card[f"average {s}"]} == {"blur"}
assert {card[f"blur {s}"] for s in SEEDS} == {"H200"}
apart = {(m, name): d for m, rows in compared.items() for name, d in rows.items() if d.told_apart}
assert all(min(d.values) > 0 or max(d.values) < 0 for d in (*apart.values(), behind))
assert [measure for measure, name in apart if name == "blur"] == ["training loss"]
hollow = sum(
    not d.told_apart and not d.interval[0] < 0 < d.interval[1]
    for row in compared.values()
    for d in row.values()
)
assert behind_of_five < 0.05

# %% [markdown]
# Six ways to halve the resolution, five trainings each: average, maximum or stride as above; the maximum
# before the convolution; the average after one more ReLU; and a *blur*, the weights 1 2 1 in both
# directions and then every second position. Trainings of one seed see the images in one
# order and start from the same weights, so each is compared with the average seed by seed. Only the
# learning rate is each one's own, the best of three^[Chosen by accuracy on 10,000 training images
# that were kept apart, after five epochs with another seed. Schedule, weight decay and the number of
# epochs are one choice for all. The rules were written down before the first run, and one was added
# when a training had diverged: such a rate is passed over.].
#
# The book's DenseNet · Fashion-MNIST, {{ count(one.train_images) }} images of
# {{ one.settings.resolution }}² · SGD with momentum, {{ one.settings.epochs }} epochs, learning rate
# to zero · bfloat16 · seeds 0 and 1 on an H100, 2 to 4 on an H200, the blur on the H200 alone ·
# recorded
# { .ds-setup }

# %%
pictures.differences(
    compared,
    "By accuracy none of the five differs clearly from the average, by test loss three do, by "
    "training loss all (filled marks).",
)

# %% [markdown]
# Small dots are the five seeds, a large mark is their mean, and its line a 95% interval: an interval that
# contains 0 means that the difference may be chance^[Student's, with 4 degrees of freedom, of this one
# difference; it takes differences to be normal. It holds for other seeds and these
# {{ count(one.test_images) }} test images; other images would make it wider.]. But among 15 differences one
# may look clear by luck. So more is asked of each (Holm's correction, at 5%), and a filled mark passes.
# The intervals of {{ hollow }} hollow ones leave 0 out, too; they do not pass.

# %%
table(
    runs,
    {
        "transition": {name: pictures.SHORT.get(name, name) for name in runs},
        "accuracy, %": mean_and_spread("test accuracy", points, 2),
        "test loss": mean_and_spread("test loss", decimal, 3),
        "training loss": mean_and_spread("training loss", decimal, 3),
        "rate": (lambda of: of[0].settings.learning_rate, "g"),
    },
    caption="Mean and standard deviation over five seeds after the last epoch, and learning rate",
    align="lrrrr",
)

# %%
rates = study.learning_rates()


def last(run):
    return run.epochs[-1]


held_out = {
    measure: {
        name: {rate: getattr(last(run), measure) for rate, run in of.items()}
        for name, of in rates.items()
    }
    for measure in ("test_accuracy", "test_loss", "train_loss")
}
chosen = {name: max(of, key=of.get) for name, of in held_out["test_accuracy"].items()}
by_loss = {name: min(of, key=of.get) for name, of in held_out["test_loss"].items()}
at_an_end = [name for name in runs if chosen[name] in (LEARNING_RATES[0], LEARNING_RATES[-1])]
leads = [
    held_out["test_accuracy"]["maximum"][rate] - held_out["test_accuracy"]["average"][rate]
    for rate in LEARNING_RATES
]
losses, fitted = held_out["test_loss"], held_out["train_loss"]
for rate in LEARNING_RATES:
    in_order = sorted(runs, key=lambda name, rate=rate: -fitted[name][rate])
    assert in_order[:2] == ["blur", "average"]
assert chosen["average"] == chosen["average after a ReLU"] == chosen["blur"]
assert all(runs[name][0].settings.learning_rate == chosen[name] for name in runs)
assert [name for name in chosen if chosen[name] != by_loss[name]] == ["average after a ReLU"]
assert min(leads) > 0 and len(at_an_end) == 4
assert all(losses["average"][chosen["average"]] > losses[name][chosen[name]] for name in fewer)
assert all(
    losses[name][rate] < losses["average"][rate] for name in fewer for rate in LEARNING_RATES
)


def by_rate(measure, form, caption):
    return table(
        held_out[measure],
        {
            "trained": KEY,
            **{
                f"rate {rate:g}": lambda of, rate=rate: form(of[rate]) if rate in of else None
                for rate in LEARNING_RATES
            },
        },
        caption=caption,
    )


rates_by_accuracy = by_rate("test_accuracy", percent, "Accuracy on 10,000 held-out training images")
rates_by_loss = by_rate("test_loss", lambda loss: decimal(loss, 3), "Loss on the same images")

# %% [markdown]
# {{ record_note(record) }}
#
# **Accuracy does not choose.** The maximum is ahead by {{ points(lead.mean) }} points, interval
# {{ lead_interval }}. So on these 10,000 images the maximum is hardly better by more than 0.3 points, the
# average hardly by more than 0.1. The stride, which ignores three values in four, differs by
# {{ points(accuracy["stride"].mean) }} points, interval {{ stride_interval }}. The blur was behind in all five
# seeds, by {{ points(-behind.mean) }} on average; among so many comparisons that is not clear^[Its interval
# {{ blur_interval }} alone would tell it apart. Among all 15, p = {{ decimal(behind.adjusted, 3) }} after
# Holm; among the five of accuracy, {{ decimal(behind_of_five, 3) }}. That all 15 count was settled after the
# runs, not before.].
#
# **Test loss chooses after ten epochs, and shorter runs say the opposite.** After ten epochs the average's is lower than
# that of the maximum, by {{ decimal(test_loss["maximum"].mean, 3) }}, of the maximum first and of the stride.
# In the runs of five epochs (one seed) that chose the learning rates, its loss on held-out images was
# *higher* than that of these three, at every rate. In both, the average fits the training images less than
# all others but the blur.
#
# **Two of the six test one property each**, at the average's learning rate: a ReLU before the average, so
# that nothing is left to cancel, and a wider blur, which aliases less. Neither was more accurate: both
# were behind, though not clearly. (Each changes more than its property: the one fits the training images more, the other less.)
#
# None of this says why. And it is one network on one set of small images.
#
# ??? note "Cards and learning rates: what else to know"
#     Each pair but two of the blur's ran on one kind of card. Each of the {{ count(len(apart)) }} clear
#     differences has the same sign in all five seeds, so on both cards, but for the blur's: the blur ran on
#     the H200 alone. The rates were chosen by accuracy and not by loss; by loss the choice would have been
#     another for one of the six, the average after a ReLU. For four of the six the best rate is at an end of
#     the three, so a better one may lie outside. The training loss is the mean over the last epoch, in
#     training mode and bfloat16, and the test loss is float32. So their distance is not quite a gap between
#     training and test images.
#
# ??? note "How the learning rates were chosen"
#     {{ rates_by_accuracy }}
#
#     {{ rates_by_loss }}
#
#     Five epochs on 50,000 images, one seed. The dash is a training that diverged. At each of the
#     three rates the maximum is ahead of the average, by {{ points(min(leads)) }} to
#     {{ points(max(leads)) }} points. ResNet-18 is in [exercise
#     2](2-fewer-parameters.py#a-fair-comparison-equal-accuracy).
#     {{ record_note(load_record("pooling-learning-rates")) }}
#
# ## And the stem?
#
# In the stem the ReLU stands before the pool, so nothing is negative. The maximum answers "is this edge
# anywhere here?", and one strong response is not diluted by the zeros around it. But it blurs
# nothing before it subsamples. We know of no proof that the stem *needs* the maximum.
#
# ## What people say

# %%
explained = {name: mean(f.explained[name] for f in first) for name in names}
of_five = {name: [f.explained[name] for f in first] for name in names}
correlations = [f.neighbour_correlation for f in first]


def share_changed(runs, pixels):
    shares = [1 - run.shift_agreement[pixels] for run in runs]
    low, high = percent(min(shares)).removesuffix("%"), percent(max(shares))
    return f"{percent(mean(shares))} [{low} to {high}]"


moved = table(
    dict.fromkeys(names),
    {
        "pooling": names,
        **{
            f"{by} pixel{'s' * (by != '1')}": {
                name: share_changed(trained[name], by) for name in names
            }
            for by in "123"
        },
    },
    caption="Predictions that change when the image moves right: mean and range over five seeds",
)
by_one = [mean(1 - run.shift_agreement["1"] for run in of) for of in trained.values()]
assert all(0.07 < share < 0.085 for share in by_one)  # "some 8%"
kept_later = {name: mean(f.explained[name] for f in second) for name in names}
for kept in (explained, kept_later):
    assert kept["average"] > max(kept["max"], kept["stride"])
steadier = study.average_is_steadier()
by_two, by_three = steadier["max", "2"], steadier["stride", "3"]
assert {key for key, d in steadier.items() if d.told_apart} == {
    ("max", "2"),
    *(("stride", by) for by in "234"),
}
assert all(d.mean > 0 for d in steadier.values() if d.told_apart)
assert {run.images for of in trained.values() for run in of} == {10_000}

# %% [markdown]
# !!! not-decidable-here "Averaging is chosen because every feature receives gradient."
#     No measurement can tell why it was chosen. At the first block's output the maximum spreads gradient
#     nearly as evenly: untrained {{ decimal(mean(evenness["untrained"]["max"])) }} against
#     {{ decimal(mean(evenness["untrained"]["average"])) }}, trained
#     {{ decimal(mean(evenness["trained"]["max"])) }} against
#     {{ decimal(mean(evenness["trained"]["average"])) }}.
#
# !!! not-decidable-here "Average pooling regularises."
#     It fits the training images less than the maximum, at every rate that we tried. On whether it therefore
#     generalises better, our runs of ten and of five epochs do not agree
#     ([above](#what-our-training-says)). Accuracy does not tell the two apart.
#
# !!! holds-with-a-condition "Average pooling retains more information."
#     For one task: guessing the four values back by a linear formula. At the first transition it recovers
#     {{ percent(explained["average"], 0) }} of their variance ({{ percent(min(of_five["average"]), 0) }} to
#     {{ percent(max(of_five["average"]), 0) }} in five networks), maximum
#     {{ percent(explained["max"], 0) }} ({{ percent(min(of_five["max"]), 0) }} to
#     {{ percent(max(of_five["max"]), 0) }}), at the second {{ percent(kept_later["average"], 0) }} and
#     {{ percent(kept_later["max"], 0) }}. That could hardly come out otherwise where neighbours are alike
#     (correlation {{ decimal(min(correlations)) }} to {{ decimal(max(correlations)) }} at the first): for
#     such a reconstruction their mean is then nearly the best single number, of any kind.
#
# !!! does-not-hold "Average pooling makes the network invariant to translation."
#     None of the three does. When an image moves right by one pixel of 32, each network changes some 8% of its
#     predictions.
#
#     {{ moved }}
#
#     By one pixel no difference is clear. Seed by seed the average is steadier than the stride at two to
#     four pixels, by {{ points(by_three.mean, 1) }} points at three, interval {{ in_points(by_three) }}, and
#     than the maximum at two only, by {{ points(by_two.mean, 1) }}, interval {{ in_points(by_two) }}^[Of
#     {{ len(steadier) }} comparisons, by one to four pixels, Holm's correction tells these four apart.
#     Intervals are for other seeds and these 10,000 test images.]. These are small networks, trained for
#     {{ REDUCED.epochs }} epochs on {{ count(TRAIN_IMAGES) }} images.
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
#       [arXiv:1904.11486](https://arxiv.org/abs/1904.11486), and the tables of its code, [from
#       scratch](https://github.com/adobe/antialiased-cnns/blob/master/README_IMAGENET.md) and
#       [fine-tuned](https://github.com/adobe/antialiased-cnns); the metadata of torchvision's weights
#       (`IMAGENET1K_V1`).
#     - He et al., *Bag of Tricks*, [arXiv:1812.01187](https://arxiv.org/abs/1812.01187) (ResNet-D).
#     - Gao et al., *LIP: Local Importance-based Pooling*, [arXiv:1908.04156](https://arxiv.org/abs/1908.04156),
#       and its [code](https://github.com/sebgao/LIP).
#     - Springenberg et al., *Striving for Simplicity*,
#       [arXiv:1412.6806](https://arxiv.org/abs/1412.6806).
#     - Boureau, Ponce, LeCun, *A Theoretical Analysis of Feature Pooling in Visual Recognition*,
#       ICML 2010; Scherer, Müller, Behnke, *Evaluation of Pooling Operations*, ICANN 2010.
#
#     {{ how_made() }}
