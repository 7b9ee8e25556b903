"""What models refuse, each with the message that says why; and what they take."""

import warnings

import numpy as np
import pytest
import torch
from torch.nn.utils.parametrizations import weight_norm

from densenet_solutions.models import (
    NETWORKS,
    TABLE_1,
    DenseMLP,
    DenseNet,
    DenseNetConfig,
    book_densenet,
    book_resnet18,
    cifar_densenet,
    densenet121,
    load_densenet_weights,
)
from densenet_solutions.models.catalogue import network
from densenet_solutions.models.connectivity import (
    channels_of,
    dense,
    harmonic,
    logarithmic,
    random_sparse,
    sources_of,
)
from densenet_solutions.models.mlp import matched_growth_rate


def config(**options):
    return lambda: DenseNetConfig(**options)


def small(**options):
    with torch.device("meta"):
        return densenet121(
            **({"growth_rate": 2, "block_config": (1, 1), "num_init_features": 2} | options)
        )


def reads(sources):
    return lambda: sources_of(lambda layer: sources, 3)


def mlp(**options):
    return lambda: DenseMLP(5, **options)


CHOICES = "is one of 'average', 'max', 'stride', got"
REFUSED = [
    ("growth rate 0", config(growth_rate=0), ValueError, "growth_rate is at least 1, got 0"),
    ("growth rate 1.5", config(growth_rate=1.5), TypeError, "growth_rate is an integer, got 1.5"),
    ("growth rate True", config(growth_rate=True), TypeError, "is an integer, got True"),
    ("stem of 0", config(num_init_features=0), ValueError, "num_init_features is at least 1"),
    ("no classes", config(num_classes=0), ValueError, "num_classes is at least 1"),
    ("channels '4'", config(in_channels="4"), TypeError, "in_channels is an integer, got '4'"),
    ("no blocks", config(block_config=()), ValueError, "block_config holds at least one"),
    ("empty block", config(block_config=(6, 0)), ValueError, r"at least 1, got \(6, 0\)"),
    ("blocks 6", config(block_config=6), TypeError, "block_config is a sequence"),
    ("blocks of a dict", config(block_config={2: 3}), TypeError, "block_config is a sequence"),
    ("blocks of True", config(block_config=(True,)), TypeError, "block_config is a sequence"),
    ("bottleneck 0", config(bn_size=0), ValueError, "None means no bottleneck"),
    ("compression 0", config(compression=0), ValueError, r"compression lies in \(0, 1\], got 0"),
    ("compression 1.5", config(compression=1.5), ValueError, r"lies in \(0, 1\], got 1.5"),
    ("compression 'half'", config(compression="half"), TypeError, "is a number, got 'half'"),
    ("nothing left", config(compression=0.001), ValueError, "no channel out of 256"),
    ("drop rate 1", config(drop_rate=1), ValueError, r"drop_rate lies in \[0, 1\), got 1"),
    ("drop rate nan", config(drop_rate=float("nan")), ValueError, r"lies in \[0, 1\), got nan"),
    ("stem mnist", config(stem="mnist"), ValueError, "stem is one of 'imagenet', 'cifar'"),
    ("pooling", config(pooling="avg"), ValueError, f"pooling {CHOICES} 'avg'"),
    ("pooling None", lambda: book_densenet(None), ValueError, f"pooling {CHOICES} None"),
    ("bias 1", config(bias=1), TypeError, "bias is True or False, got 1"),
    ("initialization", config(initialization="xavier"), ValueError, "is one of 'he', 'torch'"),
    ("one block, pooling", lambda: book_densenet("x", block_config=(1,)), ValueError, "pooling is"),
    ("no config", lambda: DenseNet(None), TypeError, "config is a DenseNetConfig, got None"),
    ("a row", lambda: DenseNet(TABLE_1["densenet121"]), TypeError, "is a DenseNetConfig, got Var"),
    (
        "unknown option",
        lambda: densenet121(depth=3),
        TypeError,
        "options of a DenseNet are growth_rate.*got depth",
    ),
    ("depth '40'", lambda: cifar_densenet("40", 12, bottleneck=False), TypeError, "depth is an"),
    ("depth 41", lambda: cifar_densenet(41, 12, bottleneck=False), ValueError, r"3n \+ 4.*depth=4"),
    ("depth 43", lambda: cifar_densenet(43, 12, bottleneck=True), ValueError, r"6n \+ 4.*depth=4"),
    ("depth 4", lambda: cifar_densenet(4, 12, bottleneck=False), ValueError, "got depth=4"),
    ("bottleneck", lambda: cifar_densenet(40, 12, bottleneck="yes"), TypeError, "True or False"),
    ("resnet classes", lambda: book_resnet18(num_classes=0), ValueError, "num_classes is at least"),
    ("resnet channels", lambda: book_resnet18(in_channels=1.5), TypeError, "in_channels is an int"),
    ("resnet shortcut", lambda: book_resnet18("yes"), TypeError, "project_every_block is True or"),
    ("no network", lambda: network("densenet12"), ValueError, "network is one of 'book-densenet'"),
    ("weights", lambda: load_densenet_weights(small(), None), TypeError, "got NoneType"),
    ("weights of", lambda: load_densenet_weights(small(), small()), TypeError, "got DenseNet"),
    (
        "epoch",
        lambda: load_densenet_weights(small(), {"epoch": 3}),
        TypeError,
        "'epoch' with a int",
    ),
    ("not a model", lambda: load_densenet_weights(None, {}), TypeError, "is a torch.nn.Module"),
    ("columns", lambda: DenseMLP(0), ValueError, "in_features is at least 1, got 0"),
    ("start", mlp(init="xavier"), ValueError, "init is one of 'default', 'he', got 'xavier'"),
    (
        "residual stem",
        mlp(connection="residual", num_init_features=7),
        ValueError,
        "got num_init_features=7 and growth_rate=32",
    ),
    ("connection", mlp(connection="skip"), ValueError, "connection is one of 'plain'"),
    ("norm", mlp(norm="group"), ValueError, "norm is one of 'none'"),
    ("activation", mlp(activation="tanh"), ValueError, "activation is one of 'silu'"),
    ("blocks 4", mlp(block_config=4), TypeError, "block_config is a sequence"),
    ("dropout '0.5'", mlp(dropout="0.5"), TypeError, "dropout is a number, got '0.5'"),
    ("dropout 1", mlp(input_dropout=1.0), ValueError, r"input_dropout lies in \[0, 1\)"),
    ("compression True", mlp(compression=True), TypeError, "compression is a number, got True"),
    ("0 parameters", lambda: matched_growth_rate(0, 5, "dense"), ValueError, "at least 1, got 0"),
    ("nan", lambda: matched_growth_rate(float("nan"), 5, "dense"), TypeError, "parameters is an"),
    ("too many", lambda: matched_growth_rate(10**30, 5, "dense"), ValueError, "is at most 10000"),
    *(
        (f"{pattern.__name__}({layer})", lambda p=pattern, x=layer: p(x), error, "numbered from 1")
        for pattern in (dense, logarithmic, harmonic, random_sparse(0.5))
        for layer, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError))
    ),
    ("share", lambda: random_sparse(1.1), ValueError, r"share lies in \[0, 1\], got 1.1"),
    ("source -1", lambda: channels_of((-1,), 2, 3), ValueError, "at least 0, got"),
    ("the future", reads((0, 3)), ValueError, r"0, …, 2 and always 2, got \(0, 3\)"),
    ("not the last", reads((0, 1)), ValueError, r"always 2, got \(0, 1\)"),
    ("unsorted", reads((2, 0)), ValueError, "reads ascending sources"),
    ("twice", reads((0, 0, 2)), ValueError, "reads ascending sources"),
    ("negative", reads((-1, 2)), ValueError, "at least 0"),
    ("no tuple", reads(None), TypeError, "sources of layer 3 is a sequence"),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_impossible_options_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def nested(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "in prototype stage"
        return torch.nested.nested_tensor([x, x])


IMAGES = torch.zeros(2, 3, 32, 32)
WRONG_IMAGES = [
    ("None", None, TypeError, r"images are a torch.Tensor \(N, 3, H, W\), got NoneType"),
    ("a list", [[1.0]], TypeError, "got list"),
    ("an array", np.zeros((2, 3, 32, 32)), TypeError, "got ndarray: torch.as_tensor"),
    ("no batch", IMAGES[0], ValueError, r"shape \(N, 3, H, W\), got x.shape=\(3, 32, 32\)"),
    ("one channel", IMAGES[:, :1], ValueError, r"got x.shape=\(2, 1, 32, 32\)"),
    ("small", IMAGES[..., :0], ValueError, "height and width are at least"),
    *(
        (str(dtype), IMAGES.to(dtype), TypeError, f"type torch.float32, got {dtype}")
        for dtype in (torch.int64, torch.uint8, torch.bool, torch.half, torch.double, torch.cfloat)
    ),
    ("sparse", IMAGES.to_sparse(), TypeError, "a dense torch.Tensor, got the layout torch.sparse"),
    ("nested", nested(IMAGES[0]), TypeError, "dense .* a nested one"),
    ("meta", IMAGES.to("meta"), ValueError, "network's device 'cpu', got 'meta'"),
    ("one value", torch.zeros(1, 3, 7, 7), ValueError, "more than one value per channel"),
    ("no image", IMAGES[:0], ValueError, "more than one value per channel"),
]
NETS = {
    "densenet": lambda: densenet121(growth_rate=2, block_config=(1, 1), num_init_features=2),
    "stride": lambda: book_densenet("stride", in_channels=3, block_config=(1, 1)),
    "resnet": lambda: book_resnet18(in_channels=3),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [row[1:] for row in WRONG_IMAGES],
    ids=[row[0] for row in WRONG_IMAGES],
)
def test_images_that_do_not_fit_are_refused(name, x, error, message):
    model = NETS[name]()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error, match=message):
        model(x)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NETS)
def test_images_that_fit_are_taken(name):
    model = NETS[name]()
    classes = model(IMAGES).shape[1]
    with torch.autocast("cpu", torch.bfloat16):
        assert model(IMAGES.bfloat16()).shape == (2, classes)
    assert model.double()(IMAGES.double()).dtype == torch.double
    assert model.bfloat16()(IMAGES.bfloat16()).dtype == torch.bfloat16
    model.float().eval()
    assert model(IMAGES[:0]).shape == (0, classes)
    assert model(torch.zeros(1, 3, 7, 7)).shape == (1, classes)


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:.*TracerWarning|.*Converting a tensor")
def test_a_network_under_torchs_tools_takes_what_it_took():
    model, x = NETS["densenet"]().eval(), torch.randn(2, 3, 32, 32)
    expected = model(x)
    parameters = dict(model.named_parameters())
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(model, (x,), dynamic_shapes={"x": {0: batch}})
    tools = {
        "functional call": torch.func.functional_call(model, parameters, (x,)),
        "vmap": torch.vmap(lambda one: model(one[None])[0])(x),
        "script": torch.jit.script(model)(x),
        "trace": torch.jit.trace(model, (x,), check_trace=False)(x),
        "export": exported.module()(x),
        "compile": torch.compile(model, backend="eager", fullgraph=True)(x),
    }
    for name, got in tools.items():
        torch.testing.assert_close(got, expected, msg=name)
    weight_norm(model.features.conv0)
    model.to(torch.double)
    with torch._subclasses.FakeTensorMode():
        assert NETS["densenet"]()(torch.empty(2, 3, 32, 32)).shape == (2, 1000)
    assert model(x.double()).dtype == torch.double


def test_a_hook_may_still_convert_images_or_weights():
    """Offloading keeps weights elsewhere until their module runs, and patches its forward pass."""
    model = NETS["densenet"]().double()
    model.features.register_forward_pre_hook(lambda module, inputs: inputs[0].double())
    assert model(IMAGES).dtype == torch.double
    model = NETS["densenet"]()
    conv, weight = model.features.conv0, model.features.conv0.weight.detach()
    model.features.conv0.to("meta")
    conv.forward = lambda x: torch.nn.functional.conv2d(x, weight, None, 2, 3)
    assert model(IMAGES).shape == (2, 1000)


ROWS = torch.zeros(3, 5)
WRONG_ROWS = [
    ("None", None, TypeError, r"rows are a torch.Tensor \(rows, 5\), got NoneType"),
    ("width", ROWS[:, :4], ValueError, r"rows have shape \(rows, 5\), got x.shape=\(3, 4\)"),
    ("one row", ROWS[0], ValueError, r"got x.shape=\(5,\)"),
    ("three dims", ROWS[None], ValueError, r"got x.shape=\(1, 3, 5\)"),
    ("int64", ROWS.long(), TypeError, "type torch.float32, got torch.int64"),
    ("nested", nested(ROWS), TypeError, "dense .* a nested one"),
    ("one value", ROWS[:1], ValueError, "more than one value per channel"),
]


@pytest.mark.parametrize(
    ("x", "error", "message"), [row[1:] for row in WRONG_ROWS], ids=[row[0] for row in WRONG_ROWS]
)
def test_rows_that_do_not_fit_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        DenseMLP(5, norm="batch")(x)


def test_rows_that_fit_are_taken():
    assert DenseMLP(5, norm="batch").eval()(ROWS[:0]).shape == (0,)
    assert DenseMLP(5, norm="batch")(ROWS).shape == (3,)
    assert DenseMLP(5).double()(ROWS[:1].double()).dtype == torch.double
    assert DenseMLP(np.int64(5), block_config=[1, 2])(ROWS).shape == (3,)
    assert matched_growth_rate(1, 5, "plain") == 1


def test_options_in_other_clothes_are_taken():
    config = DenseNetConfig(block_config=[np.int64(1), 2], growth_rate=np.int64(4), compression=1)
    assert config.block_config == (1, 2)
    assert type(config.growth_rate) is int
    assert NETWORKS["cifar-densenet-40-12"].build(in_channels=1).config.in_channels == 1
