"""Fashion-MNIST: found or fetched, checked against its hashes, and given out as tensors.

Xiao, Rasul, Vollgraf, *Fashion-MNIST* (arXiv:1708.07747): 60,000 training and 10,000 test images
of 28x28 grey pixels in ten balanced classes. The cache has torchvision's layout, so
`torchvision.datasets.FashionMNIST(root=cache_directory())` reads it too.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import platformdirs
import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

Split = Literal["train", "test"]

#: Names of the ten classes, in the order of the labels.
CLASSES = tuple(FashionMNIST.classes)

#: Environment variable that moves the cache.
CACHE_VARIABLE = "DENSENET_SOLUTIONS_CACHE"

#: Where Debian's package `dataset-fashion-mnist` puts the files.
DEBIAN_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")

#: SHA-256 of each file's content. The gzip files differ between sources (Debian compresses them
#: anew); a test rebuilds the original gzip headers and arrives at the MD5 that torchvision pins.
CONTENT_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes: `pixels` is uint8 `(N, 1, 28, 28)`, `labels` int64 `(N,)`."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load_fashion_mnist(
    split: Split,
    *,
    limit: int | None = None,
    directory: Path | None = None,
    download: bool = True,
) -> ImageSet:
    """The first `limit` images of a split (all of them by default), in the published order.

    The files are looked for in the cache, then in `DEBIAN_DIRECTORY`, then at the address that
    torchvision knows. Whatever the source, the content must have the published hash.

    Args:
        split: `"train"` or `"test"`.
        limit: how many images, at least 1.
        directory: the cache; `cache_directory()` by default.
        download: whether the network may be used.

    Raises:
        FileNotFoundError: the data set is nowhere and `download` is false.
        OSError: the download failed three times.
        ValueError: a file is corrupt or partial, or an argument is impossible.
    """
    if split not in get_args(Split):
        raise ValueError(f"split is one of {get_args(Split)}, got {split!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is at least 1, got {limit!r}")
    prefix = "train" if split == "train" else "t10k"
    arrays = []
    for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        arrays.append(_parse_idx(_content(name, directory or cache_directory(), download), limit))
    pixels, labels = arrays
    return ImageSet(pixels=pixels[:, None], labels=labels.long())


def cache_directory() -> Path:
    """Where the files are kept: `$DENSENET_SOLUTIONS_CACHE`, or the user's cache directory."""
    moved = os.environ.get(CACHE_VARIABLE)
    return Path(moved) if moved else Path(platformdirs.user_cache_dir("densenet-solutions"))


def fashion_mnist_is_here() -> bool:
    """Whether all four files can be had without the network (their content is not checked)."""
    return all(
        _cached(name, cache_directory()).exists() or (DEBIAN_DIRECTORY / f"{name}.gz").exists()
        for name in CONTENT_SHA256
    )


def as_inputs(pixels: Tensor, side: int = 28) -> Tensor:
    """Network inputs: uint8 `(N, 1, H, W)` → float32 `(N, 1, side, side)` in [0, 1].

    As in the book, pixels are only divided by 255; other sizes are interpolated bilinearly, on
    the device the pixels are on.

    >>> as_inputs(torch.full((2, 1, 28, 28), 255, dtype=torch.uint8), 32).shape
    torch.Size([2, 1, 32, 32])

    Raises:
        TypeError: the pixels are not bytes.
        ValueError: `side` is less than 1.
    """
    if pixels.dtype != torch.uint8:
        raise TypeError(f"pixels are bytes, torch.uint8, got {pixels.dtype}")
    if side < 1:
        raise ValueError(f"side is at least 1 pixel, got {side!r}")
    images = pixels.float() / 255
    if images.shape[-2:] == (side, side):
        return images
    return torch.nn.functional.interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )


def _cached(name: str, cache: Path) -> Path:
    return cache / "FashionMNIST" / "raw" / name


def _content(name: str, cache: Path, download: bool) -> bytes:
    """Content of the file `name`, checked; kept in the cache for the next time."""
    path = _cached(name, cache)
    if path.exists():
        return _checked(path.read_bytes(), name, str(path))
    packaged = DEBIAN_DIRECTORY / f"{name}.gz"
    if packaged.exists():
        content = _unpacked(packaged.read_bytes(), name, str(packaged))
    elif download:
        content = _downloaded(name)
    else:
        raise FileNotFoundError(
            f"Fashion-MNIST is neither in {cache} nor in {DEBIAN_DIRECTORY}, "
            "and downloading is switched off"
        )
    _write_bytes_atomically(path, content)
    return content


def _checked(content: bytes, name: str, source: str) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    if digest != CONTENT_SHA256[name]:
        raise ValueError(
            f"{source} is corrupt or partial: its content should have SHA-256 "
            f"{CONTENT_SHA256[name]}, got {digest} over {len(content)} bytes; "
            "delete the file to have it fetched again"
        )
    return content


def _unpacked(packed: bytes, name: str, source: str) -> bytes:
    try:
        content = gzip.decompress(packed)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{source} is corrupt or partial: {error}") from error
    return _checked(content, name, source)


def _downloaded(
    name: str,
    *,
    attempts: int = 3,
    wait: Callable[[float], None] = time.sleep,
) -> bytes:
    """Fetch the file from the address torchvision knows; what fails or is corrupt is retried."""
    url = f"{FashionMNIST.mirrors[0]}{name}.gz"
    for attempt in range(1, attempts + 1):
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return _unpacked(response.read(), name, url)
        except (OSError, ValueError) as error:
            if attempt == attempts:
                raise OSError(f"{url} could not be fetched in {attempts} attempts") from error
            wait(2.0**attempt)
    raise ValueError(f"attempts is at least 1, got {attempts!r}")


def _write_bytes_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _parse_idx(content: bytes, limit: int | None) -> Tensor:
    """The first `limit` entries of an IDX file: a magic number, the sizes, then bytes.

    >>> _parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), limit=2)
    tensor([7, 8], dtype=torch.uint8)
    """
    zero, kind, dimensions = struct.unpack_from(">HBB", content)
    if (zero, kind) != (0, 8):
        raise ValueError(f"an IDX file of bytes begins with 00 00 08, got {content[:3].hex(' ')}")
    sizes = struct.unpack_from(f">{dimensions}I", content, 4)
    array = torch.frombuffer(bytearray(content[4 + 4 * dimensions :]), dtype=torch.uint8)
    array = array.reshape(sizes)
    return array if limit is None else array[:limit].clone()
