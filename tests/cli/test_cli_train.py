"""`densenet-solutions train` from its options to its file of metrics."""

from __future__ import annotations

import json

import pytest
import torch

from densenet_solutions import images
from densenet_solutions.cli import app
from densenet_solutions.images import ImageSet
from tests.framed import RUNNER, words

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
    settings, _, why, wrote = result.stdout.splitlines()  # the bar is on the error stream
    assert why.startswith(
        "after 2 steps the running statistics of batch normalization still hold 81%"
    )
    assert wrote == f"wrote {out}"
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


def said(result) -> str:
    return words(result.output)


def test_no_file_is_overwritten_unasked_and_the_metrics_say_what_was_asked(tmp_path) -> None:
    out, checkpoint = tmp_path / "m.json", tmp_path / "run.pt"
    out.write_text("mine")
    command = ["train", "book-resnet18", *FAST, "--batch", "6", "--limit", "16", "--out", str(out)]
    refused = RUNNER.invoke(app, command)
    assert refused.exit_code == 2
    words = f"--out {out} is there already: give another --out, or replace it by --force"
    assert words in said(refused)
    same = RUNNER.invoke(app, [*command, "--checkpoint", f"{tmp_path}/./m.json", "--force"])
    assert same.exit_code == 2
    assert f"--out and --checkpoint are two files, got {out} for both" in said(same)
    assert out.read_text() == "mine"
    alone = RUNNER.invoke(app, [*command[:-2], "--force"])
    assert "--force is an option of --out: leave it out, or give --out" in said(alone)
    done = RUNNER.invoke(app, [*command, "--checkpoint", str(checkpoint), "--force"])
    assert done.exit_code == 0, done.output
    assert "batch 6 (12 images an epoch, whole batches alone)" in done.stdout
    assert f"wrote {checkpoint} and {out}\n" in done.stdout
    metrics = json.loads(out.read_text())
    assert metrics["images_per_epoch"] == 12
    asked = {"network": "book-resnet18", "pooling": None, "limit": 16, "train_images": 16}
    assert asked.items() <= metrics.items()


def test_what_is_said_after_ctrl_c_is_true(tmp_path, monkeypatch) -> None:
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("densenet_solutions.training.train", stop)
    file = tmp_path / "run.pt"
    command = ["train", "book-densenet", *FAST, "--checkpoint", str(file)]
    stopped = RUNNER.invoke(app, command)
    assert stopped.exit_code == 130
    assert "stopped; no epoch was complete, so the same command starts anew" in stopped.output
    file.touch()
    assert "stopped; the same command resumes" in RUNNER.invoke(app, command).output
    lost = RUNNER.invoke(app, command[:-2]).output
    assert "stopped; without --checkpoint nothing is kept" in lost


def test_a_divergence_names_the_option() -> None:
    result = RUNNER.invoke(app, ["train", "book-resnet18", *FAST, "--learning-rate", "1e30"])
    assert result.exit_code == 1
    assert "try a --learning-rate below 1e+30" in said(result)


def test_a_step_that_no_memory_has_room_for_is_a_line(monkeypatch) -> None:
    def allocate(*_, **__):
        torch.empty(2**58)

    monkeypatch.setattr("densenet_solutions.training.train", allocate)
    result = RUNNER.invoke(app, ["train", "book-densenet", *FAST])
    assert result.exit_code == 1
    assert "Error: there is not enough memory: lower --batch or --resolution" in result.output


def test_a_batch_of_more_images_than_there_are_has_a_way_out() -> None:
    result = RUNNER.invoke(app, ["train", "book-densenet", "--limit", "10"])
    assert result.exit_code == 2
    said = (
        "--batch is at most the 10 training images, got 128: give --batch 10, or a larger --limit"
    )
    assert said in words(result.output)


def test_a_file_is_spoken_of_after_it_was_read(tmp_path) -> None:
    file = tmp_path / "run.pt"
    command = ["train", "book-densenet", *FAST, "--checkpoint", str(file)]
    first = RUNNER.invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "not trained again" not in first.stdout
    again = RUNNER.invoke(app, [*command, "--epochs", "2"])
    assert again.exit_code == 0, again.output
    assert again.stdout.count("not trained again") == 1
    _, note, told, *_ = again.stdout.splitlines()
    assert note.endswith("its epochs are told, not trained again")
    assert told == first.stdout.splitlines()[-3]
    other = RUNNER.invoke(app, [*command, "--batch", "4", "--pooling", "max"])
    assert other.exit_code == 2
    assert (
        "differs in the network (NETWORK or --pooling), --batch (8, now 4): it is left alone; name "
        "another file by --checkpoint"
    ) in said(other)
    file.write_text("print('mine')", encoding="utf-8")
    wrong = RUNNER.invoke(app, command)
    assert wrong.exit_code == 2
    assert "is no checkpoint of this command, or is damaged: it is left alone; " in said(wrong)
    assert "not trained again" not in wrong.output
    assert file.read_text(encoding="utf-8") == "print('mine')"


def test_a_step_of_one_value_per_channel_is_told_in_options() -> None:
    options = ["--batch", "1", "--resolution", "32", "--limit", "1", "--device", "cpu"]
    result = RUNNER.invoke(app, ["train", "book-densenet", *options])
    assert result.exit_code == 2
    said = "got --batch 1, --resolution 32: give a larger --batch or --resolution"
    text = words(result.output)
    assert said in text
    assert "eval()" not in text
