"""Instruments: a model or a factory goes in, a result comes out; no network is known here."""

from densenet_solutions.measure.cuda_cache import CudaCache as CudaCache
from densenet_solutions.measure.flops import FlopCount as FlopCount
from densenet_solutions.measure.flops import count_flops as count_flops
from densenet_solutions.measure.memory import MemoryResult as MemoryResult
from densenet_solutions.measure.parameters import ParameterCount as ParameterCount
from densenet_solutions.measure.parameters import count_parameters as count_parameters
from densenet_solutions.measure.saved import saved_bytes as saved_bytes
from densenet_solutions.measure.step import Step as Step
from densenet_solutions.measure.step import measure_memory as measure_memory
from densenet_solutions.measure.step import predict_memory as predict_memory
from densenet_solutions.measure.timing import time_interleaved as time_interleaved
