"""The pages, each a function that draws itself."""

from dashboard.views import data, forecasts, models, monitoring, overview, settings, training

__all__ = ["data", "forecasts", "models", "monitoring", "overview", "settings", "training"]
