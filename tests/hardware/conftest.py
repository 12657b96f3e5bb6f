"""Tests marked ``long`` run only if asked for: ``pytest -m long tests/hardware``."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from slipstick.hardware.cache import Cache
    from slipstick.hardware.liberty import Library


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: many vectors or large units; run with -m long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "long" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="long; run with -m long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


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
