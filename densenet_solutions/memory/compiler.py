"""Let the compiler choose what to keep and what to recompute, within a budget."""

from __future__ import annotations

from torch import Tensor, nn

from densenet_solutions.memory.strategies import Strategy, copy_of, training_step
from densenet_solutions.models import DenseNet

#: Share of the activations of a compiled step that may be kept: 1 keeps what is fastest, 0 keeps
#: the inputs only.
BUDGET = 0.1


def compiled(model: nn.Module) -> nn.Module:
    """A copy that is compiled when it first runs; names in its state dict stay as they are."""
    model = copy_of(model, DenseNet)
    model.compile()
    return model


def compiled_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """`training_step` of a compiled model under the memory budget `BUDGET`."""
    import torch._functorch.config

    with torch._functorch.config.patch(activation_memory_budget=BUDGET):
        return training_step(model, inputs, targets)


STRATEGIES = (
    Strategy(
        name="compiled",
        summary=f"The compiler keeps {BUDGET:.0%} of the activations and recomputes the rest.",
        exactness="numerical",
        source="torch._functorch.config.activation_memory_budget",
        apply=compiled,
        step=compiled_step,
        predictable=False,
        costs="Minutes of compiling for each model and input shape.",
        on_request=True,
    ),
)
