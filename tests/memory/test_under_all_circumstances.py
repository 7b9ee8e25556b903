"""Exact strategies where people meet them: two backward passes, other parameters, threads, …

Each case does the same to the plain model, which is the measure.
"""

import datetime
import threading
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import nn

from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import densenet121
from tests.memory.test_exact_strategies import small_densenet

REPEATABLE = ["recompute_bottleneck_input", "recompute_layer", "recompute_block"]
RECOMPUTING = [*REPEATABLE, "selective_checkpointing"]
OURS = [*RECOMPUTING, "shared_storage"]


def images(n=4, side=32):
    torch.manual_seed(1)
    return torch.randn(n, 3, side, side, dtype=torch.float64)


def pair(name, **options):
    model = small_densenet(**options)
    return model, STRATEGIES[name].apply(model)


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters()}


def assert_same(plain, ours, *, tolerance=1e-10):
    for expected, got in (
        (gradients(plain), gradients(ours)),
        (plain.state_dict(), ours.state_dict()),
    ):
        assert expected.keys() == got.keys()
        for name, value in expected.items():
            assert (value is None) == (got[name] is None), name
            if value is not None:
                scale = float(value.abs().max().clamp(min=1e-3))
                torch.testing.assert_close(
                    got[name], value, rtol=0, atol=tolerance * scale, msg=name
                )


@pytest.mark.parametrize("name", [*REPEATABLE, "shared_storage"])
def test_a_graph_is_gone_through_twice(name):
    plain, ours = pair(name)
    for model in (plain, ours):
        loss = model(images()).square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert_same(plain, ours)


@pytest.mark.parametrize("options", [{}, {"bn_size": 1}, {"bn_size": None}])
def test_what_a_policy_kept_is_handed_out_once(options):
    """With `bn_size=1` both convolutions of a layer have outputs of one shape."""
    _, ours = pair("selective_checkpointing", **options)
    loss = ours(images()).square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="got a second backward pass"):
        loss.backward()


@pytest.mark.parametrize("name", REPEATABLE)
def test_a_gradient_penalty_goes_through_recomputation(name):
    plain, ours = pair(name)
    for model in (plain, ours):
        x = images().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
    assert_same(plain, ours, tolerance=1e-8)


def train_in_one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(str(folder / "store"), 2)
    torch.distributed.init_process_group(
        "gloo", store=store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=120)
    )
    plain, ours = pair("shared_storage")
    for model in (plain, ours):
        parallel = nn.parallel.DistributedDataParallel(model)
        torch.manual_seed(10 + rank)  # other images in each process
        parallel(torch.randn(2, 3, 32, 32, dtype=torch.float64)).square().sum().backward()
    assert_same(plain, ours)
    torch.save([p.grad for p in ours.parameters()], folder / f"{rank}")
    torch.distributed.destroy_process_group()


def test_distributed_data_parallel_over_two_processes(tmp_path):
    """This process is the first of the two."""
    other = torch.multiprocessing.get_context("spawn").Process(
        target=train_in_one_of_two, args=(1, tmp_path)
    )
    other.start()
    train_in_one_of_two(0, tmp_path)
    other.join(120)
    assert other.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}") for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def other_parameters(model):
    return {name: (p.detach() * 1.1).requires_grad_() for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", RECOMPUTING)
def test_other_parameters_than_in_the_forward_pass_are_refused(name):
    _, ours = pair(name)
    others = other_parameters(ours)
    loss = torch.func.functional_call(ours, others, images()).square().sum()
    with pytest.raises(RuntimeError, match=r"weight in .* was changed between"):
        loss.backward()


@pytest.mark.parametrize("name", OURS)
def test_other_parameters_around_both_passes_are_right(name):
    plain, ours = pair(name)
    found = []

    class BothPasses(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            self.model(x).square().sum().backward()

    for model in (plain, ours):
        others = {f"model.{key}": value for key, value in other_parameters(model).items()}
        torch.func.functional_call(BothPasses(model), others, images())
        found.append([other.grad for other in others.values()])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("of", ["weight", "running_mean"])
@pytest.mark.parametrize("name", RECOMPUTING)
def test_what_is_written_in_between_is_noticed_as_the_plain_model_notices_it(name, of):
    for model in pair(name):
        model.train(of == "weight")
        loss = model(images()).square().sum()
        with torch.no_grad():
            getattr(model.features.denseblock1.denselayer1.norm1, of).mul_(2)
        with pytest.raises(RuntimeError, match=r"modified by an inplace|norm1.* was changed"):
            loss.backward()


@pytest.mark.parametrize("name", RECOMPUTING)
def test_another_mode_at_the_backward_pass_is_refused(name):
    _, ours = pair(name)
    loss = ours(images()).square().sum()
    ours.eval()
    with pytest.raises(RuntimeError, match=r"the mode of .* was changed"):
        loss.backward()


@pytest.mark.parametrize("name", OURS)
def test_two_threads_through_one_network_leave_it_whole(name):
    _, ours = pair(name)
    failed = []

    def steps():
        try:
            for _ in range(4):
                ours(images()).square().sum().backward()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=steps) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    norms = [module for module in ours.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 and int(norm.num_batches_tracked) == 8 for norm in norms)


@pytest.mark.parametrize("frozen", ["all", "first layers", "transition"])
@pytest.mark.parametrize("name", OURS)
def test_some_normalizations_are_in_evaluation_mode(name, frozen, recwarn):
    plain, ours = pair(name, drop_rate=0.2)
    for model in (plain, ours):
        for path, module in model.named_modules():
            chosen = {"all": "", "first layers": "denselayer1", "transition": "transition"}[frozen]
            if isinstance(module, nn.BatchNorm2d) and chosen in path:
                module.eval()
        inputs = images()
        torch.manual_seed(3)
        model(inputs).square().sum().backward()
    assert_same(plain, ours)
    assert not [w for w in recwarn if "is off" in str(w.message)]


def test_frozen_batch_normalization_keeps_the_saving():
    def frozen():
        model = STRATEGIES["shared_storage"].apply(densenet121())
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return model

    peak = predict_memory(frozen, (8, 3, 224, 224)).peak_beyond_parameters
    assert peak <= 110 * 2**20


@pytest.mark.parametrize("where", ["norm1", "conv2", ""])
@pytest.mark.parametrize("name", OURS)
def test_the_forward_pass_of_an_instance_is_run(name, where):
    plain, ours = pair(name)
    for model in (plain, ours):
        layer = model.features.denseblock1.denselayer2
        module = layer.get_submodule(where)
        module.forward = lambda x, f=module.forward: 1.5 * f(x)
    wanted = images()
    if name == "shared_storage" or (name == "recompute_bottleneck_input" and not where):
        with pytest.warns(UserWarning, match="forward pass of its own"):
            got = ours(wanted)
    else:
        got = ours(wanted)
    torch.testing.assert_close(got, plain(wanted), rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*hooks on all modules")
@pytest.mark.parametrize("name", OURS)
def test_hooks_on_all_modules_see_them_all(name):
    plain, ours = pair(name)
    seen = []

    def count(module, _args, _output):
        seen.append(type(module).__name__)

    count.__module__ = "somebody.elses"
    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        plain(images())
        expected, seen[:] = seen.count("Conv2d"), []
        ours(images().requires_grad_(False))
    finally:
        handle.remove()
    assert seen.count("Conv2d") == expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OURS)
def test_a_compiled_network_has_the_same_gradients_and_buffers(name):
    torch._dynamo.reset()
    plain, ours = pair(name, block_config=(1, 2))
    plain(images()).square().sum().backward()
    torch.compile(ours, backend="aot_eager")(images()).square().sum().backward()
    assert_same(plain, ours)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OURS)
def test_features_are_laid_out_as_the_plain_models(name, memory_format):
    plain, ours = pair(name)
    x = images().to(memory_format=memory_format)
    expected, got = plain.features(x), ours.features(x)
    assert got.stride() == expected.stride()
    if memory_format == torch.contiguous_format:
        assert got.view(len(x), -1).shape == (4, got[0].numel())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", OURS)
def test_no_image_is_taken_as_the_plain_model_takes_it(name, train):
    results = []
    for model in pair(name):
        try:
            results.append(model.train(train).features(images(0)).shape)
        except ValueError as error:
            results.append(str(error))
    assert results[0] == results[1]
