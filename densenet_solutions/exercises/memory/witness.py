"""Recipe `memory-witness`: the step of exercise 3.1 as PyTorch's own tracker sees it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from densenet_solutions.measure import predict_memory
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class Witness:
    """Peak bytes of a training step by two trackers.

    `theirs` leaves out the labels, which PyTorch's tracker is not told of: `label_bytes`.
    """

    ours: int
    theirs: int
    label_bytes: int


def witness(name: str, device: str) -> Witness:
    """128 images of 224x224, float32, no optimizer; fake tensors, so no device is needed."""
    net = network(name)
    shape = net.shape(128, 224)
    with FakeTensorMode():
        model, images = net.build(), torch.zeros(shape)
        labels = torch.zeros(shape[0], dtype=torch.int64)
        tracker = MemTracker()
        tracker.track_external(model, images)
        with tracker:
            nn.functional.cross_entropy(model(images), labels).backward()
        [peak] = tracker.get_tracker_snapshot("peak").values()
    [total] = (size for kind, size in peak.items() if str(kind) == "Total")
    return Witness(predict_memory(net.build, shape).peak_bytes, total, labels.nbytes)


def recipe() -> Recipe:
    """The book's two networks."""
    names = ("book-densenet", "book-resnet18")
    return Recipe("memory-witness", {name: name for name in names}, witness)
