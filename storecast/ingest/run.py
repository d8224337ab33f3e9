"""The ingest stage: raw files of a data set into a panel folder, with an account of every row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa

from storecast.dataset_config import DatasetConfig
from storecast.errors import DataError
from storecast.ingest.arrived import connected
from storecast.ingest.assemble import Axes, history_target, known_covariates, make_axes, split_future
from storecast.ingest.audit import QUARANTINE
from storecast.ingest.context import Context
from storecast.ingest.ledger import Arrival, Ledger
from storecast.ingest.quality import DataQualityReport
from storecast.ingest.rows import future_start, read_future, read_train
from storecast.ingest.source import Source
from storecast.ingest.tables import allowed_keys, join_static, read_dated, read_holidays, read_static
from storecast.panel import Floats, Panel
from storecast.panel_io import write_json, write_panel
from storecast.store import parquet


@dataclass(frozen=True)
class IngestResult:
    """What an ingest made.

    Attributes:
        folder: holds panel.parquet, static.parquet, events.parquet, panel.json, quarantine.parquet,
            quality.json and, where the config names an id column, ids.parquet.
        panel: the panel.
        quality: what became of every row.
        quarantine: the quarantined rows: `file, row, column, reason, expected, raw`.
    """

    folder: Path
    panel: Panel
    quality: DataQualityReport
    quarantine: pd.DataFrame


def about_rows(config: DatasetConfig, source: str) -> int:
    """How many rows of sales the raw files have, told from little of them.

    Raises:
        DataError: a file is missing or damaged.
    """
    return sum(file.about_rows() for file in Source(source, config.csv).open(config.train))


def ingest(
    config: DatasetConfig,
    source: str | Path,
    folder: Path,
    *,
    today: dt.date | None = None,
    arrivals: Sequence[Arrival] = (),
) -> IngestResult:
    """Read, validate, repair and quarantine the raw files, and write the panel into an existing folder.

    A table's base files and what has arrived of it are one table; of rows for the same key that have arrived
    again the one of the latest file stands, and the others are counted as superseded.

    Args:
        config: what the files mean.
        source: folder of the raw files: a path or an fsspec URI.
        folder: where the panel goes; must exist.
        today: history rows after it are wrong; default: the day of the call (UTC).
        arrivals: files that have arrived after the base files, the latest last; those of a table that the
            config no longer has are left out with a note.

    Raises:
        DataError: a file is missing, damaged or has too many wrong rows; names file, row, column and cure.
    """
    now = today if today is not None else dt.datetime.now(dt.UTC).date()
    ours, notes = connected(config, arrivals)
    context = Context(config, Source(str(source), config.csv), pd.Timestamp(now), ours)
    context.report.notes.extend(notes)
    tables = read_static(context)
    allowed = allowed_keys(tables, list(config.keys))
    future = read_future(context, allowed)
    train, audit = read_train(context, allowed, None if future is None else future_start(_base(*future)))
    axes = make_axes(context, [train] if future is None else [train, future[0]])
    upcoming = split_future(context, axes, future)
    cells = axes.cells(train, config.key_separator)
    values = train[["y", *config.known]]  # dates and keys have told the cells, and go
    del train
    y, has_row = history_target(context, axes, cells, values.pop("y"), audit)
    known, unplanned = known_covariates(context, axes, cells, values, upcoming)
    del cells, values
    static = join_static(context, axes.keys, tables)
    past: dict[str, Floats] = {}
    for table in config.tables:
        if table.kind != "static":
            target = known if table.kind == "known" else past
            covariates, untold = read_dated(context, table, static, axes.dates, axes.n_history)
            target.update(covariates)
            unplanned |= untold
    panel = Panel(
        ids=axes.ids,
        dates=axes.dates,
        y=y,
        known=known,
        past=past,
        static=static,
        events=read_holidays(context, static),
        freq=config.frequency,
        cutoff=axes.dates[axes.n_history - 1],
        unplanned=unplanned,
    )
    _check_panel(panel)
    _describe(context, panel, has_row)
    return _write(context, panel, axes, upcoming, folder)


def _base(frame: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """The rows of the base file."""
    rows: pd.DataFrame = frame[ledger.file_of(frame.index.to_numpy(dtype=np.int64)) == 0]
    return rows


def _check_panel(panel: Panel) -> None:
    """The schema of the result: what every later stage relies on."""
    number = pandera.Column(float, pandera.Check.ge(0), nullable=True)
    try:
        target = pandera.DataFrameSchema({"y": number})
        for rows in np.array_split(panel.y, max(panel.y.size >> 20, 1)):
            target.validate(pd.DataFrame({"y": rows.ravel()}))
        static = {str(name): pandera.Column(nullable=False) for name in panel.static}
        pandera.DataFrameSchema(static, index=pandera.Index(unique=True)).validate(panel.static)
    except pandera.errors.SchemaError as error:
        raise DataError(
            "the panel breaks its own schema; this is a defect of the ingest stage",
            found=str(error).splitlines()[0],
            cure="report it together with the files",
        ) from error


def _describe(
    context: Context, panel: Panel, has_row: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> None:
    report = context.report
    report.panel = {
        "series": panel.n_series,
        "history_dates": panel.n_history,
        "start": str(panel.dates[0].date()),
        "cutoff": str(panel.cutoff.date()),
        "horizon": panel.horizon,
        "freq": panel.freq,
        "events": len(panel.events),
    }
    history = has_row[:, : panel.n_history]
    new = panel.ids[~history.any(axis=1)].tolist()
    report.series_without_history = [str(name) for name in new]
    if new:
        report.notes.append(f"{len(new)} series have no history: {', '.join(map(str, new[:10]))}")
    late = int((~history[:, 0] & history.any(axis=1)).sum())
    early = int((~history[:, -1] & history.any(axis=1) & np.isnan(panel.history[:, -1])).sum())
    zeros = panel.ids[(history.any(axis=1)) & ~(panel.history > 0).any(axis=1)].tolist()
    for count, text in (
        (late, "series start after the panel's first date; they are not observed before"),
        (early, "series end before the cutoff; they are not observed after"),
        (len(zeros), f"series never sell anything: {', '.join(map(str, zeros[:10]))}"),
    ):
        if count:
            report.notes.append(f"{count} {text}")
    for name, values in panel.known.items():
        seen = values[:, : panel.n_history]
        if seen.size and (seen == seen.flat[0]).all():
            report.notes.append(f"{name} is {seen.flat[0]:g} on every date: nothing can be learnt of it")
    if panel.horizon > panel.n_history:
        report.notes.append(
            f"the horizon ({panel.horizon}) is longer than the history ({panel.n_history} dates): "
            "no fold can be held out to test models"
        )


def _write(
    context: Context, panel: Panel, axes: Axes, upcoming: pd.DataFrame | None, folder: Path
) -> IngestResult:
    config = context.config
    quarantine = pa.concat_tables([QUARANTINE.empty_table(), *context.quarantine])
    write_panel(panel, folder, dataset=config.name, keys=tuple(config.keys))
    parquet.write_table(quarantine, folder / "quarantine.parquet")
    write_json(context.report.to_dict(), folder / "quality.json")
    if config.id is not None and upcoming is not None:
        cells = axes.cells(upcoming, config.key_separator)
        order = np.argsort(cells, kind="stable")
        rows, columns = np.divmod(cells[order], len(axes.dates))
        ids = {
            "unique_id": pa.array(axes.ids[rows].tolist(), pa.string()),
            "ds": pa.array(axes.dates.to_numpy().astype("datetime64[ms]")[columns]),
            "id": pa.array(upcoming["id"].astype(str).to_numpy(dtype=object)[order].tolist(), pa.string()),
        }
        parquet.write_table(pa.table(ids), folder / "ids.parquet")
    return IngestResult(folder, panel, context.report, quarantine.to_pandas())
