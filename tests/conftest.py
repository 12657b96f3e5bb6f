"""Settings and fixtures for the whole suite. Tests marked ``long`` run only if asked for: ``pytest -m long``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from slipstick.hardware.liberty import Library

# Shared machines stall: a slow example is no failure, and the same examples run everywhere.
settings.register_profile("slipstick", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slipstick")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: many vectors, samples or codes, or large units; run with -m long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "long" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="long; run with -m long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def installed() -> "Callable[[str], Library]":
    """A cell library by name; where it is not installed, the test is skipped."""
    from slipstick.hardware.liberty import load_library
    from slipstick.hardware.tools import MissingTool

    def library(name: str) -> "Library":
        try:
            return load_library(name)
        except MissingTool:
            pytest.skip(f"{name} is not installed")

    return library


@pytest.fixture(scope="session")
def nangate(installed: "Callable[[str], Library]") -> "Library":
    return installed("nangate45")
