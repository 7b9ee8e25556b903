"""Let a step without data keep what CUDA's kernels keep, where they differ from the meta device's.

A step on the meta device takes the general definition of an operation. On a GPU three take
another way, and autograd keeps other tensors:

- dropout keeps a mask of one byte an element, not one of the input's type
  (`aten/src/ATen/native/Dropout.cpp`: `native_dropout`);
- scaled dot-product attention is fused and keeps queries, keys, values, output and one number a
  row, not the matrix of weights (`aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`: flash
  attention for 16 bits without a mask, memory-efficient attention else, the matrices for the rest);
- an optimizer that is left to choose updates all parameters at once (`foreach`).

For as long as the context lasts, these operations are defined anew for tensors without data.

A kernel may also take room only while it runs. Of that one kind is known well enough to be counted:
the copies that cuDNN makes in the backward pass of a convolution (`kernel_workspace`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_ATEN = torch.ops.aten


@contextlib.contextmanager
def cuda_kernels(device: torch.device) -> Iterator[None]:
    """On `device` (meta, or the CPU of fake tensors), choose the kernels that CUDA would."""
    key = "AutogradMeta" if device.type == "meta" else "AutogradCPU"
    library = torch.library.Library("aten", "IMPL")
    library.impl("dropout", _dropout, key)
    library.impl("scaled_dot_product_attention", _attention, key)
    try:
        yield
    finally:
        library._destroy()


def choose_foreach(optimizer: Optimizer) -> None:
    """What `torch.optim` chooses for parameters on CUDA, where nothing else was asked for."""
    for group in optimizer.param_groups:
        if group.get("foreach", False) is None and not group.get("fused"):
            group["foreach"] = not group.get("differentiable", False)


def kernel_workspace(func: Any, args: tuple[Any, ...]) -> int:
    """Bytes that an operation's kernel takes only while it runs, as far as they are known.

    Tensor cores want channels last. In the backward pass of a two-dimensional convolution wider
    than 1×1, of one group, in another layout, copies of its input, its output's gradient and its
    weight are counted. That this is their size was inferred from what two GPUs reserved, not read
    from a library: see `exercises/memory/published.py`. For anything else the answer is 0.
    """
    if func is not _ATEN.convolution_backward.default:
        return 0
    gradient, x, weight = args[:3]
    transposed, groups = args[7], args[9]
    if transposed or groups > 1 or weight.ndim != 4 or weight[0, 0].numel() == 1:
        return 0
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return 0
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return 0
    return sum(tensor.numel() * tensor.element_size() for tensor in (gradient, x, weight))


def unknown_kernels(model: nn.Module) -> tuple[str, ...]:
    """What a model has whose memory on CUDA is not known without a GPU, in words."""
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return ("recurrent layers: what plain operations keep, since cuDNN's reserve is not known",)
    return ()


def _dropout(x: Tensor, p: float, train: bool) -> Tensor:
    if train and 0 < p < 1 and x.numel():
        return torch.native_dropout(x, p, True)[0]
    if train and p:
        return x * torch.zeros_like(x)
    return x


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    qkv = (query, key, value)
    fusible = not enable_gqa and all(t.ndim == 4 and t.stride(-1) == 1 and t.numel() for t in qkv)
    half = query.dtype in (torch.float16, torch.bfloat16)
    width = query.shape[-1]
    same_width = width == key.shape[-1] == value.shape[-1]
    if fusible and half and attn_mask is None and same_width and width <= 256:
        padding = -width % 8
        q, k, v = (nn.functional.pad(t, (0, padding)) if padding else t for t in qkv)
        out: Any = _ATEN._scaled_dot_product_flash_attention(
            q, k, v, dropout_p, is_causal, False, scale=width**-0.5 if scale is None else scale
        )[0]
        return out[..., :width] if padding else out
    if fusible and (half or query.dtype == torch.float32):
        needs_gradient = torch.is_grad_enabled() and any(t.requires_grad for t in qkv)
        bias = None if attn_mask is None else _bias(attn_mask, query, key)
        return _ATEN._scaled_dot_product_efficient_attention(
            query, key, value, bias, needs_gradient, dropout_p, is_causal, scale=scale
        )[0]
    return _ATEN._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]


def _bias(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """A mask as the memory-efficient kernel takes it: numbers, rows of a multiple of 16."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, -torch.inf)
    width = mask.shape[-1]
    if width % 16:
        mask = nn.functional.pad(mask, (0, -width % 16))[..., :width]
    return mask.expand(*query.shape[:2], query.shape[-2], key.shape[-2])
