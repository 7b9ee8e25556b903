"""Kernels that start warm: one process imports the heavy libraries, and forks a kernel a page.

Importing PyTorch and its like takes longer than most pages; done once, it is done for all. The
server holds libraries only, never the package's own modules, so a page always imports today's code.
Jupyter starts a small client (this file, run as a script) in place of a kernel; the client hands
its files, folder and environment to the server and lives as long as the kernel that the server
forks. Linux only: elsewhere `WarmKernels.available()` says no, and kernels start cold.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

#: What pages import, and what PyTorch itself imports when the meta device is first used.
LIBRARIES = (
    "ipykernel.kernelapp",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "pandas",
    "sklearn.linear_model",
    "torch",
    "torchvision",
    "torch._refs",
    "torch._dynamo",
    "torch.utils.flop_counter",
    "torch._subclasses.fake_tensor",
)


class WarmKernels:
    """The warm process, from the first kernel that is asked for until `close()`."""

    def __init__(self, threads: int) -> None:
        """`threads`: what a kernel's libraries may use; they read it when they are imported."""
        self._threads = threads
        self._starting = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        """Whether this system can fork a process that holds PyTorch, and pass files to it."""
        return sys.platform == "linux" and hasattr(os, "pidfd_open")

    def manager(self) -> Any:
        """A Jupyter kernel manager whose kernel is forked from the warm process."""
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        with self._starting:
            if self._folder is None:
                self._start()
        assert self._folder is not None
        specs = KernelSpecManager(kernel_dirs=[self._folder.name], ensure_native_kernel=False)
        return AsyncKernelManager(kernel_name="warm", kernel_spec_manager=specs)

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="densenet-warm-")
        address = str(Path(self._folder.name) / "socket")
        spec = Path(self._folder.name) / "warm"
        spec.mkdir()
        client = [sys.executable, "-I", __file__, address, "{connection_file}"]
        described = {"argv": client, "display_name": "warm", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(described), encoding="utf-8")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(64)  # kernels may queue here while the libraries are imported
        with listener:
            self._server = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, "--serve", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": str(self._threads), "MPLBACKEND": "agg"},
            )

    def close(self) -> None:
        """End the warm process and every kernel that still runs."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            self._server = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def serve(listener: socket.socket) -> None:
    """Import the libraries, then fork a kernel for every client, until the builder ends."""
    builder = os.getppid()
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    kernels: dict[socket.socket, int] = {}  # client → process id
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with selectors.DefaultSelector() as events:
        events.register(listener, selectors.EVENT_READ)
        try:
            while os.getppid() == builder:
                for key, _ in events.select(timeout=2):
                    if key.fileobj is listener:
                        _welcome(listener, kernels, events)
                    elif isinstance(key.fileobj, socket.socket):  # the client is gone
                        _end(kernels.pop(key.fileobj))
                        events.unregister(key.fileobj)
                    else:  # the kernel is gone
                        _farewell(key, kernels, events)
        finally:
            for process in kernels.values():
                _end(process)


def _welcome(
    listener: socket.socket, kernels: dict[socket.socket, int], events: selectors.BaseSelector
) -> None:
    client, _ = listener.accept()
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile("rb") as lines:
        request = json.loads(lines.readline())
    process = os.fork()
    if process == 0:
        _become_kernel(request, files)
    for file in files:
        os.close(file)
    kernels[client] = process
    events.register(client, selectors.EVENT_READ)
    events.register(os.pidfd_open(process), selectors.EVENT_READ, data=(process, client))


def _farewell(
    key: selectors.SelectorKey, kernels: dict[socket.socket, int], events: selectors.BaseSelector
) -> None:
    process, client = key.data
    events.unregister(key.fileobj)
    os.close(key.fd)
    _, status = os.waitpid(process, 0)
    if kernels.pop(client, None) is not None:
        events.unregister(client)
        with contextlib.suppress(OSError):
            client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    client.close()


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _become_kernel(request: dict[str, Any], files: list[int]) -> None:
    """In the forked process: take over the client's place and run a kernel until it ends."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        for target, file in enumerate(files):
            os.dup2(file, target)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.path[0] = ""  # as for a kernel: the working directory
        from ipykernel.kernelapp import launch_new_instance

        # Without a parent to watch, a kernel would outlive the server.
        watch = f"--IPKernelApp.parent_handle={os.getppid()}"
        launch_new_instance(argv=["-f", request["connection"], watch])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # never back into the server's loop


def be_client(address: str, connection: str) -> int:
    """Stand for the kernel: ask for it, wait for its end, return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(address)
        request = {
            "connection": connection,
            "folder": str(Path.cwd()),
            "environment": dict(os.environ),
        }
        socket.send_fds(server, [b"!"], [0, 1, 2])
        server.sendall(json.dumps(request).encode() + b"\n")
        with server.makefile("rb") as lines:
            code = lines.readline()
    return abs(int(code)) if code else 1


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        sys.exit(be_client(sys.argv[1], sys.argv[2]))
