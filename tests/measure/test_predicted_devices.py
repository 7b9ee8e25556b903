"""Predictions for a device: the table of the documentation, and what CUDA's kernels keep."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as published
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from densenet_solutions.measure import measure_memory, predict_memory
from densenet_solutions.models import densenet121

MIB = 2**20
PAGE = Path(__file__).parents[2] / "docs/reference/measure.md"


class Attention(nn.Module):
    def __init__(self, need_weights: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(128, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


class Recurrent(nn.Module):
    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.layers = kind(128, 256, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[0]


class Recomputed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = convolutions()[:4], nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.layers, x, use_reentrant=False).mean((2, 3)))


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def with_dropout(p: float = 0.5) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Dropout(p), nn.Conv2d(64, 64, 3, padding=1)
    )


def normalized() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.InstanceNorm2d(32, affine=True),
        nn.Upsample(scale_factor=2), nn.ConvTranspose2d(32, 16, 2, stride=2),
    )  # fmt: skip


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


TOKENS = (8, 256, 128)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "DenseNet-121": (published.densenet121, (2, 3, 96, 96)),
    "ResNet-18": (published.resnet18, (8, 3, 96, 96)),
    "EfficientNet-B0": (published.efficientnet_b0, (2, 3, 96, 96)),
    "RegNet-Y 400MF": (published.regnet_y_400mf, (2, 3, 96, 96)),
    "MobileNet-V3": (published.mobilenet_v3_small, (4, 3, 96, 96)),
    "Swin-T": (published.swin_t, (1, 3, 96, 96)),
    "ViT-B/16": (lambda: published.vit_b_16(image_size=96), (1, 3, 96, 96)),
    "Inception-V3": (
        lambda: published.inception_v3(aux_logits=False, init_weights=False), (2, 3, 128, 128)
    ),
    "GoogLeNet": (
        lambda: published.googlenet(aux_logits=False, init_weights=False), (4, 3, 96, 96)
    ),
    "ConvNeXt-T": (published.convnext_tiny, (1, 3, 96, 96)),
    "ResNet-18 in channels_last": (
        lambda: published.resnet18().to(memory_format=torch.channels_last), (8, 3, 96, 96)
    ),
    "R3D-18": (published.video.r3d_18, (1, 3, 8, 56, 56)),
    "attention with its weights": (lambda: Attention(True), TOKENS),
    "attention without": (Attention, TOKENS),
    "transformer encoder": (encoder, TOKENS),
    "GRU": (lambda: Recurrent(nn.GRU), (8, 64, 128)),
    "LSTM": (lambda: Recurrent(nn.LSTM), (8, 64, 128)),
    "recomputation of two convolutions": (Recomputed, (8, 3, 96, 96)),
    "two convolutions": (convolutions, (8, 3, 96, 96)),
    "convolution, dropout, convolution": (with_dropout, (8, 3, 128, 128)),
    "group and instance normalisation, upsampling": (normalized, (8, 3, 64, 64)),
}  # fmt: skip

ROW = re.compile(r"^\| (.+), (\d[^,|]*) \| (\S+) % … (\S+) % \|$", re.M)
TABLE = {
    name: (shape, float(low.replace("−", "-")), float(high.replace("−", "-")))
    for name, shape, low, high in ROW.findall(PAGE.read_text(encoding="utf-8"))
}


def test_the_table_has_every_model() -> None:
    assert list(TABLE) == list(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_documented_error(name: str) -> None:
    build, shape = MODELS[name]
    said, low, high = TABLE[name]
    sides = [int(part.rstrip("²")) for part in said.split(" × ")]
    assert tuple(sides + sides[-1:] if said.endswith("²") else sides) == shape
    predicted = predict_memory(build, shape, device="cpu").peak_bytes
    error = 100 * (predicted / measure_memory(build, shape).peak_bytes - 1)
    assert low <= round(error) <= high


def test_dropout_keeps_a_byte_an_element() -> None:
    """As fake CUDA tensors keep it; the meta device and the CPU keep four."""
    shape = (8, 3, 128, 128)
    elements = 8 * 64 * 128 * 128

    def kept(p: float, device: str) -> int:
        return predict_memory(with_dropout(p), shape, device=device).most("activations")

    for device, size in (("meta", 4), ("cpu", 4), ("cuda", 1)):
        # With dropout the ReLU's output is kept by nothing else than the ReLU itself.
        assert kept(0.5, device) - kept(0.0, device) == elements * (size + 4)
    with FakeTensorMode():
        x = torch.empty(10, device="cuda", requires_grad=True)
        mask: Any = nn.functional.dropout(x, 0.5).grad_fn
        assert mask._saved_result1.dtype == torch.bool


def test_densenet_with_dropout() -> None:
    """A review measured 1,034 MiB kept by fake CUDA tensors, where the meta device says 1,059."""
    shape = (8, 3, 224, 224)

    def beyond(device: str) -> float:
        model = published.densenet121(drop_rate=0.2)
        return predict_memory(model, shape, device=device).most("activations") / MIB

    assert beyond("meta") - beyond("cuda") == pytest.approx(1059 - 1034, abs=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_fused(dtype: torch.dtype, causal: bool) -> None:
    """Queries, keys, values and output are kept, and a number a row; no matrix of weights."""
    n, heads, length, width = 8, 4, 256, 32

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = x * self.scale, x.sin() * self.scale, x.cos() * self.scale
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    shape = (n, heads, length, width)
    size = dtype.itemsize
    elements = n * heads * length * width
    results = {
        device: predict_memory(Scaled, shape, dtype=dtype, device=device).most("activations")
        for device in ("meta", "cuda")
    }
    # sin and cos for the scale's gradient, q, k, v, the output; a float32 for each row.
    fused = 6 * elements * size + 4 * n * heads * length
    assert fused <= results["cuda"] <= 1.01 * fused
    # Beside the matrix, the general definition keeps all of this but the output.
    assert results["meta"] >= 5 * elements * size + n * heads * length * length * size


@pytest.mark.parametrize("mask", [torch.bool, torch.float32], ids=["boolean mask", "additive mask"])
@pytest.mark.parametrize("length", [256, 250])
def test_attention_with_a_mask(mask: torch.dtype, length: int) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            x = self.linear(x)
            allowed = torch.ones(length, length, dtype=mask, device=x.device)
            return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=allowed)

    on_cuda = predict_memory(Masked, (8, 4, length, 32), device="cuda")
    on_meta = predict_memory(Masked, (8, 4, length, 32))
    assert on_cuda.peak_bytes < on_meta.peak_bytes - 8 * 4 * length * length * 4


@pytest.mark.parametrize("options", [{}, {"enable_gqa": True}])
def test_attention_that_is_not_fused_stays_as_it_is(options: dict[str, Any]) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            x = self.linear(x)
            if not options:  # three dimensions are not fused
                x = x.flatten(0, 1)
            return nn.functional.scaled_dot_product_attention(x, x, x, **options)

    on_cuda, on_meta = (predict_memory(Odd, (2, 4, 9, 8), device=d) for d in ("cuda", "meta"))
    assert on_cuda.peak_bytes == on_meta.peak_bytes


def test_the_kernels_are_put_back() -> None:
    predict_memory(with_dropout, (1, 3, 8, 8), device="cuda")
    x = torch.empty(3, device="meta", requires_grad=True)
    assert type(nn.functional.dropout(x, 0.5).grad_fn).__name__ == "MulBackward0"


def test_an_optimizer_that_may_choose_takes_all_parameters_at_once() -> None:
    def build() -> nn.Module:
        return nn.Sequential(*(nn.Linear(500, 500) for _ in range(6)))

    def peak(device: str) -> int:
        make = lambda parameters: torch.optim.Adam(parameters)  # noqa: E731 (an option's value)
        return predict_memory(build, (1, 500), optimizer=make, device=device).peak_bytes

    assert peak("cuda") - peak("meta") > 4 * 4 * 500 * 500
    named = [
        predict_memory(build, (1, 500), optimizer="adam", device=device).peak_bytes
        for device in ("cuda", "meta")
    ]
    assert named[0] == named[1]


def test_notes_say_what_was_done_otherwise() -> None:
    class Numpy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if x.device.type == "meta":
                raise RuntimeError("no numbers here")
            return super().forward(x)

    assert predict_memory(Numpy(3, 2), (4, 3)).notes == (
        "with fake CPU tensors, since on the meta device: RuntimeError: no numbers here",
    )
    assert predict_memory(nn.Linear(3, 2), (4, 3)).notes == ()
    autocast = predict_memory(nn.Linear(3, 2), (4, 3), autocast=torch.bfloat16, device="cuda")
    assert "autocast" in autocast.notes[0]
    assert any("recurrent" in note for note in predict_memory(
        Recurrent(nn.LSTM), (2, 3, 128), device="cuda").notes)  # fmt: skip


def test_the_devices_agree_on_a_densenet() -> None:
    shape = (2, 3, 96, 96)
    devices = ("meta", "cpu", "cuda")
    peaks = [predict_memory(densenet121, shape, device=device).peak_bytes for device in devices]
    assert len(set(peaks)) == 1


@pytest.mark.parametrize("device", ["mps", "cuda:x", 5, None])
def test_unknown_devices(device: Any) -> None:
    with pytest.raises(ValueError, match="device is one of 'meta', 'cpu', 'cuda', got"):
        predict_memory(nn.Linear(3, 2), (4, 3), device=device)
