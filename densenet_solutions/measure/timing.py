"""Time several functions in turn, so that a drifting machine troubles them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch


def time_interleaved(
    functions: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    warmup: int = 1,
    device: str = "cpu",
) -> dict[str, tuple[float, ...]]:
    """Seconds of each call, in the order A B C, A B C, …: compare medians of ratios, not means.

    Args:
        functions: name → function without arguments.
        repeats: timed rounds; each function is called once a round.
        warmup: rounds that are not timed.
        device: on a CUDA device each call is followed by a synchronisation.

    Raises:
        ValueError: there is nothing to time, or a count is out of range.
    """
    if not functions or repeats < 1 or warmup < 0:
        raise ValueError(
            "at least one function, repeats at least 1 and warmup at least 0, "
            f"got {len(functions)} functions, {repeats=}, {warmup=}"
        )
    on_gpu = torch.device(device).type == "cuda"
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if on_gpu:
                torch.cuda.synchronize(device)
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: tuple(values) for name, values in seconds.items()}
