"""A page of the dashboard without a browser, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest


@contextmanager
def on_loopback() -> Iterator[None]:
    """The dashboard as this machine alone reaches it, which asks nobody who they are; nothing is cached."""
    before = config.get_option("server.address")
    config.set_option("server.address", "127.0.0.1")
    st.cache_data.clear()
    try:
        yield
    finally:
        config.set_option("server.address", before)
        st.cache_data.clear()


def draw(page: str) -> AppTest:
    """A page as a visitor gets it; errors that nothing in the page has caught end the test."""

    def script(name: str) -> None:
        import importlib

        import streamlit as st

        from dashboard.views import common

        titles = {"training": "Training", "monitoring": "Monitoring"}
        common.remember([st.Page(lambda: None, title=t, url_path=u) for u, t in titles.items()])
        importlib.import_module(f"dashboard.views.{name}").page()

    drawn = AppTest.from_function(script, args=(page,), default_timeout=60).run()
    assert not drawn.exception, drawn.exception[0].message
    return drawn


def words(drawn: AppTest) -> str:
    """All that a page says."""
    parts = (drawn.title, drawn.header, drawn.markdown, drawn.caption, drawn.warning, drawn.error, drawn.info)
    return "\n".join(str(element.value) for part in parts for element in part)
