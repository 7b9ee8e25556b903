"""What PyTorch's caching allocator for CUDA makes of a step: a simulation of its published rules.

The rules are those of `c10/cuda/CUDACachingAllocator.cpp` and `c10/core/AllocatorConfig.h` (the
functions `malloc`, `get_free_block`, `alloc_block`, `should_split`, `try_merge_blocks`,
`release_cached_blocks` and, for expandable segments, `try_allocate_expandable_block`, `map_block`,
`unmap_block`), with their default settings, on one stream. A process holds more than that: the
CUDA context, and what libraries such as cuDNN take while a kernel runs, as far as a `Trace` does
not have it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

from densenet_solutions import checks
from densenet_solutions.measure.tracker import Trace

MIB = 2**20
#: Every size is rounded up to a multiple of this.
ROUNDING = 512
#: Up to this size, and above it: two pools that never share a block.
SMALL = MIB
SMALL_SEGMENT, LARGE_SEGMENT = 2 * MIB, 20 * MIB
#: From here on a segment has the size that was asked for, rounded up to 2 MiB.
OWN_SEGMENT, OWN_ROUNDING = 10 * MIB, 2 * MIB
#: What cuBLAS keeps from its first product on: by default, and on Hopper.
CUBLAS_WORKSPACE, CUBLAS_WORKSPACE_HOPPER = 8_519_680, 32 * MIB


@dataclass(slots=True, eq=False)
class _Block:
    """A stretch of a segment: `"used"`, `"free"`, or `"unmapped"`, which is address space only."""

    address: int
    size: int
    small: bool
    state: str
    before: _Block | None = None
    after: _Block | None = None


class CachingAllocator:
    """Hands out blocks and takes them back; `allocated` and `reserved` are bytes.

    Args:
        capacity: bytes that the device has to give, without a limit if `None`.
        expandable_segments: as `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True` has it: one
            segment for each pool, to which memory is added at its end.
    """

    def __init__(self, capacity: int | None = None, *, expandable_segments: bool = False) -> None:
        self.capacity, self.expandable = capacity, expandable_segments
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self._used: dict[int, _Block] = {}
        self._at: dict[int, _Block] = {}  # free blocks by address
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # (size, address)
        self._end = 0  # of the addresses in use
        self._first: dict[bool, _Block] = {}  # of the expandable segments

    def allocate(self, size: int) -> int:
        """Hand out a block of at least `size` bytes, by its address.

        Raises:
            MemoryError: the capacity does not suffice, not even when the cache is emptied.
        """
        size = max(ROUNDING, -(-size // ROUNDING) * ROUNDING)
        small = size <= SMALL
        segment = SMALL_SEGMENT if small else LARGE_SEGMENT
        if size >= OWN_SEGMENT and not self.expandable:
            segment = -(-size // OWN_ROUNDING) * OWN_ROUNDING
        emptied = False
        while (block := self._best_fit(size, small)) is None:
            if self.capacity is None or self.reserved + segment <= self.capacity:
                self._grow(size, segment, small)
            elif not emptied:
                self.empty_cache()
                emptied = True
            else:
                raise MemoryError(f"{size:,} bytes are asked for beside {self.allocated:,}")
        self._take(block)
        block.state = "used"
        rest = block.size - size
        if rest >= ROUNDING if small or self.expandable else rest > SMALL:
            self._give(self._cut(block, size, "free"))
        self._used[block.address] = block
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block.address

    def release(self, address: int) -> None:
        """Take a block back into the cache, and join it with its free neighbours."""
        block = self._used.pop(address)
        self.allocated -= block.size
        block.state = "free"
        self._give(block)

    def empty_cache(self) -> None:
        """Give back to the device the segments (or mapped pieces) in which nothing is in use."""
        for block in list(self._at.values()):
            if self.expandable:
                self._unmap(block)
            elif block.before is None and block.after is None:
                self._take(block)
                self.reserved -= block.size

    # --- free blocks --------------------------------------------------------------------------

    def _best_fit(self, size: int, small: bool) -> _Block | None:
        free = self._free[small]
        at = bisect_left(free, (size, -1))
        if at == len(free):
            return None
        if self.expandable:  # a block that can grow counts with all that it could grow to
            while at + 1 < len(free) and self._reach(free[at + 1]) < self._reach(free[at]):
                at += 1
        return self._at[free[at][1]]

    def _reach(self, entry: tuple[int, int]) -> int:
        after = self._at[entry[1]].after
        return entry[0] + (after.size if after is not None and after.state == "unmapped" else 0)

    def _take(self, block: _Block) -> None:
        """Out of the free blocks."""
        del self._at[block.address]
        free = self._free[block.small]
        free.pop(bisect_left(free, (block.size, block.address)))

    def _give(self, block: _Block) -> None:
        """Among the free blocks, joined with free neighbours."""
        if block.after is not None and block.after.state == "free":
            self._take(block.after)
            self._join(block)
        if block.before is not None and block.before.state == "free":
            block = block.before
            self._take(block)
            self._join(block)
        self._at[block.address] = block
        insort(self._free[block.small], (block.size, block.address))

    @staticmethod
    def _cut(block: _Block, size: int, state: str) -> _Block:
        """Cut a block after `size` bytes; what is left of it is in `state`."""
        rest = _Block(
            block.address + size, block.size - size, block.small, state, block, block.after
        )
        if rest.after is not None:
            rest.after.before = rest
        block.size, block.after = size, rest
        return rest

    @staticmethod
    def _join(block: _Block) -> None:
        """Make a block and the one after it one."""
        rest = block.after
        assert rest is not None
        block.size, block.after = block.size + rest.size, rest.after
        if block.after is not None:
            block.after.before = block

    # --- memory of the device -------------------------------------------------------------------

    def _grow(self, size: int, segment: int, small: bool) -> None:
        """Take a segment, or the next piece of an expandable one that a block of `size` needs."""
        if self.expandable:
            block = self._space(size, small)
            if block.size > segment:
                self._cut(block, segment, "unmapped")
            block.state = "free"
        else:
            block = _Block(self._end, segment, small, "free")
            self._end += segment
        self._give(block)
        self.reserved += segment
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def _space(self, size: int, small: bool) -> _Block:
        """The first unmapped block that has room for `size` bytes, with a free one before it."""
        if small not in self._first:
            start = 0 if small else LARGE_SEGMENT << 40
            self._first[small] = _Block(start, LARGE_SEGMENT << 36, small, "unmapped")
        block: _Block | None = self._first[small]
        while block is not None:
            if block.state == "unmapped":
                before, room = block.before, 0
                if before is not None and before.state == "free":
                    room = before.size
                following: _Block | None = block
                while following is not None and following.state != "used":
                    room, following = room + following.size, following.after
                if room >= size:
                    return block
            block = block.after
        raise AssertionError("the address space has an end")

    def _unmap(self, block: _Block) -> None:
        """Give back the whole pieces inside of a free block."""
        piece = SMALL_SEGMENT if block.small else LARGE_SEGMENT
        start = -(-block.address // piece) * piece
        end = (block.address + block.size) // piece * piece
        if end <= start:
            return
        self._take(block)
        block.state = "unmapped"
        if block.address + block.size > end:
            self._give(self._cut(block, end - block.address, "free"))
        if start > block.address:
            front, block = block, self._cut(block, start - block.address, "unmapped")
            front.state = "free"
            self._give(front)
        self.reserved -= block.size
        if block.after is not None and block.after.state == "unmapped":
            self._join(block)
        if block.before is not None and block.before.state == "unmapped":
            self._join(block.before)


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """What a step takes of a device by the rules of the caching allocator, in bytes.

    `allocated_bytes` and `reserved_bytes` are peaks over all steps; `timeline` has (allocated,
    reserved) before the last step and after each of its operations, when what a kernel took only
    while it ran is given back. `fits` says whether the
    capacity sufficed; if not, the peaks are those up to where it did not.
    """

    allocated_bytes: int
    reserved_bytes: int
    timeline: tuple[tuple[int, int], ...]
    fits: bool = True


@dataclass(frozen=True, kw_only=True)
class CudaCache:
    """A process on a GPU in which a step is repeated.

    Args:
        steps: how often; the cache is warm after two or three.
        workspace_bytes: what cuBLAS keeps; 0 for networks without matrix products.
        capacity: bytes that the device has for tensors: its memory without the CUDA context.
        expandable_segments: as `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`.

    Raises:
        TypeError, ValueError: an argument is impossible.
    """

    steps: int = 3
    workspace_bytes: int = CUBLAS_WORKSPACE
    capacity: int | None = None
    expandable_segments: bool = False

    def __post_init__(self) -> None:
        checks.integer("steps", self.steps)
        checks.integer("workspace_bytes", self.workspace_bytes, at_least=0)
        if self.capacity is not None:
            checks.integer("capacity", self.capacity)
        checks.flag("expandable_segments", self.expandable_segments)

    def play(self, trace: Trace) -> CacheUse:
        """Repeat a step's births and deaths of storages; what a step leaves behind dies with it."""
        cache = CachingAllocator(self.capacity, expandable_segments=self.expandable_segments)
        timeline: list[tuple[int, int]] = []
        try:
            for resident in (*trace.resident, self.workspace_bytes):
                if resident:
                    cache.allocate(resident)
            for _ in range(self.steps):
                timeline = [(cache.allocated, cache.reserved)]
                alive: dict[int, int] = {}
                for births, deaths, workspace in trace.operations:
                    for storage in deaths:
                        cache.release(alive.pop(storage))
                    for storage, size in births:
                        alive[storage] = cache.allocate(size)
                    if workspace:
                        cache.release(cache.allocate(workspace))
                    timeline.append((cache.allocated, cache.reserved))
                for address in alive.values():
                    cache.release(address)
        except MemoryError:
            fits = False
        else:
            fits = True
        return CacheUse(
            allocated_bytes=cache.peak_allocated,
            reserved_bytes=cache.peak_reserved,
            timeline=tuple(timeline),
            fits=fits,
        )
