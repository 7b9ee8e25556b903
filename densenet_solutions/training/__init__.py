"""The training of image classifiers: seeded, resumable, on one device or on several processes."""

from densenet_solutions.training.loop import build_optimizer as build_optimizer
from densenet_solutions.training.loop import evaluate as evaluate
from densenet_solutions.training.loop import run_epoch as run_epoch
from densenet_solutions.training.loop import train as train
from densenet_solutions.training.settings import EpochMetrics as EpochMetrics
from densenet_solutions.training.settings import TrainingResult as TrainingResult
from densenet_solutions.training.settings import TrainingSettings as TrainingSettings
