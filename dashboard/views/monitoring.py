"""What happened after a forecast was released: error trends, drift, alarms, decisions."""

from __future__ import annotations

from dashboard.views import common


def page() -> None:
    """Draw the page."""
    common.heading("Monitoring")
