"""Ratios of times: paired, with an interval that covers them."""

import pytest
import torchvision.models as published

import densenet_solutions.models as ours
from densenet_solutions.exercises.table_1.speed import against_torchvision, ratio_of_times


def test_a_constant_ratio_has_no_spread_however_the_machine_drifts():
    theirs = [1.0, 2.0, 8.0, 3.0]
    ratio = ratio_of_times([1.5 * t for t in theirs], theirs)
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((1.5, 1.5, 1.5))
    assert ratio.rounds == 4


def test_the_interval_covers_the_median_and_stays_within_the_rounds():
    ratio = ratio_of_times([1.0, 1.1, 0.9, 1.2, 1.0], [1.0] * 5)
    assert 0.9 <= ratio.low <= ratio.median == 1.0 <= ratio.high <= 1.2
    assert ratio.low < ratio.high


@pytest.mark.parametrize("pair", [([], []), ([1.0], [1.0, 2.0])])
def test_times_come_in_pairs(pair):
    with pytest.raises(ValueError, match="times come in pairs"):
        ratio_of_times(*pair)


def test_both_networks_really_run(monkeypatch):
    """Each network is called once a round; how long it takes is a benchmark's business."""
    calls = []
    for network in (ours.DenseNet, published.DenseNet):
        forward = network.forward

        def counted(self, x, forward=forward):
            calls.append(type(self))
            return forward(self, x)

        monkeypatch.setattr(network, "forward", counted)
    results = against_torchvision(batch=2, resolution=32, repeats=1)
    assert set(results) == {"forward", "training step"}
    assert all(ratio.rounds == 1 and ratio.seconds > 0 for ratio in results.values())
    rounds = 2 * (2 + 1)  # two comparisons, each two rounds of warming up and one timed
    assert calls.count(ours.DenseNet) == calls.count(published.DenseNet) == rounds
