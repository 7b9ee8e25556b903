"""What some tests need and a user may lack is a skip, unless it is required, as in CI."""

import os

import pytest

from densenet_solutions.images import fashion_mnist_is_here


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = item.get_closest_marker("images") is not None
    required = os.environ.get("DENSENET_SOLUTIONS_REQUIRE_IMAGES")
    if wanted and not required and not fashion_mnist_is_here():
        pytest.skip("Fashion-MNIST is not on this machine")
