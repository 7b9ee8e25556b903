"""Prediction against the CPU allocator, categories against hand sums, refusals."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from densenet_solutions.measure import MemoryResult, measure_memory, predict_memory
from densenet_solutions.measure.tracker import MEMORY_CATEGORIES
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import (
    book_densenet,
    book_resnet18,
    cifar_densenet,
    densenet121,
)
from densenet_solutions.records.serialise import from_json, to_json

MIB = 2**20


def small_densenet() -> nn.Module:
    return densenet121(block_config=(4, 6), num_classes=10)


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, dim_feedforward=128, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def language_model() -> nn.Module:
    return nn.Sequential(nn.Embedding(1000, 64), transformer(), nn.Linear(64, 1000))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 256)

    def forward(self, x: Tensor) -> Tensor:
        return Square.apply(self.linear(x))


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(256, 1024), nn.Dropout(), nn.Linear(1024, 1024), nn.Linear(1024, 256)
        )

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("densenet121", densenet121, (2, 3, 96, 96)),
    Case("small densenet, batch 1", small_densenet, (1, 3, 64, 64)),
    Case("small densenet, odd size", small_densenet, (2, 3, 71, 89)),
    Case("small densenet, inference", small_densenet, (4, 3, 96, 96), {"train": False}),
    Case("small densenet, sgd", small_densenet, (2, 3, 64, 64), {"optimizer": "sgd"}),
    Case("small densenet, momentum", small_densenet, (2, 3, 64, 64), {"optimizer": "sgd_momentum"}),
    Case("small densenet, adam", small_densenet, (2, 3, 64, 64), {"optimizer": "adam"}),
    Case("small densenet, float64", small_densenet, (2, 3, 64, 64), {"dtype": torch.float64}),
    Case("small densenet, autocast", small_densenet, (2, 3, 96, 96), {"autocast": torch.bfloat16}),
    Case("cifar", lambda: cifar_densenet(40, 12, bottleneck=False), (8, 3, 32, 32)),
    Case("book densenet", book_densenet, (8, 1, 96, 96)),
    Case("book resnet18", book_resnet18, (8, 1, 96, 96)),
    Case("book resnet18, inference", book_resnet18, (8, 1, 96, 96), {"train": False}),
    Case("resnet50", torchvision.models.resnet50, (2, 3, 96, 96)),
    Case("resnet18, adamw", torchvision.models.resnet18, (2, 3, 64, 64), {"optimizer": "adamw"}),
    Case("transformer", transformer, (8, 128, 64)),
    Case("language model", language_model, (8, 128), {"input_dtype": torch.int64}),
    Case("custom function", Custom, (512, 256)),
    Case("checkpoint", Checkpointed, (512, 256)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_prediction_meets_the_allocator(case: Case) -> None:
    """Within the larger of 1% and 4 MiB."""
    predicted = predict_memory(case.build, case.shape, **case.options)
    measured = measure_memory(case.build, case.shape, **case.options)
    workspace = measured.bytes_by_category["workspace"]
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes - workspace, rel=0.005)
    assert 0 <= workspace <= max(0.01 * measured.peak_bytes, 4 * MIB)
    for name in ("parameters", "buffers", "input", "optimizer"):
        assert predicted.bytes_by_category[name] == measured.bytes_by_category[name]
    for result in (predicted, measured):
        assert sum(result.bytes_by_category.values()) == result.peak_bytes
        assert max(point.bytes for point in result.timeline) <= result.peak_bytes


@pytest.mark.parametrize("name", ["recompute_layer", "recompute_block", "out_of_place"])
def test_strategies_are_predicted(name: str) -> None:
    strategy = STRATEGIES[name]

    def build() -> nn.Module:
        return strategy.apply(small_densenet())

    shape = (2, 3, 96, 96)
    predicted = predict_memory(build, shape, step=strategy.step)
    measured = measure_memory(build, shape, step=strategy.step)
    workspace = measured.bytes_by_category["workspace"]
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes - workspace, rel=0.001)
    assert 0 <= workspace < 4 * MIB
    plain = predict_memory(small_densenet, shape)
    if name == "out_of_place":  # what is overwritten in place would be freed at once anyway
        assert predicted.peak_bytes >= plain.peak_bytes
    else:
        assert predicted.peak_beyond_parameters < plain.peak_beyond_parameters


def test_reference_of_torchvisions_densenet121() -> None:
    result = predict_memory(torchvision.models.densenet121, (8, 3, 224, 224))
    assert result.peak_beyond_parameters / MIB == pytest.approx(997.24, abs=0.01)
    assert predict_memory(densenet121, (8, 3, 224, 224)).peak_bytes == result.peak_bytes


def test_no_size_is_too_large() -> None:
    result = predict_memory(densenet121, (4096, 3, 224, 224))
    assert result.peak_bytes > 400 * 2**30


def test_categories_by_hand() -> None:
    """Two linear layers and a ReLU: every category is a sum that fits on one line."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(1000, 500), nn.ReLU(), nn.Linear(500, 10))

    n = 64
    weights = 4 * (1000 * 500 + 500 + 500 * 10 + 10)
    result = predict_memory(build, (n, 1000), optimizer="adam")
    categories = result.bytes_by_category
    assert categories["parameters"] == weights
    assert categories["input"] == 4 * n * 1000 + 8 * n
    assert categories["optimizer"] == 2 * weights + 4 * 4  # two moments and a counter a tensor
    assert categories["buffers"] == 0
    start, end = result.timeline[0], result.timeline[-1]
    assert start.bytes == 3 * weights + 4 * 4 + categories["input"]
    assert dict(zip(MEMORY_CATEGORIES, end.by_category, strict=True))["gradients"] == weights
    forward = [p for p in result.timeline if p.phase == "forward"]
    activations = forward[-1].by_category[MEMORY_CATEGORIES.index("activations")]
    # Kept: the ReLU's output, the log-probabilities, and two scalars (loss and total weight). The
    # first layer's output is not needed, and the logits are not either.
    kept = 4 * n * 500 + 4 * n * 10 + 2 * 4
    assert kept <= activations <= kept + 4 * n * 10
    assert {p.phase for p in result.timeline} == {"forward", "backward", "optimizer"}
    assert {p.module for p in result.timeline if p.phase == "backward"} >= {"0", "1", "2"}


def test_activations_are_what_autograd_saves() -> None:
    """The category against torch's own account of saved tensors, which is another instrument."""
    model = small_densenet()
    images = torch.randn(2, 3, 64, 64)
    known = {t.untyped_storage()._cdata for t in [*model.parameters(), *model.buffers(), images]}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            saved[storage._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(model(images), torch.zeros(2, dtype=torch.int64))
    by_hand = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    result = predict_memory(small_densenet, (2, 3, 64, 64))
    forward = [p for p in result.timeline if p.phase == "forward"]
    activations = forward[-1].by_category[MEMORY_CATEGORIES.index("activations")]
    assert activations == pytest.approx(by_hand, rel=1e-3)
    assert loss.requires_grad


def test_inference_keeps_nothing() -> None:
    result = predict_memory(small_densenet, (2, 3, 64, 64), train=False)
    assert result.bytes_by_category["activations"] == 0
    assert result.bytes_by_category["gradients"] == 0


def test_shared_storages_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(100, 100, bias=False)
            self.second = nn.Linear(100, 100, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).view(-1, 100))

    assert predict_memory(Tied, (4, 100)).bytes_by_category["parameters"] == 4 * 100 * 100


def test_process_memory_is_beside() -> None:
    result = measure_memory(book_densenet, (2, 1, 64, 64))
    if result.peak_resident_bytes is not None:
        assert result.peak_resident_bytes > result.peak_bytes


def test_result_survives_json() -> None:
    result = predict_memory(lambda: nn.Linear(3, 2), (4, 3))
    assert from_json(MemoryResult, to_json(result)) == result


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_allocator() -> None:
    predicted = predict_memory(densenet121, (16, 3, 224, 224))
    measured = measure_memory(densenet121, (16, 3, 224, 224), device="cuda")
    explained = measured.peak_bytes - max(0, measured.bytes_by_category["workspace"])
    assert predicted.peak_bytes == pytest.approx(explained, rel=0.03)
    assert measured.reserved_bytes is not None
    assert measured.reserved_bytes >= measured.peak_bytes
    too_much = measure_memory(densenet121, (100_000, 3, 224, 224), device="cuda")
    assert too_much.out_of_memory


def test_a_result_that_is_printed_leaves_its_timelines_out():
    result = predict_memory(densenet121(block_config=(1,), num_classes=3), (2, 3, 32, 32))
    assert len(result.timeline) > 10
    assert len(repr(result)) < 2000
    assert "timeline" not in repr(result)
