"""The private names of torch that the instruments use: a new torch may rename them.

Beside these, `cuda_kernels` calls the operators `aten._scaled_dot_product_…_attention` and
`torch.library.Library._destroy`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
from torch.utils._pytree import tree_iter as tree_iter
from torch.utils._pytree import tree_leaves as tree_leaves

#: Number of the backward pass that runs in this thread, −1 outside of any.
current_graph_task = torch._C._current_graph_task_id
#: Node of the autograd graph whose gradient is being computed.
current_node = torch._C._current_autograd_node
#: Number that autograd will give to the next node of the forward pass.
next_sequence_number = torch._C._autograd._get_sequence_nr

Convolution = nn.modules.conv._ConvNd
BatchNorm = nn.modules.batchnorm._NormBase


def sequence_number(node: object) -> int:
    """Number that a node got in the forward pass; 0 for nodes without."""
    return getattr(node, "_sequence_nr", lambda: 0)()


def storage_key(storage: torch.UntypedStorage) -> int:
    """What tells a storage from all others that are alive."""
    return storage._cdata


def is_compiled(model: nn.Module) -> bool:
    """Whether any part of the model was given to the compiler."""
    return any(
        module._compiled_call_impl is not None or hasattr(module, "_orig_mod")
        for module in model.modules()
    )


def clear_cublas_workspaces() -> None:
    """Let go of the workspaces that PyTorch keeps for cuBLAS until the next product needs one."""
    torch._C._cuda_clearCublasWorkspaces()
