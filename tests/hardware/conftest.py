"""Fixtures of the hardware tests."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from slipstick.hardware.cache import Cache
    from slipstick.hardware.liberty import Library


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "Library":
    """The library of round numbers."""
    from tiny_library import tiny_library

    return tiny_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> "Cache":
    """An empty one for the tests of a file."""
    from slipstick.hardware.cache import Cache

    return Cache(tmp_path_factory.mktemp("cache"))
