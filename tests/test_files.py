"""Files are written whole or not at all; downloads are checked, retried and kept."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import BinaryIO

import pytest

from densenet_solutions import checks, files
from densenet_solutions.files import fetch, write_bytes_atomically, write_text_atomically


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = write_text_atomically(tmp_path / "deep" / "file.json", "old")

    def fail(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("densenet_solutions.files.os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        write_text_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read_a_new_file(tmp_path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        path = write_bytes_atomically(tmp_path / "new", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_an_old_file_keeps_its_permissions_and_a_link_stays_a_link(tmp_path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    assert write_text_atomically(link, "é") == link
    assert link.is_symlink()
    assert real.read_bytes() == "é".encode()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_pipe_is_never_replaced(tmp_path) -> None:
    """Nor a device: as root, a submission to /dev/null was one file less for everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="pipe is a device or a pipe, and the name of a file"):
        checks.output_file(pipe)
    with pytest.raises(OSError, match=r"could not write .*pipe: it is a device or a pipe"):
        write_text_atomically(pipe, "text")
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_full_disk_is_named(tmp_path, monkeypatch) -> None:
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("densenet_solutions.files.os.fsync", full)
    path = tmp_path / "c.pt"
    with pytest.raises(OSError, match=rf"^could not write {path}: No space left") as raised:
        write_bytes_atomically(path, b"x")
    assert raised.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_noticed_before_work_begins(tmp_path, monkeypatch) -> None:
    checks.output_file(tmp_path / "result.json")

    def full(dir: Path) -> BinaryIO:
        return Path("/dev/full").open("wb")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(ValueError, match="cannot be written to: No space left on device"):
        checks.output_file(tmp_path / "result.json")


def test_a_folder_that_is_a_file_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^could not write .*: (Not a directory|File exists)"):
        write_text_atomically(tmp_path / "file" / "x", "")


# --- downloads -----------------------------------------------------------------------------

CONTENT = b"the right bytes"
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def server(monkeypatch) -> Iterator[tuple[str, list]]:
    """The address of a server that gives one answer after the other (a status, or content)."""
    answers: list[int | bytes] = []
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.pop(0)
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else b"")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{there.server_port}/file", answers
        there.shutdown()


def test_a_download_is_retried_checked_and_kept(tmp_path, server) -> None:
    url, answers = server
    answers += [503, b"something else", CONTENT]
    path = tmp_path / "deep" / "file"
    assert fetch(path, url=url, known_hash=HASH) == CONTENT
    assert not answers
    assert fetch(path, url=url, known_hash=HASH, download=False) == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) & 0o044, "others may read it"


def test_a_damaged_file_is_fetched_again(tmp_path, server) -> None:
    url, answers = server
    answers.append(CONTENT)
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:-1])
    assert fetch(path, url=url, known_hash=HASH) == path.read_bytes() == CONTENT


def test_a_download_that_stays_wrong_is_given_up(tmp_path, server) -> None:
    url, answers = server
    answers += [b"wrong", 404, b"wrong"]
    with pytest.raises(ConnectionError, match=rf"could not download {url} in 3 attempts: .*hash"):
        fetch(tmp_path / "file", url=url, known_hash=HASH)
    assert not list(tmp_path.iterdir())


def test_without_the_network_it_says_where_it_looked(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"file is not there"):
        fetch(tmp_path / "file", url="http://127.0.0.1:9/", known_hash=HASH, download=False)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, server, kind: str) -> None:
    """The cache is a file; or a folder lies where the file belongs."""
    url, answers = server
    answers.append(CONTENT)
    path = tmp_path / "cache" / "file"
    if kind == "file":
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"not kept .* could not write .*DENSENET_SOLUTIONS_CACHE"):
        assert fetch(path, url=url, known_hash=HASH) == CONTENT


def test_a_variable_moves_the_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path))
    assert files.cache_directory() == tmp_path
    monkeypatch.setenv(files.CACHE_VARIABLE, "")
    assert files.cache_directory() != Path()


def test_an_output_folder_is_tried_and_not_made(tmp_path) -> None:
    deep = tmp_path / "a" / "b"
    assert checks.output_folder(deep) == deep
    assert checks.output_file(deep / "c.json") == deep / "c.json"
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("mine")
    for wrong in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ValueError, match="file is a file, and a folder is needed"):
            checks.output_folder(wrong)
    with pytest.raises(ValueError, match="cannot be written to: File name too long"):
        checks.output_folder(tmp_path / ("n" * 300))
