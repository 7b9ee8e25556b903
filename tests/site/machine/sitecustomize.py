"""Another machine, for every Python that has this folder on its path.

DENSENET_SOLUTIONS_OFFLINE: it reaches nothing but itself. DENSENET_SOLUTIONS_CORES: so many cores.
DENSENET_SOLUTIONS_BARE: fork servers start without libraries, which small pages do not need.
"""

import os
import socket

_HERE = ("127.0.0.1", "::1", "localhost")


def _only_here(call):
    def checked(self, address):
        far = self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _HERE
        if far:
            raise OSError(f"no network: {address}")
        return call(self, address)

    return checked


if os.environ.get("DENSENET_SOLUTIONS_OFFLINE"):

    class Socket(socket.socket):
        connect = _only_here(socket.socket.connect)
        connect_ex = _only_here(socket.socket.connect_ex)

    socket.socket = Socket

if cores := int(os.environ.get("DENSENET_SOLUTIONS_CORES", 0)):
    os.cpu_count = os.process_cpu_count = lambda: cores
    os.sched_getaffinity = lambda process: set(range(cores))

if os.environ.get("DENSENET_SOLUTIONS_BARE"):
    from multiprocessing.context import BaseContext

    BaseContext.set_forkserver_preload = lambda *_: None
