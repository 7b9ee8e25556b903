"""Networks that nearly compute the right function: none of them passes.

Each is the right network but for something that a comparison may fail to see: at one size, for one
image, at one scale, in one type of numbers, in training only.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densenet_solutions.check import dense_block, densenet, transition
from densenet_solutions.models import DenseNet
from densenet_solutions.models.densenet import DenseBlock

from .students import TINY, Student

DROPPED = replace(TINY, drop_rate=0.2)


class Changed(nn.Module):
    """A module whose output, or input, is changed by a function."""

    def __init__(self, module, after=None, before=None):
        super().__init__()
        self.module, self.after, self.before = module, after, before

    def forward(self, x):
        x = self.before(x) if self.before else x
        x = self.module(x)
        return self.after(x, self.training) if self.after else x


def changed(where, after=None, *, before=None, config=TINY):
    """The right network with one module changed."""
    net = DenseNet(config)
    parent, _, name = where.rpartition(".")
    owner = net.get_submodule(parent)
    setattr(owner, name, Changed(getattr(owner, name), after, before))
    return net


def replaced(config=TINY, **modules):
    """The right network with other modules: path with `__` for the dots → module."""
    net = DenseNet(config)
    for path, module in modules.items():
        parent, _, name = path.replace("__", ".").rpartition(".")
        old = net.get_submodule(path.replace("__", "."))
        if old.state_dict() and module.state_dict().keys() == old.state_dict().keys():
            module.load_state_dict(old.state_dict())
        setattr(net.get_submodule(parent), name, module)
    return net


class Squeezes(DenseNet):
    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.features(x)), 1)
        return self.classifier(x.squeeze())


class OneWindow(DenseNet):
    """Pools 2×2 at the end, and takes the first of what is left."""

    def forward(self, x):
        return self.classifier(F.avg_pool2d(F.relu(self.features(x)), 2)[:, :, 0, 0])


class Halves(DenseNet):
    """Adaptive pooling to 2×2, and the mean of that: windows overlap on odd sides."""

    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.features(x)), 2)
        return self.classifier(x.mean((2, 3)))


class Shuffles(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.module(x)


class ZeroBias(nn.Conv2d):
    """A bias that begins as zero; the convolution of the paper has none."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options, bias=True)
        nn.init.zeros_(self.bias)


class OwnNorm(nn.BatchNorm2d):
    """Batch normalisation by hand, with eps outside of the root."""

    def forward(self, x):
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        if self.training:
            n = x.numel() / x.shape[1]
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (variance * n / (n - 1) - self.running_var)
                self.num_batches_tracked += 1
        else:
            mean, variance = self.running_mean, self.running_var
        shape = (1, -1, 1, 1)
        x = (x - mean.view(shape)) / (variance.view(shape).sqrt() + self.eps)
        return x * self.weight.view(shape) + self.bias.view(shape)


class BiasedVariance(OwnNorm):
    def forward(self, x):
        shape = (1, -1, 1, 1)
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        if self.training:
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (variance - self.running_var)
                self.num_batches_tracked += 1
        else:
            mean, variance = self.running_mean, self.running_var
        x = (x - mean.view(shape)) / (variance.view(shape) + self.eps).sqrt()
        return x * self.weight.view(shape) + self.bias.view(shape)


class Cast(DenseNet):
    """Computes its features in half the bits, as mixed precision does."""

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.classifier(F.relu(self.features(x)).mean((2, 3)))


class EachImage(DenseNet):
    """One image after the other: the same in evaluation, other statistics in training."""

    def forward(self, x):
        if self.training:
            return torch.cat([super(EachImage, self).forward(part) for part in x.split(1)])
        return super().forward(x)


def conv(*sizes, **options):
    return nn.Conv2d(*sizes, **options, bias=False)


class Later:
    def __init__(self):
        self.calls = 0

    def __call__(self, x, training):
        self.calls += 1
        return 0.999 * x if self.calls > 5 else x


class Standardised(nn.Conv2d):
    """Its filters have the mean zero, whatever its parameters are."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, None, self.stride, self.padding)


def with_hook(register):
    net = DenseNet(TINY)
    register(net)
    return net


L1, L2 = "features.denseblock1.denselayer1", "features.denseblock2.denselayer2"
T1 = "features.transition1"
WRONG = {
    "ceil_mode in a transition": lambda: replaced(
        features__transition1__pool=nn.AvgPool2d(2, ceil_mode=True)
    ),
    "ceil_mode in the stem": lambda: replaced(
        features__pool0=nn.MaxPool2d(3, 2, 1, ceil_mode=True)
    ),
    "padded pool that does not count its padding": lambda: replaced(
        features__transition1__pool=nn.AvgPool2d(2, 2, 1, count_include_pad=False)
    ),
    "divisor_override": lambda: replaced(
        features__transition1__pool=nn.AvgPool2d(2, divisor_override=3)
    ),
    "pool to a fixed size": lambda: replaced(features__transition2__pool=nn.AdaptiveAvgPool2d(2)),
    "interpolated": lambda: changed(
        T1 + ".conv", lambda x, t: F.interpolate(x, scale_factor=0.5, mode="area")
    ),
    "reflected border": lambda: replaced(
        features__denseblock1__denselayer1__conv2=conv(16, 4, 3, padding=1, padding_mode="reflect")
    ),
    "replicated border": lambda: replaced(
        features__conv0=conv(3, 8, 7, stride=2, padding=3, padding_mode="replicate")
    ),
    "dilation": lambda: replaced(
        features__denseblock1__denselayer1__conv2=conv(16, 4, 3, padding=2, dilation=2)
    ),
    "squeezed": lambda: Squeezes(TINY),
    "one window at the end": lambda: OneWindow(TINY),
    "adaptive to 2": lambda: Halves(TINY),
    "clipped at 1e6": lambda: changed(L1 + ".conv2", lambda x, t: x.clamp(-1e6, 1e6)),
    "ReLU6 of a million": lambda: changed(L1 + ".relu1", lambda x, t: F.hardtanh(x, 0, 1e6)),
    "threshold above zero": lambda: replaced(
        features__denseblock1__denselayer1__relu1=nn.Threshold(1e-9, 0)
    ),
    "leaks a little": lambda: replaced(
        features__denseblock1__denselayer1__relu1=nn.LeakyReLU(1e-7)
    ),
    "softplus, nearly ReLU": lambda: replaced(
        features__denseblock1__denselayer1__relu1=nn.Softplus(1e5)
    ),
    "identity beside a layer": lambda: replaced_layer_residual(),
    "channels shuffled": lambda: shuffled(),
    "bias that begins as zero": lambda: replaced(features__transition1__conv=ZeroBias(16, 8, 1)),
    "eps outside the root": lambda: replaced(features__norm5=OwnNorm(18)),
    "biased variance": lambda: replaced(features__norm5=BiasedVariance(18)),
    "autocast inside": lambda: Cast(TINY),
    "float32 inside": lambda: changed(L1 + ".conv2", lambda x, t: x.float().double()),
    "half inside at the end": lambda: changed("classifier", lambda x, t: x.half().double()),
    "image after image": lambda: EachImage(TINY),
    "cumulative statistics": lambda: replaced(features__norm5=nn.BatchNorm2d(18, momentum=None)),
    "noise in training": lambda: changed(
        T1, lambda x, t: x + 1e-4 * torch.randn_like(x) if t else x
    ),
    "scaled gradient": lambda: changed(T1, lambda x, t: 2 * x - x.detach()),
    "standardised weights": lambda: replaced(
        features__conv0=Standardised(3, 8, 7, stride=2, padding=3, bias=False)
    ),
    "hook on an output": lambda: with_hook(
        lambda net: net.features.transition1.register_forward_hook(lambda m, i, o: 1.001 * o)
    ),
    "hook on a gradient": lambda: with_hook(
        lambda net: net.classifier.weight.register_hook(lambda g: 1.001 * g)
    ),
    "a gradient that is no number": lambda: changed(T1, lambda x, t: x + (0 * x).sqrt()),
    "centred logits": lambda: changed("classifier", lambda x, t: x - x.mean(1, keepdim=True)),
    "another norm": lambda: replaced(features__norm5=nn.GroupNorm(1, 18)),
    "statistics by image": lambda: replaced(
        features__norm5=nn.InstanceNorm2d(18, affine=True, track_running_stats=True)
    ),
    "other without gradients": lambda: changed(
        T1, lambda x, t: x if torch.is_grad_enabled() else 1.01 * x
    ),
    "other after some calls": lambda: changed(T1, Later()),
    "symmetric": lambda: changed("features.conv0", before=lambda x: x.flip(3)),
    "turned": lambda: changed(
        L2, lambda x, t: x.transpose(2, 3) if x.shape[2] == x.shape[3] else x
    ),
}


def replaced_layer_residual():
    net = DenseNet(TINY)
    layer = net.features.denseblock1.denselayer1
    layer.conv2 = Changed(layer.conv2, lambda x, t: x)
    return replaced(
        features__denseblock1__denselayer1=Residual(net.features.denseblock1.denselayer1)
    )


class Residual(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x) + 1e-6 * x[:, :4]


def shuffled():
    net = DenseNet(TINY)
    net.features.transition1 = Shuffles(net.features.transition1)
    return net


@pytest.mark.parametrize("what", WRONG)
def test_no_network_passes_that_differs_somewhere(what):
    report = densenet(WRONG[what](), TINY)
    assert not report.passed


def before_the_convolution(layer):
    """A dense layer with its dropout one step too early."""
    layer.drop_rate = 0.0
    layer.conv2 = Changed(layer.conv2, before=nn.Dropout(0.2))
    return layer


def with_layers(change):
    net = DenseNet(DROPPED)
    for name, layer in list(net.named_modules()):
        if name.endswith(("denselayer1", "denselayer2", "denselayer3")):
            change(layer)
    return net


def whole_channels(layer):
    layer.drop_rate = 0.0
    layer.conv2 = nn.Sequential(layer.conv2, nn.Dropout2d(0.2))


DROPOUT = {
    "before the convolution": (lambda: with_layers(before_the_convolution), "In training mode"),
    "of whole channels": (lambda: with_layers(whole_channels), "p = 0.2 of whole channels"),
    "and scaled in training": (
        lambda: changed(T1, lambda x, t: 1.001 * x if t else x, config=DROPPED), "In training mode"
    ),
    "in no layer": (lambda: DenseNet(TINY), "Dropout with p = 0.2 is missing"),
    "of another rate": (
        lambda: DenseNet(replace(TINY, drop_rate=0.3)), "p = 0.3; it should be p = 0.2"
    ),
    "in the first block only": (lambda: with_layers(last_block_without), "In training mode"),
}  # fmt: skip


def last_block_without(layer):
    if layer.norm1.num_features in (14, 18):
        layer.drop_rate = 0.0


@pytest.mark.parametrize("what", DROPOUT)
def test_dropout_is_compared_in_training(what):
    build, text = DROPOUT[what]
    assert densenet(DenseNet(DROPPED), DROPPED).passed
    assert densenet(Student(drop=0.2), DROPPED).passed
    report = densenet(build(), DROPPED)
    assert text in report.findings[0].text


def block(after):
    return Changed(DenseBlock(3, 8, replace(TINY)), after)


PARTS = {
    "pool to a fixed size": lambda: transition(
        nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4, 1), nn.AdaptiveAvgPool2d(4)), 8
    ),
    "ceil_mode": lambda: transition(
        nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4, 1), nn.AvgPool2d(2, ceil_mode=True)),
        8,
    ),
    "clipped": lambda: dense_block(block(lambda x, t: x.clamp(max=1e9)), 8, 4, 3),
    "a channel twice": lambda: dense_block(block(lambda x, t: x.index_select(
        1, torch.tensor([*range(19), 18]))), 8, 4, 3),
    "of one image": lambda: dense_block(
        block(lambda x, t: x.squeeze(0) if len(x) == 1 else x), 8, 4, 3
    ),
    "input added": lambda: dense_block(
        block(lambda x, t: torch.cat((x[:, :8] * (1 + 1e-7), x[:, 8:]), 1)), 8, 4, 3
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PARTS)
def test_no_part_passes_that_differs_somewhere(what):
    assert not PARTS[what]().passed


def test_a_network_of_one_size_passes_with_a_note_of_what_was_compared():
    class Fixed(DenseNet):
        def forward(self, x):
            assert x.shape[2:] == (32, 32)
            return super().forward(x)

    report = densenet(Fixed(TINY), TINY)
    assert report.passed
    assert "fails on 57 × 64 and 41 × 32 pixels, and was compared on 32 × 32" in str(report)

    class Window(DenseNet):
        """The authors' pool at the end: 7×7, for images of 224²."""

        def forward(self, x):
            x = F.avg_pool2d(F.relu(self.features(x)), 14).flatten(1)
            return self.classifier(x)

    report = densenet(Window(TINY), TINY)
    assert report.passed
    assert "It fails" not in str(report)
    assert "too small for it; it was compared on 224 × 224" in str(report)
