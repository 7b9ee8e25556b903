"""Each wrong network is told as what it is; right ones pass, however they are written."""

from __future__ import annotations

import random

import pytest
import torch
import torchvision
from torch import nn

from densenet_solutions.check.network import densenet
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import DenseNet, book_densenet, cifar_densenet, densenet264

from .students import PLAIN, TINY, Functional, ListOfFeatures, Lists, Student, lazy

#: id, options of the student's network, what the first finding says, a part of the line it breaks.
WRONG = [
    ("no compression", {"theta": 1.0}, "keep all 16 channels", "Compression"),
    ("strong compression", {"theta": 0.25}, "writes 4 of 16 channels and not 8", "Compression"),
    ("no bottleneck", {"layer": "bn relu conv"}, "There is no bottleneck", "Bottleneck layers"),
    ("bottleneck of k", {"middle": 4}, "The bottleneck is k wide and not 16", "4k"),
    ("bottleneck of 2k", {"middle": 8}, "8 channels wide and not 16", "4k"),
    ("k and 4k swapped", {"middle": 4, "k": 16}, "k and 4k are swapped", "4k"),
    ("bottleneck kept", {"join": "with bottleneck"}, "output of a bottleneck is no feature", "4k"),
    (
        "bottleneck of k kept", {"join": "with bottleneck", "middle": 4},
        "(4 channels) is concatenated too", "Bottleneck",
    ),
    ("biases", {"bias": True}, "The convolutions have biases", "takes a constant away"),
    ("no bias in the head", {"head_bias": False}, "classifier has no bias", "fully-connected"),
    ("last norm missing", {"last": "relu"}, "classifier, batch normalisation is missing", "norm5"),
    ("last ReLU missing", {"last": "bn"}, "Before the classifier, ReLU is missing", "norm5"),
    ("a transition too many", {"transitions": "last"}, "after the last block", "between two"),
    ("max pooling", {"pool": "max"}, "In transition 1, max pooling", "2×2 average pooling"),
    ("pool of 3×3", {"transition": "bn relu conv pool3"}, "1, average pooling (3×3", "2×2"),
    ("no pool", {"transition": "bn relu conv"}, "pooling (2×2, stride 2) is missing", "average"),
    ("stride for pool", {"transition": "bn relu stride"}, "transition 1 has stride 2", "average"),
    ("only pool", {"transition": "pool"}, "Transition 1 only pools", "1×1 convolution"),
    ("pool before ReLU", {"transition": "bn pool relu conv"}, "and before ReLU", "Pooling layers"),
    (
        "no ReLU in the transition", {"transition": "bn conv pool"},
        "In transition 1, ReLU is missing before the 1×1", "Pooling layers",
    ),
    (
        "convolution before normalisation", {"transition": "conv bn2 relu pool"},
        "convolution comes before the normalisation", "Pooling layers",
    ),
    ("post-activation", {"layer": "conv bn relu conv bn relu"}, "(Conv-BN-ReLU)", "BN-ReLU-Conv"),
    (
        "ReLU before the norm", {"layer": "relu bn conv relu bn conv"},
        "ReLU comes before batch normalisation", "Composite function",
    ),
    ("no ReLU before 1×1", {"layer": "bn conv bn relu conv"}, "before the 1×1", "Composite"),
    ("no ReLU before 3×3", {"layer": "bn relu conv bn conv"}, "before the 3×3", "Composite"),
    ("no second norm", {"layer": "bn relu conv relu conv"}, "batch normalisation is mis", "Comp"),
    ("addition", {"join": "add"}, "added and not concatenated", "equation 2"),
    ("only the last", {"join": "previous"}, "does not read the block's input", "equation 2"),
    ("block without input", {"join": "no input"}, "does not read the block's input", "equation 2"),
    ("features twice", {"join": "twice"}, "does not read 1 of the 3", "equation 2"),
    ("growth rate", {"k": 6, "middle": 24}, "The growth rate is 6 and not 4", "k feature maps"),
    ("growth without bottleneck", {"k": 6}, "The growth rate is 6 and not 4", "k feature maps"),
    ("5×5", {"kernel": 5}, "adds features is 5×5", "Growth rate"),
    ("groups", {"groups": 2}, "has 2 groups", "Composite"),
    ("dilation", {"dilation": 2}, "dilation 2", "Composite"),
    ("layer too few", {"blocks": (2, 2, 2)}, "Block 2 ends after 2 layers; it sho", "each block"),
    ("layer too many", {"blocks": (2, 4, 2)}, "Block 2 goes on after 3 layers", "each block"),
    ("block too few", {"blocks": (2, 3)}, "There are 2 blocks and not 3", "each block"),
    ("stride of the stem", {"stem_stride": 1}, "has stride 1, not stride 2", "7×7"),
    ("kernel of the stem", {"stem_kernel": 3, "stem_padding": 1}, "is 3×3 and not 7×7", "7×7"),
    ("width of the stem", {"init": 16}, "16 channels and not 8", "2k channels"),
    ("pool of the stem", {"stem_pool": "average"}, "convolution, average pooling (3×3", "max"),
    ("order of the stem", {"stem_order": "pool norm relu"}, "comes before batch norm", "max pool"),
    ("no norm in the stem", {"stem_order": "relu pool"}, "first convolution, batch norm", "7×7"),
    ("dropout", {"drop": 0.2}, "dropout with p = 0.2; it should be none", "section 4.2"),
    ("dropout always", {"drop": 0.2, "drop_always": True}, "stays on in evaluation", "4.2"),
    ("in place", {"in_place": True}, "works in place (inplace=True)", "Composite"),
    ("eps", {"eps": 1e-3}, "eps = 0.001, not eps = 1e-05", "default"),
    ("momentum", {"momentum": 0.01}, "momentum = 0.01, not momentum = 0.1", "default"),
    ("no scale and shift", {"affine": False}, "no scale and shift", "Ioffe"),
    ("ReLU6", {"relu": nn.ReLU6}, "“ReLU6” in place of ReLU", "Composite"),
    ("leaky", {"relu": nn.LeakyReLU}, "“leaky_relu” in place of ReLU", "Composite"),
    ("GELU", {"relu": nn.GELU}, "“gelu” in place of ReLU", "Composite"),
    ("norm5 unused", {"last": "", "unused": True}, "batch normalisation is missing", "norm5"),
    ("softmax", {"out": "softmax"}, "After the classifier comes “softmax”", "fully-connected"),
    ("max before the classifier", {"head_pool": "max"}, "global max pooling and not", "global ave"),
    ("detached", {"detach": True}, "gradient reaches the image", ""),
    ("detached in a block", {"join": "detached"}, "gradient reaches the image", ""),
    ("recomputed", {"checkpoint": "non-reentrant"}, "14 of them are updated 2 times", ""),
    ("recomputed without gradients", {"checkpoint": "stem"}, "3 of 55 parameters get no grad", ""),
    ("two outputs", {"out": "tuple"}, "for N = 2 it is tuple", ""),
    ("output with four axes", {"out": "map"}, "(2, 7, 1, 1)", ""),
    ("an error", {"out": "broken"}, "raises RuntimeError: mat1 and mat2", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "text", "line"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_wrong_network_is_told_as_what_it_is(options, text, line):
    report = densenet(Student(**options), TINY)
    assert not report.passed
    first = report.findings[0]
    assert first.kind == "wrong"
    assert text in first.text
    assert line in first.line


def test_no_two_mistakes_are_told_alike():
    texts = [row[2] for row in WRONG]
    alike = {text for text in texts if texts.count(text) > 1}
    assert alike == {
        "The growth rate is 6 and not 4", "does not read the block's input",
        "gradient reaches the image",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_several_mistakes_at_once_fail_without_an_exception(seed):
    rng = random.Random(seed)
    options = {}
    for row in rng.sample(WRONG, rng.randint(2, 4)):
        options |= row[1]
    report = densenet(Student(**options), rng.choice((TINY, PLAIN)))
    assert report.wrong


RIGHT = {
    "the student's": (lambda: Student(), TINY),
    "new features first": (lambda: Student(join="new first"), TINY),
    "a list of features": (lambda: Lists(), TINY),
    "functions and bare parameters": (lambda: Functional(buffered=False), TINY),
    "a buffer for the features": (lambda: Functional(), TINY),
    "the book's lazy layers": (lambda: lazy(), PLAIN),
    "torchvision's": (lambda: torchvision.models.DenseNet(4, (2, 3, 2), 8, num_classes=7), TINY),
    "timm's": (lambda: ListOfFeatures(), TINY),
    "ours": (lambda: DenseNet(TINY), TINY),
    "pooling before the convolution": (lambda: Student(transition="bn relu pool conv"), TINY),
    "pooling before ReLU in the stem": (lambda: Student(stem_order="norm pool relu"), TINY),
    "one channel": (lambda: Student(channels=1), TINY),
    "other classes": (lambda: Student(classes=11), TINY),
    "a factory": (lambda: Student, TINY),
    "wrapped": (lambda: nn.DataParallel(Student()), TINY),
    "computed weights": (lambda: computed_weights(), TINY),
    "the book's": (book_densenet, "book-densenet"),
    "CIFAR": (lambda: cifar_densenet(40, 12, bottleneck=False), "cifar-densenet-40-12"),
    "half precision": (lambda: Student().half(), TINY),
}


def computed_weights():
    """The weights that are used are no parameters, but made of one, and equal it."""

    class Same(nn.Module):
        def forward(self, weight):
            return 1.0 * weight

    net = Student()
    nn.utils.parametrize.register_parametrization(net.stem, "weight", Same())
    return net


@pytest.mark.parametrize("make", RIGHT)
def test_a_right_network_passes_in_any_style(make):
    build, name = RIGHT[make]
    report = densenet(build(), name)
    assert report.passed, str(report)
    assert any("Outputs, gradients" in finding.text for finding in report.findings)
    assert not any(finding.kind == "note" for finding in report.findings)


def test_timm_passes():
    import timm

    net = timm.models.densenet.DenseNet(4, (2, 3, 2), num_classes=7)
    assert densenet(net, TINY).passed
    full = timm.create_model("densenet121", pretrained=False)
    report = densenet(full, "densenet121")
    assert report.passed, str(report)
    assert report.parameters == 7_978_856


def test_another_order_of_features_is_called_harmless():
    report = densenet(Student(join="new first"), TINY)
    (finding,) = (f for f in report.findings if f.kind == "harmless")
    assert "another order" in finding.text
    assert "permuted" in finding.text


def test_pooling_first_is_harmless_after_the_relu_only():
    assert densenet(Student(transition="bn relu pool conv"), TINY).passed
    assert not densenet(Student(transition="bn pool relu conv"), TINY).passed
    assert not densenet(Student(transition="bn relu pool conv", pool="max"), TINY).passed


@pytest.mark.parametrize("strategy", ["shared_storage", "recompute_layer", "recompute_block"])
def test_our_exact_strategies_pass(strategy):
    net = STRATEGIES[strategy].apply(DenseNet(TINY))
    assert densenet(net, TINY).passed


def test_densenet121_of_torchvision_passes_and_its_recomputation_does_not():
    plain = densenet(torchvision.models.densenet121(), "densenet121")
    assert plain.passed
    assert plain.parameters == plain.expected == 7_978_856
    again = torchvision.models.DenseNet(4, (2, 3, 2), 8, num_classes=7, memory_efficient=True)
    assert "7 of them are updated 2 times" in densenet(again, TINY).findings[0].text


def test_the_blocks_of_201_are_recognised_in_264():
    report = densenet(densenet264(block_config=(6, 12, 48, 32)), "densenet264")
    assert "Block 3 ends after 48 layers; it should have 64" in report.findings[0].text
    assert "blocks of densenet201" in report.findings[0].text
    assert "is the number of DenseNet-201, 3 channels, 1000 classes" in report.findings[1].text


def test_statistics_without_a_counter_are_compared_by_their_values():
    def in_place(net):
        net.mean3.data.mul_(0.99)

    def anew(net):
        net.mean3 = net.mean3 * 0.99

    for drift in (in_place, anew):

        class Drifts(Functional):
            def forward(self, x, drift=drift):
                out = super().forward(x)
                if self.training:
                    drift(self)
                return out

        report = densenet(Drifts(buffered=False), TINY)
        assert "Running statistics differ after one training step" in report.findings[0].text


def test_frozen_parameters_are_told():
    net = Student()
    net.stem.weight.requires_grad_(False)
    report = densenet(net, TINY)
    assert "1 of 55 parameters get no gradient in training. Frozen" in report.findings[0].text


def test_frozen_statistics_are_told():
    class Frozen(Student):
        def train(self, mode=True):
            super().train(mode)
            self.after_stem.eval()
            return self

    assert not densenet(Frozen(), TINY).passed


def test_a_network_that_was_trained_passes_and_stays_as_it_is():
    net = Student().train()
    for _ in range(3):
        net(torch.randn(4, 3, 32, 32)).sum().backward()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    gradients = [p.grad.clone() for p in net.parameters()]
    assert densenet(net, TINY).passed
    assert net.training
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, net.parameters(), strict=True))


def test_the_random_numbers_of_the_reader_are_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    net = Student()
    torch.manual_seed(1)
    densenet(net, TINY)
    assert torch.equal(torch.rand(3), expected)


def test_errors_are_shown_with_the_readers_line():
    report = densenet(Student(out="broken"), TINY)
    assert "students.py, line" in report.findings[0].where
    assert "x @ x" in report.findings[0].where

    def fails():
        raise RuntimeError("not today")

    class Casts(Student):
        def forward(self, x):
            return super().forward(x.float())

    report = densenet(Casts(), TINY)
    assert "The check runs a copy in float64" in report.findings[0].text
    report = densenet(fails, TINY)
    assert "Building the network raises RuntimeError: not today" in report.findings[0].text
    assert "test_densenet.py, line" in report.findings[0].where


def test_findings_point_to_module_and_line():
    finding = densenet(Student(pool="max"), TINY).findings[0]
    assert finding.where.startswith("module trunk.1.3 (students.py, line ")
    finding = densenet(Functional(), PLAIN).findings[0]
    assert "There is a bottleneck" in finding.text
    assert finding.where.startswith("students.py, line ")


class Odd(nn.Module):
    """Networks that are nothing like a DenseNet."""

    def __init__(self, what):
        super().__init__()
        self.what = what
        self.weight = nn.Parameter(torch.ones(7))

    def forward(self, x):
        n = len(x)
        return {
            "constant": lambda: self.weight.expand(n, 7),
            "pixels": lambda: x.flatten(1)[:, :7] * self.weight,
            "means": lambda: x.mean((2, 3)),
            "integers": lambda: torch.zeros(n, 7, dtype=torch.int64),
            "nothing": lambda: None,
            "numbers": lambda: [1.0, 2.0],
            "empty": lambda: x.new_zeros(n, 0),
            "nan": lambda: x.new_full((n, 7), float("nan")) + self.weight,
        }[self.what]()


ODD = {
    **{what: Odd(what) for what in (
        "constant", "pixels", "means", "integers", "nothing", "numbers", "empty", "nan",
    )},
    "identity": nn.Identity(),
    "linear": nn.Sequential(nn.Flatten(), nn.LazyLinear(7)),
    "one convolution": nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.Flatten()),
    "transposed": nn.Sequential(nn.ConvTranspose2d(3, 8, 2, 2), nn.AdaptiveAvgPool2d(1),
                                nn.Flatten(), nn.Linear(8, 7)),
    "instance norm": nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.InstanceNorm2d(8),
                                   nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "resnet": torchvision.models.resnet18(num_classes=7),
    "squeezenet": torchvision.models.squeezenet1_1(num_classes=7),
    "shufflenet": torchvision.models.shufflenet_v2_x0_5(num_classes=7),
    "mobilenet": torchvision.models.mobilenet_v3_small(num_classes=7),
    "googlenet": torchvision.models.googlenet(num_classes=7, aux_logits=False, init_weights=False),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_densenet_fails_without_an_exception(what):
    report = densenet(ODD[what], TINY)
    assert not report.passed
    assert report.findings[0].kind == "wrong"
    assert str(report)


class Perturbed(nn.Module):
    """A layer and a slight difference after it."""

    def __init__(self, layer, difference):
        super().__init__()
        self.layer, self.difference = layer, difference

    def forward(self, x):
        return self.difference(self.layer(x), self.training)


class _OtherGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 1.0001 * gradient


def _one_channel(x, training):
    return torch.cat((x[:, :1] * 1.0001, x[:, 1:]), 1)


DIFFERENCES = {
    "scaled": lambda x, training: x * 1.0001,
    "shifted": lambda x, training: x + 1e-4,
    "scaled in training": lambda x, training: x * 1.0001 if training else x,
    "scaled in evaluation": lambda x, training: x if training else x * 1.0001,
    "one channel": _one_channel,
    "shifted by a pixel or class": lambda x, training: x.roll(1, -1),
    "another gradient": lambda x, training: _OtherGradient.apply(x),
    "clipped": lambda x, training: x.clamp(max=2),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("where", ["trunk.2.layers.1.parts.2", "trunk.3.2", "after_stem.0", "head"])
def test_no_slight_difference_of_function_passes(where, difference):
    net = Student()
    parent, _, name = where.rpartition(".")
    wrapped = Perturbed(net.get_submodule(where), DIFFERENCES[difference])
    owner = net.get_submodule(parent)
    if name.isdigit():
        owner[int(name)] = wrapped
    else:
        setattr(owner, name, wrapped)
    assert not densenet(net, TINY).passed


@pytest.mark.parametrize("layers", [7, 9, 16])
def test_a_bottleneck_that_is_shaped_like_the_transition_is_not_taken_for_it(layers):
    # The seventh layer reads 256 channels and brings them to 128, as transition 1 should.
    network = torchvision.models.DenseNet(32, (layers, 12, 24, 16), 64)
    text = densenet(network, "densenet121").findings[0].text
    assert text.startswith("Block 1 goes on after 6 layers; it should have 6.")
