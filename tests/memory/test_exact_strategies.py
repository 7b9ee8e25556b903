"""What exact strategies promise: the plain model's numbers, and its buffers."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import book_densenet, densenet121

EXACT = [
    name for name, row in STRATEGIES.items() if row.exact and not row.on_request and name != "plain"
]
TOLERANCE = 1e-10  # float64, as a share of the largest entry


@dataclass(frozen=True)
class Case:
    name: str
    side: int = 32
    train: bool = True
    input_grad: bool = True
    options: tuple = ()
    device: str = "cpu"

    def __str__(self):
        return self.name


CASES = [
    Case("train"),
    Case("eval", train=False),
    Case("no-input-gradient", input_grad=False),
    Case("dropout", options=(("drop_rate", 0.3),)),
    Case("odd-size", side=45),
    Case("no-bottleneck", options=(("bn_size", None),)),
    Case("full-width", options=(("compression", 1.0),)),
    Case("cifar-stem", side=9, options=(("stem", "cifar"),)),
]


def small_densenet(**options):
    torch.manual_seed(0)
    defaults = {
        "growth_rate": 4, "block_config": (2, 3), "num_init_features": 6, "bn_size": 2,
        "num_classes": 5,
    }  # fmt: skip
    return away_from_0_and_1(densenet121(**(defaults | options)).double())


def away_from_0_and_1(model):
    """Weights and statistics at which a missing factor would be noticed."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def small_book(pooling="average"):
    torch.manual_seed(0)
    return away_from_0_and_1(
        book_densenet(
            pooling, num_init_features=6, growth_rate=4, block_config=(2, 2), num_classes=5
        ).double()
    )


def run(strategy, model, case, steps=1):
    """Outputs, input gradients, parameter gradients and buffers over some optimizer steps."""
    model = strategy.apply(model).train(case.train).to(case.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(1)
    channels = next(model.parameters()).shape[1]
    result = {}
    for step in range(steps):
        x = torch.randn(4, channels, case.side, case.side, dtype=torch.float64).to(case.device)
        x.requires_grad_(case.input_grad)
        targets = torch.randint(5, (4,)).to(case.device)
        outputs = []
        hook = model.register_forward_hook(lambda m, i, o, to=outputs: to.append(o.detach()))
        optimizer.zero_grad()
        torch.manual_seed(2 + step)
        strategy.step(model, x, targets)
        hook.remove()
        result[f"{step}: output"] = outputs[0]
        if case.input_grad:
            result[f"{step}: input"] = x.grad
        for name, parameter in model.named_parameters():
            result[f"{step}: gradient of {name}"] = parameter.grad.clone()
        optimizer.step()
    result |= {f"buffer {name}": buffer.clone() for name, buffer in model.named_buffers()}
    return result


def compare(exactness, expected, got):
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        if exactness == "bitwise" or not value.is_floating_point():
            assert torch.equal(value, got[name]), name
        else:
            scale = value.abs().max().clamp(min=1e-3)
            assert (value - got[name]).abs().max() <= TOLERANCE * scale, name


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_outputs_gradients_and_buffers_are_the_plain_models(name, case):
    model = small_densenet(**dict(case.options))
    expected = run(STRATEGIES["plain"], model, case)
    compare(STRATEGIES[name].exactness, expected, run(STRATEGIES[name], model, case))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", [replace(case, device="cuda") for case in CASES], ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_on_a_gpu(name, case):
    """Up to rounding: there two runs of the plain model need not agree in every bit either."""
    model = small_densenet(**dict(case.options))
    expected = run(STRATEGIES["plain"], copy.deepcopy(model), case)
    compare("numerical", expected, run(STRATEGIES[name], model, case))


@pytest.mark.parametrize("name", EXACT)
def test_two_optimizer_steps_are_the_plain_models(name):
    model, case = small_densenet(drop_rate=0.2), Case("train")
    expected = run(STRATEGIES["plain"], model, case, steps=2)
    compare(STRATEGIES[name].exactness, expected, run(STRATEGIES[name], model, case, steps=2))


@pytest.mark.parametrize(
    "case", [Case("train"), Case("eval", train=False), Case("odd", 45)], ids=str
)
@pytest.mark.parametrize("name", EXACT)
def test_the_books_network_too(name, case):
    """Its convolutions have biases: in evaluation mode these have gradients."""
    expected = run(STRATEGIES["plain"], small_book(), case)
    compare(STRATEGIES[name].exactness, expected, run(STRATEGIES[name], small_book(), case))


@pytest.mark.parametrize("pooling", ["max", "stride"])
def test_shared_storage_leaves_a_transition_that_does_not_average_alone(pooling):
    strategy, case = STRATEGIES["shared_storage"], Case("train")
    expected = run(STRATEGIES["plain"], small_book(pooling), case)
    compare(strategy.exactness, expected, run(strategy, small_book(pooling), case))


@pytest.mark.parametrize("name", [*EXACT, "compiled"])
def test_the_model_is_copied_and_names_are_torchvisions(name):
    model = small_densenet()
    before = copy.deepcopy(model.state_dict())
    changed = STRATEGIES[name].apply(model)
    assert list(changed.state_dict()) == list(before)
    changed.load_state_dict(before)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.zero_()
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", EXACT)
def test_evaluation_without_gradients(name):
    model = small_densenet().eval()
    changed = STRATEGIES[name].apply(model)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(changed(x), model(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in EXACT if STRATEGIES[n].predictable])
def test_a_predictable_step_runs_on_the_meta_device(name):
    model = STRATEGIES[name].apply(small_densenet().float()).to("meta")
    inputs = torch.empty(2, 3, 32, 32, device="meta")
    targets = torch.empty(2, dtype=torch.long, device="meta")
    STRATEGIES[name].step(model, inputs, targets)
    assert all(parameter.grad is not None for parameter in model.parameters())
