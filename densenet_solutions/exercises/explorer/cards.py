"""Which cards have what a step needs; `docs/assets/explorer.js` says the same.

*Allocated* is what tensors hold, and no card with less will do. *Reserved* is what PyTorch's
allocator takes for it, and it decides; under pressure the allocator gives back what is free, so
between the two it is tight. Both are predicted, and a GPU reserved more than the page says: a
`Margin` has by how much at worst in steps that are not small, and what is gone from the card
besides.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from densenet_solutions.exercises.explorer.estimate import Need, need
from densenet_solutions.exercises.explorer.own import OWN
from densenet_solutions.exercises.explorer.predictions import (
    NETWORKS,
    RESNET,
    ExplorerCase,
    case_name,
)
from densenet_solutions.exercises.memory.gpu import Held
from densenet_solutions.exercises.memory.grid import GridPredicted, grid
from densenet_solutions.records.serialise import from_json

GIB = 2**30
#: GPUs and the GiB that `torch.cuda.get_device_properties(0).total_memory` reports on them, the
#: least that users report: less than on the box, since error correction and the driver take some,
#: and NVIDIA's gigabytes are partly decimal.
CARDS = {
    "T4": 14.5,
    "V100": 15.7,
    "RTX 4090": 23.5,
    "RTX 5090": 31.3,
    "A100": 39.3,
    "L40S": 44.3,
    "H100": 79.1,
    "H200": 139.8,
}
#: No larger batch is looked for.
LARGEST = 65_536


@dataclass(frozen=True)
class Margin:
    """What a GPU needed beyond what `need` says: see `margin`.

    `context_bytes` is the most that was gone from a card besides what the step reserved. `miss`
    has, for a network and whether it is trained, the largest share by which more was reserved.
    """

    context_bytes: int
    miss: dict[tuple[str, bool], float]

    def bounds(self, case: ExplorerCase, found: Need) -> tuple[int, int]:
        """Bytes of a card on which the tensors fit beside `context_bytes`, and on which the step
        should."""
        miss = self.miss[case.network, case.method != "inference"]
        return (
            found.allocated + self.context_bytes,
            int(found.reserved * (1 + miss) + 0.5) + self.context_bytes,
        )


def margin(rows: Iterable[Held], cases: Mapping[str, ExplorerCase]) -> Margin:
    """The worst of what GPUs reserved beyond `need`, in steps that reserved above 1 GiB.

    A network of one's own was not measured, and has the worst of all DenseNets.
    """
    rows = tuple(rows)
    miss = misses(rows, cases, above=GIB)
    of_own = {
        (OWN, train): max(miss[name, train] for name in NETWORKS if name != RESNET)
        for train in (False, True)
    }
    return Margin(max(gone(rows)), miss | of_own)


def gone(rows: Iterable[Held]) -> list[int]:
    """Bytes gone from the card besides what a step reserved, where it had the card to itself."""
    return [row.taken_bytes - _reserved(row) for row in rows if row.case.alone]


def said(row: Held, cases: Mapping[str, ExplorerCase]) -> Need:
    """What the page says of a step that a GPU measured."""
    case = row.case
    method = "plain" if case.train else "inference"
    name = case_name(case.network, method, case.autocast)
    return need(cases[name], case.batch, case.resolution)


def misses(
    rows: Iterable[Held],
    cases: Mapping[str, ExplorerCase],
    *,
    above: float = 0,
    up_to: float = math.inf,
) -> dict[tuple[str, bool], float]:
    """`Margin.miss` over steps that reserved more than `above` bytes, and at most `up_to`."""
    miss: dict[tuple[str, bool], float] = {}
    for row in rows:
        if row.case.network not in NETWORKS or not above < _reserved(row) <= up_to:
            continue
        # to three digits, and never less than what was seen
        more = math.ceil(1000 * max(0.0, _reserved(row) / said(row, cases).reserved - 1)) / 1000
        at = row.case.network, row.case.train
        miss[at] = max(miss.get(at, 0.0), more)
    return miss


def _reserved(row: Held) -> int:
    assert row.measured.reserved_bytes is not None
    return row.measured.reserved_bytes


def largest_batch(
    case: ExplorerCase,
    resolution: int,
    card_bytes: float,
    margins: Margin,
    optimizer: str = "none",
) -> tuple[int, int]:
    """Batches up to which a step fits, and up to which it may: from 0 to `LARGEST`."""

    def up_to(which: int) -> int:
        def too_large(batch: int) -> bool:
            found = need(case, batch, resolution, optimizer)
            return margins.bounds(case, found)[which] > card_bytes

        return bisect.bisect_left(range(1, LARGEST + 1), True, key=too_large)

    return up_to(1), up_to(0)


def off_the_points(
    cases: Mapping[str, ExplorerCase], predicted: Mapping[str, Any]
) -> tuple[tuple[Need, Need], ...]:
    """What the page says, and what was predicted: every case of the record `memory-grid-predicted`
    that is one of ours, at sizes that are none of its points."""
    pairs = []
    for there in grid():
        method = "plain" if there.train else "inference"
        case = cases.get(case_name(there.network, method, there.autocast))
        size = there.batch, there.resolution
        if case is None:
            continue
        if size not in {(p.batch, p.resolution) for p in case.points}:
            fresh = from_json(GridPredicted, predicted[there.name])
            pairs.append((need(case, *size), Need(fresh.allocated_bytes, fresh.reserved_bytes)))
    return tuple(pairs)
