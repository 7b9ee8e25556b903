"""Recipe `gpu-published`: simulated reserved bytes against other people's measurements on a GPU.

The measurements are those of GPUMemNet (Yousefzadeh-Asl-Miandoab et al., arXiv:2602.17817, the file
`fake_tensor.xlsx` of github.com/itu-rad/GPUMemNet): peak of `nvidia-smi` while networks of timm
train on a card of 40 GB, batches of 8 to 128. Optimizer and precision are not stated; SGD with
momentum and float32 are assumed here.

The protocol. Its second version was fixed before any of the judged networks was predicted with it,
but it is not blind: an unrecorded trial of its predecessor, on 573 networks of the same file, had
given a median error of 2.6%.

1. *Which rows.* A network takes part if it has all five batches, its memory grows from each to the
   next (a run that failed does not), and its largest value is below 38,000 MiB (above, the
   allocator may have had to give memory back); if timm builds it, for at most 288 × 288 pixels.
2. *Which of them.* Those of the given file are sorted by the SHA-256 of their name, and the first
   320 are taken. Networks that cannot be predicted are left out, and named.
3. *What was seen.* The first 160 had been predicted before, and judged the simulation without
   workspace. From what was missing there, and in the training steps above 1 GiB of `memory-grid`
   (those in float32: these words were added after the predictions), the size of a convolution's
   workspace was inferred (`measure/cuda_kernels.py`). Some 25 sizes were tried: input, output,
   both, half, twice, with or without weights, 1×1 convolutions and groups, forward or backward,
   and unfolded columns. The one taken had the smallest ninth decile on our own GPUs.
4. *One constant* stands for the CUDA context and all else that a machine takes. It is the median
   difference over all batches of the first 40. Judged are the 160 that were never seen.
5. *What is reported.* Median and ninth decile of the relative error over the judged networks and
   batches, of four estimates with a constant of their own each: reserved bytes, those without
   workspace, allocated bytes, tensors.
"""

from __future__ import annotations

import csv
import hashlib
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from densenet_solutions.measure.cuda_cache import CudaCache
from densenet_solutions.measure.step import Step
from densenet_solutions.measure.tracker import Operation, Trace
from densenet_solutions.records.recorder import Recipe

BATCHES = (8, 16, 32, 64, 128)
TAKEN, SEEN, FITTED = 320, 160, 40
MIB = 2**20
#: Names of the networks that the protocol takes, in its order.
NAMES = Path(__file__).with_name("published.txt")
#: Where the file with columns `model, batch, nvidia_smi_mib` is; only recording needs it.
FILE_VARIABLE = "DENSENET_SOLUTIONS_GPU_TRAINING_MEMORY"


@dataclass(frozen=True, kw_only=True)
class PublishedMemory:
    """One network's training step, published and predicted, by `BATCHES`; bytes.

    `published_mib` is what `nvidia-smi` said. `without_workspace` is what would be reserved if no
    kernel took any. `refused` says why there is no prediction.
    """

    published_mib: tuple[int, ...]
    tensors: tuple[int, ...] = ()
    allocated: tuple[int, ...] = ()
    reserved: tuple[int, ...] = ()
    without_workspace: tuple[int, ...] = ()
    refused: str | None = None


def published_rows(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Name → MiB by `BATCHES`, of the networks that the first rule of the protocol takes.

    Raises:
        ValueError: the file has other columns.
    """
    found: dict[str, dict[int, int]] = defaultdict(dict)
    with Path(path).open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames != ["model", "batch", "nvidia_smi_mib"]:
            raise ValueError(
                f"columns are model, batch, nvidia_smi_mib, got {reader.fieldnames} in {path}"
            )
        for row in reader:
            found[row["model"]][int(row["batch"])] = int(row["nvidia_smi_mib"])
    return {
        name: tuple(values[batch] for batch in BATCHES)
        for name, values in found.items()
        if set(values) == set(BATCHES)
        and all(values[a] < values[b] for a, b in pairwise(BATCHES))
        and values[BATCHES[-1]] < 38_000
    }


def taken(names: Sequence[str], resolution: Callable[[str], int | None]) -> list[str]:
    """The networks that the protocol takes: at most 288 pixels (`None`: unknown), by their hash."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    sizes = ((name, resolution(name)) for name in ordered)
    return [name for name, size in sizes if size is not None and size <= 288][:TAKEN]


def timm_resolution(name: str) -> int | None:
    """Larger side of the images that a network of timm is for."""
    import timm

    if not timm.is_model(name) or (config := timm.get_pretrained_cfg(name)) is None:
        return None
    return max(config.input_size[1:])


def scaled(small: Trace, large: Trace, factor: int) -> Trace:
    """The trace of another batch: every size grows linearly, from `small` over `large`.

    `factor` is (batch − batch of small) / (batch of large − batch of small).

    Raises:
        ValueError: the two steps differ in more than in sizes.
    """

    def shape(trace: Trace) -> object:
        return len(trace.resident), [
            ([number for number, _ in step.births], step.deaths) for step in trace.operations
        ]

    if shape(small) != shape(large):
        raise ValueError("the step does other operations with a larger batch")

    def size(a: int, b: int) -> int:
        return a + (b - a) * factor

    operations = []
    for step, larger in zip(small.operations, large.operations, strict=True):
        pairs = zip(step.births, larger.births, strict=True)
        births = tuple((number, size(a, b)) for (number, a), (_, b) in pairs)
        operations.append(Operation(births, step.deaths, size(step.workspace, larger.workspace)))
    resident = tuple(map(size, small.resident, large.resident))
    return Trace(resident, tuple(operations))


def without_workspace(trace: Trace) -> Trace:
    """The trace, if no kernel took room while it runs."""
    return Trace(trace.resident, tuple(step._replace(workspace=0) for step in trace.operations))


def tensors_at_peak(trace: Trace) -> int:
    """Most bytes that are alive at once."""
    sizes: dict[int, int] = {}
    now = peak = sum(trace.resident)
    for births, deaths, _ in trace.operations:
        now -= sum(sizes.pop(number) for number in deaths)
        sizes.update(births)
        now += sum(size for _, size in births)
        peak = max(peak, now)
    return peak


def published_memory(name: str, device: str) -> PublishedMemory:
    """Predict a network of timm at all batches; two are run, the others follow from their sizes.

    Raises:
        ValueError: the file with the measurements is not said.
    """
    import timm

    path = os.environ.get(FILE_VARIABLE)
    if path is None:
        raise ValueError(f"{FILE_VARIABLE} is the path of the published measurements, got None")
    published = published_rows(path)[name]
    config = timm.get_pretrained_cfg(name)
    assert config is not None, "the protocol takes networks of known resolution"
    shape = config.input_size

    def trace(batch: int) -> Trace:
        step = Step(lambda: timm.create_model(name), (batch, *shape), optimizer="sgd_momentum")
        return step.trace()

    try:
        small, large = trace(BATCHES[0]), trace(BATCHES[1])
        traces = [scaled(small, large, (n - BATCHES[0]) // BATCHES[0]) for n in BATCHES]
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return PublishedMemory(published_mib=published, refused=reason)
    uses = [CudaCache().play(trace) for trace in traces]
    bare = [CudaCache().play(without_workspace(trace)) for trace in traces]
    return PublishedMemory(
        published_mib=published,
        tensors=tuple(map(tensors_at_peak, traces)),
        allocated=tuple(use.allocated_bytes for use in uses),
        reserved=tuple(use.reserved_bytes for use in uses),
        without_workspace=tuple(use.reserved_bytes for use in bare),
    )


def recipe() -> Recipe:
    """The recording `gpu-published`."""
    names = NAMES.read_text(encoding="utf-8").split()
    return Recipe(
        name="gpu-published",
        cases={name: name for name in names},
        measure=published_memory,
        needs=lambda name: ("timm",),
    )


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well an estimate with one constant meets what was published; errors are shares.

    `by_batch` has the median error of each of `BATCHES`.
    """

    constant_mib: float
    fitted: int
    judged: int
    median_error: float
    ninth_decile: float
    by_batch: tuple[float, ...]


def agreement(cases: Mapping[str, PublishedMemory], estimate: str) -> Agreement:
    """Fit the constant on the first networks, and judge those that were never seen.

    Args:
        cases: in the protocol's order; those without a prediction are passed over.
        estimate: `"reserved"`, `"without_workspace"`, `"allocated"` or `"tensors"`.
    """
    constant, fitted, judged = _split(cases, estimate)
    errors = [[abs(size + constant - real) / real for real, size in row] for row in judged]
    every = sorted(error for row in errors for error in row)
    return Agreement(
        constant_mib=constant,
        fitted=fitted,
        judged=len(errors),
        median_error=statistics.median(every),
        ninth_decile=statistics.quantiles(every, n=10, method="inclusive")[8],
        by_batch=tuple(statistics.median(column) for column in zip(*errors, strict=True)),
    )


def errors_without_the_constant(cases: Mapping[str, PublishedMemory]) -> tuple[float, float]:
    """Median errors of `"reserved"` as shares of what was published less the constant.

    The first is over all judged, the second over their smallest batch.
    """
    constant, _, judged = _split(cases, "reserved")
    errors = [
        [abs(size + constant - real) / (real - constant) for real, size in row] for row in judged
    ]
    smallest = statistics.median(row[0] for row in errors)
    return statistics.median(error for row in errors for error in row), smallest


def _split(
    cases: Mapping[str, PublishedMemory], estimate: str
) -> tuple[float, int, list[list[tuple[int, float]]]]:
    """The constant in MiB, the number of networks that it is fitted on, and what is judged.

    A judged network is a row of pairs, a pair a batch: published and estimated MiB.
    """

    def pairs(some: list[PublishedMemory]) -> list[list[tuple[int, float]]]:
        return [
            [
                (real, size / MIB)
                for real, size in zip(case.published_mib, getattr(case, estimate), strict=True)
            ]
            for case in some
            if case.refused is None
        ]

    every_case = list(cases.values())
    fitted = pairs(every_case[:FITTED])
    constant = statistics.median(real - size for row in fitted for real, size in row)
    return constant, len(fitted), pairs(every_case[SEEN:])
