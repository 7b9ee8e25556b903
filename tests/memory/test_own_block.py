"""A dense block in a network of one's own: the dense U-Net that the reference shows."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import dense_block
from tests.memory.test_under_all_circumstances import OURS, assert_same

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "memory.md"
SHOWN: dict = {}
exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], SHOWN)
DenseUNet = SHOWN["DenseUNet"]


@pytest.mark.parametrize("strategy", OURS)
def test_a_dense_u_net_is_the_plain_one(strategy):
    plain = DenseUNet(growth_rate=4, strategy="plain").double()
    ours = DenseUNet(growth_rate=4, strategy=strategy).double()
    ours.load_state_dict(plain.state_dict())
    found = []
    for model in (plain, ours):
        torch.manual_seed(1)
        x = torch.randn(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
        scores = model(x)
        nn.functional.cross_entropy(scores, torch.ones(2, 16, 16).long()).backward()
        found.append((scores, x.grad))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)
    assert_same(plain, ours, tolerance=1e-9)


class Scores(nn.Module):
    def __init__(self, strategy):
        super().__init__()
        self.net = DenseUNet(strategy=strategy)

    def forward(self, x):
        return self.net(x).mean(dim=(2, 3))


@pytest.mark.parametrize("strategy", ["shared_storage", "recompute_layer"])
def test_a_dense_u_net_takes_less(strategy):
    plain, ours = (
        predict_memory(lambda way=way: Scores(way), (4, 3, 64, 64)).peak_beyond_parameters
        for way in ("plain", strategy)
    )
    assert ours < 0.6 * plain


@pytest.mark.parametrize("strategy", OURS)
@pytest.mark.parametrize("options", [{"bn_size": None}, {"growth_rate": 5}, {"drop_rate": 0.3}])
def test_a_block_against_concatenation_written_out(strategy, options):
    """Equation 2 of the paper."""
    options = {"growth_rate": 3, **options}
    torch.manual_seed(0)
    block = dense_block(6, num_layers=3, strategy=strategy, **options).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    torch.manual_seed(2)
    got = block(x)
    torch.manual_seed(2)
    features = x
    for layer in block:
        features = torch.cat([features, layer(features)], dim=1)
    torch.testing.assert_close(got, features, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dense_block(0, 4, 2), ValueError, "in_channels is at least 1, got 0"),
        (lambda: dense_block(8, 0, 2), ValueError, "growth_rate is at least 1, got 0"),
        (lambda: dense_block(8, 4, 1.5), TypeError, "num_layers is an integer, got 1.5"),
        (lambda: dense_block(8, 4, 2, strategy="pool_first"), ValueError, "strategy is one of"),
    ],
)
def test_impossible_blocks_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
