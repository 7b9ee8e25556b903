# %% [markdown]
# # Exercise 5: A dense MLP for house prices
#
# !!! question "Exercise 5"
#     DenseNet joins every layer to all later ones, and nothing in that idea needs images. Design a
#     multilayer perceptron with the same connections, and apply it to the book's house price
#     competition. ([D2L, section 8.7, exercise
#     5](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises), in our words; the
#     competition is [section
#     5.7](https://d2l.ai/chapter_multilayer-perceptrons/kaggle-house-price.html))

# %%
import inspect

import numpy as np

from densenet_solutions.exercises.houses import (
    baseline,
    histogram,
    networks,
    pictures,
    search,
    study,
)
from densenet_solutions.exercises.houses.recordings import DEEP, FACTOR_NETWORK
from densenet_solutions.exercises.houses.rivals import ROUNDS, SPACES, TREE_TRIALS, TREES, places
from densenet_solutions.exercises.houses.today import FAMILIES, TABM_MEMBERS
from densenet_solutions.houses import BookEncoder, HouseEncoder, load_houses
from densenet_solutions.houses.training import TrainingOptions
from densenet_solutions.models import DenseMLP
from densenet_solutions.records import load_record
from densenet_solutions.site.numbers import count, decimal, interval, percent, signed, times
from densenet_solutions.site.page import how_made, record_note, source
from densenet_solutions.site.tables import KEY, table

train, test = load_houses()
mean, book, centred, ridge_book, ridge = baseline.ladder().values()
pytabkit = load_record("houses-judged-tabm").provenance.packages["pytabkit"]
ensemble, members, errors = study.dense_on_the_books_folds()
connections, averages, standings = study.connections(), study.averages(), study.standings()
names = pictures.NAMES
chosen = networks.ensemble("dense").networks
against = {c: j.difference for c, j in connections.items() if c != "dense"}
b, off = baseline.books_constant(), baseline.books_errors()
constant, bias = np.mean(b), off.mean(axis=1)
(ones,) = baseline.ones_of_a_house()
ones_alone, ones_centered = (baseline.unevenness_of_the_ones(centered=c) for c in (False, True))
response = baseline.response_to_the_mean()
assert min(ones_alone) > 4 * max(ones_centered)
assert 0.39 < min(response) < max(response) < min(ones_alone)
with_leak = baseline.books_model(leak=True)
assert min(with_leak) > mean and max(b) - min(b) < 0.01 < 11 < baseline.constant_alone() < 12
assert np.abs(bias).max() < 0.15  # on average right
books = f"{decimal(min(with_leak), 3)} to {decimal(max(with_leak), 3)}"


def told(d):
    """A difference and its interval."""
    bounds = interval(d.low, d.high, 4).replace(" ", "\u00a0")
    return f"{signed(d.difference, 4)} {bounds}"


# %% [markdown]
# !!! turn "Your turn"
#     The score is the root mean squared error (RMSE) of the logarithm of the price. Always
#     predicting the mean gets {{ decimal(mean, 3) }}. What does the book's own linear model get,
#     with its own settings? And when a plain and a dense MLP are tuned alike, what is the plain
#     one's error minus that of the dense one?
#
#     [guess: the book's model] [guess: plain minus dense]
#
#     ??? hint "Hint 1: where does the baseline start?"
#         It fits $w^\top x + b$ to log prices near 12 and starts at zero. Among its columns every
#         house has {{ ones }} ones, for the categories it belongs to. Which weights learn the 12?
#
#     ??? hint "Hint 2: what is left of a DenseNet?"
#         A dense layer reads $[x_0, x_1, \dots, x_{\ell-1}]$. Without images there is nothing to
#         pool, so what would a transition do?
#
#     ??? solution "Compare"
#         The book's model gets {{ books }} in {{ len(with_leak) }} seeds, worse than the mean.
#         Its $b$ comes to about {{ decimal(constant, 2) }}. The {{ ones }} ones bring the rest, and
#         bring it unevenly. Plain minus dense is {{ told(against["plain"]) }}
#         for single networks. The interval includes zero, so a difference is not shown.
#
# %%
trials = study.trials()
above = {c: sum(t["rmse"] > 0.13 for t in ts) for c, ts in trials.items()}
with_shortcut = sum(n for c, n in above.items() if c != "plain")
rivals = {f: j.difference for f, j in standings.items() if f != "dense"}
assert (
    above["plain"] == search.TRIALS // 2
    and with_shortcut <= 2
    and above["dense"] == above["shortcut"] == 0
)
tuned = {f: d for f, d in rivals.items() if f not in FAMILIES}
assert all(d.low < 0 < d.high for d in (*against.values(), *tuned.values(), rivals["tabm"]))
assert rivals["realmlp"].low > 0
assert not any(max(-d.low, d.high) < search.MARGIN for d in (*against.values(), *rivals.values()))
linear = study.trials_of_ridge()
assert len(linear) == search.TRIALS and max(linear) < 0.13
# %% [markdown]
# !!! answer "The answer"
#     Join each layer's output to what it has read, and leave the pooling out. In our search
#     half of the plain trials ended above 0.13 and no dense one, so the dense error is harder to
#     spoil. A single shortcut from the table to the head brings that too^[With it the head alone is
#     a linear model, and no trial of ridge regression ended above 0.13 either.]. On fresh folds neither
#     another connection, tuned alike, nor boosted trees, tuned less, are shown to differ from dense
#     networks^[Shown means that an interval excludes zero. Nothing is shown to be equal either. Fresh
#     are the partitions, not the houses.].
#
#     - **{{ decimal(ensemble, 4) }}** error of the average of three dense MLPs on the book's folds, where
#       predicting the mean has {{ decimal(mean, 4) }}^[Single dense ones have
#       {{ decimal(connections["dense"].book, 4) }}. The average of three plain ones has
#       {{ decimal(averages["plain"].book, 4) }}, of three with one shortcut
#       {{ decimal(averages["shortcut"].book, 4) }}.]
#     - **{{ above["plain"] }} of {{ search.TRIALS }}** plain trials above 0.13; with shortcuts
#       {{ with_shortcut }} of {{ 3 * search.TRIALS }}
#     - **{{ signed(against["plain"].difference, 4) }}** plain minus dense, single networks, tuned alike, interval
#       {{ interval(against["plain"].low, against["plain"].high, 4) }}
#
# ## The network
#
# The table itself is $x_0$. Every layer and the head read it directly, so the head alone is a linear
# model, and the layers bend it.
#
# The best dense network of the search · drawn from its configuration
# { .ds-setup }

# %%
best = chosen[0]
options = best.options
bins = networks.features_of(best) == "bins"
encoder = best.encoder()
assert (encoder.clip, encoder.min_frequency) == (0.005, 8)
pictures.network(
    features=search.FEATURES[6 if bins else 0],
    growth_rate=options["growth_rate"],
    layers=sum(options["block_config"]),
    caption="Each layer appends a few features; the head reads the table and all of them.",
)

# %% [markdown]
# {{ source(DenseMLP.forward) }}
#
# A layer $H_\ell$ is linear, normalisation, activation, dropout, where the paper normalises first.
# There is one block. With nothing to pool, nothing is left of a transition but a linear map, so
# there is none. The head starts at zero, which predicts the mean.
#
# ## The recipe
#
# *Our features* are grades as numbers, sums that a buyer would make (total area, baths, age),
# logarithms of areas, a house against the means of its neighbourhood, and a column of its own for
# each category that at least eight houses have. Numbers are cut at the outer half percent and squeezed
# smoothly into ±{{ f"{encoder.limit:g}" }} standard deviations. All of it is fitted on the training folds only.
# *Bins* are at most six more columns for each number, which say how far it has come through each sixth
# of the houses.
# The loss is the squared error of the standardised logarithm of the price.
#
# `densenet-solutions houses cv` prints this design, and its score:

# %%
table(
    chosen,
    {
        "layers × growth": lambda n: (
            f"{sum(n.options['block_config'])} × {n.options['growth_rate']}"
        ),
        "dropout, of inputs": lambda n: f"{n.options['dropout']:g}, {n.options['input_dropout']:g}",
        "start, norm, activation": lambda n: ", ".join(
            str(n.options[o]) for o in ("init", "norm", "activation")
        ),
        "AdamW: rate, decay": lambda n: (
            f"{n.training.learning_rate:g}, {n.training.weight_decay:g}"
        ),
        "features": networks.features_of,
    },
    caption="The three dense networks that the search chose; all: batches of "
    f"{best.training.batch_size}, {best.training.epochs} epochs, warm-up, then a cosine",
    align="lllll",
)

# %% [markdown]
# On the book's folds the three have {{ ", ".join(decimal(m, 4) for m in members) }}, and the average
# of their predictions {{ decimal(ensemble, 4) }}.
#
# ## What the connections bring
#
# Up to [the test rows](#the-test-rows) all errors are those of cross-validation. A *partition* divides the {{ count(len(train)) }} houses
# into five folds, and each fold is predicted from the other four. The book's folds are consecutive rows;
# those of every other partition are shuffled.
#
# Four ways to join layers, at about equal size. *One shortcut* is a plain network whose head also
# reads the table. Of the connections that dense adds to a plain network it has just one, that from
# the table to the head. In a *residual* network a linear layer, not drawn, first brings the table to
# the width of the others, and the additions start after it.

# %%
pictures.four_connections(
    "Plain, one linear shortcut from the table to the head, residual, and dense."
)

# %% [markdown]
# The rules were written down and committed before any recorded trial ran^[They are the first lines of
# `exercises/houses/search.py`. A first draft had more trials, wider spaces and ten partitions for
# judging; it was cut to fit the time when some of its trials had run.]. Each connection gets the same
# {{ search.TRIALS }} random configurations, {{ search.TRIALS // 4 }} at each depth from 2 to 16, with
# about equal numbers of weights (within {{ percent(study.SIZE_TOLERANCE, 0) }}): dropout of features
# and inputs, initialisation, normalisation, activation, learning rate, weight decay, bins. The best quarter runs again on a second partition,
# and the best {{ search.MEMBERS }} are judged on five partitions that no version of this page had
# read. The features and the configurations were chosen on
# the same {{ count(len(train)) }} houses.
#
# {{ search.TRIALS }} configurations a connection · one seed · partition {{ search.SEARCH }} ·
# larger circles are deeper networks (2, 4, 8, 16 layers), lines are medians · recorded
# { .ds-setup }

# %%
sixteen = {
    c: [t["rmse"] for t in ts if t["configuration"]["depth"] == 16] for c, ts in trials.items()
}
most_of_others = max(max(sixteen[c]) for c in ("shortcut", "residual", "dense"))
lowest = {c: min(t["rmse"] for t in ts) for c, ts in trials.items()}
assert min(sixteen["plain"]) > 0.2 > max(max(sixteen[c]) for c in ("shortcut", "residual", "dense"))
assert abs(lowest["shortcut"] - lowest["dense"]) < 0.0005
below_linear = sorted(e for e in sixteen["dense"] if e < min(linear))
(residual,) = (e for e in sixteen["residual"] if e < min(linear))
assert len(below_linear) == 2 and min(sixteen["shortcut"]) > min(linear)
again = {c: dict(study.finalists(c)) for c in ("dense", "residual", "ridge")}
linear_again = min(again["ridge"].values())
once, twice = (again["dense"][e] for e in below_linear)
assert max(once, again["residual"][residual]) < linear_again - 0.001 < twice < linear_again
deepest = study.ridge_minus_deep_dense()
assert deepest.low < 0 < deepest.high
medians = {c: float(np.median([t["rmse"] for t in ts])) for c, ts in trials.items()}
pictures.search_strip(
    {
        c: [{"rmse": t["rmse"], "depth": t["configuration"]["depth"]} for t in ts]
        for c, ts in trials.items()
    },
    "Without a shortcut half of the trials end above 0.13; with one of any kind, "
    f"{with_shortcut} of {3 * search.TRIALS}.",
)

# %% [markdown]
# {{ record_note(load_record("houses-search")) }}
#
# This is what connections bring in this search: an error that stays near a linear model's although the
# recipe is wrong^[One seed and one partition. The space was drawn knowing where plain networks train,
# and the line at 0.13 was drawn afterwards.]. All {{ len(linear) }} trials of ridge regression
# on this partition lie under 0.13 too, at {{ decimal(min(linear), 4) }} to
# {{ decimal(max(linear), 4) }}. The median
# of the plain trials is {{ decimal(medians["plain"], 4) }}, with one shortcut
# {{ decimal(medians["shortcut"], 4) }}, residual {{ decimal(medians["residual"], 4) }}, dense
# {{ decimal(medians["dense"], 4) }}. At 16 layers all four plain trials have
# {{ decimal(min(sixteen["plain"]), 3) }} or more, and the others at most
# {{ decimal(most_of_others, 3) }}. The best trial with one shortcut,
# {{ decimal(lowest["shortcut"], 4) }}, comes near the best dense one,
# {{ decimal(lowest["dense"], 4) }}.
#
# ### Do sixteen layers train?
#
# At 16 layers two dense trials ({{ " and ".join(decimal(e, 4) for e in below_linear) }}) and one
# residual one ({{ decimal(residual, 4) }}) lie below the best of ridge regression, none with one
# shortcut. On the second partition they have {{ decimal(once, 4) }}, {{ decimal(twice, 4) }} and
# {{ decimal(again["residual"][residual], 4) }}, where ridge regression has
# {{ decimal(linear_again, 4) }}. On the fresh folds below the first of them is not shown to differ
# from ridge regression^[Ridge regression minus that network is {{ told(deepest) }}, alone at 95%.].
#
# Such errors do not say whether the layers train, as random layers give the head features too. So the
# dense trials and those with one shortcut ran again, with every layer left at its start and only the
# head trained^[A reader of this page had run this once before its rule was written down, on the same
# partition with the same seed. The rule stands in `exercises/houses/frozen.py`.].

# %%
frozen = study.frozen()
gain = {c: left - trained for c, (trained, left) in frozen.items()}
assert len(gain["dense"]) == len(gain["shortcut"]) == 4
assert min(gain["dense"]) > 0.0015 and max(abs(gain["shortcut"])) < 0.0005
table(
    {
        f"{names[c]}, {what}": errors.tolist()
        for c in ("shortcut", "dense")
        for what, errors in zip(("trained", "left"), frozen[c], strict=True)
    },
    {
        "layers": KEY,
        **{f"trial {i + 1}": (i, ".4f") for i in range(4)},
    },
    caption=f"16 layers, trained or left at their start; partition {search.SEARCH}, one seed",
)

# %% [markdown]
# {{ record_note(load_record("houses-frozen")) }}
#
# Training the layers lowers the error of all four dense trials, by {{ decimal(min(gain["dense"]), 4) }}
# to {{ decimal(max(gain["dense"]), 4) }}. With one shortcut it changes the error by
# {{ decimal(max(abs(gain["shortcut"])), 5) }} at most. This is one seed and one partition.
#
# ### Tuned alike, on fresh folds
#
# %%
spread = study.spread()
assert all(d.difference > 0 for d in against.values())
by_book = sorted(connections, key=lambda c: connections[c].book)
assert by_book == ["shortcut", "residual", "dense", "plain"]
assert spread.partitions > spread.seeds > 0
planned, alone = (study.differences(n)["plain"] for n in (search.COMPARISONS, 1))
for narrow in (study.differences(search.COMPARISONS), study.differences(11)):
    assert {n for n, d in narrow.items() if not d.low < 0 < d.high} == {"realmlp"}
    assert not any(max(-d.low, d.high) < search.MARGIN for d in narrow.values())
assert study.differences(11)["plain"] == against["plain"] and alone.low > 0
overlap = np.sqrt(1 + connections["plain"].folds.size / (connections["plain"].folds.shape[1] - 1))
by_fold = standings["dense"].folds
pooled = np.sqrt((by_fold**2).mean(axis=1)).mean()  # folds are of one size
assert by_fold.shape == (5, 5) and len(train) % 5 == 0 and 0 < pooled - by_fold.mean() < 0.001
many = (against["plain"].high - against["plain"].low) / (alone.high - alone.low)

# %% [markdown]
# Best three of each connection, single networks · fresh-6 to fresh-10, 25 folds · mean error in a
# fold minus that of dense · recorded
# { .ds-setup }

# %%
pictures.intervals(
    against,
    search.MARGIN,
    "Tuned alike, no connection is shown to be better or worse than dense.",
    "dense",
)

# %% [markdown]
# {{ record_note(load_record("houses-judged")) }}
#
# (Wherever fresh folds are named, the error is the mean of the folds' errors. On the book's folds and in the
# search it is that over all houses of a partition at once, which is a little higher. On the fresh ones the
# average of three dense networks has {{ decimal(standings["dense"].mean, 4) }} by folds and would have
# {{ decimal(pooled, 4) }} by partitions.) All three
# means lie above that of dense, and all three intervals include zero. They are wide for
# two reasons. The formula allows for training rows that overlap^[The corrected t-test of Nadeau
# and Bengio (2003), each at {{ percent(study.CONFIDENCE, 2) }}, so that eleven intervals hold together at
# about 95%, three here and eight below. Eight had been planned; for three rivals that were added later
# all intervals were widened. The formula was derived for random splits. For repeated cross-validation
# it is a heuristic, and it speaks of the configurations that were chosen, not of those that another
# search would have chosen.], which makes them
# {{ decimal(overlap, 1) }} times as wide. And eleven comparisons are made at once, which makes them
# {{ decimal(many, 1) }} times as wide. Alone, at 95%, plain minus dense would be
# {{ interval(alone.low, alone.high, 4) }}, and exclude zero. None of the eleven lies inside
# ±{{ search.MARGIN }}, a quarter of a percent of the price, the margin that had been set for calling two
# models equivalent.
#
# Under the rule that was set beforehand, with its eight comparisons, the data decide nothing here: the
# plain network may be worse than the dense one by {{ decimal(planned.high, 4) }}, or better by
# {{ decimal(-planned.low, 4) }}. With eleven it is {{ decimal(against["plain"].high, 4) }} and
# {{ decimal(-against["plain"].low, 4) }}.
#
# On the book's folds single networks have, in the same order, {{ decimal(connections["plain"].book, 4) }},
# {{ decimal(connections["shortcut"].book, 4) }}, {{ decimal(connections["residual"].book, 4) }} and,
# dense, {{ decimal(connections["dense"].book, 4) }}: there one shortcut is lowest, and residual
# too is below dense. Another seed moves
# the error of the best dense network by {{ decimal(spread.seeds, 4) }} (one standard deviation),
# another partition by about {{ decimal(spread.partitions, 4) }} (from
# {{ len(search.FRESH) }} partitions, so roughly known).
#
# ### Sixteen layers, crossed
#
# None of the four plain trials at 16 layers had both He's start and no dropout of features. Here are
# all four pairs, for networks of about equal size and otherwise the same (layers
# {{ study.DEEP_WIDTHS["residual"] }} or {{ study.DEEP_WIDTHS["plain"] }} wide, dense adding
# {{ study.DEEP_WIDTHS["dense"] }})^[Plain and dense were run first. One shortcut and residual had been
# planned with them and ran later, when those results were known. The setting was drawn when an earlier
# reading of these rows had found that plain networks train with He's start, without dropout of
# features, at learning rates like this one, {{ DEEP["learning_rate"] }}.].

# %%
deep = study.deep()
assert all(set(cell) == set(connections) for cell in deep.values()) and len(deep) == 4
at_sixteen = [t["configuration"] for t in trials["plain"] if t["configuration"]["depth"] == 16]
assert not any(c["init"] == "he" and c["dropout"] == 0 for c in at_sixteen)
he, default = deep["0, He's start"], deep["0, default start"]
dropped, dropped_he = deep["0.3, default start"], deep["0.3, He's start"]
dense_cells, shortcut_cells = ([cell[c] for cell in deep.values()] for c in ("dense", "shortcut"))
residual_fails = load_record("houses-deep").cases["residual, dropout 0.3, he"]["member_rmse"]
residual_else = [cell["residual"] for cell in deep.values() if cell is not dropped_he]
both_he = {
    c: load_record("houses-deep").cases[f"{c}, dropout 0.0, he"]["member_rmse"] for c in connections
}
best_by_seed = [min(both_he, key=lambda c, i=i: both_he[c][i]) for i in (0, 1)]
assert best_by_seed == ["plain", "shortcut"]
assert min(residual_fails) > 0.2 > 0.125 > max(residual_else) and max(shortcut_cells) < 0.125
assert all(cell["dense"] == min(cell.values()) for cell in deep.values())
assert he["plain"] < 0.125 and default["plain"] > 0.9 * mean
assert max(dense_cells) < standings["ridge"].book
assert 0.2 < dropped["plain"] < min(dropped_he["plain"], default["plain"])
table(
    deep,
    {
        "dropout of features, start": KEY,
        **{names[c]: (c, ".4f") for c in connections},
    },
    caption="16 layers, single networks, mean of two seeds, the book's folds",
)

# %% [markdown]
# {{ record_note(load_record("houses-deep")) }}
#
# With He's start and no dropout of features the plain network has {{ decimal(he["plain"], 4) }}. So depth
# alone does not stop it. In its other three cells it has {{ decimal(dropped["plain"], 3) }} or more. The
# residual network fails in one cell, with {{ decimal(residual_fails[0], 3) }} and
# {{ decimal(residual_fails[1], 3) }}, and has {{ decimal(max(residual_else), 4) }} at most in the others.
# One shortcut has {{ decimal(min(shortcut_cells), 4) }} to {{ decimal(max(shortcut_cells), 4) }} in all
# four, and the dense network {{ decimal(min(dense_cells), 4) }} to {{ decimal(max(dense_cells), 4) }}, the
# lowest mean each time. In one cell (He's start, no dropout of features) it is lowest with neither seed: it has
# {{ decimal(both_he["dense"][0], 4) }} and {{ decimal(both_he["dense"][1], 4) }}, the plain network
# {{ decimal(both_he["plain"][0], 4) }} with the first and one shortcut
# {{ decimal(both_he["shortcut"][1], 4) }} with the second. Tuned ridge regression has {{ decimal(standings["ridge"].book, 4) }}. Two seeds on one
# partition show large differences and not small ones. Learning rate and dropout of inputs were not tuned here.
#
# ## Features, dropout, and a straight line

# %%
factors = study.factors()
book_f, ours_f, bins_f = factors.values()
inputs = "of inputs"
assert ours_f["none"] > ours_f["ridge"] and bins_f["none"] > ours_f["none"]
assert bins_f["of both"] == min(v for row in factors.values() for v in row.values())
assert all(row["none"] > row["of features"] > row[inputs] for row in factors.values())
giants = {
    "ridge, the book's features": study.de_cock(BookEncoder),
    "ridge, our features": study.de_cock(HouseEncoder),
}
(removed,) = {g.giants for g in giants.values()}
others_book, others_ours = (g.trained_on_all[1] for g in giants.values())
features_first, network_first = book_f["ridge"] - ours_f["ridge"], book_f["ridge"] - book_f[inputs]
assert features_first > ours_f["ridge"] - ours_f[inputs]
assert network_first > book_f[inputs] - ours_f[inputs]
assert others_book - others_ours < features_first / 2
net = {
    name: p.default for name, p in inspect.signature(DenseMLP).parameters.items()
} | FACTOR_NETWORK
assert (net["activation"], net["norm"], net["init"]) == ("silu", "none", "default")
(layers,), adam = net["block_config"], TrainingOptions()
table(
    factors,
    {
        "features": KEY,
        "ridge": ("ridge", ".4f"),
        **{f"dropout {d}": (d, ".4f") for d in next(iter(factors.values())) if d != "ridge"},
    },
    caption=f"A dense network of {layers} layers that add {net['growth_rate']} features each "
    "(SiLU, no normalisation, PyTorch's default start, AdamW at "
    f"{adam.learning_rate:g} with decay {adam.weight_decay:g}): mean of two seeds on the book's "
    "folds, beside ridge regression (alpha 30)",
)

# %%
odd = 347
worth, worth_without = (
    np.subtract(*(baseline.books_model(leak=leak, without=ids) for leak in (False, True)))
    for ids in ((), (odd,))
)
misc = int(train["MiscVal"].iloc[odd - 1])
off_by = {
    leak: np.abs(baseline.books_errors(leak=leak)[:, odd - 1]).mean() for leak in (False, True)
}
by_folds, by_all = baseline.deviations(odd, "MiscVal")
assert np.mean(worth) > 0.004 > 0.001 > abs(np.mean(worth_without)) and by_folds > 1.5 * by_all
assert min(worth_without) < -0.002 and max(worth_without) > 0.002
assert abs(baseline.leak()) < 0.0002

# %% [markdown]
# {{ record_note(load_record("houses-factors")) }}
#
# The network was set beforehand. With bins and both kinds of dropout it is the recipe that an earlier
# version found by hand on these rows, before its learning rate and epochs were doubled. That cell had
# been read on these folds before, so the table favours it.
#
# What brings most depends on the order. If our features come first, they take ridge regression from
# {{ decimal(book_f["ridge"], 4) }} to {{ decimal(ours_f["ridge"], 4) }}, and the network with dropout of
# inputs then has {{ decimal(ours_f[inputs], 4) }}. If the network comes first, the error falls from
# {{ decimal(book_f["ridge"], 4) }} to {{ decimal(book_f[inputs], 4) }}, and our features then take it to
# {{ decimal(ours_f[inputs], 4) }}. Much of what they do for ridge regression they do on the
# {{ removed }} houses above 4000 square feet. On all the others it falls from
# {{ decimal(others_book, 4) }} to {{ decimal(others_ours, 4) }}.
#
# Without dropout the network is no better on our features than ridge regression,
# {{ decimal(ours_f["none"], 4) }}, and bins make it worse, {{ decimal(bins_f["none"], 4) }}. Of the two
# kinds of dropout, that of *inputs* (30% of the table's columns) helps more. It leads to
# {{ decimal(ours_f[inputs], 4) }}, with bins {{ decimal(bins_f[inputs], 4) }}.
# Two seeds are few, so small differences in this table
# say little.
#
# ### Why the book's baseline loses to the mean
#
# The book fits $w^\top x + b$ to log prices near 12, starting from zero, in 10 epochs. Alone, $b$ would
# come to {{ decimal(baseline.constant_alone(), 1) }}. But every house has {{ ones }} ones among its columns,
# one for each category that it belongs to. Their weights are pushed as $b$ is, and do its work: $b$ comes
# to about {{ decimal(constant, 2) }}. What they add up to differs from house to house, with a standard
# deviation of {{ decimal(np.mean(ones_alone), 2) }}; where the target's mean is subtracted first, so that
# they need not bring the 12, of {{ decimal(np.mean(ones_centered), 2) }}. The columns of numbers take part of that
# back: in all, what the mean adds to a prediction^[The prediction minus that of the same training with the
# mean subtracted first: training is linear in the target.] has a standard deviation of
# {{ decimal(np.mean(response), 2) }}. That is nearly the whole error. The model is right on average (bias
# {{ signed(bias.min(), 2) }} to {{ signed(bias.max(), 2) }} in {{ len(with_leak) }} seeds), and its errors are
# {{ books }}, on average {{ decimal(book, 3) }}. Subtracting the mean of the target first takes that to
# {{ decimal(centred, 3) }}, and solving the same model exactly, with a ridge penalty, to
# {{ decimal(ridge_book, 4) }}.
#
# The book also standardises training rows together with the rows to be predicted. For ridge regression
# that leak helps next to nothing (it lowers the error by {{ decimal(baseline.leak(), 4) }}). The book's own model is better with
# it by {{ decimal(np.mean(worth), 4) }} on average ({{ signed(min(worth), 4) }} to
# {{ signed(max(worth), 4) }}). One house makes the difference, Id {{ odd }}. Its MiscVal of
# {{ count(misc) }} is {{ decimal(by_folds, 0) }} standard deviations by the training folds and
# {{ decimal(by_all, 0) }} by all rows, and so far out its log price is missed by
# {{ decimal(off_by[False], 1) }} without the leak and by {{ decimal(off_by[True], 1) }} with it. Leave that
# house out of the score, and on average nothing is left of what the leak brings, {{ signed(np.mean(worth_without), 4) }} ({{ signed(min(worth_without), 4) }} to
# {{ signed(max(worth_without), 4) }}).
#
# ## Against other models
#
# Five rivals were tuned on the same two partitions: ridge regression and a support vector machine (SVR) in
# {{ search.TRIALS }} trials, and three kinds of boosted trees. Those are sums of many small decision trees,
# each fitted to what the sum so far gets wrong; a *round* adds one. They had {{ TREE_TRIALS }} trials of up to
# {{ count(ROUNDS[-1]) }} rounds, each read at {{ len(ROUNDS) }} numbers of rounds. All five read our
# features, the trees without bins.
#
# Three more were added when the results of these were known, by rules that were committed before
# their own^[They are the first lines of `exercises/houses/histogram.py` and `today.py`.
# Histogram boosting cuts each number into 63 bins, to save time. Its space is wider in leaves and
# columns; its rates start at {{ f"{histogram.SPACE['learning_rate'][0]:g}" }}.].
# Scikit-learn's *histogram* boosting was tuned like the other trees. RealMLP and TabM are networks that
# people use for tables today. They run as pytabkit sets them, with no search and one seed^[The
# defaults of pytabkit {{ pytabkit }}, but TabM has {{ TABM_MEMBERS }} members instead of 32, to save
# time. Each keeps a fifth of its training rows aside to choose the epoch. They read the numbers of our
# features without bins, and categories as they are.]. None of the three was scored on the test rows.
#
# Dense: average of three networks · rivals: one model · fresh-6 to fresh-10, 25 folds ·
# recorded
# { .ds-setup }

# %%
trees = [f for f in standings if f in (*TREES, "histogram")]
order = list(standings)
assert {places(f) for f in TREES} == {histogram.PLACES}
used = {f: study.boosting(f)["rounds"] for f in trees}
light, hist = SPACES["lightgbm"], histogram.SPACE
assert set(hist["max_leaf_nodes"]) > set(light["num_leaves"])
assert set(hist["min_samples_leaf"]) > set(light["min_child_samples"])
for f, columns in (
    ("lightgbm", "colsample_bytree"),
    ("xgboost", "colsample_bytree"),
    ("catboost", "rsm"),
):
    assert set(hist["max_features"]) > set(SPACES[f][columns])
    assert hist["learning_rate"][0] > SPACES[f]["learning_rate"][0]
last_rounds = [
    case["by_rounds"][str(ROUNDS[-2])] - case["by_rounds"][str(ROUNDS[-1])]
    for case in load_record("houses-search-rivals").cases.values()
    if case["family"] in TREES and case["configuration"] == study.boosting(case["family"])
]
assert len(last_rounds) == len(TREES) and min(last_rounds) > 0
assert {used[f] for f in TREES} == {ROUNDS[-1]} and used["histogram"] < ROUNDS[-1]
assert {f: study.at_the_edge(f) for f in trees} == {
    "lightgbm": ({"subsample", "min_child_samples"}, {"num_leaves", "colsample_bytree"}),
    "xgboost": ({"subsample", "min_child_weight"}, {"max_depth", "colsample_bytree"}),
    "catboost": (set(), {"depth", "rsm"}),
    "histogram": ({"max_features", "min_samples_leaf"}, set()),
}
assert order[:3] == trees[:3] and order[3:7] == ["svr", "dense", "histogram", "ridge"]
pictures.intervals(
    rivals,
    search.MARGIN,
    "Of the rivals only RealMLP, untuned, is shown to differ from three dense networks; it is worse.",
    "dense",
)

# %% [markdown]
# {{ record_note(load_record("houses-judged-rivals")) }}
#
# {{ names[order[0]] }} has the lowest mean, {{ decimal(standings[order[0]].mean, 4) }}, then come
# {{ names[order[1]] }}, {{ decimal(standings[order[1]].mean, 4) }}, {{ names[order[2]] }},
# {{ decimal(standings[order[2]].mean, 4) }}, and {{ names[order[3]] }},
# {{ decimal(standings[order[3]].mean, 4) }}. The average of three dense networks has {{ decimal(standings["dense"].mean, 4) }}, histogram boosting
# {{ decimal(standings["histogram"].mean, 4) }}, tuned ridge regression
# {{ decimal(standings["ridge"].mean, 4) }}. Not even ridge regression minus dense,
# {{ told(rivals["ridge"]) }}, is shown.
#
# TabM has {{ decimal(standings["tabm"].mean, 4) }}, which is {{ told(rivals["tabm"]) }} from dense. RealMLP
# has {{ decimal(standings["realmlp"].mean, 4) }}, {{ told(rivals["realmlp"]) }}: the one interval that
# excludes zero. Its defaults, in one network, are worse here than three dense
# networks tuned on these rows. What tuning, or an average of several, would bring it does not say.
#
# Three more things tilt the comparison. Trees had {{ TREE_TRIALS }} configurations and
# {{ histogram.PLACES }} finalists, networks {{ search.TRIALS }} and {{ search.TRIALS // 4 }}. (Both
# search spaces were drawn knowing earlier tuning on these rows^[An earlier version's average of three dense networks had 0.1139 on the book's folds. It was the best of a recipe
# found by hand in 32 trials and 11 draws around it, compared on other partitions of these rows; the
# book's folds had been read many times. Of today's trials only those chosen were scored on them.].) An average of
# three networks stands against one model each (TabM averages {{ TABM_MEMBERS }} networks that share most of
# their weights), and one dense network has
# {{ decimal(connections["dense"].mean, 4) }}.
#
# And the trees could still have grown. LightGBM, XGBoost and CatBoost used all
# {{ count(ROUNDS[-1]) }} rounds that were offered, though the last {{ ROUNDS[-1] - ROUNDS[-2] }} lowered their
# error on the search's first partition by {{ decimal(min(last_rounds), 4) }} to
# {{ decimal(max(last_rounds), 4) }} only. Their depth, or number of leaves, and their share of
# columns are the largest that were offered; the share of rows and the smallest leaf of the first two
# are the smallest. Histogram boosting, at faster rates, used {{ count(used["histogram"]) }} rounds, but
# its share of columns and its smallest leaf are the smallest that were offered. CatBoost's own
# treatment of categories was not tried, for lack of time. TabPFN was not run, because its package comes
# without its weights. Of the first five CatBoost was judged last, when the other results were known;
# its configuration is the one that the search had chosen.
#
# ### The test rows
#
# Each model of the table was scored once, after its own configuration was chosen by fixed rules that do not read
# these scores. They were not scored together: ridge regression and SVR came before the networks were
# chosen, and CatBoost's search ran last. The rows are not fresh either: earlier versions of this page
# had scored other models on them, and the recipe was changed afterwards. Today's search spaces were
# drawn knowing that.

# %%
final = study.scores_on_the_test_rows()


def test_difference(score):
    return told(score.against_dense)


nets = ("shortcut", "dense", "residual")
scored = [f for f in rivals if f not in study.ADDED]
assert set(list(final)[:3]) == set(nets) and next(iter(final)) == "shortcut"
assert {f for f, score in final.items() if score.against_dense.low > 0} == {"plain", *scored}
corrected = {f for f, score in final.items() if score.corrected.low > 0}
assert corrected == {"plain", *scored} - {"svr"} and len(final) - 1 == search.COMPARISONS
assert max(final[c].without_two for c in nets) < min(final[f].without_two for f in scored)
share_of_two = 1 - (final["dense"].without_two / final["dense"].rmse) ** 2 * (1457 / 1459)
on_books_folds = {
    **{c: a.book for c, a in averages.items()},
    **{f: standings[f].book for f in scored},
}
assert all(standings[f].book < ensemble for f in trees) and len(trees) == 4
assert all(final[f].rmse > final["dense"].rmse for f in TREES) and len(TREES) == 3
alike = averages["plain"].difference
assert all(a.difference.low < 0 < a.difference.high for c, a in averages.items() if c != "dense")
two = [int(test["Id"].iloc[i]) for i in study.worst_test_rows()]
table(
    final,
    {
        "model": names,
        "test rows": ("rmse", ".4f"),
        "minus dense, 95%": ({f: s for f, s in final.items() if f != "dense"}, test_difference),
        f"without Ids {two[0]} and {two[1]}": ("without_two", ".4f"),
        "book's folds": (on_books_folds, ".4f"),
    },
    caption="RMSE of log price; networks are averages of three. The interval is over houses and "
    "knows nothing of retraining",
    align="lrlrr",
)

# %% [markdown]
# {{ record_note(load_record("houses-final")) }}
#
# Here the three networks with shortcuts have the lowest errors. Minus dense, the intervals of the other
# {{ len(final) - 3 }} models lie above zero, at 95% each.
# Corrected for eight comparisons, that of SVR includes zero. Averages of three stand against single
# rivals here too, and the fresh folds above did not show this. Like for like, averages of three have
# {{ decimal(averages["plain"].mean, 4) }} (plain), {{ decimal(averages["shortcut"].mean, 4) }} (one
# shortcut), {{ decimal(averages["residual"].mean, 4) }} (residual) and
# {{ decimal(averages["dense"].mean, 4) }} (dense) on the fresh folds. Plain minus dense is then
# {{ told(alike) }}^[By the formula of above. This comparison was not planned and is not among the
# eleven.], and no difference from dense is shown. A handful of houses weighs heavily too:
# the two that the dense ensemble gets most wrong carry {{ percent(share_of_two, 0) }} of its squared
# error. So no place on the leaderboard is claimed.
#
# ## The houses it gets most wrong

# %%
worst = np.argsort(-np.abs(errors))[:6]


def dollars(price):
    return f"${count(int(price))}"


table(
    [(train.iloc[i], errors[i]) for i in worst],
    {
        "Id": ("0.Id", str),
        "sold for": ("0.SalePrice", dollars),
        "predicted": (1, lambda e: times(np.exp(e), 2)),
        "sale": "0.SaleCondition",
        "quality": "0.OverallQual",
        "built": ("0.YearBuilt", str),
    },
    caption="The six largest errors on the book's folds; predicted over true price",
    align="lrrlrr",
)

# %%
unusual = int((train["SaleCondition"].iloc[worst] != "Normal").sum())
partial, partial_price, normal_price = study.partial_sales()
cheaper = int((errors[worst] > 0).sum())
assert unusual == 4 and cheaper == 6 and partial_price > normal_price

# %% [markdown]
# All six were sold for less than predicted, and {{ unusual }} of them were no ordinary sales. In the
# data dictionary *Family* is a sale between relatives, and *Partial* a home that was not completed
# when it was last assessed. That marks them and explains nothing: partial sales as a whole are dear,
# {{ partial }} houses with a median of {{ dollars(partial_price) }}, where ordinary sales have
# {{ dollars(normal_price) }}.
#
# ## Outliers, as De Cock advises
#
# De Cock, who published the data, recommends to remove houses above 4000 square feet. He counts five
# in the whole data: three partial sales that likely do not represent actual market values, and two
# very large houses with prices to match.

# %%
assert all(
    g.trained_without[0] > g.trained_on_all[0] and g.trained_without[1] < g.trained_on_all[1]
    for g in giants.values()
)
(all_book, rest_book), (all_ours, rest_ours) = (g.change for g in giants.values())
assert rest_book.high < 0 and rest_ours.low < 0 < rest_ours.high
assert all(d.low < 0 < d.high for d in (all_book, all_ours))
famous = study.share_of((524, 1299), baseline.ridge(BookEncoder).errors)
table(
    giants,
    {
        "model": KEY,
        "all rows": ("trained_on_all.0", ".4f"),
        "all rows, trained without": ("trained_without.0", ".4f"),
        "other rows": ("trained_on_all.1", ".4f"),
        "other rows, trained without": ("trained_without.1", ".4f"),
    },
    caption=f"RMSE on all rows and on all but the {removed} large houses, trained with or without "
    "them; the book's folds",
)

# %% [markdown]
# For ridge regression on the book's features the advice helps for the houses that remain,
# {{ told(rest_book) }}^[At 95%, over houses; the trained models are taken as given.]. With our features
# a help is not shown, {{ told(rest_ours) }}. With neither is a cost on all rows shown,
# {{ told(all_book) }} and {{ told(all_ours) }}. The competition scores large houses
# too, so here all rows stay in every scored fold. Two of them, Ids 524 and 1299, carry
# {{ percent(famous, 0) }} of the squared error of ridge regression on the book's features, and
# {{ percent(study.share_of((524, 1299), errors), 0) }} of the dense ensemble's. Two of our columns
# were made with such houses in mind.
#
# ## What people say
#
# !!! holds "A dense MLP beats the book's linear baseline."
#     {{ decimal(ensemble, 4) }} against {{ books }}. So does the mean,
#     {{ decimal(mean, 3) }}: the baseline at its own settings is no yardstick.
#
# !!! does-not-hold "The gain comes from the dense connections."
#     From {{ decimal(book, 3) }}, the mean over {{ len(with_leak) }} seeds, to
#     {{ decimal(standings["ridge"].book, 4) }} nothing but a centred
#     target, features, and a linear model with a tuned penalty was needed.
#
# !!! holds-with-a-condition "Dense connections make a deep MLP trainable."
#     With the starts and dropouts of the search's trials at 16 layers, of which none has both He's start
#     and no dropout of features: the worst dense trial has {{ decimal(max(sixteen["dense"]), 3) }} and the best plain one
#     {{ decimal(min(sixteen["plain"]), 3) }}. Training the layers lowers the error of
#     all four dense trials, by {{ decimal(min(gain["dense"]), 4) }} to
#     {{ decimal(max(gain["dense"]), 4) }} (one seed, one partition). That they then differ from ridge
#     regression is not shown. With one shortcut from the table to the head the error is low too,
#     {{ decimal(max(sixteen["shortcut"]), 3) }} at worst, but training the layers changes it by
#     {{ decimal(max(abs(gain["shortcut"])), 5) }} at most. With He's start and no dropout of features a
#     plain network, too, has a low error, {{ decimal(he["plain"], 3) }} on the book's folds.
#
# !!! not-decidable-here "Boosted trees beat neural networks on tables like this one."
#     {{ names[trees[0]] }} minus the dense ensemble is {{ told(rivals[trees[0]]) }} on fresh folds. On
#     the book's folds all four kinds of trees are ahead of the dense average; on the test rows the
#     three that were scored there are behind it.
#
# ## Check yours

# %%
log_prices = np.log(train["SalePrice"])
logs = np.sqrt(np.mean((np.log(log_prices) - log_prices) ** 2))
pictures.ruler(
    {
        "predicting the mean": mean,
        f"the book's linear model, {baseline.SEEDS} seeds": book,
        "the same, target centred": centred,
        "ridge, the book's features": ridge_book,
        "ridge, our features, untuned": ridge,
        **{
            f"{names[f]}, tuned": standings[f].book for f in ("ridge", "svr", "xgboost", "catboost")
        },
        "dense MLP, average of three": ensemble,
    },
    "Root mean squared error of log price on the book's five folds, all 1460 houses. A bar is as "
    "long as the logarithm of the error, from 0.1.",
)

# %% [markdown]
# !!! check "Check yours"
#     Write a function `(train, houses) → prices` in a file. The check runs it on the book's folds,
#     looks for leaks, and says where you stand:
#
#     ```bash
#     densenet-solutions check houses my_model.py:predict
#     densenet-solutions check houses submission.csv
#     ```
#
#     | your error | what it may be |
#     |---|---|
#     | about {{ decimal(logs, 1) }}, by a score of your own | log prices where dollars belong |
#     | about {{ decimal(mean, 2) }} | the network predicts one number |
#     | {{ decimal(min(with_leak), 2) }} to {{ decimal(max(with_leak), 2) }} | the target is not centred |
#     | about {{ decimal(centred, 2) }} | a linear model that has not converged |
#     | about {{ decimal(ridge_book, 2) }} | a good linear model on the book's features |
#     | about {{ decimal(ridge, 2) }} | good features; what is left is tuning |
#     | far below 0.11 | most likely a leak |
#
# ??? lines "Run ours, or change it"
#     ```bash
#     densenet-solutions houses cv      # this page's network and number
#     densenet-solutions houses cv --connection plain --depth 4 --seeds 3
#     densenet-solutions houses cv --features book --epochs 20
#     densenet-solutions houses submit --out submission.csv
#     densenet-solutions houses score submission.csv
#     ```
#
#     The competition's two files are rebuilt offline, byte for byte, from the Ames data; their SHA-1
#     is what the book expects. So the prices of the test rows are known, and a submission is scored
#     without an account. Never send predictions made from them to the competition.
#
# ??? apparatus "Sources, records, versions"
#     - G. Huang et al., *Densely Connected Convolutional Networks*,
#       [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), equation 2.
#     - K. He et al., [arXiv:1512.03385](https://arxiv.org/abs/1512.03385), equation 1: residual; and
#       [arXiv:1502.01852](https://arxiv.org/abs/1502.01852): initialisation.
#     - H.-T. Cheng et al., *Wide & Deep Learning*,
#       [arXiv:1606.07792](https://arxiv.org/abs/1606.07792): one linear shortcut.
#     - C. Nadeau, Y. Bengio, *Inference for the Generalization Error*, Machine Learning 52, 2003.
#     - D. De Cock, *Ames, Iowa: Alternative to the Boston Housing Data*, Journal of Statistics
#       Education 19(3), 2011.
#     - Y. Gorishniy et al., [arXiv:2203.05556](https://arxiv.org/abs/2203.05556), equation 1: bins;
#       D. Holzmüller et al., [arXiv:2407.04491](https://arxiv.org/abs/2407.04491): smooth clipping,
#       RealMLP; Y. Gorishniy et al., [arXiv:2410.24210](https://arxiv.org/abs/2410.24210): TabM.
#
#     {{ how_made() }}
