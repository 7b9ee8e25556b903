"""The reader's network, made ready: taken out of a file, and copied in float64.

The copy gets weights in which nothing can hide. What fails is told with the reader's line.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from densenet_solutions.check.recorder import run
from densenet_solutions.check.report import Finding
from densenet_solutions.check.settings import (
    SettingsError,
    a_network_runs,
    as_left,
    left_changed,
    program_kept,
    quiet,
)
from densenet_solutions.check.trace import Trace
from densenet_solutions.check.weights import randomize

Net = nn.Module | Callable[[], nn.Module]


class TheirError(Exception):
    """The reader's code failed; the finding says how and in which line."""

    def __init__(self, doing: str, cause: BaseException | None = None) -> None:
        text, where = doing, "" if cause is None else _where(cause)
        if cause is not None:
            text = f"{doing} raises {type(cause).__name__}: {_first_line(cause)}"
            if isinstance(cause, SettingsError):
                text = f"{doing} leaves {cause} behind, which changes all that runs after it."
                where = "" if cause.__cause__ is None else _where(cause.__cause__)
            elif left := left_changed():
                text += f" (Your file has called {left}.)"
            if "double" in text.lower():
                text += " (The check runs a copy in float64; x.to(weight.dtype) suits any type.)"
            if isinstance(cause, SyntaxError | ValueError) and _is_no_source(cause):
                text += ". Save it as UTF-8 text."
            if (owner := _uninitialized(cause)) is not None:
                text = f"{owner.__name__}.__init__ does not call super().__init__()"
                text += " first." if where else "."
                code = owner.__init__.__code__  # type: ignore[misc]
                line = linecache.getline(code.co_filename, code.co_firstlineno).strip()
                where = where or _place(code.co_filename, code.co_firstlineno, line)
        self.finding = Finding("wrong", text, where=where)
        super().__init__(text)


@contextlib.contextmanager
def their_code(doing: str) -> Iterator[None]:
    """The reader's code runs within: what it raises is a `TheirError`."""
    try:
        yield
    except (Exception, SystemExit) as cause:
        raise TheirError(doing, cause) from cause


@contextlib.contextmanager
def failure_told(findings: list[Finding]) -> Iterator[None]:
    """A check runs within, quietly; where the reader's code fails, that is the only finding."""
    with quiet():
        try:
            yield
        except TheirError as failure:
            findings[:] = [failure.finding]


class Prepared:
    """A copy of the reader's module in float64, and its output in evaluation mode.

    `images` yields inputs to try, given the copy; the first that it takes is kept as `image`.

    Raises:
        TypeError: `net` (which is called `name`) is neither a module nor something that builds one.
        TheirError: it fails.
    """

    def __init__(
        self, name: str, net: Net, images: Callable[[nn.Module], Iterable[Tensor]]
    ) -> None:
        if not isinstance(net, nn.Module):
            if not callable(net):
                raise TypeError(
                    f"{name} is a torch.nn.Module, or a function that builds one, got {net!r}"
                )
            with their_code("Building the network"), as_left():
                built = net()
            if not isinstance(built, nn.Module):
                raise _built_nothing(net, built)
            net = built
        with their_code("Reading the network"):
            list(net.modules())
        self.net = copied(getattr(net, "_orig_mod", net))
        self.refused: list[torch.Size] = []  # shapes of images on which it fails
        self.image, self.output = self._first(images)
        self.parameters = sum(p.numel() for p in self.net.parameters())
        randomize(self.net)

    def _first(self, images: Callable[[nn.Module], Iterable[Tensor]]) -> tuple[Tensor, Any]:
        failures = []
        for image in images(self.net):
            try:
                with torch.no_grad(), a_network_runs():
                    if any(is_lazy(p) for p in self.net.parameters()):
                        self.net(image.float())
                        self.net = self.net.double()
                    return image, self.net.eval()(image)
            except Exception as cause:
                failures.append(cause)
                self.refused.append(image.shape)
        if hidden := _hidden(self.net):
            raise TheirError(hidden)
        raise TheirError("The forward pass", failures[0])

    def __call__(self, image: Tensor) -> Tensor:
        """What it makes of images in evaluation mode."""
        with (
            their_code(f"The forward pass of {tuple(image.shape)}"),
            a_network_runs(),
            torch.no_grad(),
        ):
            return self.net.eval()(image)

    def traced(self, *, train: bool, image: Tensor) -> tuple[Tensor, Trace]:
        mode = "training" if train else "evaluation"
        with their_code(f"The forward pass in {mode} mode"), a_network_runs():
            return run(self.net.train(train), image)


def copied(net: nn.Module) -> nn.Module:
    """A copy in float64 on the CPU, so that the reader's own network stays as it is."""
    lazy = {  # deepcopy does not know the buffers of lazy normalisations
        id(b): UninitializedBuffer(b.requires_grad, b.device, b.dtype)  # type: ignore[arg-type]
        for b in net.buffers()
        if is_lazy(b)
    }
    hooks = [(p._backward_hooks or {}).values() for p in net.parameters()]
    with their_code("Copying the network"):
        net = copy.deepcopy(net, lazy).cpu()
        for parameter, theirs in zip(net.parameters(), hooks, strict=True):
            for hook in theirs:  # which deepcopy leaves behind
                parameter.register_hook(hook)
    if any(is_lazy(p) for p in net.parameters()):
        return net
    return net.double()


def _hidden(net: nn.Module) -> str:
    """A sentence on layers that PyTorch does not see, since a list holds them; empty: none."""
    seen = {id(p) for p in net.parameters()}
    for module in net.modules():
        for name, value in vars(module).items():
            if name.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            inside = list(value.values() if isinstance(value, dict) else value)
            layers = [layer for layer in inside if isinstance(layer, nn.Module)]
            unseen = {id(p) for layer in layers for p in layer.parameters()} - seen
            if unseen:
                kind = type(value).__name__
                right = "nn.ModuleDict" if kind == "dict" else "nn.ModuleList or nn.Sequential"
                count = f"{len(layers)} layer{'s' * (len(layers) > 1)}"
                return (
                    f"{type(module).__name__}.{name} is a Python {kind} of {count}, and PyTorch "
                    f"registers none of them: {len(unseen)} parameters would be moved nowhere and "
                    f"never trained. Use {right}."
                )
    return ""


def _is_no_source(cause: SyntaxError | ValueError) -> bool:
    """Whether a file is no text in UTF-8, and nothing that the file does has failed."""
    bad = "cannot contain null bytes|^Non-UTF-8|^.unicode error"
    return re.search(bad, str(cause)) is not None


def _built_nothing(net: Callable[[], Any], built: object) -> TheirError:
    """What was called has returned something else than a network."""
    while isinstance(net, partial):
        net = net.func
    name, code = getattr(net, "__name__", "Your function"), getattr(net, "__code__", None)
    failure = TheirError(
        f"{name} returns {built!r:.60}; it is to return the network, a torch.nn.Module."
    )
    if code is not None and code.co_filename != __file__:
        line = linecache.getline(code.co_filename, code.co_firstlineno).strip()
        where = _place(code.co_filename, code.co_firstlineno, line)
        failure.finding = replace(failure.finding, where=where)
    return failure


def _uninitialized(cause: BaseException) -> type | None:
    """The class of the module that PyTorch met before `nn.Module.__init__` had run."""
    frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    met = frames[-1].f_locals.get("self") if frames else None
    if not isinstance(met, nn.Module) or hasattr(met, "_modules"):
        return None
    return next(c for c in type(met).__mro__ if isinstance(vars(c).get("__init__"), FunctionType))


def _where(cause: BaseException) -> str:
    """File and line of the reader's code in which an error came up, or else of a library's."""
    if isinstance(cause, SyntaxError) and cause.filename:
        return _place(cause.filename, cause.lineno, (cause.text or "").strip())
    torch_folder, own = f"{Path(torch.__file__).parent}/", f"{Path(__file__).parents[1]}/"
    libraries = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))
    frames = [
        frame
        for frame in reversed(traceback.extract_tb(cause.__traceback__))
        if not frame.filename.startswith((torch_folder, own, "<frozen"))
    ]
    theirs = [frame for frame in frames if not frame.filename.startswith(libraries)]
    for frame in theirs or frames:
        return _place(frame.filename, frame.lineno, frame.line or "")
    return ""


def _place(file: str, number: int | None, line: str) -> str:
    """A line of the reader's, for people; in a notebook there is a cell in place of a file."""
    if file.startswith("<your call "):
        return file.strip("<>")
    cell = "ipykernel" in file or file.startswith("<ipython")
    return f"{'your cell' if cell else Path(file).name}, line {number}: {line}"


def _first_line(cause: BaseException) -> str:
    return (str(cause).strip() or "no reason given").splitlines()[0]


@contextlib.contextmanager
def loaded(target: str) -> Iterator[Any]:
    """What `FILE.py:NAME` names; the file is run as a module.

    `FILE.py:NAME(arguments)` is a function that evaluates the call there. The file's folder is on
    the path meanwhile, because functions import too.

    Raises:
        ValueError: there is no such file or name.
        TheirError: the file itself fails.
    """
    file, colon, name = target.partition(".py:")
    called, bracket, _ = name.partition("(")
    path = Path(f"{file}.py")
    if not colon or not called.isidentifier() or (bracket and not name.endswith(")")):
        raise ValueError(
            "give FILE.py:NAME or 'FILE.py:NAME(arguments)', such as my_net.py:MyNet or "
            f"'my_net.py:MyNet(32)', got {target!r}"
        )
    if not path.is_file():
        wrong = "a file is needed, got the folder" if path.is_dir() else "there is no file"
        raise ValueError(f"{wrong} {str(path)!r}")
    try:
        call = compile(name, f"<your call {name}>", "eval")  # in <>, or the file's lines would do
    except SyntaxError as cause:
        raise ValueError(f"give FILE.py:NAME(arguments), got {target!r}") from cause
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # deepcopy, pickle and dataclasses look there
    with program_kept():
        sys.path.insert(0, str(path.parent.resolve()))
        with their_code(f"Importing {path.name}"), as_left():
            spec.loader.exec_module(module)
        if not hasattr(module, called):
            own = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
            raise ValueError(
                f"{path.name} defines {', '.join(own) or 'no function or class'}, and no {called!r}"
            )

        # The reader's own code, as in the file.
        def calls() -> Any:
            return eval(call, vars(module))

        calls.__name__ = name
        yield calls if bracket else getattr(module, called)
