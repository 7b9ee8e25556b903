"""Count the multiply-adds of one forward pass, on the meta device: nothing is computed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from densenet_solutions.measure.copies import Factory, build
from densenet_solutions.measure.options import StepError, StepOptions
from densenet_solutions.measure.parameters import named, stage_of
from densenet_solutions.measure.prepared import prepare


@dataclass(frozen=True)
class FlopCount:
    """Work of one forward pass, in multiply-adds: one multiplication and one addition are **one**.

    This is the convention of the DenseNet paper and of torchvision's metadata; twice the number
    is the count in floating-point operations. Convolutions and matrix products count, nothing
    else does.
    """

    multiply_adds: int
    by_stage: Mapping[str, int]
    input_shapes: tuple[tuple[int, ...], ...]


def count_flops(
    model: nn.Module | Factory,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    stage: Callable[[str], str] = stage_of,
    input_dtype: torch.dtype | Sequence[torch.dtype] | None = None,
) -> FlopCount:
    """Multiply-adds of one forward pass in evaluation mode; one multiply-add counts **one**.

    Convolutions and matrix products count (torch's own counter does the arithmetic, and counts
    each multiply-add twice); normalisation, activations, pooling and biases do not. This is the
    convention of the DenseNet paper and of torchvision's metadata.

    Args:
        model: any module, which stays as it is, or a function that builds one.
        input_shape: shape of its input, batch included, or one shape for each input.
        stage: stage that a module's path belongs to; work outside any child is `"other"`.
        input_dtype: of the input, if it is not the model's: `torch.int64` for token numbers.

    Raises:
        TypeError, ValueError: an argument is impossible, or the model does not run on the meta
            device with such an input; the message says what it raised.
    """
    with torch.random.fork_rng(devices=[]):
        built = build(model, torch.device("meta"))
    floating = (t.dtype for t in built.parameters() if t.is_floating_point())
    options = StepOptions(
        built,
        input_shape,
        train=False,
        dtype=next(floating, torch.float32),
        input_dtype=input_dtype,
    )
    counter = FlopCounterMode(display=False)
    # The module tracker of torch warns about its own hooks; nothing here is wrong.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with prepare(options, torch.device("meta")) as prepared, counter:
                prepared.run()
        except StepError as failed:
            raise options.refusal({"on the meta device": failed}) from failed.error

    # torch counts a module with everything inside it; what is a module's own is the difference.
    root = type(built).__name__
    inclusive = {
        path.removeprefix(root).removeprefix("."): sum(counts.values()) // 2
        for path, counts in counter.get_flop_counts().items()
        if path != "Global"
    }
    own = Counter(inclusive)
    for path, work in inclusive.items():
        if path:
            own[_caller(path, inclusive)] -= work
    by_stage = Counter[str]()
    for path, _ in built.named_modules():
        if own[path]:
            by_stage[named(stage, path) if path else "other"] += own[path]
    return FlopCount(counter.get_total_flops() // 2, dict(by_stage), options.shapes)


def _caller(path: str, called: Collection[str]) -> str:
    """Nearest module above `path` that was itself called; a `ModuleList`, for one, never is."""
    while path:
        path = path.rpartition(".")[0]
        if path in called:
            return path
    return ""
