"""The book's networks against its printed shapes, hand arithmetic and torchvision's ResNet-18."""

import pytest
import torch
import torchvision.models as published

from densenet_solutions.models import BookDenseNet, BookResNet18


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("pooling", ["average", "max", "stride"])
def test_parameters_of_the_books_densenet(pooling):
    assert count(BookDenseNet(pooling=pooling)) == 758_226


def test_parameters_of_the_books_resnet():
    assert count(BookResNet18()) == 11_178_378
    needless = sum(width * width + width for width in (128, 256, 512))
    assert count(BookResNet18(project_every_block=True)) == 11_178_378 + needless == 11_523_338


def test_shapes_are_those_the_book_prints_at_96():
    shapes = {}
    model = BookDenseNet()
    for name, module in model.features.named_children():
        module.register_forward_hook(lambda m, a, out, name=name: shapes.update({name: out.shape}))
    assert model(torch.zeros(1, 1, 96, 96)).shape == (1, 10)
    assert shapes["pool0"] == (1, 64, 24, 24)
    assert shapes["denseblock1"] == (1, 192, 24, 24)
    assert shapes["transition1"] == (1, 96, 12, 12)
    assert shapes["denseblock4"] == (1, 248, 3, 3)


def test_the_resnet_computes_what_torchvisions_does():
    """torchvision's has no convolution biases and normalises its projections: make them agree."""
    torch.manual_seed(0)
    theirs = published.resnet18(num_classes=10).double().eval()
    ours = BookResNet18(in_channels=3).double().eval()
    with torch.no_grad():
        for p in ours.parameters():
            p.zero_()
        pairs = [(ours.features.conv0, theirs.conv1), (ours.features.norm0, theirs.bn1)]
        for i in range(1, 5):
            blocks = getattr(ours.features, f"stage{i}"), getattr(theirs, f"layer{i}")
            for mine, their in zip(*blocks, strict=True):
                pairs += [(mine.conv1, their.conv1), (mine.norm1, their.bn1)]
                pairs += [(mine.conv2, their.conv2), (mine.norm2, their.bn2)]
                if their.downsample is not None:
                    pairs += [(mine.shortcut, their.downsample[0])]
        for mine, their in pairs:
            for name, tensor in their.named_parameters():
                getattr(mine, name).copy_(tensor)
        for i in range(2, 5):
            getattr(ours.features, f"stage{i}")[0].shortcut.weight.div_((1 + 1e-5) ** 0.5)
        ours.classifier.load_state_dict(theirs.fc.state_dict())
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-9, atol=1e-9)


def test_every_pooling_halves_the_image():
    images = torch.randn(2, 1, 64, 64)
    for pooling in ("average", "max", "stride"):
        transition = BookDenseNet(pooling=pooling).features.transition1
        assert transition(torch.randn(2, 192, 16, 16)).shape == (2, 96, 8, 8)
        assert BookDenseNet(pooling=pooling)(images).shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BookDenseNet(pooling="median"), "pooling is one of"),
        (lambda: BookDenseNet(block_config=()), "block_config holds"),
        (lambda: BookDenseNet(block_config=(4, 0)), "block_config holds"),
        (lambda: BookDenseNet()(torch.zeros(1, 3, 96, 96)), r"shape \(N, 1, H, W\)"),
        (lambda: BookDenseNet()(torch.zeros(1, 1, 28, 28)), "at least 29"),
        (lambda: BookResNet18()(torch.zeros(1, 96, 96)), r"shape \(N, 1, H, W\)"),
    ],
    ids=range(6),
)
def test_impossible_requests_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
