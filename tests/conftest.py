"""Settings and fixtures for the whole suite."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from slipstick.hardware.liberty import Library

# Shared machines stall: a slow example is no failure, and the same examples run everywhere.
settings.register_profile("slipstick", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slipstick")


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
