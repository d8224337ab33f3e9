"""The bundles of partitions as one, of which memory holds the few that are asked.

bundle.json             data set, keys, cutoff, horizon; of each partition its name, series and first date
context/                the panel of all partitions, one after the other: sorted within each
partitions/<name>/      each one's bundle, without a context of its own
"""

from __future__ import annotations

import json
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.bundle import ABOUT, PARTITIONS, Bundle
from storecast.errors import ReleaseError
from storecast.models.base import Forecast
from storecast.panel import Floats, Panel
from storecast.panel_io import read_panel, series_at_once, write_json, write_parts
from storecast.store import parquet

CONTEXT, OWN = "context", "partitions"
KEPT = 2
"""Partitions whose models memory holds."""
TABLES = ("ids.parquet", "quarantine.parquet")
"""What lies beside a panel of the rows that it was made of."""
SAME = ("keys", "cutoff", "horizon")
"""What all partitions must have in common to be one."""


@dataclass(frozen=True, eq=False)
class PartBundle(Bundle):
    """A partition's bundle, whose panel is a part of the one of all.

    Attributes:
        context: the panel of all.
        rows: the partition's series in it.
        start: the first date that the partition has itself.
    """

    context: Path = Path()
    rows: slice = field(default_factory=lambda: slice(None))
    start: str = ""

    @cached_property
    def panel(self) -> Panel:
        """The partition's panel as it was when its bundle was made."""
        panel = read_panel(self.context, self.rows)
        return panel.last(int((panel.dates[: panel.n_history] >= pd.Timestamp(self.start)).sum()))


class JoinedBundle:
    """Bundles of partitions as one.

    Attributes:
        about: bundle.json.
        ids: (n,) the series of all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.about: Mapping[str, Any] = json.loads((folder / ABOUT).read_text())
        static = parquet.read_frame(folder / CONTEXT / "static.parquet", ["unique_id"])
        self.ids: NDArray[np.object_] = static["unique_id"].to_numpy(dtype=object)
        self._ends = np.cumsum([part["series"] for part in self.about[PARTITIONS]])
        self._loaded: OrderedDict[int, PartBundle] = OrderedDict()

    def what_if(
        self,
        rows: NDArray[np.int64],
        known: Mapping[str, Mapping[int, Mapping[str, float]]],
        events: pd.DataFrame,
    ) -> Forecast:
        """Calibrated forecasts of some series, with another known future; see `Bundle.what_if`."""
        number_of = np.searchsorted(self._ends, rows, side="right")
        found: list[tuple[NDArray[np.intp], Forecast]] = []
        for number in np.unique(number_of).tolist():
            part, places = self._part(number), np.flatnonzero(number_of == number)
            start, stop = int(part.rows.start), int(part.rows.stop)
            own = {
                name: {row - start: by_date for row, by_date in changes.items() if start <= row < stop}
                for name, changes in known.items()
            }
            found.append((places, part.what_if(rows[places] - start, own, events)))
        return _merged(found)

    def _part(self, number: int) -> PartBundle:
        """A partition's bundle; the latest ones are kept."""
        if number not in self._loaded:
            about = self.about[PARTITIONS][number]
            end = int(self._ends[number])
            own = PartBundle.load(self._folder / OWN / about["name"])
            rows = slice(end - about["series"], end)
            self._loaded[number] = replace(
                own, context=self._folder / CONTEXT, rows=rows, start=about["start"]
            )
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(number)
        return self._loaded[number]


def load_bundle(folder: Path) -> Bundle | JoinedBundle:
    """A bundle of one model, or of partitions.

    Raises:
        ModelError: the folder is not a bundle, or another version of the models wrote it.
    """
    about = folder / ABOUT
    if about.is_file() and PARTITIONS in json.loads(about.read_text()):
        return JoinedBundle(folder)
    return Bundle.load(folder)


def join_bundles(bundles: Mapping[str, Path], folder: Path, dataset: str) -> dict[str, Any]:
    """Write the bundles of partitions as one into a new folder; memory holds a part of a panel.

    Args:
        bundles: the folder of each, by the partition's name, in their order.
        folder: where to; created.
        dataset: name of the data set that was cut.

    Returns:
        What bundle.json says.

    Raises:
        ReleaseError: the partitions differ in keys, cutoff or horizon.
    """
    abouts = {name: json.loads((path / ABOUT).read_text()) for name, path in bundles.items()}
    panels = {name: json.loads((path / CONTEXT / "panel.json").read_text()) for name, path in bundles.items()}
    _refuse_differences(abouts)
    (folder / CONTEXT).mkdir(parents=True)
    first = next(iter(abouts.values()))
    start = min(about["start"] for about in panels.values())
    events = pd.concat([read_panel(path / CONTEXT, slice(0, 0)).events for path in bundles.values()])
    events = events.drop_duplicates().sort_values(list(events.columns), ignore_index=True)
    parts = (
        replace(part, events=events)
        for name, path in bundles.items()
        for part in _widened(path / CONTEXT, panels[name], start)
    )
    write_parts(parts, folder / CONTEXT, dataset=dataset, keys=tuple(first["keys"]))
    for name in TABLES:
        _join_tables([path / CONTEXT / name for path in bundles.values()], folder / CONTEXT / name)
    for name, path in bundles.items():
        shutil.copytree(path, folder / OWN / name, ignore=shutil.ignore_patterns(CONTEXT))
    about = {
        **{name: first[name] for name in SAME},
        "dataset": dataset,
        "fitted_to": min(about["fitted_to"] for about in abouts.values()),
        PARTITIONS: [
            {"name": name, "series": panels[name]["series"], "start": panels[name]["start"]}
            for name in bundles
        ],
    }
    write_json(about, folder / ABOUT)
    return about


def _refuse_differences(abouts: Mapping[str, Mapping[str, Any]]) -> None:
    for what in SAME:
        values = {name: str(about[what]) for name, about in abouts.items()}
        different = sorted(set(values.values()))
        if len(different) > 1:
            told = [f"{value} of {next(n for n in values if values[n] == value)}" for value in different]
            raise ReleaseError(
                f"the partitions' releases differ in their {what}: they cannot be served as one",
                expected=f"the same {what} in all",
                found=", ".join(told[:5]),
                cure="run those that are behind on the same raw files; or serve each partition by itself",
            )


def _widened(folder: Path, about: Mapping[str, Any], start: str) -> Iterator[Panel]:
    """A panel in parts, on dates that begin at `start`; nothing was observed before its own."""
    own = pd.date_range(about["start"], periods=about["dates"], freq=about["freq"], unit="ns")
    dates = pd.date_range(start, own[-1], freq=about["freq"], unit="ns")
    before, step = len(dates) - len(own), series_at_once(len(dates))
    for at in range(0, about["series"], step):
        part = read_panel(folder, slice(at, at + step))

        yield replace(
            part,
            dates=dates,
            y=_after(before, part.y, np.nan),
            known={name: _after(before, values, 0.0) for name, values in part.known.items()},
            past={name: _after(before, values, np.nan) for name, values in part.past.items()},
        )


def _after(dates: int, values: Floats, fill: float) -> Floats:
    """(n, dates + T) the values after so many dates of `fill`."""
    return np.pad(values, ((0, 0), (dates, 0)), constant_values=fill)


def _join_tables(paths: Sequence[Path], to: Path) -> None:
    """The tables of all partitions that have one, one after the other."""
    there = [path for path in paths if path.exists()]
    if there:
        parquet.write_groups((parquet.read_table(path) for path in there), to)


def _merged(found: Sequence[tuple[NDArray[np.intp], Forecast]]) -> Forecast:
    """Forecasts of several models, in the order of the places that each has."""
    order = np.argsort(np.concatenate([places for places, _ in found]))
    forecasts = [forecast for _, forecast in found]
    whole = replace(
        forecasts[0],
        ids=np.concatenate([each.ids for each in forecasts]),
        point=np.concatenate([each.point for each in forecasts]),
        quantiles=np.concatenate([each.quantiles for each in forecasts]),
    )
    return whole.select(order)
