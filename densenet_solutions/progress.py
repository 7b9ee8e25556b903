"""How far work is, on the error stream: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from rich.console import Console

#: Seconds after which a pipe or a file hears of the work at first, then again if there is
#: something new, and then even if there is nothing.
FIRST, AGAIN, ALIVE = 2.0, 10.0, 60.0


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yields `told(what, done, total)`; a `total` of 0 is one that is not known.

    What takes less than `FIRST` seconds prints nothing in a pipe.
    """
    err = Console(stderr=True)
    if err.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        with Progress(*columns, console=err, transient=True) as bars:
            task = bars.add_task(title, total=None)
            yield lambda what, done, total: bars.update(
                task,
                description=f"{title}: {what}" if what else title,
                completed=done,
                total=total or None,
            )
        return
    latest, stream, over = [title], sys.stderr, threading.Event()

    def told(what: str, done: int, total: int) -> None:
        parts = [f"{done} of {total}"] * bool(total) + [what] * bool(what)
        latest[0] = f"{title}: {', '.join(parts)}" if parts else title

    def speak() -> None:
        wait, said, since = FIRST, "", 0.0
        while not over.wait(wait):
            wait, since = AGAIN, since + AGAIN
            if latest[0] != said or since >= ALIVE:
                said, since = latest[0], 0.0
                print(said, file=stream, flush=True)

    # A thread, since what takes long may not come back to tell anything for a while.
    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield told
    finally:
        over.set()
        speaker.join()
