"""Loads the fixtures that start private servers, and makes property tests independent of the machine's speed."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["services", "ledgers"]

settings.register_profile("aquatint", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("aquatint")
