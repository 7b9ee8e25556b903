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

# %% tags=["hide-input"]
from densenet_solutions.measure import count_parameters, predict_memory
from densenet_solutions.memory.pool_first import PoolsFirst
from densenet_solutions.models import book_densenet, book_resnet18
from densenet_solutions.records import load_record
from densenet_solutions.exercises.pooling import pictures
from densenet_solutions.site.numbers import count, interval, mib, percent, times
from densenet_solutions.site.page import claims, how_made, record_note, say, source
from densenet_solutions.site.tables import table
from densenet_solutions.exercises.pooling import study

commutes = {row.pooling: row for row in study.commutation()}
saving = study.pool_first_saving()
fresh = {row.pooling: row for row in study.untrained_gradient_reach()}
normal = {row.pooling: row for row in study.normal_moments()}
trained = study.trained_features()
runs = study.trainings("pooling-training-reduced")
names = pictures.NAMES
training_record = load_record("pooling-training-reduced")
features_record = load_record("pooling-features")


def mean(values):
    values = list(values)
    return sum(values) / len(values)


first = [run.transitions[0] for run in trained["average"]]  # first transition, one a seed
plain_work, first_work = saving.transition_multiply_adds
gaps, summaries = {}, {}
for pooling in ("max", "stride"):
    gaps[pooling], summaries[pooling] = study.differences(
        "pooling-training-reduced", pooling, "average"
    )
accuracy = {
    name: mean(run.test_accuracy for run in by_seed.values()) for name, by_seed in runs.items()
}
settings = runs["average"][0].settings
train_images = runs["average"][0].train_images

assert commutes["average"].largest_difference < 1e-12 < 0.1 < commutes["max"].largest_difference
assert first_work * 4 == plain_work
assert saving.largest_difference < 1e-9 * saving.largest_logit

# %% [markdown]
# ## In one breath

# %% tags=["hide-input"]
undecided = summaries["max"].includes_zero
worth = (
    "the difference is within the noise"
    if undecided
    else (
        "maximum pooling did better" if summaries["max"].mean > 0 else "average pooling did better"
    )
)
say(f"""
The paper gives no reason. What averaging has and the maximum lacks is that it is **linear**: it commutes
with the 1×1 convolution before it, so a transition may pool first and do **a quarter of the work** ({count(plain_work // 10**6)} million multiply-adds
become {count(first_work // 10**6)} in DenseNet-121, {percent(1 - saving.multiply_adds[1] / saving.multiply_adds[0])} of the whole network's; neither the paper nor torchvision does it), and it treats the signed values that the
convolution gives without preferring the positive ones. Much else that is said about it is weaker
than it sounds. Better accuracy is no reason that we could find: over {summaries["max"].pairs} seeds of a small
training, maximum minus average pooling is {100 * summaries["max"].mean:+.2f} percentage points,
95% interval {interval(100 * summaries["max"].low, 100 * summaries["max"].high, 2)}: {worth}.
""")

# %% [markdown]
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

# %% [markdown]
# ## The answer
#
# ### What each pooling does
#
# Top row: one channel after the convolution of the first transition, in a network that was trained
# on Fashion-MNIST, and what each pooling makes of it. Green is positive, grey negative, and stronger
# is larger. Bottom row, in pink: the gradient of the loss that arrives at the pooled map, and what
# each pooling passes back to its inputs.

# %% tags=["hide-input"]
feature_map = study.feature_maps()[1]
pooled, routed = study.pooled_and_routed(feature_map)
pictures.pooled_map(feature_map, pooled, routed)

# %% tags=["hide-input"]
record_note(load_record("pooling-feature-map"))

# %% tags=["hide-input"]
negative = {name: mean(v < 0 for row in matrix for v in row) for name, matrix in pooled.items()}
assert negative["max"] <= negative["average"]
say(f"""
The average blurs, and has the sign of the window's sum. The maximum moves everything up: of the pooled cells
{percent(negative["max"], 0)} are negative, against {percent(negative["average"], 0)} with the
average. The stride (what a 1×1 convolution with stride 2 does) keeps the upper left cell of each
window and never looks at the other three. Going back, the average spreads what arrives over
four cells, a quarter each; maximum and stride hand all of it to one.
""")

# %% [markdown]
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
# of a constant is that constant. The maximum is not linear, and the exchange gives another function.
# With the shapes of DenseNet-121's first transition, in float64:

# %% tags=["hide-input"]
table(
    ["pooling", "largest |pool(conv(x)) − conv(pool(x))|", "largest value"],
    [
        [
            names[name],
            f"{row.largest_difference:{'.2f' if row.largest_difference > 0.01 else '.0e'}}",
            f"{row.largest_value:.2f}",
        ]
        for name, row in commutes.items()
    ],
    align="lrr",
)

# %% [markdown]
# (A stride commutes too, trivially: a strided convolution *is* one that subsamples first.) Here is
# the exchange in this site's DenseNet. It is exact, so weights of the ordinary network fit.

# %% tags=["hide-input"]
source(PoolsFirst)

# %% tags=["hide-input"]
total_plain, total_first = saving.multiply_adds
kept_plain, kept_first = saving.kept_bytes["transition1"]
peak_plain, peak_first = saving.peak_beyond_parameters
assert peak_first <= peak_plain and kept_first < kept_plain
say(f"""
What does it bring in DenseNet-121 at 224² pixels? The transitions' convolutions need
{times(plain_work / first_work, 0)} fewer multiply-adds, the whole network
{percent(1 - total_first / total_plain)} fewer ({count(total_plain // 10**6)} million become
{count(total_first // 10**6)}). The logits differ by {saving.largest_difference:.0e} in float64.

For memory the saving is smaller than "a quarter of the convolution's input" suggests. The first
transition keeps {mib(kept_plain)} an image for its backward pass, and {mib(kept_first)} when it pools
first: {percent(1 - kept_first / kept_plain)} less. Batch normalisation still keeps its input, and now
the *pool* keeps the ReLU's output at full size. Over a whole training step with a batch of 8 the
predicted peak falls by {percent(1 - peak_first / peak_plain)}. To win more, one has to recompute the
ReLU: [exercise 3.2](3-2-saving-memory.py) does.
""")

# %% [markdown]
# ### How far the gradient reaches
#
# "Maximum pooling passes gradient to one input in four, average pooling to all." True, at the pool's
# input. But that place has no weights. Going on backwards, each position is read by *every* channel of the
# convolution, and each of them may pick another winner; then batch normalisation couples all positions
# of a channel through its mean and variance. One training step of the book's DenseNet, untrained, on
# 16 real images:

# %% tags=["hide-input"]
assert fresh["average"].pool_input == 1 and abs(fresh["max"].pool_input - 0.25) < 0.01
assert fresh["max"].active_features > 0.99 and min(r.block_output for r in fresh.values()) > 0.99


def share(value):
    return "—" if value is None else percent(value, 0)


table(
    ["pooling", "pool's input", "active features", "block's output", "evenness"],
    [
        [
            names[name],
            share(row.pool_input),
            share(row.active_features),
            share(row.block_output),
            f"{row.evenness[2]:.2f}",
        ]
        for name, row in fresh.items()
    ],
    caption="Share of entries that receive a gradient at the first transition, and how evenly it is "
    "spread over the block's output (1: all get the same)",
    align="lrrrr",
)

# %% tags=["hide-input"]
reach = {name: [run.reach for run in results] for name, results in trained.items()}
say(f"""
"Active features" are those that the ReLU lets pass. At the block's output everything receives gradient
with any of the three. Evenness is $(\\sum |g|)^2 / (n \\sum g^2)$: 1 if all get the same. There the
maximum ({fresh["max"].evenness[2]:.2f}) is close to the average ({fresh["average"].evenness[2]:.2f}),
and only the stride ({fresh["stride"].evenness[2]:.2f}) is clearly less even, because it drops three
positions of four for *all* channels at once. In trained networks it is the same picture: the gradient
reaches {percent(mean(r.pool_input for r in reach["max"]), 0)} of the maximum pool's inputs and
{percent(mean(r.active_features for r in reach["max"]), 0)} of its active features.
""")

# %% [markdown]
# ### What is pooled is signed
#
# There is no ReLU between the convolution and the pool. Take four independent standard normals: their
# average has variance ¼, their maximum has the density $4\,\varphi(x)\,\Phi(x)^3$, where $\varphi$ and
# $\Phi$ are the normal density and distribution function.

# %% tags=["hide-input"]
pictures.densities(*study.normal_densities())

# %% tags=["hide-input"]
here = {m.pooling: [f.moments[i] for f in first] for i, m in enumerate(first[0].moments)}
correlation = mean(f.neighbour_correlation for f in first)
assert 1.029 < normal["max"].mean < 1.030 and 0.491 < normal["max"].variance < 0.493
assert mean(m.mean for m in here["max"]) > 0.2 > abs(mean(m.mean for m in here["average"]))
table(
    ["pooling", "mean", "variance", "skewness", "mean, real", "variance, real", "skewness, real"],
    [
        [
            names[name],
            *(f"{v:.3f}" for v in (row.mean, row.variance, row.skewness)),
            *(
                f"{mean(v) + 0:.3f}".replace("-0.000", "0.000").replace("-", "−")
                for v in zip(*((m.mean, m.variance, m.skewness) for m in here[name]), strict=True)
            ),
        ]
        for name, row in normal.items()
    ],
    caption="Pooled values when the inputs have mean 0 and variance 1: independent normals, and "
    "real features at the first transition",
    align="lrrrrrr",
)

# %% tags=["hide-input"]
say(f"""
Maximum pooling shifts and shrinks the distribution; averaging shrinks it more. Real neighbours are
alike (their correlation is {correlation:.2f}), so both effects are smaller than for independent
values. Does it matter? The next thing that sees these values is a batch normalisation, which undoes
any shift and scale of a channel. What it cannot undo is shape: the skewness (0 where high and low values balance), and the fact that for
features of which {percent(mean(f.negative for f in first), 0)} are negative the maximum *systematically*
answers "what is the least negative here". A strongly negative value is a finding like a strongly
positive one, since the next convolution may have weights of either sign. The maximum forgets it.
""")

# %% [markdown]
# ### It keeps the mean

# %% tags=["hide-input"]
shift = {name: [mean(f.mean_shift[name][i] for f in first) for i in (0, 1)] for name in names}
assert shift["average"][0] < 1e-9 < 0.01 < shift["average"][1]
say(f"""
On even sizes every input has the same weight, so the average of a channel over the image is exactly the
same before and after average pooling. That is a neat property next to a network that ends in *global*
average pooling, but it does not carry far. The very next layer is a batch normalisation, which gives every channel a
mean of its own whatever the pooling was. Without it the means would differ after the next ReLU by
{shift["average"][1]:.2f} standard deviations (for the maximum by {shift["max"][1]:.2f}, for the
stride by {shift["stride"][1]:.2f}), because the ReLU of an average is not the average of the ReLUs.
With an odd height or width the pool also drops the last row or column, and the mean with it.
""")

# %% [markdown]
# ### Aliasing: move the image a little
#
# Halving the resolution folds what is too fine for the coarse grid back into it as a false coarse
# pattern, unless it is filtered out first. A 2×2 average is the simplest such filter (a box); a stride
# has none; a maximum is no filter at all, but depends less on where exactly a feature lies (Zhang,
# arXiv:1904.11486). How often does the predicted class stay when the image moves?

# %% tags=["hide-input"]
shifts = [int(s) for s in trained["average"][0].shift_agreement]
agreement = {
    name: {s: [run.shift_agreement[str(s)] for run in results] for s in shifts}
    for name, results in trained.items()
}
pictures.shift_curves(agreement)

# %% tags=["hide-input"]
record_note(features_record)

# %% tags=["hide-input"]
moved = {name: mean(f.shift_change[name] for f in first) for name in names}
assert moved["average"] < moved["stride"]
ahead = {
    other: {
        s: study.paired_difference(agreement["average"][s], agreement[other][s]) for s in shifts
    }
    for other in ("max", "stride")
}
clear = {
    other: [s for s, difference in row.items() if s and difference.low > 0]
    for other, row in ahead.items()
}
assert not any(d.high < 0 for row in ahead.values() for d in row.values())
clearly = {
    other: "at no shift"
    if not found
    else f"at {', '.join(map(str, found))} pixel{'s' if found != [1] else ''}"
    for other, found in clear.items()
}
say(f"""
Each dot is a trained network ({len(trained["average"])} for each pooling), tested on {count(trained["average"][0].images)} images. Paired by
seed, the average is clearly steadier than the maximum {clearly["max"]}, and clearly steadier than the stride
{clearly["stride"]} (the 95% interval of the difference lies above zero); never is it clearly worse. The direct measure is at the pool itself: shift the same real features by one pixel, and compare the
pooled values before and after. They differ by {percent(moved["average"], 0)} of what two unrelated values of a channel would with the average,
{percent(moved["max"], 0)} with the maximum, {percent(moved["stride"], 0)} with the stride. None of the
networks is invariant: the stem has already subsampled by four.
""")

# %% [markdown]
# ### Does it matter for accuracy?

# %% tags=["hide-input"]
pairs = summaries["max"].pairs
planned = (
    ""
    if pairs >= 5
    else f""" Of the five seeds planned, {pairs} are recorded so far, and with so few pairs a
t-interval is wide; `densenet-solutions record pooling-training-reduced` adds the others."""
)
say(f"""
We trained the book's DenseNet with each of the three transitions: the same parameters, the same initial
weights, the same images in the same order, {settings.epochs} epochs. This is a **reduced** setting, one
that a CPU core manages in minutes: {count(train_images)} training images, resized to
{settings.resolution}×{settings.resolution} pixels (so that the three transitions go from 8×8 to 1×1), SGD with a
learning rate of {settings.learning_rate} and a cosine schedule, tested on all
{count(runs["average"][0].test_images)} test images. The pairs below share a seed.{planned}
""")

# %% tags=["hide-input"]
pictures.paired_differences(
    {
        f"{names[name]} minus average": (gaps[name], summaries[name], name)
        for name in ("max", "stride")
    }
)

# %% tags=["hide-input"]
table(
    ["transition", "test accuracy", "minus average"],
    [
        [
            names[name],
            percent(accuracy[name]),
            "—"
            if name == "average"
            else f"{100 * summaries[name].mean:+.2f} ".replace("-", "−")
            + interval(100 * summaries[name].low, 100 * summaries[name].high, 2),
        ]
        for name in names
    ],
    caption=f"Means of {pairs} seeds; differences in percentage points, paired by seed, with 95% "
    "t-intervals",
    align="lrr",
)

# %% tags=["hide-input"]
record_note(training_record)

# %% tags=["hide-input"]
found = {
    name: "includes zero, so this experiment does not tell which is better"
    if summaries[name].includes_zero
    else f"excludes zero, in favour of {names[name] if summaries[name].mean > 0 else 'average'}"
    for name in summaries
}
say(f"""
For the maximum the interval {found["max"]}. For the stride it {found["stride"]}. Whatever the sign,
nothing here shows that average pooling is *needed* for accuracy, and a short training at low resolution
cannot show what a long one at 96×96 would. That one is ready to run on a GPU:

```bash
densenet-solutions record pooling-training --device cuda --out records
```

It trains at the book's setting (96×96, all 60,000 images, 10 epochs, five seeds per variant) and
continues where it stopped.
""")

# %% [markdown]
# ### The book's two networks, trained alike

# %% tags=["hide-input"]
factories = {"average": ("DenseNet", book_densenet), "resnet18": ("ResNet-18", book_resnet18)}
shape = (settings.batch_size, 1, settings.resolution, settings.resolution)
table(
    ["network", "parameters", "memory of a step", "seconds per epoch", "seeds", "test accuracy"],
    [
        [
            title,
            count_parameters(factory()).total,
            mib(predict_memory(factory, shape).peak_bytes, 0),
            *(
                (
                    f"{min(e.seconds for run in runs[name].values() for e in run.epochs):.0f}",
                    len(runs[name]),
                    percent(accuracy[name]),
                )
                if name in runs
                else (None, 0, None)
            ),
        ]
        for name, (title, factory) in factories.items()
    ],
    caption=f"Trained as above. Memory is the predicted "
    f"peak of a training step with a batch of {settings.batch_size}, parameters and gradients included; "
    "seconds are the fastest epoch's, on one core",
    align="lrrrrr",
)

# %% tags=["hide-input"]
assert accuracy["average"] > accuracy["resnet18"]
say(f"""
In this short training DenseNet is ahead. {settings.epochs} epochs on {count(train_images)} images, with one learning rate that was
tuned for neither, do not say which is better in the end.
""")

# %% [markdown]
# ### And why does the stem use the maximum?
#
# The stem is convolution, batch normalisation, ReLU, *then* a 3×3 pool of stride 2. Every argument
# from above comes out differently there.
#
# - **No linearity to use.** The ReLU stands between convolution and pool, so an average could not
#   change places with the convolution either.
# - **No sign to lose.** After a ReLU nothing is negative. The maximum even commutes with the ReLU, since
#   both are increasing: $\max(\mathrm{ReLU}(x)) = \mathrm{ReLU}(\max(x))$. It answers "is this edge
#   anywhere here", and a sparse, strong response is not diluted by the zeros around it.
# - **Its windows overlap** (3×3 at stride 2), so a feature that moves by one pixel always keeps a
#   window in which it was. With the transition's 2×2 windows half of such moves leave it.
#
# Convention plays its part: the stem is ResNet's, unchanged, and the paper gives no reason for
# either choice. It has not been shown here that the stem *needs* the maximum.

# %% [markdown]
# ## What people say, checked

# %% tags=["hide-input"]
explained = {name: mean(f.explained[name] for f in first) for name in names}
iid = study.explained_of_normals()
outliers = {row.pooling: row for row in study.outlier_responses()}
salt = {
    name: {s: mean(run.salt_accuracy[s] for run in results) for s in results[0].salt_accuracy}
    for name, results in trained.items()
}
noise = "0.02"
assert explained["average"] > max(explained["max"], explained["stride"])
assert outliers["max"].high > outliers["average"].high > outliers["max"].low
claims(
    [
        (
            "Average pooling retains more information.",
            "holds with a condition",
            f"""Measured as the share of the inputs' variance that the best linear reconstruction recovers
            from the pooled value: {percent(explained["average"], 0)} with the average,
            {percent(explained["max"], 0)} with the maximum, {percent(explained["stride"], 0)} with the
            stride, on real features. The condition: neighbours must be correlated, as they are in images.
            For independent values the stride keeps as much as the average
            ({percent(iid["average"], 0)}; the maximum {percent(iid["max"], 0)}). And what is most
            *variance* need not be what the classifier needs.""",
        ),
        (
            "Average pooling smooths, and so regularises.",
            "not decidable here",
            f"""It smooths: the variance of real features falls to
            {mean(m.variance for m in here["average"]):.2f}. But the batch normalisation that follows
            scales it up again, and a regulariser would have to show in the accuracy on new images. There
            the paired difference of maximum to average is
            {100 * summaries["max"].mean:+.2f} points,
            {interval(100 * summaries["max"].low, 100 * summaries["max"].high, 2)}:
            {"no sign of it" if summaries["max"].includes_zero or summaries["max"].mean < 0 else "the opposite of it"}
            in this reduced training. A long training at full size may differ.""",
        ),
        (
            "Average pooling is more robust to outliers.",
            "holds with a condition",
            f"""Make one of four standard normals an outlier of 5 standard deviations: the average moves by
            {outliers["average"].high:.2f}, the maximum by {outliers["max"].high:.2f} if the outlier is
            high, and by only {outliers["max"].low:.2f} if it is low. So it holds for high outliers; the
            maximum is the most robust of all against low ones. In whole networks, with 2% of the pixels
            white, accuracy is {", ".join(f"{percent(salt[n][noise], 0)} ({names[n]})" for n in names)}
            (mean of {len(trained["average"])} trained network{"s" if len(trained["average"]) > 1 else ""}
            each): the pool's own robustness need not carry over to the network.""",
        ),
        (
            "Average pooling makes the network invariant to translation.",
            "does not hold",
            f"""Already at one pixel
            {percent(1 - mean(agreement["average"][1]))} of the predictions change with average pooling
            ({percent(1 - mean(agreement["max"][1]))} with the maximum,
            {percent(1 - mean(agreement["stride"][1]))} with the stride). At three
            pixels it is {percent(1 - mean(agreement["average"][3]))} with the average,
            {percent(1 - mean(agreement["max"][3]))} with the maximum and
            {percent(1 - mean(agreement["stride"][3]))} with the stride: a matter of degree, not invariance.""",
        ),
        (
            "Average pooling shares information among neighbours.",
            "holds with a condition",
            """All four inputs enter the output, forwards and backwards. But a window never looks at the
            next one, and the 3×3 convolutions of the blocks mix neighbours far more. It describes the
            operation and is no reason to choose it.""",
        ),
        (
            "Average pooling is chosen because every feature receives gradient.",
            "does not hold",
            f"""At the pool's input it does ({percent(fresh["average"].pool_input, 0)} against
            {percent(fresh["max"].pool_input, 0)}). At the block's output, where it would matter for
            learning, {percent(fresh["max"].block_output, 0)} receive gradient with the maximum too.""",
        ),
        (
            "Average pooling makes the transition cheaper.",
            "holds with a condition",
            f"""Only if the pool is moved before the convolution, which the paper and torchvision do not
            do. Then the transition's convolution costs a quarter, which saves
            {percent(1 - total_first / total_plain)} of DenseNet-121's multiply-adds.""",
        ),
    ]
)

# %% [markdown]
# ## Use it

# %%
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import densenet121

model = STRATEGIES["pool_first"].apply(densenet121())  # same weights, same function

# %% [markdown]
# Train any of the three transitions yourself (Fashion-MNIST is found or fetched, and checked):
#
# ```bash
# densenet-solutions train book-densenet --data fashion-mnist --epochs 10 --pooling average
# ```

# %% [markdown]
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), section 3 ("Pooling layers") and Table 1.
# - Zhang, *Making Convolutional Networks Shift-Invariant Again*,
#   [arXiv:1904.11486](https://arxiv.org/abs/1904.11486), section 3.
# - Xiao, Rasul, Vollgraf, *Fashion-MNIST*, [arXiv:1708.07747](https://arxiv.org/abs/1708.07747).
# - Zhang, Lipton, Li, Smola, *Dive into Deep Learning*, sections 8.6 and 8.7.

# %% [markdown]
# ## How these numbers were made

# %% tags=["hide-input"]
how_made(
    training_record,
    features_record,
    load_record("pooling-feature-map"),
)
