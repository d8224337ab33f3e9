"""What is in force: settings and where each came from, versions, users, and what was done here."""

from __future__ import annotations

import platform
from importlib import metadata

import pandas as pd
import streamlit as st

from dashboard import audit, look, users
from dashboard.boundary import part
from dashboard.views import common
from storecast.settings import Settings, explain_settings, load_settings

LIBRARIES = ("storecast", "prefect", "mlflow", "bentoml", "streamlit", "pandas", "torch", "lightgbm")


def page() -> None:
    """Draw the page."""
    common.heading("Settings", "Read only: variables STORECAST_* over storecast.yaml over defaults.")
    force, log, who, versions = st.tabs(["In force", "Audit log", "Users", "Versions"])
    with force, part("Settings"):
        _in_force()
    with log, part("Audit log"):
        _log()
    with who, part("Users"):
        _users()
    with versions:
        _versions()


def _in_force() -> None:
    rows = pd.DataFrame(explain_settings(), columns=["Setting", "Value", "From"])
    rows["What it is"] = [str(Settings.model_fields[name].description) for name in rows["Setting"]]
    changed = st.toggle("Only what differs from the defaults")
    shown = rows[rows["From"] != "default"] if changed else rows
    st.dataframe(
        shown,
        hide_index=True,
        height=38 + 35 * len(shown) if len(shown) else "auto",
        column_config={
            "Setting": st.column_config.TextColumn(width=190),
            "Value": st.column_config.TextColumn(width=230),
            "From": st.column_config.TextColumn(width=230),
        },
        alt="Settings, their values, where each came from and what it is",
    )


def _log() -> None:
    entries = audit.latest()
    if not entries:
        st.caption("Nothing was done here yet.")
        return
    rows = [
        {
            "When": look.ago(entry.at),
            "At": entry.at[:19].replace("T", " "),
            "Who": f"{entry.who} ({entry.how})",
            "Action": entry.action,
            "About": ", ".join(f"{name} {value}" for name, value in entry.about.items()),
            "Ended": f"{entry.state} {entry.found}".strip(),
        }
        for entry in entries
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="What was done here, the newest first")


def _users() -> None:
    me = common.here()
    st.markdown(f"You are **{me.name}**, {me.role.value}.")
    if me.how == "local":
        st.markdown(
            "Nobody is asked to log in. `storecast dashboard add-user NAME --role operator` changes that."
        )
        return
    if me.how == "oidc":
        st.caption(
            "People log in with the OIDC provider; the setting dashboard_operators names those who may act."
        )
        return
    found = users.read(users.users_path(load_settings()))
    rows = [{"Name": user.name, "Role": user.role.value, "Since": user.since} for user in found]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Users and their roles")


def _versions() -> None:
    rows = [{"What": "python", "Version": platform.python_version()}]
    rows += [{"What": name, "Version": _version(name)} for name in LIBRARIES]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width=400, alt="Versions of the main libraries")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return look.NONE
