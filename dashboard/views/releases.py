"""Moving the pointer: promote a release, or go back to the one before, as `storecast releases` does."""

from __future__ import annotations

import streamlit as st

from dashboard import audit, backends
from dashboard.boundary import part
from dashboard.views import common
from storecast.errors import ReleaseError
from storecast.store.releases import Release, ReleaseStore


def draw(store: ReleaseStore, current: Release | None, chosen: Release) -> None:
    """Buttons for what can be done with a release, each with a question before."""
    who = common.here()
    why_not = None if who.acts else "You may look. Ask an operator, or for the role operator."
    promote, back, _ = st.columns([1, 1, 3])
    if current is None or chosen.id != current.id:
        pressed = promote.button(
            "Promote",
            type="primary",
            icon=":material/publish:",
            disabled=not who.acts,
            help=why_not or "Make it the current release: the service answers from it within seconds.",
            width="stretch",
        )
        if pressed:
            _ask_promote(store, chosen)
    before = _before(store)
    if before is not None and back.button(
        "Roll back",
        icon=":material/undo:",
        disabled=not who.acts,
        help=why_not or f"Back to {before.id}.",
        width="stretch",
    ):
        _ask_back(store, before)
    _followed()


@st.dialog("Promote a release")
def _ask_promote(store: ReleaseStore, chosen: Release) -> None:
    st.write(f"**{chosen.id}** becomes the current release, and its model MLflow's champion.")
    if not chosen.about.get("promoted", True):
        st.warning("The gate did not promote its model: it is the champion's forecast from new data.")
    if st.button("Promote it", type="primary"):
        _move(store, chosen, "promote")


@st.dialog("Roll back")
def _ask_back(store: ReleaseStore, before: Release) -> None:
    st.write(f"**{before.id}**, which was current before, becomes the current release again.")
    if st.button("Roll back now", type="primary"):
        _move(store, before, "roll back")


def _move(store: ReleaseStore, wanted: Release, action: str) -> None:
    """Move MLflow's champion and the pointer, after every file was compared with its checksum."""
    from components import activate

    who = common.here()
    why = f"{'promoted' if action == 'promote' else 'rolled back'} by {who.name} on the dashboard"
    about = {"dataset": str(wanted.about["dataset"]), "release": wanted.id}
    with part("Not done"), st.spinner("Checking its files, moving MLflow's champion and the pointer"):
        audit.perform(who, action, about, lambda: activate.run(wanted.uri, why, store.store.root))
        backends.served.clear()
        st.session_state["moved"] = f"{wanted.id} is the current release."
        st.rerun()


def _followed() -> None:
    """What was done, once."""
    if said := st.session_state.pop("moved", ""):
        st.toast(said, icon=":material/check_circle:")


def _before(store: ReleaseStore) -> Release | None:
    try:
        return store.before_current()
    except ReleaseError:
        return None
