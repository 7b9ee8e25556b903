import pytest
from torch import nn

from densenet_solutions.memory import STRATEGIES, Strategy
from densenet_solutions.memory.strategies import retype, table


def test_every_row_explains_itself():
    for name, row in STRATEGIES.items():
        assert row.name == name
        assert row.summary.endswith(".")
        assert row.source


def test_wrong_rows_are_refused():
    with pytest.raises(ValueError, match="exactness is one of"):
        Strategy("x", "y", "exact", "z", apply=lambda m: m)
    row = STRATEGIES["plain"]
    with pytest.raises(ValueError, match="'plain' twice"):
        table([row], [row])


def test_only_a_subclass_can_take_a_modules_place():
    class Double(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(nn.Linear(2, 2))
    assert type(retype(model, {nn.Linear: Double})[0]) is Double
    with pytest.raises(TypeError, match="must be a subclass"):
        retype(model, {nn.Linear: nn.ReLU})
