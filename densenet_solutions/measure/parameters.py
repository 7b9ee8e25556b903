"""Count the learnable numbers of any model, by stage and by kind of layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from densenet_solutions.measure.copies import Factory, build, is_lazy
from densenet_solutions.measure.torch_private import BatchNorm, Convolution


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


def stage_of(path: str) -> str:
    """Stage that the module or parameter at `path` belongs to, in the order of the forward pass.

    A stage is a child of the model; a child called `features`, as torchvision names the trunk of
    its DenseNets, is opened and its own children are the stages.

    Examples:
        >>> stage_of("features.denseblock1.denselayer1.norm1.weight"), stage_of("classifier.bias")
        ('denseblock1', 'classifier')
    """
    parts = path.split(".")
    return parts[1] if parts[0] == "features" and len(parts) > 1 else parts[0]


def named(stage: Callable[[str], str], path: str) -> str:
    """What `stage` says about a path, which must be a name."""
    name = stage(path)
    if not isinstance(name, str):
        raise TypeError(f"stage(path) returns the name of a stage, got {name!r} for {path!r}")
    return name


def kind_of(module: nn.Module) -> str:
    """Sort of layer: `"conv3x3"`, `"linear"`, `"norm"`, `"embedding"`, or the class's name."""
    if isinstance(module, Convolution):
        return "conv" + "x".join(str(side) for side in module.kernel_size)
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, BatchNorm | nn.LayerNorm | nn.GroupNorm):
        return "norm"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return type(module).__name__


def count_parameters(
    model: nn.Module | Factory, *, stage: Callable[[str], str] = stage_of
) -> ParameterCount:
    """Count the parameters of `model`, on any device, the meta device included.

    Args:
        model: any module, or a function that builds one; frozen parameters count too, buffers do
            not, and a parameter that several modules share counts once, where it comes first.
        stage: stage that a parameter's path belongs to.

    Raises:
        TypeError: `model` is neither, or `stage` names no stage.
        ValueError: the model is lazy: it has no parameters before its first forward pass.
    """
    with torch.random.fork_rng(devices=[]):
        model = build(model, torch.device("meta"))
    if is_lazy(model):
        raise ValueError(
            "the parameters of a lazy model are known after its first forward pass: run it once"
        )
    by_stage: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    for path, parameter in model.named_parameters():
        owner = model.get_submodule(path.rpartition(".")[0])
        by_stage[named(stage, path)] += parameter.numel()
        by_kind[kind_of(owner)] += parameter.numel()
    return ParameterCount(by_stage.total(), dict(by_stage), dict(by_kind))
