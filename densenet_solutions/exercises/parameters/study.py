"""Where the parameters of DenseNet and ResNet sit, and why DenseNet needs fewer (exercise 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import torch
import torchvision.models as published
from torch import nn

from densenet_solutions.exercises.parameters.reuse import BlockReuse, FeatureReuse
from densenet_solutions.measure import count_flops, count_parameters, predict_memory
from densenet_solutions.models import (
    TABLE_1,
    TABLE_2,
    DenseNetConfig,
    book_densenet,
    book_resnet18,
)
from densenet_solutions.training import TrainingSettings


def closed_form(config: DenseNetConfig) -> int:
    """Parameters of a whole DenseNet by arithmetic alone, for convolutions without biases.

    A layer that reads `c` channels costs `2c + 4kc + 8k + 36k²` with the usual bottleneck of `4k`
    and `2c + 9kc` without. Over the `n` layers of a block `c` runs from `c₀` in steps of `k`, so
    its sum is `n·c₀ + k·n(n-1)/2`: quadratic in `n`, but with the small factor `k`.

    Examples:
        >>> closed_form(DenseNetConfig())
        7978856

    Raises:
        ValueError: its convolutions have biases.
    """
    if config.bias:
        raise ValueError("the formula leaves biases out, got config.bias=True")
    k, classes = config.growth_rate, config.num_classes
    side = 7 if config.stem == "imagenet" else 3
    total = side**2 * config.in_channels * config.num_init_features
    if config.stem == "imagenet":
        total += 2 * config.num_init_features  # its normalisation
    widths = config.block_widths
    for n, (entering, leaving), following in zip(
        config.block_config, widths, [*widths[1:], None], strict=True
    ):
        read = n * entering + k * n * (n - 1) // 2  # channels that the n layers read, in sum
        if config.bn_size is None:
            total += (2 + 9 * k) * read
        else:
            b = config.bn_size * k  # width of the bottleneck
            total += (2 + b) * read + n * (2 * b + 9 * b * k)
        if following:
            total += 2 * leaving + leaving * following[0]  # transition: norm and 1x1 convolution
    return total + 2 * widths[-1][1] + (widths[-1][1] + 1) * classes


@dataclass(frozen=True)
class FormulaCheck:
    """Closed form and count of one published network."""

    name: str
    formula: int
    counted: int


def check_closed_form() -> tuple[FormulaCheck, ...]:
    """The closed form beside a count of the built network, for all rows of Tables 1 and 2."""
    rows = [*TABLE_1.values(), *TABLE_2.values()]
    return tuple(
        FormulaCheck(row.name, closed_form(row.config), count_parameters(row.build).total)
        for row in rows
    )


@dataclass(frozen=True)
class LayerCost:
    """Parameters of one 3x3 convolution (biases left out) at a stage of the book's networks."""

    stage: int
    resnet_width: int
    resnet: int
    densenet_reads: int
    densenet: int


def last_convolution_of_each_stage() -> tuple[LayerCost, ...]:
    """The costliest 3x3 convolution of each stage of the book's two networks, read off the models.

    ResNet maps `c` channels to `c`: `9c²`. DenseNet maps what it has to `k`: `9kc`.
    """
    densenet, resnet = _on_meta(book_densenet), _on_meta(book_resnet18)
    costs = []
    for i in range(1, 5):
        theirs = resnet.get_submodule(f"layer{i}.1.conv2")
        ours = densenet.get_submodule(f"features.denseblock{i}.denselayer4.conv1")
        assert isinstance(theirs, nn.Conv2d)
        assert isinstance(ours, nn.Conv2d)
        costs.append(
            LayerCost(
                i, theirs.out_channels, theirs.weight.numel(), ours.in_channels, ours.weight.numel()
            )
        )
    return tuple(costs)


#: Stages of the book's networks under common names, so that bars can stand side by side.
BOOK_STAGES = ("stem", "stage 1", "stage 2", "stage 3", "stage 4", "head")


def parameters_by_stage() -> Mapping[str, Mapping[str, int]]:
    """Parameters of the book's DenseNet and ResNet-18 in each of `BOOK_STAGES`.

    A transition counts with the dense block before it.
    """
    return {
        "DenseNet": _in_book_stages(book_densenet),
        "ResNet-18": _in_book_stages(book_resnet18),
    }


def _in_book_stages(factory: Callable[[], nn.Module]) -> dict[str, int]:
    def stage(path: str) -> str:
        part = path.removeprefix("features.").split(".")[0]
        if part in ("norm5", "classifier", "fc"):
            return "head"
        return f"stage {part[-1]}" if part[:-1] in _BLOCKS else "stem"

    counted = count_parameters(factory, stage=stage).by_stage
    return {name: counted[name] for name in BOOK_STAGES}


_BLOCKS = {"denseblock", "transition", "layer"}


@dataclass(frozen=True)
class Sweep:
    """Parameters as one option of DenseNet-121 varies and the others stay."""

    option: str
    values: tuple[float, ...]
    parameters: tuple[int, ...]


def vary_growth_rate(values: Sequence[int] = (8, 12, 16, 24, 32, 40, 48, 64)) -> Sweep:
    """DenseNet-121 with other growth rates; the stem keeps its `2k` channels."""
    configs = [DenseNetConfig(growth_rate=k, num_init_features=2 * k) for k in values]
    return Sweep("growth_rate", tuple(values), tuple(map(closed_form, configs)))


def vary_depth(values: Sequence[int] = (8, 16, 24, 32, 48, 64)) -> Sweep:
    """DenseNet-121 with other numbers of layers in its third block."""
    configs = [DenseNetConfig(block_config=(6, 12, n, 16)) for n in values]
    return Sweep("layers of the third block", tuple(values), tuple(map(closed_form, configs)))


def vary_compression(
    values: Sequence[float] = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
) -> Sweep:
    """DenseNet-121 with other compressions."""
    configs = [DenseNetConfig(compression=theta) for theta in values]
    return Sweep("compression", tuple(values), tuple(map(closed_form, configs)))


@dataclass(frozen=True)
class WithoutEconomies:
    """Parameters of a DenseNet, and of the same layers without what else makes it small."""

    name: str
    published: int
    without_compression: int
    without_bottleneck: int
    without_both: int


def without_economies(name: str, config: DenseNetConfig) -> WithoutEconomies:
    """The network with its transitions keeping all channels, its bottlenecks taken out, or both."""
    wide = replace(config, compression=1.0)
    return WithoutEconomies(
        name,
        closed_form(config),
        closed_form(wide),
        closed_form(replace(config, bn_size=None)),
        closed_form(replace(wide, bn_size=None)),
    )


@dataclass(frozen=True)
class PublishedModel:
    """A network with a published error: counts made live, the error in percent, single crop.

    `multiply_adds` at 224x224, batch 1.
    """

    name: str
    family: str
    parameters: int
    multiply_adds: int
    top1_error: float


#: Errors of the paper's matched experiment (section 4.4, figure 3): the ResNets are those of
#: fb.resnet.torch, whose code trained the DenseNets too (https://github.com/facebook/fb.resnet.torch).
RESNET_ERRORS: Mapping[str, float] = {
    "ResNet-18": 30.43,
    "ResNet-34": 26.73,
    "ResNet-50": 24.01,
    "ResNet-101": 22.44,
    "ResNet-152": 22.16,
}
#: Errors in the README of https://github.com/liuzhuang13/DenseNet, to one decimal, of the models
#: that torchvision ported. Two are lower than in Table 3, which does not list DenseNet-161.
README_ERRORS: Mapping[str, float] = {
    "DenseNet-121": 25.0,
    "DenseNet-161": 22.2,
    "DenseNet-169": 23.6,
    "DenseNet-201": 22.5,
}


def matched_models() -> tuple[PublishedModel, ...]:
    """The DenseNets of the paper's Table 3 and ResNets from one code base, errors as published."""
    dense = {
        row.name.replace("densenet", "DenseNet-"): (row.build, row.top1_error)
        for row in TABLE_1.values()
        if row.top1_error
    }
    residual = {name: (_torchvision(name), error) for name, error in RESNET_ERRORS.items()}
    return tuple(
        _counted(name, build, error) for name, (build, error) in (dense | residual).items()
    )


def reevaluated_models() -> tuple[PublishedModel, ...]:
    """The same networks with the errors that torchvision measured, which has no DenseNet-264.

    Its DenseNet weights are the authors' own, ported, and evaluated in another pipeline than they
    were trained for; its ResNets (V1 weights) were trained and evaluated in one.
    """
    names = [row.name.replace("densenet", "DenseNet-") for row in TABLE_1.values()
             if row.top1_error and row.torchvision_weights]  # fmt: skip
    rows = []
    for name in [*names, *RESNET_ERRORS]:
        weights = getattr(published, f"{name.replace('-', '')}_Weights").IMAGENET1K_V1
        error = 100 - weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        rows.append(_counted(name, _torchvision(name), error))
    return tuple(rows)


def _torchvision(name: str) -> Callable[[], nn.Module]:
    factory: Callable[[], nn.Module] = getattr(published, name.replace("-", "").lower())
    return factory


def _counted(name: str, build: Callable[[], nn.Module], error: float) -> PublishedModel:
    return PublishedModel(
        name=name,
        family=name.partition("-")[0].lower(),
        parameters=count_parameters(build).total,
        multiply_adds=count_flops(build, (1, 3, 224, 224)).multiply_adds,
        top1_error=error,
    )


@dataclass(frozen=True)
class EqualAccuracy:
    """What a ResNet of the same error would need, read between two published ResNets.

    `between` names them, worse first; parameters and multiply-adds are interpolated linearly in
    the error. A DenseNet that beats every ResNet is held against the best one.
    """

    densenet: PublishedModel
    between: tuple[str, str]
    resnet_parameters: float
    resnet_multiply_adds: float

    @property
    def parameter_ratio(self) -> float:
        """Parameters of the ResNet for one of the DenseNet."""
        return self.resnet_parameters / self.densenet.parameters

    @property
    def multiply_add_ratio(self) -> float:
        """Multiply-adds of the ResNet for one of the DenseNet."""
        return self.resnet_multiply_adds / self.densenet.multiply_adds


def at_equal_accuracy(models: Sequence[PublishedModel]) -> tuple[EqualAccuracy, ...]:
    """For each DenseNet, the ResNet that would have its error.

    Raises:
        ValueError: a DenseNet's error is above those of all ResNets: nothing is extrapolated.
    """
    resnets = sorted((m for m in models if m.family == "resnet"), key=lambda m: m.top1_error)
    rows = []
    for dense in (m for m in models if m.family == "densenet"):
        error = max(dense.top1_error, resnets[0].top1_error)
        for better, worse in pairwise(resnets):
            if better.top1_error <= error <= worse.top1_error:
                break
        else:
            raise ValueError(
                f"errors of the ResNets span {resnets[0].top1_error:.2f} to "
                f"{resnets[-1].top1_error:.2f} percent, got {dense.top1_error:.2f} ({dense.name})"
            )
        share = (error - better.top1_error) / (worse.top1_error - better.top1_error)
        rows.append(
            EqualAccuracy(
                densenet=dense,
                between=(worse.name, better.name),
                resnet_parameters=_between(better.parameters, worse.parameters, share),
                resnet_multiply_adds=_between(better.multiply_adds, worse.multiply_adds, share),
            )
        )
    return tuple(rows)


def _between(start: float, end: float, share: float) -> float:
    return start + share * (end - start)


def book_multiply_adds(resolution: int) -> tuple[int, int]:
    """Multiply-adds of the book's DenseNet and ResNet-18 on one image of that side."""
    shape = (1, 1, resolution, resolution)
    return (
        count_flops(book_densenet, shape).multiply_adds,
        count_flops(book_resnet18, shape).multiply_adds,
    )


@dataclass(frozen=True)
class KeptWeight:
    """Mean absolute weight after training over that before it, inside one dense block.

    `by_reader`: for each layer of the block, what it reads in order, the block's input first.
    """

    by_reader: tuple[tuple[float, ...], ...]

    @property
    def near_minus_far(self) -> tuple[float, ...]:
        """Reader by reader, the layer just before minus the mean over earlier layers.

        The block's input is left out, so the first reader is the block's third layer.
        """
        return tuple(near - fmean(far) for _, *far, near in self.by_reader[2:])


def weight_kept(reuse: FeatureReuse) -> tuple[KeptWeight, ...]:
    """What training leaves of the weights inside each block; what follows it is no reader here."""
    return tuple(
        KeptWeight(
            tuple(
                tuple(w / w0 for w, w0 in zip(after, before, strict=True))
                for after, before in zip(_by_layer(trained), _by_layer(untrained), strict=True)
            )
        )
        for trained, untrained in zip(reuse.trained, reuse.untrained, strict=True)
    )


def _by_layer(block: BlockReuse) -> list[list[float]]:
    readers = [[w for w in column if w is not None] for column in zip(*block.weights, strict=True)]
    return readers[:-1]


def kept_without_gradient(settings: TrainingSettings, train_images: int) -> float:
    """Share of a weight that SGD with momentum and weight decay leaves if no gradient comes.

    The update is linear in the weight, so a recursion over two numbers gives it:
    `v ← μv + λw`, `w ← w - ηv`, with the learning rate `η` of each step's place in the schedule.
    """
    steps = settings.epochs * (train_images // settings.batch_size)
    weight, velocity = 1.0, 0.0
    for step in range(steps):
        rate = settings.learning_rate
        if settings.schedule == "cosine":
            rate *= (1 + math.cos(math.pi * step / steps)) / 2
        velocity = settings.momentum * velocity + settings.weight_decay * weight
        weight -= rate * velocity
    return weight


@dataclass(frozen=True)
class EqualWidth:
    """Weights of a whole dense block's convolutions and of one convolution as wide as its end."""

    entering: int
    leaving: int
    block: int
    one_convolution: int


def at_equal_width() -> EqualWidth:
    """The book's last block, and one 3x3 convolution from its final width to its final width."""
    model = _on_meta(book_densenet)
    block = model.get_submodule("features.denseblock4")
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    leaving = convolutions[-1].in_channels + convolutions[-1].out_channels
    return EqualWidth(
        entering=convolutions[0].in_channels,
        leaving=leaving,
        block=sum(m.weight.numel() for m in convolutions),
        one_convolution=9 * leaving**2,
    )


def book_training_memory(resolution: int, batch: int) -> tuple[int, int]:
    """Predicted peak bytes of one training step of the book's DenseNet and ResNet-18."""
    shape = (batch, 1, resolution, resolution)
    return (
        predict_memory(book_densenet, shape).peak_bytes,
        predict_memory(book_resnet18, shape).peak_bytes,
    )


def shortcut_hands_features_on() -> float:
    """Largest change that a residual block inside a stage makes once its own branch is silent.

    The scale of the branch's last normalisation is set to zero. What enters (not negative, as
    after a ReLU) then leaves unchanged: zero means the later layers do see the earlier feature.
    """
    torch.manual_seed(0)
    block = book_resnet18().get_submodule("layer1.1")
    norm = block.get_submodule("bn2")
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    x = torch.rand(2, 64, 8, 8)
    with torch.no_grad():
        return float((block(x) - x).abs().max())


def _on_meta(factory: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return factory()
