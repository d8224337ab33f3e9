"""The server: Streamlit's, which draws main.py for each visitor.

It answers only once what the pages import is there, so that the first visitor does not wait for it.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.middleware import Middleware
from streamlit import App

from dashboard import boundary
from dashboard.uploads import Uploads
from storecast.errors import StorecastError

NEEDED = ("plotly.graph_objects", "storecast.store.parquet", "orchestrator.details", "dashboard.views")


@asynccontextmanager
async def ready(_app: App) -> AsyncIterator[dict[str, Any]]:
    """Import what takes seconds, and read what the first page shows."""
    for name in NEEDED:
        importlib.import_module(name)
    from dashboard.views import overview

    with suppress(StorecastError):  # the page itself will say it
        overview.warm()
    yield {}


app = App("main.py", lifespan=ready, middleware=[Middleware(Uploads)], on_script_error=boundary.failed)
