"""The closed form on random configurations; stages, mistakes and accuracies against hand sums."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from densenet_solutions.exercises.parameters import reuse
from densenet_solutions.exercises.parameters import study as parameters
from densenet_solutions.exercises.parameters.study import (
    PublishedModel,
    at_equal_accuracy,
    closed_form,
)
from densenet_solutions.exercises.table_1 import pictures
from densenet_solutions.exercises.table_1 import study as architecture
from densenet_solutions.models import TABLE_1, DenseNet, DenseNetConfig, book_densenet


@pytest.fixture(scope="module")
def matched():
    return parameters.matched_models()


@given(
    st.builds(
        DenseNetConfig,
        growth_rate=st.integers(1, 9),
        block_config=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
        num_init_features=st.integers(4, 20),
        bn_size=st.none() | st.integers(1, 5),
        compression=st.floats(0.5, 1.0),
        num_classes=st.integers(1, 12),
        in_channels=st.integers(1, 4),
        stem=st.sampled_from(["imagenet", "cifar"]),
    )
)
@settings(max_examples=40)
def test_the_closed_form_counts_any_network(config):
    with torch.device("meta"):
        counted = sum(p.numel() for p in DenseNet(config).parameters())
    assert closed_form(config) == counted


def test_stages_of_the_books_networks_sum_up_and_stem_is_shared():
    by_stage = parameters.parameters_by_stage()
    assert {name: sum(stages.values()) for name, stages in by_stage.items()} == {
        "DenseNet": 758_226,
        "ResNet-18": 11_178_378,
    }
    assert by_stage["DenseNet"]["stem"] == by_stage["ResNet-18"]["stem"] == 49 * 64 + 64 + 128
    assert by_stage["ResNet-18"]["head"] == 512 * 10 + 10
    assert by_stage["DenseNet"]["head"] == 248 * 2 + 248 * 10 + 10


def model(name, family, size, error):
    return PublishedModel(name, family, size, 10 * size, error)


def test_equal_accuracy_interpolates_between_neighbours():
    models = [
        model("D", "densenet", 5, 24.0),
        model("R1", "resnet", 10, 30.0),
        model("R2", "resnet", 20, 25.0),
        model("R3", "resnet", 40, 23.0),
    ]
    (row,) = at_equal_accuracy(models)
    assert row.between == ("R2", "R3")
    assert row.resnet_parameters == pytest.approx(30)
    assert (row.parameter_ratio, row.multiply_add_ratio) == pytest.approx((6, 6))


def test_the_matched_experiment_gives_the_ratios_of_a_hand_interpolation(matched):
    """The errors are the sources'; counts of the ResNets are those that everybody prints."""
    rows = {row.densenet.name: row for row in at_equal_accuracy(matched)}
    assert {name: round(row.parameter_ratio, 1) for name, row in rows.items()} == {
        "DenseNet-121": 3.0,
        "DenseNet-169": 2.0,
        "DenseNet-201": 2.1,
        "DenseNet-264": 1.8,
    }
    share = (23.80 - 22.44) / (24.01 - 22.44)  # DenseNet-169 between ResNet-101 and ResNet-50
    by_hand = 44_549_160 + share * (25_557_032 - 44_549_160)
    assert rows["DenseNet-169"].resnet_parameters == pytest.approx(by_hand)
    work = [1 / row.multiply_add_ratio for row in rows.values()]
    assert (round(min(work), 2), round(max(work), 2)) == (0.5, 0.73)


def test_torchvisions_evaluation_costs_only_the_densenets(matched):
    by_name = {m.name: m for m in matched}
    for other in parameters.reevaluated_models():
        ours = by_name[other.name]
        assert other.parameters == ours.parameters
        loss = other.top1_error - ours.top1_error
        assert 0.5 < loss < 0.65 if ours.family == "densenet" else loss < 0.25


def test_decay_alone_leaves_what_torch_leaves():
    chosen = reuse.SETTINGS
    steps = chosen.epochs * (reuse.TRAIN_IMAGES // chosen.batch_size)
    weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = torch.optim.SGD(
        [weight], lr=chosen.learning_rate, momentum=chosen.momentum,
        weight_decay=chosen.weight_decay,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        schedule.step()
    kept = parameters.kept_without_gradient(chosen, reuse.TRAIN_IMAGES)
    assert kept == pytest.approx(weight.item(), rel=1e-9)
    assert round(kept, 3) == 0.466


def block(*readers: tuple[float, ...]) -> reuse.BlockReuse:
    """A block whose readers put these weights on the input and on each layer before them."""
    filled = [[*reader, *[None] * (len(readers) - len(reader))] for reader in readers]
    names = tuple(str(i) for i in range(len(readers)))
    return reuse.BlockReuse("denseblock1", names, names, tuple(zip(*filled, strict=True)))


def test_near_and_far_are_compared_within_a_reader_and_without_the_input():
    """Readers keep 90, 70, 50 and 30%, the input a tenth: only layer 4 prefers its neighbour."""
    untrained = block((2.0,), (2.0, 4.0), (2.0, 4.0, 4.0), (2.0, 4.0, 4.0, 8.0), (1.0,) * 5)
    trained = block(
        (1.8,), (0.2, 2.8), (0.2, 2.0, 2.0), (0.2, 1.2, 0.8, 4.0), (0.1, 0.2, 0.3, 0.4, 0.5)
    )
    network = reuse.FeatureReuse("by hand", None, (trained,), (untrained,))
    (kept,) = parameters.weight_kept(network)
    expected = [(0.9,), (0.1, 0.7), (0.1, 0.5, 0.5), (0.1, 0.3, 0.2, 0.5)]
    assert [list(reader) for reader in kept.by_reader] == [pytest.approx(r) for r in expected]
    assert kept.near_minus_far == pytest.approx((0, 0.25))


def test_a_block_is_cheaper_than_one_convolution_of_its_width():
    row = parameters.at_equal_width()
    assert (row.entering, row.leaving) == (120, 248)
    assert row.block == 9 * 32 * (120 + 152 + 184 + 216) == 193_536
    assert row.one_convolution == 553_536


def test_equal_accuracy_does_not_extrapolate():
    with pytest.raises(ValueError, match=r"span 23\.00 to 30\.00 percent, got 31\.00 \(D\)"):
        at_equal_accuracy(
            [
                model("D", "densenet", 5, 31.0),
                model("R1", "resnet", 10, 30.0),
                model("R2", "resnet", 20, 23.0),
            ]
        )


def test_table_1_has_the_papers_rows():
    rows = architecture.printed_rows(TABLE_1["densenet264"].config)
    assert [(row.name, row.side) for row in rows] == [
        ("Convolution", 112),
        ("Pooling", 56),
        ("Dense block (1)", 56),
        ("Transition (1)", 56),
        ("Transition (1)", 28),
        ("Dense block (2)", 28),
        ("Transition (2)", 28),
        ("Transition (2)", 14),
        ("Dense block (3)", 14),
        ("Transition (3)", 14),
        ("Transition (3)", 7),
        ("Dense block (4)", 7),
        ("Classification", 1),
        ("Classification", 1),
    ]
    assert rows[2].what == "[1×1 conv, 128; 3×3 conv, 32] × 6"
    assert [row.what for row in rows[-2:]] == ["7×7 global average pool", "1000-d fully connected"]


def test_a_bottleneck_costs_weights_where_layers_read_little_and_saves_them_elsewhere():
    book = book_densenet().config
    reads = (64, 96, 128, 160, 96, 128, 160, 192, 112, 144, 176, 208, 120, 152, 184, 216)
    assert architecture.channels_read(book) == reads
    assert architecture.weights_of_layers(book) == 9 * 32 * sum(reads) == 672_768
    narrow = replace(book, bn_size=4)
    by_hand = 128 * sum(reads) + len(reads) * 9 * 128 * 32
    assert architecture.weights_of_layers(narrow) == by_hand == 888_832


def test_the_hourglass_wants_one_entry_a_block():
    with pytest.raises(ValueError, match="got 2, 1 and 2"):
        pictures.hourglass((1, 2), ((8, 16),), (8, 4), caption="Channels grow.")


def test_tracing_leaves_no_hook_and_no_mode_behind():
    network = DenseNet(DenseNetConfig(block_config=(1, 1), growth_rate=4, num_classes=3))
    architecture.trace(network, (1, 3, 64, 64))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_the_closed_form_refuses_biases_which_it_leaves_out():
    with pytest.raises(ValueError, match="leaves biases out"):
        closed_form(book_densenet().config)


def test_neither_bottleneck_nor_compression_by_hand():
    """DenseNet-121: 9·32·c weights and 2c of its norm for a layer that reads c channels."""
    total, c = 49 * 3 * 64 + 2 * 64, 64
    for n in (6, 12, 24, 16):
        for _ in range(n):
            total, c = total + 9 * 32 * c + 2 * c, c + 32
        if n != 16:
            total += c * c + 2 * c
    bare = parameters.without_economies("DenseNet-121", TABLE_1["densenet121"].config)
    assert bare.without_both == total + 2 * c + (c + 1) * 1000 == 20_812_904
    assert (bare.without_compression, bare.without_bottleneck) == (13_908_584, 10_869_096)
