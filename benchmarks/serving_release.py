"""A release of a synthetic panel as large as Store Sales, with boosting as its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from storecast.bundle import Bundle, write_bundle
from storecast.conformal import Calibration
from storecast.models.base import QUANTILES, FitContext
from storecast.models.gbm import BoosterConfig, Gbm, GbmConfig
from storecast.panel_io import write_panel
from storecast.store import parquet
from storecast.store.datasets import DatasetStore
from storecast.store.releases import Release, ReleaseStore
from storecast.synthetic import make_panel

STORES, FAMILIES, DAYS = 223, 8, 800
NAME, KEYS = "bench", ("store_nbr", "family")


def publish(
    home: Path, *, stores: int = STORES, days: int = DAYS, seed: int = 7, rounds: int = 400
) -> Release:
    """Fit, release and activate under a home folder."""
    panel = make_panel(stores, FAMILIES, days, seed=seed)
    context = home / f"panel-{seed}"
    context.mkdir(parents=True)
    write_panel(panel, context, dataset=NAME, keys=KEYS)
    model = Gbm(GbmConfig(boosters=(_booster(rounds), _booster(rounds, learns="level", split=True))))
    model.fit(panel, FitContext(threads=2))
    plain = Calibration(QUANTILES, panel.horizon, 1, (1.0,) * len(QUANTILES), {}, {})
    cutoff = str(panel.cutoff.date())
    about = {
        "dataset": NAME,
        "keys": list(KEYS),
        "cutoff": cutoff,
        "fitted_to": cutoff,
        "horizon": panel.horizon,
    }
    store = ReleaseStore(DatasetStore(str(home)), NAME)
    with store.store.building(NAME) as folder:
        write_bundle(folder / "bundle", model, plain, context, about)
        forecast = Bundle.load(folder / "bundle").forecast()
        parquet.write_frame(forecast, folder / "forecasts.parquet")
        (folder / "lineage.json").write_text(json.dumps({}))
        counts = {"series": panel.n_series, "rows": len(forecast)}
        release = store.publish(
            folder, {**about, **counts, "rmsle_last_fold": {}, "promoted": True, "champion": ""}
        )
    return store.activate(release.id, "benchmark")


def _booster(
    rounds: int, learns: Literal["change", "level"] = "change", *, split: bool = False
) -> BoosterConfig:
    """As the boosting of configs/model_configs has them: one over all series, one for each family."""
    return BoosterConfig(step_days=40, window_days=280, rounds=rounds, learns=learns, split=split)
