"""Fashion-MNIST: found or fetched, checked against its hashes, and given out as tensors.

Xiao, Rasul, Vollgraf, *Fashion-MNIST* (arXiv:1708.07747): 60,000 training and 10,000 test images
of 28x28 grey pixels in ten balanced classes. What is downloaded lies where
`torchvision.datasets.FashionMNIST(root=cache_directory(), download=True)` looks for it too.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from densenet_solutions import checks
from densenet_solutions.files import cache_directory, fetch

Split = Literal["train", "test"]

#: Names of the ten classes, in the order of the labels.
CLASSES = tuple(FashionMNIST.classes)

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
    """Images and their classes: `pixels` is uint8 `(N, 1, H, W)`, `labels` int64 `(N,)`.

    An index or a slice gives the set of those images.

    Raises:
        ValueError, TypeError: shapes or types are others, or the numbers of images differ.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        _check_pixels(self.pixels)
        if not isinstance(self.labels, Tensor) or self.labels.dtype != torch.int64:
            found = getattr(self.labels, "dtype", type(self.labels).__name__)
            raise TypeError(f"labels are a torch.int64 tensor of class numbers, got {found}")
        if tuple(self.labels.shape) != (len(self.pixels),):
            raise ValueError(
                f"there is one label for each of the {len(self.pixels)} images, "
                f"got labels.shape={tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> ImageSet:
        return ImageSet(self.pixels[index], self.labels[index])

    def to(self, device: torch.device | str) -> ImageSet:
        """The same images and labels on another device."""
        return ImageSet(self.pixels.to(device), self.labels.to(device))

    def content(self) -> Iterator[bytes]:
        """Shape, pixels and labels as bytes, to be hashed."""
        yield repr(tuple(self.pixels.shape)).encode()
        for tensor in (self.pixels, self.labels):
            yield tensor.cpu().numpy().tobytes()


def load_fashion_mnist(
    split: Split,
    *,
    limit: int | None = None,
    directory: str | Path | None = None,
    download: bool = True,
) -> ImageSet:
    """The first `limit` images of a split (all of them by default), in the published order.

    The files are looked for in `DEBIAN_DIRECTORY`, then in the cache, then at the address that
    torchvision knows. Whatever the source, the content must have the published hash.

    Args:
        split: `"train"` or `"test"`.
        limit: how many images, at least 1.
        directory: the cache; `cache_directory()` by default.
        download: whether the network may be used.

    Raises:
        FileNotFoundError: the data set is nowhere and `download` is false.
        ConnectionError: the download failed three times.
        ValueError, TypeError: a file is corrupt or partial, or an argument is impossible.
    """
    checks.choice("split", split, get_args(Split))
    if limit is not None:
        checks.integer("limit", limit)
    prefix = "train" if split == "train" else "t10k"
    cache = cache_directory() if directory is None else Path(directory)
    pixels, labels = (
        _parse_idx(_content(name, cache, download), limit)
        for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    )
    return ImageSet(pixels=pixels[:, None], labels=labels.long())


def fashion_mnist_is_here() -> bool:
    """Whether all four files can be had without the network (their content is not checked)."""
    return all(
        (DEBIAN_DIRECTORY / f"{name}.gz").exists() or _cached(name, cache_directory()).exists()
        for name in CONTENT_SHA256
    )


def as_inputs(pixels: Tensor, resolution: int = 28) -> Tensor:
    """Network inputs: uint8 `(N, 1, H, W)` → float32 `(N, 1, resolution, resolution)` in [0, 1].

    As in the book, pixels are only divided by 255; other sizes are interpolated bilinearly, on
    the device the pixels are on.

    Examples:
        >>> as_inputs(torch.full((2, 1, 28, 28), 255, dtype=torch.uint8), 32).shape
        torch.Size([2, 1, 32, 32])

    Raises:
        ValueError, TypeError: the pixels have another shape or type, or the resolution is no
            positive integer.
    """
    _check_pixels(pixels)
    checks.integer("resolution", resolution, at_most=2**14)
    images = pixels.float() / 255
    if images.shape[-2:] == (resolution, resolution):
        return images
    return torch.nn.functional.interpolate(
        images, size=(resolution, resolution), mode="bilinear", align_corners=False, antialias=True
    )


def _check_pixels(pixels: object) -> None:
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8:
        found = getattr(pixels, "dtype", type(pixels).__name__)
        raise TypeError(f"pixels are a tensor of bytes, torch.uint8, got {found}")
    if pixels.ndim != 4 or pixels.shape[1] != 1:
        raise ValueError(f"pixels have shape (N, 1, H, W), got {tuple(pixels.shape)}")


def _cached(name: str, cache: Path) -> Path:
    return cache / "FashionMNIST" / "raw" / f"{name}.gz"


def _content(name: str, cache: Path, download: bool) -> bytes:
    """Content of the file `name`, checked."""
    packed = f"{name}.gz"
    path = DEBIAN_DIRECTORY / packed
    if path.exists():
        return _unpacked(path.read_bytes(), name, path)
    path = _cached(name, cache)
    url, md5 = f"{FashionMNIST.mirrors[0]}{packed}", dict(FashionMNIST.resources)[packed]
    try:
        content = fetch(path, url=url, known_hash=f"md5:{md5}", download=download)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Fashion-MNIST is neither in {cache} nor in {DEBIAN_DIRECTORY} (or damaged there), "
            "and downloading is switched off"
        ) from None
    return _unpacked(content, name, path)


def _unpacked(packed: bytes, name: str, source: Path) -> bytes:
    try:
        content = gzip.decompress(packed)
        digest = hashlib.sha256(content).hexdigest()
        if digest != CONTENT_SHA256[name]:
            raise ValueError(f"its content has SHA-256 {digest}, not {CONTENT_SHA256[name]}")
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{source} is corrupt or partial: {error}") from error
    return content


def _parse_idx(content: bytes, limit: int | None) -> Tensor:
    """The first `limit` entries of an IDX file: a magic number, the sizes, then bytes.

    Examples:
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
