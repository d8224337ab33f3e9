"""The script that Streamlit runs for each visitor and click: who is here, which page, and its frame."""

from __future__ import annotations

import streamlit as st

from dashboard import access, look, start, uploads
from dashboard.access import Person
from dashboard.views import common, data, forecasts, models, monitoring, overview, settings, training
from storecast import __version__

PAGES = (
    (overview.page, "Overview", ":material/monitoring:"),
    (data.page, "Data", ":material/database:"),
    (forecasts.page, "Forecasts", ":material/insights:"),
    (training.page, "Training", ":material/model_training:"),
    (models.page, "Models", ":material/leaderboard:"),
    (monitoring.page, "Monitoring", ":material/notifications:"),
    (settings.page, "Settings", ":material/settings:"),
)


def main() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title="Storecast", page_icon=look.ICON, layout="wide")
    st.html(look.STYLE)
    who = access.person()
    uploads.allow(who is not None and who.acts)
    if who is None:
        _log_in()
        return
    pages = [
        st.Page(page, title=title, icon=icon, url_path=title.lower(), default=page is PAGES[0][0])
        for page, title, icon in PAGES
    ]
    common.remember(pages)
    chosen = st.navigation(pages)
    _sidebar(who)
    chosen.run()


def _sidebar(who: Person) -> None:
    with st.sidebar:
        if who.how == "local":
            st.caption(
                "Local mode: nobody is asked to log in, and this machine alone can reach the page. "
                "`storecast dashboard add-user` changes that."
            )
        else:
            st.caption(f"{who.name} · {who.role.value}")
            st.button("Log out", on_click=access.log_out, icon=":material/logout:")
        st.caption(f"Storecast {__version__}")


def _log_in() -> None:
    st.navigation([st.Page(lambda: None, title="Log in", url_path="log-in")], position="hidden").run()
    _, middle, _ = st.columns([1, 1.2, 1])
    with middle:
        st.title("Storecast")
        if start.has_provider():
            st.button("Log in", on_click=st.login, type="primary")
            return
        with st.form("log in"):
            name = st.text_input("Name", autocomplete="username")
            password = st.text_input("Password", type="password", autocomplete="current-password")
            if st.form_submit_button("Log in", type="primary"):
                if access.log_in(name, password):
                    st.rerun()
                st.error("The name or the password is wrong.")


main()
