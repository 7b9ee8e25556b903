"""The right network with one random change passes exactly if it computes the same.

What is the same is decided here without the package's check: weights by their order of
registration, images of several sizes and scales, one training step.
"""

from __future__ import annotations

import copy
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densenet_solutions.check import densenet
from densenet_solutions.models import DenseNet

from .students import TINY


class Changed(nn.Module):
    def __init__(self, module, change, before):
        super().__init__()
        self.module, self.change, self.before = module, change, before

    def forward(self, x):
        if self.before:
            return self.module(self.change(x, self.training))
        return self.change(self.module(x), self.training)


def maps(change):
    """A change of maps, that leaves what has no sides alone."""
    return lambda x, t: change(x) if x.ndim == 4 else x


CHANGES = [
    lambda x, t: x.roll(1, 1),
    lambda x, t: x.flip(-1),
    lambda x, t: -x,
    lambda x, t: x.abs(),
    lambda x, t: x + 0,
    lambda x, t: x.clone(),
    maps(lambda x: x.contiguous(memory_format=torch.channels_last)),
    lambda x, t: (x + x.detach()) / 2,
    lambda x, t: F.relu(x),
    lambda x, t: F.relu6(x),
    lambda x, t: F.celu(x, 1e-9),
    lambda x, t: x.clamp(min=-1e4),
    lambda x, t: F.dropout(x, 0.5, t),
    lambda x, t: F.dropout(x, 0.5, not t),
    lambda x, t: x + 1e-6 * torch.randn_like(x) if t else x,
    lambda x, t: x.float().double(),
    lambda x, t: x.double(),
    maps(lambda x: F.interpolate(x, size=x.shape[2:])),
    maps(lambda x: F.pad(x, (1, 1, 1, 1))[:, :, 1:-1, 1:-1]),
    maps(lambda x: F.pad(x, (1, 1, 1, 1))[:, :, :-2, :-2]),
    lambda x, t: torch.cat(x.chunk(2, 1), 1),
    lambda x, t: x.flip(0),
    lambda x, t: torch.cat([x[:1], x[1:]]),
    lambda x, t: x if t else x - 1e-3 * x.mean(0, keepdim=True),
    lambda x, t: torch.where(x > 0, x, x),
    lambda x, t: torch.maximum(x, torch.zeros_like(x)),
    lambda x, t: x.square().sqrt() * x.sign(),  # its gradient is not a number at 0
    maps(lambda x: F.avg_pool2d(x, 3, 1, 1)),
    maps(lambda x: F.max_pool2d(x, 1)),
    lambda x, t: 1.001 * x if t else x,
    lambda x, t: F.relu_(x),
    lambda x, t: x.data,
]


def another(module, rng):
    """A module of the same kind with other options, and of the same widths."""
    choice = rng.choice
    if isinstance(module, nn.Conv2d):
        options = {"stride": module.stride, "padding": module.padding, "bias": False}
        options |= choice([
            {"stride": 3 - module.stride[0]}, {"padding": choice([0, 1, 2])}, {"dilation": 2},
            {"padding_mode": choice(["reflect", "replicate", "circular"])}, {"bias": True}, {},
            {"dilation": 2, "padding": tuple(2 * side for side in module.padding)},
        ])  # fmt: skip
        return nn.Conv2d(module.in_channels, module.out_channels, module.kernel_size, **options)
    if isinstance(module, nn.BatchNorm2d):
        options = choice([
            {"eps": 1e-3}, {"eps": 1e-6}, {"momentum": 0.01}, {"momentum": None}, {},
            {"affine": False}, {"track_running_stats": False},
        ])  # fmt: skip
        return nn.BatchNorm2d(module.num_features, **options)
    if isinstance(module, nn.ReLU):
        return choice([
            nn.ReLU6(), nn.LeakyReLU(), nn.LeakyReLU(0.0), nn.PReLU(), nn.Identity(), nn.SiLU(),
            nn.Hardtanh(0, 1e5), nn.Threshold(0, 0), nn.Threshold(0, 1e-7), nn.Softplus(50),
            nn.RReLU(0, 0), nn.ELU(0.0),
        ])  # fmt: skip
    sides = {"kernel_size": choice([2, 3]), "stride": 2, "padding": choice([0, 1])}
    return choice([nn.AvgPool2d, nn.MaxPool2d])(**sides, ceil_mode=rng.random() < 0.4)


def changed(rng):
    """The right network with one change, and where it is."""
    net = DenseNet(TINY)
    names = [name for name, module in net.named_modules() if name and not [*module.children()]]
    name = rng.choice(names)
    owner, _, last = name.rpartition(".")
    old = net.get_submodule(name)
    options = rng.random() < 0.5 and not isinstance(old, nn.Linear)
    new = another(old, rng) if options else Changed(old, rng.choice(CHANGES), rng.random() < 0.4)
    setattr(net.get_submodule(owner) if owner else net, last, new)
    return net, f"{name}: {new}"


def close(a, b, scale=None):
    a, b = a.detach(), b.detach()
    scale = float(a.abs().max()) if scale is None else scale
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-9 * scale)


def computes_the_same(net):
    net, ours = copy.deepcopy(net).double(), DenseNet(TINY).double()
    generator = torch.Generator().manual_seed(5)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    both = [[*m.parameters(), *(b for b in m.buffers() if b.ndim)] for m in (ours, net)]
    if [t.shape for t in both[0]] != [t.shape for t in both[1]]:
        return False
    with torch.no_grad():
        for a, b in zip(*both, strict=True):
            value = draw(*a.shape) if isinstance(a, nn.Parameter) else 0.5 + draw(*a.shape).abs()
            a.copy_(value)
            b.copy_(value)
    try:
        for shape in ((3, 3, 37, 50), (1, 3, 32, 32), (2, 3, 64, 64)):
            for scale in (1, 1e5):
                x = scale * draw(*shape)
                with torch.no_grad():
                    if not close(ours.eval()(x.clone()), net.eval()(x.clone())):
                        return False
        x = draw(4, 3, 45, 45)
        outputs = [m.train()(x.clone()) for m in (ours, net)]
        weights = draw(*outputs[0].shape)
        for out in outputs:
            (out * weights).sum().backward()
    except RuntimeError:
        return False
    largest = max(float(p.grad.abs().max()) for p in ours.parameters())
    return (
        close(*outputs)
        and all(
            q.grad is not None and close(p.grad, q.grad, largest)
            for p, q in zip(ours.parameters(), net.parameters(), strict=True)
        )
        and all(
            close(a.double(), b.double())
            for a, b in zip(ours.buffers(), net.buffers(), strict=True)
        )
    )


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_a_changed_network_passes_exactly_if_it_computes_the_same(first):
    verdicts = []
    for seed in range(first, first + 20):
        torch.manual_seed(seed)
        net, what = changed(random.Random(seed))
        same, report = computes_the_same(net), densenet(net, TINY)
        assert report.passed == same, f"seed {seed}, {what}\n{report}"
        verdicts.append(same)
    assert True in verdicts
    assert False in verdicts
