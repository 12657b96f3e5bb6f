"""Settings for the whole suite."""

from hypothesis import HealthCheck, settings

# Shared machines stall: a slow example is no failure, and the same examples run everywhere.
settings.register_profile("slipstick", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slipstick")
