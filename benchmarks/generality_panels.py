"""Other panels than Store Sales: public ones that ship inside packages, and seeded synthetic ones.

Each is one long table `series, date, y`; what Storecast is told of it is the config that `write` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.generality_shops import END, articles, departments, drugstores, items

Days = pd.DatetimeIndex


@dataclass(frozen=True)
class Source:
    """A panel to try.

    Attributes:
        freq: pandas frequency, daily, weekly or monthly.
        horizon: dates to forecast.
        season: of the peers, in dates.
        table: makes it.
        about: where it is from.
        rules: of the data set config, for what its dates without a row are.
        known: columns of the table that are known of the days to come; rows without `y` are those days.
    """

    freq: str
    horizon: int
    season: int
    table: Callable[[], pd.DataFrame]
    about: str
    rules: str = "{}"
    known: tuple[str, ...] = ()


def write(name: str, source: Source, folder: Path) -> Path:
    """Write the panel's files and its data set config, all that Storecast is given; the config's path."""
    folder.mkdir(parents=True, exist_ok=True)
    table = source.table()
    table.dropna(subset="y").to_csv(folder / "sales.csv", index=False, date_format="%Y-%m-%d")
    future = ""
    if source.known:
        coming = table[table["y"].isna()].drop(columns="y")
        coming.to_csv(folder / "coming.csv", index=False, date_format="%Y-%m-%d")
        future = f"future: coming.csv\nknown: [{', '.join(source.known)}]\n"
    config = folder / f"{name}.yaml"
    config.write_text(
        f"name: {name}\nfreq: {source.freq}\nhorizon: {source.horizon}\n"
        f"train: sales.csv\n{future}date: date\ntarget: y\nkeys: [series]\n"
        f"rules: {source.rules}\n"
    )
    return config


def co2() -> pd.DataFrame:
    """Weekly carbon dioxide on Mauna Loa, 1958 to 2001, with weeks missing (statsmodels)."""
    from statsmodels.datasets import co2 as data

    table = data.load_pandas().data["co2"].dropna()
    return pd.DataFrame({"series": "mauna_loa", "date": table.index, "y": table.to_numpy()})


def stocks() -> pd.DataFrame:
    """Weekly prices of six shares, 2018 to 2019, each 1 at the start (plotly)."""
    from plotly import data

    table = data.stocks(return_type="pandas").melt("date", var_name="series", value_name="y")
    return table.assign(date=pd.to_datetime(table["date"]), y=100 * table["y"])[["series", "date", "y"]]


def seattle() -> pd.DataFrame:
    """Daily rain and wind in Seattle, 2012 to 2015 (vega-datasets)."""
    from vega_datasets import local_data

    table = local_data.seattle_weather()[["date", "precipitation", "wind"]]
    return table.melt("date", var_name="series", value_name="y")[["series", "date", "y"]]


def intermittent(n: int = 120, days: int = 730, seed: int = 1) -> pd.DataFrame:
    """Spare parts: on most days nothing, else a few; the chance has a weekly pattern and drifts."""
    rng = np.random.default_rng(seed)
    dates, t = pd.date_range(end=END, periods=days), np.arange(days)
    parts = []
    for i in range(n):
        chance = rng.uniform(0.05, 0.4) * (1 + 0.5 * np.sin(2 * np.pi * (t % 7 + rng.uniform(0, 7)) / 7))
        chance *= np.exp(np.cumsum(rng.normal(0, 0.01, days)))
        size = 1 + rng.poisson(rng.uniform(0.2, 4), days)
        parts.append(_series(i, dates, size * (rng.random(days) < np.minimum(chance, 0.9))))
    return pd.concat(parts)


def weekly_year(n: int = 60, weeks: int = 220, seed: int = 2) -> pd.DataFrame:
    """Weekly sales with a season of the year, a trend and a level that moves."""
    rng = np.random.default_rng(seed)
    dates, t = pd.date_range(end=END, periods=weeks, freq="W-SUN"), np.arange(weeks)
    parts = []
    for i in range(n):
        season = rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * (t / 52.18 + rng.random()))
        season += rng.uniform(0, 0.4) * np.exp(-((((t - 51) % 52.18) - 26) ** 2) / 8)
        level = (
            np.log(rng.uniform(20, 2_000)) + rng.normal(0, 0.002) * t + np.cumsum(rng.normal(0, 0.03, weeks))
        )
        parts.append(_series(i, dates, rng.poisson(np.exp(level + season + rng.normal(0, 0.08, weeks)))))
    return pd.concat(parts)


def passengers() -> pd.DataFrame:
    """Thousands of airline passengers a month, 1949 to 1960 (Box & Jenkins 1976)."""
    from statsforecast.utils import AirPassengersDF

    table = AirPassengersDF.rename(columns={"unique_id": "series", "ds": "date"})
    return table.assign(series="passengers")


def categories(n: int = 100, months: int = 66, seed: int = 9) -> pd.DataFrame:
    """Monthly sales of categories with a trend, a level that moves, Christmas and a season of their own."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(end="2024-06-01", periods=months, freq="MS")
    t, month = np.arange(months), dates.month.to_numpy()
    parts = []
    for i in range(n):
        season = rng.uniform(0.05, 0.5) * np.cos(2 * np.pi * (month - rng.uniform(0, 12)) / 12)
        season += rng.uniform(0, 0.8) * (month == 12) - rng.uniform(0, 0.2) * (month == 1)
        level = rng.uniform(4, 9) + rng.normal(0, 0.006) * t + np.cumsum(rng.normal(0, 0.04, months))
        sales = rng.poisson(np.exp(level + season + rng.normal(0, 0.06, months)))
        begins = rng.integers(0, 40) if rng.random() < 0.3 else 0
        parts.append(_series(i, dates[begins:], sales[begins:]))
    return pd.concat(parts)


def short(n: int = 80, seed: int = 3) -> pd.DataFrame:
    """Daily sales of articles that came 40 to 120 days ago."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(n):
        days = int(rng.integers(40, 121))
        dates, t = pd.date_range(end=END, periods=days), np.arange(days)
        week = 1 + 0.4 * np.sin(2 * np.pi * (dates.day_of_week.to_numpy() + rng.uniform(0, 2)) / 7)
        growth = 1 - np.exp(-t / rng.uniform(5, 60))
        parts.append(_series(i, dates, rng.poisson(rng.uniform(2, 80) * week * growth)))
    return pd.concat(parts)


def daily(n: int = 60, days: int = 1_100, seed: int = 4) -> pd.DataFrame:
    """Daily visits with a week, a year, level shifts and nothing else to know of them."""
    rng = np.random.default_rng(seed)
    dates, t = pd.date_range(end=END, periods=days), np.arange(days)
    parts = []
    for i in range(n):
        week = rng.normal(0, 0.3, 7)[dates.day_of_week.to_numpy()]
        year = rng.uniform(0, 0.4) * np.sin(2 * np.pi * (t / 365.25 + rng.random()))
        shift = rng.normal(0, 0.3) * (t > rng.integers(days // 2, days))
        level = np.log(rng.uniform(10, 800)) + np.cumsum(rng.normal(0, 0.01, days))
        parts.append(
            _series(i, dates, rng.poisson(np.exp(level + week + year + shift + rng.normal(0, 0.1, days))))
        )
    return pd.concat(parts)


def _series(i: int, dates: Days, y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"series": f"s{i:03d}", "date": dates, "y": y})


SOURCES = {
    "co2": Source("W-SAT", 8, 52, co2, "public, 1 series, weekly", "{gaps: missing, closed_days: missing}"),
    "stocks": Source("W-MON", 6, 52, stocks, "public, 6 series, weekly"),
    "seattle": Source("D", 14, 7, seattle, "public, 2 series, daily"),
    "intermittent": Source("D", 14, 7, intermittent, "synthetic, 120 series, daily"),
    "weekly_year": Source("W-SUN", 8, 52, weekly_year, "synthetic, 60 series, weekly"),
    "passengers": Source("ME", 12, 12, passengers, "public, 1 series, monthly"),
    "categories": Source("MS", 6, 12, categories, "synthetic, 100 categories, monthly"),
    "short": Source("D", 7, 7, short, "synthetic, 80 series of 40 to 120 days"),
    "daily": Source("D", 14, 7, daily, "synthetic, 60 series, daily"),
    "drugstores": Source(
        "D", 42, 7, drugstores, "synthetic, 80 shops closed on Sundays, daily", known=("open", "promo")
    ),
    "articles": Source("D", 28, 7, articles, "synthetic, 200 articles, daily", known=("price",)),
    "departments": Source(
        "W-FRI", 13, 52, departments, "synthetic, 150 departments, weekly", known=("holiday",)
    ),
    "items": Source("D", 60, 7, items, "synthetic, 60 items over five years, daily"),
}
