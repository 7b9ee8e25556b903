"""The simulated caching allocator: sequences worked by hand, and what holds for every sequence."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from densenet_solutions.measure import CudaCache, predict_memory
from densenet_solutions.measure.cuda_cache import MIB, CachingAllocator
from densenet_solutions.measure.tracker import Operation, Trace


def mib(size: float) -> int:
    return round(size * MIB)


def after(
    *steps: float | str, expandable: bool = False, capacity: float | None = None
) -> tuple[float, float]:
    """Allocated and reserved MiB after a sequence: a number asks, `"-2"` releases the third."""
    cache = CachingAllocator(
        None if capacity is None else mib(capacity), expandable_segments=expandable
    )
    blocks: list[int] = []
    for step in steps:
        if isinstance(step, str):
            cache.release(blocks[int(step[1:])])
        else:
            blocks.append(cache.allocate(mib(step)))
    return cache.allocated / MIB, cache.reserved / MIB


ROUND = 512 / MIB
BY_HAND = {
    "512 bytes are the least": (after(1 / MIB), (ROUND, 2)),
    "rounded up to 512 bytes": (after(513 / MIB), (2 * ROUND, 2)),
    "two of 1 MiB fill a small segment": (after(1, 1), (2, 2)),
    "and a third begins another": (after(1, 1, ROUND), (2 + ROUND, 4)),
    "above 1 MiB from a segment of 20": (after(1 + ROUND), (1 + ROUND, 20)),
    "small and large never share": (after(5, 1, 5), (11, 22)),
    "up to 10 MiB share a segment": (after(9, 9), (18, 20)),
    "what does not fit begins another": (after(9, 9, 9), (27, 40)),
    "from 10 MiB on a segment of its own": (after(10), (10, 10)),
    "rounded up to 2 MiB": (after(10.5), (10.5, 12)),
    "a rest of at most 1 MiB is not cut off": (after(11), (12, 12)),
    "a freed segment stays": (after(50, "-0"), (0, 50)),
    "and is used again": (after(50, "-0", 50), (50, 50)),
    "also by something smaller": (after(50, "-0", 30), (30, 50)),
    "the smallest that fits": (after(50, 30, "-0", "-1", 24, 48), (72, 80)),
    "what is larger is a new segment": (after(50, "-0", 52), (52, 102)),
    "holes do not add up": (after(5, 5, 5, 5, "-0", "-2", 9), (19, 40)),
    "neighbours join": (after(5, 5, 5, 5, "-0", "-1", 8), (18, 20)),
    "on both sides": (after(5, 5, 5, 5, "-0", "-2", "-1", 15), (20, 20)),
    "a cut block is whole again": (after(18, "-0", 9, "-1", 18), (18, 18)),
    "under pressure the cache is given back": (after(20, "-0", 30, capacity=40), (30, 30)),
    "without pressure it is not": (after(20, "-0", 30, capacity=50), (30, 50)),
    "expandable: one segment grows by 20 MiB": (after(12, 12, expandable=True), (24, 40)),
    "by 2 MiB for small ones": (after(1, 1, ROUND, expandable=True), (2 + ROUND, 4)),
    "and has no gaps between": (after(12, 12, "-0", "-1", 40, expandable=True), (40, 40)),
    "a rest is always cut off": (after(11, expandable=True), (11, 20)),
    "an inner hole before the end that can grow":
        (after(12, 6, "-0", 10, expandable=True), (16, 20)),
    "a hole too small is left": (after(12, 6, "-0", 14, expandable=True), (20, 40)),
    "whole pieces are given back under pressure":
        (after(25, 10, "-0", 30, expandable=True, capacity=60), (40, 60)),
}  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), BY_HAND.values(), ids=BY_HAND)
def test_sequences_by_hand(found: tuple[float, float], expected: tuple[float, float]) -> None:
    assert found == expected


@pytest.mark.parametrize("expandable", [False, True])
def test_out_of_memory(expandable: bool) -> None:
    cache = CachingAllocator(mib(40), expandable_segments=expandable)
    first = cache.allocate(mib(15))
    with pytest.raises(MemoryError, match="31,457,280 bytes are asked for beside 1"):
        cache.allocate(mib(30))
    cache.release(first)
    cache.allocate(mib(30))
    assert cache.reserved <= mib(40)


#: Sizes on both sides of every rule.
SIZES = st.one_of(
    st.integers(1, 3 * MIB),
    st.sampled_from([511, 512, 513, MIB, MIB + 1, 2 * MIB, 10 * MIB - 1, 10 * MIB, 11 * MIB]),
    st.integers(MIB, 60 * MIB),
)
#: A size asks; `None` with a number releases one of those in use.
SEQUENCES = st.lists(st.one_of(SIZES, st.tuples(st.none(), st.integers(0, 999))), max_size=60)


@settings(max_examples=150)
@given(SEQUENCES, st.booleans(), st.sampled_from([None, 64 * MIB, 150 * MIB]))
def test_whatever_is_asked(sequence: list, expandable: bool, capacity: int | None) -> None:
    cache = CachingAllocator(capacity, expandable_segments=expandable)
    used: dict[int, int] = {}
    for step in sequence:
        if isinstance(step, int):
            try:
                address = cache.allocate(step)
            except MemoryError:
                assert capacity is not None
                continue
            assert address not in used
            used[address] = step
        elif used:
            address = sorted(used)[step[1] % len(used)]
            cache.release(address)
            del used[address]
        assert sum(used.values()) <= cache.allocated <= cache.reserved
        assert cache.allocated <= cache.peak_allocated <= cache.peak_reserved
        assert cache.reserved <= cache.peak_reserved
        assert capacity is None or cache.reserved <= capacity
        places = sorted(used.items())
        assert all(a + size <= b for (a, size), (b, _) in pairwise(places))
    for address in used:
        cache.release(address)
    assert cache.allocated == 0
    cache.empty_cache()
    assert cache.reserved == 0, "what was cut is whole again"


@settings(max_examples=50)
@given(st.lists(SIZES, max_size=30), st.booleans())
def test_the_same_again_takes_no_more(sizes: list[int], expandable: bool) -> None:
    cache = CachingAllocator(expandable_segments=expandable)
    for address in [cache.allocate(size) for size in sizes]:
        cache.release(address)
    before = cache.reserved
    for size in sorted(sizes, reverse=True):
        cache.release(cache.allocate(size))
    assert cache.reserved == before


def test_a_trace_by_hand() -> None:
    """Weights of 30 MiB; 12 MiB that live for one operation, then 14 MiB that the step leaves."""
    first, second = Operation(((1, mib(12)),), ()), Operation(((2, mib(14)),), (1,))
    trace = Trace((mib(30),), (first, second))
    once = CudaCache(steps=1, workspace_bytes=0).play(trace)
    assert once.timeline == tuple((mib(a), mib(b)) for a, b in ((30, 30), (42, 42), (44, 56)))
    twice = CudaCache(workspace_bytes=0).play(trace)
    # Now the 12 MiB come out of the block of 12 again: best fit.
    assert twice.timeline == tuple((mib(a), mib(b)) for a, b in ((30, 56), (42, 56), (44, 56)))
    assert (twice.allocated_bytes, twice.reserved_bytes, twice.fits) == (mib(44), mib(56), True)
    workspace = CudaCache(workspace_bytes=mib(8)).play(trace)
    # In the segment of 20 MiB that the 8 MiB begin, the 12 MiB fit as well.
    assert (workspace.allocated_bytes, workspace.reserved_bytes) == (mib(52), mib(64))
    # A kernel's 10 MiB beside the 44, only while it runs; the cache keeps the segment.
    busy = Trace((mib(30),), (first, second._replace(workspace=mib(10))))
    taken = CudaCache(steps=1, workspace_bytes=0).play(busy)
    assert taken.timeline == tuple((mib(a), mib(b)) for a, b in ((30, 30), (42, 42), (44, 56)))
    assert (taken.allocated_bytes, taken.reserved_bytes) == (mib(54), mib(56))
    twice = CudaCache(steps=2, workspace_bytes=0).play(busy)
    assert (twice.allocated_bytes, twice.reserved_bytes) == (mib(54), mib(56))
    tight = CudaCache(workspace_bytes=0, capacity=mib(44)).play(trace)
    assert (tight.fits, tight.reserved_bytes) == (True, mib(44))
    assert not CudaCache(workspace_bytes=0, capacity=mib(42)).play(trace).fits


def test_a_step_through_the_cache() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))

    result = predict_memory(build, (512, 1000), device="cuda", optimizer="adam")
    assert result.allocated_bytes is not None
    assert result.reserved_bytes is not None
    assert result.peak_bytes == predict_memory(build, (512, 1000), optimizer="adam").peak_bytes
    assert result.peak_bytes + 8_519_680 <= result.allocated_bytes <= result.reserved_bytes
    assert len(result.cache_timeline) == len(result.timeline)
    for (allocated, reserved), point in zip(result.cache_timeline, result.timeline, strict=True):
        assert point.bytes + 8_519_680 <= allocated <= reserved
    assert any("CUDA context" in note for note in result.notes)
    needed = result.reserved_bytes
    tight = predict_memory(build, (512, 1000), device="cuda", cache=CudaCache(capacity=MIB))
    assert tight.out_of_memory
    enough = CudaCache(capacity=needed)
    assert not predict_memory(
        build, (512, 1000), device="cuda", optimizer="adam", cache=enough
    ).out_of_memory
    assert predict_memory(build, (512, 1000)).reserved_bytes is None


def test_workspace_of_no_use() -> None:
    bare = predict_memory(
        nn.Conv2d(3, 4, 1), (1, 3, 8, 8), device="cuda", cache=CudaCache(workspace_bytes=0)
    )
    assert bare.reserved_bytes == 2 * MIB
    assert bare.dtype == str(torch.float32).removeprefix("torch.")
