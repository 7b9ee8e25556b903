"""Let the compiler choose what to keep and what to recompute, within a budget."""

from __future__ import annotations

from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.memory.strategy import Strategy, training_step
from densenet_solutions.memory.trunks import with_trunks

#: Share of the activations of a compiled step that may be kept: 1 keeps what is fastest, 0 keeps
#: the inputs only.
BUDGET = 0.1


def compiled(model: nn.Module, budget: float = BUDGET) -> nn.Module:
    """A copy that is compiled when it first runs; names in its state dict stay as they are.

    Its step, `compiled_step`, keeps the share `budget` of the activations.
    """
    budget = checks.share("budget", budget)
    model = with_trunks(model)
    vars(model)["activation_memory_budget"] = budget
    model.compile()
    return model


def compiled_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """`training_step` of a compiled model under its memory budget."""
    import torch._functorch.config

    budget = getattr(model, "activation_memory_budget", BUDGET)
    with torch._functorch.config.patch(activation_memory_budget=budget):
        return training_step(model, inputs, targets)


STRATEGIES = (
    Strategy(
        apply=compiled,
        family="recompute",
        summary=f"The compiler keeps {BUDGET:.0%} of the activations and recomputes the rest.",
        exactness="numerical",
        source="torch._functorch.config.activation_memory_budget",
        verdict="without work, but for compiling",
        step=compiled_step,
        predictable=False,
        costs="Minutes of compiling for each model and input shape.",
        on_request=True,
    ),
)
