"""What several pages have: the data set that is looked at, and what to do on an empty platform."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from streamlit import Page

from dashboard import access, backends, look
from dashboard.access import Person
from storecast.errors import ConfigError
from storecast.store.releases import ReleaseStore

WORDS = {"D": "day", "W": "week"}


def here() -> Person:
    """Who looks at the page.

    Raises:
        ConfigError: nobody is logged in.
    """
    found = access.person()
    if found is None:
        raise ConfigError("nobody is logged in", cure="reload the page")
    return found


def chosen_releases() -> ReleaseStore | None:
    """The releases of the data set that is looked at; None, and what to do first, where there are none.

    Raises:
        StoreError: the store cannot be reached.
    """
    names = backends.datasets()
    if not names:
        empty_platform()
        return None
    kept = st.session_state.get("dataset")
    chosen = kept if kept in names else names[0]
    if len(names) > 1:
        with st.sidebar:
            chosen = st.selectbox("Data set", names, index=names.index(chosen))
    st.session_state["dataset"] = chosen
    return backends.releases(chosen)


def empty_platform() -> None:
    """What to do where nothing was released yet."""
    st.info("Nothing has been released yet: there is no forecast to show.", icon=":material/rocket_launch:")
    first, second = st.columns(2)
    with first, st.container(border=True, height="stretch"):
        st.header("Try it")
        st.write(
            "Start the demo: synthetic sales of a small retailer, all models, a release in some minutes."
        )
        _to_training("Start the demo run")
    with second, st.container(border=True, height="stretch"):
        st.header("Use your data")
        st.write(
            "Upload the raw files of a panel that a data set config describes, or name the folder or URI "
            "that they lie in, and start a training run on them."
        )
        _to_training("Start a training run")


def _to_training(label: str) -> None:
    link("Training", label, ":material/model_training:")


def remember(pages: Sequence[Page]) -> None:
    """Keep the pages, for links from one to another."""
    st.session_state["pages"] = {page.title: page for page in pages}


def link(title: str, label: str, icon: str) -> None:
    """A link to the page of a title."""
    st.page_link(st.session_state["pages"][title], label=label, icon=icon)


def heading(title: str, note: str = "") -> None:
    """A page's title and, below it, what it is about."""
    st.title(title)
    if note:
        st.caption(note)


def history_window(history: pd.Series, cutoff: pd.Timestamp, steps: int | None) -> pd.Series:
    """The last steps of a history that ends at the cutoff; None: all of it."""
    past = history[:cutoff]
    return past if steps is None else past.iloc[-steps:]


def column_titles() -> dict[str, str]:
    """Titles of score columns."""
    return dict(look.TITLES)
