"""DenseNets whose memory people measured on GPUs: tensors predicted, reserved bytes simulated.

Each row cites its source; its numbers in MiB were worked out by another program than the one under
test, a first experiment with the allocator's rules, which knew no workspace of convolutions. What
is published is `nvidia-smi`'s number as printed (MB or GB, mostly without saying of which kind):
with reserved bytes it leaves about one CUDA context, for three authors and two networks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torchvision.models as published
from torch import nn

from densenet_solutions.exercises.memory.published import without_workspace
from densenet_solutions.measure import CudaCache, Step, predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import cifar_densenet

MIB, GB = 2**20, 10**9


def efficient_densenet121() -> nn.Module:
    return published.densenet121(memory_efficient=True)


def densenet_bc_100_12() -> nn.Module:
    return cifar_densenet(100, 12, bottleneck=True)


def recomputed_densenet_bc() -> nn.Module:
    return STRATEGIES["recompute_bottleneck_input"].apply(densenet_bc_100_12())


@dataclass(frozen=True)
class Row:
    source: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    tensors: int
    reserved: int
    published: float


ROWS = [
    Row("pytorch/vision#797", published.densenet121, (8, 3, 224, 224), 1063, 1204, 1668),
    Row("pytorch/vision#797, efficient", efficient_densenet121, (8, 3, 224, 224), 558, 694, 1115),
    Row("gpleiss/efficient_densenet_pytorch", densenet_bc_100_12, (64, 3, 32, 32), 2142,
        2374, 2863),
    Row("gpleiss/…, efficient", recomputed_densenet_bc, (64, 3, 32, 32), 791, 1252, 1605),
    Row("felixgwu/img_classification_pk_pytorch#7", densenet_bc_100_12, (128, 3, 32, 32), 4278,
        4702, 5000),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.source)
def test_tensors_and_reserved_bytes(row: Row) -> None:
    step = Step(row.build, row.shape, optimizer="sgd_momentum")
    result = step.predict("cuda")
    assert result.peak_bytes / MIB == pytest.approx(row.tensors, abs=0.6)
    assert result.reserved_bytes is not None
    without = CudaCache().play(without_workspace(step.trace())).reserved_bytes
    assert without / MIB == pytest.approx(row.reserved, rel=0.01)
    assert without <= result.reserved_bytes <= 1.05 * without
    # What is left is one context (0.3 to 0.6 GiB by card and driver), not another network.
    assert 280 < row.published - result.reserved_bytes / MIB < 620
    # Tensors alone leave up to as much again.
    assert row.published - result.peak_bytes / MIB > 550


@pytest.mark.parametrize(
    ("build", "shape", "card", "tensors"),
    [
        (published.densenet121, (256, 3, 224, 224), 16 * GB, 31_958),  # pytorch/benchmark#598, T4
        (efficient_densenet121, (256, 3, 224, 224), 16 * GB, 15_518),
        (lambda: cifar_densenet(190, 40, bottleneck=True), (64, 3, 32, 32), 12 * GB, 21_538),
    ],  # the last: andreasveit/densenet-pytorch#3, Titan X
    ids=["T4", "T4, efficient", "Titan X"],
)
def test_what_did_not_fit_does_not_fit(
    build: Callable[[], nn.Module], shape: tuple[int, ...], card: int, tensors: int
) -> None:
    predicted = predict_memory(build, shape, optimizer="sgd_momentum").peak_bytes
    assert predicted / MIB == pytest.approx(tensors, rel=0.01)
    assert predicted > card


def test_one_layer_a_hundred_times() -> None:
    """TylerYep/torchinfo#144: `memory_allocated` after the forward pass was 4,044.0 MiB."""

    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1024, 1024)

        def forward(self, x):
            for _ in range(100):
                x = self.linear(x)
            return x

    result = predict_memory(Repeated, (10_240, 1024), step=lambda model, x, _: model(x))
    assert result.peak_bytes / MIB == pytest.approx(4044.0, abs=0.1)
