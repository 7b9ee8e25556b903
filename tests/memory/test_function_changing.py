"""Strategies that change the function, where they must not: full rank, nothing pruned, all read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory.channel_pruning import channel_pruning
from densenet_solutions.memory.connections import connect
from densenet_solutions.memory.gates import GatedNorm, gates
from densenet_solutions.memory.gradient_accumulation import (
    accumulating_step,
    gradient_accumulation,
)
from densenet_solutions.memory.layers import dense_blocks
from densenet_solutions.memory.learned_groups import GatheredNorm, learned_groups
from densenet_solutions.memory.low_rank import low_rank
from densenet_solutions.memory.one_shot_aggregation import one_shot_aggregation
from densenet_solutions.memory.strategy import training_step
from densenet_solutions.models import book_densenet, densenet121
from densenet_solutions.models.connectivity import dense, logarithmic

Change = Callable[[nn.Module], nn.Module]

NETWORKS = {
    "bottleneck": lambda: densenet121(
        growth_rate=8, block_config=(3, 4), num_init_features=16, num_classes=5
    ),
    "no-bottleneck": lambda: densenet121(
        growth_rate=8, block_config=(3, 4), num_init_features=16, bn_size=None, num_classes=5
    ),
    "cifar": lambda: densenet121(
        growth_rate=4, block_config=(2, 2, 2), num_init_features=8, num_classes=5, stem="cifar"
    ),
    "book": lambda: book_densenet(
        num_init_features=16, growth_rate=8, block_config=(3, 4), num_classes=5
    ),
}


@dataclass(frozen=True)
class Neutral:
    name: str
    change: Change
    bitwise: bool


NEUTRAL = (
    Neutral("all connections", lambda m: connect(m, dense), True),
    Neutral("nothing pruned", lambda m: channel_pruning(m, 0.0), True),
    Neutral("all gates open", lambda m: gates(m, 1.0), True),
    Neutral(
        "one group, no condensation", lambda m: learned_groups(m, groups=1, condensation=1), True
    ),
    Neutral(
        "four groups, no condensation", lambda m: learned_groups(m, groups=4, condensation=1), False
    ),
    Neutral("full rank", lambda m: low_rank(m, 1.0), False),
)


def build(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network with buffers and weights that are not the initial ones, images and labels."""
    torch.manual_seed(3)
    model = NETWORKS[name]().double()
    x = torch.randn(4, model.features.conv0.in_channels, 32, 32, dtype=torch.double)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    y = torch.tensor([0, 1, 2, 4])
    for _ in range(2):
        optimizer.zero_grad()
        training_step(model, x, y)
        optimizer.step()
    model.zero_grad()
    return model, x, y


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("neutral", NEUTRAL, ids=lambda case: case.name)
def test_the_function_stays_where_it_must(neutral: Neutral, network: str, training: bool) -> None:
    model, x, y = build(network)
    changed = neutral.change(model)
    model.train(training)
    changed.train(training)
    tolerance = {"rtol": 0, "atol": 0} if neutral.bitwise else {"rtol": 1e-9, "atol": 1e-11}

    xs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [m(images) for m, images in zip((model, changed), xs, strict=True)]
    torch.testing.assert_close(outputs[1], outputs[0], **tolerance)
    for out in outputs:
        nn.functional.cross_entropy(out, y).backward()
    torch.testing.assert_close(xs[1].grad, xs[0].grad, **tolerance)
    torch.testing.assert_close(
        changed.classifier.weight.grad, model.classifier.weight.grad, **tolerance
    )
    for ours, plain in zip(_norms(changed), _norms(model), strict=True):
        if ours.num_features == plain.num_features:
            torch.testing.assert_close(ours.running_mean, plain.running_mean, **tolerance)
            torch.testing.assert_close(ours.running_var, plain.running_var, **tolerance)
        assert ours.num_batches_tracked == plain.num_batches_tracked


def _norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


CHANGES: dict[str, Change] = {
    name: STRATEGIES[name].apply
    for name in (
        "random_connections",
        "logarithmic_connections",
        "harmonic_connections",
        "one_shot_aggregation",
        "learned_groups",
        "gates",
        "low_rank",
        "channel_pruning",
    )
}


@pytest.mark.parametrize("name", CHANGES)
def test_they_have_fewer_parameters_and_train(name: str) -> None:
    torch.manual_seed(0)
    model = densenet121(growth_rate=8, block_config=(6, 6), num_init_features=16, num_classes=5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    changed = CHANGES[name](model)
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    loss = STRATEGIES[name].step(changed, x, y)
    assert not loss.requires_grad
    assert sum(p.numel() for p in changed.parameters()) < sum(p.numel() for p in model.parameters())
    assert all(p.grad is not None for p in changed.parameters())
    for key, value in model.state_dict().items():  # the model that came in is untouched
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_pruning_removes_channels_and_keeps_the_most_used() -> None:
    torch.manual_seed(0)
    model = densenet121(growth_rate=8, block_config=(2, 2), num_init_features=16, num_classes=5)
    first, second = dense_blocks(model)["denseblock1"]
    with torch.no_grad():  # features 0, 2, 4, 6 of the first layer are used by nobody
        second.conv1.weight[:, 16:24:2] = 0
        model.features.transition1.conv.weight[:, 16:24:2] = 0
        second.norm1.weight.fill_(1)
    pruned = channel_pruning(model, 0.5)
    new_first, new_second = dense_blocks(pruned)["denseblock1"]
    torch.testing.assert_close(new_first.conv2.weight.shape, torch.Size([4, 16, 3, 3]))
    assert new_second.conv1.in_channels == 16 + 4
    assert pruned.features.transition1.conv.in_channels == 16 + 4 + 4
    assert pruned.features.norm5.num_features == pruned.classifier.in_features
    kept = first.conv2.weight[1::2].flatten(1)
    assert all(any((row == part).all() for part in _rows_of(first, new_first)) for row in kept)


def _rows_of(old: nn.Module, new: nn.Module) -> list[Tensor]:
    """Rows of the old convolution that the new one still has, wide as they were."""
    inner = [
        int((old.conv1.weight == row).all(dim=(1, 2, 3)).nonzero()[0]) for row in new.conv1.weight
    ]
    return [
        row.flatten() for row in old.conv2.weight if any(
            torch.equal(row[inner], part) for part in new.conv2.weight
        )
    ]  # fmt: skip


def test_unused_channels_can_be_pruned_without_any_change() -> None:
    torch.manual_seed(0)
    model = book_densenet(num_init_features=16, growth_rate=8, block_config=(2, 2), num_classes=5)
    model.eval()
    second = dense_blocks(model)["denseblock1"][1]
    with torch.no_grad():
        second.conv1.weight[:, 16:24:2] = 0
        model.features.transition1.conv.weight[:, 16:32:2] = 0
    x = torch.randn(2, 1, 32, 32)
    pruned = channel_pruning(model, 0.5)
    until_transition = model.features[:6](x), pruned.features[:6](x)
    assert dense_blocks(pruned)["denseblock1"][1].conv1.in_channels == 16 + 4
    torch.testing.assert_close(until_transition[1], until_transition[0], rtol=1e-5, atol=1e-6)


def test_groups_keep_the_largest_weights_of_each_group() -> None:
    torch.manual_seed(0)
    model = densenet121(growth_rate=8, block_config=(2, 2), num_init_features=16, num_classes=5)
    conv = dense_blocks(model)["denseblock1"][1].conv1
    with torch.no_grad():
        conv.weight.fill_(0.01)
        conv.weight[:8, :6] = 1.0  # the first group of outputs uses the inputs 0 to 5
        conv.weight[8:16, 6:12] = 1.0
    layer = dense_blocks(learned_groups(model))["denseblock1"][1]
    assert isinstance(layer.norm1, GatheredNorm)
    assert layer.norm1.channels.tolist()[:12] == list(range(12))
    assert layer.conv1.groups == 4
    assert layer.conv1.weight.numel() == conv.weight.numel() // 4


def test_low_rank_is_the_best_approximation_of_its_rank() -> None:
    torch.manual_seed(0)
    model = densenet121(growth_rate=8, block_config=(2, 2), num_init_features=16, num_classes=5)
    old = dense_blocks(model)["denseblock2"][0].conv2
    new = dense_blocks(low_rank(model, 0.5))["denseblock2"][0].conv2
    matrix = old.weight.flatten(1)
    product = new[1].weight.flatten(1) @ new[0].weight.flatten(1)
    rest = torch.linalg.svdvals(matrix)[4:].square().sum().sqrt()  # Eckart and Young
    torch.testing.assert_close((matrix - product).norm(), rest)


def test_closed_gates_are_not_read_and_open_ones_learn() -> None:
    torch.manual_seed(0)
    model = densenet121(growth_rate=8, block_config=(4, 4), num_init_features=16, num_classes=5)
    gated = gates(model, 0.5)
    block = dense_blocks(gated)["denseblock1"]
    assert [len(sources) for sources in block.reads] == [1, 1, 2, 2]
    assert all(sources[-1] == i for i, sources in enumerate(block.reads))
    training_step(gated, torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
    norms = [m for m in gated.modules() if isinstance(m, GatedNorm)]
    assert sum(float(norm.gate_logits.grad.abs().sum()) for norm in norms) > 0


def test_sparse_blocks_read_what_the_pattern_says() -> None:
    torch.manual_seed(0)
    sparse = connect(
        densenet121(growth_rate=8, block_config=(4, 4), num_init_features=16, num_classes=5),
        logarithmic,
    )
    layers = dense_blocks(sparse)["denseblock1"]
    assert [layer.conv1.in_channels for layer in layers] == [16, 24, 16, 32]


@pytest.mark.parametrize("network", NETWORKS)
def test_one_shot_aggregation_is_a_chain_that_is_concatenated_once(network: str) -> None:
    """Section 3.2 of arXiv:1904.09730, written out."""
    torch.manual_seed(0)
    block = dense_blocks(one_shot_aggregation(NETWORKS[network]()))["denseblock1"].eval()
    width = block[0].conv1.in_channels
    x = torch.randn(2, width, 6, 6)
    out, written = x, [x]
    for layer in block:
        out = layer(out)
        written.append(out)
    assert torch.equal(block(x), torch.cat(written, dim=1))
    assert [layer.conv1.in_channels for layer in block] == [
        width,
        *(out.shape[1] for _ in written[2:]),
    ]


def test_accumulation_is_exact_without_batch_statistics_and_only_then() -> None:
    model, x, y = build("book")
    for training in (False, True):
        model.train(training)
        whole, parts = STRATEGIES["plain"].apply(model), gradient_accumulation(model, 3)
        training_step(whole, x, y)
        accumulating_step(parts, x, y)
        gradients = [torch.cat([p.grad.flatten() for p in m.parameters()]) for m in (whole, parts)]
        error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
        assert error < 1e-12 if not training else error > 1e-3


def test_accumulation_is_exact_with_group_normalization() -> None:
    model, x, y = build("book")
    for path, norm in list(model.named_modules()):
        if isinstance(norm, torch.nn.BatchNorm2d):
            model.set_submodule(path, torch.nn.GroupNorm(2, norm.num_features).to(x.dtype))
    whole, parts = STRATEGIES["plain"].apply(model), gradient_accumulation(model, 3)
    training_step(whole, x, y)
    accumulating_step(parts, x, y)
    for ours, reference in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, reference.grad)


def test_one_part_is_the_plain_step_and_each_part_updates_the_statistics() -> None:
    model, x, y = build("book")
    one, four = gradient_accumulation(model, 1), gradient_accumulation(model, 4)
    before = int(model.features.norm0.num_batches_tracked)
    assert accumulating_step(one, x, y) == training_step(model, x, y)
    accumulating_step(four, x, y)
    assert int(one.features.norm0.num_batches_tracked) == before + 1
    assert int(four.features.norm0.num_batches_tracked) == before + 4


@pytest.mark.parametrize("momentum", [0.3, None])
def test_gates_update_running_statistics_as_the_norm_they_replace(momentum: float | None) -> None:
    """Against `nn.BatchNorm2d` with every gate open; `None` averages over all batches."""
    norm = nn.BatchNorm2d(4, momentum=momentum)
    gated = GatedNorm(norm, [1, 3])
    for x in torch.randn(3, 5, 4, 2, 2).mul_(2).add_(5):
        torch.testing.assert_close(gated(x), norm(x))
    torch.testing.assert_close(gated.running_mean, norm.running_mean)
    torch.testing.assert_close(gated.running_var, norm.running_var)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("channel_pruning", {"share": 0.5}, (16, 16 + 3 * 4)),
        ("random_connections", {"share": 0.0}, (32, 8)),
        ("gates", {"open_share": 1.0}, (32, 16 + 3 * 8)),
        ("learned_groups", {"groups": 2, "condensation": 2}, (32, 20)),
        ("low_rank", {"share": 0.5}, (16, 16 + 3 * 8)),
    ],
)
def test_a_strength_is_set_through_the_table(
    name: str, options: dict[str, float], shape: tuple[int, int]
) -> None:
    model = densenet121(growth_rate=8, block_config=(4, 4), num_init_features=16, num_classes=5)
    last = STRATEGIES[name].apply(model, **options).features.denseblock1.denselayer4
    conv = next(module for module in last.modules() if isinstance(module, nn.Conv2d))
    assert conv.weight.shape[:2] == shape


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n != "quantized_inference"])
def test_every_strategy_takes_a_model_on_any_device(name: str) -> None:
    """On the meta device: whatever is made beside the model must be made where the model is."""
    with torch.device("meta"):
        model = densenet121(growth_rate=8, block_config=(3, 3), num_init_features=16)
    changed = STRATEGIES[name].apply(model)
    assert all(tensor.is_meta for tensor in changed.state_dict().values())
