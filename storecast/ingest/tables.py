"""Static, known-future and past-only tables, and the holidays, joined to the series."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.calendar import EVENT_KINDS
from storecast.dataset_config import DatasetConfig, Holidays, Table
from storecast.ingest.checks import Field, Rule, finite, known_values
from storecast.ingest.context import Context, settle_duplicates
from storecast.ingest.rows import WEEKDAYS, Allowed, on_grid
from storecast.panel import Floats, no_events

UNKNOWN = "unknown"


def table_fields(config: DatasetConfig, table: Table) -> list[Field]:
    """The columns of a further table."""
    keys = [Field(name, column, "key") for name, column in table.join.items() if name != "date"]
    if table.kind == "static":
        return keys + [
            Field(name, column, "key", fill=UNKNOWN, fill_rule=f"empty {column} set to {UNKNOWN!r}")
            for name, column in table.columns.items()
        ]
    numbers = [
        Field(name, column, "covariate", (finite(),), np.nan, f"empty {column} read as missing")
        for name, column in table.columns.items()
    ]
    return [Field("ds", table.join["date"], "date", on_grid(config.frequency)), *keys, *numbers]


def read_static(context: Context) -> list[tuple[Table, pd.DataFrame]]:
    """Each static table of the config, with its rows: the join columns and the static columns, as text."""
    out = []
    for table in context.config.tables:
        if table.kind != "static":
            continue
        frame, audit = context.table(
            table.files, table_fields(context.config, table), "", by=list(table.join)
        )
        frame = settle_duplicates(frame, list(table.join), audit, "first")
        context.close(audit, frame.index)
        out.append((table, frame.astype(str)))
    return out


def allowed_keys(tables: list[tuple[Table, pd.DataFrame]], keys: list[str]) -> Allowed:
    """For each key that a static table describes: the values it may have, and that table's file."""
    return {
        name: (frame[name].tolist(), table.files[0])
        for table, frame in tables
        for name in table.join
        if len(table.join) == 1 and name in keys
    }


def join_static(
    context: Context, keys: pd.DataFrame, tables: list[tuple[Table, pd.DataFrame]]
) -> pd.DataFrame:
    """Static covariates of each series.

    Args:
        context: the ingest.
        keys: one row per series, indexed by unique_id, one text column per key.
        tables: what `read_static` gave.
    """
    static = keys.astype(str)
    for table, frame in tables:
        on = list(table.join)
        joined = static.reset_index().merge(frame[[*on, *table.columns]], on=on, how="left")
        static = joined.set_index("unique_id").fillna(UNKNOWN)
        used = pd.MultiIndex.from_frame(static[on].drop_duplicates())
        idle = int((~pd.MultiIndex.from_frame(frame[on]).isin(used)).sum())
        if idle:
            context.report.notes.append(f"{table.files[0]}: {idle} of {len(frame)} rows belong to no series")
    return static


def read_dated(
    context: Context, table: Table, static: pd.DataFrame, dates: pd.DatetimeIndex, n_history: int
) -> tuple[dict[str, Floats], dict[str, str]]:
    """The covariates of a known-future or past-only table, each (n_series, n_dates); and by which rule
    those of a known-future one are told ahead that it says nothing of after the cutoff."""
    past = table.kind == "past"
    fields = table_fields(context.config, table)
    keys = [name for name in table.join if name != "date"]
    frame, audit = context.table(table.files, fields, "", by=["ds", *keys])
    rule = context.config.rules.conflicting_duplicates
    frame = settle_duplicates(frame, ["ds", *keys], audit, "last" if rule == "sum" else rule)
    last = dates[n_history - 1] if past else dates[-1]
    columns = dates.get_indexer(pd.DatetimeIndex(frame["ds"]))
    groups, of_series = _groups(static, keys)
    rows = groups.get_indexer(_labels(frame, keys))
    place = frame.index.to_numpy(dtype=np.int64)
    outside = (columns < 0) | (frame["ds"] > last).to_numpy()
    word = "after the cutoff or before the history" if past else "outside the panel's dates"
    for name, mask, why in (
        ("outside", outside, f"rows dated {word}"),
        ("no_series", ~outside & (rows < 0), "rows that belong to no series"),
    ):
        if mask.any():
            audit.leave_out(name, place[mask], why)
    good = ~outside & (rows >= 0)
    context.close(audit, frame.index[good])
    out, unplanned = dict[str, Floats](), dict[str, str]()
    for name in table.columns:
        block = np.full((len(groups), len(dates)), np.nan)
        block[rows[good], columns[good]] = frame[name].to_numpy()[good]
        if not past and not np.isfinite(block[:, n_history:]).any():  # rows may say nothing: a calendar
            unplanned[name] = "last" if table.fill == "forward" else "zero"
        out[name] = _filled(block, table, n_history)[of_series]
    return out, unplanned


def _groups(static: pd.DataFrame, keys: list[str]) -> tuple[pd.Index, NDArray[np.int64]]:
    """The different join values of the series, and which one each series has."""
    labels = _labels(static, keys)
    groups = labels.unique()
    return groups, groups.get_indexer(labels).astype(np.int64)


def _labels(frame: pd.DataFrame, keys: list[str]) -> pd.Index:
    if not keys:
        return pd.Index(np.zeros(len(frame), dtype=np.int64))
    if len(keys) == 1:
        single: pd.Index = pd.Index(frame[keys[0]].to_numpy(dtype=object))
        return single
    pairs: pd.Index = pd.MultiIndex.from_frame(frame[keys].astype(object))
    return pairs


def _filled(block: Floats, table: Table, n_history: int) -> Floats:
    end = n_history if table.kind == "past" else block.shape[1]
    part = pd.DataFrame(block[:, :end].T)
    if table.fill == "zero":
        part = part.fillna(0.0)
    elif table.fill == "forward":
        part = part.ffill()
        part = part.bfill().fillna(0.0) if table.kind == "known" else part
    block[:, :end] = part.to_numpy().T
    return block


def read_holidays(context: Context, static: pd.DataFrame) -> pd.DataFrame:
    """The events of the panel: columns `ds, event, kind, column, value`, by date."""
    spec = context.config.holidays
    if spec is None:
        return no_events()
    fields = holiday_fields(spec)
    frame, audit = context.table(spec.files, fields, "holidays")
    frame = settle_duplicates(frame, list(frame.columns), audit, "first")
    if spec.transferred is not None:
        moved = frame.index[frame["transferred"] == 1.0].to_numpy(dtype=np.int64)
        if len(moved):
            audit.leave_out(
                "transferred", moved, "holidays moved to another day: this day counts as ordinary"
            )
            frame = frame.drop(index=pd.Index(moved))
    context.close(audit, frame.index)
    kinds = spec.kinds or {kind: kind for kind in EVENT_KINDS}
    column = (
        frame["locale"].astype(str).map(spec.locales) if spec.locale else pd.Series("", index=frame.index)
    )
    place = frame["place"].astype(str) if spec.place else pd.Series("", index=frame.index)
    events = pd.DataFrame(
        {
            "ds": _by_week(frame["ds"].astype("datetime64[ns]"), context.config),
            "event": frame["event"].astype(str).str.removeprefix(spec.transfer_prefix),
            "kind": frame["kind"].astype(str).map(kinds) if spec.kind else "holiday",
            "column": column,
            "value": place.where(column != "", ""),
        }
    )
    _note_idle_places(context, events, static)
    return events.sort_values("ds", kind="stable").reset_index(drop=True)


def _by_week(ds: pd.Series, config: DatasetConfig) -> pd.Series:
    """The days, or, where weeks are dated by their first day, the first day of each one's week."""
    if config.weeks_dated_by == "last_day":
        return ds
    since = (ds.dt.day_of_week - WEEKDAYS.index(config.frequency[2:])) % len(WEEKDAYS)
    first: pd.Series = ds - pd.to_timedelta(since, unit="D")
    return first


def holiday_fields(spec: Holidays) -> list[Field]:
    """The columns of the holiday table."""
    whole = Rule("whole_day", lambda ds: ds == ds.dt.normalize(), "has a time of day", "a date without time")
    fields = [
        Field("ds", spec.date, "date", (whole,)),
        Field("event", spec.name, "key", fill="", fill_rule=f"empty {spec.name} kept empty"),
    ]
    if spec.kind:
        fields.append(
            Field(
                "kind", spec.kind, "key", (known_values(list(spec.kinds or EVENT_KINDS), "holidays.kinds"),)
            )
        )
    if spec.locale and spec.place:
        fields.append(
            Field("locale", spec.locale, "key", (known_values(list(spec.locales), "holidays.locales"),))
        )
        fields.append(Field("place", spec.place, "key", fill="", fill_rule=f"empty {spec.place} kept empty"))
    if spec.transferred:
        fields.append(
            Field(
                "transferred",
                spec.transferred,
                "flag",
                fill=0.0,
                fill_rule=f"empty {spec.transferred} read as false",
            )
        )
    return fields


def _note_idle_places(context: Context, events: pd.DataFrame, static: pd.DataFrame) -> None:
    places = events[events["column"] != ""]
    idle = {
        value
        for column, value in zip(places["column"], places["value"], strict=True)
        if value not in set(static[column])
    }
    if idle:
        names = ", ".join(sorted(idle)[:10])
        context.report.notes.append(f"holidays of {len(idle)} places reach no series: {names}")
