"""Take a network or a function out of a file of the reader's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from densenet_solutions.check.prepared import TheirError


def load(target: str) -> Any:
    """What `FILE.py:NAME` names; the file is run as a module, with its folder on the path.

    `FILE.py:NAME(arguments)` is a function that evaluates the call there.

    Raises:
        ValueError: there is no such file or name.
        TheirError: the file itself fails.
    """
    file, colon, name = target.partition(".py:")
    called, bracket, _ = name.partition("(")
    path = Path(f"{file}.py")
    if not colon or not called.isidentifier() or (bracket and not name.endswith(")")):
        raise ValueError(f"give FILE.py:NAME, such as my_net.py:MyNet, got {target!r}")
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module  # deepcopy, pickle and dataclasses look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as cause:
        raise TheirError(f"Importing {path.name}", cause) from cause
    finally:
        sys.path.remove(str(path.parent.resolve()))
    if not hasattr(module, called):
        own = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise ValueError(f"{path.name} defines {', '.join(own) or 'nothing'}, got {called!r}")
    if not bracket:
        return getattr(module, called)
    try:
        call = compile(name, "your call", "eval")
    except SyntaxError as cause:
        raise ValueError(f"give FILE.py:NAME(arguments), got {target!r}") from cause
    return lambda: eval(call, vars(module))  # the reader's own code, as in the file
