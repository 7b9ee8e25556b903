"""Selective checkpointing: which operations run again, what is kept, and the statistics."""

import copy
from functools import partial

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from densenet_solutions.memory import STRATEGIES, training_step
from densenet_solutions.memory.selective_checkpointing import keep_convolutions
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models.densenet import DenseBlock
from tests.memory.test_exact_strategies import small_densenet

CONVOLUTION = torch.ops.aten.convolution.default


class Counts(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.of = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.of[func] = self.of.get(func, 0) + 1
        return func(*args, **kwargs or {})


def counts(name):
    strategy = STRATEGIES[name]
    model = strategy.apply(small_densenet())
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with Counts() as counted:
        strategy.step(model, images, torch.tensor([0, 1]))
    return counted.of


def test_convolutions_run_once_and_all_else_runs_twice():
    plain, ours, layers = (
        counts(name) for name in ("plain", "selective_checkpointing", "recompute_layer")
    )
    assert ours[CONVOLUTION] == plain[CONVOLUTION] < layers[CONVOLUTION]
    norm = torch.ops.aten.native_batch_norm.default
    # Layers and the transition have 2 * 5 + 1 of them; stem and end are left alone.
    assert ours[norm] == plain[norm] + 11


def test_the_policy_alone_falls_into_the_trap():
    """Torch's contexts let running statistics move twice; the strategy's do not."""
    torch.manual_seed(0)
    naive = DenseBlock(2, 6, DenseNetConfig(growth_rate=4))
    x = torch.randn(4, 6, 5, 5, requires_grad=True)
    contexts = partial(create_selective_checkpoint_contexts, keep_convolutions)
    checkpoint(naive, x, use_reentrant=False, context_fn=contexts).sum().backward()
    assert {int(layer.norm1.num_batches_tracked) for layer in naive} == {2}
    model = small_densenet()
    plain, ours = copy.deepcopy(model), STRATEGIES["selective_checkpointing"].apply(model)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for network in (plain, ours):
        training_step(network, images, torch.tensor([0, 1]))
    for (name, expected), got in zip(plain.named_buffers(), ours.buffers(), strict=True):
        assert torch.equal(got, expected), name
