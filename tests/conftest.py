"""One thread, what waits longest first; what a user may lack is a skip, unless it is required."""

import gc
import os
from pathlib import Path

import hypothesis
import pytest

# The networks are small: a second thread waits more than it works, and the tests took three times
# the processor's time. Those that are about threads set their own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from densenet_solutions.images import fashion_mnist_is_here  # imports PyTorch

# No test depends on how busy the machine is.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pages and the browser come first, so that of several processes none is left with them."""
    site = Path(__file__).parent / "site"
    items.sort(key=lambda item: not item.path.is_relative_to(site))


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the collector of garbage need not look at them again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = item.get_closest_marker("images") is not None
    required = os.environ.get("DENSENET_SOLUTIONS_REQUIRE_IMAGES")
    if wanted and not required and not fashion_mnist_is_here():
        pytest.skip("Fashion-MNIST is not on this machine")
