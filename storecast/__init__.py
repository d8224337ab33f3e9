"""Storecast's domain: panels, features, models, backtests, releases. Needs no server and no network."""

__version__ = "0.1.0"
