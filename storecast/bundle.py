"""A bundle: everything a model needs to forecast again, in one folder that loads without executing code.

bundle.json         class, keys, data set, cutoff, horizon
model/              what the model's own `save` wrote
calibration.json    how its intervals are calibrated
context/            the panel it forecasts from
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.conformal import Calibration
from storecast.errors import ConfigError, DataError, ModelError
from storecast.models.base import Forecast, Forecaster
from storecast.models.blend import forecast_rows
from storecast.models.catalogue import class_path_of, load_class
from storecast.panel import Panel
from storecast.panel_io import read_panel

ABOUT = "bundle.json"
PARTITIONS = "partitions"
"""What a bundle of several has in its bundle.json; see `storecast.partition.joined`."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded bundle: the model, its calibration, and where its context lies."""

    folder: Path
    model: Forecaster
    calibration: Calibration
    about: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a bundle.

        Raises:
            ModelError: the folder is not a bundle, another version of the models wrote it, or a model's class
                is not here.
        """
        if not (folder / ABOUT).is_file():
            raise ModelError(
                "this is not a model bundle", where=str(folder), expected=f"a folder with {ABOUT}"
            )
        about = json.loads((folder / ABOUT).read_text())
        if PARTITIONS in about:
            raise ModelError(
                "this bundle holds the models of several partitions",
                where=str(folder),
                expected="one model",
                cure="name a partition's release; or train the panel whole, as a data set of another name",
            )
        try:
            calibration = Calibration.from_dict(json.loads((folder / "calibration.json").read_text()))
            model = load_class(about["class"]).load(folder / "model")
        except ConfigError as error:  # of a class, the model's own or that of a part of it
            raise ModelError(
                error.what, where=error.where, expected=error.expected, found=error.found, cure=error.cure
            ) from error
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                "another version of the models wrote this bundle",
                where=str(folder),
                found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
                cure="release a model that was trained with this version, or load the bundle with its own",
            ) from error
        return cls(folder, model, calibration, about)

    @cached_property
    def panel(self) -> Panel:
        """The panel as it was when the bundle was made."""
        return read_panel(self.folder / "context")

    @property
    def ids(self) -> NDArray[np.object_]:
        """(n,) the series of that panel."""
        return self.panel.ids

    def forecast(self, panel: Panel | None = None) -> pd.DataFrame:
        """Calibrated forecasts of a panel's future (None: of the bundle's own).

        Returns:
            Columns `unique_id, ds, h, yhat`, one `q<level>` per quantile; in units of sales.
        """
        return self.calibration.apply(self.model.forecast(panel or self.panel)).to_frame()

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Forecasts for the rows of a frame, in its order.

        Args:
            frame: `ds` and either `unique_id` or the data set's key columns. Columns named like known-future
                covariates are a what-if: their values replace the known ones on those rows.

        Returns:
            The frame's columns, then `unique_id`, `h`, `yhat` and the quantiles.

        Raises:
            DataError: a column is missing, a series or date is not one this bundle forecasts, a covariate is
                not a number, or two rows of one series and date have different ones.
        """
        ids = self._ids(frame)
        ds = pd.to_datetime(frame["ds"])
        rows = pd.Index(self.panel.ids).get_indexer(pd.Index(ids))
        ahead = self.panel.future_dates.get_indexer(pd.DatetimeIndex(ds))
        self._refuse_unknown(ids, ds, rows, ahead)
        needed = np.unique(rows)
        panel = self._what_if(frame, rows, ahead)
        forecast = self.calibration.apply(forecast_rows(self.model, panel, needed)).to_frame()
        picked = forecast.iloc[np.searchsorted(needed, rows) * self.panel.horizon + ahead]
        kept = frame.drop(columns=[c for c in picked.columns if c in frame.columns and c != "ds"])
        answer = picked.drop(columns="ds").set_index(frame.index)
        return pd.concat([kept, answer], axis=1)

    def what_if(
        self,
        rows: NDArray[np.int64],
        known: Mapping[str, Mapping[int, Mapping[str, float]]],
        events: pd.DataFrame,
    ) -> Forecast:
        """Calibrated forecasts of some series, with another known future.

        Args:
            rows: positions of the series in the panel.
            known: for each known-future covariate the values to put in place of the known ones, by position
                of the series and ISO date.
            events: more events that hold for all of `rows`: `ds`, `event`, `kind`; may be empty.

        Returns:
            The forecasts, in the order of `rows`.
        """
        panel = self.panel
        dates = panel.future_dates.strftime("%Y-%m-%d")
        column = {day: panel.n_history + ahead for ahead, day in enumerate(dates)}
        for name, changes in known.items():
            values = panel.known[name].copy()
            for row, by_date in changes.items():
                values[row, [column[day] for day in by_date]] = list(by_date.values())
            panel = panel.with_known(name, values)
        if len(events):
            more = events.assign(ds=pd.to_datetime(events["ds"]), column="", value="")
            panel = replace(panel, events=pd.concat([panel.events, more[list(panel.events.columns)]]))
        needed, places = np.unique(rows, return_inverse=True)
        return self.calibration.apply(forecast_rows(self.model, panel, needed)).select(places)

    def _ids(self, frame: pd.DataFrame) -> pd.Series:
        keys = list(self.about["keys"])
        if "ds" not in frame or not ("unique_id" in frame or set(keys) <= set(frame.columns)):
            raise DataError(
                "the frame lacks what names a forecast",
                expected=f"ds, and unique_id or the keys {', '.join(keys)}",
                found=", ".join(map(str, frame.columns)),
            )
        if "unique_id" in frame:
            return frame["unique_id"].astype(str)
        by_key = pd.Series(self.panel.ids, index=pd.MultiIndex.from_frame(self.panel.static[keys]))
        asked = pd.MultiIndex.from_frame(frame[keys].astype(str))
        names = by_key.reindex(asked).to_numpy(dtype=object)
        joined = np.array([" ".join(key) for key in asked], dtype=object)
        return pd.Series(np.where(pd.isna(names), joined, names), index=frame.index)

    def _refuse_unknown(
        self, ids: pd.Series, ds: pd.Series, rows: np.ndarray[Any, Any], ahead: np.ndarray[Any, Any]
    ) -> None:
        if (rows < 0).any():
            unknown = sorted(set(ids[rows < 0]))
            raise DataError(
                f"{len(unknown)} unknown series: {', '.join(unknown[:5])}",
                expected=f"one of the {self.panel.n_series} series of {self.about['dataset']}",
                cure="leave these rows out, or release a forecast of a panel that has them",
            )
        if (ahead < 0).any():
            first, last = self.panel.future_dates[[0, -1]]
            raise DataError(
                "a date is not one of the forecast's",
                expected=f"{first.date()}..{last.date()}",
                found=str(ds[ahead < 0].iloc[0].date()),
            )

    def _what_if(self, frame: pd.DataFrame, rows: np.ndarray[Any, Any], ahead: np.ndarray[Any, Any]) -> Panel:
        panel = self.panel
        for name in panel.known.keys() & set(frame.columns):
            given, values, places = _numbers(frame[name]), panel.known[name].copy(), panel.n_history + ahead
            values[rows, places] = given
            if (other := values[rows, places] != given).any():
                first = int(other.argmax())
                raise DataError(
                    "a series has two scenarios for one date",
                    where=f"column {name}",
                    expected="one value for each series and date",
                    found=f"several of {panel.ids[rows[first]]} on {panel.future_dates[ahead[first]].date()}",
                    cure="ask for each scenario in a frame of its own",
                )
            panel = panel.with_known(name, values)
        return panel


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    """The values of a covariate.

    Raises:
        DataError: one is not a finite number.
    """
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if (wrong := ~np.isfinite(values)).any():
        raise DataError(
            "a covariate is not a number",
            where=f"column {column.name}",
            expected="a finite number in every row",
            found=f"{wrong.sum():,} rows that have none, such as {column[wrong].iloc[0]!r}",
            cure="fill in what is planned, or leave the column out to forecast with the known values",
        )
    return values


def write_bundle(
    folder: Path, model: Forecaster, calibration: Calibration, context: Path, about: Mapping[str, Any]
) -> None:
    """Write a bundle into an empty folder.

    Args:
        folder: where to; created.
        model: the fitted model.
        calibration: of its intervals.
        context: a panel folder, as `storecast.panel_io` writes it.
        about: `dataset`, `keys`, `cutoff`, `fitted_to`, `horizon` and anything worth knowing.
    """
    (folder / "model").mkdir(parents=True)
    model.save(folder / "model")
    shutil.copytree(context, folder / "context")
    content = {"class": class_path_of(model), **about}
    (folder / "calibration.json").write_text(
        json.dumps(calibration.to_dict(), indent=1, sort_keys=True) + "\n"
    )
    (folder / ABOUT).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
