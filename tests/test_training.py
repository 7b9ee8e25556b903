"""The training loop: reproducible, resumable, refusing, and the same on several processes."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from densenet_solutions.images import ImageSet
from densenet_solutions.models import book_densenet
from densenet_solutions.records.serialise import from_json, to_json
from densenet_solutions.training import TrainingResult, TrainingSettings, evaluate, train


def made_up(count: int, seed: int = 0) -> ImageSet:
    """Images whose class shows: class `c` has its row `2c + 4` bright."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 60, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    pixels[torch.arange(count), 0, 2 * labels + 4] = 250
    return ImageSet(pixels, labels)


def small_densenet() -> nn.Module:
    return book_densenet(num_init_features=8, growth_rate=4, block_config=(1, 1))


def small_mlp() -> nn.Module:
    """No batch normalisation: its batches may be split among processes without a difference."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(28 * 28, 16), nn.ReLU(), nn.Dropout(0.0), nn.Linear(16, 10)
    )


class Interrupting(nn.Module):
    """Stops training with Ctrl-C at the given forward pass in training mode."""

    at = -1  # of the class: a network that keeps another number is another network

    def __init__(self) -> None:
        super().__init__()
        self.network, self.seen = small_densenet(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += self.training
        if self.seen == self.at:
            raise KeyboardInterrupt
        return self.network(x)


SETTINGS = TrainingSettings(
    epochs=3,
    batch_size=16,
    resolution=28,
    learning_rate=0.05,
    momentum=0.9,
    schedule="cosine",
    seed=3,
)
#: For processes of their own: this folder, and the package that is tested.
HERE = os.pathsep.join(map(str, Path(__file__).parents[:2]))
TRAIN, TEST = made_up(70), made_up(40, seed=1)


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name


def without_time(result: TrainingResult) -> TrainingResult:
    epochs = tuple(dataclasses.replace(epoch, seconds=0.0) for epoch in result.epochs)
    return dataclasses.replace(result, epochs=epochs)


def test_it_learns() -> None:
    settings = TrainingSettings(
        epochs=8, batch_size=20, resolution=28, optimizer="adam", learning_rate=0.003
    )
    _, result = train(small_mlp, made_up(400), made_up(100, seed=1), settings)
    assert result.test_accuracy > 0.9
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_same_settings_give_the_same_bits(optimizer: str) -> None:
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, epochs=2)
    before = torch.random.get_rng_state()
    first, metrics = train(small_densenet, TRAIN, TEST, settings)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was touched"
    torch.rand(7)  # whatever happened before must not matter
    second, again = train(small_densenet, TRAIN, TEST, settings)
    assert_same_weights(first, second)
    assert without_time(metrics) == without_time(again)


def test_another_seed_gives_other_weights() -> None:
    one, _ = train(small_mlp, TRAIN, TEST, dataclasses.replace(SETTINGS, epochs=1))
    two, _ = train(small_mlp, TRAIN, TEST, dataclasses.replace(SETTINGS, epochs=1, seed=4))
    assert not torch.equal(one[1].weight, two[1].weight)


def test_plain_gradient_descent_is_what_the_formula_says() -> None:
    settings = TrainingSettings(epochs=1, batch_size=70, resolution=28, learning_rate=0.1)
    model, result = train(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), TRAIN, TEST, settings
    )
    start, _ = train(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        TRAIN,
        TEST,
        dataclasses.replace(settings, learning_rate=1e-30),
    )
    x = TRAIN.pixels.flatten(1).float() / 255
    weight = start[1].weight.detach().double()
    p = torch.softmax(x.double() @ weight.T + start[1].bias.detach().double(), dim=1)
    gradient = (p - nn.functional.one_hot(TRAIN.labels, 10)).T @ x.double() / 70
    torch.testing.assert_close(
        model[1].weight.detach().double(), weight - 0.1 * gradient, rtol=1e-5, atol=1e-6
    )
    assert result.epochs[0].train_loss == pytest.approx(
        float(nn.functional.nll_loss(p.log(), TRAIN.labels)), rel=1e-5
    )


def test_interrupted_in_the_middle_and_resumed_gives_the_same_bits(tmp_path, monkeypatch) -> None:
    checkpoint = tmp_path / "run.pt"
    straight, metrics = train(Interrupting, TRAIN, TEST, SETTINGS)
    monkeypatch.setattr(Interrupting, "at", 7)
    with pytest.raises(KeyboardInterrupt):  # in the second epoch of four steps each
        train(Interrupting, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)
    monkeypatch.undo()
    resumed, again = train(Interrupting, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)
    assert_same_weights(straight, resumed)
    assert without_time(metrics) == without_time(again)
    assert not list(tmp_path.glob(".*")), "a temporary file was left"


KILLED = """
import sys, time
from pathlib import Path
from test_training import SETTINGS, TEST, TRAIN, small_densenet
from densenet_solutions.training import train
import torch
class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = small_densenet()
    def forward(self, x):
        time.sleep(0.1)
        return self.network(x)
if __name__ == "__main__":
    train(Slow, TRAIN, TEST, SETTINGS, checkpoint=Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_killed_and_resumed_gives_the_same_bits(tmp_path) -> None:
    checkpoint = tmp_path / "run.pt"
    environment = os.environ | {
        "PYTHONPATH": HERE,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    process = subprocess.Popen([sys.executable, "-c", KILLED, checkpoint], env=environment)
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    class Slow(nn.Module):  # not slow, but the same to a checkpoint
        def __init__(self) -> None:
            super().__init__()
            self.network = small_densenet()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network(x)

    finished = torch.load(checkpoint, weights_only=True)["history"].count('"epoch"')
    assert 1 <= finished < SETTINGS.epochs
    resumed, _ = train(Slow, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)
    straight, _ = train(Slow, TRAIN, TEST, SETTINGS)
    assert_same_weights(straight, resumed)


def max_pooling() -> nn.Module:
    """The same shapes as `small_densenet`, and another network."""
    return book_densenet(num_init_features=8, growth_rate=4, block_config=(1, 1), pooling="max")


ONE = dataclasses.replace(SETTINGS, epochs=1)
INVERTED = ImageSet(255 - TRAIN.pixels, TRAIN.labels)
PERMUTED = ImageSet(TRAIN.pixels, TRAIN.labels.flip(0))


def louder() -> nn.Module:
    """Prints as the small DenseNet does, and says of itself that it is louder."""
    model = small_densenet()
    model.volume = 2.0
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": dataclasses.replace(ONE, seed=9)}, r"in seed \(3, now 9\)"),
        (
            {"settings": dataclasses.replace(ONE, momentum=0.5, learning_rate=0.1)},
            r"in learning_rate \(0\.05, now 0\.1\), momentum \(0\.9, now 0\.5\)",
        ),
        ({"model_fn": small_mlp}, "in network"),
        ({"model_fn": max_pooling}, "in network"),
        ({"model_fn": louder}, "in network"),
        ({"train_set": INVERTED}, "in training images"),
        ({"train_set": PERMUTED}, "in training images"),
        ({"test_set": TRAIN}, "in test images"),
        (
            {"settings": dataclasses.replace(ONE, epochs=2)},
            r"in epochs \(1, now 2\)",  # a cosine is made for its number of epochs
        ),
    ],
    ids=[
        "seed",
        "rates",
        "shapes",
        "pooling",
        "attribute",
        "pixels",
        "labels",
        "test set",
        "cosine",
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, changes, message) -> None:
    checkpoint = tmp_path / "run.pt"
    first = {
        "model_fn": small_densenet, "train_set": TRAIN, "test_set": TEST, "settings": ONE,
        "checkpoint": checkpoint,
    }  # fmt: skip
    train(**first)
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=rf"another training, which differs {message}:") as raised:
        train(**(first | changes))
    assert "\n" not in str(raised.value)
    assert checkpoint.read_bytes() == before
    train(**first)  # which goes on, and has nothing to do


def test_a_finished_training_goes_on_at_a_constant_rate(tmp_path) -> None:
    checkpoint = tmp_path / "run.pt"
    settings = dataclasses.replace(SETTINGS, schedule="constant")
    train(small_mlp, TRAIN, TEST, dataclasses.replace(settings, epochs=1), checkpoint=checkpoint)
    resumed, again = train(small_mlp, TRAIN, TEST, settings, checkpoint=checkpoint)
    straight, metrics = train(small_mlp, TRAIN, TEST, settings)
    assert_same_weights(straight, resumed)
    assert without_time(metrics) == without_time(again)
    with pytest.raises(ValueError, match="has 3 epochs behind it, more than epochs=2"):
        train(
            small_mlp, TRAIN, TEST, dataclasses.replace(settings, epochs=2), checkpoint=checkpoint
        )


def test_a_training_cut_short_is_tested_all_the_same(tmp_path) -> None:
    checkpoint = tmp_path / "run.pt"
    settings = dataclasses.replace(SETTINGS, schedule="constant")

    def stop(metrics) -> None:
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    options = {"checkpoint": checkpoint, "test_every_epoch": False}
    with pytest.raises(KeyboardInterrupt):
        train(small_mlp, TRAIN, TEST, settings, on_epoch=stop, **options)
    two = dataclasses.replace(settings, epochs=2)
    model, result = train(small_mlp, TRAIN, TEST, two, **options)
    assert result.test_accuracy == evaluate(model, TEST, resolution=28)[1]


def test_metrics_are_told_as_soon_as_they_are_known(tmp_path) -> None:
    checkpoint, told = tmp_path / "run.pt", []

    def tell(metrics) -> None:
        told.append(metrics)
        if metrics.epoch == 2 and len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_mlp, TRAIN, TEST, SETTINGS, checkpoint=checkpoint, on_epoch=tell)
    _, result = train(small_mlp, TRAIN, TEST, SETTINGS, checkpoint=checkpoint, on_epoch=tell)
    assert [metrics.epoch for metrics in told] == [1, 2, 1, 2, 3]
    assert tuple(told[2:]) == result.epochs


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b"hello"),
        lambda path: path.write_bytes(b""),
        lambda path: rewrite(path, model={}),
        lambda path: rewrite(path, optimizer=None),
        lambda path: rewrite(path, history="[{"),
        lambda path: rewrite(path, history='[{"epoch": 1}]'),
        lambda path: rewrite(path, identity=7),
        lambda path: torch.save([1], path),
    ],
    ids=["cut", "text", "empty", "model", "optimizer", "json", "fields", "identity", "list"],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path, damage) -> None:
    checkpoint = tmp_path / "run.pt"
    train(small_mlp, TRAIN, TEST, ONE, checkpoint=checkpoint)
    damage(checkpoint)
    with pytest.raises(ValueError, match=r"run\.pt is not a checkpoint .* damaged") as raised:
        train(small_mlp, TRAIN, TEST, ONE, checkpoint=checkpoint)
    assert "\n" not in str(raised.value)
    assert "weights_only" not in str(raised.value)


def rewrite(path: Path, **changes: object) -> None:
    torch.save({**torch.load(path, weights_only=True), **changes}, path)


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch) -> None:
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("densenet_solutions.files.os.fsync", full)
    with pytest.raises(OSError, match=r"^could not write .*run\.pt: No space left on device$"):
        train(small_mlp, TRAIN, TEST, ONE, checkpoint=tmp_path / "run.pt")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_is_refused_before_training(tmp_path) -> None:
    def build() -> nn.Module:
        raise AssertionError("training began")

    for path in (tmp_path, Path("/proc/nowhere/run.pt"), str(tmp_path)):
        with pytest.raises(ValueError, match=r"folder|cannot be written"):
            train(build, TRAIN, TEST, ONE, checkpoint=path)


def test_a_path_may_be_text(tmp_path) -> None:
    train(small_mlp, TRAIN, TEST, ONE, checkpoint=str(tmp_path / "deep" / "run.pt"))
    assert (tmp_path / "deep" / "run.pt").is_file()


def test_the_step_of_a_strategy_trains_as_the_plain_one_does() -> None:
    def step(model, inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss.detach()

    plain, metrics = train(small_densenet, TRAIN, TEST, SETTINGS)
    ours, again = train(small_densenet, TRAIN, TEST, SETTINGS, step=step)
    assert_same_weights(plain, ours)
    assert again.test_accuracy == metrics.test_accuracy
    for one, other in zip(metrics.epochs, again.epochs, strict=True):
        assert other.train_accuracy is None
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-6)


def test_divergence_is_an_error() -> None:
    settings = TrainingSettings(epochs=2, batch_size=16, resolution=28, learning_rate=1e20)
    with pytest.raises(FloatingPointError, match="diverged in epoch"):
        train(small_mlp, TRAIN, TEST, settings)


def no_images() -> ImageSet:
    return ImageSet(torch.zeros(0, 1, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))


def linear(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))


def settings(**changes: object):
    return lambda: TrainingSettings(**changes)  # type: ignore[arg-type]


def trained(**changes: object):
    arguments: dict = {
        "model_fn": small_mlp, "train_set": TRAIN, "test_set": TEST, "settings": ONE,
    }  # fmt: skip
    return lambda: train(**(arguments | changes))


def evaluated(model: object = None, images: object = TEST, **options: object):
    model = small_mlp() if model is None else model
    return lambda: evaluate(model, images, **({"resolution": 28} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (settings(epochs=0), ValueError, "epochs is at least 1, got 0"),
        (settings(epochs=1.5), TypeError, "epochs is an integer, got 1.5"),
        (settings(epochs=float("inf")), TypeError, "epochs is an integer, got inf"),
        (settings(batch_size=0), ValueError, "batch_size is at least 1, got 0"),
        (settings(batch_size=True), TypeError, "batch_size is an integer, got True"),
        (settings(resolution=0), ValueError, "resolution is at least 1"),
        (settings(resolution=10**30), ValueError, "resolution is at most"),
        (settings(resolution="96"), TypeError, "resolution is an integer, got '96'"),
        (settings(learning_rate=0.0), ValueError, "learning_rate is more than 0, got 0"),
        (settings(learning_rate=float("nan")), ValueError, "learning_rate is finite, got nan"),
        (settings(learning_rate=float("inf")), ValueError, "learning_rate is finite, got inf"),
        (settings(learning_rate=None), TypeError, "learning_rate is a number, got None"),
        (settings(momentum=1.0), ValueError, r"momentum lies in \[0, 1\), got 1"),
        (settings(weight_decay=-1.0), ValueError, "weight_decay is at least 0, got -1"),
        (settings(optimizer="lion"), ValueError, "optimizer is one of 'sgd', 'adam'"),
        (settings(schedule=None), ValueError, "schedule is one of"),
        (settings(seed="x"), TypeError, "seed is an integer, got 'x'"),
        (settings(seed=None), TypeError, "seed is an integer, got None"),
        (settings(seed=-1), ValueError, "seed is at least 0, got -1"),
        (settings(), None, ""),
        (lambda: to_json(TrainingSettings(seed=np.int64(3), momentum=np.float32(0.5))), None, ""),
        (
            trained(model_fn=small_mlp()),
            TypeError,
            "got a network, Sequential$",
        ),
        (trained(model_fn=None), TypeError, "model_fn is a function that builds"),
        (trained(model_fn=lambda: None), TypeError, "what model_fn builds is a torch.nn.Module"),
        (trained(model_fn=lambda: linear(5)), ValueError, r"targets lie in 0 … 4, got 0 … 9"),
        (
            trained(model_fn=lambda: nn.Unflatten(1, (1, 1))),
            ValueError,
            r"output has shape \(N, classes\), got \(1, 1, 1, 28, 28\)",
        ),
        (trained(train_set=None), TypeError, "train_set is an ImageSet, got NoneType"),
        (trained(test_set=(1, 2)), TypeError, "test_set is an ImageSet, got tuple"),
        (trained(train_set=no_images()), ValueError, "train_set holds at least one image"),
        (trained(test_set=no_images()), ValueError, "test_set holds at least one image"),
        (trained(settings={}), TypeError, r"settings are TrainingSettings, got \{\}"),
        (trained(settings=None), TypeError, "settings are TrainingSettings, got None"),
        (
            trained(settings=dataclasses.replace(ONE, batch_size=71)),
            ValueError,
            "batch is at most the 70 training images .* got batch_size=71",
        ),
        (trained(device="gpu"), ValueError, "device is 'cpu' or 'cuda'"),
        (trained(device="meta"), ValueError, "device is 'cpu' or 'cuda'"),
        (trained(), None, ""),
        (evaluated(batch_size=-1), ValueError, "batch_size is at least 1, got -1"),
        (evaluated(batch_size=0), ValueError, "batch_size is at least 1, got 0"),
        (evaluated(batch_size=1.5), TypeError, "batch_size is an integer"),
        (evaluated(resolution=0), ValueError, "resolution is at least 1"),
        (evaluated(images=no_images()), ValueError, "images holds at least one image"),
        (evaluated(images=TEST.pixels), TypeError, "images is an ImageSet, got Tensor"),
        (evaluated(linear(9)), ValueError, "targets lie in 0 … 8"),
        (evaluated("model"), TypeError, "model is a torch.nn.Module"),
        (evaluated(nn.Flatten()), None, ""),
        (evaluated(), None, ""),
    ],
)
def test_arguments(call, error: type[Exception] | None, message: str) -> None:
    if error is None:
        assert call() is not None
        return
    with pytest.raises(error, match=message):
        call()


def test_results_survive_json() -> None:
    _, result = train(small_mlp, TRAIN, TEST, SETTINGS, test_every_epoch=False)
    assert result.epochs[0].test_accuracy is None
    assert from_json(TrainingResult, to_json(result)) == result


def test_evaluation_leaves_the_network_as_it_was() -> None:
    model = small_densenet().train()
    frozen = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    frozen.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, TEST, resolution=28, batch_size=7)
    assert model.training
    assert not frozen.training
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


DISTRIBUTED = """
import sys, torch
import torch.distributed as dist
from test_training import SETTINGS, TEST, TRAIN, small_densenet, small_mlp
from densenet_solutions.training import train
if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name, model_fn in (("mlp", small_mlp), ("densenet", small_densenet)):
        model, result = train(model_fn, TRAIN, TEST, SETTINGS)
        torch.save(model.state_dict(), f"{sys.argv[1]}/{name}-{dist.get_rank()}.pt")
        open(f"{sys.argv[1]}/{name}-{dist.get_rank()}.txt", "w").write(
            repr([(e.train_loss, e.test_accuracy) for e in result.epochs]) + str(result.processes)
        )
    dist.destroy_process_group()
"""


@pytest.mark.filterwarnings("default")
def test_two_processes_train_as_one(tmp_path) -> None:
    script = tmp_path / "distributed.py"
    script.write_text(DISTRIBUTED)
    environment = os.environ | {"PYTHONPATH": HERE, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        script, tmp_path,
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr

    for name in ("mlp", "densenet"):
        first, second = (
            torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1)
        )
        assert all(torch.equal(first[key], second[key]) for key in first), "the two disagree"
        texts = {(tmp_path / f"{name}-{rank}.txt").read_text() for rank in (0, 1)}
        assert len(texts) == 1
        assert texts.pop().endswith("2")
    alone, _ = train(small_mlp, TRAIN, TEST, SETTINGS)
    shared = torch.load(tmp_path / "mlp-0.pt", weights_only=True)
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(shared[key], value, rtol=1e-4, atol=1e-5)
