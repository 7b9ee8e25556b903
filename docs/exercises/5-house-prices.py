# %% [markdown]
# # Exercise 5: can a dense MLP predict house prices?
#
# ## The question
#
# DenseNet joins every layer to all later ones. Nothing in that idea needs images. The book asks you
# to build a multilayer perceptron with the same connections and to apply it to its house price
# competition ([D2L, section 8.7, exercise
# 5](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises); the competition is
# [section 5.7](https://d2l.ai/chapter_multilayer-perceptrons/kaggle-house-price.html)).

# %% tags=["hide-input"]
import numpy as np

from densenet_solutions.houses import load_houses
from densenet_solutions.models import DenseMLP
from densenet_solutions.records import load_record
from densenet_solutions.exercises.houses import pictures
from densenet_solutions.site.numbers import count, interval
from densenet_solutions.site.page import claims, how_made, record_note, say, source
from densenet_solutions.site.tables import table
from densenet_solutions.exercises.houses import study
from densenet_solutions.exercises.houses import options
from densenet_solutions.exercises.houses import search

train, test = load_houses()
rungs = {rung.name: rung.scores for rung in study.ladder()}
mean, book, clean, centred, ridge_book, ridge = rungs.values()
dense = study.dense_on_the_books_folds()
rows = {row.family: row for row in study.standings()}
fresh = {name: float(np.mean(row.fresh)) for name, row in rows.items()}
tree = min(study.TREES, key=fresh.get)
records = {name: load_record(name) for name in study.RECORDS}
assert book.rmse > mean.rmse  # the baseline is worse than no model
assert dense.rmse < 0.117


def signed(value):
    return f"{value:+.4f}".replace("-", "−")


def against(row):
    difference = row.against_dense
    return f"{signed(difference.difference)} {interval(difference.low, difference.high, 4)}"


# %% [markdown]
# ## In one breath

# %% tags=["hide-input"]
level = rows[tree].against_dense.low <= 0 <= rows[tree].against_dense.high
say(f"""
Yes. On the book's five folds an ensemble of {len(dense.members)} dense MLPs reaches a root mean squared error
of log price of **{dense.rmse:.4f}** (one network {np.mean(dense.members):.4f}), and {fresh["dense"]:.4f} on average over {len(rows["dense"].fresh)} fresh
partitions (new random splits into folds, never used for choosing). The book's linear baseline at its own
settings reaches {book.rmse:.3f}, which is worse than predicting the mean ({mean.rmse:.3f}). Over the fresh partitions {pictures.NAMES[tree]} minus dense is
{against(rows[tree])}: {"no difference that can be told from chance" if level else "a difference"}. But most of the way
is features and training: ridge regression on the same features reaches {ridge.rmse:.4f}.
""")

# %% [markdown]
# ## Try it first
#
# ??? question "Hint 1: what does the baseline predict?"
#     The book fits $w^\top x + b$ to log prices near 12, starting from zero. How far does $b$ get
#     in 10 epochs? Which other weights can help it there, and for which houses are they missing?
#
# ??? question "Hint 2: what must change in the formula?"
#     A dense layer reads $[x_0, x_1, \dots, x_{\ell-1}]$. Without images there is nothing to pool.
#     What is left of a dense block, and what of a transition?

# %% [markdown]
# ## The book's baseline, and why it fails
#
# The book turns every category into a column of its own, 1 where the house has it and 0 elsewhere. We
# call such a category a *level*: a neighbourhood, a kind of roof. The baseline's error depends on how many
# rare levels a house has:

# %% tags=["hide-input"]
failure = study.baseline_failure()
assert failure.mean_error[-1] < failure.mean_error[0]
table(
    ["rare levels of the house", "houses", "mean error of log price"],
    [
        [group, rows, f"{error:+.3f}".replace("-", "−")]
        for group, rows, error in zip(failure.groups, failure.rows, failure.mean_error, strict=True)
    ],
    caption="The book's baseline undervalues unusual houses (predicted minus true; a level is rare "
    "when fewer than a tenth of the houses have it).",
)

# %% tags=["hide-input"]
say(f"""
The target is never centred. Gradient descent must lift every prediction from 0 to about 12, and it
does so with all the columns that most houses share: each common level carries a part of the 12. A
rare level has seen few gradients and carries little, so a house with many rare levels is valued too
low. That is a matter of optimisation, not of linear models. Fitted on the training fold alone the
baseline has {clean.rmse:.3f}; subtracting the mean of the target first brings that down to {centred.rmse:.3f}, and solving the same model exactly, with a ridge
penalty, to {ridge_book.rmse:.4f}.

The book also standardises the training rows together with the rows to be predicted. That is a leak in
principle; in practice the ridge model's error changes by {signed(study.leak())}.
""")

# %% [markdown]
# ## From the book to a dense MLP, one rung at a time

# %% tags=["hide-input"]
steps = {
    name: float(np.mean(case["member_rmse"]))
    for name, case in records["houses-steps"].cases.items()
}
pictures.ladder_figure(
    [*rungs, *steps, "drawn and ensembled"],
    [*(s.rmse for s in rungs.values()), *steps.values(), dense.rmse],
    networks=len(steps) + 1,
)

# %% tags=["hide-input"]
record_note(records["houses-steps"])

# %% tags=["hide-input"]
names = list(steps)
default, first_step = search.NETWORK_DEFAULT, records["houses-steps"].cases[names[0]]
assert steps[names[1]] > steps[names[0]] > steps[names[2]]
assert steps[names[0]] > ridge.rmse - 0.002
say(f"""
The grey rungs are computed while this page is built, on the book's five folds; every one of the
{count(len(train))} training rows is scored once, outliers too. *Our features* are grades as numbers,
sums a buyer would make (total area, baths, age), logarithms of areas, a house against the means of
its neighbourhood, and one column for each level. They are fitted on the training fold only; a test changes
validation rows and sees the fitted numbers unchanged.

The blue rungs are dense MLPs, each built on the one before; they are recorded, the mean of {len(first_step["member_rmse"])} single networks. A
dense MLP with a usual recipe ({steps[names[0]]:.4f}) is hardly better than ridge on the same features.
*Piecewise-linear bins* give every number, beside itself, {default["n_bins"]} columns that say how far it has come through
each quantile bin. By themselves they only invite overfitting ({steps[names[1]]:.4f}). **More dropout**, of inputs (from none to
{default["input_dropout"]}) and of features (from {first_step["dropout"]} to {default["dropout"]}), turns that
around ({steps[names[2]]:.4f}) and is the largest gain among these rungs: with so few rows, a network that may not rely on
any one column learns to use many. Training twice as long at twice the learning rate adds little
({steps[names[3]]:.4f}). The last rung is the best of
{search.NETWORK_BUDGET} draws around this recipe, chosen on another partition, and an average of
{len(dense.members)} networks.
""")

# %% [markdown]
# ## The dense MLP
#
# One argument chooses among three networks: *plain* ($x_\ell = H_\ell(x_{\ell-1})$), *residual*
# ($x_\ell = x_{\ell-1} + H_\ell(x_{\ell-1})$) and *dense*
# ($x_\ell = H_\ell([x_0, \dots, x_{\ell-1}])$, equation 2 of the paper). The table itself is $x_0$, so
# every layer and the head read it directly: the head alone is a linear model, and the layers can
# bend it.

# %% tags=["hide-input"]
chosen = study.chosen_network()
pictures.dense_mlp_drawing(
    features=search.FEATURES,
    growth_rate=chosen.options["growth_rate"],
    layers=sum(chosen.options["block_config"]),
)

# %% tags=["hide-input"]
source(DenseMLP.forward)

# %% tags=["hide-input"]
curve = study.live_fold()
pictures.learning_curve_figure(curve.epochs, curve.rmse)

# %% tags=["hide-input"]
assert abs(curve.rmse[-1] - dense.folds[0]) < 0.015
say(f"""
Live: one network, with {curve.epochs[-1]} of its {chosen.training.epochs} epochs so that this page is built quickly, is trained on four of the book's
folds and scored on the first after every second epoch. It ends at {curve.rmse[-1]:.4f}; the recorded ensemble has
{dense.folds[0]:.4f} on this fold. The learning rate warms up, then falls to zero along a cosine. Nothing is stopped
early, so no validation row is looked at to choose an epoch.
""")

# %% [markdown]
# ## Where dense connections help

# %% tags=["hide-input"]
depth = study.depths()
pictures.depth_figure(depth.depths, depth.as_it_is, depth.tuned)

# %% tags=["hide-input"]
record_note(records["houses-depth"])

# %% tags=["hide-input"]
table(
    ["layers", *(f"{name}, {kind}" for kind in ("as it is", "tuned") for name in depth.tuned)],
    [
        [
            str(layers),
            *(f"{lines[n][i]:.4f}" for lines in (depth.as_it_is, depth.tuned) for n in lines),
        ]
        for i, layers in enumerate(depth.depths)
    ],
    caption=f"Single networks of {options.DEPTH_EPOCHS} epochs ({search.EPOCHS} elsewhere), mean of {options.SEEDS} "
    "seeds, about equal parameters, the book's folds. Tuned: normalisation and learning rate chosen with one seed on another partition, which need "
    "not help on these folds",
)

# %% tags=["hide-input"]
deepest = depth.depths[-1]
plain_end, dense_end, residual_end = (
    [lines[name][-1] for lines in (depth.as_it_is, depth.tuned)]
    for name in ("plain", "dense", "residual")
)
assert all(
    a < b
    for lines in (depth.as_it_is, depth.tuned)
    for a, b in zip(lines["dense"], lines["residual"])
)
assert min(plain_end) > 1.04 * max(dense_end) and max(residual_end) < min(plain_end)
ahead = [
    b - a
    for lines in (depth.as_it_is, depth.tuned)
    for a, b in zip(lines["dense"], lines["residual"])
]
seeds_differ = study.largest_seed_range(("dense", "residual"))
say(f"""
At two layers the three are close. With depth the plain network falls behind: at {deepest} layers it has
{plain_end[0]:.4f}, {"tuned or not" if f"{plain_end[0]:.4f}" == f"{plain_end[1]:.4f}" else f"tuned {plain_end[1]:.4f}"}. The dense one does not ({dense_end[0]:.4f}, tuned
{dense_end[1]:.4f}), nor, almost, does the residual one ({residual_end[0]:.4f}, tuned {residual_end[1]:.4f}):
both keep a short path from the table to the output. Dense is lower than residual at every depth, by
{min(ahead):.4f} to {max(ahead):.4f}; two seeds of the same network differ by up to {seeds_differ:.4f}. And **depth itself buys nothing** on this table:
a dense network of two layers has {depth.as_it_is["dense"][0]:.4f}. Dense connections make depth harmless, they do not make it useful.
""")

# %% [markdown]
# The growth rate, nothing else changed:

# %% tags=["hide-input"]
growth = list(records["houses-growth"].cases.values())
table(
    ["growth rate", "RMSE of log price, one network", "range over seeds"],
    [
        [
            str(case["growth_rate"]),
            f"{np.mean(case['member_rmse']):.4f}",
            f"{min(case['member_rmse']):.4f} to {max(case['member_rmse']):.4f}",
        ]
        for case in growth
    ],
    caption="Dense MLP, four layers, the book's folds; recorded",
)

# %% tags=["hide-input"]
means = [float(np.mean(case["member_rmse"])) for case in growth]
scatter = max(max(case["member_rmse"]) - min(case["member_rmse"]) for case in growth)
assert max(means) - min(means) < scatter
say(f"""
It hardly matters: the means differ by {max(means) - min(means):.4f}, single seeds by up to {scatter:.4f}. Layers that
add {growth[0]["growth_rate"]} features each are nearly as good as layers that add {growth[-1]["growth_rate"]}: what carries the prediction is the
table itself, which every layer reads.
""")

# %% [markdown]
# ## Against boosted trees

# %% tags=["hide-input"]
say(f"""
Every family may choose among the same features, and each gets {search.RIVAL_BUDGET} trials. For each rival these are its
defaults and {search.RIVAL_BUDGET - 1} random draws. For the networks, {search.TRIALS_BY_HAND} trials by hand went into a recipe, and it and {search.NETWORK_BUDGET - 1} random draws around it are
the rest. The hand had dense connections: plain and residual networks inherit it, which favours the dense one. The scores of those trials
were not kept; they looked at two partitions set aside for choosing.
""")

# %% tags=["hide-input"]
table(
    [
        "model",
        "book's folds",
        "fresh partitions, mean",
        "lowest to highest",
        "minus dense, 95% interval",
    ],
    [
        [
            pictures.NAMES[row.family],
            f"{row.book:.4f}",
            f"{np.mean(row.fresh):.4f}",
            f"{min(row.fresh):.4f} to {max(row.fresh):.4f}",
            "—" if row.family == "dense" else against(row),
        ]
        for row in rows.values()
    ],
    caption=f"Rivals: the best of {search.RIVAL_BUDGET} trials; networks: the best of {search.NETWORK_BUDGET}, around "
    "the recipe; chosen on another partition of the same rows. "
    f"Then {search.SEEDS} seeds averaged where there is chance, on {len(rows['dense'].fresh)} fresh partitions",
)

# %% tags=["hide-input"]
record_note(records["houses-partitions-rivals"])


# %% tags=["hide-input"]
def family(names):
    return ", ".join(pictures.NAMES[name] for name in names) or "none"


better = [n for n, row in rows.items() if row.against_dense.high < 0]
worse = [n for n, row in rows.items() if row.against_dense.low > 0]
even = [n for n in rows if n not in (*better, *worse, "dense")]
assert not better and tree in even and "residual" in worse
say(f"""
On fresh partitions the lowest mean is that of {pictures.NAMES[min(fresh, key=fresh.get)]}. (The partitions are fresh, the rows are
those for which features and recipes were made.) The intervals draw the houses anew and leave the trained models as they are,
one comparison at a time; training anew would widen them. {"No model is" if not better else family(better) + ": "} clearly better than the dense
MLP (interval below zero). Clearly worse (above zero): {family(worse)}. For {family(even)} the interval includes zero. **A dense MLP is
as good as the best boosted trees on this table**, no better and no worse. One partition differs from the next by more than most
models differ: compare the column "lowest to highest".
""")

# %% [markdown]
# ## The test rows, once

# %% tags=["hide-input"]
say(f"""
After all choices were made, every family's chosen model was trained on all {count(len(train))} rows and scored on the
{count(len(test))} test rows by one command, `densenet-solutions record houses-final`.
""")

# %% tags=["hide-input"]
final = study.scores_on_the_test_rows()
table(
    ["model", "test rows", "minus dense, 95% interval"],
    [
        [
            pictures.NAMES[row.family],
            f"{row.rmse:.4f}",
            "—"
            if row.family == "dense"
            else f"{signed(row.against_dense.difference)} "
            f"{interval(row.against_dense.low, row.against_dense.high, 4)}",
        ]
        for row in final
    ],
    caption="RMSE of log price on the test rows: the competition's metric",
)

# %% tags=["hide-input"]
record_note(records["houses-final"])

# %% tags=["hide-input"]
places = [row.family for row in final]
by_name = {row.family: row for row in final}
worse_on_test = [row.family for row in final if row.against_dense.low > 0]
say(f"""
The dense MLP scores {by_name["dense"].rmse:.4f}, place {places.index("dense") + 1} of {len(places)}; the interval lies
above zero for {family(worse_on_test)}. The plain MLP has {by_name["plain"].rmse:.4f}: on these rows dense connections
bring nothing that can be seen. {pictures.NAMES[tree]} comes to {by_name[tree].rmse:.4f}, and its interval
includes zero here too. Two cautions. Earlier experiments, whose recipes and scores on these very rows we knew when we
began, had tried out features and networks like ours, so all test scores are mildly optimistic. And a handful of houses decides them, as
the next section shows, so we claim no place on the leaderboard.
""")

# %% [markdown]
# ## The houses it gets most wrong

# %% tags=["hide-input"]
errors = dense.errors
worst = np.argsort(-np.abs(errors))[:6]
pictures.residual_figure(
    train["SalePrice"].to_numpy(),
    errors,
    train["Id"].tolist(),
    (*train["Id"].iloc[worst].tolist(), 524, 1299),
)

# %% tags=["hide-input"]
table(
    ["Id", "neighbourhood", "quality", "sale", "sold for", "predicted over true"],
    [
        [
            str(train["Id"].iloc[i]),
            train["Neighborhood"].iloc[i],
            int(train["OverallQual"].iloc[i]),
            train["SaleCondition"].iloc[i],
            f"${count(int(train['SalePrice'].iloc[i]))}",
            f"{np.exp(errors[i]):.2f}×",
        ]
        for i in worst
    ],
    caption="The six largest errors in cross-validation",
)

# %% tags=["hide-input"]
odd = int((train["SaleCondition"].iloc[worst] != "Normal").sum())
assert (errors[worst] > 0).sum() >= 5
say(f"""
Almost all of the largest errors are houses that were sold for less than they seem worth. {odd} of these six were
no ordinary sales: *Abnorml* is a foreclosure or a short sale, *Family* a sale between relatives, *Partial* a house that was
not finished. What is missing in the data cannot be learned.

Two houses are famous for it, Ids 524 and 1299, and a third of their kind, Id 2550, hides among the test rows:
""")

# %% tags=["hide-input"]
giants = study.unfinished_giants()
on_test = study.dense_test_errors()
log_error = dict(zip(train["Id"].tolist(), errors.tolist(), strict=True)) | on_test
linear_error = dict(zip(train["Id"].tolist(), ridge_book.errors, strict=True))
assert {524, 1299, 2550} <= set(giants["Id"])


def over_true(error):
    return "—" if error is None else f"{np.exp(error):.2f}×"


table(
    ["Id", "living area", "quality", "sold for", "ridge, the book's features", "dense MLP"],
    [
        [
            str(g.Id),
            g.GrLivArea,
            g.OverallQual,
            "a test row" if np.isnan(g.SalePrice) else f"${count(int(g.SalePrice))}",
            over_true(linear_error.get(g.Id)),
            over_true(log_error[g.Id]),
        ]
        for g in giants.itertuples()
    ],
    caption="Houses above 4500 square feet that were sold unfinished; predicted over true price",
)

# %% tags=["hide-input"]
pair = [523, 1298]
share = float((errors[pair] ** 2).sum() / (errors**2).sum())
squared = np.square(ridge_book.errors)
share_linear = float(squared[pair].sum() / squared.sum())
squared = np.square(ridge.errors)
share_ridge = float(squared[pair].sum() / squared.sum())
worst_test = sorted(on_test, key=lambda house: -abs(on_test[house]))[:2]
share_test = sum(on_test[i] ** 2 for i in worst_test) / sum(e**2 for e in on_test.values())
assert share < share_ridge < share_linear / 3
say(f"""
They are huge, of the best quality, and cheap, because they were sold unfinished. In the linear model on the book's
features these two of {count(len(train))} houses carry {100 * share_linear:.0f}% of the squared error. Our features alone take
that down to {100 * share_ridge:.0f}%, in a ridge regression, and here it is {100 * share:.0f}%. They are never dropped from a
scored fold. Two of our columns were made with unfinished houses in mind, which may flatter the test score: a
house of this kind is there too. On the test rows, Ids {worst_test[0]} and {worst_test[1]} alone carry {100 * share_test:.0f}% of
the squared error.
""")

# %% [markdown]
# ## What people say, checked

# %% tags=["hide-input"]
four = depth.depths.index(4)
at_four = depth.as_it_is["plain"][four] - depth.as_it_is["dense"][four]
assert 0 < at_four < steps[names[1]] - steps[names[2]] < plain_end[0] - dense_end[0]
claims(
    [
        (
            "A dense MLP beats the book's linear baseline.",
            "holds",
            f"{dense.rmse:.4f} against {book.rmse:.3f}. So does the mean, {mean.rmse:.3f}: the "
            "baseline at its own settings is no yardstick.",
        ),
        (
            "The gain comes from the dense connections.",
            "does not hold",
            f"From the book's {book.rmse:.3f} to {ridge.rmse:.4f} nothing but features and an exact solution was "
            f"needed. At four layers more dropout brings {steps[names[1]] - steps[names[2]]:.4f}, dense connections "
            f"in place of plain ones {at_four:.4f}; only with depth do connections bring more "
            f"({plain_end[0] - dense_end[0]:.4f} at {deepest} layers). Minus dense, plain networks have "
            f"{against(rows['plain'])} and residual ones {against(rows['residual'])} over fresh partitions, and {signed(by_name['plain'].against_dense.difference)} and "
            f"{signed(by_name['residual'].against_dense.difference)} on the test rows.",
        ),
        (
            "Dense connections make a deep MLP trainable.",
            "holds with a condition",
            f"At {deepest} layers the plain network has {plain_end[0]:.4f} and the dense one {dense_end[0]:.4f}. But "
            f"shortcuts do it too ({residual_end[0]:.4f}), and on this table two layers are enough.",
        ),
        (
            "Boosted trees beat neural networks on tables like this one.",
            "not decidable here",
            f"{pictures.NAMES[tree]} minus dense is {against(rows[tree])} in cross-validation, and "
            f"{signed(by_name[tree].against_dense.difference)} "
            f"{interval(by_name[tree].against_dense.low, by_name[tree].against_dense.high, 4)} on the test rows.",
        ),
        (
            "Outliers should be dropped before scoring.",
            "does not hold",
            f"Leaving Ids 524 and 1299 out of the score would flatter the linear model by "
            f"{100 * share_linear:.0f}% of its squared error, and the test rows have a house of the same kind.",
        ),
        (
            "A place on the leaderboard tells how good a model is.",
            "does not hold",
            f"Two test rows make {100 * share_test:.0f}% of the squared error, and the prices of all test rows are "
            "public (they are part of the Ames data). So no percentile is claimed on this page.",
        ),
    ]
)

# %% [markdown]
# ## Use it
#
# ```bash
# densenet-solutions houses cv                        # cross-validate on the book's folds
# densenet-solutions houses submit --out submission.csv
# densenet-solutions houses score submission.csv      # the competition's metric, offline
# ```
#
# The competition's two files are rebuilt offline, byte for byte, from the Ames data; their SHA-1 is
# what the book expects. So the prices of the test rows are known, and a submission can be scored
# without an account. Never send predictions made from them to the competition.
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), equation 2.
# - He, Zhang, Ren, Sun, *Deep Residual Learning*, [arXiv:1512.03385](https://arxiv.org/abs/1512.03385),
#   equation 1.
# - Holzmüller, Grinsztajn, Steinwart, *Better by Default*,
#   [arXiv:2407.04491](https://arxiv.org/abs/2407.04491): smooth clipping.
# - Gorishniy, Rubachev, Babenko, *On Embeddings for Numerical Features in Tabular Deep Learning*,
#   [arXiv:2203.05556](https://arxiv.org/abs/2203.05556), equation 1: piecewise-linear bins.
# - De Cock, *Ames, Iowa: Alternative to the Boston Housing Data*, Journal of Statistics Education
#   19(3), 2011.
#
# ## How these numbers were made

# %% tags=["hide-input"]
how_made(*records.values())
