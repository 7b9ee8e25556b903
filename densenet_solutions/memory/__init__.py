"""Ways to save memory, one idea a file, and the table of all of them (exercise 3.2)."""

from collections.abc import Mapping
from types import MappingProxyType

from densenet_solutions import checks
from densenet_solutions.memory import (
    bfloat16,
    channel_pruning,
    compiled,
    connections,
    gates,
    gradient_accumulation,
    in_place,
    in_place_normalization,
    learned_groups,
    low_rank,
    offload,
    one_shot_aggregation,
    plain,
    pool_first,
    quantized_inference,
    recompute,
    saved_in_8_bits,
    selective_checkpointing,
    shared_storage,
)
from densenet_solutions.memory.own_block import dense_block as dense_block
from densenet_solutions.memory.strategy import Exactness as Exactness
from densenet_solutions.memory.strategy import Strategy as Strategy
from densenet_solutions.memory.strategy import training_step as training_step
from densenet_solutions.memory.trunks import find_trunks as find_trunks


class _Rows(dict[str, Strategy]):
    def __missing__(self, name: str) -> Strategy:
        try:
            checks.choice("a strategy", name, self)
        except ValueError as error:
            raise KeyError(str(error)) from None
        raise KeyError(name)


#: Every strategy by name, family by family. A file adds its own by a tuple `STRATEGIES` and its
#: name here.
STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    _Rows(
        (row.name, row)
        for file in (
            *(plain, in_place),
            *(recompute, selective_checkpointing, shared_storage),
            *(in_place_normalization, compiled),
            *(pool_first, offload),
            *(bfloat16, saved_in_8_bits, quantized_inference),
            *(connections, one_shot_aggregation, gates),
            *(learned_groups, channel_pruning, low_rank),
            gradient_accumulation,
        )
        for row in file.STRATEGIES
    )
)
