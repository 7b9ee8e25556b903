"""Time several functions in turn, so that a drifting machine troubles them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from densenet_solutions import checks


def time_interleaved(
    functions: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    warmup: int = 1,
    device: str | torch.device = "cpu",
) -> dict[str, tuple[float, ...]]:
    """Seconds of each call, in the order A B C, A B C, …: compare medians of ratios, not means.

    Args:
        functions: name → function without arguments.
        repeats: timed rounds; each function is called once a round.
        warmup: rounds that are not timed.
        device: on a CUDA device each call is followed by a synchronisation.

    Raises:
        TypeError, ValueError: there is nothing to time, a count is out of range, or the device is
            not there.
    """
    if not isinstance(functions, Mapping) or not all(map(callable, functions.values())):
        raise TypeError(f"functions is a mapping, name → function, got {functions!r}")
    if not functions:
        raise ValueError("functions holds at least one function, got none")
    repeats = checks.integer("repeats", repeats)
    warmup = checks.integer("warmup", warmup, at_least=0)
    where = checks.device(device)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: tuple(values) for name, values in seconds.items()}
