"""Recipe `memory-own-process`: what a reader's own few lines would print on the GPU (exercise 3.1).

Each measurement has a process of its own, as a reader's has. So the peaks include what libraries
take through PyTorch's allocator when they are first used, which `memory-grid` leaves out, and
cuDNN's benchmark mode finds no plan that an earlier step has made.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from densenet_solutions.measure.torch_private import clear_cublas_workspaces
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe

NETWORKS = ("book-densenet", "book-resnet18", "densenet121", "resnet50")
BATCHES = (8, 32, 128)
RESOLUTION = 224
STEPS = 3


@dataclass(frozen=True)
class OwnProcessCase:
    """A network and a batch at 224x224 in float32."""

    network: str
    batch: int


@dataclass(frozen=True, kw_only=True)
class Printed:
    """Bytes of three training steps in a row.

    `allocated_bytes` and `reserved_bytes` are the allocator's two peaks. `cublas_bytes` of them
    were cuBLAS's workspaces: what came back when PyTorch let go of those after the last step.
    """

    allocated_bytes: int
    reserved_bytes: int
    cublas_bytes: int


@dataclass(frozen=True)
class OwnProcess:
    """The same steps in two new processes: without and with cuDNN's benchmark mode."""

    plain: Printed
    benchmark: Printed


def steps(case: OwnProcessCase, device: str, benchmark: bool) -> Printed:
    """Three training steps in this process, which has used no GPU before."""
    torch.backends.cudnn.benchmark = benchmark
    net = network(case.network)
    model = net.build().to(device)
    images = torch.randn(net.shape(case.batch, RESOLUTION), device=device)
    classes = torch.randint(10, (case.batch,), device=device)
    for _ in range(STEPS):
        model.zero_grad()
        F.cross_entropy(model(images), classes).backward()
    torch.cuda.synchronize(device)
    held = torch.cuda.memory_allocated(device)
    clear_cublas_workspaces()
    return Printed(
        allocated_bytes=torch.cuda.max_memory_allocated(device),
        reserved_bytes=torch.cuda.max_memory_reserved(device),
        cublas_bytes=held - torch.cuda.memory_allocated(device),
    )


def measure(case: OwnProcessCase, device: str) -> OwnProcess:
    """Both modes of one case, each in a new process.

    Raises:
        ValueError: `device` is not a CUDA device.
    """
    if torch.device(device).type != "cuda":
        raise ValueError(f"a GPU's allocator is asked: use --device cuda, got {device!r}")
    return OwnProcess(*(_in_a_new_process(case, device, benchmark) for benchmark in (False, True)))


def _in_a_new_process(case: OwnProcessCase, device: str, benchmark: bool) -> Printed:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(steps, case, device, benchmark).result()


def recipe() -> Recipe:
    """Four networks, three batches."""
    cases = {
        f"{name} b{batch}": OwnProcessCase(name, batch) for name in NETWORKS for batch in BATCHES
    }
    return Recipe(name="memory-own-process", cases=cases, measure=measure)
