"""How the models did on the backtest's folds, for the series that are looked at."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import charts, look, released
from dashboard.views.selection import Selection
from storecast.blend import BLEND
from storecast.errors import StoreError
from storecast.metrics import rmsle
from storecast.store.releases import Release


def draw(release: Release, selection: Selection) -> None:
    """Every model's forecast of a fold beside what was sold, and its error on these series."""
    try:
        every = released.all_models(release.uri)
    except StoreError:
        st.caption(
            "The store has no folds of other models beside this release: its forecast and the naive remain."
        )
        every = released.table(release.uri, "backtest", released.HOLDS)
    mine = every[every["unique_id"].isin(selection.ids)]
    cutoffs = sorted(mine["cutoff"].unique(), reverse=True)
    picked, chosen = st.columns([1, 3])
    with picked:
        cutoff = st.selectbox("Fold after", cutoffs, format_func=look.day)
    fold = mine[mine["cutoff"] == cutoff]
    names = sorted(fold["model"].unique())
    with chosen:
        shown = st.multiselect("Models", names, default=[name for name in names if name in (BLEND, "naive")])
    left, right = st.columns([3, 2])
    with left:
        sold = fold[fold["model"] == names[0]].groupby("ds")["y"].sum(min_count=1)
        sums = fold[fold["model"].isin(shown)].groupby(["ds", "model"], observed=True)["yhat"].sum()
        table = sums.unstack("model") if shown else pd.DataFrame(index=sold.index)
        said = f"What was sold after {look.day(cutoff)} and what {', '.join(shown) or 'no model'} expected."
        figure = charts.lines(table.assign(sold=sold), BLEND, "sales", actual="sold")
        charts.show(figure, key="fold", alt=said)
    with right:
        errors = rmsle(mine.dropna(subset=["y"]), ["model"]).set_index("model")["rmsle"]
        said = "; ".join(f"{name} {value:.4f}" for name, value in errors.sort_values().items())
        figure = charts.bars(errors, BLEND, f"RMSLE on {len(cutoffs)} folds (lower is better)")
        charts.show(figure, key="fold errors", alt=f"RMSLE by model: {said}")
