"""The C library's heap, told to keep what is freed: then no timed step waits for new pages."""

from __future__ import annotations

import ctypes
import platform

#: `mallopt`'s parameters, of glibc's `malloc.h`.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """For the rest of this process glibc gives no memory back, and takes all of it from its heap.

    Otherwise it hands the top of its heap back to the operating system where more than a threshold
    of it is free, and memory above 32 MiB at once. The next step then gets it back page by page,
    empty, or does not, as it happens to lie.

    Raises:
        OSError: the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        raise OSError(
            f"only glibc (Linux) can be told to keep memory, this is {platform.platform()}"
        )
    library = ctypes.CDLL(None)
    if not (library.mallopt(_MMAP_MAX, 0) and library.mallopt(_TRIM_THRESHOLD, -1)):
        raise OSError("this glibc does not take M_MMAP_MAX=0 and M_TRIM_THRESHOLD=-1")
