# %% [markdown]
# # Exercise 1: Why average pooling?
#
# ## The question
#
# Between two dense blocks stands a transition: batch normalisation, ReLU, a 1×1 convolution that
# halves the channels, and a 2×2 average pooling that halves the resolution. The stem uses maximum
# pooling, and so do most networks before DenseNet. Why does the transition average?
# ([D2L, section 8.7, exercise
# 1](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises))

# %%
from statistics import fmean as mean

from densenet_solutions.exercises.pooling import pictures, study
from densenet_solutions.measure import count_parameters, predict_memory
from densenet_solutions.memory.pool_first import PoolsFirst
from densenet_solutions.models import book_densenet, book_resnet18
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import count, decimal, interval, mib, percent, signed, times
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import table

training_record = load_record("pooling-training-reduced")
features_record = load_record("pooling-features")
names = pictures.NAMES
runs = study.trainings(training_record.name)
trained = study.trained_features()
first = [run.transitions[0] for run in trained["average"]]  # first transition, one a seed
gaps, minus_average = {}, {}
for pooling in ("max", "stride"):
    gaps[pooling], minus_average[pooling] = study.differences(
        training_record.name, pooling, "average"
    )
maximum = minus_average["max"]

saving = study.pool_first_saving()
plain_work, first_work = saving.transition_multiply_adds
total_plain, total_first = saving.multiply_adds
saved_work = percent(1 - total_first / total_plain)
assert first_work * 4 == plain_work
assert saving.largest_difference < 1e-9 * saving.largest_logit
assert maximum.low > 0  # maximum pooling did better


def in_points(difference):
    """The 95% interval in percentage points."""
    return interval(100 * difference.low, 100 * difference.high)


# %% [markdown]
# ## In one breath
#
# The paper gives no reason. What averaging has and the maximum lacks is that it is **linear**: it
# commutes with the 1×1 convolution before it, so a transition may pool first and do **a quarter of
# the work** ({{ count(plain_work // 10**6) }} million multiply-adds become
# {{ count(first_work // 10**6) }} in DenseNet-121, {{ saved_work }} of the whole network's; neither
# the paper nor torchvision does it), and it treats the signed values that the convolution gives
# without preferring the positive ones. Much else that is said about it is weaker than it sounds.
# Better accuracy is no reason that we could find: over {{ maximum.pairs }} seeds of a small
# training, maximum minus average pooling is {{ signed(100 * maximum.mean) }} percentage points, 95%
# interval {{ in_points(maximum) }}: maximum pooling did better.
#
# ## Try it first
#
# ??? question "Hint 1: swap two layers"
#     A 1×1 convolution mixes channels and leaves positions alone. Average pooling mixes positions
#     and leaves channels alone. What happens when you exchange them? And with maximum pooling?
#
# ??? question "Hint 2: look at the sign"
#     In the stem, a ReLU stands directly before the pool. What stands directly before the
#     transition's pool? What is the largest of four numbers that scatter around zero?
#
# ??? question "Hint 3: follow one gradient"
#     Each pool gets one number back for four inputs. Who receives it? Then go one step further
#     back, through the convolution, before you draw a conclusion.
#
# ## The answer
#
# ### What each pooling does
#
# Top row: one channel after the convolution of the first transition, in a network that was trained
# on Fashion-MNIST, and what each pooling makes of it. Green is positive, grey negative, and
# stronger is larger. Bottom row, in pink: the gradient of the loss that arrives at the pooled map,
# and what each pooling passes back to its inputs.

# %%
feature_map = study.feature_maps()[1]
pooled, routed = study.pooled_and_routed(feature_map)
negative = {name: mean(v < 0 for row in matrix for v in row) for name, matrix in pooled.items()}
assert negative["max"] <= negative["average"]
pictures.pooled_map(feature_map, pooled, routed)

# %% [markdown]
# {{ record_note() }}
#
# The average blurs, and has the sign of the window's sum. The maximum moves everything up: of the
# pooled cells {{ percent(negative["max"], 0) }} are negative, against
# {{ percent(negative["average"], 0) }} with the average. The stride (what a 1×1 convolution with
# stride 2 does) keeps the upper left cell of each window and never looks at the other three. Going
# back, the average spreads what arrives over four cells, a quarter each; maximum and stride hand
# all of it to one.
#
# ### The pool and the convolution change places
#
# Let $W$ be the 1×1 convolution, which acts on the channels of each position $p$, and let the pool
# average over a window $P$. Both are linear, so
#
# $$
# \frac14 \sum_{p \in P} W x_p = W \Bigl( \frac14 \sum_{p \in P} x_p \Bigr).
# $$
#
# The right-hand side convolves a quarter of the positions. A bias does no harm, because the average
# of a constant is that constant. The maximum is not linear, and the exchange gives another
# function. With the shapes of DenseNet-121's first transition, in float64:

# %%
commutes = {row.pooling: row for row in study.commutation()}
assert commutes["average"].largest_difference < 1e-12 < 0.1 < commutes["max"].largest_difference
table(
    commutes,
    {
        "pooling": names,
        "largest |pool(conv(x)) − conv(pool(x))|": (
            "largest_difference",
            lambda value: f"{value:.2f}" if value > 0.01 else f"{value:.0e}",
        ),
        "largest value": ("largest_value", ".2f"),
    },
)

# %%
kept_plain, kept_first = saving.kept_bytes["transition1"]
peak_plain, peak_first = saving.peak_beyond_parameters
assert peak_first <= peak_plain and kept_first < kept_plain

# %% [markdown]
# (A stride commutes too, trivially: a strided convolution *is* one that subsamples first.) Here is
# the exchange in this site's DenseNet. It is exact, so weights of the ordinary network fit.
#
# {{ source(PoolsFirst) }}
#
# What does it bring in DenseNet-121 at 224² pixels? The transitions' convolutions need
# {{ times(plain_work / first_work, 0) }} fewer multiply-adds, the whole network {{ saved_work }}
# fewer ({{ count(total_plain // 10**6) }} million become {{ count(total_first // 10**6) }}). The
# logits differ by {{ f"{saving.largest_difference:.0e}" }} in float64.
#
# For memory the saving is smaller than "a quarter of the convolution's input" suggests. The first
# transition keeps {{ mib(kept_plain) }} an image for its backward pass, and {{ mib(kept_first) }}
# when it pools first: {{ percent(1 - kept_first / kept_plain) }} less. Batch normalisation still
# keeps its input, and now the *pool* keeps the ReLU's output at full size. Over a whole training
# step with a batch of 8 the predicted peak falls by {{ percent(1 - peak_first / peak_plain) }}. To
# win more, one has to recompute the ReLU: [exercise 3.2](3-2-saving-memory.py) does.
#
# ### How far the gradient reaches
#
# "Maximum pooling passes gradient to one input in four, average pooling to all." True, at the
# pool's input. But that place has no weights. Going on backwards, each position is read by *every*
# channel of the convolution, and each of them may pick another winner; then batch normalisation
# couples all positions of a channel through its mean and variance. One training step of the book's
# DenseNet, untrained, on 16 real images:

# %%
fresh = {row.pooling: row for row in study.untrained_gradient_reach()}
assert fresh["average"].pool_input == 1 and abs(fresh["max"].pool_input - 0.25) < 0.01
assert fresh["max"].active_features > 0.99 and min(r.block_output for r in fresh.values()) > 0.99
table(
    fresh,
    {
        "pooling": names,
        "pool's input": ("pool_input", percent, 0),
        "active features": ("active_features", percent, 0),
        "block's output": ("block_output", percent, 0),
        "evenness": ("evenness.2", ".2f"),
    },
    caption="Share of entries that receive a gradient at the first transition, and how evenly it "
    "is spread over the block's output (1: all get the same)",
)

# %%
evenness = {name: decimal(row.evenness[2]) for name, row in fresh.items()}
reach = [run.reach for run in trained["max"]]
to_inputs = percent(mean(row.pool_input for row in reach), 0)
to_features = percent(mean(row.active_features for row in reach), 0)

# %% [markdown]
# "Active features" are those that the ReLU lets pass. At the block's output everything receives
# gradient with any of the three. Evenness is $(\sum |g|)^2 / (n \sum g^2)$: 1 if all get the same.
# There the maximum ({{ evenness["max"] }}) is close to the average ({{ evenness["average"] }}), and
# only the stride ({{ evenness["stride"] }}) is clearly less even, because it drops three positions
# of four for *all* channels at once. In trained networks it is the same picture: the gradient
# reaches {{ to_inputs }} of the maximum pool's inputs and {{ to_features }} of its active features.
#
# ### What is pooled is signed
#
# There is no ReLU between the convolution and the pool. Take four independent standard normals:
# their average has variance ¼, their maximum has the density $4\,\varphi(x)\,\Phi(x)^3$, where
# $\varphi$ and $\Phi$ are the normal density and distribution function.

# %%
pictures.densities(*study.normal_densities())

# %%
normal = {row.pooling: row for row in study.normal_moments()}
real = {
    moment: {
        m.pooling: mean(getattr(f.moments[i], moment) for f in first)
        for i, m in enumerate(first[0].moments)
    }
    for moment in ("mean", "variance", "skewness")
}
assert real["mean"]["max"] > 0.2 > abs(real["mean"]["average"])
assert 1 > real["variance"]["max"] > real["variance"]["average"]
table(
    normal,
    {
        "pooling": names,
        **{moment: (moment, ".3f") for moment in real},
        **{f"{moment}, real": (values, ".3f") for moment, values in real.items()},
    },
    caption="Pooled values when the inputs have mean 0 and variance 1: independent normals, and "
    "real features at the first transition",
)

# %%
correlation = mean(f.neighbour_correlation for f in first)
below_zero = mean(f.negative for f in first)

# %% [markdown]
# Maximum pooling shifts and shrinks the distribution; averaging shrinks it more. Real neighbours
# are alike (their correlation is {{ decimal(correlation) }}), so both effects are smaller than for
# independent values. Does it matter? The next thing that sees these values is a batch
# normalisation, which undoes any shift and scale of a channel. What it cannot undo is shape: the
# skewness (0 where high and low values balance), and the fact that for features of which
# {{ percent(below_zero, 0) }} are negative the maximum *systematically* answers "what is the least
# negative here". A strongly negative value is a finding like a strongly positive one, since the
# next convolution may have weights of either sign. The maximum forgets it.
#
# ### It keeps the mean

# %%
before_relu = mean(f.mean_shift["average"][0] for f in first)
shift = {name: mean(f.mean_shift[name][1] for f in first) for name in names}
assert before_relu < 1e-9 < 0.01 < shift["average"]

# %% [markdown]
# On even sizes every input has the same weight, so the average of a channel over the image is
# exactly the same before and after average pooling. That is a neat property next to a network that
# ends in *global* average pooling, but it does not carry far. The very next layer is a batch
# normalisation, which gives every channel a mean of its own whatever the pooling was. Without it
# the means would differ after the next ReLU by {{ decimal(shift["average"]) }} standard deviations
# (for the maximum by {{ decimal(shift["max"]) }}, for the stride by
# {{ decimal(shift["stride"]) }}), because the ReLU of an average is not the average of the ReLUs.
# With an odd height or width the pool also drops the last row or column, and the mean with it.
#
# ### Aliasing: move the image a little
#
# Halving the resolution folds what is too fine for the coarse grid back into it as a false coarse
# pattern, unless it is filtered out first. A 2×2 average is the simplest such filter (a box); a
# stride has none; a maximum is no filter at all, but depends less on where exactly a feature lies
# (Zhang, arXiv:1904.11486). How often does the predicted class stay when the image moves?

# %%
shifts = [int(s) for s in trained["average"][0].shift_agreement]
agreement = {
    name: {s: [run.shift_agreement[str(s)] for run in results] for s in shifts}
    for name, results in trained.items()
}
pictures.shift_curves(agreement)

# %%
ahead = {
    other: {
        s: study.paired_difference(agreement["average"][s], agreement[other][s]) for s in shifts
    }
    for other in ("max", "stride")
}
steadier = {
    other: ", ".join(str(s) for s, difference in row.items() if difference.low > 0)
    for other, row in ahead.items()
}
assert all(steadier.values())
assert not any(d.high < 0 for row in ahead.values() for d in row.values())
moved = {name: mean(f.shift_change[name] for f in first) for name in names}
assert moved["average"] < moved["max"] < moved["stride"]
seeds, images = len(trained["average"]), trained["average"][0].images

# %% [markdown]
# {{ record_note(features_record) }}
#
# Each dot is a trained network ({{ seeds }} for each pooling), tested on {{ count(images) }}
# images. Paired by seed, the average is clearly steadier than the maximum at {{ steadier["max"] }}
# pixels, and clearly steadier than the stride at {{ steadier["stride"] }} pixels (the 95% interval
# of the difference lies above zero); never is it clearly worse. The direct measure is at the pool
# itself: shift the same real features by one pixel, and compare the pooled values before and after.
# They differ by {{ percent(moved["average"], 0) }} of what two unrelated values of a channel would
# with the average, {{ percent(moved["max"], 0) }} with the maximum,
# {{ percent(moved["stride"], 0) }} with the stride. None of the networks is invariant: the stem has
# already subsampled by four.
#
# ### Does it matter for accuracy?

# %%
accuracy = {
    name: mean(run.test_accuracy for run in by_seed.values()) for name, by_seed in runs.items()
}
run = runs["average"][0]
settings = run.settings
resolution = settings.resolution
assert maximum.pairs == 5  # all that were planned

# %% [markdown]
# We trained the book's DenseNet with each of the three transitions: the same parameters, the same
# initial weights, the same images in the same order, {{ settings.epochs }} epochs. This is a
# **reduced** setting, one that a CPU core manages in minutes: {{ count(run.train_images) }}
# training images, resized to {{ resolution }}×{{ resolution }} pixels (so that the three
# transitions go from 8×8 to 1×1), SGD with a learning rate of {{ settings.learning_rate }} and a
# cosine schedule, tested on all {{ count(run.test_images) }} test images. The pairs below share a
# seed.

# %%
pictures.paired_differences(
    {
        f"{names[name]} minus average": (gaps[name], difference, name)
        for name, difference in minus_average.items()
    }
)

# %%
table(
    names,
    {
        "transition": names,
        "test accuracy": (accuracy, percent),
        "minus average": (
            minus_average,
            lambda difference: f"{signed(100 * difference.mean)} {in_points(difference)}",
        ),
    },
    caption=f"Means of {maximum.pairs} seeds; differences in percentage points, paired by seed, "
    "with 95% t-intervals",
)

# %%
assert all(difference.low > 0 for difference in minus_average.values())

# %% [markdown]
# {{ record_note(training_record) }}
#
# For the maximum the interval excludes zero, in favour of maximum. For the stride it excludes zero,
# in favour of stride. Whatever the sign, nothing here shows that average pooling is *needed* for
# accuracy, and a short training at low resolution cannot show what a long one at 96×96 would. That
# one is ready to run on a GPU:
#
# ```bash
# densenet-solutions record pooling-training --device cuda --out records
# ```
#
# It trains at the book's setting (96×96, all 60,000 images, 10 epochs, five seeds per variant) and
# continues where it stopped.
#
# ### The book's two networks, trained alike

# %%
shape = (settings.batch_size, 1, resolution, resolution)
factories = {"average": book_densenet, "resnet18": book_resnet18}
assert accuracy["average"] > accuracy["resnet18"]
table(
    factories,
    {
        "network": {"average": "DenseNet", "resnet18": "ResNet-18"},
        "parameters": lambda build: count_parameters(build()).total,
        "memory of a step": lambda build: mib(predict_memory(build, shape).peak_bytes, 0),
        "seconds per epoch": (
            {
                name: min(epoch.seconds for run in by_seed.values() for epoch in run.epochs)
                for name, by_seed in runs.items()
            },
            ".0f",
        ),
        "seeds": (runs, len),
        "test accuracy": (accuracy, percent),
    },
    caption="Trained as above. Memory is the predicted peak of a training step with a batch of "
    f"{settings.batch_size}, parameters and gradients included; seconds are the fastest epoch's, "
    "on one core",
)

# %% [markdown]
# In this short training DenseNet is ahead. {{ settings.epochs }} epochs on
# {{ count(run.train_images) }} images, with one learning rate that was tuned for neither, do not
# say which is better in the end.
#
# ### And why does the stem use the maximum?
#
# The stem is convolution, batch normalisation, ReLU, *then* a 3×3 pool of stride 2. Every argument
# from above comes out differently there.
#
# - **No linearity to use.** The ReLU stands between convolution and pool, so an average could not
#   change places with the convolution either.
# - **No sign to lose.** After a ReLU nothing is negative. The maximum even commutes with the
#   ReLU, since both are increasing: $\max(\mathrm{ReLU}(x)) = \mathrm{ReLU}(\max(x))$. It answers
#   "is this edge anywhere here", and a sparse, strong response is not diluted by the zeros around
#   it.
# - **Its windows overlap** (3×3 at stride 2), so a feature that moves by one pixel always keeps a
#   window in which it was. With the transition's 2×2 windows half of such moves leave it.
#
# Convention plays its part: the stem is ResNet's, unchanged, and the paper gives no reason for
# either choice. It has not been shown here that the stem *needs* the maximum.
#
# ## What people say, checked

# %%
explained = {name: mean(f.explained[name] for f in first) for name in names}
iid = study.explained_of_normals()
outliers = {row.pooling: row for row in study.outlier_responses()}
white = {
    name: percent(mean(run.salt_accuracy["0.02"] for run in results), 0)
    for name, results in trained.items()
}
changed = {
    s: {name: percent(1 - mean(by_shift[s])) for name, by_shift in agreement.items()}
    for s in (1, 3)
}
assert explained["average"] > max(explained["max"], explained["stride"])
assert iid["max"] < iid["average"] == iid["stride"]
assert outliers["max"].high > outliers["average"].high > outliers["max"].low

# %% [markdown]
# !!! holds-with-a-condition "Average pooling retains more information."
#     Measured as the share of the inputs' variance that the best linear reconstruction recovers
#     from the pooled value: {{ percent(explained["average"], 0) }} with the average,
#     {{ percent(explained["max"], 0) }} with the maximum, {{ percent(explained["stride"], 0) }}
#     with the stride, on real features. The condition: neighbours must be correlated, as they are
#     in images. For independent values the stride keeps as much as the average
#     ({{ percent(iid["average"], 0) }}; the maximum {{ percent(iid["max"], 0) }}). And what is most
#     *variance* need not be what the classifier needs.
#
# !!! not-decidable-here "Average pooling smooths, and so regularises."
#     It smooths: the variance of real features falls to {{ decimal(real["variance"]["average"]) }}.
#     But the batch normalisation that follows scales it up again, and a regulariser would have to
#     show in the accuracy on new images. There the paired difference of maximum to average is
#     {{ signed(100 * maximum.mean) }} points, {{ in_points(maximum) }}: the opposite of it in this
#     reduced training. A long training at full size may differ.
#
# !!! holds-with-a-condition "Average pooling is more robust to outliers."
#     Make one of four standard normals an outlier of 5 standard deviations: the average moves by
#     {{ decimal(outliers["average"].high) }}, the maximum by {{ decimal(outliers["max"].high) }} if
#     the outlier is high, and by only {{ decimal(outliers["max"].low) }} if it is low. So it holds
#     for high outliers; the maximum is the most robust of all against low ones. In whole networks,
#     with 2% of the pixels white, accuracy is {{ white["average"] }} (average), {{ white["max"] }}
#     (maximum), {{ white["stride"] }} (stride) (mean of {{ seeds }} trained networks each): the
#     pool's own robustness need not carry over to the network.
#
# !!! does-not-hold "Average pooling makes the network invariant to translation."
#     Already at one pixel {{ changed[1]["average"] }} of the predictions change with average
#     pooling ({{ changed[1]["max"] }} with the maximum, {{ changed[1]["stride"] }} with the
#     stride). At three pixels it is {{ changed[3]["average"] }} with the average,
#     {{ changed[3]["max"] }} with the maximum and {{ changed[3]["stride"] }} with the stride: a
#     matter of degree, not invariance.
#
# !!! holds-with-a-condition "Average pooling shares information among neighbours."
#     All four inputs enter the output, forwards and backwards. But a window never looks at the
#     next one, and the 3×3 convolutions of the blocks mix neighbours far more. It describes the
#     operation and is no reason to choose it.
#
# !!! does-not-hold "Average pooling is chosen because every feature receives gradient."
#     At the pool's input it does ({{ percent(fresh["average"].pool_input, 0) }} against
#     {{ percent(fresh["max"].pool_input, 0) }}). At the block's output, where it would matter for
#     learning, {{ percent(fresh["max"].block_output, 0) }} receive gradient with the maximum too.
#
# !!! holds-with-a-condition "Average pooling makes the transition cheaper."
#     Only if the pool is moved before the convolution, which the paper and torchvision do not
#     do. Then the transition's convolution costs a quarter, which saves {{ saved_work }} of
#     DenseNet-121's multiply-adds.
#
# ## Use it

# %% tags=["show"]
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import densenet121

model = STRATEGIES["pool_first"].apply(densenet121())  # same weights, same function

# %% [markdown]
# Train any of the three transitions yourself (Fashion-MNIST is found or fetched, and checked):
#
# ```bash
# densenet-solutions train book-densenet --data fashion-mnist --epochs 10 --pooling average
# ```
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), section 3 ("Pooling layers") and Table 1.
# - Zhang, *Making Convolutional Networks Shift-Invariant Again*,
#   [arXiv:1904.11486](https://arxiv.org/abs/1904.11486), section 3.
# - Xiao, Rasul, Vollgraf, *Fashion-MNIST*, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - Zhang, Lipton, Li, Smola, *Dive into Deep Learning*, sections 8.6 and 8.7.
#
# ## How these numbers were made
#
# {{ how_made() }}
