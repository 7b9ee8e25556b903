"""Nothing here changes the process that it runs in."""

import importlib
import warnings

import numpy as np
import pytest
import torch

from densenet_solutions import houses
from densenet_solutions.exercises.houses import recordings
from densenet_solutions.houses.models import Mean


def test_importing_leaves_the_warnings_as_they_are():
    before = list(warnings.filters)
    importlib.reload(houses)
    assert warnings.filters == before


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


class Threads(Mean):
    """Says with how many threads it was asked."""

    def predict(self, splits, seeds):
        return [np.full((len(seeds), len(s.new)), torch.get_num_threads()) for s in splits]


@pytest.mark.usefixtures("two_threads")
def test_a_recording_gives_the_threads_back():
    recordings._houses.cache_clear()
    assert set(recordings.evaluate(Threads(), "book").errors) == set(
        np.round(1 - recordings._houses()[1], 5)
    )
    assert torch.get_num_threads() == 2
