"""Hostile arguments of the instruments, right ones beside wrong ones: the rule and the value."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from densenet_solutions.measure import (
    Step,
    count_flops,
    count_parameters,
    measure_memory,
    predict_memory,
    saved_bytes,
    time_interleaved,
)


class Doubling(nn.Module):
    """Two inputs, one of them numbers of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.linear = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        return self.linear(x + self.rows(rows))


class NeedsNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if x.sum().item() == 0 else x


class BuiltFromNumbers(nn.Module):
    """As timm's drop path and torchvision's RegNet: the constructor reads a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.rates[1]


class Raises(nn.Module):
    def __init__(self, error: Exception, at: str) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.error = error
        if at == "constructor":
            raise error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


def boom() -> nn.Module:
    return Raises(RuntimeError("boom"), "constructor")


def frozen() -> nn.Module:
    return nn.Linear(3, 2).requires_grad_(False)


def linear() -> nn.Module:
    return nn.Linear(3, 2)


def compiled() -> nn.Module:
    model = nn.Linear(3, 2)
    model.compile()
    return model


def image_layer() -> nn.Module:
    return nn.Conv2d(3, 2, 1)


INT = torch.int64
SHAPE = (4, 3)
predict, measure = predict_memory, measure_memory

RIGHT: list[tuple[str, Callable[[], Any]]] = [
    ("a model", lambda: predict(nn.Linear(3, 2), SHAPE)),
    ("a class", lambda: predict(Doubling, ((4, 3), (4,)), input_dtype=(torch.float32, INT))),
    ("a list as shape", lambda: predict(linear, [4, 3])),
    ("a torch.Size", lambda: predict(linear, torch.zeros(4, 3).shape)),
    ("a step", lambda: Step(linear, SHAPE, optimizer="adam").predict()),
    ("measured with two inputs",
     lambda: measure(Doubling, [(4, 3), (4,)], input_dtype=[torch.float32, INT])),
    ("token numbers", lambda: predict(nn.Embedding(5, 3), SHAPE, input_dtype=INT)),
    ("a lazy model", lambda: predict(nn.LazyLinear(2), SHAPE)),
    ("a lazy factory", lambda: measure(lambda: nn.LazyLinear(2), SHAPE)),
    ("a lazy model of fakes", lambda: predict(nn.LazyLinear(2), SHAPE, autocast=torch.bfloat16)),
    ("a constructor that reads", lambda: predict(BuiltFromNumbers, SHAPE)),
    ("a frozen model, inference", lambda: predict(frozen, SHAPE, train=False)),
    ("an optimizer's class", lambda: predict(linear, SHAPE, optimizer=torch.optim.Adagrad)),
    ("parameters of a factory", lambda: count_parameters(linear)),
    ("work of a factory", lambda: count_flops(linear, SHAPE)),
    ("saved by a factory", lambda: saved_bytes(linear, SHAPE)),
    ("saved without parameters", lambda: saved_bytes(nn.MaxPool2d(2), (1, 1, 4, 4))),
    ("no warm-up", lambda: time_interleaved({"a": int}, repeats=1, warmup=0)),
]  # fmt: skip

V, T = ValueError, TypeError
Row = tuple[str, Callable[[], Any], type[Exception], str]


def both(
    name: str, *arguments: Any, error: type[Exception], says: str, **options: Any
) -> list[Row]:
    """The same of a prediction and a measurement."""
    return [
        (f"{name}, {function.__name__}", partial(function, *arguments, **options), error, says)
        for function in (predict_memory, measure_memory)
    ]


WRONG: list[Row] = [
    *both("no model", 5, SHAPE, error=T, says="model is a torch.nn.Module, or a function.*got 5"),
    *both("no module", int, SHAPE, error=T, says="what the factory returns is a torch.*got 0"),
    *both("the user's constructor", boom, SHAPE, error=RuntimeError, says="^boom$"),
    *both("the user's forward", Raises(ValueError("mine"), ""), SHAPE, error=V, says="^mine$"),
    *both("no shape", linear, 4, error=T, says="input_shape is a sequence of integers, got 4"),
    *both("None as shape", linear, None, error=T, says="input_shape is a sequence.*got None"),
    *both("empty shape", linear, (), error=V, says=r"input_shape holds at least one.*got \(\)"),
    *both("nothing in it", linear, (0, 3), error=V, says=r"at least 1, got \(0, 3\)"),
    *both("fractions", linear, (4.0, 3), error=T, says=r"sequence of integers, got \(4.0, 3\)"),
    *both("booleans", linear, (True, 3), error=T, says=r"sequence of integers, got \(True, 3\)"),
    *both("too much", linear, (10**20, 3), error=V, says=r"fewer than 2\^59 elements, got \(1000"),
    *both("a name for a shape", linear, "43", error=T, says="sequence of integers, got '43'"),
    *both("wrong width", linear, (4, 5), error=V, says=r"raised on.*float32 of shape \(4, 5\)"),
    *both("one input of two", Doubling, SHAPE, error=V, says="rows'.*one shape for each input"),
    *both("fractions for rows", nn.Embedding(5, 3), SHAPE, error=V, says="indices.*input_dtype="),
    *both("whole numbers", image_layer, (1, 3, 2, 2), input_dtype=INT, error=V,
          says="step raised on.*given torch.int64"),
    *both("a type by name", linear, SHAPE, input_dtype="int64", error=T, says="got 'int64'"),
    *both("a type too many", linear, SHAPE, input_dtype=(INT, INT), error=V, says="each of 1 inp"),
    *both("dtype", linear, SHAPE, dtype=INT, error=V, says="floating-point.*got torch.int64"),
    *both("autocast", linear, SHAPE, autocast=torch.float64, error=V, says="autocast is one of"),
    *both("train", linear, SHAPE, train="no", error=T, says="train is True or False, got 'no'"),
    *both("train as a number", linear, SHAPE, train=1, error=T, says="train is True or False"),
    *both("optimizer's name", linear, SHAPE, optimizer="lion", error=V, says="'adam'.*got 'lion'"),
    *both("optimizer's type", linear, SHAPE, optimizer=5, error=T, says="optimizer is None.*got 5"),
    *both("a list", linear, SHAPE, optimizer=[], error=T, says=r"optimizer is None.*got \[\]"),
    *both("nothing optimized", linear, SHAPE, optimizer=lambda p: None, error=T,
          says=r"optimizer\(parameters\) returns a torch.optim.Optimizer, got None"),
    *both("LBFGS", linear, SHAPE, optimizer=torch.optim.LBFGS, error=V, says="LBFGS.*not supp"),
    *both("step", linear, SHAPE, step="train", error=T, says="step is None or.*got 'train'"),
    *both("inference and optimizer", linear, SHAPE, train=False, optimizer="sgd", error=V,
          says="neither an optimizer nor"),
    *both("frozen", frozen, SHAPE, error=V, says="requires_grad=True.*train=False"),
    *both("no parameters", nn.ReLU(), SHAPE, error=V, says="requires_grad=True.*train=False"),
    *both("an unknown option", linear, SHAPE, optimiser="sgd", error=T, says="'optimiser'"),
    ("numbers", lambda: predict(NeedsNumbers, SHAPE), V,
     r"on the meta device: RuntimeError: .*; with fake tensors: .*measure_memory is the way"),
    ("a compiled model", lambda: predict(compiled(), SHAPE), V, "compiled model cannot be pred"),
    ("device tpu", lambda: measure(linear, SHAPE, device="tpu"), V, "device is 'cpu' or.*'tpu'"),
    ("device mps", lambda: measure(linear, SHAPE, device="mps"), V, "device is 'cpu' or.*'mps'"),
    ("device ''", lambda: measure(linear, SHAPE, device=""), V, "device is 'cpu' or.*got ''"),
    ("threads 0", lambda: measure(linear, SHAPE, threads=0), V, "threads is at least 1, got 0"),
    ("threads", lambda: measure(linear, SHAPE, threads="2"), T, "threads is an integer, got '2'"),
    ("a category", lambda: predict(linear, SHAPE).most("all"), V, "category is one of"),
    ("flops: no model", lambda: count_flops(7, SHAPE), T, "model is a torch.nn.Module.*got 7"),
    ("flops: None as shape", lambda: count_flops(linear, None), T, "input_shape is a sequence"),
    ("flops: number as shape", lambda: count_flops(linear, 5), T, "input_shape is a sequence.*5"),
    ("flops: empty shape", lambda: count_flops(linear, ()), V, "input_shape holds at least one"),
    ("flops: a boolean", lambda: count_flops(linear, (True, 3)), T, "sequence of integers, got"),
    ("flops: too much", lambda: count_flops(linear, (10**20, 3)), V, "fewer than"),
    ("flops: width", lambda: count_flops(linear, (4, 5)), V, r"raised on the meta.*\(4, 5\)"),
    ("flops: Embedding", lambda: count_flops(nn.Embedding(5, 3), SHAPE), V, "input_dtype="),
    ("flops: data", lambda: count_flops(NeedsNumbers, SHAPE), V, "raised on the meta device"),
    ("flops: stage", lambda: count_flops(nn.Sequential(linear()), SHAPE, stage=lambda path: None),
     T, r"stage\(path\) returns the name of a stage, got None"),
    ("parameters: no model", lambda: count_parameters(7), T, "model is a torch.nn.Module.*got 7"),
    ("parameters: a list", lambda: count_parameters([linear()]), T, "model is a torch.nn.Module"),
    ("parameters: stage", lambda: count_parameters(linear, stage=lambda path: 1), T, "got 1 for"),
    ("parameters: lazy", lambda: count_parameters(nn.LazyLinear(2)), V, "lazy.*run it once"),
    ("saved: no model", lambda: saved_bytes(7, SHAPE), T, "model is a torch.nn.Module.*got 7"),
    ("saved: by", lambda: saved_bytes(linear, SHAPE, by="kind"), T, "by is None or.*got 'kind'"),
    ("saved: width", lambda: saved_bytes(linear, (4, 5)), V, "raised on the meta device"),
    ("time: nothing", lambda: time_interleaved({}, repeats=1), V, "at least one function"),
    ("time: a list", lambda: time_interleaved([int], repeats=1), T, "functions is a mapping"),
    ("time: no function", lambda: time_interleaved({"a": 1}, repeats=1), T, "name → function"),
    ("time: rounds", lambda: time_interleaved({"a": int}, repeats=0), V, "repeats is at least 1"),
    ("time: a word", lambda: time_interleaved({"a": int}, repeats="3"), T, "repeats is an int"),
    ("time: None", lambda: time_interleaved({"a": int}, repeats=None), T, "repeats is an integer"),
    ("time: warm-up", lambda: time_interleaved({"a": int}, repeats=1, warmup=-1), V, "warmup is"),
    ("time: device", lambda: time_interleaved({"a": int}, repeats=1, device="gpu"), V, "'gpu'"),
]  # fmt: skip


@pytest.mark.parametrize("call", [row[1] for row in RIGHT], ids=[row[0] for row in RIGHT])
def test_right_arguments_are_taken(call: Callable[[], Any]) -> None:
    assert call() is not None


@pytest.mark.parametrize(
    ("call", "error", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_wrong_arguments_are_refused(
    call: Callable[[], Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        call()
