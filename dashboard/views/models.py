"""Releases and their models: leaderboard by segment, the gate's verdict, promote, roll back."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import backends, charts, look, released
from dashboard.boundary import part
from dashboard.views import common, releases
from storecast.blend import BLEND
from storecast.errors import StorecastError
from storecast.store.releases import Release, ReleaseStore
from storecast.training_config import NAIVE

SHOWN = ("model", "rmsle", "vs_naive", "mae", "wape", "mase", "bias", "coverage_80", "coverage_95")
AS_PERCENT = ("vs_naive", "wape", "bias", "coverage_80", "coverage_95")
MOST_CELLS = 60
PERCENT = "%.1f %%"
REFRESHED = "refreshed"
"""In the lineage of a release that forecasts from newer data by the model of another: that one's id."""


def page() -> None:
    """Draw the page."""
    common.heading("Models")
    with part("Store"):
        store = common.chosen_releases()
        if store is not None:
            _releases(store)


def _releases(store: ReleaseStore) -> None:
    current = store.current()
    every = released.every(store)
    table = _table(store, every, current)
    st.header("Releases")
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "RMSLE": st.column_config.NumberColumn(format="%.4f", help=look.HELP["rmsle"]),
            "vs naive": st.column_config.NumberColumn(format=PERCENT),
        },
        alt="All releases, the newest first, with their error and when they were current",
    )
    names = table["Release"].tolist()
    first = names.index(current.id) if current else 0
    name = st.selectbox("Look at release", names, index=first)
    chosen = next(release for release in every if release.id == name)
    with part("Releases"):
        releases.draw(store, current, chosen)
    board, segments, verdict, made = st.tabs(["Leaderboard", "By segment", "Gate's verdict", "Made from"])
    with board, part("Leaderboard"):
        _leaderboard(chosen)
    with segments, part("Segments"):
        _segments(chosen)
    with verdict, part("Gate"):
        _verdict(chosen)
    with made, part("Lineage"):
        _lineage(chosen)


def _table(store: ReleaseStore, every: list[Release], current: Release | None) -> pd.DataFrame:
    last = {entry.id: entry for entry in store.history()}
    served = _served()
    rows = []
    for release in reversed(every):
        scores = release.about["rmsle_last_fold"]
        error = scores.get(BLEND, min(scores.values()))
        entry = last.get(release.id)
        rows.append(
            {
                "": "current" if current and release.id == current.id else "",
                "Release": release.id,
                "Served": "served" if release.id == served else "",
                "Sales until": look.day(release.about["cutoff"]),
                "RMSLE": error,
                "vs naive": 100 * (error / scores[NAIVE] - 1) if NAIVE in scores else None,
                "Gate": "promoted" if release.about.get("promoted") else "champion kept",
                "Last made current": look.ago(entry.at) if entry else "never",
                "Why": entry.why if entry else "",
            }
        )
    return pd.DataFrame(rows)


def _served() -> str:
    try:
        return str(backends.served()["id"])
    except StorecastError:
        return ""


def _leaderboard(release: Release) -> None:
    scores = released.scores(release.uri).sort_values("rmsle").reset_index(drop=True)
    naive = float(scores.loc[scores["model"] == NAIVE, "rmsle"].iloc[0])
    table = scores.assign(vs_naive=scores["rmsle"] / naive - 1)[list(SHOWN)]
    table[list(AS_PERCENT)] *= 100
    st.caption(f"Over all folds of the backtest, {int(scores['n'].max()):,} forecasts per model; best first.")
    st.dataframe(table, hide_index=True, column_config=_columns(), alt="Scores of each model, best first")
    left, right = st.columns(2)
    with left:
        st.markdown("**Error by fold**")
        folds = released.scores(release.uri, "cutoff")
        wide = folds.pivot(index="model", columns="cutoff", values="rmsle")
        wide.columns = [f"after {look.day(cutoff)}" for cutoff in wide.columns]
        best = wide.sort_values(wide.columns[-1])
        st.dataframe(
            best,
            column_config={name: st.column_config.NumberColumn(format="%.4f") for name in best.columns},
            alt="RMSLE of each model by fold",
        )
    with right:
        st.markdown("**Error by lead**")
        lead = released.scores(release.uri, "h").pivot(index="h", columns="model", values="rmsle")
        figure = charts.lines(lead, BLEND, "RMSLE", height=300, x="dates ahead")
        charts.show(figure, key="lead", alt="RMSLE of each model by the number of dates ahead")


def _segments(release: Release) -> None:
    names = released.segment_columns(release.uri)
    if not names:
        st.caption("The release has no scores by segment.")
        return
    by = st.selectbox("By", names, index=names.index("volume") if "volume" in names else 0)
    scores = released.scores(release.uri, by)
    table = scores.pivot(index=by, columns="model", values="rmsle")
    order = released.scores(release.uri).sort_values("rmsle")["model"].tolist()
    table = table[[name for name in order if name in table]].dropna(how="all")
    shown = BLEND if BLEND in table else order[0]
    table = table.sort_values(shown, ascending=False).head(MOST_CELLS)
    change = table.div(table[NAIVE].where(table[NAIVE] > 0), axis=0) - 1
    st.caption(
        f"RMSLE by {by}, the hardest on top; blue beats the seasonal naive, red loses to it."
        + (f" The {MOST_CELLS} hardest are shown." if len(table) == MOST_CELLS else "")
    )
    text = table.map(lambda value: f"{value:.3f}")
    figure = charts.heat(change.fillna(0.0), text, 90 + 26 * len(table))
    charts.show(figure, key="segments", alt=f"RMSLE of each model by {by}, coloured against the naive")


def _verdict(release: Release) -> None:
    decision = released.decision(release.uri)
    said = "Promoted" if decision.promoted else "Not promoted"
    st.badge(said, color="green" if decision.promoted else "orange")
    for reason in decision.reasons:
        st.markdown(f"- {reason}")
    table = decision.to_frame().drop(columns=["column"]).assign(segment=_named(decision.to_frame()))
    titles = {"against": "Against", "segment": "Segment", "rows": "Rows", "challenger": "Challenger"}
    titles |= {"other": "Other", "change": "Change", "decisive": "Decides", "passed": "Passed"}
    table = table[list(titles)].rename(columns=titles)
    table["Change"] *= 100
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "Challenger": st.column_config.NumberColumn(format="%.4f"),
            "Other": st.column_config.NumberColumn(format="%.4f"),
            "Change": st.column_config.NumberColumn(format=PERCENT),
            "Rows": st.column_config.NumberColumn(format="localized"),
        },
        alt="Every comparison that the gate made",
    )


def _named(lines: pd.DataFrame) -> pd.Series:
    """A segment with the column it is of."""
    named = lines["column"].astype(str) + " = " + lines["segment"].astype(str)
    return named.where(lines["column"].astype(bool), "all")


def _lineage(release: Release) -> None:
    lineage = released.document(release.uri, "lineage.json")
    titles = {"stage": "Stage", "key": "Key", "hash": "Content", "code": "Code"}
    rows = [
        {"Part": name} | {title: str(made.get(key, ""))[:16] for key, title in titles.items()}
        if isinstance(made, dict)
        else {"Part": name, "Stage": "release", "Key": made}  # of a partition
        for name, made in lineage.items()
        if name != REFRESHED
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The data sets that the release was made from")
    if REFRESHED in lineage:
        st.caption(f"The model is that of {lineage[REFRESHED]}, which forecasts here from newer data.")
    st.caption("Raw files, by their content:")
    raw = lineage["panel"].get("inputs", {})
    st.dataframe(
        pd.DataFrame({"File": list(raw), "SHA-256": list(raw.values())}),
        hide_index=True,
        alt="The raw files with their checksums",
    )
    st.code(release.uri, language=None)


def _columns() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in SHOWN:
        form = PERCENT if name in AS_PERCENT else "%.2f" if name == "mae" else "%.4f"
        about = look.HELP.get(name)
        if name == "model":
            found[name] = st.column_config.TextColumn(look.TITLES[name])
        else:
            found[name] = st.column_config.NumberColumn(look.TITLES[name], format=form, help=about)
    return found
