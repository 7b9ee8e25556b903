"""A dense block and a transition are held against the paper's by themselves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from densenet_solutions.check import dense_block, transition
from densenet_solutions.models import DenseNetConfig
from densenet_solutions.models.densenet import DenseBlock, Transition

from .students import DEFAULTS, Block
from .students import transition as build_transition


def options(**changed):
    made = SimpleNamespace(**(DEFAULTS | changed))
    made.norm = lambda c: nn.BatchNorm2d(c, eps=made.eps, momentum=made.momentum)
    return made


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block(options(), 8, 3)

    def forward(self, x):
        return nn.functional.avg_pool2d(self.block(x), 2)


class OnlyNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block(options(), 8, 3)

    def forward(self, x):
        return self.block(x)[:, 8:]


RIGHT_BLOCKS = {
    "ours": lambda: DenseBlock(3, 8, DenseNetConfig(growth_rate=4)),
    "the student's": lambda: Block(options(), 8, 3),
    "with biases": lambda: Block(options(bias=True), 8, 3),
    "new features first": lambda: Block(options(join="new first"), 8, 3),
}

WRONG_BLOCKS = [
    ("no bottleneck", lambda: Block(options(layer="bn relu conv"), 8, 3), "There is no bottleneck"),
    ("growth", lambda: Block(options(k=5, middle=16), 8, 3), "The growth rate is 5 and not 4"),
    ("layers", lambda: Block(options(), 8, 2), "Block 1 ends after 2 layers; it should have 3"),
    ("more layers", lambda: Block(options(), 8, 4), "Block 1 goes on after 3 layers"),
    ("addition", lambda: Block(options(join="add"), 8, 3), "Features are added and not concat"),
    ("not kept", OnlyNew, "The output does not hold the block's input"),
    ("pooled", Pooled, "At the end, average pooling"),
    ("no ReLU", lambda: Block(options(layer="bn conv bn relu conv"), 8, 3), "ReLU is missing"),
    ("dropout", lambda: Block(options(drop=0.5), 8, 3), "In training there is dropout"),
    ("eps", lambda: Block(options(eps=1e-3), 8, 3), "eps = 0.001"),
    ("other channels", lambda: Block(options(), 9, 3), "The forward pass raises RuntimeError"),
    ("nothing", nn.Identity, "The block has no layer"),
    ("a convolution", lambda: nn.Conv2d(8, 20, 1), "The bottleneck is 20 channels wide"),
]


@pytest.mark.parametrize("style", RIGHT_BLOCKS)
def test_a_right_block_passes(style):
    report = dense_block(RIGHT_BLOCKS[style](), 8, 4, 3)
    assert report.passed, str(report)


def test_the_books_block_passes_as_such():
    block = Block(options(layer="bn relu conv", bias=True), 8, 3)
    assert dense_block(block, 8, 4, 3, bn_size=None).passed
    assert not dense_block(block, 8, 4, 3).passed


@pytest.mark.parametrize(
    ("build", "text"), [row[1:] for row in WRONG_BLOCKS], ids=[row[0] for row in WRONG_BLOCKS]
)
def test_a_wrong_block_is_told_as_what_it_is(build, text):
    report = dense_block(build, 8, 4, 3)
    assert not report.passed
    assert text in report.findings[0].text


WRONG_TRANSITIONS = [
    ("maximum", "bn relu conv pool", {"pool": "max"}, 4, "max pooling (2×2, stride 2) and not av"),
    ("stride", "bn relu stride", {}, 4, "has stride 2, not stride 1"),
    ("no ReLU", "bn conv pool", {}, 4, "ReLU is missing"),
    ("pool before ReLU", "bn pool relu conv", {}, 4, "comes before the convolution and before Re"),
    ("no norm", "relu conv pool", {}, 4, "batch normalisation is missing"),
    ("no compression", "bn relu conv pool", {}, 8, "keep all 8 channels"),
    ("no pool", "bn relu conv", {}, 4, "average pooling (2×2, stride 2) is missing"),
    ("order", "conv bn2 relu pool", {}, 4, "convolution comes before the normalisation"),
    ("pool of 3×3", "bn relu conv pool3", {}, 4, "average pooling (3×3, stride 2, padding 1) and"),
    ("only pool", "pool", {}, 8, "There is no convolution"),
]


@pytest.mark.parametrize(
    ("order", "changed", "out", "text"),
    [row[1:] for row in WRONG_TRANSITIONS],
    ids=[row[0] for row in WRONG_TRANSITIONS],
)
def test_a_wrong_transition_is_told_as_what_it_is(order, changed, out, text):
    report = transition(build_transition(options(transition=order, **changed), 8, out), 8)
    assert not report.passed
    assert text in report.findings[0].text


@pytest.mark.parametrize(
    "build",
    [
        lambda: Transition(8, 4, DenseNetConfig()),
        lambda: build_transition(options(transition="bn relu conv pool", bias=True), 8, 4),
        lambda: build_transition(options(transition="bn relu pool conv"), 8, 4),
        lambda: nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.LazyConv2d(4, 1), nn.AvgPool2d(2)),
    ],
    ids=["ours", "with biases", "pool first", "lazy"],
)
def test_a_right_transition_passes(build):
    report = transition(build(), 8)
    assert report.passed, str(report)


def test_a_list_is_no_output():
    class Listed(nn.Module):
        def forward(self, x):
            return [x, x]

    report = dense_block(Listed(), 8, 4, 3)
    assert "it is list" in report.findings[0].text


def test_a_part_without_super_is_told_by_its_class():
    class Layer(nn.Module):
        def __init__(self):
            self.width = 4

    report = transition(lambda: nn.Sequential(Layer()), 8)
    assert report.findings[0].text == "Layer.__init__ does not call super().__init__()."
    assert "def __init__(self):" in report.findings[0].where
    assert transition(Layer.__new__(Layer), 8).findings == report.findings
