"""`check.memory` tells the strategies of exercise 3.2 apart, and a network that only claims one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from densenet_solutions.check import memory
from densenet_solutions.check.training_memory import RIVALS, kept_for_backward
from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import DenseNet, DenseNetConfig

from .students import TINY, Student

DEEP = DenseNetConfig(growth_rate=4, block_config=(5, 5), num_init_features=8, num_classes=7)
SETUP = {"batch": 4, "resolution": 32}


def net(strategy):
    return STRATEGIES[strategy].apply(DenseNet(DEEP))


@pytest.mark.parametrize("strategy", RIVALS)
def test_each_strategy_is_recognised(strategy):
    report = memory(net(strategy), DEEP, **SETUP)
    assert report.rivals[strategy] == report.peak_beyond_parameters
    assert f"nearest is {RIVALS[strategy]}" in str(report)
    assert report.passed == (strategy != "plain")
    assert "updated once a step" in str(report)


def test_a_students_network_is_plain_unless_it_recomputes():
    plain = memory(Student(), TINY, **SETUP)
    assert "Copies of earlier features are kept" in "".join(f.text for f in plain.wrong)
    again = memory(Student(checkpoint="non-reentrant"), TINY, **SETUP)
    assert again.peak_beyond_parameters < plain.peak_beyond_parameters
    assert any("updates running statistics once more" in f.text for f in again.wrong)


@pytest.mark.parametrize("strategy", RIVALS)
def test_dropout_draws_the_same_masks_in_both_passes(strategy):
    config = replace(DEEP, drop_rate=0.2)
    report = memory(lambda: STRATEGIES[strategy].apply(DenseNet(config)), config, **SETUP)
    assert "updated once a step" in str(report)
    assert report.passed == (strategy != "plain")


def test_a_network_without_parameters_is_told():
    (said,) = memory(nn.Flatten(), TINY, **SETUP).findings
    assert said.text == "The network has no parameter that is trained."


def test_memory_is_not_saved_by_computing_something_else():
    class Detached(Student):
        def forward(self, x):
            return super().forward(x.detach())

    class Forgets(DenseNet):
        """Keeps nothing of its features, because they get no gradient."""

        def forward(self, x):
            with torch.no_grad():
                x = torch.relu(self.features(x))
            return self.classifier(x.mean((2, 3)))

    report = memory(Forgets(TINY), TINY, **SETUP)
    assert report.peak_beyond_parameters < 0.5 * report.rivals["plain"]
    assert "gradient reaches the image" in report.findings[0].text
    assert not report.passed
    assert not memory(Detached(), TINY, **SETUP).passed


def test_another_network_is_noted():
    first = memory(Student(k=6), TINY, **SETUP).findings[0]
    assert first.kind == "note"
    assert first.text.startswith("Two networks are compared that are not the same. It has 10,265")
    assert "and the DenseNet of this configuration (3 channels, 7 classes) " in first.text
    assert "not the same" not in str(memory(Student(), TINY, **SETUP))


def test_a_class_is_built_and_a_network_is_left_as_it_was():
    class Mine(DenseNet):
        def __init__(self):
            super().__init__(DEEP)

    assert memory(Mine, DEEP, **SETUP).rivals
    mine = Mine().eval()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    memory(mine, DEEP, **SETUP)
    assert not mine.training
    assert all(torch.equal(before[k], v) for k, v in mine.state_dict().items())


def test_what_is_kept_is_what_a_layer_must_keep():
    """One convolution keeps its input; ReLU keeps its output; a concatenation is seen as one."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 1, bias=False)
            self.after = nn.Conv2d(8, 2, 1, bias=False)

        def forward(self, x):
            return self.after(torch.cat((x, self.conv(x)), 1)).mean((2, 3))

    kept = kept_for_backward(Small(), (2, 3, 4, 4))
    assert kept == {
        "concatenations": 2 * 8 * 16 * 4, "normalised": 0, "convolutions": 0, "other": 0,
    }  # fmt: skip


def test_the_peak_is_that_of_predict_memory():
    mine = Student()
    expected = predict_memory(lambda: Student(), (4, 3, 32, 32)).peak_beyond_parameters
    report = memory(mine, TINY, **SETUP)
    assert report.peak_beyond_parameters == expected
    assert report.title.endswith(", 4 × 3 × 32², float32, no optimizer, predicted")


def test_a_network_that_needs_data_is_told():
    class Peeks(Student):
        def forward(self, x):
            return super().forward(x * (1 if float(x.sum()) > 0 else 2))

    report = memory(Peeks(), TINY, **SETUP)
    assert not report.passed
    assert report.findings[0].text
