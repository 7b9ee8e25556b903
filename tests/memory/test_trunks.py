"""Strategies applied to what people have: torchvision's networks, and models that contain them."""

import copy

import pytest
import timm
import torch
from torch import nn
from torchvision.models import DenseNet as TorchvisionDenseNet
from torchvision.models import densenet as published

from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES, find_trunks
from densenet_solutions.models import densenet121
from tests.memory.test_exact_strategies import EXACT, away_from_0_and_1
from tests.memory.test_under_all_circumstances import OURS, assert_same

SMALL = {"growth_rate": 4, "block_config": (2, 3), "num_init_features": 6, "bn_size": 2}


def torchvision_small(**options):
    torch.manual_seed(0)
    return away_from_0_and_1(TorchvisionDenseNet(**SMALL, num_classes=5, **options).double())


class Subclass(TorchvisionDenseNet):
    def forward(self, x):
        return 2 * super().forward(x)


def subclass():
    torch.manual_seed(0)
    return away_from_0_and_1(Subclass(**SMALL, num_classes=5).double())


class Segmentation(nn.Module):
    """Calls the parts of its backbone one by one, for the maps in between."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict(dict(torchvision_small().features.named_children()))
        self.head = nn.Conv2d(19 + 14, 5, 1).double()

    def forward(self, x):
        maps = []
        for name, module in self.backbone.items():
            x = module(x)
            if name.startswith("denseblock"):
                maps.append(x)
        low = nn.functional.interpolate(maps[1], size=maps[0].shape[2:])
        return self.head(torch.cat([maps[0], low], dim=1)).mean(dim=(2, 3))


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = torchvision_small()
        self.right = self.left

    def forward(self, x):
        return self.left(x) - self.right(x.flip(3))


class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleList([torchvision_small(), torchvision_small(drop_rate=0.2)])

    def training_step(self, batch):
        return self(batch)

    def forward(self, x):
        return self.encoders[0](x) + self.encoders[1](x)


class LookAlikeLayer(nn.Module):
    def __init__(self, width, growth_rate):
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(width), nn.ReLU()
        self.conv1 = nn.Conv2d(width, 2 * growth_rate, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(2 * growth_rate), nn.ReLU()
        self.conv2 = nn.Conv2d(2 * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, features):
        features = torch.cat(features, 1) if isinstance(features, list) else features
        return self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(features))))))


class LookAlikeBlock(nn.ModuleDict):
    factor = 1

    def forward(self, x):
        features = [x]
        for layer in self.values():
            features.append(self.factor * layer(features))
        return torch.cat(features, 1)


class Scaled(LookAlikeBlock):
    factor = 0.5


def look_alike(kind=LookAlikeBlock):
    """A network of other classes with the parts of torchvision's."""
    model = torchvision_small()
    for block in model.features:
        if isinstance(block, published._DenseBlock):
            layers = {
                name: LookAlikeLayer(layer.norm1.num_features, 4).double()
                for name, layer in block.items()
            }
            for name, layer in layers.items():
                layer.load_state_dict(block[name].state_dict())
            block.__class__ = kind
            block._modules.update(layers)
    return model


def timm_small(name="densenet121", **options):
    torch.manual_seed(0)
    small = {"growth_rate": 4, "block_config": (2, 3), "bn_size": 2, "num_classes": 5}
    return away_from_0_and_1(timm.create_model(name, **small, **options).double())


MODELS = {
    "torchvision": (torchvision_small, ["features"]),
    "dropout": (lambda: torchvision_small(drop_rate=0.3), ["features"]),
    "subclass": (subclass, ["features"]),
    "segmentation": (Segmentation, ["backbone"]),
    "siamese": (Siamese, ["left.features"]),
    "wrapper": (Wrapper, ["encoders.0.features", "encoders.1.features"]),
    "look-alike": (look_alike, ["features"]),
    "timm": (lambda: timm_small(proj_drop_rate=0.3), ["features"]),
    "timm with a deep stem": (lambda: timm_small("densenetblur121d"), ["features"]),
}


def run(model):
    torch.manual_seed(1)
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(2)
    output = model(x)
    nn.functional.cross_entropy(output, torch.arange(4)).backward()
    return output, x.grad


@pytest.mark.parametrize(
    ("which", "train"), [*((which, True) for which in MODELS), ("segmentation", False)]
)
@pytest.mark.parametrize("name", EXACT)
def test_outputs_gradients_and_buffers_are_those_of_the_model(name, which, train):
    make, paths = MODELS[which]
    plain = make().train(train)
    before = copy.deepcopy(plain.state_dict())
    ours = STRATEGIES[name].apply(plain)
    assert list(ours.state_dict()) == list(before)
    assert list(find_trunks(ours)) == list(ours.converted_trunks) == paths
    assert type(ours) is type(plain)
    for expected, got in zip(run(plain), run(ours), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)
    assert_same(plain, ours, tolerance=1e-9)


@pytest.mark.parametrize("name", OURS)
def test_a_memory_efficient_network_is_taken_and_updates_its_statistics_once(name):
    plain = torchvision_small()
    ours = STRATEGIES[name].apply(torchvision_small(memory_efficient=True))
    run(plain)
    run(ours)
    assert_same(plain, ours)


def test_a_block_that_is_made_of_the_parts_but_computes_something_else_is_not_taken():
    with pytest.raises(TypeError, match=r"none of the \d+ modules in it is a dense block"):
        STRATEGIES["recompute_layer"].apply(look_alike(Scaled))
    patched = torchvision_small()
    patched.features.denseblock1.denselayer1.forward = lambda x: x[0]
    with pytest.warns(UserWarning, match=r"^features\.denseblock1 of this DenseNet stays as it is"):
        ours = STRATEGIES["shared_storage"].apply(patched)
    assert type(ours.features.denseblock1) is published._DenseBlock


def test_what_is_no_part_of_a_trunk_stays_what_it_is():
    model = nn.ModuleDict({"net": torchvision_small(), "other": nn.Sequential(nn.ReLU())})
    ours = STRATEGIES["shared_storage"].apply(model)
    assert type(ours["net"]) is TorchvisionDenseNet
    assert type(ours["other"]) is nn.Sequential
    assert type(model["net"].features.denseblock1) is published._DenseBlock


def test_a_compiled_part_is_refused():
    model = nn.ModuleList([torch.compile(torchvision_small(), backend="eager")])
    with pytest.raises(TypeError, match="not compiled, got a compiled one"):
        STRATEGIES["recompute_layer"].apply(model)


def test_torchvisions_densenet121_peaks_as_ours():
    apply, shape = STRATEGIES["shared_storage"].apply, (8, 3, 224, 224)
    ours = predict_memory(lambda: apply(densenet121()), shape).peak_bytes
    for efficient in (False, True):
        theirs = predict_memory(
            lambda efficient=efficient: apply(published.densenet121(memory_efficient=efficient)),
            shape,
        )
        assert theirs.peak_bytes == pytest.approx(ours, rel=0.02)


def test_timms_densenet121_peaks_as_torchvisions():
    apply, shape = STRATEGIES["shared_storage"].apply, (8, 3, 224, 224)
    expected = predict_memory(lambda: apply(published.densenet121()), shape).peak_bytes
    ours = predict_memory(lambda: apply(timm.create_model("densenet121")), shape)
    assert ours.peak_bytes == pytest.approx(expected, rel=0.001)


def test_timms_taps_come_out_as_before():
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    plain = timm_small().eval()
    ours = STRATEGIES["shared_storage"].apply(plain)
    taps = [model.forward_intermediates(x, intermediates_only=True) for model in (plain, ours)]
    for expected, got in zip(*taps, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layer", [nn.GELU, nn.Dropout])
def test_timms_normalizations_with_something_else_in_them_are_not_taken(layer):
    model = timm_small()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            setattr(norm, "act" if layer is nn.GELU else "drop", layer())
    with pytest.raises(TypeError, match="none of the"):
        STRATEGIES["shared_storage"].apply(model)


def test_a_trunk_in_parts_saves_too():
    shape = (8, 3, 128, 128)
    ours = predict_memory(lambda: STRATEGIES["shared_storage"].apply(Parts()), shape)
    assert ours.peak_bytes < 0.4 * predict_memory(Parts, shape).peak_bytes


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        net = published.densenet121()
        self.trunk = nn.ModuleList(net.features)
        self.classifier = net.classifier

    def forward(self, x):
        for module in self.trunk:
            x = module(x)
        return self.classifier(x.mean(dim=(2, 3)))


def test_a_block_that_is_left_as_it_is_is_told_of():
    model = torchvision_small()
    model.features.denseblock1.denselayer1.norm1 = nn.GroupNorm(2, 6).double()
    with pytest.warns(
        UserWarning,
        match=r"^features\.denseblock1 of this DenseNet stays.*ReLU and Conv2d, not Group",
    ):
        STRATEGIES["shared_storage"].apply(model)


@pytest.mark.parametrize("other", [nn.SyncBatchNorm, nn.SiLU])
def test_what_is_not_known_of_a_network_is_named(other):
    model = torchvision_small()
    if other is nn.SyncBatchNorm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        for layer in [m for m in model.modules() if hasattr(m, "relu1")]:
            layer.relu1 = other()
    with pytest.raises(
        TypeError, match=rf"; of BatchNorm2d, ReLU and Conv2d, not {other.__name__}$"
    ):
        STRATEGIES["recompute_layer"].apply(model)
