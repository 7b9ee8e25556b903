"""What an operation on features is called, whatever function or module it was written with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from densenet_solutions.check.trace import Token

#: Operations that change no value and no order of channels.
SAME = (
    *("detach", "alias", "clone", "contiguous", "_to_copy", "lift_fresh", "expand"),
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten"),
    *("squeeze", "squeeze_", "unsqueeze"),
)
_POOLS = {"avg_pool2d": "average pool", "max_pool2d_with_indices": "max pool"}


def token(
    name: str, a: dict[str, Any], x: Tensor, out: Tensor, rates: dict[int, float]
) -> Token | None:
    """What an operation on features `x` is called; `None`: nothing happens to them.

    `a` are its arguments by name; `rates` leads from the id of a mask to the rate of its dropout.
    """
    base = name.removesuffix("_").removeprefix("_")
    if name == "_to_copy" and out.dtype != x.dtype:
        return Token(f"cast to {str(out.dtype).removeprefix('torch.')}")
    if name in SAME:
        return None
    if base == "relu" or (base in ("clamp_min", "clamp", "threshold") and _from_zero(a)):
        return Token("ReLU")
    if base == "hardtanh" and (a.get("min_val"), a.get("max_val")) == (0, 6):
        return Token("ReLU6")
    if base == "mean" and {d % x.ndim for d in a.get("dim") or ()} == set(range(2, x.ndim)):
        return Token("average pool", "global")
    if base == "amax" and {d % x.ndim for d in a.get("dim") or ()} == set(range(2, x.ndim)):
        return Token("max pool", "global")
    if base in _POOLS:
        return Token(_POOLS[base], _window(a, x))
    if base in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        kind = "max pool" if "max" in base else "average pool"
        if tuple(out.shape[2:]) == (1, 1):
            return Token(kind, "global")
        if any(a % b for a, b in zip(x.shape[2:], out.shape[2:], strict=True)):
            return Token(kind, f"to {by(out.shape[2:])}, whatever the input")
        sides = tuple(a // b for a, b in zip(x.shape[2:], out.shape[2:], strict=True))
        return Token(kind, f"{by(sides)}, stride {shortly(sides)}")
    if base in ("native_dropout", "dropout"):
        return Token("dropout", f"p = {a['p']:g}")
    if base == "mul" and id(a.get("other")) in rates:
        whole = " of whole channels" if a["other"].shape[2:] == (1, 1) != x.shape[2:] else ""
        return Token("dropout", f"p = {rates[id(a['other'])]:g}{whole}")
    return Token(base)


def _window(a: dict[str, Any], x: Tensor) -> str:
    sides = pair(a["kernel_size"])
    if sides == tuple(x.shape[2:]):
        return "global"
    detail = f"{by(sides)}, stride {shortly(pair(a.get('stride') or a['kernel_size']))}"
    padding = pair(a.get("padding") or 0)
    if any(padding):
        detail += f", padding {shortly(padding)}"
    detail += ", ceil_mode" if a.get("ceil_mode") else ""
    uncounted = any(padding) and not a.get("count_include_pad", True)
    detail += ", padding not counted" if uncounted else ""
    return detail + (f", divisor {a['divisor_override']}" if a.get("divisor_override") else "")


def _from_zero(a: dict[str, Any]) -> bool:
    zero = a.get("threshold") == 0 == a.get("value") if "threshold" in a else a.get("min") == 0
    return zero and a.get("max") is None


def pair(sides: Any) -> tuple[int, ...]:
    """One number for both sides, or one for each."""
    if isinstance(sides, int):
        return (sides, sides)
    return tuple(sides) * (2 if len(sides) == 1 else 1)


def by(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides))


def shortly(sides: Sequence[int]) -> str:
    return str(sides[0]) if len(set(sides)) == 1 else by(sides)
