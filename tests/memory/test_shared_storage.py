"""Shared storage under all the circumstances that a dense block meets."""

import copy
import functools
import io
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import DenseNet as TorchvisionDenseNet

from densenet_solutions.measure import measure_memory, predict_memory
from densenet_solutions.measure.torch_private import FakeTensorMode
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory import dense_block as own_block
from densenet_solutions.memory.shared_storage import obstacle, shared_storage
from densenet_solutions.memory.shared_storage.block import dense_block
from densenet_solutions.memory.shared_storage.plan import (
    Plan,
    plan_for,
    planned_for,
    slices_on,
)
from densenet_solutions.memory.shared_storage.reference import dense_block_reference
from densenet_solutions.memory.shared_storage.stem import imagenet_stem
from densenet_solutions.models import book_densenet, densenet121
from densenet_solutions.threads import threads


def network(**options):
    """Bottlenecks of 32 channels in four groups of 8, statistics and weights far from 0 and 1."""
    torch.manual_seed(0)
    defaults = {
        "growth_rate": 8, "block_config": (2, 2), "num_init_features": 6, "bn_size": 4,
        "num_classes": 5,
    }  # fmt: skip
    model = densenet121(**(defaults | options)).double()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias, std=0.3)
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return model


def images(n=3, side=33, **options):
    return torch.randn(n, 3, side, side, dtype=torch.float64, **options)


def assert_same(a, b, tolerance=1e-10):
    """Every gradient and buffer equal, as a share of the largest entry."""
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            scale = p.grad.abs().max().clamp(min=1e-3)
            assert (p.grad - q.grad).abs().max() <= tolerance * scale, name
    for (name, p), q in zip(a.named_buffers(), b.buffers(), strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance, msg=name)


def pair(**options):
    plain = network(**options)
    return plain, shared_storage(plain)


@pytest.mark.parametrize("transition", [False, True])
@pytest.mark.parametrize("train", [True, False])
def test_gradcheck_of_a_block(train, transition):
    model = network(growth_rate=3, block_config=(2, 1), num_init_features=3).train(train)
    block = model.features.denseblock1
    tail = [model.features.transition1] if transition else []
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    parameters = [p for m in (block, *tail) for p in m.parameters()]

    def function(x, *_):
        return dense_block(x, list(block), *tail)

    assert torch.autograd.gradcheck(function, (x, *parameters), fast_mode=True)


def test_gradcheck_of_the_stem():
    features = network(num_init_features=2).features
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    inputs = (x, features.conv0.weight, features.norm0.weight, features.norm0.bias)
    assert torch.autograd.gradcheck(
        lambda x, *_: imagenet_stem(x, features.conv0, features.norm0), inputs, fast_mode=True
    )


def test_the_reference_is_the_plain_block_and_passes_gradcheck():
    block = network().features.denseblock1
    x = torch.randn(3, 6, 5, 4, dtype=torch.float64, requires_grad=True)
    g = torch.randn(3, 22, 5, 4, dtype=torch.float64)
    weights = list(block.parameters())
    expected = torch.autograd.grad(block(x), (x, *weights), g)
    for function in (dense_block_reference, dense_block):
        got = torch.autograd.grad(function(x, list(block)), (x, *weights), g)
        for a, b in zip(expected, got, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)
    small = torch.randn(2, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, *_: dense_block_reference(x, list(block)), (small, *weights), fast_mode=True
    )


def test_double_backward_is_refused_clearly():
    block = network().features.denseblock1
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        torch.autograd.grad(dense_block(x, list(block)).sum(), x, create_graph=True)


def test_frozen_parameters_get_no_gradient_and_the_others_theirs():
    plain, ours = pair()
    for model in (plain, ours):
        for i, parameter in enumerate(model.parameters()):
            parameter.requires_grad_(i % 3 != 0)
    x = images()
    for model in (plain, ours):
        model(x).square().sum().backward()
    assert_same(plain, ours)


def test_everything_frozen_gives_the_input_gradient():
    plain, ours = pair()
    x, x2 = (images(generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab")
    for model, inputs in ((plain, x), (ours, x2)):
        model.requires_grad_(False)
        model(inputs).square().sum().backward()
    torch.testing.assert_close(x.grad, x2.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("train", [True, False])
def test_two_forwards_before_a_backward(train):
    plain, ours = pair()
    x, y = images(), images(n=2, side=40)
    for model in (plain, ours):
        model.train(train)
        (model(x).square().sum() + model(y).square().sum()).backward()
    assert_same(plain, ours)


def test_one_graph_twice():
    plain, ours = pair()
    x = images()
    for model in (plain, ours):
        loss = model(x).square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert_same(plain, ours)


def test_an_output_used_elsewhere_is_not_overwritten():
    block = network().features.denseblock1
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    other = torch.zeros(2, 22, 4, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 22, 4, 4, dtype=torch.float64)
    (dense_block(x, list(block)) + other).backward(upstream)
    assert torch.equal(other.grad, upstream)


@pytest.mark.parametrize("change", ["momentum", "average"])
def test_running_statistics_follow_the_modules_momentum(change):
    plain = network()
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 0.3 if change == "momentum" else None
    ours = shared_storage(plain)
    for _ in range(2):
        x = images()
        plain(x)
        ours(x)
    assert_same(plain, ours)
    assert int(ours.features.norm0.num_batches_tracked) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_bfloat16_autocast_is_as_near_to_float64_as_the_plain_model(count):
    exact = network()
    plain, ours = exact.float(), None
    ours, exact = shared_storage(plain), network()
    x = images(n=8, side=64)
    exact(x).square().mean().backward()
    distance = {}
    for name, model in (("plain", plain), ("ours", ours)):
        with threads(count):
            with torch.autocast("cpu", torch.bfloat16):
                y = model(x.float())
            assert y.dtype == torch.bfloat16
            y.float().square().mean().backward()
        assert all(p.grad.dtype == torch.float32 for p in model.parameters())
        g = torch.cat([p.grad.double().flatten() for p in model.parameters()])
        e = torch.cat([p.grad.flatten() for p in exact.parameters()])
        distance[name] = float((g - e).norm() / e.norm())
    assert distance["ours"] <= 1.5 * distance["plain"] + 0.01


def test_copies_and_state_dicts_move():
    plain, ours = pair()
    again = copy.deepcopy(ours)
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    plain.load_state_dict(torch.load(file))
    x = images()
    for model in (plain, ours, again):
        model(x).square().sum().backward()
    assert_same(plain, ours)
    assert_same(plain, again)


def test_torchvisions_weights_move_both_ways():
    theirs = TorchvisionDenseNet(8, (2, 2), 6, 4, num_classes=5)
    ours = shared_storage(network().float())
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


def _hook(model):
    model.features.denseblock1.denselayer2.conv1.register_forward_hook(lambda *a: None)


def _parametrise(model):
    weight_norm(model.features.denseblock1.denselayer1.conv2)


def _sync(model):
    layer = model.features.denseblock1.denselayer1
    layer.norm2 = nn.SyncBatchNorm(layer.norm2.num_features).double()


def _dilate(model):
    conv = model.features.denseblock1.denselayer1.conv2
    conv.dilation = conv.padding = (2, 2)


def _overlap(model):
    model.features.transition1.pool.padding = 1


def _bias(model):
    conv = model.features.denseblock1.denselayer2.conv1
    conv.bias = nn.Parameter(torch.ones(conv.out_channels, dtype=torch.float64))


OBSTACLES = [
    (_dilate, r"dilation=\(2, 2\).* is not the paper's"),
    (_overlap, "padding=1.* is not the paper's"),
    (_bias, "1x1 convolution has a bias"),
    (_hook, "Conv2d has hooks"),
    (_parametrise, "has parametrizations"),
    (_sync, "SyncBatchNorm has a forward pass of its own"),
]


@pytest.mark.parametrize(("change", "reason"), OBSTACLES, ids=lambda v: getattr(v, "__name__", ""))
def test_what_shared_storage_cannot_do_is_said_and_the_plain_way_taken(change, reason):
    plain = network()
    change(plain)
    ours = shared_storage(plain)
    assert re.search(reason, obstacle((ours.features.denseblock1, ours.features.transition1)))
    if change is _sync:
        return  # runs on a GPU only
    x = images()
    plain(x).square().sum().backward()
    with pytest.warns(UserWarning, match=reason):
        ours(x).square().sum().backward()
    assert_same(plain, ours)


def test_batch_statistics_of_one_value_are_refused():
    model = shared_storage(network())
    with pytest.raises(ValueError, match="more than one value per channel"):
        dense_block(torch.randn(1, 6, 1, 1, dtype=torch.float64), list(model.features.denseblock1))


def test_every_gradient_and_buffer_of_a_whole_densenet121_in_float64():
    """Against torchvision's class."""
    torch.manual_seed(0)
    theirs = TorchvisionDenseNet().double()
    ours = shared_storage(densenet121().double())
    ours.load_state_dict(theirs.state_dict())
    x = images(n=4, side=96)
    for model in (theirs, ours):
        nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
    assert_same(theirs, ours, tolerance=1e-9)


def test_densenet121_at_batch_8_stays_under_the_bar():
    result = predict_memory(lambda: shared_storage(densenet121()), (8, 3, 224, 224))
    assert result.peak_beyond_parameters <= 105 * 2**20
    with threads(2):
        result = predict_memory(
            lambda: shared_storage(densenet121()), (8, 3, 224, 224), device="cpu"
        )
    assert 105 * 2**20 < result.peak_beyond_parameters <= 110 * 2**20


def test_the_books_network_keeps_its_features_and_little_else():
    """Features of blocks at 56, 28, 14 and 7 pixels; twice that, for their gradients."""
    pixels_by_width = {56**2: 64 + 128, 28**2: 96 + 128, 14**2: 112 + 128, 7**2: 120 + 128}
    features = 4 * 16 * sum(pixels * width for pixels, width in pixels_by_width.items())
    shape = (16, 1, 224, 224)
    ours = predict_memory(lambda: shared_storage(book_densenet()), shape).peak_beyond_parameters
    assert features < ours < 2.5 * features
    assert ours < predict_memory(book_densenet, shape).peak_beyond_parameters / 4


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lambda: densenet121(block_config=(4, 4), num_classes=10), (4, 3, 64, 64)),
        (book_densenet, (16, 1, 96, 96)),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_the_prediction_is_what_the_allocator_hands_out(network, shape, count):
    make = lambda: shared_storage(network())  # noqa: E731
    measured = measure_memory(make, shape, threads=count)
    with threads(count):
        predicted = predict_memory(make, shape, device="cpu")
    assert abs(predicted.peak_bytes - measured.peak_bytes) <= max(
        0.01 * measured.peak_bytes, 4 * 2**20
    )


def test_a_prediction_is_cut_as_on_the_device_it_is_for() -> None:
    """A GPU works on the whole batch at once, a CPU on an eighth."""
    meta = torch.device("meta")
    with planned_for("cuda"):
        assert slices_on(meta) == slices_on(torch.device("cuda")) == 1
    assert slices_on(meta) == slices_on(torch.device("cpu")) == 8
    assert Plan((64, 224, 224), 32).images_at_once(64) == 2
    assert Plan((64, 224, 224), 1).images_at_once(64) == 64

    strategy = STRATEGIES["shared_storage"]

    def step(model: nn.Module, images: Tensor, labels: Tensor) -> None:
        with planned_for("cuda"):
            strategy.step(model, images, labels)

    model = strategy.apply(densenet121(block_config=(1, 1), num_classes=10))
    shape = (64, 3, 96, 96)
    planned, usual = (
        predict_memory(lambda: model, shape, step=how).peak_bytes for how in (step, strategy.step)
    )
    assert planned > usual
    by_device = {
        device: predict_memory(lambda: model, shape, device=device).peak_bytes
        for device in ("meta", "cpu", "cuda")
    }
    assert by_device == {"meta": usual, "cpu": usual, "cuda": planned}
    with pytest.raises(ValueError, match="kind is one of 'cpu', 'cuda', got 'meta'"):
        planned_for("meta").__enter__()


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_only_a_prediction_for_a_cpu_depends_on_its_threads(autocast):
    """Autocast is predicted with fake tensors of a CPU, whatever device is asked about."""
    make = lambda: shared_storage(densenet121(block_config=(2,), num_classes=10))  # noqa: E731
    peaks = {"meta": set(), "cuda": set(), "cpu": set()}
    for device, found in peaks.items():
        for count in (1, 2):
            with threads(count):
                result = predict_memory(make, (4, 3, 64, 64), device=device, autocast=autocast)
            found.add(result.peak_bytes)
    assert {device: len(found) for device, found in peaks.items()} == {
        "meta": 1, "cuda": 1, "cpu": 2,
    }  # fmt: skip


@functools.cache
def plain_step(bn_size):
    """A network, images, and the network after a step with its output.

    Large enough that a slice is not the whole batch: 40·48² rows, and 2^20 numbers in a slice.
    """
    start = network(bn_size=bn_size, num_init_features=32)
    x = images(n=40, side=96)
    plain = copy.deepcopy(start)
    y = plain.train()(x)
    y.square().sum().backward()
    return start, x, plain, y.detach()


@pytest.mark.parametrize(
    ("bn_size", "keep", "slices"),
    [
        *((4, keep, slices) for keep in (0, 1) for slices in (1, 2, 5, 32)),
        *((4, 0.5, slices) for slices in (2, 5)),  # each of its layers is one of the above
        *((None, 0, slices) for slices in (1, 2, 5, 32)),
        (None, 1, 2),  # there is nothing to keep
    ],
)
def test_the_results_do_not_depend_on_the_slices(bn_size, keep, slices):
    _same_as_plain(bn_size, keep, slices)


@pytest.mark.parametrize("bn_size", [4, None])
@pytest.mark.parametrize(("slices", "count"), [(None, 2), (None, 4), (5, 8), (32, 2), (None, 3)])
def test_the_results_do_not_depend_on_the_threads(bn_size, slices, count):
    """40 images: equal parts for 2, 4 and 8 threads, none for 3."""
    with threads(count):
        plan = plan_for((40, 48, 48), torch.device("cpu"), slices)
        assert plan.threads == {2: 2, 4: 4, 8: 8, 3: 1}[count]
        _same_as_plain(bn_size, 0.5, slices)


def _same_as_plain(bn_size, keep, slices):
    start, x, plain, expected = plain_step(bn_size)
    ours = shared_storage(start, slices=slices, keep_bottlenecks=keep)
    y = ours.train()(x)
    y.square().sum().backward()
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    assert_same(plain, ours)


@pytest.mark.parametrize("size", [(8, 56, 56), (8, 14, 14), (6, 7, 7), (40, 48, 48), (64, 5, 3)])
def test_with_several_threads_all_operations_have_the_same_slices(size):
    """Of whole images, as many for each thread; what cannot be cut in equal parts is not cut."""
    with threads(2):
        plan = plan_for(size, torch.device("cpu"), None)
    assert plan.threads == 2
    rows = list(plan.row_chunks())
    assert rows == [of for _, of, _ in plan.images(64)] == [of for _, of, _ in plan.images(1024)]
    assert [row for of in rows for row in range(plan.rows)[of]] == list(range(plan.rows))
    assert all((of.stop - of.start) % (2 * size[1] * size[2]) == 0 for of in rows)
    assert len(rows) <= 8 or len(rows) * 2 * size[1] * size[2] <= plan.rows
    x = torch.arange(plan.rows * 3.0).view(-1, 3)
    assert plan.own(x).shape == (2, plan.rows // 2, 3)
    assert plan.own(x).data_ptr() == x.data_ptr()
    assert plan.own(x[:5]).shape == (5, 3)


@pytest.mark.parametrize("share", [0, 0.1, 0.6])
def test_a_weight_of_zero_gets_its_gradient(share):
    """Where none, some or most channels say nothing of their input; more rows than in a slice."""
    torch.manual_seed(0)
    plain = own_block(16, 8, 3, strategy="plain").double()
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias, std=0.1)
            with torch.no_grad():
                norm.weight[torch.rand(norm.num_features) < share] = 0
    ours = own_block(16, 8, 3).double()
    ours.load_state_dict(plain.state_dict())
    x, factor = torch.randn(6, 16, 20, 20).double(), torch.randn(6, 40, 20, 20).double()
    for block in (plain, ours):
        (block(x) * factor).sum().backward()
    assert_same(plain, ours, tolerance=1e-9)


def test_tensors_without_values_go_through_a_block():
    with FakeTensorMode():
        block = own_block(16, 8, 3)
        block(torch.randn(2, 16, 8, 8)).sum().backward()
        assert all(p.grad.shape == p.shape for p in block.parameters())


def test_a_plan_knows_what_it_is_for():
    assert plan_for((8, 56, 56), torch.device("cpu"), None).on_cpu
    assert plan_for((8, 56, 56), torch.device("meta"), None).on_cpu
    with planned_for("cuda"):
        assert not plan_for((8, 56, 56), torch.device("meta"), None).on_cpu


def test_where_threads_get_rows_of_their_own():
    """On a CPU, or in a prediction for one, of several images."""
    with threads(2):
        of = lambda n, device: plan_for((n, 56, 56), torch.device(device), None).threads  # noqa: E731
        assert [of(8, "cpu"), of(6, "cpu"), of(7, "cpu"), of(1, "cpu")] == [2, 2, 1, 1]
        assert of(8, "cuda") == of(8, "meta") == 1
        with planned_for("cuda"):
            assert of(8, "cpu") == of(8, "meta") == 1
        with planned_for("cpu"):
            assert of(8, "meta") == 2


class OperationCount(TorchDispatchMode):
    """Counts the operations that run inside of it, views and empty tensors apart."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        starts_nothing = ("aten::empty", "aten::new_empty", "aten::_unsafe_view", "aten::alias")
        self.count += not (func.is_view or func._schema.name.startswith(starts_nothing))
        return func(*args, **(kwargs or {}))


def test_slices_trade_memory_for_operations():
    peaks, counts = [], []
    for slices in (1, 2, 4, 8):
        model = shared_storage(densenet121(block_config=(1, 1), num_classes=10), slices=slices)
        peaks.append(predict_memory(lambda model=model: model, (64, 3, 96, 96)).peak_bytes)
        with OperationCount() as counted:
            model.to("meta")(torch.empty(64, 3, 96, 96, device="meta")).sum().backward()
        counts.append(counted.count)
    assert peaks == sorted(peaks, reverse=True)
    assert counts == sorted(counts)
    assert len(set(peaks)) == len(set(counts)) == 4


def test_kept_bottlenecks_are_as_large_as_by_hand() -> None:
    """4k channels a layer at its block's resolution; a second backward pass finds them still."""
    plain = densenet121(block_config=(2, 4), num_classes=10)
    x = torch.randn(4, 3, 64, 64)
    models = [shared_storage(plain, keep_bottlenecks=keep) for keep in (0, 0.5, 1)]
    held = []
    for model in models:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: sizes.append(t.nbytes) or t, lambda t: t
        ):
            model(x)
        held.append(sum(sizes))
    layer = 4 * 4 * 128
    assert held[1] - held[0] == layer * (1 * 16 * 16 + 2 * 8 * 8)
    assert held[2] - held[0] == layer * (2 * 16 * 16 + 4 * 8 * 8)
    loss = models[1](x).square().sum()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in models[1].parameters()]
    loss.backward()
    for gradient, parameter in zip(once, models[1].parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


@pytest.mark.parametrize(
    ("share", "error", "message"),
    [
        (True, TypeError, "keep_bottlenecks is a number, got True"),
        (1.5, ValueError, r"keep_bottlenecks lies in \[0, 1\], got 1.5"),
    ],
)
def test_what_is_kept_is_a_share(share, error, message) -> None:
    with pytest.raises(error, match=message):
        shared_storage(network(), keep_bottlenecks=share)


@pytest.mark.parametrize(
    ("slices", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_slices_are_a_positive_integer(slices, error):
    with pytest.raises(error, match="slices is"):
        shared_storage(network(), slices=slices)


def test_a_normalization_that_runs_twice_is_updated_twice():
    def shared_norm():
        model = network()
        block = model.features.denseblock1
        block.denselayer2.norm2 = block.denselayer1.norm2
        return model

    plain = shared_norm()
    ours = shared_storage(plain)
    x = images()
    for model in (plain, ours):
        model.train()(x).square().sum().backward()
    assert_same(plain, ours)


@pytest.mark.parametrize("rate", [0.2, 1.0])
def test_the_rate_of_dropout_is_that_of_the_forward_pass(rate):
    plain, ours = pair()
    x = images()
    for model in (plain, ours):
        torch.manual_seed(3)
        for layer in model.features.denseblock1:
            layer.drop_rate = rate
        loss = model.train()(x).square().sum()
        for layer in model.features.denseblock1:
            layer.drop_rate = 0.5
        loss.backward()
    assert_same(plain, ours)


@pytest.mark.parametrize("missing", ["bias", "num_batches_tracked"])
def test_a_normalization_without_a_part_runs_as_it_is(missing):
    plain = network()
    setattr(plain.features.denseblock1.denselayer1.norm1, missing, None)
    ours = shared_storage(plain)
    x = images()
    plain.train()(x).square().sum().backward()
    with pytest.warns(UserWarning, match="no running statistics, no weights or no biases"):
        ours.train()(x).square().sum().backward()
    assert_same(plain, ours)
