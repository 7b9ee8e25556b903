"""The compiler's budget."""

import torch
import torch._functorch.config
import torch._inductor.compile_fx

from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import densenet121


def test_two_networks_of_one_class_are_compiled_each_within_its_own_budget(monkeypatch) -> None:
    seen = []

    def compile_fx(graph, inputs):
        seen.append(torch._functorch.config.activation_memory_budget)
        return graph.forward

    monkeypatch.setattr(torch._inductor.compile_fx, "compile_fx", compile_fx)
    before = torch._functorch.config.activation_memory_budget
    plain = densenet121(block_config=(1,), num_classes=3).eval()
    x = torch.randn(2, 3, 32, 32)
    for budget in (0.1, 1.0):
        torch.testing.assert_close(STRATEGIES["compiled"].apply(plain, budget=budget)(x), plain(x))
    assert seen == [0.1, 1.0]
    assert torch._functorch.config.activation_memory_budget == before
