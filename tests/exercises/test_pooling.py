"""Exercise 1's studies against closed forms, simulations and hand counts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from densenet_solutions.exercises.parameters.reuse import feature_reuse
from densenet_solutions.exercises.pooling import (
    aliasing,
    comparison,
    converged,
    pictures,
    study,
    swap,
)
from densenet_solutions.exercises.pooling.features import (
    opposite_signs,
    pooled_features,
    shifted,
)
from densenet_solutions.exercises.pooling.gradients import (
    POOLINGS,
    evenness,
    gradient_reach,
    route_gradient,
)
from densenet_solutions.exercises.recipes import recipe
from densenet_solutions.images import ImageSet
from densenet_solutions.measure import saved_bytes
from densenet_solutions.models import book_densenet, densenet121
from densenet_solutions.models.densenet import Transition
from densenet_solutions.records.store import load_record


def normal_moments() -> list[tuple[str, float, float, float]]:
    """Mean, variance and skewness of pooled independent standard normals, by simulation.

    The mean of the maximum of four is known in closed form.
    """
    draws = np.random.default_rng(0).standard_normal((400_000, 4))
    assert draws.max(1).mean() == pytest.approx(
        6 / math.pi**1.5 * math.atan(math.sqrt(2)), abs=0.01
    )
    pooled = {"average": draws.mean(1), "max": draws.max(1), "stride": draws[:, 0]}
    return [(name, x.mean(), x.var(), stats.skew(x)) for name, x in pooled.items()]


def test_features_without_structure_pool_like_independent_normals() -> None:
    x = torch.randn(400, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    result = pooled_features("noise", 5 * x - 2)
    assert result.neighbour_correlation == pytest.approx(0, abs=0.02)
    for measured, (name, mean, variance, skewness) in zip(
        result.moments, normal_moments(), strict=True
    ):
        assert measured.pooling == name
        assert measured.mean == pytest.approx(mean, abs=0.02)
        assert measured.variance == pytest.approx(variance, abs=0.02)
        assert measured.skewness == pytest.approx(skewness, abs=0.05)
        # An input's covariance with the pooled value is 1/4, with the stride's 1 or 0.
        share = 1 / 4 if name == "stride" else 1 / 16 / variance
        assert result.explained[name] == pytest.approx(share, abs=0.02)
    for errors in result.aliasing.values():
        assert errors["stride"] > errors["max"] > errors["average"] > errors["blur"]


def wave(period: float, width: int = 32) -> torch.Tensor:
    """A cosine whose mirror image continues it; `(1, 1, 2, width)`."""
    cells = torch.arange(width, dtype=torch.float64)
    return torch.cos(2 * math.pi * (cells + 0.5) / period).expand(1, 1, 2, width)


def test_a_pool_of_what_fits_the_smaller_grid_moves_by_half_a_cell() -> None:
    """Down to the period of 4, every second cell is enough: the sampling theorem."""
    for period in (64, 32, 16, 64 / 15):
        for pool in ("average", "stride", "blur"):
            assert aliasing.half_shift_error(wave(period), aliasing.POOLS[pool]) < 1e-20
    assert aliasing.half_shift_error(wave(64), aliasing.POOLS["average"], aliasing.by_line) > 1e-8


def test_a_pool_of_finer_detail_does_not() -> None:
    """A wave of period 64/23 returns as one of 64/9 when every second cell is kept."""
    fine = wave(64 / 23)
    for pool in ("average", "stride", "blur"):
        assert aliasing.half_shift_error(fine, aliasing.POOLS[pool]) > 1.9
    both = wave(64) + 0.1 * fine
    for power, name in enumerate(("stride", "average", "blur")):
        # A box of two passes cos(πf) of frequency f, the blur is two boxes.
        passed = (0.1 * (math.cos(math.pi * 23 / 64) / math.cos(math.pi / 64)) ** power) ** 2
        error = aliasing.half_shift_error(both, aliasing.POOLS[name])
        assert error == pytest.approx(2 * passed / (1 + passed))


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_the_gradient_is_routed_by_hand(pooling: str) -> None:
    before = torch.tensor([[1.0, 4, 0, -3], [2, 3, -1, -2], [9, 8, 5, 5.5], [7, 6, 5, 5]])
    gradient = torch.tensor([[4.0, 8], [12, 16]])
    by_hand = {
        "average": [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]],
        "max": [[0, 4, 8, 0], [0, 0, 0, 0], [12, 0, 0, 16], [0, 0, 0, 0]],
        "stride": [[4, 0, 8, 0], [0, 0, 0, 0], [12, 0, 16, 0], [0, 0, 0, 0]],
    }
    assert route_gradient(before, gradient, pooling).tolist() == by_hand[pooling]


def test_the_gradient_reaches_what_it_must() -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(4, 1, 32, 32), torch.arange(4)
    for pooling, at_pool, active in (("average", 1, 1), ("max", 0.25, 1), ("stride", None, 0.25)):
        model = book_densenet(pooling, num_init_features=16, growth_rate=8, block_config=(2, 2))
        reach = gradient_reach(model, images, labels, pooling=pooling)
        assert reach.pool_input == pytest.approx(at_pool, abs=0.01)
        assert reach.active_features == pytest.approx(active, abs=0.05)
        assert reach.block_output > 0.99
        assert all(p.grad is None for p in model.parameters())


def test_evenness_is_one_for_all_and_a_share_for_few_whatever_an_image_or_a_channel_gets() -> None:
    even = torch.ones(2, 3, 4, 4) * torch.tensor([1.0, 100.0]).reshape(2, 1, 1, 1)
    even[:, 1] *= -7
    assert evenness(even) == pytest.approx(1)
    one_in_four = even.clone()
    one_in_four[..., 1::2, :] = one_in_four[..., 1::2] = 0
    assert evenness(one_in_four) == pytest.approx(1 / 4)
    both = torch.stack((even[0], one_in_four[0]))
    assert evenness(both) == pytest.approx(5 / 8)


def test_what_opposite_signs_take_from_windows_by_hand() -> None:
    x = torch.tensor([[3.0, -1, -2, -2], [1, 1, -1, -1], [2, 0, 5, -5], [0, 2, 1, -1]])
    found = opposite_signs(x.reshape(1, 1, 4, 4))
    # windows: 3 −1 1 1; −2 −2 −1 −1; 2 0 0 2; 5 −5 1 −1. Sums 4, −6, 4, 0 of 6, 6, 4, 12.
    assert found == {"negative": 7 / 16, "mixed": 2 / 4, "cancelled": pytest.approx(1 - 14 / 28)}


def test_pooling_first_saves_what_a_count_by_hand_says() -> None:
    transition = densenet121(growth_rate=8, block_config=(2, 2), num_init_features=16).features[5]
    channels, side = transition.norm.num_features, 12
    assert type(transition.pool) is nn.AvgPool2d
    full = 4 * side * side
    statistics = 2 * 4 * channels  # mean and inverse deviation of the batch
    # input of the norm, output of the ReLU, input of the pool (half the channels)
    expected = full * channels + full * channels + full * channels // 2 + statistics
    assert saved_bytes(transition, (1, channels, side, side)) == expected


def test_a_shift_moves_and_fills_with_black() -> None:
    x = torch.arange(1.0, 5).reshape(1, 1, 1, 4)
    assert shifted(x, 1).flatten().tolist() == [0, 1, 2, 3]


def test_a_relu_removes_what_is_negative_before_or_after_a_maximum() -> None:
    """max and ReLU are both increasing, and a positive scale keeps the order; an average mixes."""
    apart = study.relu_after_pool(0.96)
    assert apart["max"] == apart["stride"] == 0 < 0.1 < apart["average"]
    assert study.relu_after_pool(-0.96)["max"] > 0.1


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=8), st.floats(-3, 3), st.floats(-3, 3))
def test_the_average_changes_places_with_any_convolution(x, a, b) -> None:
    first, second = swap.both_orders((x[:4], x[4:]), (a, b))["average"]
    by_hand = a * sum(x[:4]) / 4 + b * sum(x[4:]) / 4
    assert first == pytest.approx(by_hand, abs=1e-9)
    assert second == pytest.approx(by_hand, abs=1e-9)


def test_the_maximum_does_not() -> None:
    after, before = swap.both_orders(((0, 0, 0, 4), (4, 0, 0, 0)), (1, -1))["maximum"]
    assert (after, before) == (4, 0)
    assert "differ by" in swap.swap_frames().html


def test_the_variants_start_from_the_same_weights_and_halve_the_resolution() -> None:
    started = {}
    for variant in converged.VARIANTS[:-1]:
        torch.manual_seed(0)
        model = converged.build(variant)
        started[variant] = [p.detach() for p in model.parameters()]
        assert model(torch.randn(2, 1, 64, 64)).shape == (2, 10)
        [first, *_] = [part for part in model.modules() if isinstance(part, Transition)]
        assert first.eval()(torch.randn(1, 192, 8, 8)).shape == (1, 96, 4, 4)
    for weights in started.values():
        assert all(map(torch.equal, weights, started["average"]))


def test_the_blur_is_the_binomial_filter_and_a_stride() -> None:
    x = torch.arange(36.0).reshape(1, 1, 6, 6) ** 2
    row = torch.tensor([1.0, 2, 1])
    kernel = (row[:, None] * row / 16)[None, None]
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    assert torch.allclose(converged.Blur()(x), nn.functional.conv2d(padded, kernel, stride=2))


def test_a_maximum_that_stands_first_is_the_pooled_convolution() -> None:
    model = converged.build("maximum before the convolution").eval()
    [first, *_] = [part for part in model.modules() if isinstance(part, Transition)]
    x = torch.randn(1, 192, 4, 4)
    rectified = torch.relu(first.norm(x))
    by_hand = first.conv[1](nn.functional.max_pool2d(rectified, 2))
    assert torch.equal(first(x), by_hand)


def test_choosing_never_sees_the_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded run is replaced by what it was given."""
    given: dict[str, ImageSet] = {}

    def load(split: str) -> ImageSet:
        numbers = torch.arange(10_004 if split == "train" else 3)
        pixels = torch.zeros(len(numbers), 1, 28, 28, dtype=torch.uint8)
        return ImageSet(pixels, numbers if split == "train" else -numbers - 1)

    def train(build: object, train_set: ImageSet, test_set: ImageSet, *a: object, **k: object):
        given.update(train=train_set, test=test_set)
        return None, None

    monkeypatch.setattr(converged, "load_fashion_mnist", load)
    monkeypatch.setattr(converged, "train", train)
    converged.run_case(converged.ConvergedCase("blur", converged.SETTINGS, choosing=True), "cpu")
    assert given["train"].labels.tolist() == [0, 1, 2, 3]
    assert given["test"].labels.tolist() == list(range(4, 10_004))
    converged.run_case(converged.ConvergedCase("blur", converged.SETTINGS, choosing=False), "cpu")
    assert len(given["train"]) == 10_004
    assert given["test"].labels.tolist() == [-1, -2, -3]


def test_every_training_has_the_learning_rate_that_was_chosen_on_held_out_images() -> None:
    rates, chosen = study.learning_rates(), converged.chosen_rates()
    for variant, runs in rates.items():
        best = max(run.epochs[-1].test_accuracy for run in runs.values())
        assert runs[chosen[variant]].epochs[-1].test_accuracy == best
    for variant, runs in study.converged().items():
        assert all(run.settings.learning_rate == chosen[variant] for run in runs)
        assert all((run.train_images, run.test_images) == (60_000, 10_000) for run in runs)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=9, unique=True), st.integers(1, 9))
def test_a_difference_is_students_over_pairs(steps: list[int], base: int) -> None:
    theirs = [base + 0.1 * i for i in range(len(steps))]
    ours = [value + step for value, step in zip(theirs, steps, strict=True)]
    found = comparison.differences({"it": (ours, theirs)})["it"]
    spread = np.std(steps, ddof=1) / math.sqrt(len(steps))
    quantile = stats.t(len(steps) - 1).ppf(0.975)
    assert found.mean == pytest.approx(np.mean(steps), abs=1e-9)
    assert found.half_width == pytest.approx(quantile * spread)
    assert found.adjusted == found.p  # a family of one
    low, high = found.interval
    assert found.told_apart == (low > 0 or high < 0)


def test_holm_by_hand() -> None:
    """The smallest of four times 4, then 3, 2, 1; none below a smaller one's, none over 1."""
    p = {"a": 0.04, "b": 0.005, "c": 0.03, "d": 0.9}
    assert comparison.holm(p) == pytest.approx({"a": 0.09, "b": 0.02, "c": 0.09, "d": 0.9})
    assert comparison.holm({"a": 0.6, "b": 0.7}) == {"a": 1, "b": 1}


def test_a_pair_has_a_value_a_seed_on_both_sides() -> None:
    for pair in (([1.0, 2.0], [1.0]), ([1.0], [2.0]), ([], [])):
        with pytest.raises(ValueError, match="one value a seed on both sides"):
            comparison.differences({"it": pair})


def test_all_trainings_are_there_and_compared_as_one_family() -> None:
    runs = study.converged()
    assert {variant: [run.settings.seed for run in of] for variant, of in runs.items()} == {
        variant: [0, 1, 2, 3, 4] for variant in converged.VARIANTS
    }
    del runs["ResNet-18"]
    compared = comparison.against_average(runs)
    family = [d for rows in compared.values() for d in rows.values()]
    assert len(family) == 15
    smallest = min(family, key=lambda d: d.p)
    assert smallest.adjusted == pytest.approx(15 * smallest.p)
    html = pictures.differences(compared, "Differences to the average.").html
    assert html.count("not told apart") == 2 * sum(not d.told_apart for d in family)


def test_which_predictions_stay_more_often_where_the_network_averages() -> None:
    found = study.average_is_steadier()
    assert set(found) == {(o, by) for o in ("max", "stride") for by in ("1", "2", "3", "4")}
    cases = load_record("pooling-features").cases
    for (other, by), difference in found.items():
        stays = {
            name: [cases[f"{name}-{seed}"]["shift_agreement"][by] for seed in range(5)]
            for name in ("average", other)
        }
        by_hand = np.subtract(stays["average"], stays[other])
        assert difference.values == pytest.approx(by_hand.tolist())
        assert difference.p == pytest.approx(stats.ttest_1samp(by_hand, 0).pvalue)
        shown = {("max", "2"), ("stride", "2"), ("stride", "3"), ("stride", "4")}
        assert difference.told_apart == ((other, by) in shown)


def test_every_recorded_case_can_be_read_and_drawn() -> None:
    for feature_map in study.feature_maps():
        pooled, routed = study.pooled_and_routed(feature_map)
        assert np.allclose(np.sum(routed["max"]), np.sum(feature_map.gradient), atol=1e-6)
        html = pictures.pooled_map(feature_map, pooled, routed, "A map").html
        assert 'role="img"' in html
        assert (
            html.count(">blue: positive, orange: negative<") == 2
        )  # both drawings say what a colour means
        negative = {name: np.mean(np.less(values, 0)) for name, values in pooled.items()}
        assert negative["max"] == negative["stride"] < negative["average"]  # caption and alt


def test_the_recipes_compare_alike() -> None:
    for name in ("pooling-features", "pooling-learning-rates"):
        settings: dict[int, set[object]] = {}
        for case in recipe(name).cases.values():
            settings.setdefault(case.settings.seed, set()).add(
                replace(case.settings, learning_rate=1)
            )
        assert all(len(alike) == 1 for alike in settings.values())
    cases = recipe("pooling-converged").cases
    assert len(cases) == 35
    assert len({replace(case.settings, learning_rate=1, seed=0) for case in cases.values()}) == 1


def test_feature_reuse_finds_weights_where_they_were_put() -> None:
    model = book_densenet(num_init_features=8, growth_rate=4, block_config=(3,))
    with torch.no_grad():
        for layer in model.features.denseblock1:
            layer.conv1.weight.zero_()
        model.features.denseblock1[2].conv1.weight[:, 8:12] = -2.0  # layer 3 reads layer 1
    block = feature_reuse(model)[0]
    assert block.sources == ("input", "layer 1", "layer 2", "layer 3")
    assert block.readers == ("layer 1", "layer 2", "layer 3", "classifier")
    assert block.weights[1][2] == 2
    assert block.weights[0][2] == block.weights[2][2] == 0
    assert block.weights[3][2] is None
    with pytest.raises(TypeError, match="Linear"):
        feature_reuse(nn.Linear(2, 2))
