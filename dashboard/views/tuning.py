"""The fields of a tuning: which model, how many trials, and what else its deployment can be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import forms
from storecast.configs import config_folder

FIRST = "gbm"
MORE = ("minutes", "jobs", "folds", "series", "space")
"""Parameters that are seldom changed."""


def fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the fields; what was entered.

    Args:
        schema: of the deployment's parameters, as Prefect knows them.
    """
    properties = schema["properties"]
    left, right = st.columns(2)
    names = tunable()
    model = left.selectbox(
        "Model",
        names,
        index=names.index(FIRST) if FIRST in names else 0,
        accept_new_options=True,
        help="A model that ships with a search space, or a file or URI of your own, with one named below.",
    )
    with right:
        trials = forms.draw({"properties": {"trials": properties["trials"]}}, {}, "tuning")
    with st.expander("Change how it is searched", icon=":material/manage_search:"):
        more = {name: properties[name] for name in MORE if name in properties}
        entered = forms.draw({"properties": more}, {}, "tuning more")
    changed = {name: value for name, value in entered.items() if value != properties[name].get("default")}
    return {"model": model, **trials, **changed}


def tunable() -> list[str]:
    """Models of which a search space ships."""
    return sorted(path.stem for path in config_folder("search_spaces").glob("*.yaml"))
