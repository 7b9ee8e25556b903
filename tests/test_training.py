"""The training loop: reproducible, resumable, refusing, and the same on several processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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

    def __init__(self, at: int) -> None:
        super().__init__()
        self.network, self.at, self.seen = small_densenet(), at, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += self.training
        if self.seen == self.at:
            raise KeyboardInterrupt
        return self.network(x)


SETTINGS = TrainingSettings(
    epochs=3, batch_size=16, side=28, learning_rate=0.05, momentum=0.9, schedule="cosine", seed=3
)
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
        epochs=8, batch_size=20, side=28, optimizer="adam", learning_rate=0.003
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
    settings = TrainingSettings(epochs=1, batch_size=70, side=28, learning_rate=0.1)
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


def test_interrupted_in_the_middle_and_resumed_gives_the_same_bits(tmp_path) -> None:
    checkpoint = tmp_path / "run.pt"
    straight, metrics = train(lambda: Interrupting(at=-1), TRAIN, TEST, SETTINGS)
    with pytest.raises(KeyboardInterrupt):  # in the second epoch of four steps each
        train(lambda: Interrupting(at=7), TRAIN, TEST, SETTINGS, checkpoint=checkpoint)
    resumed, again = train(
        lambda: Interrupting(at=-1), TRAIN, TEST, SETTINGS, checkpoint=checkpoint
    )
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
        "PYTHONPATH": str(Path(__file__).parent),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    process = subprocess.Popen([sys.executable, "-c", KILLED, checkpoint], env=environment)
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_densenet()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network(x)

    finished = torch.load(checkpoint, weights_only=True)["history"].count('"epoch"')
    assert 1 <= finished < SETTINGS.epochs
    resumed, _ = train(Wrapped, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)
    straight, _ = train(Wrapped, TRAIN, TEST, SETTINGS)
    assert_same_weights(straight, resumed)


def test_a_checkpoint_of_another_training_is_refused(tmp_path) -> None:
    checkpoint = tmp_path / "run.pt"
    train(small_mlp, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="another training"):
        train(small_mlp, TRAIN, TEST, dataclasses.replace(SETTINGS, seed=9), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="another training"):
        train(small_densenet, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage: str) -> None:
    checkpoint = tmp_path / "run.pt"
    train(small_mlp, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(
        {"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage]
    )
    with pytest.raises(ValueError, match="damaged"):
        train(small_mlp, TRAIN, TEST, SETTINGS, checkpoint=checkpoint)


def test_divergence_is_an_error() -> None:
    settings = TrainingSettings(epochs=2, batch_size=16, side=28, learning_rate=1e20)
    with pytest.raises(FloatingPointError, match="diverged in epoch"):
        train(small_mlp, TRAIN, TEST, settings)


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=71"):
        train(small_mlp, TRAIN, TEST, dataclasses.replace(SETTINGS, batch_size=71))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"optimizer": "lion"},
        {"schedule": "step"},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainingSettings(**wrong)


def test_results_survive_json() -> None:
    _, result = train(small_mlp, TRAIN, TEST, SETTINGS, test_every_epoch=False)
    assert result.epochs[0].test_accuracy is None
    assert from_json(TrainingResult, to_json(result)) == result


def test_evaluation_leaves_the_network_as_it_was() -> None:
    model = small_densenet().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, TEST, side=28, batch_size=7)
    assert model.training
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
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
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
