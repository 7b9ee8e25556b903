"""Ways to save memory, one idea a file, and the table of all of them (exercise 3.2)."""

from collections.abc import Mapping

from densenet_solutions.memory import checkpoint, compiler, inplace, offload, plain, transition
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
    offload.STRATEGIES,
    compiler.STRATEGIES,
)
