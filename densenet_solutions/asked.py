"""Which device a prediction is about, for code that works in another way on each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_asked: ContextVar[str | None] = ContextVar("asked", default=None)


@contextmanager
def asked_about(kind: str) -> Iterator[None]:
    """Within it, a step without data stands for one on a device of this kind."""
    token = _asked.set(kind)
    try:
        yield
    finally:
        _asked.reset(token)


def asked_device() -> str | None:
    """The kind of device that is asked about, or `None`."""
    return _asked.get()
