"""The feature table as one writes it with pandas: groupby, shift, rolling and merge over the long frame.

The same kinds of features as `storecast.features` for a daily panel, about as many: recent levels, same
weekdays, zeros, promotions and their effect, the year before, peers by one and by two static columns,
past-only covariates, calendar and holidays. Features of a date see it and no later one; a row joins those of
its cutoff.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from storecast.calendar import EVENT_KINDS
from storecast.features.peers import telling_pairs
from storecast.panel import Panel

WEEKS = (1, 2, 4, 8, 16, 52)
SAME = (1, 2, 4, 6, 8, 16)
EFFECT_DATES = (42, 182)
RIDGE = 0.02
FAR = 15
KEY = ["unique_id", "ds"]


def long_frame(panel: Panel) -> pd.DataFrame:
    """The panel as pandas users hold it: a row per series and date, static columns beside."""
    frame = panel.to_frame()
    frame["unique_id"] = frame["unique_id"].astype("category")
    for name in panel.static.columns:
        codes = np.repeat(panel.static[name].to_numpy(), len(panel.dates))
        frame[str(name)] = pd.Categorical(codes)
    return frame


def table(frame: pd.DataFrame, panel: Panel, cutoffs: pd.DatetimeIndex, horizon: int) -> pd.DataFrame:
    """A row per series, cutoff and day ahead, with its features.

    Args:
        frame: `long_frame(panel)`, by unique_id and date.
        panel: names of the covariates, and the events.
        cutoffs: dates of the history.
        horizon: days ahead.
    """
    frame = frame.assign(logs=np.log1p(frame["y"]), weekday=frame["ds"].dt.dayofweek)
    known, past, static = list(panel.known), list(panel.past), [str(c) for c in panel.static.columns]
    recent = _recent(frame)
    for name in known:
        recent = recent.join(_effects(frame, name, static))
    recent = recent.join(_past_only(frame, past)).join(_year(frame))
    recent = pd.concat([frame[[*KEY, *static]], recent], axis=1)
    groups = [*([column] for column in static), *map(list, telling_pairs(panel.static))]
    recent = _peers(recent, groups)
    recent = recent[recent["ds"].isin(cutoffs)]
    rows = _rows(frame, known, cutoffs, horizon)
    rows = rows.merge(_same_weekday(frame), on=["unique_id", "source"], how="left")
    rows = rows.merge(recent.rename(columns={"ds": "cutoff"}), on=["unique_id", "cutoff"], how="left")
    rows = _calendar(_holidays(rows, panel))
    rows = rows.copy()  # as pandas asks for after so many columns
    for name in known:
        rows[f"{name}_lift"] = rows[f"{name}_day"] - rows[f"{name}_usual"]
        for dates in EFFECT_DATES:
            change = rows[f"{name}_day"] - rows[f"{name}_mean_{dates}"]
            for pool in ("own", *static):
                rows[f"{name}_effect_{pool}_{dates}"] = change * rows[f"{name}_slope_{pool}_{dates}"]
    rows["profile"] = rows["weekday_mean_8"] - rows["mean_4w"]
    rows["year_ago_gap"] = rows["year_ago_around"] - rows["weekday_mean_6"]
    rows["year_ago_around"] -= rows["year_ago_level"]
    pooled = ["profile", "year_ago_around", *(f"{name}_lift" for name in known)]
    for group in groups:
        names = pooled if len(group) == 1 else ["year_ago_around", "year_ago_gap"]
        means = rows.groupby([*group, "cutoff", "ahead"], observed=True)[names].transform("mean")
        rows = rows.join(means.add_prefix(f"{'_and_'.join(group)}_"))
    return rows


def _rolling(frame: pd.DataFrame, column: str, dates: int, statistic: str = "mean") -> np.ndarray:
    rolling = frame.groupby("unique_id", observed=True, sort=False)[column].rolling(dates, min_periods=1)
    values = rolling.std(ddof=0) if statistic == "std" else rolling.mean()
    return values.to_numpy()


def _recent(frame: pd.DataFrame) -> pd.DataFrame:
    """Levels, trends, spread and zeros up to each date."""
    out = pd.DataFrame({f"mean_{w}w": _rolling(frame, "logs", 7 * w) for w in WEEKS}, index=frame.index)
    out["lag_1"], out["mean_3"] = frame["logs"], _rolling(frame, "logs", 3)
    ids = frame["unique_id"]
    for weeks in (1, 4):
        earlier = out[f"mean_{weeks}w"].groupby(ids, observed=True, sort=False).shift(7 * weeks)
        out[f"trend_{weeks}w"] = out[f"mean_{weeks}w"] - earlier
    out["trend_8w"] = out["mean_1w"] - out["mean_8w"]
    for weeks in (2, 8):
        out[f"sd_{weeks}w"] = _rolling(frame, "logs", 7 * weeks, "std")
    seen = frame["y"].notna()
    marked = frame[["unique_id"]].assign(
        zero=(frame["y"] == 0).where(seen).astype(float), selling=frame["logs"].where(frame["logs"] > 0)
    )
    for weeks in (1, 2, 8, 52):
        out[f"zeros_{weeks}w"] = _rolling(marked, "zero", 7 * weeks)
    out["level_when_selling"] = _rolling(marked, "selling", 56)
    sold = frame["ds"].where(frame["y"] > 0)
    by = sold.groupby(ids, observed=True, sort=False)
    out["since_sale"] = (frame["ds"] - by.ffill()).dt.days
    out["since_first_sale"] = (frame["ds"] - by.transform("min")).dt.days
    return out


def _effects(frame: pd.DataFrame, name: str, static: list[str]) -> pd.DataFrame:
    """What sales did with a covariate up to each date: levels with and without it, and slopes."""
    x = np.arcsinh(frame[name]).where(frame["y"].notna())
    parts = frame[["unique_id"]].assign(
        x=x, logs=frame["logs"], xx=x**2, xy=x * frame["logs"],
        on=frame["logs"].where(frame[name] > 0), off=frame["logs"].where(frame[name] <= 0),
    )  # fmt: skip
    out = pd.DataFrame(
        {f"{name}_with": _rolling(parts, "on", 112), f"{name}_without": _rolling(parts, "off", 56)},
        index=frame.index,
    )
    out[f"{name}_usual"] = _rolling(parts, "x", 28)
    for dates in EFFECT_DATES:
        means = {column: _rolling(parts, column, dates) for column in ("x", "logs", "xx", "xy")}
        out[f"{name}_mean_{dates}"] = means["x"]
        both = frame[["ds", *static]].assign(
            variance=means["xx"] - means["x"] ** 2, covariance=means["xy"] - means["x"] * means["logs"]
        )
        out[f"{name}_slope_own_{dates}"] = both["covariance"] / (both["variance"] + RIDGE)
        for column in static:
            by = both.groupby([column, "ds"], observed=True)[["variance", "covariance"]].transform("mean")
            out[f"{name}_slope_{column}_{dates}"] = by["covariance"] / (by["variance"] + RIDGE)
    return out


def _past_only(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    out = pd.DataFrame(index=frame.index)
    for name in names:
        values = frame[["unique_id"]].assign(x=np.arcsinh(frame[name]))
        out[f"{name}_mean_week"] = _rolling(values, "x", 7)
        out[f"{name}_trend"] = out[f"{name}_mean_week"] - _rolling(values, "x", 56)
    return out


def _year(frame: pd.DataFrame) -> pd.DataFrame:
    """Levels of the year before, as seen from each date."""
    ids = frame["unique_id"]
    month, two = _rolling(frame, "logs", 28), _rolling(frame, "logs", 56)
    parts = pd.DataFrame({"month": month, "two": two}, index=frame.index)
    by = parts.groupby(ids, observed=True, sort=False)
    return pd.DataFrame(
        {
            "year_ago_level": by["month"].shift(364),
            "year_ago_month": by["month"].shift(336) - by["month"].shift(364),
            "year_growth": parts["two"] - by["two"].shift(364),
        }
    )


def _peers(recent: pd.DataFrame, groups: list[list[str]]) -> pd.DataFrame:
    """Means over the series of the same date that share a static value, or two."""
    for group in groups:
        pooled = ["mean_4w", "trend_1w", "trend_8w", "zeros_1w"] if len(group) == 1 else ["trend_8w"]
        means = recent.groupby([*group, "ds"], observed=True)[pooled].transform("mean")
        recent = recent.join(means.add_prefix(f"{'_and_'.join(group)}_"))
    return recent


def _same_weekday(frame: pd.DataFrame) -> pd.DataFrame:
    """Means of the last same weekdays up to each date."""
    by = frame.groupby(["unique_id", "weekday"], observed=True, sort=False)["logs"]
    out = frame[KEY].rename(columns={"ds": "source"})
    for n in SAME:
        means = by.rolling(n, min_periods=1).mean()
        out[f"weekday_mean_{n}"] = means.reset_index(level=[0, 1], drop=True)
    return out


def _rows(frame: pd.DataFrame, known: list[str], cutoffs: pd.DatetimeIndex, horizon: int) -> pd.DataFrame:
    """The rows to be filled: a target per series, cutoff and day ahead, with the covariates of that day."""
    by = frame.groupby("unique_id", observed=True, sort=False)
    wanted = frame[[*KEY, "y"]].copy()
    wanted["year_ago"] = by["logs"].shift(364)
    wanted["year_ago_around"] = pd.Series(_rolling(frame, "logs", 7), index=frame.index)
    wanted["year_ago_around"] = wanted.groupby("unique_id", observed=True)["year_ago_around"].shift(361)
    for name in known:
        x = frame[["unique_id"]].assign(x=np.arcsinh(frame[name]))
        around = x.groupby("unique_id", observed=True, sort=False)["x"]
        wanted[f"{name}_day"] = x["x"]
        wanted[f"{name}_before"], wanted[f"{name}_after"] = (
            x["x"] - around.shift(1),
            around.shift(-1) - x["x"],
        )
        wanted[f"{name}_week_before"] = pd.Series(_rolling(x, "x", 7), index=frame.index)
    parts = []
    for cutoff in cutoffs:
        days = pd.date_range(cutoff, periods=horizon + 1)[1:]
        part = wanted[wanted["ds"].isin(days)].assign(cutoff=cutoff)
        part["ahead"] = (part["ds"] - cutoff).dt.days
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True)
    rows["source"] = rows["ds"] - pd.to_timedelta(7 * -(-rows["ahead"] // 7), unit="D")
    return rows


def _holidays(rows: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Whether a date is a national or a local holiday, of which kind, how far the next national one is."""
    events = panel.events
    free = events[events["kind"] != "workday"]
    national = pd.DatetimeIndex(free.loc[free["column"] == "", "ds"].drop_duplicates().sort_values())
    rows["holiday_national"] = rows["ds"].isin(national).astype(float)
    rows["holiday_local"] = 0.0
    for column, places in free[free["column"] != ""].groupby("column"):
        found = rows[["ds", column]].merge(
            places[["ds", "value"]].drop_duplicates().assign(is_one=1.0),
            left_on=["ds", column], right_on=["ds", "value"], how="left",
        )  # fmt: skip
        rows["holiday_local"] = np.maximum(rows["holiday_local"], found["is_one"].fillna(0.0).to_numpy())
    for kind in EVENT_KINDS:
        days = events.loc[(events["kind"] == kind) & (events["column"] == ""), "ds"]
        rows[f"event_{kind}"] = rows["ds"].isin(days).astype(float)
    dates = pd.DataFrame({"ds": np.sort(rows["ds"].unique())})
    marks = pd.DataFrame({"ds": national, "mark": national})
    for label, direction in (("since", "backward"), ("until", "forward")):
        near = pd.merge_asof(dates, marks, on="ds", direction=direction)
        days = (near["mark"] - near["ds"]).abs().dt.days.clip(upper=FAR).fillna(FAR)
        rows[f"holiday_national_{label}"] = rows["ds"].map(dict(zip(near["ds"], days, strict=True)))
    return rows


def _calendar(rows: pd.DataFrame) -> pd.DataFrame:
    ds = rows["ds"].dt
    angle = 2 * np.pi * ds.dayofyear / 365.25
    last = ds.days_in_month
    return rows.assign(
        weekday=ds.dayofweek, day=ds.day, month=ds.month, day_of_year=ds.dayofyear,
        week_of_month=(ds.day - 1) // 7, year_sin=np.sin(angle), year_cos=np.cos(angle),
        payday_since=np.where(ds.day == last, 0, np.where(ds.day >= 15, ds.day - 15, ds.day)),
        payday_until=np.where(ds.day <= 15, 15 - ds.day, last - ds.day),
    )  # fmt: skip
