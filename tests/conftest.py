"""Loads the fixtures that start private servers."""

pytest_plugins = ["services", "ledgers"]
