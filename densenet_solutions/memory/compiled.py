"""Let the compiler choose what to keep and what to recompute, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from densenet_solutions import checks
from densenet_solutions.memory.strategy import Strategy
from densenet_solutions.memory.trunks import with_trunks

#: Share of the activations of a compiled step that may be kept: 1 keeps what is fastest, 0 keeps
#: the inputs only.
BUDGET = 0.1


def compiled(model: nn.Module, budget: float = BUDGET) -> nn.Module:
    """A copy that is compiled when it first runs; names in its state dict stay as they are.

    Its training steps keep the share `budget` of the activations.
    """
    model = with_trunks(model)
    model.compile(backend=_within(checks.share("budget", budget)))
    return model


def _within(budget: float) -> Callable[..., Any]:
    """A compiler of its own for every budget: two networks of one class never share code."""

    def backend(graph: Any, inputs: Sequence[Any]) -> Any:
        import torch._functorch.config
        from torch._inductor.compile_fx import compile_fx

        with torch._functorch.config.patch(activation_memory_budget=budget):
            return compile_fx(graph, inputs)

    return backend


STRATEGIES = (
    Strategy(
        apply=compiled,
        family="recompute",
        summary=f"The compiler keeps {BUDGET:.0%} of the activations and recomputes the rest.",
        exactness="numerical",
        source="torch._functorch.config.activation_memory_budget",
        verdict="without work, but for compiling",
        predictable=False,
        costs="Minutes of compiling for each model and input shape.",
        on_request=True,
    ),
)
