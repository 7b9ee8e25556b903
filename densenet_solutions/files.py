"""Files that are whole, the old one or the new one and never half; and the cache of downloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import warnings
from pathlib import Path

#: Environment variable that moves the cache.
CACHE_VARIABLE = "DENSENET_SOLUTIONS_CACHE"

_ATTEMPTS = 3
_TIMEOUT = 30  # seconds without an answer


def read_bytes(path: Path) -> bytes:
    """What is in a file.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read; the message names the file and the reason.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(f"could not read {path}: {error.strerror or error}") from error


def write_text_atomically(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8; see `write_bytes_atomically`."""
    return write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path` so that an interruption leaves the old file or the new, never half.

    A new file gets the permissions that the umask allows, an old one keeps its own. A symbolic link
    stays one: the file that it points to is written. A device or a pipe is never replaced.

    Raises:
        OSError: it cannot be written; the message names the file and the reason.
    """
    path = Path(path)
    place = path.resolve()
    # Not `mkstemp`, which makes private files: here the umask decides, as for any other file.
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        if place.exists() and not (place.is_file() or place.is_dir()):
            raise FileExistsError("it is a device or a pipe")
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            if place.exists():
                temporary.chmod(place.stat().st_mode & 0o777)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except OSError as error:
        _remove(temporary)
        failure = type(error)(f"could not write {path}: {error.strerror or error}")
        failure.errno = error.errno
        raise failure from error
    except BaseException:
        _remove(temporary)
        raise
    return path


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # where its folder is a file, there is nothing to remove
        path.unlink(missing_ok=True)


def cache_directory() -> Path:
    """Where downloads are kept: `$DENSENET_SOLUTIONS_CACHE`, or the user's cache directory."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("densenet-solutions"))


def fetch(path: Path, *, url: str, known_hash: str, download: bool = True) -> bytes:
    """Content of `path`, a file of the cache, which is downloaded from `url` when it is not there.

    A file enters the cache whole and with the right hash, or not at all. Where the cache cannot be
    written to, there is a warning, and the content all the same.

    Args:
        known_hash: the content's, as `"sha256:…"`, `"sha1:…"` or `"md5:…"`.
        download: whether the network may be used.

    Raises:
        FileNotFoundError: the file is not in the cache, or damaged, and `download` is false.
        ConnectionError: three attempts failed; the message says how the last one did.
    """
    algorithm, _, digest = known_hash.partition(":")
    if path.is_file():
        content = path.read_bytes()
        if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == digest:
            return content
    if not download:
        raise FileNotFoundError(f"{path} is not there (or damaged), and may not be downloaded")
    try:
        content = _download(url, path.name, known_hash)
    except ConnectionError as error:
        raise ConnectionError(f"{error}. A copy from elsewhere may be put at {path}") from error
    try:
        write_bytes_atomically(path, content)
    except OSError as error:
        warnings.warn(
            f"the download is not kept for the next time: {error}. "
            f"The environment variable {CACHE_VARIABLE} moves the cache",
            stacklevel=2,
        )
    return content


def _download(url: str, name: str, known_hash: str) -> bytes:
    import pooch

    with tempfile.TemporaryDirectory() as folder:
        downloader = pooch.create(
            path=folder,
            base_url="",
            registry={name: known_hash},
            urls={name: url},
            retry_if_failed=_ATTEMPTS - 1,
        )
        try:
            path = downloader.fetch(name, downloader=pooch.HTTPDownloader(timeout=_TIMEOUT))
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"could not download {url} in {_ATTEMPTS} attempts: {error}"
            ) from error
        return Path(path).read_bytes()
