"""Builds as real modules, written from their description and not from the closed form."""

from __future__ import annotations

import torch
from torch import nn

from densenet_solutions.check.closed_form import DenseBuild, ResidualBuild


def norm(build: DenseBuild | ResidualBuild, channels: int) -> nn.Module:
    none = getattr(build, "norms", "all") == "none"
    return nn.Identity() if none else nn.BatchNorm2d(channels)


class Layer(nn.Module):
    """A dense layer of any kind; returns the features that it adds."""

    def __init__(self, build: DenseBuild, inputs: int) -> None:
        super().__init__()
        k, bias = build.growth_rate, build.bias != "none"
        kind, _, kept = build.bottleneck.partition(" ")
        self.kept = bool(kept)
        middle = {"4k": 4 * k, "2k": 2 * k, "k": k, "swapped": k, "none": None}[kind]
        out = 4 * k if kind == "swapped" else k
        self.first, second = nn.Sequential(), inputs
        if middle is not None:
            kernel = build.bottleneck_kernel
            convolution = nn.Conv2d(inputs, middle, kernel, padding=kernel // 2, bias=bias)
            self.first = nn.Sequential(norm(build, inputs), nn.ReLU(), convolution)
            second = inputs + middle if kept else middle
        self.second = nn.Sequential(
            norm(build, second), nn.ReLU(), nn.Conv2d(second, out, 3, padding=1, bias=bias)
        )
        self.adds = out + (middle or 0) * self.kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = self.first(x)
        if not self.kept:
            return self.second(middle)
        return torch.cat((middle, self.second(torch.cat((x, middle), 1))), 1)


class Block(nn.Module):
    def __init__(self, build: DenseBuild, inputs: int, layers: int) -> None:
        super().__init__()
        self.layers, self.inputs, self.keeps = nn.ModuleList(), inputs, build.keeps_input
        width = inputs
        for _ in range(layers):
            self.layers.append(Layer(build, width))
            width += self.layers[-1].adds
        self.out = width if self.keeps else width - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return x if self.keeps else x[:, self.inputs :]


def build_dense(build: DenseBuild, channels: int, classes: int) -> nn.Sequential:
    """The network that a build describes: images to logits."""
    bias = build.bias != "none"
    width = 2 * build.growth_rate if build.stem_width == "2k" else build.stem_width
    kernel = build.stem_kernel
    stem = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=build.bias == "all")
    net = nn.Sequential(stem)
    if build.stem_norm:
        net += nn.Sequential(norm(build, width), nn.ReLU())

    def transition() -> nn.Sequential:
        nonlocal width
        if build.transitions == "pool only":
            return nn.Sequential(nn.AvgPool2d(2))
        out = int(width * build.compression)
        made = nn.Sequential(norm(build, width), nn.ReLU(), nn.Conv2d(width, out, 1, bias=bias))
        width = out
        return made

    if build.transitions == "first":
        net += transition()
    for i, layers in enumerate(build.blocks):
        block = Block(build, width, layers + build.added[i])
        net.append(block)
        width = block.out
        if i < len(build.blocks) - 1 or build.transitions == "last":
            net += transition()
    if build.norms == "all":
        net.append(norm(build, width))
    net += nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if build.head:
        net.append(nn.Linear(width, classes, bias=build.head_bias))
    return net


def build_residual(build: ResidualBuild, channels: int, classes: int) -> nn.ModuleList:
    """All layers of the ResNet that a build describes; only to be counted."""
    bias = build.bias != "none"
    kernel = build.stem_kernel
    made: list[nn.Module] = [nn.Conv2d(channels, 64, kernel, bias=build.bias == "all")]
    if build.stem_norm:
        made.append(nn.BatchNorm2d(64))
    width = 64
    for stage, blocks in enumerate(build.blocks):
        inner = 64 << stage
        out = inner * (4 if build.wide else 1)
        for i in range(blocks):
            kernels = (1, 3, 1) if build.wide else (3, 3)
            widths = (width, inner, inner, out) if build.wide else (width, inner, out)
            for j, kernel in enumerate(kernels):
                made.append(nn.Conv2d(widths[j], widths[j + 1], kernel, bias=bias))
                made.append(nn.BatchNorm2d(widths[j + 1]))
            shape_changes = width != out or (stage > 0 and i == 0)
            in_late_stage = stage > 0 and build.projection == "stages 2 to 4"
            if shape_changes or in_late_stage or build.projection == "every block":
                made.append(nn.Conv2d(width, out, 1, bias=bias))
                if build.projection_norm:
                    made.append(nn.BatchNorm2d(out))
            width = out
    if build.head:
        made.append(nn.Linear(width, classes, bias=build.head_bias))
    return nn.ModuleList(made)
