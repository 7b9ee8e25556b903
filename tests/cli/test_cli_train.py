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
    settings, _ = result.stdout.splitlines()  # the bar is on the error stream
    assert settings == (
        f"book-densenet, {pooling} pooling, 16 images of 32 × 32, batch 8, "
        "sgd with learning rate 0.01 (constant), momentum 0, weight decay 0, seed 0, cpu, float32"
    )
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


def test_a_batch_of_more_images_than_there_are_has_a_way_out() -> None:
    result = RUNNER.invoke(app, ["train", "book-densenet", "--limit", "10"])
    assert result.exit_code == 2
    said = (
        "--batch is at most the 10 training images, got 128: give --batch 10, or a larger --limit"
    )
    assert said in " ".join(result.output.replace("│", " ").split())


def test_a_file_is_spoken_of_after_it_was_read(tmp_path) -> None:
    file = tmp_path / "run.pt"
    command = ["train", "book-densenet", *FAST, "--checkpoint", str(file)]
    first = RUNNER.invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "not trained again" not in first.stdout
    again = RUNNER.invoke(app, [*command, "--epochs", "2"])
    assert again.exit_code == 0, again.output
    assert again.stdout.count("not trained again") == 1
    _, note, told, _ = again.stdout.splitlines()
    assert note.endswith("its epochs are told, not trained again")
    assert told == first.stdout.splitlines()[-1]
    file.write_text("print('mine')", encoding="utf-8")
    wrong = RUNNER.invoke(app, command)
    assert wrong.exit_code == 2
    assert "not trained again" not in wrong.output
    assert file.read_text(encoding="utf-8") == "print('mine')"


def test_a_step_of_one_value_per_channel_is_told_in_options() -> None:
    options = ["--batch", "1", "--resolution", "32", "--limit", "1", "--device", "cpu"]
    result = RUNNER.invoke(app, ["train", "book-densenet", *options])
    assert result.exit_code == 2
    said = "got --batch 1, --resolution 32: give a larger --batch or --resolution"
    text = " ".join(result.output.replace("│", " ").split())
    assert said in text
    assert "eval()" not in text
