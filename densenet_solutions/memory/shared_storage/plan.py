"""How shared storage works through a batch: a slice of it after the other, in memory taken once.

Fewer slices start fewer operations, which is what a GPU's time goes into; more slices hold less at
a time, and what they hold fits into a CPU's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from densenet_solutions import checks
from densenet_solutions.asked import asked_about, asked_device

#: `(N, H, W)` of a feature map.
Size = tuple[int, int, int]

#: Into how many slices a large batch is cut, if nothing else is asked for.
SLICES = {"cpu": 8, "cuda": 1}


@contextmanager
def planned_for(kind: str) -> Iterator[None]:
    """Within it, batches are cut as on a device of this kind, wherever the step runs.

    `predict_memory(…, device="cuda")` is within it already. This is for steps that are only
    counted, and for predictions of tensors alone.

    Raises:
        ValueError: `kind` is not `"cpu"` or `"cuda"`.
    """
    with asked_about(checks.choice("kind", kind, tuple(SLICES))):
        yield


def slices_on(device: torch.device) -> int:
    """Slices of a large batch on this device; without one (`meta`) those of a CPU."""
    # PyTorch 2.11 cannot compile a context variable.
    asked = None if torch.compiler.is_compiling() else asked_device()
    return SLICES.get(asked or device.type, SLICES["cpu"])


def plan_for(size: Size, device: torch.device, slices: int | None) -> Plan:
    """How to work through a feature map of `size`; without `slices` the device decides."""
    slices = slices or slices_on(device)
    kind = "compiled" if torch.compiler.is_compiling() else asked_device() or device.type
    on_cpu = kind in ("cpu", "meta")
    return Plan(size, slices, _threads_on(device, size[0], slices), on_cpu)


def _threads_on(device: torch.device, images: int, slices: int) -> int:
    """How many threads get images of their own: so few that a slice at most doubles for it."""
    if torch.compiler.is_compiling() or (asked_device() or device.type) != "cpu":
        return 1
    threads = math.gcd(images, torch.get_num_threads())
    return max(n for n in range(1, max(2, images // slices) + 1) if threads % n == 0)


@dataclass(frozen=True)
class Plan:
    """The slices of a feature map of `size`, at most `slices` of them.

    With several `threads` on a CPU a slice has as many whole images for each, is the same slice for
    every operation, and is summed in as many parts. PyTorch gives each thread an equal part of a
    slice's rows then, always the same, so that a core reads what it wrote itself. To read what
    another wrote takes several times as long on some occasions (recording `two-cores`).

    `on_cpu` says that operations are cheap to start there, and values of tensors to look at.
    """

    size: Size
    slices: int
    threads: int = 1
    on_cpu: bool = False

    @property
    def rows(self) -> int:
        """Pixels of the batch."""
        n, height, width = self.size
        return n * height * width

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.size[1] * self.size[2]

    @property
    def rows_at_once(self) -> int:
        """How many rows a matrix product and what surrounds it work on at once."""
        rows = max(1024 * self.threads, -(-self.rows // self.slices))
        if self.threads > 1:  # of whole images, as many of each thread
            rows = -(-rows // (self.pixels * self.threads)) * self.pixels * self.threads
        return min(self.rows, rows)

    def images_at_once(self, columns: int) -> int:
        """How many images a convolution or a pool with `columns` channels works on at once.

        At least about a million numbers: few enough for a CPU's cache, many enough for its
        convolutions. With several threads, the images of `rows_at_once`.
        """
        if self.threads > 1:
            return self.rows_at_once // self.pixels
        n = self.size[0]
        return min(n, max(-(-n // self.slices), (1 << 20) // (self.pixels * columns)))

    def images(self, columns: int) -> Iterator[tuple[slice, slice, Size]]:
        """Some images after the other: which images, which rows, and their own `(N, H, W)`."""
        n, height, width = self.size
        for few in chunks(n, self.images_at_once(columns)):
            rows = slice(few.start * self.pixels, few.stop * self.pixels)
            yield few, rows, (few.stop - few.start, height, width)

    def row_chunks(self, within: slice | None = None) -> Iterator[slice]:
        """Some rows after the other, of all or of those within a slice."""
        within = within or slice(0, self.rows)
        for part in chunks(within.stop - within.start, self.rows_at_once):
            yield slice(within.start + part.start, within.start + part.stop)

    def own(self, rows: Tensor) -> Tensor:
        """`(rows, C)` → `(threads, rows / threads, C)`; as they are if that is not a whole number.

        Of a sum over all rows PyTorch gives each thread some columns; of sums in parts, a part.
        """
        if self.threads == 1 or len(rows) % self.threads:
            return rows
        return rows.unflatten(0, (self.threads, -1))

    def scratch(self, like: Tensor, columns: int, at_least: int = 0) -> Scratch:
        """Memory for any one of `row_chunks()`, or for so many numbers."""
        return Scratch(like, max(self.rows_at_once * columns, at_least), 1)

    def scratch_for_images(self, like: Tensor, columns: int, taken: int | None = None) -> Scratch:
        """Memory for any one of `images(columns)`, `taken` (else `columns`) wide."""
        rows = self.images_at_once(columns) * self.pixels
        return Scratch(like, rows, columns if taken is None else taken)


class Scratch:
    """Memory for the slices, taken once and used again and again."""

    def __init__(self, like: Tensor, rows: int, columns: int) -> None:
        self.memory = like.new_empty(rows * columns)

    def take(self, rows: int, columns: int) -> Tensor:
        return self.memory[: rows * columns].view(rows, columns)


def chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `range(total)`; an empty one where that is empty."""
    for start in range(0, max(total, 1), max(size, 1)):
        yield slice(start, min(start + size, total))
