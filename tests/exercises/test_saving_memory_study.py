"""The study behind exercise 3.2, against closed forms and against itself at a small size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from densenet_solutions.exercises.saving_memory import claims as memory_claims
from densenet_solutions.exercises.saving_memory import costs as strategies_cost
from densenet_solutions.exercises.saving_memory import pictures, study
from densenet_solutions.exercises.saving_memory import timelines as step_timelines
from densenet_solutions.exercises.saving_memory.accuracy import StrategyAccuracy
from densenet_solutions.exercises.saving_memory.bench import MemoryBench, MemoryBenchRow
from densenet_solutions.exercises.saving_memory.costs import StrategyCost
from densenet_solutions.exercises.saving_memory.gradient_errors import gradient_errors
from densenet_solutions.exercises.saving_memory.kept import Kept
from densenet_solutions.exercises.saving_memory.timelines import StepTimeline
from densenet_solutions.measure import measure_memory, predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import book_densenet, densenet121
from densenet_solutions.records.serialise import to_json
from densenet_solutions.records.store import Made, Provenance, Record


def record_of(cases: dict[str, object]) -> Record:
    where = Provenance("0", "3", {}, "a machine", "an OS")
    made = dict.fromkeys(cases, Made((), "", "2000-01-01"))
    return Record("x", "made up", where, 0, {n: to_json(v) for n, v in cases.items()}, made)


@pytest.fixture(scope="module")
def small() -> dict[str, StrategyCost]:
    return {
        row.strategy: row
        for row in strategies_cost.small_costs(strategies_cost.predictable_strategies())
    }


def test_activations_in_8_bits_save_most_of_the_peak(small: dict[str, StrategyCost]) -> None:
    """Where activations outweigh the gradients of the parameters."""
    model, shape = strategies_cost.small_network(), (8, 3, 96, 96)
    plain, row = (
        strategies_cost.cost(name, model, shape, trial_shape=(2, 3, 32, 32), quick=True)
        for name in ("plain", "saved_in_8_bits")
    )
    assert row.training_peak is not None
    assert plain.training_peak is not None
    assert row.training_peak < 0.6 * plain.training_peak
    error = small["saved_in_8_bits"].gradient_error
    assert error is not None
    assert 0 < error < 0.05


@pytest.mark.parametrize(
    "name",
    [
        *("saved_in_8_bits", "channel_pruning", "gradient_accumulation"),
        *("selective_checkpointing", "in_place_normalization", "one_shot_aggregation"),
    ],
)
def test_predictions_agree_with_the_allocator(name: str, small: dict[str, StrategyCost]) -> None:
    strategy = STRATEGIES[name]
    changed = strategy.apply(strategies_cost.small_network())
    measured = measure_memory(lambda: changed, strategies_cost.SMALL_SHAPE, step=strategy.step)
    predicted = small[name].training_peak
    assert predicted == pytest.approx(measured.peak_beyond_parameters, rel=0.01, abs=4 * 2**20)


def test_the_whole_cost_of_one_strategy() -> None:
    model = strategies_cost.small_network()
    row = strategies_cost.cost("channel_pruning", model, (2, 3, 32, 32), rounds=1)
    assert row.multiply_adds is not None
    assert row.inference_peak is not None
    assert row.time_ratio == row.seconds[0] / row.plain_seconds[0]
    assert row.gradient_error is None
    quantised = strategies_cost.cost("quantized_inference", model, (2, 3, 32, 32))
    assert quantised.training_peak is None
    assert quantised.state_bytes < 0.35 * sum(
        tensor.nbytes for tensor in model.state_dict().values()
    )


def test_what_is_kept_follows_the_closed_form() -> None:
    shape = (2, 3, 64, 64)
    kept = study.kept_for_backward(shape)
    assert kept["concatenated features"] == kept["normalised features"] == study.read_bytes(shape)
    assert kept["bottleneck outputs"] == kept["normalised bottlenecks"]
    assert study.feature_bytes(shape) < study.read_bytes(shape)
    # 44.4 MiB at full size: the features of the four blocks, each once.
    assert study.feature_bytes() == 8 * 4 * (256 * 56**2 + 512 * 28**2 + 1024 * 14**2 + 1024 * 7**2)


def test_a_gpu_holds_no_second_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that a recorded cost starts from stays on the CPU, or it would be in every peak."""

    class Stays(nn.Linear):
        def to(self, *args: object, **options: object) -> Stays:
            raise AssertionError("moved")

    passed = []
    monkeypatch.setattr(strategies_cost, "full_network", lambda: Stays(1, 1))
    monkeypatch.setattr(strategies_cost, "cost", lambda name, model, *_, **__: passed.append(model))
    strategies_cost.recipe().measure("plain", "cuda")
    assert [model.weight.device.type for model in passed] == ["cpu"]


def test_a_sparse_format_stores_its_indices() -> None:
    # 4 indices of 8 bytes and a value of 4, against 4: even at a ninth of the density.
    assert memory_claims.sparse_bytes_per_dense_byte(0.5) == pytest.approx(4.5)
    assert memory_claims.sparse_bytes_per_dense_byte(0.0) == pytest.approx(9.0)


def test_plain_rounding_would_close_some_gates() -> None:
    assert 0.002 < memory_claims.rounded_to_zero() < 0.02


def test_the_gradient_of_relu6_needs_its_output_only() -> None:
    x = torch.linspace(-2, 8, 1001)
    x[:4] = torch.tensor([0.0, 6.0, 7.0, -1.0])
    theirs, ours = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.linspace(1, 2, 1001)
    (nn.functional.relu6(theirs) * weights).sum().backward()
    (memory_claims.ReLU6OfOutput()(ours) * weights).sum().backward()
    assert theirs.grad is not None
    assert ours.grad is not None
    assert torch.equal(theirs.grad, ours.grad)
    of_output = memory_claims.relu6_of_output()
    assert of_output.peak == of_output.reference_peak < memory_claims.relu6().peak


def test_low_rank_saves_the_peak_of_one_image_but_not_of_many() -> None:
    one, many = memory_claims.low_rank_of_one_image(), memory_claims.low_rank_factors(0.25)
    assert one.peak < one.reference_peak
    assert many.peak > many.reference_peak
    # What it saves is less than the gradients that are gone: 4 bytes each.
    gradients = 4 * (one.reference_parameters - one.parameters)
    assert one.reference_peak - one.peak < gradients


def test_times_are_compared_round_by_round() -> None:
    def row(*seconds: float) -> MemoryBenchRow:
        return MemoryBenchRow("x", None, seconds, None, None, None)

    # Ratios 2, 3, 1.5; the medians' quotient would be 3 / 2.
    assert study.beside(row(2, 3, 6), row(1, 1, 4)) == 2
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        study.beside(row(1, 2), row(1))


def test_accuracy_is_paired_by_seed_and_needs_complete_seeds() -> None:
    values = {0: (0.80, 0.78), 1: (0.90, 0.89), 2: (0.85, 0.82)}  # restarted, and with gates
    cases: dict[str, object] = {}
    for seed, (plain, gated) in values.items():
        cases[f"plain, seed {seed}"] = StrategyAccuracy("plain", seed, 0.7)
        cases[f"restarted, seed {seed}"] = StrategyAccuracy("plain_restarted", seed, plain)
        cases[f"bits, seed {seed}"] = StrategyAccuracy("saved_in_8_bits", seed, 0.59 + 0.01 * seed)
        cases[f"gates, seed {seed}"] = StrategyAccuracy("gates", seed, gated, 0.5)
    cases["plain, seed 3"] = StrategyAccuracy("plain", 3, 0.1)  # its partner is missing
    rows = study.accuracy_changes(record_of(cases))
    assert rows["saved_in_8_bits"].difference == pytest.approx(-0.1)  # trained without a break
    row = rows["gates"]
    assert row.seeds == 3
    assert row.difference == pytest.approx(-0.02)
    assert row.half_width == pytest.approx(4.30265 * 0.01 / 3**0.5)  # sd 0.01, t with 2 degrees
    assert row.p == pytest.approx(0.0742, abs=1e-4)  # t = 3.4641, from a table
    assert row.at_change == (0.5, 0.5, 0.5)


def test_connections_are_those_of_the_patterns() -> None:
    """Harmonic: layer ℓ reads as many as 2 divides it, and one; 4 layers read 1 + 2 + 1 + 3."""
    assert study.connections_left("harmonic_connections", book_densenet()) == (4 * 7, 4 * 10)
    assert study.connections_left("logarithmic_connections", book_densenet())[0] == 4 * 8
    with torch.device("meta"):
        deep = densenet121()
    assert study.connections_left("harmonic_connections", deep) == (109, 535)


def test_two_seeds_give_no_interval() -> None:
    cases = {f"plain, {seed}": StrategyAccuracy("plain", seed, 0.5) for seed in range(2)}
    row = study.accuracy_changes(record_of(dict(cases)))["plain"]
    assert (row.seeds, row.difference, row.half_width) == (2, 0.0, None)


def test_pictures_state_their_finding() -> None:
    names = ("torchvision", "recompute_bottleneck_input", "recompute_layer", "recompute_block")
    rows = [MemoryBenchRow(name, 200 * 2**20, (1.0,), 1.2, 1.1, 1.3) for name in names]
    rows.append(MemoryBenchRow("shared_storage", 50 * 2**20, (1.0,), 1.05, 1.0, 1.1))
    bench = MemoryBench("densenet121", (8, 3, 224, 224), "float32", "cpu", 1, tuple(rows))
    finding = "Shared storage is below the others."
    drawn = pictures.memory_and_time({"a CPU": (bench, pictures.ON_A_CPU)}, caption=finding).html
    assert all(text in drawn for text in (finding, "recompute layer", "peak, MiB"))
    ends = [
        MemoryBenchRow(share, peak * 2**20, (1.0,), time, time - 0.1, time + 0.1)
        for share, peak, time in (("torchvision", 900, 1.0), ("0.0", 100, 1.1), ("1.0", 200, 0.8))
    ]
    curve = pictures.kept_curve({"1 thread": Kept((8, 3, 224, 224), 1, tuple(ends))}).html
    said = "100 MiB become 200 MiB at 0.80× torchvision's time instead of 1.10×"
    assert all(text in curve for text in (said, "none kept", "all kept", "1 thread"))
    assert "are 75%" in pictures.kept_bars({"x": 2**20, "y": 2**20, "z": 2 * 2**20}).html
    lines = [
        StepTimeline(
            strategy=name, peak=peak * 2**20, method="predicted", input_shape=(1,),
            live=(0, peak, 0),
        )
        for name, peak in (("plain", 800), ("shared_storage", 100))
    ]  # fmt: skip
    assert (
        "shared storage peaks at 100 MiB, in the last quarter"
        in pictures.two_timelines(*lines).html
    )


def test_against_float64_exact_ways_are_as_near_as_the_plain_network() -> None:
    errors = study.float32_errors(["plain", "shared_storage", "saved_in_8_bits"])
    assert errors["shared_storage"] < 3 * errors["plain"] < 1e-5
    assert errors["saved_in_8_bits"] > 1e-3


def test_gradients_that_modules_keep_are_those_of_what_they_read() -> None:
    """Against hooks on the tensors of a step in which each ReLU writes into new memory."""
    model, sizes = STRATEGIES["out_of_place"].apply(densenet121()), []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].requires_grad and not isinstance(module, nn.ReLU):
            inputs[0].register_hook(lambda gradient: sizes.append(gradient.nbytes))

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_pre_hook(note)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert study.gradients_of_inputs((2, 3, 32, 32)) == sum(sizes)


def test_the_first_block_by_hand() -> None:
    assert study.first_block_bytes() == 8 * 256 * 56 * 56 * 4


def test_a_thinned_timeline_keeps_its_peak() -> None:
    result = predict_memory(strategies_cost.small_network, (2, 3, 32, 32))
    live = step_timelines.thinned(result, 20)
    assert len(live) == 20
    assert max(live) == result.peak_beyond_parameters


def test_distances_between_gradients_are_those_of_two_plain_steps_by_hand() -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(4)
    found = gradient_errors(
        ["plain", "saved_in_8_bits"], strategies_cost.small_network, images, labels
    )
    by_type = []
    for dtype in (torch.float32, torch.float64):
        model = strategies_cost.small_network().to(dtype).train()
        cross_entropy(model(images.to(dtype)), labels).backward()
        by_type.append(torch.cat([p.grad.double().flatten() for p in model.parameters()]))
    ours, truth = by_type
    assert found.from_plain["plain"] == 0
    assert found.from_truth["plain"] == pytest.approx(float((ours - truth).norm() / truth.norm()))
    bits = found.from_truth["saved_in_8_bits"]
    assert abs(bits - found.from_plain["saved_in_8_bits"]) <= 1.01 * found.from_truth["plain"]
    assert bits > 100 * found.from_truth["plain"]
