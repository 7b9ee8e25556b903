"""Recipe `memory-headline`: the book's two networks at batch 128 and 224², run on a CPU.

The size that exercise 3.1 speaks of takes minutes and 4 GiB, so it is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from densenet_solutions.measure import measure_memory, predict_memory
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe

BATCH, RESOLUTION = 128, 224


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Peaks of one training step in bytes, everything included: predicted, and by the allocator.

    `threads` is how many the CPU worked with.
    """

    network: str
    batch: int
    resolution: int
    threads: int
    predicted_bytes: int
    measured_bytes: int


def headline(name: str, device: str = "cpu") -> Headline:
    """Predict and measure one training step of the network `name`, float32, no optimizer."""
    net = network(name)
    shape = net.shape(BATCH, RESOLUTION)
    return Headline(
        network=name,
        batch=BATCH,
        resolution=RESOLUTION,
        threads=1,
        predicted_bytes=predict_memory(net.build, shape).peak_bytes,
        measured_bytes=measure_memory(net.build, shape, device=device).peak_bytes,
    )


def recipe() -> Recipe:
    """Both networks of the book."""
    names = ("book-densenet", "book-resnet18")
    return Recipe(name="memory-headline", cases={name: name for name in names}, measure=headline)
