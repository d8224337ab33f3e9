"""Seeded synthetic panels in the shape of what retailers keep, with what they know of the days to come.

Each is one long table `series, date, y` and its known columns. What they are modelled on: a drugstore chain
(closed on Sundays and holidays, promotions by the fortnight), a supermarket's articles (few a day, a price,
articles that come and go), and the departments of a warehouse chain (weekly, a season of their own each,
holidays that move weeks).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

END = pd.Timestamp("2024-06-30")
HOLIDAYS = ((1, 1), (1, 6), (5, 1), (10, 3), (11, 1), (12, 25), (12, 26))
"""Month and day on which the drugstores are closed."""


def drugstores(n: int = 80, days: int = 940, horizon: int = 42, seed: int = 5) -> pd.DataFrame:
    """Sales of a day of each store; `open` and `promo` are known, also for the days of the horizon."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(end=END + pd.Timedelta(days=horizon), periods=days + horizon)
    t, weekday = np.arange(len(dates)), dates.day_of_week.to_numpy()
    closed = np.array([(d.month, d.day) in HOLIDAYS for d in dates])
    fortnight = ((t // 7) % 2 == 0) & (weekday < 5)
    year = np.exp(-(((dates.day_of_year.to_numpy() - 355) / 14) ** 2))
    parts = []
    for i in range(n):
        sundays = rng.random() < 0.05  # a station's shop
        is_open = ~closed & ((weekday < 6) | sundays)
        refit = int(rng.integers(200, days - 60))  # closed for a month, as some are
        if rng.random() < 0.15:
            is_open &= ~((t >= refit) & (t < refit + 30))
        promo = fortnight & (rng.random(len(dates)) < 0.97)
        after = np.concatenate([[False], ~is_open[:-1]])  # the day after a closed one sells more
        level = np.log(rng.uniform(2_500, 12_000)) + np.cumsum(rng.normal(0, 0.006, len(dates)))
        week = np.array([0.15, 0.0, -0.05, -0.02, 0.05, -0.1, 0.3])[weekday] + rng.normal(0, 0.03, 7)[weekday]
        lift = rng.uniform(0.2, 0.45) * promo + rng.uniform(0.05, 0.15) * after
        sales = np.exp(level + week + lift + rng.uniform(0.1, 0.5) * year + rng.normal(0, 0.1, len(dates)))
        part = pd.DataFrame(
            {
                "series": f"s{i:03d}",
                "date": dates,
                "y": np.where(t < days, np.round(sales * is_open), np.nan),
                "open": is_open.astype(int),
                "promo": promo.astype(int),
            }
        )
        parts.append(part)
    return pd.concat(parts)


def articles(n: int = 200, days: int = 1_100, horizon: int = 28, seed: int = 6) -> pd.DataFrame:
    """Pieces of a day of each article; its `price` is known, also for the days of the horizon."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(end=END + pd.Timedelta(days=horizon), periods=days + horizon)
    t, weekday = np.arange(len(dates)), dates.day_of_week.to_numpy()
    parts = []
    for i in range(n):
        start = int(rng.integers(0, days - 100)) if rng.random() < 0.4 else 0
        regular = np.round(rng.uniform(1, 20), 2) * (1 + 0.05 * (t > rng.integers(0, days)))
        weeks = rng.random(len(dates) // 7 + 1) < 0.12
        price = np.round(regular * np.where(weeks[t // 7], rng.uniform(0.6, 0.85), 1.0), 2)
        week = rng.uniform(0, 0.6) * np.isin(weekday, (5, 6))
        year = rng.uniform(0, 0.5) * np.sin(
            2 * np.pi * (dates.day_of_year.to_numpy() / 365.25 + rng.random())
        )
        level = np.log(rng.gamma(0.6, 4) + 0.05) + np.cumsum(rng.normal(0, 0.015, len(dates)))
        mean = np.exp(level + week + year - rng.uniform(1, 4) * np.log(price / regular))
        pieces = rng.negative_binomial(3, 3 / (3 + mean)) * (rng.random(len(dates)) > 0.02)
        sold = np.where(t < days, pieces, np.nan)
        part = pd.DataFrame({"series": f"a{i:03d}", "date": dates, "y": sold, "price": price})
        parts.append(part.iloc[start:])
    return pd.concat(parts)


def departments(n: int = 150, weeks: int = 143, horizon: int = 13, seed: int = 7) -> pd.DataFrame:
    """Sales of a week of each department of each store; whether a `holiday` is in it is known."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(
        end=END - pd.Timedelta(days=2) + pd.Timedelta(weeks=horizon), periods=weeks + horizon, freq="W-FRI"
    )
    t, day = np.arange(len(dates)), dates.day_of_year.to_numpy()
    holiday = np.isin(
        dates.strftime("%m-%d"), [d.strftime("%m-%d") for d in pd.date_range("2023-11-23", "2023-11-29")]
    )
    holiday |= (day >= 355) & (day < 362)
    seasons = [rng.normal(0, 0.25, (2, 3)) for _ in range(15)]
    parts = []
    for i in range(n):
        of_year = sum(
            a * np.sin(2 * np.pi * k * day / 365.25) + b * np.cos(2 * np.pi * k * day / 365.25)
            for k, (a, b) in enumerate(seasons[i % 15].T, start=1)
        )
        level = np.log(rng.lognormal(8.5, 1.5)) + np.cumsum(rng.normal(0, 0.02, len(dates)))
        sales = np.exp(level + of_year + rng.uniform(-0.2, 0.8) * holiday + rng.normal(0, 0.08, len(dates)))
        part = pd.DataFrame(
            {
                "series": f"d{i:03d}",
                "date": dates,
                "y": np.where(t < weeks, np.round(sales), np.nan),
                "holiday": holiday.astype(int),
            }
        )
        parts.append(part)
    return pd.concat(parts)


def items(n: int = 60, days: int = 1_826, seed: int = 8) -> pd.DataFrame:
    """Pieces of a day of each item over five years: a week, a year and a trend, and nothing else."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(end=END, periods=days)
    month, weekday = dates.month.to_numpy() - 1, dates.day_of_week.to_numpy()
    week = np.array([0.8, 0.95, 0.95, 1.0, 1.05, 1.1, 1.2])
    year = np.array([0.65, 0.7, 0.9, 1.1, 1.2, 1.25, 1.4, 1.2, 1.05, 1.0, 1.05, 0.75])
    growth = np.array([1.0, 1.12, 1.18, 1.25, 1.31, 1.36])
    trend = np.interp(np.arange(days) / 365.25, np.arange(len(growth)), growth)
    parts = []
    for i in range(n):
        mean = rng.uniform(8, 90) * week[weekday] * year[month] * trend
        pieces = rng.poisson(mean)
        parts.append(pd.DataFrame({"series": f"i{i:03d}", "date": dates, "y": pieces}))
    return pd.concat(parts)
