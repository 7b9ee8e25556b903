"""Follow a network through one run: which convolution reads which channels, and through what.

The operations are recorded where PyTorch dispatches them, so it does not matter whether a network
is written with modules, functions, lists or a buffer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from densenet_solutions.check.tokens import SAME, by, pair, shortly, token
from densenet_solutions.check.trace import Segment, Source, Token, Trace, Value, cut, joined

_NOT_THEIRS = (f"{Path(torch.__file__).parent}/", f"{Path(__file__).parent}/", "<frozen")
_EMPTY = ("empty", "zeros", "new_empty", "new_zeros", "empty_like", "zeros_like")
_CUTS = ("slice", "split", "split_with_sizes", "narrow")


class _Autocast(TorchFunctionMode):
    """Notices where autocast is on: the dispatcher, further down, cannot tell."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if torch.is_autocast_enabled("cpu") and not self.recorder.trace.autocast:
            self.recorder.trace.autocast = self.recorder.where() or "forward"
        return func(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):
    def __init__(self, net: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.paths = {id(module): name for name, module in net.named_modules()}
        self.scope: list[str] = []
        self.alive: list[Tensor] = [image]  # so that an id is never used twice
        self.values: dict[int, Value] = {id(image): (Segment(0, 0, image.shape[1]),)}
        self.parameters = {id(p): p for p in net.parameters()}
        self.views: dict[int, tuple[Tensor, int, int]] = {}
        self.random: dict[int, float] = {}
        self.padded: list[tuple[str, Any, Tensor]] = []  # mode, padding, input
        self.operations = 0
        self.trace = Trace([Source("image", shape=tuple(image.shape))])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False))
        self.operations += 1
        self._record(func._schema.name.removeprefix("aten::"), named | (kwargs or {}), out)
        return out

    def _value(self, tensor: Any) -> Value | None:
        return self.values.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def _known(self, x: Tensor) -> Value:
        """What a layer reads; channels of unknown origin have the source −1."""
        return self._value(x) or (Segment(-1, 0, x.shape[1]),)

    def _set(self, tensor: Tensor, value: Value) -> None:
        self.alive.append(tensor)
        self.values[id(tensor)] = value

    def _record(self, name: str, a: dict[str, Any], out: Any) -> None:
        first = out[0] if isinstance(out, list | tuple) and out else out
        if not isinstance(first, Tensor):
            return
        self.alive.append(first)
        x = a.get("input", a.get("self"))
        value = self._value(x)
        if name in ("t", "transpose", "permute", *SAME) and id(x) in self.parameters:
            self.parameters[id(first)] = self.parameters[id(x)]
        elif name == "bernoulli_":  # the mask of dropout; it is scaled in place, and multiplied
            self.values.pop(id(first), None)
            self.random[id(first)] = 1 - float(a.get("p", 0.5))
        elif name in _EMPTY:
            if first.ndim == 4:
                self._set(first, (Segment(-1, 0, first.shape[1]),))
        elif name in ("convolution", "_convolution", "conv2d"):
            self._convolution(a, first)
        elif name in ("addmm", "mm", "linear"):
            matrix = a["weight"].t() if name == "linear" else a["mat2"]
            read: Any = a["mat1"] if name == "addmm" else x
            bias = a["self"] if name == "addmm" else a.get("bias")
            parameter = a["weight"] if name == "linear" else a["mat2"]
            self._layer("linear", read, matrix.t(), bias, first, of=parameter)
        elif "batch_norm" in name:
            self._norm(a, first)
        elif name in ("cat", "concat", "concatenate"):
            if a.get("dim", 0) % out.ndim == 1:
                parts = [segment for tensor in a["tensors"] for segment in self._known(tensor)]
                self._set(out, joined(parts))
        elif name in ("add", "add_"):
            self._add(a, first)
        elif name == "copy_":
            self._copy(a, first)
        elif name in _CUTS:
            self._cut(a, out)
        elif value is not None and x is not None:
            self._one(name, a, x, value, first)
        elif name == "mul" and self._value(a.get("other")) is not None:
            self._record(name, a | {"self": a["other"], "other": x}, out)

    def _one(self, name: str, a: dict[str, Any], x: Tensor, value: Value, out: Tensor) -> None:
        """An operation on one tensor of features."""
        done = token(name, a, x, out, self.random)
        keeps = out.ndim > 1 and out.shape[1] == x.shape[1]
        if done is None and (keeps or out.ndim == 2):
            self._set(out, value)
        elif done is not None and keeps:
            self._then(out, value, done)
        else:
            self._source(Source(f"other: {name}", value), out)

    def _then(self, out: Tensor, value: Value, done: Token) -> None:
        done = replace(done, where=self.where(), number=self.operations)
        self._set(out, tuple(replace(s, chain=(*s.chain, done)) for s in value))

    def _convolution(self, a: dict[str, Any], out: Tensor) -> None:
        weight, groups, x = a["weight"], a.get("groups", 1), a["input"]
        settings = [
            f"{name} {shortly(pair(a[name]))}" for name in ("stride", "padding", "dilation")
        ]
        settings.append(f"{groups} group{'s' if groups > 1 else ''}")
        if self.padded:  # the module has padded by itself, before
            mode, padding, x = self.padded[-1]
            sides = padding if isinstance(padding, str) else shortly(pair(padding))
            settings[1] = f"padding {sides} ({mode})"
        kernel = by(tuple(weight.shape[2:]))
        self._layer("convolution", x, weight, a.get("bias"), out, kernel, tuple(settings))

    def _layer(
        self, kind: str, x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor,
        kernel: str = "", settings: tuple[str, ...] = (), of: Tensor | None = None,
    ) -> None:  # fmt: skip
        parameter = self.parameters.get(id(weight if of is None else of))
        tensors: dict[str, tuple[Tensor, Tensor | None]] = {"weight": (weight, parameter)}
        if bias is not None:
            tensors["bias"] = (bias, bias)
        self._source(Source(kind, self._known(x), tensors, kernel, settings), out)

    def _source(self, source: Source, out: Tensor) -> None:
        made = replace(source, shape=tuple(out.shape), where=self.where())
        self.trace.sources.append(made)
        channels = out.shape[1] if out.ndim > 1 else 1
        self._set(out, (Segment(len(self.trace.sources) - 1, 0, channels),))

    def _norm(self, a: dict[str, Any], out: Tensor) -> None:
        reads = self._known(a["input"])
        names = {"weight": "weight", "bias": "bias", "mean": "running_mean",
                 "variance": "running_var"}  # fmt: skip
        used = {name: a.get(key) for name, key in names.items()}
        tensors = {name: (tensor, tensor) for name, tensor in used.items() if tensor is not None}
        settings = (f"eps = {a['eps']:g}", f"momentum = {a['momentum']:g}")
        norm = Source("norm", reads, tensors, settings=settings, where=self.where())
        self.trace.norms.append(norm)
        self._then(out, reads, Token("norm"))

    def _add(self, a: dict[str, Any], out: Tensor) -> None:
        x, y = self._value(a["self"]), self._value(a["other"])
        if x is not None and y is not None:
            self._source(Source("sum", (*x, *y)), out)
        elif value := x or y:  # a constant, or a bias that is added by hand
            self._set(out, value)
            self._bias(value, a["other"] if x is not None else a["self"])

    def _bias(self, value: Value, added: Any) -> None:
        bias = self.parameters.get(id(added))
        number = value[0].source
        if bias is None or len(value) > 1 or value[0].chain or number < 0:
            return
        source = self.trace.sources[number]
        if source.is_layer and "bias" not in source.tensors and bias.numel() == source.out:
            tensors = {**source.tensors, "bias": (bias, bias)}
            self.trace.sources[number] = replace(source, tensors=tensors)

    def _copy(self, a: dict[str, Any], out: Tensor) -> None:
        """Writing into a slice of a buffer."""
        value = self._value(a["src"])
        if value is None:
            return
        self._set(out, value)
        if id(a["self"]) in self.views:
            base, start, stop = self.views[id(a["self"])]
            old = self.values[id(base)]
            parts = [*cut(old, 0, start), *value, *cut(old, stop, base.shape[1])]
            self.values[id(base)] = joined(parts)

    def _cut(self, a: dict[str, Any], out: Any) -> None:
        """Slices and chunks of channels."""
        x = a["self"]
        value = self._value(x)
        if value is None:
            return
        at = int(a.get("start") or 0)
        at += x.shape[1] if at < 0 else 0
        for piece in out if isinstance(out, list | tuple) else [out]:
            if a.get("dim", 0) % x.ndim == 1:
                self._set(piece, cut(value, at, at + piece.shape[1]))
                self.views[id(piece)] = (x, at, at + piece.shape[1])
                at += piece.shape[1]
            elif piece.shape[1] == x.shape[1]:
                self._set(piece, value)
                if piece.shape == x.shape:
                    self.views[id(piece)] = self.views.get(id(x), (x, 0, x.shape[1]))

    def where(self) -> str:
        """The module that is running, and the line of the reader's code."""
        path = self.scope[-1] if self.scope else ""
        frame = sys._getframe(1)
        while frame is not None and frame.f_code is not run.__code__:
            if not frame.f_code.co_filename.startswith(_NOT_THEIRS):
                file = frame.f_code.co_filename
                _, _, library = file.partition(f"site-packages{os.sep}")
                line = f"{library or Path(file).name}, line {frame.f_lineno}"
                return f"module {path} ({line})" if path else line
            frame = frame.f_back  # type: ignore[assignment]
        return path and f"module {path}"


def _own_padding(module: nn.Module) -> tuple[str, Any] | None:
    """Mode and padding of a convolution that pads with other values than zeros, beforehand."""
    if not isinstance(module, nn.Conv2d) or module.padding_mode == "zeros":
        return None
    return (module.padding_mode, module.padding) if any(module.padding) else None


def run(net: Callable[[Tensor], Any], image: Tensor) -> tuple[Any, Trace]:
    """Run a network on an image and say what was seen; errors of the network pass through."""
    assert isinstance(net, nn.Module)
    recorder = _Recorder(net, image)

    def enter(module: nn.Module, inputs: Any) -> None:
        recorder.scope.append(recorder.paths.get(id(module), ""))
        if (padding := _own_padding(module)) is not None:
            recorder.padded.append((*padding, inputs[0]))

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        recorder.scope.pop()
        if _own_padding(module) is not None:
            recorder.padded.pop()

    handles = [
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    ]
    try:
        with torch.autocast("cpu", enabled=False), recorder, _Autocast(recorder):
            output = net(image)
    finally:
        for handle in handles:
            handle.remove()
    recorder.trace.output = recorder._value(output)
    return output, recorder.trace
