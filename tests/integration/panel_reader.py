"""What a worker process of a test does: read a panel, with the settings that it finds."""

from __future__ import annotations

from components.stage import open_panel, open_store


def series(call: tuple[str, str]) -> int:
    """The number of series of a panel, by its workspace and URI."""
    workspace, panel = call
    return open_panel(open_store(workspace), panel).n_series
