"""How shared storage works through a batch: a slice of it after the other, in memory taken once.

Fewer slices start fewer operations, which is what a GPU's time goes into; more slices hold less at
a time, and what they hold fits into a CPU's cache.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Plan:
    """The slices of a feature map of `size`, at most `slices` of them."""

    size: Size
    slices: int

    @property
    def rows(self) -> int:
        """Pixels of the batch."""
        n, height, width = self.size
        return n * height * width

    @property
    def rows_at_once(self) -> int:
        """How many rows a matrix product and what surrounds it work on at once."""
        return min(self.rows, max(1024, -(-self.rows // self.slices)))

    def images_at_once(self, columns: int) -> int:
        """How many images a convolution or a pool with `columns` channels works on at once.

        At least about a million numbers: few enough for a CPU's cache, many enough for its
        convolutions.
        """
        n, height, width = self.size
        return min(n, max(-(-n // self.slices), (1 << 20) // (height * width * columns)))

    def images(self, columns: int) -> Iterator[tuple[slice, slice, Size]]:
        """Some images after the other: which images, which rows, and their own `(N, H, W)`."""
        n, height, width = self.size
        pixels = height * width
        for few in chunks(n, self.images_at_once(columns)):
            rows = slice(few.start * pixels, few.stop * pixels)
            yield few, rows, (few.stop - few.start, height, width)

    def row_chunks(self, within: slice | None = None) -> Iterator[slice]:
        """Some rows after the other, of all or of those within a slice."""
        within = within or slice(0, self.rows)
        for part in chunks(within.stop - within.start, self.rows_at_once):
            yield slice(within.start + part.start, within.start + part.stop)

    def scratch(self, like: Tensor, columns: int) -> Scratch:
        """Memory for any one of `row_chunks()`."""
        return Scratch(like, self.rows_at_once, columns)

    def scratch_for_images(self, like: Tensor, columns: int, taken: int | None = None) -> Scratch:
        """Memory for any one of `images(columns)`, `taken` (else `columns`) wide."""
        _, height, width = self.size
        rows = self.images_at_once(columns) * height * width
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
