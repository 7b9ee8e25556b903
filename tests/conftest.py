"""What holds for all tests."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def same_number_of_threads() -> Iterator[None]:
    """Sums over threads round differently: no test hands its number of threads on to the next."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
