"""What autograd keeps, against sums by hand."""

import torch
from torch import Tensor, nn

from densenet_solutions.measure import predict_memory, saved_bytes
from densenet_solutions.models import densenet121


def layers() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Tanh())


def test_a_sum_by_hand() -> None:
    n, side = 2, 5
    pixels = 4 * n * side * side
    # The input, the normalisation's input, mean and deviation, the ReLU's and the Tanh's output.
    by_hand = 3 * pixels + 8 * pixels + 2 * 4 * 8 + 8 * pixels + 8 * pixels
    assert saved_bytes(layers(), (n, 3, side, side)) == by_hand
    assert saved_bytes(layers, (n, 3, side, side)) == by_hand


def test_split_by_who_keeps_it() -> None:
    pixels = 4 * 2 * 25

    def by(path: str, tensor: Tensor) -> tuple[str, int]:
        return path, tensor.ndim

    assert saved_bytes(layers(), (2, 3, 5, 5), by=by) == {
        ("0", 4): 3 * pixels,
        ("1", 4): 8 * pixels,
        ("1", 1): 2 * 4 * 8,
        ("2", 4): 8 * pixels,
        ("4", 2): 8 * pixels,
    }


def test_a_storage_counts_once_and_parameters_do_not() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(7))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.weight).sin() + x.cos() + x.view(-1, 7).sin().sum()

    assert saved_bytes(Twice(), (3, 7)) == 2 * 4 * 21  # x, once for all, and x·w


def test_the_prediction_agrees() -> None:
    """Another instrument: the tracker's activations, without input and with a loss."""
    shape = (2, 3, 64, 64)

    def build() -> nn.Module:
        return densenet121(block_config=(4, 6), num_classes=10)

    predicted = predict_memory(build, shape)
    log_probabilities, images = 4 * 2 * 10, 4 * 2 * 3 * 64 * 64
    scalars = predicted.most("activations") - log_probabilities + images - saved_bytes(build, shape)
    assert 0 < scalars <= 4 * 4
