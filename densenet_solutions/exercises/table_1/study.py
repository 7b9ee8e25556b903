"""Table 1 read off running networks, parity with torchvision, shapes along a forward pass."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache

import torch
import torchvision.models as published
from torch import nn

from densenet_solutions.exercises.outputs import outputs
from densenet_solutions.measure import count_flops, count_parameters
from densenet_solutions.models import TABLE_1, TABLE_2, DenseNet, DenseNetConfig, densenet121
from densenet_solutions.models.densenet import DenseBlock
from densenet_solutions.models.variants import Variant


@dataclass(frozen=True)
class Traced:
    """One stage of a network as a forward pass met it. Shapes include the batch."""

    stage: str
    what: str
    output_shape: tuple[int, ...]
    parameters: int


def trace(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[Traced, ...]:
    """Stages of a network with `features` and `classifier`, in the order in which they ran.

    Shapes are read from a real forward pass in evaluation mode (on the model's own device).
    """
    stages: dict[str, nn.Module] = {
        **dict(model.get_submodule("features").named_children()),
        "classifier": model.get_submodule("classifier"),
    }
    parameter = next(model.parameters())
    images = torch.zeros(input_shape, dtype=parameter.dtype, device=parameter.device)
    was_training = model.training
    try:
        found = outputs(model.eval(), images, stages)
    finally:
        model.train(was_training)
    return tuple(
        Traced(name, describe(m), tuple(out.shape), sum(p.numel() for p in m.parameters()))
        for name, m, out in found
    )


def describe(module: nn.Module) -> str:
    """A stage in the words of Table 1, made from the module itself.

    Examples:
        >>> describe(nn.Conv2d(3, 8, 7, stride=2))
        '7×7 conv, 8, stride 2'
    """
    if isinstance(module, nn.Conv2d):
        side, stride = module.kernel_size[0], module.stride[0]
        step = f", stride {stride}" if stride > 1 else ""
        return f"{side}×{side} conv, {module.out_channels}{step}"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        sort = "max" if isinstance(module, nn.MaxPool2d) else "average"
        step = f", stride {module.stride}" if module.stride != module.kernel_size else ""
        return f"{module.kernel_size}×{module.kernel_size} {sort} pool{step}"
    if isinstance(module, nn.Linear):
        return f"{module.out_features}-d fully connected"
    if isinstance(module, nn.BatchNorm2d):
        return "batch normalisation"
    if isinstance(module, nn.ReLU):
        return "ReLU"
    inner = [describe(m) for m in module.modules() if isinstance(m, nn.Conv2d | nn.AvgPool2d)]
    children = list(module.children())
    if children and all(type(child) is type(children[0]) for child in children):
        layer = [describe(m) for m in children[0].modules() if isinstance(m, nn.Conv2d)]
        return f"[{'; '.join(layer)}] × {len(children)}"
    return ", then ".join(inner)


@dataclass(frozen=True)
class PrintedRow:
    """A row of the paper's Table 1 in one network: `what` it is, and what leaves it."""

    name: str
    what: str
    channels: int
    side: int


def printed_rows(config: DenseNetConfig, resolution: int = 224) -> tuple[PrintedRow, ...]:
    """All rows of Table 1 as the paper prints them, read from a forward pass on the meta device.

    A transition has two rows, its convolution and its pool, and the global pool has one.
    """
    model = on_meta(config)
    names = {"conv0": "Convolution", "pool0": "Pooling"}
    for i in range(1, len(config.block_config) + 1):
        names |= {f"denseblock{i}": f"Dense block ({i})"}
        names |= {f"transition{i}.{part}": f"Transition ({i})" for part in ("conv", "pool")}
    images = torch.zeros((2, config.in_channels, *[resolution] * 2), device="meta")
    parts = {path: part for path, part in model.features.named_modules() if path in names}
    rows = [
        PrintedRow(names[path], describe(part), out.shape[1], out.shape[-1])
        for path, part, out in outputs(model, images, parts)
    ]
    last = rows[-1]
    pool = PrintedRow(
        "Classification", f"{last.side}×{last.side} global average pool", last.channels, 1
    )
    linear = PrintedRow("Classification", describe(model.classifier), config.num_classes, 1)
    return (*rows, pool, linear)


@dataclass(frozen=True)
class Table1Row:
    """A network of the paper's Table 1, rebuilt and recounted; multiply-adds at 224x224."""

    variant: Variant
    parameters: int
    multiply_adds: int

    @property
    def name(self) -> str:
        return self.variant.name.replace("densenet", "DenseNet-")


def table_1() -> tuple[Table1Row, ...]:
    """Every network of Table 1, built on the meta device, counted and run at 224x224."""
    return tuple(
        Table1Row(
            variant,
            count_parameters(variant.build).total,
            count_flops(variant.build, (1, 3, 224, 224)).multiply_adds,
        )
        for variant in TABLE_1.values()
    )


def channels_read(config: DenseNetConfig) -> tuple[int, ...]:
    """What each layer of each block reads, in order.

    Examples:
        >>> channels_read(DenseNetConfig(block_config=(2, 1)))
        (64, 96, 64)
    """
    return tuple(
        entering + i * config.growth_rate
        for n, (entering, _) in zip(config.block_config, config.block_widths, strict=True)
        for i in range(n)
    )


def weights_of_layers(config: DenseNetConfig) -> int:
    """Weights of the convolutions in all dense layers, biases left out."""
    return sum(
        part.weight.numel()
        for block in on_meta(config).modules()
        if isinstance(block, DenseBlock)
        for part in block.modules()
        if isinstance(part, nn.Conv2d)
    )


def table_2() -> dict[str, int]:
    """Every CIFAR-10 DenseNet of Table 2 → its parameters, counted."""
    return {name: count_parameters(variant.build).total for name, variant in TABLE_2.items()}


@cache
def on_meta(config: DenseNetConfig) -> DenseNet:
    """The network of `config` on the meta device: shapes without memory. Built once."""
    with torch.device("meta"):
        return DenseNet(config)


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences between torchvision's DenseNet-121 and ours, in float64.

    `scale` is the largest entry of torchvision's gradient, to read the difference against.
    """

    equal_keys: bool
    logits: float
    gradients: float
    scale: float


def parity_with_torchvision(resolution: int = 64, seed: int = 0) -> Parity:
    """DenseNet-121 of torchvision and ours: same weights, same two images, forward and backward."""
    torch.manual_seed(seed)
    theirs = published.densenet121().double()
    ours = densenet121().double()
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()), strict=True)
    images = torch.randn(2, 3, resolution, resolution, dtype=torch.float64)
    targets = torch.tensor([1, 0])
    logits, gradients = [], []
    for model in (theirs, ours):
        out = model(images)
        loss = nn.functional.cross_entropy(out, targets)
        logits.append(out.detach())
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    return Parity(
        equal_keys=list(theirs.state_dict()) == list(ours.state_dict()),
        logits=float((logits[0] - logits[1]).abs().max()),
        gradients=max(float((a - b).abs().max()) for a, b in zip(*gradients, strict=True)),
        scale=max(float(a.abs().max()) for a in gradients[0]),
    )
