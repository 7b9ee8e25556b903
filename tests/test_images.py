"""Fashion-MNIST: the right bytes or none."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from pathlib import Path

import pytest
import torch
from torchvision.datasets import FashionMNIST

from densenet_solutions import files, images
from densenet_solutions.files import CACHE_VARIABLE
from densenet_solutions.images import (
    ImageSet,
    as_inputs,
    load_fashion_mnist,
)

REQUIRED = bool(os.environ.get("DENSENET_SOLUTIONS_REQUIRE_IMAGES"))
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
        (debian / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    packed = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in debian.iterdir()]
    monkeypatch.setattr(images, "CONTENT_SHA256", hashes)
    monkeypatch.setattr(images, "DEBIAN_DIRECTORY", debian)
    monkeypatch.setattr(FashionMNIST, "resources", packed)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return debian, tmp_path / "cache"


def test_a_packaged_copy_is_read_and_needs_no_cache(tiny) -> None:
    _, cache = tiny
    cache.write_text("a file, where a folder would be made")
    loaded = load_fashion_mnist("train", limit=3, download=False)
    assert loaded.pixels.shape == (3, 1, 28, 28)
    assert loaded.labels.tolist() == [0, 1, 2]
    assert cache.is_file()


def serve(debian: Path, monkeypatch) -> list[str]:
    """Move the files to a server's folder, from where they are read; the addresses asked for."""
    folder, asked = debian.with_name("server"), []
    debian.rename(folder)

    def download(url: str, name: str, known_hash: str) -> bytes:
        asked.append(url)
        return (folder / name).read_bytes()

    monkeypatch.setattr(files, "_download", download)
    return asked


def test_what_is_downloaded_is_kept_where_torchvision_looks(tiny, monkeypatch) -> None:
    debian, cache = tiny
    asked = serve(debian, monkeypatch)
    loaded = load_fashion_mnist("train")
    again = load_fashion_mnist("train", download=False)
    assert torch.equal(again.pixels, loaded.pixels)
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    assert asked == [f"{FashionMNIST.mirrors[0]}{name}" for name in names]
    load_fashion_mnist("test", directory=str(cache))
    theirs = FashionMNIST(cache, download=True)  # which finds the files, and asks nobody
    assert torch.equal(theirs.data, loaded.pixels[:, 0])
    assert torch.equal(theirs.targets, loaded.labels)


@pytest.mark.parametrize("damage", ["cut", "text", "other", "empty"])
def test_a_damaged_package_is_refused(tiny, damage: str) -> None:
    debian, cache = tiny
    path = debian / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    damaged = {"cut": whole[:-9], "text": b"hello", "other": gzip.compress(b"other"), "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=r"train-images.*gz is corrupt or partial") as raised:
        load_fashion_mnist("train")
    assert "\n" not in str(raised.value)
    assert not cache.exists()


def test_a_damaged_cache_is_fetched_again_or_refused(tiny, monkeypatch) -> None:
    debian, cache = tiny
    asked = serve(debian, monkeypatch)
    load_fashion_mnist("train")
    path = cache / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match="or damaged there"):
        load_fashion_mnist("train", download=False)
    assert len(load_fashion_mnist("train")) == 5
    assert len(asked) == 3


def test_without_network_and_files_it_says_where_it_looked(tiny) -> None:
    debian, _ = tiny
    (debian / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither in .*cache nor in .*debian"):
        load_fashion_mnist("train", download=False)


PIXELS, LABELS = torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: load_fashion_mnist("valid"), ValueError, "split is one of 'train', 'test'"),
        (lambda: load_fashion_mnist(None), ValueError, "split is one of"),
        (lambda: load_fashion_mnist("train", limit=0), ValueError, "limit is at least 1, got 0"),
        (lambda: load_fashion_mnist("train", limit=1.5), TypeError, "limit is an integer, got 1.5"),
        (lambda: load_fashion_mnist("train", limit=2, directory="x"), None, ""),
        (lambda: ImageSet(5, "x"), TypeError, "pixels are .* torch.uint8, got int"),
        (lambda: ImageSet(PIXELS.float(), LABELS), TypeError, "uint8, got torch.float32"),
        (lambda: ImageSet(PIXELS[0], LABELS), ValueError, r"\(N, 1, H, W\), got \(1, 28, 28\)"),
        (lambda: ImageSet(PIXELS, LABELS.int()), TypeError, "torch.int64 .* got torch.int32"),
        (lambda: ImageSet(PIXELS, [0, 1]), TypeError, "torch.int64 .* got list"),
        (lambda: ImageSet(PIXELS, LABELS[:1]), ValueError, r"each of the 2 images, got .*\(1,\)"),
        (lambda: ImageSet(PIXELS[:1], LABELS), ValueError, r"each of the 1 images, got .*\(2,\)"),
        (lambda: ImageSet(PIXELS, LABELS)[:1], None, ""),
        (lambda: as_inputs(PIXELS.float()), TypeError, "uint8, got torch.float32"),
        (lambda: as_inputs(None), TypeError, "uint8, got NoneType"),
        (lambda: as_inputs(PIXELS[0], 32), ValueError, r"\(N, 1, H, W\), got \(1, 28, 28\)"),
        (lambda: as_inputs(PIXELS[0, 0], 28), ValueError, r"\(N, 1, H, W\), got \(28, 28\)"),
        (lambda: as_inputs(PIXELS, 0), ValueError, "resolution is at least 1, got 0"),
        (lambda: as_inputs(PIXELS, 10**9), ValueError, "resolution is at most 16384, got 1000000"),
        (lambda: as_inputs(PIXELS, 1.5), TypeError, "resolution is an integer, got 1.5"),
        (lambda: as_inputs(PIXELS, None), TypeError, "resolution is an integer, got None"),
        (lambda: as_inputs(PIXELS, 1), None, ""),
    ],
)
def test_arguments(tiny, call, error: type[Exception] | None, message: str) -> None:
    if error is None:
        assert len(call())
        return
    with pytest.raises(error, match=message):
        call()


def test_inputs_are_pixels_over_255() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    assert as_inputs(pixels.expand(1, 1, 3, 3), 3)[0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("resolution", [32, 96])
def test_resizing_agrees_with_torchvision(resolution: int) -> None:
    from torchvision.transforms.v2.functional import resize

    pixels = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(
        as_inputs(pixels, resolution),
        resize(pixels.float() / 255, [resolution, resolution], antialias=True),
    )


class TestRealImages:
    pytestmark = pytest.mark.images

    @pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
    def test_shapes_and_balance_are_the_published_ones(self, split, count) -> None:
        loaded = load_fashion_mnist(split)
        assert loaded.pixels.shape == (count, 1, 28, 28)
        assert loaded.labels.bincount().tolist() == [count // 10] * 10

    @pytest.mark.skipif(
        not REQUIRED and not images.DEBIAN_DIRECTORY.exists(),
        reason="needs Debian's package dataset-fashion-mnist",
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
