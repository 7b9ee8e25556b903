"""The book's networks against its own description, hand arithmetic and torchvision's ResNet-18."""

import pytest
import torch
import torchvision.models as published
from torch import nn

from densenet_solutions.models import book_densenet, book_resnet18
from densenet_solutions.models.resnet import ResidualBlock


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


class Block(nn.Module):
    """The book's dense block: each convolution block reads all before it."""

    def __init__(self, num_convs, in_channels, k):
        super().__init__()
        self.net = nn.ModuleList(
            norm_relu(in_channels + i * k, nn.Conv2d(in_channels + i * k, k, 3, padding=1))
            for i in range(num_convs)
        )

    def forward(self, x):
        for block in self.net:
            x = torch.cat((x, block(x)), dim=1)
        return x


def norm_relu(channels, *then):
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), *then)


def as_the_book_says(pooling="average"):
    """Section 8.7.4, line by line: stem, four blocks of four, halving transitions, head."""
    layers = [nn.Conv2d(1, 64, 7, 2, 3), *norm_relu(64, nn.MaxPool2d(3, 2, 1))]
    channels = 64
    for i in range(4):
        layers.append(Block(4, channels, 32))
        channels += 4 * 32
        if i < 3:
            conv = nn.Conv2d(channels, channels // 2, 1, stride=2 if pooling == "stride" else 1)
            pools = {"average": [nn.AvgPool2d(2, 2)], "max": [nn.MaxPool2d(2, 2)], "stride": []}
            layers.append(norm_relu(channels, conv, *pools[pooling]))
            channels //= 2
    layers += norm_relu(channels, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return nn.Sequential(*layers)


@pytest.mark.parametrize("pooling", ["average", "max", "stride"])
def test_the_densenet_is_what_the_book_describes(pooling):
    """Weights from one seed to the bit; loss, gradients and buffers in float64."""
    results = []
    for build in (as_the_book_says, book_densenet):
        torch.manual_seed(0)
        model = build(pooling)
        weights = [parameter.detach().clone() for parameter in model.parameters()]
        model.double()
        images = torch.randn(3, 1, 48, 40, generator=torch.Generator().manual_seed(1)).double()
        logits = model(images)
        nn.functional.cross_entropy(logits, torch.tensor([0, 3, 9])).backward()
        results.append((weights, [logits, *(p.grad for p in model.parameters()), *model.buffers()]))
    (weights, expected), (our_weights, got) = results
    assert all(map(torch.equal, weights, our_weights))
    assert sum(weight.numel() for weight in our_weights) == 758_226
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_parameters_of_the_books_resnet():
    assert count(book_resnet18()) == 11_178_378
    needless = sum(width * width + width for width in (128, 256, 512))
    assert count(book_resnet18(project_every_block=True)) == 11_178_378 + needless == 11_523_338


def test_shapes_are_those_the_book_prints_at_96():
    shapes = {}
    model = book_densenet()
    for name, module in model.features.named_children():
        module.register_forward_hook(lambda m, a, out, name=name: shapes.update({name: out.shape}))
    assert model(torch.zeros(2, 1, 96, 96)).shape == (2, 10)
    assert shapes["pool0"] == (2, 64, 24, 24)
    assert shapes["denseblock1"] == (2, 192, 24, 24)
    assert shapes["transition1"] == (2, 96, 12, 12)
    assert shapes["denseblock4"] == (2, 248, 3, 3)


def test_the_resnet_computes_what_torchvisions_does():
    """torchvision's has no convolution biases and normalizes its projections: make them agree."""
    torch.manual_seed(0)
    theirs = published.resnet18(num_classes=10).double().eval()
    ours = book_resnet18(in_channels=3).double().eval()
    result = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert all(key.endswith(".bias") for key in result.missing_keys)
    assert all(".downsample.1." in key for key in result.unexpected_keys)
    with torch.no_grad():
        for key in result.missing_keys:
            ours.get_parameter(key).zero_()
        for module in ours.modules():
            if isinstance(module, ResidualBlock):
                for projection in module.downsample:
                    projection.weight.div_((1 + 1e-5) ** 0.5)
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-9, atol=1e-9)
