"""Ways to save memory, one idea a file, and the table of all of them (exercise 3.2)."""

from collections.abc import Mapping

from densenet_solutions.memory import (
    accumulation,
    checkpoint,
    compiler,
    compressed_activations,
    gates,
    groups,
    inplace,
    low_rank,
    offload,
    plain,
    precision,
    pruning,
    quantization,
    shared_storage,
    sparse_connectivity,
    transition,
)
from densenet_solutions.memory.strategies import Exactness as Exactness
from densenet_solutions.memory.strategies import Strategy as Strategy
from densenet_solutions.memory.strategies import table
from densenet_solutions.memory.strategies import training_step as training_step

#: Every strategy by name. A module adds its own by a tuple `STRATEGIES` and one line here.
STRATEGIES: Mapping[str, Strategy] = table(
    plain.STRATEGIES,
    inplace.STRATEGIES,
    transition.STRATEGIES,
    checkpoint.STRATEGIES,
    shared_storage.STRATEGIES,
    offload.STRATEGIES,
    compiler.STRATEGIES,
    precision.STRATEGIES,
    compressed_activations.STRATEGIES,
    quantization.STRATEGIES,
    sparse_connectivity.STRATEGIES,
    gates.STRATEGIES,
    groups.STRATEGIES,
    pruning.STRATEGIES,
    low_rank.STRATEGIES,
    accumulation.STRATEGIES,
)
