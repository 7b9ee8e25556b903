"""The processes that `torchrun` starts, and the bar that one of them shows."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from densenet_solutions import checks
from densenet_solutions.progress import progress


@contextmanager
def processes(device: str) -> Iterator[tuple[int, int, torch.device]]:
    """Join the process group that `torchrun` announces: (rank, number of processes, device)."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    place = checks.device(device)
    if world_size == 1:
        yield 0, 1, place
        return
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    already_joined = dist.is_initialized()
    if not already_joined:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), world_size, place
    finally:
        if not already_joined:
            dist.destroy_process_group()


def distributed(model: nn.Module, place: torch.device) -> DistributedDataParallel:
    return DistributedDataParallel(model, device_ids=[place] if place.type == "cuda" else None)


@contextmanager
def progress_bar(description: str, total: int, visible: bool) -> Iterator[Callable[[], None]]:
    """Progress over the steps of an epoch; calling what it yields advances it by one."""
    if not visible:
        yield lambda: None
        return
    with progress(description) as told:
        steps = itertools.count(1)
        yield lambda: told("", next(steps), total)
