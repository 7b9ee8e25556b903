# %% [markdown]
# # DenseNet, answered
#
# *Dive into Deep Learning* ends its [section on
# DenseNet](https://d2l.ai/chapter_convolutional-modern/densenet.html) with five questions, one of
# them in two parts. These are answers that run: every number below was computed when this page was
# built, or recorded on hardware that its page names. New to the network? [Start
# here](network.py).

# %% tags=["hide-input"]
from densenet_solutions.measure import count_flops, count_parameters
from densenet_solutions.memory.pool_first import PoolsFirst
from densenet_solutions.models import TABLE_1, DenseNetConfig, book_densenet
from densenet_solutions.models.densenet import Transition
from densenet_solutions.records import load_record
from densenet_solutions.exercises.saving_memory import pictures
from densenet_solutions.exercises.houses import pictures as house_pictures
from densenet_solutions.site.numbers import count, interval, mib, times
from densenet_solutions.site.page import answers, how_made
from densenet_solutions.exercises.table_1 import study as architecture
from densenet_solutions.exercises.houses import study as houses
from densenet_solutions.exercises.memory import study as memory
from densenet_solutions.exercises.parameters import study as parameters
from densenet_solutions.exercises.pooling import study as pooling
from densenet_solutions.exercises.saving_memory import study as saving_memory

features = (1, 256, 56, 56)  # what the first transition of DenseNet-121 reads
work = count_flops(Transition(256, 128, DenseNetConfig()), features).multiply_adds
pooled_first = count_flops(PoolsFirst(256, 128, DenseNetConfig()), features).multiply_adds
_, accuracy = pooling.differences("pooling-training-reduced", "max", "average")

by_stage = parameters.parameters_by_stage()
dense, resnet = (sum(by_stage[name].values()) for name in ("DenseNet", "ResNet-18"))
training_record = load_record("pooling-training-reduced")
published = parameters.published_models()
equal = [row.parameter_ratio for row in parameters.at_equal_accuracy(published)]

steps = memory.book_steps(128, 224)
more_memory = steps["DenseNet"].peak_bytes / steps["ResNet-18"].peak_bytes

timeline_record = load_record("step-timelines")
shared_line = saving_memory.timelines(timeline_record)["shared_storage"]
plain_line = saving_memory.plain_timeline()
shared, plain = shared_line.peak, plain_line.peak

rows = {
    row.name: count_parameters(architecture.on_meta(row.config)).total for row in TABLE_1.values()
}
house_mlp, depths = houses.dense_on_the_books_folds(), houses.depths()
standing = {row.family: row for row in houses.standings()}
tree = min(houses.TREES, key=lambda name: sum(standing[name].fresh))
dense_row = standing["dense"]
trees = standing[tree].against_dense  # error of the best boosted trees minus ours
dense_16, plain_16 = (depths.as_it_is[name][-1] for name in ("dense", "plain"))

assert 4 * pooled_first == work and accuracy.low > 0
assert dense == count_parameters(book_densenet()).total < resnet / 14
assert min(equal) > 1 and more_memory > 1 and plain > 6 * shared
assert plain_16 > 1.1 * dense_16 and trees.low < 0 < trees.high
assert all(rows[name] == row.parameters for name, row in TABLE_1.items())

# %% tags=["hide-input"]
answers(
    [
        (
            "1 · Why average pooling?",
            "exercises/1-average-pooling.py",
            "¼ of a transition's work",
            f"""Averaging is linear, so a transition may pool *before* it convolves and give the
            same result; the paper itself gives no reason. Better accuracy is not one that we could find: in
            a small training, maximum pooling was ahead by {100 * accuracy.mean:.2f} percentage points, 95%
            interval {interval(100 * accuracy.low, 100 * accuracy.high, 2)}.""",
        ),
        (
            "2 · Why fewer parameters?",
            "exercises/2-fewer-parameters.py",
            f"{times(resnet / dense, 1)} fewer",
            f"""A layer writes only its growth rate: {count(dense)} parameters in the book's DenseNet,
            {count(resnet)} in its ResNet-18. At equal published accuracy on ImageNet the factor is
            {times(min(equal))} to {times(max(equal))}.""",
        ),
        (
            "3.1 · Is the memory really high?",
            "exercises/3-1-memory.py",
            f"{times(more_memory, 2)} ResNet-18's",
            f"""In training on large batches, yes: {mib(steps["DenseNet"].peak_bytes, 0)} against
            {mib(steps["ResNet-18"].peak_bytes, 0)}, predicted, for 128 images of 224×224, although the model itself
            is the smaller one.""",
        ),
        (
            "3.2 · How else can memory be saved?",
            "exercises/3-2-saving-memory.py",
            f"{times(plain / shared, 1)} less",
            f"""Most of it is repetition. With one buffer for all features of a block, a training step of
            DenseNet-121 needs {mib(shared, 0)} beyond the model instead of {mib(plain, 0)}, and the
            gradients stay the same up to rounding.""",
        ),
        (
            "4 · Every network of Table 1",
            "exercises/4-table-1.py",
            f"{len(rows)} networks",
            f"""From {count(min(rows.values()))} to {count(max(rows.values()))} parameters, from one
            class, DenseNet-161 of the table's earlier versions included. The counts are recomputed by a
            formula, and the weights of all but DenseNet-264, which torchvision lacks, move to torchvision
            and back.""",
        ),
        (
            "5 · A dense MLP for house prices",
            "exercises/5-house-prices.py",
            f"{sum(dense_row.fresh) / len(dense_row.fresh):.3f} in log price",
            f"""Root mean squared error in cross-validation over fresh partitions ({house_mlp.rmse:.3f} on the book's
            folds), no worse and no better than the best boosted trees ({house_pictures.NAMES[tree]} minus ours: 95% interval
            {interval(trees.low, trees.high, 4)}). At
            {depths.depths[-1]} layers a plain MLP of the same size has {plain_16:.3f}, a dense one
            {dense_16:.3f}. But most of the gain over the book comes from features.""",
        ),
    ]
)

# %% [markdown]
# ## One training step, twice
#
# The memory of one training step of DenseNet-121 on 8 images of 224×224, from its first operation to
# its last: the plain implementation, predicted from the shapes of its tensors, and one that keeps every
# feature once, measured on a CPU ([how numbers are made](about/how-it-is-made.md)).

# %% tags=["hide-input"]
pictures.two_timelines(plain_line, shared_line)

# %% [markdown]
# ## Three ways to use this site
#
# **Read** the exercises in any order; each stands by itself, with hints to try first.
# **Play** with network, batch, resolution and ways to save memory in the [explorer](explorer.md).
# **Import** the code behind the pages: it is a package with a [reference](reference/index.md).
#
# ## How these numbers were made

# %% tags=["hide-input"]
how_made(
    training_record,
    timeline_record,
    *(load_record(f"houses-{name}") for name in ("partitions", "partitions-rivals", "depth")),
)
