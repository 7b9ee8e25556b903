"""The ledger of a dense block against autograd's own word and against closed forms."""

import pytest
import torch
from torch import nn

from densenet_solutions.exercises.network.ledger import LEDGERS, Ledger, blocks, ledger
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import DenseNet, DenseNetConfig

SIZES = [(4, 64, 32), (3, 10, 12)]


def kept(strategy: str, n: int, c: int, k: int, bottleneck: int) -> int:
    """Channels that a block keeps for its backward pass, by hand."""
    widths = [c + i * k for i in range(n)]  # what layer i reads
    return {
        # What each layer reads, and the normalised copy; with a bottleneck both of that too.
        "plain": 2 * sum(widths) + 2 * n * bottleneck,
        "recompute_bottleneck_input": widths[-1] + 2 * n * bottleneck,
        "recompute_layer": widths[-1],
        "recompute_block": c,
        "shared_storage": c + n * k,
    }[strategy]


@pytest.mark.parametrize(("n", "c", "k"), SIZES)
@pytest.mark.parametrize("bn_size", [None, 4])
@pytest.mark.parametrize("strategy", LEDGERS)
def test_what_is_kept_at_the_turn(
    strategy: str, bn_size: int | None, n: int, c: int, k: int
) -> None:
    found = ledger(
        strategy,
        num_layers=n,
        in_channels=c,
        growth_rate=k,
        bn_size=bn_size,
        batch=2,
        resolution=24,
    )
    assert found.turn.channels == kept(strategy, n, c, k, (bn_size or 0) * k)
    assert found.saved_channels == found.turn.channels  # autograd's own word
    assert found.mib(found.turn.channels) == found.turn.channels * 2 * 24 * 24 * 4 / 2**20


def test_densenet_121s_four_blocks_as_exercise_3_2_has_them() -> None:
    kept = dict.fromkeys(("plain", "shared_storage"), 0.0)
    for strategy in kept:
        for block in blocks(DenseNetConfig(), strategy):
            features = {k: c for k, c in block.kept().items() if "bottleneck" not in k}
            kept[strategy] += block.mib(sum(features.values()))
    assert kept["plain"] == pytest.approx(555.1, abs=0.05)  # concatenations, normalised copies
    assert kept["shared_storage"] == pytest.approx(44.4, abs=0.05)


@pytest.fixture(scope="module", params=[(name, size) for name in LEDGERS for size in (None, 4)])
def book(request: pytest.FixtureRequest) -> Ledger:
    strategy, bn_size = request.param
    return ledger(strategy, bn_size=bn_size)


def test_a_step_goes_through_the_layers_and_back(book: Ledger) -> None:
    passes = [(moment.phase, moment.layer) for moment in book.moments]
    again = [("backward", i) for i in range(1, 5)] if book.strategy == "recompute_block" else []
    assert passes == [
        ("before", 0), *(("forward", i) for i in range(1, 5)), ("turn", 0), *again[:-1],
        *(("backward", i) for i in range(4, 0, -1)), ("after", 0),
    ]  # fmt: skip


def test_only_the_inputs_gradient_is_left(book: Ledger) -> None:
    last = book.moments[-1]
    assert [(slab.kind, slab.channels) for slab in last.held] == [("gradient", 64)]


def test_kinds_and_widths_of_the_plain_block() -> None:
    turn = ledger("plain", bn_size=4).turn
    found = [(slab.kind, slab.layer, slab.channels) for slab in turn.held]
    expected = [("input", 0, 64)]
    for layer in range(1, 5):
        width = 64 + 32 * (layer - 1)
        expected += [("concatenation", layer, width)] * (layer > 1)
        expected += [("normalised", layer, width), ("bottleneck", layer, 128)]
        expected += [("normalised bottleneck", layer, 128)]
    assert sorted(found) == sorted(expected)


def test_the_buffer_fills_from_left_to_right() -> None:
    shared = ledger("shared_storage")
    buffers = [
        next(slab for slab in moment.held if slab.kind == "buffer")
        for moment in shared.moments
        if moment.phase in ("before", "forward", "turn")
    ]
    assert {slab.channels for slab in buffers} == {192}
    assert [slab.written for slab in buffers] == [64, 96, 128, 160, 192, 192]


@pytest.mark.parametrize(
    ("strategy", "factor"), [("plain", 1408 / 192), ("shared_storage", 4), ("recompute_layer", 6)]
)
def test_the_peak_of_the_backward_pass(strategy: str, factor: float) -> None:
    """Bounds worked out by hand: plain keeps all and has three gradients of the last layer."""
    peak = max(moment.peak_channels for moment in ledger(strategy).moments)
    assert peak <= factor * 192
    if strategy == "plain":
        assert peak == 896 + 192 + 2 * 160


def test_a_cpu_keeps_what_the_meta_device_says() -> None:
    """The same block on real memory, counted by hooks that this test sets itself."""
    torch.manual_seed(0)
    config = DenseNetConfig(growth_rate=8, block_config=(3,), num_init_features=16, bn_size=None)
    network = DenseNet(config)
    block = STRATEGIES["plain"].apply(network).features.denseblock1
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 4 and not isinstance(tensor, nn.Parameter) and tensor.shape[0] == 2:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    x = torch.randn(2, 16, 10, 10, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = block(x * 1)
    found = ledger("plain", num_layers=3, in_channels=16, growth_rate=8, batch=2, resolution=10)
    assert sum(saved.values()) == found.turn.channels * found.channel_bytes
    out.sum().backward()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strategy": "gates"}, ValueError, "strategy is one of 'plain'"),
        ({"num_layers": 0}, ValueError, r"block_config holds integers .* got \(0,\)"),
        ({"batch": 1.0}, TypeError, "batch is an integer, got 1.0"),
    ],
)
def test_hostile_arguments(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ledger(**arguments)
