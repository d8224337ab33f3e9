"""Raw files of a retailer of any size, written store by store; and a release of any size to serve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from storecast.bundle import Bundle, write_bundle
from storecast.conformal import Calibration
from storecast.models.base import QUANTILES, FitContext
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel
from storecast.panel_io import write_panel
from storecast.store import parquet
from storecast.store.datasets import DatasetStore
from storecast.store.releases import Release, ReleaseStore

STORES, FAMILIES, DAYS, HORIZON = 54, 33, 1_684, 16
"""Store Sales: what size 1 is."""

CITIES, STATES = 22, 16
END = pd.Timestamp("2017-08-15")
NAME = "scale"
CONFIG = f"""name: {NAME}
freq: D
horizon: {HORIZON}
train: train.parquet
future: test.parquet
date: date
target: sales
keys: [store_nbr, family]
known: [onpromotion]
tables:
  - {{files: stores.csv, kind: static, join: [store_nbr], columns: [city, state, type]}}
"""
SHORT_DAYS = 56


def write_raw(folder: Path, size: float, seed: int = 7) -> Path:
    """Write so many times Store Sales; memory holds one store. The data set config's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stores = round(STORES * size)
    numbers = np.arange(1, stores + 1)
    pd.DataFrame(
        {
            "store_nbr": numbers,
            "city": [f"city {n % CITIES}" for n in numbers],
            "state": [f"state {n % CITIES % STATES}" for n in numbers],
            "type": [f"{'ABCDE'[n % 5]}" for n in numbers],
        }
    ).to_csv(folder / "stores.csv", index=False)
    dates = pd.date_range(end=END + pd.Timedelta(days=HORIZON), periods=DAYS + HORIZON)
    names = pa.array([f"FAMILY {f:02d}" for f in range(FAMILIES)])
    schema = pa.schema(
        {
            "date": pa.timestamp("ms"),
            "store_nbr": pa.int32(),
            "family": pa.dictionary(pa.int32(), pa.string()),
            "sales": pa.float64(),
            "onpromotion": pa.int32(),
        }
    )
    with (
        parquet.Writer(folder / "train.parquet", schema) as train,
        parquet.Writer(folder / "test.parquet", schema.remove(3)) as test,
    ):
        for number in numbers:
            table = _store(int(number), dates, names, schema, seed)
            train.write(table.slice(0, FAMILIES * DAYS))
            test.write(table.slice(FAMILIES * DAYS).drop_columns("sales"))
    config = folder / f"{NAME}.yaml"
    config.write_text(CONFIG)
    return config


def _store(number: int, dates: pd.DatetimeIndex, names: pa.Array, schema: pa.Schema, seed: int) -> pa.Table:
    """One store's rows, by date and family."""
    rng = np.random.default_rng([seed, number])
    t = np.arange(len(dates))[:, None]
    base = np.exp(rng.normal(3.0, 1.8, FAMILIES))
    week = 1 + 0.35 * np.sin(2 * np.pi * (dates.day_of_week.to_numpy()[:, None] + rng.random(FAMILIES)) / 7)
    year = 1 + 0.2 * np.sin(2 * np.pi * (t / 365.25 + rng.random(FAMILIES)))
    promoted = (rng.random((len(t), FAMILIES)) < 0.12) * rng.integers(1, 12, (len(t), FAMILIES))
    level = np.exp(np.cumsum(rng.normal(0, 0.01, (len(t), FAMILIES)), axis=0))
    sales = rng.poisson(base * week * year * level * (1 + 0.06 * promoted)).astype(np.float64)
    n = sales.size
    return pa.table(
        {
            "date": np.repeat(dates.to_numpy().astype("datetime64[ms]"), FAMILIES),
            "store_nbr": np.full(n, number, dtype=np.int32),
            "family": pa.DictionaryArray.from_arrays(
                np.tile(np.arange(FAMILIES, dtype=np.int32), len(t)), names
            ),
            "sales": sales.ravel(),
            "onpromotion": promoted.astype(np.int32).ravel(),
        },
        schema=schema,
    )


def publish(home: Path, size: float) -> Release:
    """A current release of so many times Store Sales' series, of a short panel and the seasonal naive."""
    n = round(STORES * size) * FAMILIES
    ids = np.array(
        [f"{s:05d}|FAMILY {f:02d}" for s, f in (divmod(i, FAMILIES) for i in range(n))], dtype=object
    )
    dates = pd.date_range(end=END + pd.Timedelta(days=HORIZON), periods=SHORT_DAYS + HORIZON)
    rng = np.random.default_rng(7)
    y = rng.poisson(20, (n, len(dates))).astype(np.float64)
    y[:, SHORT_DAYS:] = np.nan
    static = pd.DataFrame([str(uid).split("|") for uid in ids], index=ids, columns=["store_nbr", "family"])
    static.index.name = "unique_id"
    panel = Panel(ids, dates, y, static, "D", END)
    context = home / "panel"
    context.mkdir(parents=True)
    write_panel(panel, context, dataset=NAME, keys=("store_nbr", "family"))
    model = SeasonalNaive(NaiveConfig())
    model.fit(panel, FitContext())
    plain = Calibration(QUANTILES, panel.horizon, 1, (1.0,) * len(QUANTILES), {}, {})
    about = {"dataset": NAME, "keys": ["store_nbr", "family"], "horizon": panel.horizon}
    about |= dict.fromkeys(("cutoff", "fitted_to"), str(END.date()))
    store = ReleaseStore(DatasetStore(str(home)), NAME)
    with store.store.building(NAME) as folder:
        write_bundle(folder / "bundle", model, plain, context, about)
        forecast = Bundle.load(folder / "bundle").forecast()
        parquet.write_frame(forecast, folder / "forecasts.parquet")
        (folder / "lineage.json").write_text(json.dumps({}))
        counts = {"series": n, "rows": len(forecast), "rmsle_last_fold": {}, "promoted": True, "champion": ""}
        release = store.publish(folder, {**about, **counts})
    return store.activate(release.id, "benchmark")
