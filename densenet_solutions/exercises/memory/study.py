"""Exercise 3.1: is DenseNet's memory consumption really high? One function a figure or table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densenet_solutions.exercises.memory.fair import FairModel
from densenet_solutions.exercises.memory.reported import Compared
from densenet_solutions.exercises.network.ledger import blocks
from densenet_solutions.measure import count_parameters, predict_memory, saved_bytes
from densenet_solutions.measure.memory import MemoryResult
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import book_densenet, book_resnet18, densenet121

BOOK: Mapping[str, Callable[[], nn.Module]] = {
    "DenseNet": book_densenet,
    "ResNet-18": book_resnet18,
}


def book_steps(batch: int, side: int, *, train: bool = True) -> dict[str, MemoryResult]:
    """Predicted memory of one step of the book's two networks, 1 channel, float32."""
    return {name: _book_step(name, batch, side, train) for name in BOOK}


def published_bytes(row: Compared) -> float:
    """What was published, in bytes, if its MB are MiB and its GB are GiB."""
    gigabytes = row.said.endswith(" GB")
    return row.megabytes / 1000 * 2**30 if gigabytes else row.megabytes * 2**20


@cache
def _book_step(name: str, batch: int, side: int, train: bool) -> MemoryResult:
    return predict_memory(BOOK[name], (batch, 1, side, side), train=train)


def kept_in_blocks(batch: int, side: int) -> dict[str, int]:
    """What the plain blocks of the book's DenseNet keep for the backward pass: kind → bytes."""
    found: dict[str, int] = {}
    for book in blocks(book_densenet().config, batch=batch, resolution=side):
        for kind, channels in book.kept().items():
            found[kind] = found.get(kind, 0) + round(channels * book.channel_bytes)
    return found


def kept_by_part(batch: int, side: int) -> dict[str, dict[str, int]]:
    """What autograd keeps of the book's networks: network → part → bytes.

    Parts are `"stem"`, `"blocks"` (of ResNet-18 its stages), `"transitions"` and `"end"`. The
    images themselves are the input and no activation.
    """

    def place(path: str, tensor: Tensor) -> str:
        if tensor.shape == (batch, 1, side, side):
            return "images"
        return next((name for name, inside in _PARTS.items() if inside(path)), "end")

    found = {}
    for name, build in BOOK.items():
        found[name] = saved_bytes(build, (batch, 1, side, side), by=place)
        del found[name]["images"]
    return found


_PARTS = {
    "stem": re.compile(r"features\.(conv|norm|relu|pool)0|conv1|bn1|relu|maxpool").fullmatch,
    "blocks": re.compile(r"features\.denseblock|layer\d").match,
    "transitions": re.compile(r"features\.transition").match,
}


def crossing(side: int) -> int:
    """Smallest batch at which DenseNet's peak is above ResNet-18's.

    Two batch sizes give two lines and a guess; predictions around the guess decide.
    """

    def excess(batch: int) -> int:
        steps = book_steps(batch, side)
        return steps["DenseNet"].peak_bytes - steps["ResNet-18"].peak_bytes

    slope = (excess(32) - excess(8)) / 24
    batch = max(1, round(8 - excess(8) / slope))
    while excess(batch) <= 0:
        batch += 1
    while batch > 1 and excess(batch - 1) > 0:
        batch -= 1
    return batch


@dataclass(frozen=True)
class Depth:
    """Bytes kept for the backward pass by one dense block, for equally spaced depths."""

    layers: tuple[int, ...]
    kept: Mapping[str, tuple[int, ...]]

    def first_differences(self, name: str) -> tuple[int, ...]:
        return tuple(b - a for a, b in pairwise(self.kept[name]))

    def second_differences(self, name: str) -> tuple[int, ...]:
        return tuple(b - a for a, b in pairwise(self.first_differences(name)))


def by_depth(layers: Sequence[int] = (4, 8, 12, 16)) -> Depth:
    """One dense block of growing depth on a 32x32 image: naive and with recomputation."""
    kept = {
        name: tuple(_kept(STRATEGIES[strategy].apply, depth) for depth in layers)
        for name, strategy in (("naive", "plain"), ("recomputed", "recompute_bottleneck_input"))
    }
    return Depth(tuple(layers), kept)


def parameters_by_depth(layers: Sequence[int] = (24, 48, 72, 96)) -> dict[int, int]:
    """Layers in the third block of DenseNet-121 → parameters of the network."""
    with torch.device("meta"):
        return {n: count_parameters(densenet121(block_config=(6, 12, n, 16))).total for n in layers}


def two_steps(*, retain_graph: bool, keep_loss: bool) -> int:
    """Peak of two steps in a row of the book's DenseNet, 128 images of 224×224; predicted.

    With `keep_loss` a variable holds the last loss until it is given the next.
    """

    def step(model: nn.Module, images: Tensor, labels: Tensor) -> None:
        loss_of, keep = nn.functional.cross_entropy, retain_graph
        for _ in range(2):
            model.zero_grad()
            if keep_loss:
                loss = loss_of(model(images), labels)
                loss.backward(retain_graph=keep)
            else:
                loss_of(model(images), labels).backward(retain_graph=keep)

    return predict_memory(book_densenet, (128, 1, 224, 224), step=step).peak_bytes


def _kept(apply: Callable[[nn.Module], nn.Module], layers: int) -> int:
    def build() -> nn.Module:
        return apply(densenet121(block_config=(layers,), stem="cifar", num_classes=10))

    return predict_memory(build, (1, 3, 32, 32)).most("activations")


@dataclass(frozen=True)
class Summary:
    """What summaries by hooks say, beside the bytes that are really kept for the backward pass.

    `all_outputs` adds up the output of every module without children; `doubled` takes that twice,
    "for gradients"; `distinct` counts outputs that share a storage once.
    """

    all_outputs: int
    doubled: int
    distinct: int
    kept: int

    def share(self, convention: str) -> float:
        """The sum by a convention over what is kept."""
        return float(getattr(self, convention)) / self.kept


def hook_summary(build: Callable[[], nn.Module], shape: Sequence[int]) -> tuple[int, int]:
    """Bytes of the outputs of all leaf modules: all of them, and each storage once.

    This is how `summary` tools look at a network: with a hook on every module that has no children.
    """
    with torch.device("meta"):
        model, images = build().train(), torch.empty(tuple(shape))
    outputs: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output)

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(hook)
    model(images)
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in outputs}
    return sum(t.numel() * t.element_size() for t in outputs), sum(storages.values())


def summaries(batch: int = 8, side: int = 224) -> dict[str, Summary]:
    """The conventions of summaries, for the book's networks and DenseNet-121."""
    rows = {}
    for name, build, channels in (
        ("the book's DenseNet", book_densenet, 1),
        ("our writing of its ResNet-18", book_resnet18, 1),
        ("DenseNet-121", densenet121, 3),
    ):
        shape = (batch, channels, side, side)
        everything, distinct = hook_summary(build, shape)
        kept = predict_memory(build, shape).most("activations")
        rows[name] = Summary(everything, 2 * everything, distinct, kept)
    return rows


def fair_ratios(models: Mapping[str, FairModel], yardstick: str) -> dict[str, float]:
    """Training memory of each DenseNet over that of a ResNet with as much of `yardstick`.

    The ResNet is read between the two published ones that enclose the DenseNet, linearly in
    `yardstick`, one of `"parameters"`, `"multiply_adds"`, `"top1_error"`. A DenseNet that is
    outside their range is compared with the nearest end.

    Examples:
        >>> a = FairModel("a", 1, 1, 1.0, 10, 1)
        >>> b, c = FairModel("resnet18", 0, 0, 0.0, 5, 1), FairModel("resnet34", 2, 2, 2.0, 15, 1)
        >>> fair_ratios({"densenet121": a, "resnet18": b, "resnet34": c}, "parameters")
        {'densenet121': 1.0}
    """
    sizes, their_bytes = zip(
        *sorted(
            (getattr(model, yardstick), model.training_bytes)
            for name, model in models.items()
            if name.startswith("resnet")
        ),
        strict=True,
    )
    ratios = {}
    for name, model in models.items():
        if name.startswith("densenet"):
            read = float(np.interp(getattr(model, yardstick), sizes, their_bytes))
            ratios[name] = model.training_bytes / read
    return ratios
