"""Fashion-MNIST: the right bytes or none."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import urllib.error
import zlib

import pytest
import torch
from torchvision.datasets import FashionMNIST

from densenet_solutions import images
from densenet_solutions.images import as_inputs, fashion_mnist_is_here, load_fashion_mnist

HERE = fashion_mnist_is_here()
REQUIRED = bool(os.environ.get("DENSENET_SOLUTIONS_REQUIRE_IMAGES"))
needs_images = [
    pytest.mark.images,
    pytest.mark.skipif(not HERE and not REQUIRED, reason="Fashion-MNIST is not on this machine"),
]
#: When the authors made their gzip files, seconds since 1970, as written in the gzip headers.
MADE = {"train": 1504176606, "t10k": 1504176627}


def idx(array: torch.Tensor) -> bytes:
    """An IDX file of bytes."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.numpy().tobytes()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set of 5 images a split in a Debian-like folder, with hashes to match."""
    contents = {}
    for prefix in ("train", "t10k"):
        pixels = torch.arange(5 * 28 * 28).reshape(5, 28, 28).remainder(251).to(torch.uint8)
        contents[f"{prefix}-images-idx3-ubyte"] = idx(pixels)
        contents[f"{prefix}-labels-idx1-ubyte"] = idx(torch.arange(5, dtype=torch.uint8))
    debian = tmp_path / "debian"
    debian.mkdir()
    for name, content in contents.items():
        (debian / f"{name}.gz").write_bytes(gzip.compress(content))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(images, "CONTENT_SHA256", hashes)
    monkeypatch.setattr(images, "DEBIAN_DIRECTORY", debian)
    monkeypatch.setenv(images.CACHE_VARIABLE, str(tmp_path / "cache"))
    return debian, tmp_path / "cache"


def test_a_packaged_copy_is_read_and_cached_for_torchvision(tiny) -> None:
    debian, cache = tiny
    loaded = load_fashion_mnist("train", limit=3, download=False)
    assert loaded.pixels.shape == (3, 1, 28, 28)
    assert loaded.labels.tolist() == [0, 1, 2]
    for name in images.CONTENT_SHA256:
        if name.startswith("t10k"):
            continue
        assert (cache / "FashionMNIST" / "raw" / name).exists()
    for packed in debian.iterdir():
        packed.unlink()
    again = load_fashion_mnist("train", download=False)
    assert len(again) == 5
    assert torch.equal(again.pixels[:3], loaded.pixels)
    assert not [file for file in cache.rglob("*") if file.name.startswith(".")]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_cache_is_refused(tiny, damage: str) -> None:
    _, cache = tiny
    load_fashion_mnist("train")
    path = cache / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    damaged = {"cut": whole[:-1], "flipped": whole[:-1] + b"\xff", "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="corrupt or partial"):
        load_fashion_mnist("train", limit=1)


@pytest.mark.parametrize("damage", ["cut", "text", "other"])
def test_a_damaged_package_is_refused(tiny, damage: str) -> None:
    debian, cache = tiny
    path = debian / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    damaged = {"cut": whole[:-9], "text": b"hello", "other": gzip.compress(b"other")}
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="corrupt or partial"):
        load_fashion_mnist("train")
    assert not cache.exists(), "nothing wrong may enter the cache"


class Server:
    """Stands in for `urlopen`: gives one answer after the other."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, url: str, timeout: float):
        self.asked.append(url)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return _Response(answer)


class _Response:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read(self) -> bytes:
        return self.content


def test_a_failed_download_is_retried(tiny, monkeypatch) -> None:
    debian, _ = tiny
    name = "t10k-labels-idx1-ubyte"
    packed = (debian / f"{name}.gz").read_bytes()
    server = Server(urllib.error.URLError("no route"), packed[:-5], packed)
    monkeypatch.setattr(images.urllib.request, "urlopen", server)
    waits = []
    assert images._downloaded(name, wait=waits.append) == gzip.decompress(packed)
    assert waits == [2.0, 4.0]
    assert server.asked == [f"{FashionMNIST.mirrors[0]}{name}.gz"] * 3


def test_a_download_that_stays_wrong_is_given_up(tiny, monkeypatch) -> None:
    server = Server(*[gzip.compress(b"wrong")] * 3)
    monkeypatch.setattr(images.urllib.request, "urlopen", server)
    with pytest.raises(OSError, match="3 attempts"):
        images._downloaded("t10k-labels-idx1-ubyte", wait=lambda seconds: None)


def test_without_network_and_files_it_says_where_it_looked(tiny) -> None:
    debian, _ = tiny
    (debian / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither in .*cache nor in .*debian"):
        load_fashion_mnist("train", download=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "valid"}, "split is one of"),
        ({"split": "train", "limit": 0}, "limit is at least"),
    ],
)
def test_impossible_arguments_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_fashion_mnist(**wrong)


def test_inputs_are_pixels_over_255() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    assert as_inputs(pixels.expand(1, 1, 3, 3), 3)[0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("side", [32, 96])
def test_resizing_agrees_with_torchvision(side: int) -> None:
    from torchvision.transforms.v2.functional import resize

    pixels = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(
        as_inputs(pixels, side), resize(pixels.float() / 255, [side, side], antialias=True)
    )


def test_inputs_refuse_floats_and_no_pixels() -> None:
    with pytest.raises(TypeError, match="uint8"):
        as_inputs(torch.zeros(1, 1, 28, 28))
    with pytest.raises(ValueError, match="side"):
        as_inputs(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), 0)


class TestRealImages:
    pytestmark = needs_images

    @pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
    def test_shapes_and_balance_are_the_published_ones(self, split, count) -> None:
        loaded = load_fashion_mnist(split)
        assert loaded.pixels.shape == (count, 1, 28, 28)
        assert loaded.labels.bincount().tolist() == [count // 10] * 10

    def test_torchvision_reads_the_cache(self) -> None:
        mine = load_fashion_mnist("test")
        load_fashion_mnist("train", limit=1)
        theirs = FashionMNIST(images.cache_directory(), train=False)
        assert torch.equal(theirs.data, mine.pixels[:, 0])
        assert torch.equal(theirs.targets, mine.labels)

    @pytest.mark.skipif(
        not images.DEBIAN_DIRECTORY.exists(), reason="needs Debian's package dataset-fashion-mnist"
    )
    @pytest.mark.parametrize("name", [name for name, _ in FashionMNIST.resources])
    def test_the_original_gzip_file_has_the_hash_torchvision_pins(self, name: str) -> None:
        """Debian stripped name and time from the gzip headers and kept the compressed bytes."""
        packed = (images.DEBIAN_DIRECTORY / name).read_bytes()
        content = name.removesuffix(".gz")
        flags, system = b"\x08\x08", packed[8:10]  # deflate, with a file name
        time = struct.pack("<I", MADE[content.partition("-")[0]])
        original = b"\x1f\x8b" + flags + time + system + content.encode() + b"\0" + packed[10:]
        assert hashlib.md5(original).hexdigest() == dict(FashionMNIST.resources)[name]
        inflated = zlib.decompressobj(-15).decompress(packed[10:])
        assert hashlib.sha256(inflated).hexdigest() == images.CONTENT_SHA256[content]
