"""A student's DenseNet with one switch a mistake, and right ones written in other styles."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_solutions.models import DenseNetConfig

#: Small enough for many tests: three blocks after ImageNet's stem.
TINY = DenseNetConfig(
    growth_rate=4, block_config=(2, 3, 2), num_init_features=8, bn_size=4, num_classes=7
)
PLAIN = DenseNetConfig(
    growth_rate=4, block_config=(2, 3, 2), num_init_features=8, bn_size=None, num_classes=7
)

DEFAULTS = {
    "k": 4, "blocks": (2, 3, 2), "init": 8, "middle": 16, "theta": 0.5, "bias": False,
    "stem_stride": 2, "stem_kernel": 7, "stem_pool": "max", "stem_order": "norm relu pool",
    "stem_padding": 3, "layer": "bn relu conv bn relu conv", "join": "cat", "pool": "average",
    "transition": "bn relu conv pool", "transitions": "between", "last": "bn relu", "eps": 1e-5,
    "momentum": 0.1, "drop": 0.0, "drop_always": False, "classes": 7, "channels": 3,
    "out": "logits", "in_place": False, "detach": False, "checkpoint": None, "kernel": 3,
    "head_pool": "average", "head_bias": True, "no_relu_in": None, "groups": 1, "dilation": 1,
    "affine": True, "relu": nn.ReLU, "unused": False,
}  # fmt: skip


class Layer(nn.Module):
    def __init__(self, o, inputs):
        super().__init__()
        self.o, self.parts, self.order = o, nn.ModuleList(), o.layer.split()
        convolutions = self.order.count("conv")
        widths = [inputs, o.middle, o.k] if convolutions == 2 else [inputs, o.k]
        kernels = [1, o.kernel] if convolutions == 2 else [o.kernel]
        at = 0
        for part in self.order:
            if part == "bn":
                self.parts.append(o.norm(widths[at]))
            elif part == "relu":
                self.parts.append(o.relu())
            else:
                side = kernels[at]
                spread = o.dilation if side == 3 else 1
                groups = o.groups if side == 3 else 1
                self.parts.append(nn.Conv2d(
                    widths[at], widths[at + 1], side, padding=spread * (side // 2), bias=o.bias,
                    dilation=spread, groups=groups,
                ))  # fmt: skip
                at += 1

    def forward(self, x):
        if self.o.in_place:
            F.relu_(x)
        kept = None
        for part in self.parts:
            x = part(x)
            if isinstance(part, nn.Conv2d) and kept is None:
                kept = x
        if self.o.drop:
            x = F.dropout(x, self.o.drop, True if self.o.drop_always else self.training)
        return torch.cat((kept, x), 1) if self.o.join == "with bottleneck" else x


class Block(nn.Module):
    def __init__(self, o, inputs, count):
        super().__init__()
        self.o, self.layers = o, nn.ModuleList()
        width, new = inputs, o.k + (o.middle if o.join == "with bottleneck" else 0)
        for i in range(count):
            reads = {"add": inputs, "previous": inputs if i == 0 else o.k}.get(o.join, width)
            self.layers.append(Layer(o, reads))
            width += new
        self.inputs = inputs
        self.out = {
            "add": inputs, "previous": o.k, "no input": width - inputs,
        }.get(o.join, width)  # fmt: skip

    def forward(self, x):
        join = self.o.join
        for i, layer in enumerate(self.layers):
            if self.o.checkpoint in (None, "stem"):
                new = layer(x)
            else:
                new = checkpoint(layer, x, use_reentrant=self.o.checkpoint == "reentrant")
            if join == "add":
                x = x + F.pad(new, (0, 0, 0, 0, 0, x.shape[1] - new.shape[1]))
            elif join == "previous":
                x = new
            elif join == "new first":
                x = torch.cat((new, x), 1)
            elif join == "detached" and i == 0:
                x = torch.cat((x.detach(), new), 1)
            elif join == "twice" and i == 1:
                x = torch.cat((x[:, : -self.o.k], new, new), 1)
            else:
                x = torch.cat((x, new), 1)
        return x[:, self.inputs :] if join == "no input" else x


def transition(o, inputs, outputs):
    made = {
        "bn": lambda: o.norm(inputs),
        "bn2": lambda: o.norm(outputs),
        "relu": nn.ReLU,
        "conv": lambda: nn.Conv2d(inputs, outputs, 1, bias=o.bias),
        "pool": lambda: nn.AvgPool2d(2) if o.pool == "average" else nn.MaxPool2d(2),
        "pool3": lambda: nn.AvgPool2d(3, 2, 1),
        "stride": lambda: nn.Conv2d(inputs, outputs, 1, stride=2, bias=o.bias),
    }
    return nn.Sequential(*(made[part]() for part in o.transition.split()))


class Student(nn.Module):
    """Right, but for what the options say."""

    def __init__(self, **options):
        super().__init__()
        o = self.o = SimpleNamespace(**(DEFAULTS | options))
        o.norm = lambda c: nn.BatchNorm2d(c, eps=o.eps, momentum=o.momentum, affine=o.affine)
        self.stem = nn.Conv2d(
            o.channels, o.init, o.stem_kernel, o.stem_stride, o.stem_padding, bias=o.bias
        )
        pool = nn.MaxPool2d(3, 2, 1) if o.stem_pool == "max" else nn.AvgPool2d(3, 2, 1)
        named = {"norm": o.norm(o.init), "relu": nn.ReLU(), "pool": pool}
        self.after_stem = nn.Sequential(*(named[part] for part in o.stem_order.split()))
        self.trunk, width = nn.ModuleList(), o.init
        for i, count in enumerate(o.blocks):
            block = Block(o, width, count)
            self.trunk.append(block)
            width = block.out
            if i < len(o.blocks) - 1 or o.transitions == "last":
                out = int(width * o.theta) if "conv" in o.transition or "stride" in o.transition \
                    else width  # fmt: skip
                step = transition(o, width, out)
                self.trunk.append(step[:-1] if i == len(o.blocks) - 1 else step)
                width = out
        norms = {"bn": o.norm(width), "relu": nn.ReLU()}
        self.last = nn.Sequential(*(norms[part] for part in o.last.split()))
        self.head = nn.Linear(width, o.classes, bias=o.head_bias)
        if o.unused:  # it is there, and forward forgets it
            self.norm5 = o.norm(width)

    def forward(self, x):
        if self.o.checkpoint == "stem":
            x = checkpoint(lambda image: self.after_stem(self.stem(image)), x, use_reentrant=True)
        else:
            x = self.after_stem(self.stem(x))
        for part in self.trunk:
            x = part(x)
        x = self.last(x)
        if self.o.head_pool == "max":
            x = x.amax((2, 3))
        elif self.o.head_pool == "average":
            x = x.mean((2, 3))
        if self.o.detach:
            x = x.detach()
        x = self.head(x)
        return {
            "logits": lambda: x,
            "softmax": lambda: x.softmax(1),
            "tuple": lambda: (x, x),
            "map": lambda: x[:, :, None, None],
            "broken": lambda: x @ x,
        }[self.o.out]()


class Lists(nn.Module):
    """Features are kept in a list; the layers are named otherwise; pool and flatten by module."""

    def __init__(self, config=TINY):
        super().__init__()
        k, width = config.growth_rate, config.num_init_features
        self.a = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.rest = nn.ModuleList()
        for i, count in enumerate(config.block_config):
            block = nn.ModuleList()
            for _ in range(count):
                block.append(nn.Sequential(
                    nn.BatchNorm2d(width), nn.ReLU(True), nn.Conv2d(width, 4 * k, 1, bias=False),
                    nn.BatchNorm2d(4 * k), nn.ReLU(True),
                    nn.Conv2d(4 * k, k, 3, 1, 1, bias=False),
                ))  # fmt: skip
                width += k
            self.rest.append(block)
            if i < len(config.block_config) - 1:
                self.rest.append(nn.Sequential(
                    nn.BatchNorm2d(width), nn.ReLU(True),
                    nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2, 2),
                ))  # fmt: skip
                width //= 2
        self.z = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
            nn.Linear(width, config.num_classes),
        )  # fmt: skip

    def forward(self, x):
        x = self.a(x)
        for part in self.rest:
            if isinstance(part, nn.Sequential):
                x = part(x)
                continue
            features = [x]
            for layer in part:
                features.append(layer(torch.cat(features, dim=1)))
            x = torch.cat(features, dim=1)
        return self.z(x)


class Functional(nn.Module):
    """Bare parameters and functions; no module but this one; a buffer takes the features."""

    def __init__(self, config=TINY, buffered=True):
        super().__init__()
        self.config, self.buffered = config, buffered
        self.weights, self.norms = nn.ParameterList(), nn.ParameterList()
        self.names = []

        def norm(channels):
            self.norms.extend([nn.Parameter(torch.ones(channels)),
                               nn.Parameter(torch.zeros(channels))])  # fmt: skip
            i = len(self.names)
            self.register_buffer(f"mean{i}", torch.zeros(channels))
            self.register_buffer(f"variance{i}", torch.ones(channels))
            self.names.append(i)

        def weight(*shape):
            self.weights.append(nn.Parameter(torch.randn(*shape) * 0.1))

        k, width = config.growth_rate, config.num_init_features
        weight(width, 3, 7, 7)
        norm(width)
        for i, count in enumerate(config.block_config):
            for _ in range(count):
                norm(width)
                weight(4 * k, width, 1, 1)
                norm(4 * k)
                weight(k, 4 * k, 3, 3)
                width += k
            if i < len(config.block_config) - 1:
                norm(width)
                weight(width // 2, width, 1, 1)
                width //= 2
        norm(width)
        weight(width, config.num_classes)  # transposed: x @ w
        self.shift = nn.Parameter(torch.zeros(config.num_classes))

    def forward(self, x):
        weights, at = iter(self.weights), iter(self.names)

        def act(y):
            i = next(at)
            return F.batch_norm(
                y, getattr(self, f"mean{i}"), getattr(self, f"variance{i}"), self.norms[2 * i],
                self.norms[2 * i + 1], self.training,
            ).clamp(min=0)  # fmt: skip

        x = F.max_pool2d(act(F.conv2d(x, next(weights), None, 2, 3)), 3, 2, 1)
        k = self.config.growth_rate
        for i, count in enumerate(self.config.block_config):
            n, c, h, w = x.shape
            if self.buffered:
                buffer = x.new_zeros(n, c + count * k, h, w)
                buffer[:, :c] = x
            for j in range(count):
                seen = buffer[:, : c + j * k].clone() if self.buffered else x
                y = F.conv2d(act(seen), next(weights))
                y = F.conv2d(act(y), next(weights), None, 1, 1)
                if self.buffered:
                    buffer[:, c + j * k : c + (j + 1) * k] = y
                else:
                    x = torch.cat([x, y], 1)
            x = buffer if self.buffered else x
            if i < len(self.config.block_config) - 1:
                x = F.avg_pool2d(F.conv2d(act(x), next(weights)), 2)
        x = F.adaptive_avg_pool2d(act(x), 1).flatten(1)
        return x @ next(weights) + self.shift


def lazy(config=PLAIN, bias=False):
    """The book's style: lazy layers, `conv_block` in a Sequential, blocks as a class."""

    def conv_block(k):
        return nn.Sequential(
            nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(k, kernel_size=3, padding=1, bias=bias)
        )

    class DenseBlock(nn.Module):
        def __init__(self, count, k):
            super().__init__()
            self.net = nn.Sequential(*[conv_block(k) for _ in range(count)])

        def forward(self, x):
            for block in self.net:
                y = block(x)
                x = torch.cat((x, y), dim=1)
            return x

    net = nn.Sequential(
        nn.LazyConv2d(config.num_init_features, 7, 2, 3, bias=bias), nn.LazyBatchNorm2d(),
        nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )  # fmt: skip
    width = config.num_init_features
    for i, count in enumerate(config.block_config):
        net.append(DenseBlock(count, config.growth_rate))
        width += count * config.growth_rate
        if i < len(config.block_config) - 1:
            width //= 2
            net.append(nn.Sequential(
                nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(width, kernel_size=1, bias=bias),
                nn.AvgPool2d(kernel_size=2, stride=2),
            ))  # fmt: skip
    net.append(nn.Sequential(
        nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
        nn.LazyLinear(config.num_classes),
    ))  # fmt: skip
    return net


class NormAndReLU(nn.BatchNorm2d):
    """Both in one module, as timm has them."""

    def forward(self, x):
        return F.relu(super().forward(x), inplace=True)


class ListOfFeatures(nn.Module):
    """timm's style: layers take a list of features; the bottleneck is a function of its own."""

    def __init__(self, config=TINY):
        super().__init__()
        k, width = config.growth_rate, config.num_init_features
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), NormAndReLU(width), nn.MaxPool2d(3, 2, 1)
        )
        self.blocks, self.steps = nn.ModuleList(), nn.ModuleList()
        for i, count in enumerate(config.block_config):
            layers = nn.ModuleList()
            for _ in range(count):
                layers.append(nn.ModuleDict({
                    "norm1": NormAndReLU(width), "conv1": nn.Conv2d(width, 4 * k, 1, bias=False),
                    "norm2": NormAndReLU(4 * k),
                    "conv2": nn.Conv2d(4 * k, k, 3, padding=1, bias=False),
                }))  # fmt: skip
                width += k
            self.blocks.append(layers)
            last = i == len(config.block_config) - 1
            self.steps.append(NormAndReLU(width) if last else nn.Sequential(
                NormAndReLU(width), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)
            ))  # fmt: skip
            width = width if last else width // 2
        self.classifier = nn.Linear(width, config.num_classes)

    def bottleneck(self, layer, features):
        return layer["conv1"](layer["norm1"](torch.cat(features, 1)))

    def forward(self, x):
        x = self.stem(x)
        for layers, step in zip(self.blocks, self.steps, strict=True):
            features = [x]
            for layer in layers:
                features.append(layer["conv2"](layer["norm2"](self.bottleneck(layer, features))))
            x = step(torch.cat(features, 1))
        return self.classifier(x.flatten(2).mean(-1))
