"""Storecast's domain: panels, features, models, backtests, releases. Needs no server."""

__version__ = "0.1.0"
