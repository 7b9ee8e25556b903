"""Follow every tensor storage from birth to death while a step runs, on any device.

A dispatch mode sees each operation below autograd. It holds weak references to the storages that
operations return, so nothing lives longer than it would; a storage counts once, however many
tensors share it.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from densenet_solutions.measure.torch_private import (
    TorchDispatchMode,
    current_graph_task,
    current_node,
    next_sequence_number,
    sequence_number,
    storage_key,
    tree_iter,
)

#: What a byte of memory is there for; see `MemoryResult`.
MEMORY_CATEGORIES = (
    "parameters",
    "buffers",
    "input",
    "optimizer",
    "gradients",
    "activations",
    "temporaries",
    "workspace",
)


@dataclass(frozen=True, slots=True)
class MemoryPoint:
    """Live bytes right after one operation of a step.

    `phase` is `"forward"`, `"backward"` or `"optimizer"`; `module` is the path of the module that
    was running (in the backward pass: whose gradient was), `""` outside of any. `by_category` has
    one entry for each of `MEMORY_CATEGORIES`, in that order.
    """

    bytes: int
    phase: str
    module: str
    by_category: tuple[int, ...]


class Operation(NamedTuple):
    """What one operation asks of an allocator.

    `births` are the storages made in it, `(number, bytes)`; `deaths` the numbers of those that died
    since the operation before; `workspace` the bytes that its kernel takes only while it runs.
    """

    births: tuple[tuple[int, int], ...]
    deaths: tuple[int, ...]
    workspace: int = 0


@dataclass(frozen=True)
class Trace:
    """A step as an allocator sees it; `resident` are the bytes of what is there beforehand."""

    resident: tuple[int, ...]
    operations: tuple[Operation, ...]


@dataclass(slots=True)
class _Storage:
    """One storage. Times count operations; `category` is known at once or settled afterwards."""

    bytes: int
    born: int
    phase: str
    category: str | None = None
    gradient_since: int | None = None
    died: int | None = None


class _Reference(weakref.ref):
    """A weak reference that remembers the storage's address."""

    __slots__ = ("key",)
    key: int


_ATEN = torch.ops.aten


def _batch_norm_shapes(args: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Output, mean and inverse deviation of batch normalisation on the meta device."""
    x = args[0]
    dtype = torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
    channels = x.new_empty(x.shape[1], dtype=dtype)
    return torch.empty_like(x), channels, torch.empty_like(channels)


def _batch_norm_backward_shapes(args: tuple[Any, ...]) -> tuple[Tensor | None, ...]:
    """Gradients of input, weight and bias on the meta device, where they are asked for."""
    x, weight, mask = args[1], args[2], args[9]
    channels = x.new_empty(x.shape[1], dtype=x.dtype if weight is None else weight.dtype)
    likes = (x, channels, channels)
    return tuple(
        torch.empty_like(like) if wanted else None for like, wanted in zip(likes, mask, strict=True)
    )


#: Operation → (which argument is the input, outputs on the meta device). torch finds these outputs
#: by running a decomposition in Python, which is more than half of the time of a DenseNet's step.
_SHAPES: dict[Any, tuple[int, Callable[[tuple[Any, ...]], tuple[Tensor | None, ...]]]] = {
    _ATEN.native_batch_norm.default: (0, _batch_norm_shapes),
    _ATEN.native_batch_norm_backward.default: (1, _batch_norm_backward_shapes),
}


class StorageTracker(TorchDispatchMode):
    """Within this context, record what is alive after every operation.

    Args:
        model: its modules name the operations.
        resident: name of a category → tensors of that category that exist beforehand, the model's
            parameters and buffers among them.
        workspace: operation, its arguments → bytes that its kernel takes while it runs, for
            `trace()`.

    `timeline()` has the record. Modules are followed by global hooks, so none is put on the model.
    """

    def __init__(
        self,
        model: nn.Module,
        resident: Mapping[str, Iterable[Tensor]],
        workspace: Callable[[Any, tuple[Any, ...]], int] | None = None,
    ) -> None:
        super().__init__()
        self.phase = "forward"
        self._workspace = workspace
        self._workspaces: dict[int, int] = {}  # operation → bytes
        self._paths = {module: path for path, module in model.named_modules()}
        self._owners = {
            parameter: path.rpartition(".")[0] for path, parameter in model.named_parameters()
        }
        self._all: list[_Storage] = []
        self._live: dict[int, tuple[_Reference, _Storage]] = {}
        self._operations: list[tuple[str, str]] = []  # (phase, module)
        self._stack: list[str] = []
        self._entered: list[tuple[int, str]] = []  # (autograd's sequence number, module)
        self._handles: list[Any] = []
        for category, tensors in resident.items():
            for tensor in tensors:
                self._see(tensor, category)

    def __enter__(self) -> StorageTracker:
        hooks = torch.nn.modules.module
        self._handles = [
            hooks.register_module_forward_pre_hook(self._enter_module),
            hooks.register_module_forward_hook(self._leave_module, always_call=True),
            *(
                parameter.register_post_accumulate_grad_hook(self._gradient_is_there)
                for parameter in self._owners
                if parameter.requires_grad
            ),
        ]
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for handle in self._handles:
            handle.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        phase, module = self._where()
        self._operations.append((phase, module))
        if self._workspace is not None and (size := self._workspace(func, args)):
            self._workspaces[len(self._operations)] = size
        at, shapes = _SHAPES.get(func, (0, None))
        if shapes is not None and args[at].is_meta:
            out: Any = shapes(args)
        else:
            out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self._see(out)
        elif out is not None:
            for item in tree_iter(out):
                if isinstance(item, Tensor):
                    self._see(item)
        return out

    def _where(self) -> tuple[str, str]:
        if current_graph_task() == -1:
            return self.phase, self._stack[-1] if self._stack else ""
        if self._stack:  # a module runs again inside the backward pass
            return "backward", self._stack[-1]
        node = current_node()
        if node is None:
            return "backward", ""
        if (parameter := getattr(node, "variable", None)) is not None:
            return "backward", self._owners.get(parameter, "")
        number = sequence_number(node)
        at = bisect_right(self._entered, number, key=lambda item: item[0])
        return "backward", self._entered[at - 1][1] if at else ""

    def _see(self, tensor: Tensor, category: str | None = None) -> None:
        storage = tensor.untyped_storage()
        key = storage_key(storage)
        if (known := self._live.get(key)) is not None:
            if (size := storage.nbytes()) != known[1].bytes:  # resized in place
                self._forget(known[0])
                self._add(storage, key, size, known[1].category)
            return
        self._add(storage, key, storage.nbytes(), category)

    def _add(self, storage: Any, key: int, size: int, category: str | None) -> None:
        phase = self._operations[-1][0] if self._operations else self.phase
        record = _Storage(size, len(self._operations), phase, category)
        reference = _Reference(storage, self._forget)
        reference.key = key
        self._live[key] = (reference, record)
        self._all.append(record)

    def _forget(self, reference: Any) -> None:
        known = self._live.get(reference.key)
        if known is None or known[0] is not reference:
            return
        del self._live[reference.key]
        known[1].died = len(self._operations) + 1  # gone before the next operation

    def _gradient_is_there(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.mark_gradient(parameter.grad)

    def mark_gradient(self, gradient: Tensor) -> None:
        """Say that `gradient` is a parameter's from now on."""
        known = self._live.get(storage_key(gradient.untyped_storage()))
        if known is not None and known[1].category is None and known[1].gradient_since is None:
            known[1].gradient_since = len(self._operations)

    def _enter_module(self, module: nn.Module, inputs: Any) -> None:
        path = self._paths.get(module, self._stack[-1] if self._stack else "")
        self._stack.append(path)
        self._note(path)

    def _leave_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._stack.pop()
        above = self._stack[-1] if self._stack else ""
        self._note(above)

    def _note(self, path: str) -> None:
        """Operations from here on belong to `path`; autograd numbers its nodes in this order."""
        number = next_sequence_number()
        if not self._entered or number >= self._entered[-1][0]:  # each thread counts for itself
            self._entered.append((number, path))

    def trace(self) -> Trace:
        """What an allocator was asked for, in order."""
        count = len(self._operations)
        births: list[list[tuple[int, int]]] = [[] for _ in range(count + 1)]
        deaths: list[list[int]] = [[] for _ in range(count + 2)]
        for number, storage in enumerate(self._all):
            if storage.born and storage.bytes:
                births[storage.born].append((number, storage.bytes))
                deaths[min(storage.died or count + 1, count + 1)].append(number)
        return Trace(
            tuple(storage.bytes for storage in self._all if not storage.born and storage.bytes),
            tuple(
                Operation(tuple(born), tuple(died), self._workspaces.get(number, 0))
                for number, (born, died) in enumerate(
                    zip(births[1:], deaths[1 : count + 1], strict=True), start=1
                )
            ),
        )

    def timeline(self) -> tuple[MemoryPoint, ...]:
        """Live bytes by category before the step (the first point) and after each operation.

        What the forward pass made and the backward pass found alive is an activation: that is
        known only at the end.
        """
        index = {name: i for i, name in enumerate(MEMORY_CATEGORIES)}
        count = len(self._operations)
        changes = [[0] * len(index) for _ in range(count + 2)]
        backward = [
            t for t, (phase, _) in enumerate(self._operations, start=1) if phase == "backward"
        ]
        for storage in self._all:
            died = min(storage.died or count + 1, count + 1)
            category = storage.category or "temporaries"
            if storage.category is None and storage.phase == "forward":
                at = bisect_right(backward, storage.born)
                if at < len(backward) and backward[at] < died:
                    category = "activations"
            changes[storage.born][index[category]] += storage.bytes
            if (since := storage.gradient_since) is not None and since < died:
                changes[since][index[category]] -= storage.bytes
                category = "gradients"
                changes[since][index[category]] += storage.bytes
            changes[died][index[category]] -= storage.bytes
        points = []
        live = [0] * len(index)
        where = [("forward", ""), *self._operations]
        for change, (phase, module) in zip(changes[:-1], where, strict=True):
            live = [a + b for a, b in zip(live, change, strict=True)]
            points.append(MemoryPoint(sum(live), phase, module, tuple(live)))
        return tuple(points)
