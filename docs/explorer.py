# %% [markdown]
# # Explorer { #memory-explorer }
#
# How much memory does a step of a DenseNet take, and on which GPU does it fit? Choose; the address
# keeps your choice. The ways to save memory are explained in [exercise
# 3.2](exercises/3-2-saving-memory.py).

# %%
from densenet_solutions.exercises.explorer.pictures import (
    HEADROOM_BYTES,
    HEADROOM_SHARE,
    explorer,
    largest_error,
    static_table,
)
from densenet_solutions.exercises.explorer.study import ExplorerCase
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json
from densenet_solutions.site.numbers import gib, percent

record = load_record("explorer-grid")
slices = load_record("explorer-shared-storage")  # those of a GPU; the first record has a CPU's
recorded = {
    **{name: case for name, case in record.cases.items() if "shared_storage" not in name},
    **slices.cases,
}
cases = {name: from_json(ExplorerCase, case) for name, case in recorded.items()}
first = next(iter(cases.values()))
predicted = [f"{point.batch} images of {point.resolution}²" for point in first.line]
checked = [f"{point.batch} of {point.resolution}²" for point in first.checks]
error = percent(largest_error(cases), 2)

# %% [markdown]
# The peak is what tensors hold, predicted; training steps on an H100 agreed ([exercise
# 3.1](exercises/3-1-memory.py#what-a-gpu-shows)). A GPU needs more: a CUDA context, workspace for libraries, and what PyTorch's allocator reserves without being able
# to use it. So a card is called tight if it
# has less to spare than {{ gib(HEADROOM_BYTES, 0) }} and {{ percent(HEADROOM_SHARE, 0) }} of the
# peak. Its size is the one that PyTorch reports on it, which is less than the one on the box.
#
# {{ explorer(cases) }}
#
# ## The same as a table
#
# {{ static_table(cases) }}
#
# ## How these numbers were made
#
# Every case was predicted by `predict_memory`, without a GPU, at two sizes
# ({{ " and ".join(predicted) }}). Between and beyond them each category is taken as a straight line
# in the number of pixels of the batch, for sides that are multiples of 32. Against predictions off
# the line ({{ " and ".join(checked) }}) the error is at most {{ error }}. For a few small images,
# where gradients decide, it can be a fifth of the peak: predict those with `predict_memory`. Adam
# is taken to update one parameter after the other; on a GPU PyTorch updates all at once, which
# takes more where parameters outweigh activations. Shared storage works in the slices that it
# takes on a GPU; under autocast it is not in here yet. *bfloat16 throughout* means parameters and
# all, and takes half of float32. *bfloat16 autocast* keeps the parameters in float32 and was
# predicted as a CPU's autocast decides; a GPU's has a list of operations of its own. Where layers or
# blocks are recomputed, the scratch space of kernels comes on top; [the
# bench](exercises/3-2c-bench.py) says how much that was on a CPU.
#
# - `{{ record.name }}`: {{ record.origin }}. Made by `{{ record.command }}`.
# - `{{ slices.name }}`: {{ slices.origin }}. Made by `{{ slices.command }}`.
