"""What a measurement returns: frozen dataclasses and their JSON. Standard library only.

Bytes are `int`; turning them into MiB is the business of `densenet_solutions.render`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Provenance:
    """Where a number comes from: enough to make it again.

    `packages` maps distribution names to versions; `date` is ISO 8601 in UTC.
    """

    package: str
    python: str
    packages: Mapping[str, str]
    device: str
    platform: str
    date: str
    driver: str | None = None

    @property
    def machine(self) -> str:
        """The device, as a page writes it."""
        return self.device.replace(", 1 threads", ", 1 thread")


@dataclass(frozen=True)
class ParameterCount:
    """Learnable numbers of a model, split in two independent ways.

    `by_stage` follows the order of the forward pass (`"conv0"`, `"norm0"`, `"denseblock1"`, ...);
    `by_kind` says what sort of layer owns them (`"conv1x1"`, `"conv3x3"`, `"norm"`, ...).
    Each of the two sums to `total`. A parameter shared by two modules is counted once.
    """

    total: int
    by_stage: Mapping[str, int]
    by_kind: Mapping[str, int]


@dataclass(frozen=True)
class FlopCount:
    """Work of one forward pass, in multiply-adds: one multiplication and one addition are **one**.

    This is the convention of the DenseNet paper and of torchvision's metadata; twice the number
    is the count in floating-point operations. Convolutions and matrix products count, nothing
    else does.
    """

    multiply_adds: int
    by_stage: Mapping[str, int]
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class RatioOfTimes:
    """How much longer one function takes than another, timed in turn over `rounds` rounds.

    `median`, `low` and `high` are of the round-by-round ratio (95% bootstrap interval of the
    median); `seconds` is the first function's median time.
    """

    median: float
    low: float
    high: float
    rounds: int
    seconds: float


def to_json(value: Any) -> Any:
    """Turn a result (or any nesting of results, mappings and sequences) into plain JSON data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"results hold numbers, text, sequences and mappings, got {type(value)!r}")


def from_json(kind: type[T], data: Any) -> T:
    """Rebuild a result of type `kind` from what `to_json` made of it.

    Raises:
        ValueError: a field is missing or unknown.
    """
    return typing.cast(T, _build(kind, data, kind.__name__))


def _build(kind: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _build(next(arg for arg in args if arg is not type(None)), data, where)
    if dataclasses.is_dataclass(kind):
        fields = {f.name: f for f in dataclasses.fields(kind)}
        unknown = set(data) - set(fields)
        missing = {
            name
            for name, f in fields.items()
            if f.default is f.default_factory is dataclasses.MISSING and name not in data
        }
        if unknown or missing:
            raise ValueError(
                f"{where} has the fields {sorted(fields)}; "
                f"got unknown {sorted(unknown)}, missing {sorted(missing)}"
            )
        hints = typing.get_type_hints(kind)
        make = typing.cast(Callable[..., Any], kind)
        return make(**{name: _build(hints[name], data[name], f"{where}.{name}") for name in data})
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_build(args[0], item, where) for item in data)
        return tuple(_build(arg, item, where) for arg, item in zip(args, data, strict=True))
    if origin is list:
        return [_build(args[0], item, where) for item in data]
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _build(args[1], item, where) for key, item in data.items()}
    if kind is float and isinstance(data, int):
        return float(data)
    return data


def write_text_atomically(path: str | Path, text: str) -> Path:
    """Write `text` to `path` so that an interruption leaves the old file or the new, never half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; others may read what they could read before.
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def dumps(value: Any) -> str:
    """JSON text of a result, stable in order and ending in a newline."""
    return json.dumps(to_json(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a classifier is trained. The defaults are the book's (section 8.7.4).

    `batch_size` counts the images of one step over all processes; an incomplete last batch is
    left out. `side` is the height and width, in pixels, to which images are resized. The schedule
    `"cosine"` takes the learning rate to zero over the whole training.

    Raises:
        ValueError: a setting is impossible.
    """

    epochs: int = 10
    batch_size: int = 128
    side: int = 96
    optimizer: typing.Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: typing.Literal["constant", "cosine"] = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)!r}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is positive, got {self.learning_rate!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum lies in [0, 1), got {self.momentum!r}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay is not negative, got {self.weight_decay!r}")
        for name, known in (("optimizer", ("sgd", "adam")), ("schedule", ("constant", "cosine"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {known}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over the training images; losses are mean cross-entropies in nats.

    `train_loss` and `train_accuracy` are running means over the epoch, while the weights change;
    the test figures belong to its end. `seconds` is the time of the training pass alone.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to. `precision` is `"float32"` or `"bfloat16"` (autocast)."""

    model: str
    parameters: int
    settings: TrainingSettings
    train_images: int
    test_images: int
    device: str
    precision: str
    processes: int
    epochs: tuple[EpochMetrics, ...]

    @property
    def test_accuracy(self) -> float:
        """Share of the test images that the final weights classify correctly."""
        return typing.cast(float, self.epochs[-1].test_accuracy)


@dataclass(frozen=True)
class BlockReuse:
    """How strongly the convolutions of one dense block read what was computed before.

    `weights[s][r]` is the mean absolute weight that reader `r` puts on source `s`, `None` where
    the source comes after the reader. The first source is the block's input, the last reader is
    what follows the block: a transition or the classifier.
    """

    block: str
    sources: tuple[str, ...]
    readers: tuple[str, ...]
    weights: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class FeatureReuse:
    """`BlockReuse` of every block of a trained network, and of the same network untrained."""

    network: str
    training: TrainingResult
    trained: tuple[BlockReuse, ...]
    untrained: tuple[BlockReuse, ...]


#: What a byte of memory is there for; see `MemoryResult`.
MEMORY_CATEGORIES = (
    "parameters",
    "buffers",
    "input",
    "optimizer",
    "gradients",
    "activations",
    "temporaries",
    "workspace",
)


@dataclass(frozen=True, slots=True)
class MemoryPoint:
    """Live bytes right after one operation of a step.

    `phase` is `"forward"`, `"backward"` or `"optimizer"`; `module` is the path of the module that
    was running (in the backward pass: whose gradient was), `""` outside of any. `by_category` has
    one entry for each of `MEMORY_CATEGORIES`, in that order.
    """

    bytes: int
    phase: str
    module: str
    by_category: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MemoryResult:
    """Memory of one training step or one inference, in bytes.

    `peak_bytes` counts every live storage once: the model, its input and all that the step makes.
    `bytes_by_category` splits the peak and sums to it:

    - `parameters`, `buffers`: the model's; `input`: the input and its targets;
    - `optimizer`: state that the optimizer keeps from step to step;
    - `gradients`: the `.grad` of parameters;
    - `activations`: made by the forward pass and still there in the backward pass;
    - `temporaries`: all else that an operation returned, recomputed activations among them;
    - `workspace`: what the allocator handed out beyond that, inside of operations: scratch space
      of kernels and, on CUDA, rounding. A prediction knows none of it.

    `method` is `"predicted"`, `"cpu-allocator"` or `"cuda-allocator"`. `peak_resident_bytes` is the
    process's peak resident memory during the step (Linux), which includes the interpreter, the
    libraries and their own scratch space. On CUDA, `reserved_bytes` is what the caching allocator
    held at its peak and `context_bytes` what the device lost besides. With `out_of_memory` the
    step was cut short and `peak_bytes` is only a lower bound.
    """

    peak_bytes: int
    bytes_by_category: Mapping[str, int]
    timeline: tuple[MemoryPoint, ...]
    method: str
    device: str
    dtype: str
    autocast: str | None
    input_shape: tuple[int, ...]
    train: bool
    optimizer: str | None
    packages: Mapping[str, str]
    peak_resident_bytes: int | None = None
    reserved_bytes: int | None = None
    context_bytes: int | None = None
    out_of_memory: bool = False

    @property
    def peak_beyond_parameters(self) -> int:
        """The peak without parameters, buffers and input: what the step itself needs."""
        resident = ("parameters", "buffers", "input")
        return self.peak_bytes - sum(self.bytes_by_category[name] for name in resident)


@dataclass(frozen=True)
class StrategyAccuracy:
    """Test accuracy of one network under a memory strategy, at one seed.

    `accuracy_at_change` is the accuracy right after a trained network was changed, before it was
    trained on; `None` where the strategy holds from the first step.
    """

    strategy: str
    seed: int
    accuracy: float
    accuracy_at_change: float | None = None


@dataclass(frozen=True)
class AccuracyChange:
    """What a strategy does to accuracy: mean over seeds, paired with the plain network.

    `difference` has the 95% interval `± half_width`; `None` where the seeds are fewer than three.
    """

    strategy: str
    seeds: int
    accuracy: float
    difference: float
    half_width: float | None
    accuracy_at_change: float | None = None


@dataclass(frozen=True)
class Commutation:
    """How far `pool(conv(x))` and `conv(pool(x))` are apart, in float64."""

    pooling: str
    largest_difference: float
    largest_value: float


@dataclass(frozen=True)
class PoolFirstSaving:
    """A network whose transitions pool after (`plain`) or before (`pool_first`) they convolve.

    Bytes and multiply-adds are pairs `(plain, pool first)`. `kept_bytes` holds, for each
    transition, what autograd keeps for the backward pass, every storage once.
    """

    transition_multiply_adds: tuple[int, int]
    multiply_adds: tuple[int, int]
    kept_bytes: Mapping[str, tuple[int, int]]
    peak_beyond_parameters: tuple[int, int]
    largest_difference: float
    largest_logit: float


@dataclass(frozen=True)
class Moments:
    """Mean, variance and skewness of pooled values whose inputs have mean 0 and variance 1."""

    pooling: str
    mean: float
    variance: float
    skewness: float


@dataclass(frozen=True)
class GradientReach:
    """Where the loss of one training step reaches, around the first transition; shares in [0, 1].

    `pool_input`: entries between convolution and pool with a gradient (`None` for a strided
    convolution, which has no such place). `active_features`: those entries that the ReLU lets
    pass that get a gradient from the convolution. `block_output`: entries of the dense block's
    output, before batch normalisation. `evenness` is `(Σ|g|)² / (n Σg²)` at the same three
    places: 1 when all entries get equally much, small when few get all.
    """

    pooling: str
    pool_input: float | None
    active_features: float
    block_output: float
    evenness: tuple[float | None, float, float]


@dataclass(frozen=True)
class OutlierResponse:
    """Mean change of a pooled value when one of its four inputs becomes an outlier.

    In units of the inputs' standard deviation; `size` is the outlier's.
    """

    pooling: str
    size: float
    high: float
    low: float


@dataclass(frozen=True)
class PooledFeatures:
    """The three poolings on the same convolution outputs of a trained network's transition.

    All values are means over channels. `neighbour_correlation` is between the inputs of a window,
    `moments` of pooled values after each channel was standardised before pooling,
    `explained` the share of the inputs' variance that the best linear reconstruction from the
    pooled value recovers, `shift_change` the mean squared change of a pooled value when the input
    moves by one pixel, over twice its variance (0: none, 1: as if drawn anew), and `mean_shift`
    the change of the channel mean across the pool in standard deviations, before and after the
    ReLU that follows.
    """

    transition: str
    negative: float
    neighbour_correlation: float
    moments: tuple[Moments, ...]
    explained: Mapping[str, float]
    shift_change: Mapping[str, float]
    mean_shift: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class TrainedPooling:
    """What a trained network does with disturbed images, and how its features pool.

    `shift_agreement`: pixels → share of images whose predicted class stays when they move right.
    `salt_accuracy`: share of white pixels → accuracy. `reach` holds for the trained weights.
    """

    pooling: str
    seed: int
    images: int
    shift_agreement: Mapping[str, float]
    salt_accuracy: Mapping[str, float]
    reach: GradientReach
    transitions: tuple[PooledFeatures, ...]


@dataclass(frozen=True)
class FeatureMap:
    """One channel at the first transition of a trained network, and the gradient that comes back.

    `before` is the convolution's output `(H, W)`, `gradient` that of the loss with respect to the
    pooled map `(H/2, W/2)`.
    """

    image: tuple[tuple[int, ...], ...]
    label: str
    channel: int
    before: tuple[tuple[float, ...], ...]
    gradient: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference over pairs and the two ends of its 95% t-interval."""

    pairs: int
    mean: float
    low: float
    high: float

    @property
    def includes_zero(self) -> bool:
        return self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class StrategyCost:
    """What one memory strategy saves and costs, on one network, input and step.

    Peaks are beyond parameters, buffers and input. What is `None` was not measured, or has no
    meaning: a network for inference has no training step, and a network with other parameters no
    gradient to compare. `gradient_error` is `‖g − g_plain‖ / ‖g_plain‖` over all parameters.
    `seconds` and `plain_seconds` are times of its step and of the plain one, taken in turn: on a
    CPU the processor's time of one thread, which other programs hardly disturb. Gradients and
    times are those of inputs of `trial_shape`, everything else of `input_shape`.
    """

    strategy: str
    training_peak: int | None
    inference_peak: int | None
    method: str
    state_bytes: int
    parameters: int
    multiply_adds: int | None
    gradient_error: float | None
    seconds: tuple[float, ...]
    plain_seconds: tuple[float, ...]
    input_shape: tuple[int, ...]
    trial_shape: tuple[int, ...]

    @property
    def time_ratio(self) -> float | None:
        """Fastest step over the fastest plain step: whatever else happens only slows a step."""
        return min(self.seconds) / min(self.plain_seconds) if self.seconds else None

    @property
    def scatter(self) -> float:
        """By what share the slowest step took longer than the fastest one."""
        return max(self.seconds) / min(self.seconds) - 1 if self.seconds else 0.0


@dataclass(frozen=True)
class StatisticsUpdates:
    """What one training step did to the running statistics of batch normalisation.

    `layers_by_count[c]` is the number of layers that were updated `c` times. `largest_error` is
    the largest absolute difference of a running mean or variance from the plain model's.
    """

    implementation: str
    layers_by_count: Mapping[int, int]
    largest_error: float


@dataclass(frozen=True)
class MemoryClaim:
    """Two peaks that a claim compares, beyond parameters, buffers and input, and a share."""

    peak: int
    reference_peak: int
    parameters: int
    reference_parameters: int
    share: float | None = None
    reference_share: float | None = None


@dataclass(frozen=True)
class HouseScores:
    """Errors of a model on houses, all in natural logarithm of the price.

    `rmse` is pooled over all rows and belongs to the average of the members; `member_rmse` has one
    number a seed, `fold_rmse` one a fold. `errors` are predicted minus true, one a row.
    """

    rmse: float
    member_rmse: tuple[float, ...]
    fold_rmse: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True)
class HouseDifference:
    """Error of one model minus the error of another, with a 95% interval over houses."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class GridResult:
    """One point of the memory grid: bytes predicted and measured, and seconds of a step."""

    predicted_bytes: int
    measured_bytes: int
    predicted_by_category: Mapping[str, int]
    measured_by_category: Mapping[str, int]
    method: str
    reserved_bytes: int | None
    context_bytes: int | None
    resident_bytes: int | None
    step_seconds: float | None
    out_of_memory: bool


@dataclass(frozen=True)
class ExplorerPoint:
    """Predicted peak of a batch of square images, in bytes."""

    batch: int
    side: int
    peak_bytes: int
    by_category: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ExplorerCase:
    """What the explorer page knows of one network under one strategy, with float32 parameters.

    `line` holds two points, between and beyond which the page draws a straight line in the number
    of pixels; `checks` are points that were predicted too and tell its error. `multiply_adds_224`
    belongs to one image of 224 by 224 pixels.
    """

    version: str
    strategy: str
    parameters: int
    buffers_bytes: int
    multiply_adds_224: int
    line: tuple[ExplorerPoint, ...]
    checks: tuple[ExplorerPoint, ...]
    autocast: bool = False  # to bfloat16


@dataclass(frozen=True)
class MemoryBenchRow:
    """One contestant of a memory bench.

    `peak_beyond_parameters` in bytes, `None` if it did not fit; `seconds` of each round. The time
    ratio to the baseline is the median over rounds, with its lower and upper quartile.
    `page_faults` is the median number of a step: pages that the operating system had to hand out
    (`None` on a GPU, and where it does not count them).
    """

    name: str
    peak_beyond_parameters: int | None
    seconds: tuple[float, ...]
    time_ratio: float | None
    time_ratio_low: float | None
    time_ratio_high: float | None
    page_faults: int | None = None


@dataclass(frozen=True)
class MemoryBench:
    """Peak and time of one training step of several models, in one interleaved run.

    The first row is the baseline. `dtype` is `"float32"` or says which autocast.
    """

    variant: str
    input_shape: tuple[int, ...]
    dtype: str
    device: str
    repeats: int
    rows: tuple[MemoryBenchRow, ...]


@dataclass(frozen=True)
class Reach:
    """How far a memory size goes with one strategy, by prediction, in float32.

    `largest_batch` for the network `variant`; and at `deep_batch` images the deepest DenseNet of
    blocks `(6, 12, n, 16)`, by `n` and by the paper's depth. Images are `side` pixels high and
    wide; 0 means that not even the smallest fits. A third block of 500 layers is the deepest that
    is looked for.
    """

    strategy: str
    budget_bytes: int
    variant: str
    side: int
    largest_batch: int
    deep_batch: int
    deepest_third_block: int
    deepest_depth: int


@dataclass(frozen=True, kw_only=True)
class StepTimeline:
    """Live bytes over one training step, beyond parameters, buffers and input, thinned.

    `live` has one entry for each of equal stretches of operations, the largest in it. `peak` is
    the step's, with the scratch space that the allocator saw inside of operations.
    """

    strategy: str
    peak: int
    method: str
    input_shape: tuple[int, ...]
    live: tuple[int, ...]


@dataclass(frozen=True)
class FairModel:
    """A published ImageNet network; bytes are predicted peaks for 32 images of 224 by 224 pixels.

    `top1_error` is a percentage, `multiply_adds` belongs to one image.
    """

    name: str
    parameters: int
    multiply_adds: int
    top1_error: float
    training_bytes: int
    inference_bytes: int
