"""What an argument must be, said once: every message states the rule and shows the value.

Each function returns what it was given, in the form in which it can be used. Torch is imported
only by the checks of tensors and devices.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import math
import numbers
import operator
import os
import re
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def integer(name: str, value: object, *, at_least: int = 1, at_most: int | None = None) -> int:
    """A whole number in a range. Integers of NumPy are taken; `True` and `1.0` are not.

    Examples:
        >>> integer("batch", 0)
        Traceback (most recent call last):
        ValueError: batch is at least 1, got 0
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or hasattr(value, "shape_env"):
        raise TypeError(f"{name} is an integer, got {_shown(value)}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is an integer, got {_shown(value)}") from None
    if number < at_least:
        raise ValueError(f"{name} is at least {at_least}, got {_shown(value)}")
    if at_most is not None and number > at_most:
        raise ValueError(f"{name} is at most {at_most}, got {_shown(value)}")
    return number


def number(
    name: str, value: object, *, above: float = -math.inf, at_least: float = -math.inf
) -> float:
    """A finite real number.

    Examples:
        >>> number("learning_rate", float("inf"), above=0)
        Traceback (most recent call last):
        ValueError: learning_rate is finite, got inf
    """
    real = _real(name, value)
    if not math.isfinite(real):
        raise ValueError(f"{name} is finite, got {_shown(value)}")
    if real <= above:
        raise ValueError(f"{name} is more than {above:g}, got {_shown(value)}")
    if real < at_least:
        raise ValueError(f"{name} is at least {at_least:g}, got {_shown(value)}")
    return real


def share(name: str, value: object, *, zero: bool = True, one: bool = True) -> float:
    """A number between 0 and 1; `zero` and `one` say whether the ends belong to it.

    Examples:
        >>> share("drop_rate", 1, one=False)
        Traceback (most recent call last):
        ValueError: drop_rate lies in [0, 1), got 1
    """
    real = _real(name, value)
    if not 0 <= real <= 1 or (real == 0 and not zero) or (real == 1 and not one):
        raise ValueError(
            f"{name} lies in {'[' if zero else '('}0, 1{']' if one else ')'}, got {_shown(value)}"
        )
    return real


def _real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is a number, got {_shown(value)}")
    return float(value)


def choice(name: str, value: object, choices: Collection[Any]) -> Any:
    """One of some values; of more than 40, the message shows the first three.

    Examples:
        >>> choice("pooling", "averige", ("average", "max"))
        Traceback (most recent call last):
        ValueError: pooling is one of 'average', 'max', got 'averige'; did you mean 'average'?
    """
    if any(type(value) is type(known) and value == known for known in choices):
        return value
    shown = list(choices) if len(choices) <= 40 else [*choices][:3]
    rule = ", ".join(map(repr, shown)) + ", …" * (len(shown) < len(choices))
    raise ValueError(f"{name} is one of {rule}, got {_shown(value)}{_meant(value, choices)}")


def _shown(value: object) -> str:
    """The value as Python writes it, or its type where that takes more than a line."""
    written = repr(value)
    fits = len(written) <= 200 and "\n" not in written
    return written if fits else f"one of the type {type(value).__name__}"


def _meant(value: object, choices: Collection[Any]) -> str:
    """A question, if the value looks like one of the choices misspelt or its beginning."""
    if not isinstance(value, str):
        return ""
    known = {re.sub(r"[\s_-]", "", item).lower(): item for item in choices if isinstance(item, str)}
    typed = re.sub(r"[\s_-]", "", value).lower()
    near = [name for name in known if len(typed) > 3 and name.startswith(typed)]
    near = near or difflib.get_close_matches(typed, known, n=1, cutoff=0.75)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def flag(name: str, value: object) -> bool:
    """`True` or `False`, and nothing that is only taken for one of them."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, got {_shown(value)}")
    return value


def integers(name: str, value: object, *, at_least: int = 1) -> tuple[int, ...]:
    """A sequence of whole numbers, at least one of them.

    Examples:
        >>> integers("input_shape", (8, 3, -1, 224))
        Traceback (most recent call last):
        ValueError: input_shape holds integers of at least 1, got (8, 3, -1, 224)
    """
    if isinstance(value, str | bytes | dict | set) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is a sequence of integers, got {_shown(value)}")
    if getattr(value, "ndim", 1) > 1:
        raise TypeError(
            f"{name} is a sequence of integers, got a {type(value).__name__}: give its shape"
        )
    try:
        items = tuple(integer(name, item, at_least=at_least) for item in value)
    except TypeError:
        raise TypeError(f"{name} is a sequence of integers, got {_shown(value)}") from None
    except ValueError:
        raise ValueError(
            f"{name} holds integers of at least {at_least}, got {_shown(value)}"
        ) from None
    if not items:
        raise ValueError(f"{name} holds at least one integer, got {_shown(value)}")
    return items


def device(value: object) -> torch.device:
    """The CPU, or a CUDA device that is there."""
    import torch

    try:
        where = torch.device(value)  # type: ignore[call-overload]
    except (RuntimeError, TypeError):
        where = None
    if (
        where is None
        or where.type not in ("cpu", "cuda")
        or (where.type == "cpu" and where.index)  # there is one CPU, and PyTorch takes any number
    ):
        raise ValueError(f"device is 'cpu' or 'cuda' (or 'cuda:1', …), got {_shown(value)}")
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {str(where)!r} needs a CUDA GPU, and PyTorch finds none: use 'cpu'"
        )
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"device {str(where)!r} is not there: PyTorch finds {count} CUDA GPU(s)")
    return where


def module(name: str, value: object) -> torch.nn.Module:
    """A `torch.nn.Module`: an instance, not its class."""
    from torch import nn

    if not isinstance(value, nn.Module):
        raise TypeError(f"{name} is a torch.nn.Module, got {_shown(value)}")
    return value


def images(x: object, *, channels: int, at_least: int = 1, like: object = None) -> None:
    """A batch of images `(N, channels, H, W)`, both sides at least `at_least` pixels.

    `like` is the weight of the network's first convolution: the images must have its type (under
    autocast any that it casts) and its device. Where it is not a plain parameter (sharded,
    functional, parametrized, replaced), that is left to PyTorch.
    """
    x = _batch("images", x, ("N", channels, "H", "W"))
    if min(x.shape[2:]) < at_least:
        raise ValueError(
            f"height and width are at least {at_least}, or nothing is left to pool, "
            f"got x.shape={tuple(x.shape)}"
        )
    _same_type_and_device("images", x, like)


def first_weight(*modules: torch.nn.Module) -> object:
    """The weight of the last of these modules, one inside the other, that run first in a network.

    `None` where a hook or another `forward` may move or convert weight or input before it runs.
    """
    if any(module._forward_pre_hooks or "forward" in vars(module) for module in modules):
        return None
    return getattr(modules[-1], "weight", None)


def rows(x: object, *, columns: int, like: object = None) -> None:
    """A table `(rows, columns)` for a network whose first layer has the weight `like`."""
    x = _batch("rows", x, ("rows", columns))
    _same_type_and_device("rows", x, like)


def _batch(name: str, x: object, shape: tuple[str | int, ...]) -> torch.Tensor:
    import torch

    words = f"({', '.join(map(str, shape))})"
    if not isinstance(x, torch.Tensor):
        raise TypeError(
            f"{name} are a torch.Tensor {words}, got {type(x).__name__}: torch.as_tensor makes one"
        )
    if x.is_nested:  # it has no shape to speak of
        raise TypeError(f"{name} are a dense torch.Tensor, got a nested one")
    if x.ndim != len(shape) or x.shape[1] != shape[1]:
        raise ValueError(f"{name} have shape {words}, got x.shape={tuple(x.shape)}")
    return x


def _same_type_and_device(name: str, x: torch.Tensor, like: object) -> None:
    import torch

    plain = type(like) is torch.nn.Parameter and like.ndim > 1  # a shard is flat
    if not plain or torch.compiler.is_compiling():
        return
    assert isinstance(like, torch.Tensor)
    if x.device != like.device:
        raise ValueError(
            f"{name} are on the network's device {str(like.device)!r}, got {str(x.device)!r}: "
            "move them with x.to(…)"
        )
    autocast = x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)
    casts = autocast and x.is_floating_point() and x.dtype != torch.float64
    if x.dtype != like.dtype and not casts:
        raise TypeError(
            f"{name} have the network's type {like.dtype}, got {x.dtype}: convert them with "
            f"x.to({like.dtype}), or the network with model.to(…)"
        )
    if x.layout != torch.strided or x.is_quantized:
        raise TypeError(f"{name} are a dense torch.Tensor, got the layout {x.layout}")


def batch_statistics(count: int, x: torch.Tensor) -> None:
    """At least two values in each channel for batch normalization in training mode."""
    if count < 2:
        raise ValueError(
            "batch normalization in training mode needs more than one value per channel, got "
            f"x.shape={tuple(x.shape)}: give more images or larger ones, or call model.eval()"
        )


def targets(value: object, *, batch: int, classes: int | None = None) -> None:
    """Class numbers `(batch,)` of type int64, each in `0 … classes − 1`.

    Their range is looked at on the CPU only: a GPU would have to be waited for.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"targets are a torch.Tensor of class numbers, got {type(value).__name__}")
    if value.dtype != torch.int64:
        raise TypeError(f"targets have the type torch.int64, got {value.dtype}")
    if tuple(value.shape) != (batch,):
        raise ValueError(f"targets have shape ({batch},), got {tuple(value.shape)}")
    if classes is not None and value.numel() and value.is_cpu and type(value) is torch.Tensor:
        low, high = int(value.min()), int(value.max())
        if low < 0 or high >= classes:
            raise ValueError(f"targets lie in 0 … {classes - 1}, got {low} … {high}")


def library(name: str, *, extra: str) -> ModuleType:
    """A library that only some rooms need, imported; or an error that says how to get it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"{name} is not installed; it comes with the extra {extra!r}: "
            f"pip install '.[{extra}]' in a clone of this repository",
            name=name,
        ) from None


def output_file(path: str | Path) -> Path:
    """A file that can be written: asked before work begins, so that no result is lost after it.

    Raises:
        ValueError: it is a folder, a device or a pipe, or its folder cannot be made or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and the name of a file is needed")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a device or a pipe, and the name of a file is needed")
    output_folder(path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise ValueError(f"{path} cannot be written: no permission")
    return path


def output_folder(path: str | Path) -> Path:
    """A folder in which files can be made, or that can be made where it is not there.

    It is not made itself: who fails after the question leaves nothing behind.

    Raises:
        ValueError: it is a file, or cannot be made or written to, for lack of
            permission or of space.
    """
    path = Path(path)
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # its name may be too long
        there = next(above for above in (path, *path.absolute().parents) if os.path.lexists(above))
        if not there.exists():
            raise ValueError(f"{there} is a link to nothing, and a folder is needed")
        if not there.is_dir():
            raise ValueError(f"{there} is a file, and a folder is needed")
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(4096))  # an empty file fits on a full disk, too
    except OSError as error:
        # `/proc` says of a new file that it is not there
        why = "" if error.errno == errno.ENOENT else f": {error.strerror or error}"
        raise ValueError(f"{path} cannot be written to{why}; give another folder") from None
    return path
