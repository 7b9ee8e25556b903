"""Tapes of networks of one's own, against PyTorch's operations, its modules and hand counting."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from densenet_solutions.exercises.explorer.own import CONFIGS, TAPED, own_case, own_trace, tensors
from densenet_solutions.exercises.explorer.own_predicted import config_of, drawn
from densenet_solutions.exercises.explorer.predictions import ExplorerCase
from densenet_solutions.exercises.explorer.tape import Tape
from densenet_solutions.measure import CudaCache, predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import TABLE_1, DenseNet, DenseNetConfig
from densenet_solutions.models.variants import BOOK
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json

SMALL = DenseNetConfig(
    growth_rate=10, num_init_features=20, block_config=(3, 2, 4), compression=0.7, num_classes=50
)
BOOKS = replace(BOOK.config, growth_rate=10, num_init_features=20, block_config=(2, 5, 1, 3))


@pytest.mark.parametrize("config", [SMALL, BOOKS, TABLE_1["densenet161"].config])
def test_parameters_and_buffers_are_the_modules(config: DenseNetConfig) -> None:
    with torch.device("meta"):
        model = DenseNet(config)
    parameters, buffers = tensors(config)
    assert parameters == [p.numel() for p in model.parameters()]
    assert buffers == [b.numel() * b.element_size() for b in model.buffers()]


@pytest.mark.parametrize("config", [SMALL, BOOKS], ids=["bottleneck", "book"])
@pytest.mark.parametrize("way", TAPED)
@pytest.mark.parametrize(("batch", "side"), [(5, 160), (48, 96)])
def test_a_tape_is_what_pytorch_asks_for(
    config: DenseNetConfig, way: str, batch: int, side: int
) -> None:
    strategy = STRATEGIES.get(way.split()[0])
    options = {"slices": 8} if way.endswith("8 slices") else {}
    fresh = predict_memory(
        lambda: strategy.apply(DenseNet(config), **options) if strategy else DenseNet(config),
        (batch, config.in_channels, side, side),
        train=way != "inference",
        step=strategy.step if strategy else None,
        device="cuda",
    )
    use = CudaCache().play(own_trace(config, way, batch, side)[1])
    assert use.allocated_bytes == pytest.approx(fresh.allocated_bytes, rel=0.003)
    assert abs(use.reserved_bytes - (fresh.reserved_bytes or 0)) <= 2 * 2**20


@pytest.mark.parametrize("way", ["plain", "inference"])
def test_half_precision_too(way: str) -> None:
    fresh = predict_memory(
        lambda: DenseNet(SMALL),
        (16, 3, 96, 96),
        train=way != "inference",
        autocast=torch.bfloat16,
        device="cuda",
    )
    use = CudaCache().play(own_trace(SMALL, way, 16, 96, autocast=True)[1])
    assert use.allocated_bytes == pytest.approx(fresh.allocated_bytes, rel=0.003)
    assert abs(use.reserved_bytes - (fresh.reserved_bytes or 0)) <= 2 * 2**20


def test_the_recorded_draw_is_the_rule() -> None:
    """The page tells the errors of all of them; here none is left out, and none was replaced."""
    recorded = load_record("explorer-own").cases
    assert list(recorded) == list(drawn())
    for name, case in drawn().items():
        assert {key: recorded[name][key] for key in case} == case
        with torch.device("meta"):
            DenseNet(config_of(case))
    assert {case["way"] for case in drawn().values()} == set(TAPED)
    assert any(case["autocast"] for case in drawn().values())


@pytest.mark.parametrize("way", TAPED)
def test_everything_that_dies_was_born_once(way: str) -> None:
    tape, _ = own_trace(SMALL, way, 4, 64)
    born = [event for event in tape.events if event >= 0]
    dead = [~event for event in tape.events if event < 0]
    assert born == list(range(len(tape.sizes)))
    assert len(set(dead)) == len(dead)
    assert all(tape.events.index(one) < tape.events.index(~one) for one in dead)
    assert not tape.gradients & set(dead)  # they stay
    numbers = sum(tape.sizes[one] for one in tape.gradients) // 4
    assert numbers == (0 if way == "inference" else sum(tensors(SMALL)[0]))


def test_what_the_plain_step_keeps_by_hand() -> None:
    """One layer, growth rate 4: ℓ reads 8 channels of 8 × 8, its bottleneck has 16."""
    config = DenseNetConfig(
        growth_rate=4, num_init_features=8, block_config=(1,), num_classes=2, in_channels=1
    )
    tape, _ = own_trace(config, "plain", 1, 32)
    maps = 8 * 256 * 2  # stem: output of the convolution, and normalized
    maps += 8 * 64 + 2 * 8 * 64  # pooled, and the winners' places with 8 bytes each
    maps += 8 * 64 + 2 * 16 * 64  # normalized, bottleneck's output, and normalized
    maps += 12 * 64 * 2  # the block's output, and normalized
    statistics = 2 * (8 + 8 + 16 + 12)
    classifier = 12 + 2 + 2 + 2  # mean, scores, their logarithms, loss and its weight
    assert sum(tape.sizes[one] for one in tape.kept) == 4 * (maps + statistics + classifier)


def test_a_tape_tells_what_is_kept() -> None:
    tape = Tape()
    first, second = tape.new(3), tape.new(5, 8)
    tape.free(first)
    tape.backward()
    tape.gradient(2)
    assert (tape.sizes, tape.kept, tape.gradients) == ([12, 40, 8], {second}, {2})
    assert [op.births for op in tape.operations()] == [((0, 12),), ((1, 40),), (), ((2, 8),)]


def test_areas_sum_to_the_tensors_alive() -> None:
    case = own_case(SMALL, "plain", (5, 128))
    sizes = [(p.batch, p.resolution) for p in case.points]
    assert sizes[-1] == (256, 224)
    assert sizes[2] == (5, 128)  # between 1 and 8 images of 224²
    as_many_pixels = own_case(SMALL, "plain", (2, 448)).points
    assert [(p.batch, p.resolution) for p in as_many_pixels][2] == (2, 448)
    assert len(as_many_pixels) == 6
    tape, _ = own_trace(SMALL, "plain", 256, 224)
    live = most = 0
    for event in tape.events:
        live += tape.sizes[event] if event >= 0 else -tape.sizes[~event]
        most = max(most, live)
    assert max(sum(row) for row in case.steps[-1].live) == pytest.approx(most / 1024, abs=2)
    gradients = [row[2] for row in case.steps[-1].live]
    assert gradients == sorted(gradients)
    assert gradients[0] == 0
    assert 0.9 < gradients[-1] * 1024 / (4 * case.parameters) <= 1.001


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("offload", 1, 96), "way is one of"),
        (("plain", 0, 96), "batch"),
        (("plain", 1, 100), "side of 32, 64"),
        (("plain", 1, 96.0), "side"),
    ],
)
def test_refusals(options: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        own_trace(SMALL, *options)
    with pytest.raises(ValueError, match="ImageNet stem"):
        own_trace(replace(SMALL, stem="cifar"), "plain", 1, 96)
    with pytest.raises(ValueError, match="autocast goes with"):
        own_trace(SMALL, "shared_storage", 1, 96, autocast=True)


@pytest.mark.parametrize("network", CONFIGS)
def test_tapes_are_what_was_predicted_of_the_networks_on_offer(network: str) -> None:
    tried = 0
    for record in ("explorer-grid", "explorer-shared-storage"):
        for data in load_record(record).cases.values():
            case = from_json(ExplorerCase, data)
            for point in case.points if case.network == network else ():
                if (point.batch, point.resolution) not in ((1, 96), (32, 224), (128, 224)):
                    continue
                size = point.batch, point.resolution
                _, trace = own_trace(CONFIGS[network], case.method, *size, autocast=case.autocast)
                use = CudaCache().play(trace)
                assert use.allocated_bytes == pytest.approx(point.allocated_bytes, rel=0.012)
                assert abs(use.reserved_bytes - point.reserved_bytes) <= 2 * 2**20, case.name
                tried += 1
    assert tried == 2 * 8
