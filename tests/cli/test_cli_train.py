"""`densenet-solutions train` from its options to its file of metrics."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from densenet_solutions import images
from densenet_solutions.cli import app
from densenet_solutions.images import ImageSet

RUNNER = CliRunner()
FAST = ["--resolution", "32", "--batch", "8", "--epochs", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def few_images(monkeypatch) -> None:
    def load(split: str, *, limit: int | None = None) -> ImageSet:
        generator = torch.Generator().manual_seed(len(split))
        pixels = torch.randint(0, 256, (16, 1, 28, 28), dtype=torch.uint8, generator=generator)
        return ImageSet(pixels, torch.arange(16) % 10)

    monkeypatch.setattr(images, "load_fashion_mnist", load)


@pytest.mark.parametrize("pooling", ["average", "max", "stride"])
def test_it_trains_and_writes_metrics(tmp_path, pooling: str) -> None:
    out = tmp_path / "metrics.json"
    command = ["train", "book-densenet", "--pooling", pooling, *FAST]
    result = RUNNER.invoke(app, [*command, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "epoch 1: loss" in result.output
    assert len(result.stdout.splitlines()) == 1, "the bar is on the error stream"
    metrics = json.loads(out.read_text())
    assert metrics["parameters"] == 758_226
    assert metrics["settings"]["resolution"] == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["vgg"], "vgg"),
        (["book-densenet", "--pooling", "median"], "median"),
        (["book-resnet18", "--pooling", "max"], "book-resnet18"),
        (["book-densenet", "--epochs", "0"], "epochs"),
        (["book-densenet", "--batch", "99"], "99"),
        (["book-densenet", "--limit", "60001"], "60001"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_impossible_options_are_refused(options: list[str], message: str) -> None:
    result = RUNNER.invoke(app, ["train", *options])
    assert result.exit_code == 2
    assert message in result.output
