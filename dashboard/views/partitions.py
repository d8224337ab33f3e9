"""The fields of a training in partitions, as its deployment takes them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import forms
from orchestrator import details

FLOW = "partitioned"
TITLES = {"series": "Series in a partition", "by": "Column to cut by", "at_once": "Partitions at a time"}


def fields(*, at_once: bool) -> dict[str, Any]:
    """Draw the fields; what was entered, nothing where the panel is to stay whole.

    Args:
        at_once: ask how many partitions may be under way at a time, too: where pods do the work.

    Raises:
        StoreError: the Prefect API cannot be reached, or has no such deployment.
    """
    with st.expander("Cut the panel into partitions", icon=":material/splitscreen:"):
        if not st.checkbox(
            "Train it in partitions",
            help="For a panel too large for one machine: each is a data set with models and releases of its "
            "own, and their releases are joined into one (docs/partitions.md).",
        ):
            return {}
        properties = details.form_of(FLOW)[0]["properties"]
        asked = {
            name: {**properties[name], "title": title}
            for name, title in TITLES.items()
            if at_once or name != "at_once"
        }
        return forms.draw({"properties": asked}, {}, FLOW)
