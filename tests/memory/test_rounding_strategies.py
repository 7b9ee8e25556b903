"""Strategies that round: bfloat16, activations saved in 8 bits, quantised inference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from densenet_solutions.memory import STRATEGIES
from densenet_solutions.memory.quantized_inference import Int8Conv2d
from densenet_solutions.memory.saved_in_8_bits import EightBit
from densenet_solutions.models import book_densenet, densenet121

NETWORKS = {
    "densenet": lambda: densenet121(
        growth_rate=8, block_config=(3, 4), num_init_features=16, num_classes=5
    ),
    "book": lambda: book_densenet(
        num_init_features=16, growth_rate=8, block_config=(3, 4), num_classes=5
    ),
}
Y = torch.tensor([0, 1, 2, 4])


@pytest.fixture(params=NETWORKS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(1)
    return NETWORKS[request.param]()


def images(model: nn.Module) -> torch.Tensor:
    return torch.randn(4, model.features.conv0.in_channels, 32, 32)


def gradient(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_codes_are_within_half_a_step_and_zero_is_for_the_smallest_only() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 4, 4) * torch.tensor([1e-3, 1, 10, 100, 0])[:, None, None]
    packed = EightBit.of(x)
    assert packed.code.dtype == torch.uint8
    error = (packed.restore() - x).abs()
    allowed = torch.where(packed.code == 1, packed.step, packed.step / 2)
    assert (error <= allowed * 1.0001 + 1e-6 * x.abs()).all()
    assert torch.equal(packed.code == 0, x == x.amin(dim=(0, 2, 3), keepdim=True))


def test_zero_stays_zero_after_a_relu() -> None:
    x = torch.randn(3, 5, 4, 4).relu()
    x[0, 0, 0, 0] = 1e-6
    assert torch.equal(EightBit.of(x).restore() > 0, x > 0)


def test_saving_in_8_bits_leaves_loss_and_buffers_exact(model: nn.Module) -> None:
    x = images(model)
    plain, rounded = STRATEGIES["plain"], STRATEGIES["saved_in_8_bits"]
    ours, reference = rounded.apply(model), plain.apply(model)
    assert torch.equal(rounded.step(ours, x, Y), plain.step(reference, x, Y))
    for (name, a), b in zip(ours.named_buffers(), reference.buffers(), strict=True):
        assert torch.equal(a, b), name
    # The classifier's gradient needs two-dimensional activations only, and these are kept.
    assert torch.equal(ours.classifier.weight.grad, reference.classifier.weight.grad)
    error = (gradient(ours) - gradient(reference)).norm() / gradient(reference).norm()
    assert 0 < error < 0.02


def test_what_is_saved_shrinks_to_a_quarter(model: nn.Module) -> None:
    kept = {}
    for name in ("plain", "saved_in_8_bits"):
        changed = STRATEGIES[name].apply(model)
        storages: dict[int, int] = {}
        held = []  # so that no storage dies and its address is used again

        def note(tensor: torch.Tensor, storages=storages, held=held) -> torch.Tensor:
            held.append(tensor)
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        if name == "plain":
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                changed(images(model))
            kept[name] = sum(
                tensor.untyped_storage().nbytes()
                for tensor in {t.untyped_storage().data_ptr(): t for t in held}.values()
                if tensor.ndim == 4 and tensor.is_floating_point()
                and not isinstance(tensor, nn.Parameter)
            )  # fmt: skip
        else:
            original = EightBit.of
            codes = []

            def record(x: torch.Tensor, original=original, codes=codes) -> EightBit:
                codes.append(original(x))
                return codes[-1]

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(EightBit, "of", staticmethod(record))
                changed(images(model))
            kept[name] = sum(code.code.numel() for code in codes)
    assert kept["saved_in_8_bits"] * 4 == kept["plain"]


def test_bfloat16_is_near_and_keeps_float32_parameters(model: nn.Module) -> None:
    x = images(model)
    strategy = STRATEGIES["bfloat16"]
    changed, reference = strategy.apply(model), STRATEGIES["plain"].apply(model)
    loss = strategy.step(changed, x, Y)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss, STRATEGIES["plain"].step(reference, x, Y), rtol=0.03, atol=0.03
    )
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in changed.parameters())
    error = (gradient(changed) - gradient(reference)).norm() / gradient(reference).norm()
    assert 0 < error < 0.3


@pytest.mark.parametrize("name", ["bfloat16", "saved_in_8_bits"])
def test_state_dicts_move_both_ways(model: nn.Module, name: str) -> None:
    changed = STRATEGIES[name].apply(model)
    changed.load_state_dict(model.state_dict())
    model.load_state_dict(changed.state_dict())


def test_quantised_inference_is_near_with_a_quarter_of_the_weights(model: nn.Module) -> None:
    x = images(model)
    STRATEGIES["plain"].step(model, x, Y)  # running statistics that are not the initial ones
    quantised = STRATEGIES["quantized_inference"].apply(model)
    model.eval()
    kept = x.clone()
    with torch.no_grad():
        ours, plain = quantised(x), model(x)
    assert torch.equal(x, kept), "the images that came in were written over"
    assert (ours - plain).norm() / plain.norm() < 0.05
    convs = [m for m in quantised.modules() if isinstance(m, Int8Conv2d)]
    floats = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == len(floats)
    for conv, old in zip(convs, floats, strict=True):
        assert conv.code.nbytes * 4 == old.weight.nbytes
        assert (conv.weight - old.weight).abs().max() <= conv.scale.max() * 0.5001
