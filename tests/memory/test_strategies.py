"""The table of strategies, and one strategy on the result of another."""

import copy
import pickle

import pytest
import torch
from torch import nn

from densenet_solutions.memory import STRATEGIES, Strategy
from densenet_solutions.memory.strategy import retype, training_step
from densenet_solutions.models import DenseNet, DenseNetConfig
from densenet_solutions.models.densenet import DenseBlock

CONFIG = DenseNetConfig(growth_rate=8, block_config=(3, 3), num_init_features=16, num_classes=5)


def test_every_row_explains_itself_and_has_one_name():
    for name, row in STRATEGIES.items():
        assert row.apply.__name__ == name
        assert row.summary.endswith(".")
        assert row.source
        assert row.verdict
        file = row.apply.__module__.removeprefix("densenet_solutions.memory.")
        assert file in (name, "recompute", "connections", "in_place")


def test_wrong_rows_are_refused():
    options = {"summary": "y", "source": "z", "verdict": "v", "apply": lambda m: m}
    with pytest.raises(ValueError, match="exactness is one of"):
        Strategy(exactness="exact", family="as it is", **options)
    with pytest.raises(ValueError, match="family is one of"):
        Strategy(exactness="bitwise", family="others", **options)


def test_a_module_runs_another_way_and_keeps_the_rest():
    class Double(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Named(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(2, 2), Named(2, 2))
    x = torch.ones(1, 2)
    before = [layer(x) for layer in model]
    retype(model, nn.Linear, Double)
    assert type(model[0]) is Double
    assert isinstance(model[1], Named)
    for layer, out in zip(model, before, strict=True):
        assert torch.equal(layer(x), 2 * out)
    with pytest.raises(TypeError, match="got a Double with a forward pass of its own"):
        retype(model, nn.Linear, Double)
    with pytest.raises(ValueError, match="nothing to change: the network has no ReLU"):
        retype(model, nn.ReLU, Double)


class Mine(DenseNet):
    """A reader's subclass, which adds what it likes."""

    scale = 3.0

    def forward(self, x):
        return self.scale * super().forward(x)


def gradient(strategy, model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 3, 32, 32, generator=generator).to(next(model.parameters()).dtype)
    strategy.step(model, x, torch.tensor([0, 1, 2, 4]))
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", [n for n, row in STRATEGIES.items() if not row.on_request])
def test_a_subclass_of_densenet_is_changed_and_stays_what_it_is(name):
    torch.manual_seed(0)
    mine, strategy = Mine(CONFIG), STRATEGIES[name]
    changed = strategy.apply(mine)
    assert isinstance(changed, Mine)
    x = torch.randn(2, 3, 32, 32)
    plain = strategy.apply(copy.deepcopy(mine))
    if strategy.step is not None:
        expected = gradient(STRATEGIES["plain"], STRATEGIES["plain"].apply(mine))
        got = gradient(strategy, plain)
        if strategy.exactness == "approximate" or name == "bfloat16":
            assert 0 < (got - expected).norm() / expected.norm() < 0.3
        elif strategy.exact:
            torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-3)
    for again in (copy.deepcopy(changed), pickle.loads(pickle.dumps(changed))):
        assert type(again) is type(changed)
        with torch.no_grad():
            assert torch.equal(again.eval()(x), changed.eval()(x))


#: What may follow what. Every other pair of a first and a second is refused.
FIRST = ("in_place", "pool_first", "recompute_layer", "bfloat16", "saved_in_8_bits", "low_rank",
         "harmonic_connections", "shared_storage", "recompute_block")  # fmt: skip
SECOND = ("recompute_bottleneck_input", "recompute_layer", "recompute_block", "pool_first",
          "bfloat16", "saved_in_8_bits", "channel_pruning", "gates", "shared_storage",
          "quantized_inference", "in_place", "gradient_accumulation",
          "selective_checkpointing")  # fmt: skip
REFUSED = {
    ("pool_first", "pool_first"),
    ("bfloat16", "bfloat16"),
    ("saved_in_8_bits", "saved_in_8_bits"),
    ("shared_storage", "shared_storage"),
    *((first, "pool_first") for first in ("recompute_layer", "recompute_block")),
    *(
        (first, "shared_storage")  # no dense block is left as it was built
        for first in ("recompute_layer", "recompute_block", "harmonic_connections")
    ),
    *(
        (first, second)
        for first in ("recompute_layer", "recompute_block", "harmonic_connections")
        for second in ("recompute_bottleneck_input", "recompute_layer", "selective_checkpointing")
    ),
    ("recompute_block", "recompute_block"),
    ("recompute_layer", "recompute_block"),
    *(
        ("shared_storage", second)  # which would keep more than shared storage alone
        for second in (
            "recompute_bottleneck_input",
            "recompute_layer",
            "recompute_block",
            "selective_checkpointing",
        )
    ),
    ("low_rank", "shared_storage"),
    ("shared_storage", "gates"),  # which would be the only ones to share nothing
    *(  # what is computed again from rounded features has a gradient that is far off
        pair
        for again in (
            *("recompute_bottleneck_input", "recompute_layer", "recompute_block"),
            *("selective_checkpointing", "shared_storage"),
        )
        for pair in ((again, "saved_in_8_bits"), ("saved_in_8_bits", again))
    ),
    *(
        (first, second)
        for first in ("recompute_layer", "recompute_block", "low_rank", "harmonic_connections")
        for second in ("channel_pruning", "gates", "quantized_inference")
    ),
}


@pytest.mark.filterwarnings("ignore:shared storage is off here")
@pytest.mark.filterwarnings("ignore:A saved_tensors_hooks context")  # of selective checkpointing
@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("first", FIRST)
def test_two_strategies_work_together_or_the_second_is_refused(first, second):
    """Together they compute what the first alone does, as nearly as the second promises."""
    torch.manual_seed(0)
    one, two = STRATEGIES[first], STRATEGIES[second]
    before = one.apply(DenseNet(CONFIG))
    if (first, second) in REFUSED:
        with pytest.raises(TypeError, match=r"as (it was|they were) built"):
            two.apply(before)
        return
    both = two.apply(before)
    if two.step is None or (not two.exact and second not in ("bfloat16", "saved_in_8_bits")):
        x = torch.randn(2, 3, 32, 32)
        assert both.eval()(x).isfinite().all()
        return
    expected, got = gradient(one, copy.deepcopy(before)), gradient(two, both)
    rounds = not one.exact or not two.exact
    error = float((got - expected).norm() / expected.norm())
    assert error < (0.3 if rounds else 1e-3)
    assert second not in ("bfloat16", "saved_in_8_bits") or error > 0 or first == "bfloat16"


NOTHING_TO_SHARE = {
    "gates": "Sparse", "random_connections": "Sparse", "one_shot_aggregation": "Sparse",
    "in_place_normalization": "ActivatedNorm", "learned_groups": "GatheredNorm",
    "low_rank": "Sequential",
}  # fmt: skip


@pytest.mark.parametrize("other", NOTHING_TO_SHARE)
def test_shared_storage_and_another_layer_refuse_each_other(other):
    shared, changed = STRATEGIES["shared_storage"], STRATEGIES[other]
    part = NOTHING_TO_SHARE[other]
    with pytest.raises(TypeError, match=rf"^shared storage takes dense blocks as .*, got {part}"):
        shared.apply(changed.apply(DenseNet(CONFIG)))
    with pytest.raises(TypeError, match=r"as it was built, got a .* SharedStorageBlock"):
        changed.apply(shared.apply(DenseNet(CONFIG)))


def test_nothing_inverts_what_is_rounded():
    inverts, rounds = STRATEGIES["in_place_normalization"], STRATEGIES["saved_in_8_bits"]
    for first, second in ((inverts, rounds), (rounds, inverts)):
        with pytest.raises(TypeError, match="rounding what is kept does not go with"):
            second.apply(first.apply(DenseNet(CONFIG)))


def test_the_table_says_which_strategies_there_are():
    with pytest.raises(KeyError, match=r"a strategy is one of .*did you mean 'shared_"):
        STRATEGIES["shared"]
    assert STRATEGIES.get("shared") is None
    assert "shared" not in STRATEGIES


def test_a_compiled_network_is_not_copied_into_one_that_is_not():
    compiled = STRATEGIES["compiled"].apply(DenseNet(CONFIG))
    with pytest.raises(TypeError, match="not compiled, got a compiled one"):
        STRATEGIES["recompute_layer"].apply(compiled)


def test_a_block_with_a_forward_pass_of_its_own_is_refused():
    model = DenseNet(CONFIG)
    model.features.denseblock1.forward = lambda x: x
    for name in ("recompute_layer", "recompute_block", "channel_pruning"):
        with pytest.raises(TypeError, match="as it was built, got a "):
            STRATEGIES[name].apply(model)
    assert type(model.features.denseblock1) is DenseBlock


def test_eight_bits_of_sixteen():
    """In bfloat16 a level may round up to 256, which eight bits would turn into 0."""
    model = STRATEGIES["saved_in_8_bits"].apply(STRATEGIES["bfloat16"].apply(DenseNet(CONFIG)))
    plain = STRATEGIES["bfloat16"].apply(DenseNet(CONFIG))
    plain.load_state_dict(model.state_dict())
    g, h = (gradient(STRATEGIES["plain"], m) for m in (plain, model))
    assert 0 < (g - h).norm() / g.norm() < 0.2
    assert training_step(model, torch.zeros(2, 3, 32, 32), torch.zeros(2).long()).isfinite()
