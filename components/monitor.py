"""Stage: is the forecast that is served still good? What was served joined with what happened, and checks.

python -m components.monitor --panel URI [--as-of 2017-08-16]
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from components.stage import PanelUri, Workspace, main, open_panel, open_store, releases_of
from storecast.errors import ConfigError
from storecast.monitor.config import load_monitor_config
from storecast.monitor.health import write_health
from storecast.monitor.served import activations_of, served_rows
from storecast.monitor.watch import watch
from storecast.store import parquet
from storecast.store.code import code_version
from storecast.store.datasets import Dataset

YEARS_DAYS = 2 * 364
"""How far back what was served is read: moves are compared with a year ago, and with that year's moves."""

SHOWN_DAYS = 364
"""Days that the tables hold."""

DRIFT_DAYS = 28


def run(
    panel: PanelUri,
    as_of: Annotated[str, typer.Option(help="Day of the monitoring, YYYY-MM-DD; default: today (UTC).")] = "",
    monitoring: Annotated[str, typer.Option(help="Monitoring config: name or YAML file.")] = "default",
    workspace: Workspace = "",
) -> Dataset:
    """Check what was served against what happened, and what arrives.

    Args:
        panel: URI of the panel with the newest actuals.
        as_of: the day; only freshness looks beyond the panel's cutoff. "": today (UTC).
        monitoring: monitoring config, by name or file.
        workspace: where data sets and releases lie.

    Returns:
        A data set with health.json (see `storecast.monitor.health`); errors.parquet, rolling scores by day,
        segment and window (1 day and those of the config); drift.parquet, the moves of the last 4 weeks;
        served.parquet, by day which release was served, and its sums beside the actuals'.

    Raises:
        ConfigError: `as_of` is no date, or the monitoring config is wrong.
    """
    store, config = open_store(workspace), load_monitor_config(monitoring)
    source = store.open(panel)
    releases = releases_of(store, source)
    day = _day(as_of)
    history = [f"{entry.id} {entry.at}" for entry in releases.history()]

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        whole = open_panel(store, panel)
        since = whole.cutoff - pd.Timedelta(days=YEARS_DAYS)
        promised = whole.cutoff - pd.Timedelta(days=max(config.scores.windows_days))
        served = served_rows(activations_of(releases, whole.offset, since, promised), whole)
        current = releases.history()[-1].id if history else ""
        found = watch(
            whole, served, day, config, dataset=releases.name, release=current, drift_days=DRIFT_DAYS
        )
        write_health(found.health, folder)
        shown = found.scores["ds"] > whole.cutoff - pd.Timedelta(days=SHOWN_DAYS)
        parquet.write_frame(found.scores[shown], folder / "errors.parquet")
        parquet.write_frame(found.drift, folder / "drift.parquet")
        parquet.write_frame(summary(served), folder / "served.parquet")
        said = {"state": found.health.state, "healthy": found.health.healthy, "as_of": found.health.as_of}
        return {**found.health.counts, **said}

    return store.materialise(
        "monitor",
        inputs={"panel": source.hash},
        config={"as_of": str(day.date()), "history": history, **config.model_dump(mode="json")},
        code=code_version("components.monitor"),
        build=build,
    )


def summary(served: pd.DataFrame) -> pd.DataFrame:
    """By day and release: series served and known, and the sums of forecast, actual and seasonal naive over
    the series whose actuals are known (of the forecast over all where none is)."""
    known = served["y"].notna()
    rows = served.assign(
        with_actuals=known,
        actual=served["y"],
        naive=served["naive"].where(known),
        forecast_known=served["yhat"].where(known),
    )
    by = rows.groupby(["ds", "release", "cutoff"], sort=True)
    out = by.agg(series=("unique_id", "size"), with_actuals=("with_actuals", "sum"), forecast=("yhat", "sum"))
    sums = by[["forecast_known", "actual", "naive"]].sum(min_count=1)
    return out.join(sums).reset_index()


def _day(text: str) -> pd.Timestamp:
    try:
        return pd.Timestamp(date.fromisoformat(text) if text else datetime.now(UTC).date())
    except ValueError as error:
        raise ConfigError("not a date", where="as_of", expected="YYYY-MM-DD", found=text) from error


if __name__ == "__main__":
    main(run)
