"""What `mkdocs serve` says early that would else be noticed late."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path

from mkdocs.exceptions import Abort

log = logging.getLogger("mkdocs.plugins.densenet_solutions")


class Serving:
    """From the start of `mkdocs serve` to its end."""

    def __init__(self) -> None:
        self._loaded: dict[str, str] | None = None

    def check(self, host: str, port: int) -> None:
        """Before a build: is the port free, and is the code that builds still the one loaded?

        Raises:
            Abort: before the first build, the address cannot be served.
        """
        code = loaded_code()
        if self._loaded is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                socket.create_server((host, port), family=family).close()
            except OSError as error:
                why = str(error.strerror).partition(" (")[0]
                other = f"mkdocs serve -a {host}:{port + 1}"
                raise Abort(f"Cannot serve on {host}:{port}: {why}. Try `{other}`") from error
            self._loaded = code
        elif new := sorted(
            name for name in code if self._loaded.get(name, code[name]) != code[name]
        ):
            log.info("Restart `mkdocs serve` to build with the new %s", ", ".join(new))


def loaded_code() -> dict[str, str]:
    """What the files now hold of which this process has loaded modules; pages load their own."""
    modules = {name for name in sys.modules if name.split(".")[0] == "densenet_solutions"}
    files = {name: getattr(sys.modules[name], "__file__", None) for name in modules}
    return {
        name: Path(file).read_text("utf-8")
        for name, file in files.items()
        if file and Path(file).exists()
    }
