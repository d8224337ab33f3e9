"""What makes a release's forecasts of sums: the sums' own model, how far it is trusted, how far sums miss.

    coherence = Coherence.load(folder)
    means, table = coherence.forecast(panel, forecast)

It lies in a bundle (`aggregates/`) as the model does, and forecasts a newer panel with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.aggregates import Forecasts, Reconciler, nodes_on_dates, variances_of, with_intervals
from storecast.errors import DataError
from storecast.hierarchy import Hierarchy, aggregated
from storecast.metrics import check_columns
from storecast.models.base import Forecaster
from storecast.models.catalogue import class_path_of, load_class
from storecast.panel import Floats, Panel
from storecast.store import parquet
from storecast.sums import LEVELS

ABOUT = "coherence.json"
FACTORS = "factors.parquet"
PERCENTS = [f"{round(100 * level)}" for level in LEVELS]


@dataclass(frozen=True, eq=False)
class Coherence:
    """How a panel's sums are forecast.

    Attributes:
        model: forecasts the sums as series of their own, fitted; None: they have no forecast of their own.
        reconciler: how far it is trusted.
        factors: `level, value` and a column per level of intervals: by what factor each sum may be missed.
            NaN where the backtest was too short to tell.
    """

    model: Forecaster | None
    reconciler: Reconciler
    factors: pd.DataFrame

    def forecast(self, panel: Panel, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Coherent forecasts of a panel's series and of their sums.

        Args:
            panel: the panel.
            frame: the series' forecasts, calibrated: `unique_id, ds, yhat` and quantiles, every series of the
                panel on every date of its horizon.

        Returns:
            The frame with the column `mean`, whose sums are coherent; and the sums: `level, value, ds, h,
            mean`, `points` (the sum of yhat) and `lower_80, upper_80, ...`.

        Raises:
            DataError: the frame does not have these rows.
        """
        hierarchy = Hierarchy.of(panel.static)
        told = self._forecasts(panel, hierarchy, frame)
        means = self.reconciler.means(hierarchy, told)
        table = nodes_on_dates(hierarchy, told.dates)
        table["mean"] = hierarchy.sums(means).ravel()
        table["points"] = hierarchy.sums(told.points).ravel()
        return (
            frame.assign(mean=means.ravel()[_places(panel.ids, told.dates, frame)]),
            with_intervals(table, self._factors(hierarchy)),
        )

    def save(self, folder: Path) -> None:
        """Write it into a new folder; nothing that executes on loading."""
        folder.mkdir()
        parquet.write_frame(self.factors, folder / FACTORS)
        about: dict[str, Any] = {"reconciler": self.reconciler.to_dict(), "class": ""}
        if self.model is not None:
            about["class"] = class_path_of(self.model)
            (folder / "model").mkdir()
            self.model.save(folder / "model")
        (folder / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote; of a folder that is not there, one that sums points up.

        Raises:
            ModelError: another version of the model wrote it.
        """
        if not (folder / ABOUT).is_file():
            return cls(
                None, Reconciler(0.0, 0.0, (), {}), pd.DataFrame(columns=["level", "value", *PERCENTS])
            )
        about = json.loads((folder / ABOUT).read_text())
        model = load_class(about["class"]).load(folder / "model") if about["class"] else None
        return cls(model, Reconciler.from_dict(about["reconciler"]), parquet.read_frame(folder / FACTORS))

    def _forecasts(self, panel: Panel, hierarchy: Hierarchy, frame: pd.DataFrame) -> Forecasts:
        mine = series_forecasts(panel.ids, panel.future_dates, frame)
        own = own_forecasts(self.model, aggregated(panel, hierarchy), hierarchy)
        return Forecasts(panel.future_dates, *mine, *own)

    def _factors(self, hierarchy: Hierarchy) -> Floats:
        """(a, levels) of each node; one that was not there before gets its level's largest."""
        known = self.factors.set_index(["level", "value"])[PERCENTS].astype(np.float64)
        mine = known.reindex(pd.MultiIndex.from_frame(hierarchy.nodes))
        largest = known.groupby(level="level").max().reindex(hierarchy.nodes["level"])
        return np.where(mine.isna(), largest, mine).astype(np.float64)


def factor_table(hierarchy: Hierarchy, factors: Floats) -> pd.DataFrame:
    """Factors (a, levels) as `Coherence` keeps them."""
    return hierarchy.nodes.assign(**{name: factors[:, k] for k, name in enumerate(PERCENTS)})


def series_forecasts(
    ids: NDArray[np.object_], dates: pd.DatetimeIndex, frame: pd.DataFrame
) -> tuple[Floats, Floats, Floats]:
    """(n, H) points of a table of forecasts and the variances that their 80 % intervals state.

    The variances are in squared units of sales, and on the scale of log(1+y).

    Args:
        ids: (n,) the series.
        dates: (H,) the dates.
        frame: `unique_id, ds, yhat, q0.1, q0.9`, a row for each series on each date.

    Raises:
        DataError: it lacks a column, or does not have these rows.
    """
    check_columns(frame, ["unique_id", "ds", "yhat", "q0.1", "q0.9"], where="forecasts")
    places, shape = _places(ids, dates, frame), (len(ids), len(dates))
    found = np.empty((3, len(frame)))
    found[:, places] = np.stack([frame["yhat"], *variances_of(frame[["q0.1", "q0.9"]])])
    points, variance, log_variance = found.reshape(3, *shape)
    return points, variance, log_variance


def own_forecasts(model: Forecaster | None, sums: Panel, hierarchy: Hierarchy) -> tuple[Floats, Floats]:
    """(a, H) a model's forecasts of the sums and the variances that it states; NaN, infinite where none.

    Args:
        model: fitted to the sums, or None.
        sums: the sums as a panel, see `storecast.hierarchy.aggregated`.
        hierarchy: of the series.
    """
    if model is None:
        shape = (len(hierarchy.nodes), sums.horizon)
        return np.full(shape, np.nan), np.full(shape, np.inf)
    told = model.forecast(sums)
    order = pd.Index(told.ids).get_indexer(pd.Index(hierarchy.names))
    low, high = told.levels.index(0.1), told.levels.index(0.9)
    variance, _ = variances_of(told.quantiles[order][..., [low, high]])
    there = order[:, None] >= 0
    return np.where(there, told.point[order], np.nan), np.where(there, variance, np.inf)


def _places(ids: NDArray[np.object_], dates: pd.DatetimeIndex, frame: pd.DataFrame) -> NDArray[np.intp]:
    """(rows,) where each row lies in an (n, H) array read line by line."""
    rows = pd.Index(ids).get_indexer(pd.Index(frame["unique_id"].astype(str)))
    days = dates.get_indexer(pd.DatetimeIndex(frame["ds"]))
    places = rows * len(dates) + days
    wrong = (rows < 0) | (days < 0)
    if wrong.any() or len(frame) != len(ids) * len(dates) or len(np.unique(places)) != len(frame):
        raise DataError(
            "the forecasts are not those of the panel",
            expected=f"{len(ids)} series on {len(dates)} dates, a row each",
            found=f"{len(frame)} rows, {int(wrong.sum())} of other series or dates",
            cure="forecast the panel that is summed up",
        )
    return np.asarray(places)
