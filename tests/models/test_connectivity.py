"""Patterns of connections: counts from the papers, seeds, and refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densenet_solutions.models.connectivity import (
    channels_of,
    dense,
    harmonic,
    logarithmic,
    random_sparse,
)

PATTERNS = {
    "dense": dense,
    "logarithmic": logarithmic,
    "harmonic": harmonic,
    "random": random_sparse(0.5, seed=1),
}


@pytest.mark.parametrize("name", PATTERNS)
@given(layer=st.integers(1, 200))
def test_sources_are_earlier_ascending_and_end_with_the_last(name: str, layer: int) -> None:
    sources = PATTERNS[name](layer)
    assert list(sources) == sorted(set(sources))
    assert sources[-1] == layer - 1
    assert sources[0] >= 0


@given(layer=st.integers(1, 1000))
def test_a_logarithmic_layer_has_logarithmically_many_sources(layer: int) -> None:
    assert len(logarithmic(layer)) == math.floor(math.log2(layer)) + 1


def test_a_harmonic_block_has_about_two_connections_a_layer() -> None:
    for layers in (16, 64, 256):
        connections = sum(len(harmonic(layer)) for layer in range(1, layers + 1))
        assert connections == 2 * layers - 1
    assert all(len(harmonic(layer)) == 1 for layer in range(1, 64, 2))


def test_a_random_pattern_keeps_to_its_share_and_seed() -> None:
    pattern = random_sparse(0.3, seed=7)
    counts = [len(pattern(layer)) - 1 for layer in range(1, 201)]
    assert sum(counts) == pytest.approx(0.3 * sum(range(200)), rel=0.05)
    assert pattern(50) == random_sparse(0.3, seed=7)(50) != random_sparse(0.3, seed=8)(50)


def test_channels_follow_the_concatenation() -> None:
    assert channels_of(dense(3), 5, 2).tolist() == list(range(5 + 2 * 2))
