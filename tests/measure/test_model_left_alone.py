"""An instrument leaves a given model as it was, and the process too."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from densenet_solutions.measure import (
    count_flops,
    count_parameters,
    measure_memory,
    predict_memory,
    saved_bytes,
)
from densenet_solutions.models import densenet121

SHAPE = (2, 3, 32, 32)


def used_model(device: str = "cpu") -> nn.Module:
    """A small DenseNet as it is met in the middle of a training: gradients, statistics, a hook."""
    model = densenet121(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=5)
    model(torch.randn(SHAPE)).sum().backward()
    model.features[0].requires_grad_(False)
    model.classifier.register_forward_hook(lambda *_: None)
    return model.to(device).eval()


def state(model: nn.Module) -> dict[str, Any]:
    """All that a measurement could change, by name."""
    tensors = dict(model.state_dict(keep_vars=True))
    return {
        "identities": {name: id(tensor) for name, tensor in tensors.items()},
        "storages": {name: t.untyped_storage()._cdata for name, t in tensors.items()},
        "types": {name: (t.dtype, t.device, t.requires_grad) for name, t in tensors.items()},
        "modes": {path: module.training for path, module in model.named_modules()},
        "hooks": {path: len(m._forward_hooks) for path, m in model.named_modules()},
        "parameter hooks": [len(p._backward_hooks or ()) for p in model.parameters()],
        "attributes": {path: set(vars(module)) for path, module in model.named_modules()},
    }


def numbers(model: nn.Module) -> dict[str, Tensor]:
    gradients = {f"{n}.grad": p.grad for n, p in model.named_parameters() if p.grad is not None}
    found = {**model.state_dict(), **gradients}
    return {name: tensor.clone() for name, tensor in found.items() if not tensor.is_meta}


def fails(call: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(ValueError, match=r"images have shape|step raised"):
        call(*arguments)


#: The calls of a review in which version 1.0 damaged the model, and those in which it did not.
CALLS: dict[str, Callable[[nn.Module], object]] = {
    "measure": lambda m: measure_memory(m, SHAPE),
    "measure, through a function": lambda m: measure_memory(lambda: m, SHAPE),
    "measure, sgd": lambda m: measure_memory(lambda: m, SHAPE, optimizer="sgd"),
    "measure, bfloat16": lambda m: measure_memory(lambda: m, SHAPE, dtype=torch.bfloat16),
    "measure, float64": lambda m: measure_memory(m, SHAPE, dtype=torch.float64),
    "measure, inference": lambda m: measure_memory(lambda: m, SHAPE, train=False),
    "measure, a failing step": lambda m: fails(measure_memory, lambda: m, (2, 5, 32, 32)),
    "measure, wrapped": lambda m: measure_memory(lambda: nn.Sequential(m), SHAPE, optimizer="adam"),
    "predict": lambda m: predict_memory(m, SHAPE),
    "predict, through a function": lambda m: predict_memory(lambda: m, SHAPE, dtype=torch.float64),
    "predict, adam": lambda m: predict_memory(m, SHAPE, optimizer="adam"),
    "predict, autocast": lambda m: predict_memory(lambda: m, SHAPE, autocast=torch.bfloat16),
    "flops": lambda m: count_flops(m, SHAPE),
    "flops, a failing pass": lambda m: fails(count_flops, m, (2, 5, 32, 32)),
    "parameters": count_parameters,
    "saved": lambda m: saved_bytes(m, SHAPE),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_given_model_stays_as_it_was(call: Callable[[nn.Module], object], device: str) -> None:
    model = used_model(device)
    before, values = state(model), numbers(model)
    random = torch.get_rng_state()
    call(model)
    assert state(model) == before
    after = numbers(model)
    assert after.keys() == values.keys()
    assert all(torch.equal(after[name], value) for name, value in values.items())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd"}, {"dtype": torch.float64}])
def test_a_compiled_model_stays_as_it_was_and_compiled(options: dict[str, Any]) -> None:
    class Pair(nn.Sequential):  # PyTorch 2.11 compiles no module of its own
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x))

    torch.compiler.reset()
    calls = []
    model = Pair(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    model.compile(backend=lambda graph, inputs: calls.append(graph) or graph.forward)
    model[0].weight.grad = torch.ones(4, 3)
    before, values = state(model), numbers(model)
    measured = measure_memory(model, (5, 3), **options)
    assert calls, "what was measured was compiled"
    assert measured.peak_bytes > 0
    assert state(model) == before
    after = numbers(model)
    assert all(torch.equal(after[name], value) for name, value in values.items())


def test_a_factory_draws_the_numbers_that_it_would_draw() -> None:
    torch.manual_seed(3)
    first = torch.rand(3)
    torch.manual_seed(3)
    measure_memory(lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout()), (2, 3))
    assert torch.equal(torch.rand(3), first)


class Locked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)
        self.lock = threading.Lock()


def test_what_cannot_be_copied_is_refused_or_built() -> None:
    with pytest.raises(TypeError, match=r"cannot be copied.*lock.*: pass a function that builds"):
        measure_memory(Locked(), (2, 3))
    assert measure_memory(Locked, (2, 3)).peak_bytes > 0


def test_tensors_of_a_module_that_are_not_registered() -> None:
    """They are copied with it, wherever they lie in it, shared ones once; and they are counted."""

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4, bias=False)
            self.rows = {"table": [torch.ones(1000, 4)]}
            self.same = self.rows["table"][0]

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) + self.same[:1] + self.rows["table"][0][1:2]

    for result in (predict_memory(Table(), (2, 4)), measure_memory(Table(), (2, 4))):
        assert result.bytes_by_category["buffers"] == 4 * 1000 * 4


def test_threads_are_fixed_and_put_back() -> None:
    """Each thread has scratch space of its own, so a comparison needs one of them."""
    inside: list[int] = []

    def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        inside.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one = measure_memory(nn.Linear(3, 2), (4, 3), step=step)
        three = measure_memory(nn.Linear(3, 2), (4, 3), step=step, threads=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert inside == [1] * 3 + [3] * 3
    assert (one.threads, three.threads) == (1, 3)


def test_a_comparison_holds_whatever_the_process_does() -> None:
    """Version 1.0 was 3.5 % off with two threads, and its site did not build on four cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        measured = measure_memory(densenet121, (2, 3, 64, 64))
    finally:
        torch.set_num_threads(before)
    assert predict_memory(densenet121, (2, 3, 64, 64)).peak_bytes == pytest.approx(
        measured.peak_bytes, rel=0.01
    )
