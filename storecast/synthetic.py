"""Seeded synthetic panels with everything real ones have: for the demo, the tests and the docs.

`raw_tables` gives the files a retailer would hand over, `make_panel` the panel they ingest to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from storecast.panel import Panel

FAMILIES = ("GROCERY", "PRODUCE", "BEVERAGES", "CLEANING", "DAIRY", "BOOKS", "TOYS", "MEATS")
CITIES = (("Quito", "Pichincha"), ("Guayaquil", "Guayas"), ("Cuenca", "Azuay"))
FIXED_HOLIDAYS = ((1, 1, "New Year"), (5, 1, "Labour Day"), (8, 10, "Independence"), (12, 25, "Christmas"))
CITY_HOLIDAYS = {"Quito": (12, 6), "Guayaquil": (7, 25), "Cuenca": (4, 12)}


def raw_tables(
    n_stores: int = 6, n_families: int = 6, n_days: int = 800, horizon: int = 16, seed: int = 7
) -> dict[str, pd.DataFrame]:
    """Raw tables in the form of Kaggle's download: train, test, stores, holidays_events, transactions.

    Sales are Poisson around trend × weekly season × yearly season × promotion × holiday effects. The last
    family sells rarely, store 2 is closed on Sundays, the last store opens late, the first family of the
    first store jumps to a new level, and all stores close on 25 December and 1 January.

    Args:
        n_stores: number of stores.
        n_families: number of product families, at most 8.
        n_days: days of history, ending 2023-07-31.
        horizon: days of known future in `test`.
        seed: the same seed gives the same tables.
    """
    rng = np.random.default_rng(seed)
    dates, stores, holidays, frame = _sales(rng, n_stores, n_families, n_days, horizon)
    is_test = frame["date"] > dates[n_days - 1]
    train, test = frame[~is_test], frame[is_test].drop(columns="sales")
    totals = train.groupby(["date", "store_nbr"], as_index=False)["sales"].sum()
    totals["transactions"] = rng.poisson(totals.pop("sales") / 4)
    return {
        "train": train.reset_index(drop=True),
        "test": test.reset_index(drop=True),
        "stores": stores,
        "holidays_events": holidays,
        "transactions": totals[totals["transactions"] > 0].reset_index(drop=True),
    }


def tables_after(
    n_stores: int = 6, n_families: int = 6, n_days: int = 800, horizon: int = 16, seed: int = 7
) -> dict[str, pd.DataFrame]:
    """What arrives once the horizon of `raw_tables` of the same arguments has passed.

    In `train` the rows of its `test` with what was sold; in `test` the plan for as many days more, which
    repeats the promotions of three weeks before.
    """
    rng = np.random.default_rng(seed)
    dates, _, _, frame = _sales(rng, n_stores, n_families, n_days, horizon)
    weeks = pd.Timedelta(weeks=-(-horizon // 7))
    plan = frame[frame["date"] > dates[-1] - weeks].assign(date=lambda rows: rows["date"] + weeks)
    plan = plan[plan["date"] <= dates[-1] + pd.Timedelta(days=horizon)].drop(columns="sales")
    plan["id"] = len(frame) + np.arange(len(plan))
    return {
        "train": frame[frame["date"] > dates[n_days - 1]].reset_index(drop=True),
        "test": plan.reset_index(drop=True),
    }


def write_raw(folder: Path, **sizes: int) -> None:
    """Write `raw_tables(**sizes)` as CSV files into `folder`, as Kaggle's download has them."""
    _write(folder, raw_tables(**sizes))


def write_after(folder: Path, **sizes: int) -> None:
    """Write `tables_after(**sizes)` as CSV files into `folder`."""
    _write(folder, tables_after(**sizes))


def _write(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, date_format="%Y-%m-%d")


def make_panel(
    n_stores: int = 6, n_families: int = 6, n_days: int = 800, horizon: int = 16, seed: int = 7
) -> Panel:
    """The panel of `raw_tables`: `n_days` of history and `horizon` days of known future."""
    raw = raw_tables(n_stores, n_families, n_days, horizon, seed)
    frame = pd.concat([raw["train"], raw["test"]]).rename(columns={"date": "ds", "sales": "y"})
    frame["unique_id"] = frame["store_nbr"].astype(str) + "|" + frame["family"]
    frame = frame.merge(
        raw["transactions"].rename(columns={"date": "ds"}), on=["ds", "store_nbr"], how="left"
    )
    keys = frame[["unique_id", "store_nbr", "family"]].drop_duplicates()
    static = keys.merge(raw["stores"], on="store_nbr").set_index("unique_id").astype(str)
    holidays = raw["holidays_events"]
    column = holidays["locale"].map({"National": "", "Local": "city"})
    events = pd.DataFrame(
        {
            "ds": holidays["date"],
            "event": holidays["description"],
            "kind": holidays["type"].str.lower(),
            "column": column,
            "value": holidays["locale_name"].where(column != "", ""),
        }
    )
    return Panel.from_frame(
        frame,
        static=static,
        freq="D",
        cutoff=raw["train"]["date"].max(),
        known=["onpromotion"],
        past=["transactions"],
        events=events,
    )


def _sales(
    rng: np.random.Generator, n_stores: int, n_families: int, n_days: int, horizon: int
) -> tuple[pd.DatetimeIndex, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The dates, the stores, the holidays, and what is sold on all dates, those of the horizon too."""
    dates = pd.date_range(
        end=pd.Timestamp("2023-07-31") + pd.Timedelta(days=horizon), periods=n_days + horizon
    )
    stores = pd.DataFrame(
        {
            "store_nbr": np.arange(1, n_stores + 1),
            "city": [CITIES[i % len(CITIES)][0] for i in range(n_stores)],
            "state": [CITIES[i % len(CITIES)][1] for i in range(n_stores)],
            "type": [("A", "B", "C")[i % 3] for i in range(n_stores)],
        }
    )
    holidays = _holidays(dates)
    blocks = [
        _series(rng, dates, stores.iloc[s], f, n_stores, n_families, holidays)
        for s in range(n_stores)
        for f in range(n_families)
    ]
    frame = pd.concat(blocks, ignore_index=True).sort_values(["date", "store_nbr", "family"])
    frame.insert(0, "id", np.arange(len(frame)))
    return dates, stores, holidays, frame.reset_index(drop=True)


def _holidays(dates: pd.DatetimeIndex) -> pd.DataFrame:
    rows: list[tuple[pd.Timestamp, str, str, str, str]] = []
    for year in range(dates[0].year, dates[-1].year + 1):
        rows += [
            (pd.Timestamp(year, month, day), "Holiday", "National", "Ecuador", name)
            for month, day, name in FIXED_HOLIDAYS
        ]
        rows += [
            (pd.Timestamp(year, month, day), "Holiday", "Local", city, f"Foundation of {city}")
            for city, (month, day) in CITY_HOLIDAYS.items()
        ]
    frame = pd.DataFrame(rows, columns=["date", "type", "locale", "locale_name", "description"])
    frame["transferred"] = False
    inside = (frame["date"] >= dates[0]) & (frame["date"] <= dates[-1])
    return frame[inside].sort_values(["date", "description"]).reset_index(drop=True)


def _series(
    rng: np.random.Generator,
    dates: pd.DatetimeIndex,
    store: pd.Series,
    family: int,
    n_stores: int,
    n_families: int,
    holidays: pd.DataFrame,
) -> pd.DataFrame:
    """One store's sales of one family, in raw form."""
    t = np.arange(len(dates))
    number = int(store["store_nbr"])
    rare = n_families > 1 and family == n_families - 1
    base = 0.4 if rare else rng.uniform(8, 300)
    week = 1 + 0.35 * np.sin(2 * np.pi * (dates.day_of_week.to_numpy() + rng.uniform(0, 1)) / 7)
    year = 1 + 0.2 * np.sin(2 * np.pi * (dates.day_of_year.to_numpy() / 365.25 + rng.uniform(0, 1)))
    trend = 1 + rng.uniform(-0.1, 0.4) * t / len(t)
    level = np.where((t > 0.6 * len(t)) & (number == 1) & (family == 0), 1.8, 1.0)
    promoted = (rng.random(len(dates)) < 0.12) * rng.integers(1, 12, len(dates))
    lift = 1 + 0.06 * promoted
    mine = holidays[(holidays["locale"] == "National") | (holidays["locale_name"] == store["city"])]
    festive = np.where(dates.isin(mine["date"]), 1.4, 1.0)
    mean = base * week * year * trend * level * lift * festive * rng.gamma(60, 1 / 60, len(dates))
    sales = rng.poisson(mean).astype(np.float64)
    closed = ((dates.month == 12) & (dates.day == 25)) | ((dates.month == 1) & (dates.day == 1))
    closed = closed | ((number == 2) & (dates.day_of_week == 6))
    if n_stores > 2 and number == n_stores:
        closed = closed | (t < 0.4 * len(t))
    sales[np.asarray(closed)] = 0.0
    return pd.DataFrame(
        {
            "date": dates,
            "store_nbr": number,
            "family": FAMILIES[family],
            "sales": sales,
            "onpromotion": np.where(closed, 0, promoted),
        }
    )
