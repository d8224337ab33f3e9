"""A panel as a folder of Parquet: `panel`, `static` and `events`, and `panel.json` that describes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from storecast.errors import StoreError
from storecast.panel import EVENT_COLUMNS, Floats, Panel
from storecast.store import parquet

FORMAT = 1


def write_panel(panel: Panel, folder: Path, *, dataset: str = "", keys: tuple[str, ...] = ()) -> None:
    """Write `panel` into an existing folder; the same panel gives the same bytes.

    `panel.parquet` holds every series on every date of the axis, by unique_id and date: `unique_id, ds, y`
    (null where not observed and after the cutoff), then the known-future and past-only covariates.
    """
    n, t = panel.y.shape
    codes = pa.array(np.repeat(np.arange(n, dtype=np.int32), t))
    columns: dict[str, Any] = {
        "unique_id": pa.DictionaryArray.from_arrays(codes, pa.array(panel.ids.tolist(), pa.string())),
        "ds": pa.array(np.tile(panel.dates.to_numpy().astype("datetime64[ms]"), n)),
        **{
            name: pa.array(values.ravel(), from_pandas=True)
            for name, values in {"y": panel.y, **panel.known, **panel.past}.items()
        },
    }
    parquet.write_table(pa.table(columns), folder / "panel.parquet")
    static = {"unique_id": panel.ids.tolist()} | {
        str(c): panel.static[c].astype(str).tolist() for c in panel.static
    }
    parquet.write_table(pa.table(static), folder / "static.parquet")
    parquet.write_table(_events_table(panel.events), folder / "events.parquet")
    write_json(
        {
            "format": FORMAT,
            "dataset": dataset,
            "freq": panel.freq,
            "start": str(panel.dates[0].date()),
            "cutoff": str(panel.cutoff.date()),
            "horizon": panel.horizon,
            "series": n,
            "dates": t,
            "keys": list(keys),
            "known": list(panel.known),
            "past": list(panel.past),
            "static": [str(c) for c in panel.static],
        },
        folder / "panel.json",
    )


def read_panel(folder: Path, rows: slice | None = None) -> Panel:
    """Read what `write_panel` wrote, or some neighbouring series of it.

    Args:
        folder: where it was written.
        rows: positions of the series; memory holds these and little more. None: all.

    Raises:
        StoreError: a file is missing or does not fit `panel.json`.
    """
    about = _read_json(folder / "panel.json")
    n, dates = about["series"], about["dates"]
    start, stop, _ = (rows or slice(None)).indices(n)
    table = _read_rows(folder / "panel.parquet", n * dates, slice(start * dates, stop * dates))
    shape = (stop - start, dates)

    def wide(name: str) -> Floats:
        return np.asarray(table.column(name).to_numpy(), dtype=np.float64).reshape(shape)

    static = (
        _read_parquet(folder / "static.parquet").slice(start, shape[0]).to_pandas().set_index("unique_id")
    )
    return Panel(
        ids=np.array(static.index, dtype=object),
        dates=pd.date_range(about["start"], periods=dates, freq=about["freq"], unit="ns"),
        y=wide("y"),
        known={name: wide(name) for name in about["known"]},
        past={name: wide(name) for name in about["past"]},
        static=static,
        events=_events_frame(_read_parquet(folder / "events.parquet")),
        freq=about["freq"],
        cutoff=pd.Timestamp(about["cutoff"]),
    )


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write JSON under a temporary name and rename it."""
    part = path.with_name(path.name + ".part")
    part.write_text(
        json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    part.replace(path)


def _events_table(events: pd.DataFrame) -> pa.Table:
    texts = {name: pa.array(events[name].astype(str).tolist(), pa.string()) for name in EVENT_COLUMNS[1:]}
    ds = pa.array(events["ds"].to_numpy().astype("datetime64[ms]"))
    return pa.table({"ds": ds, **texts})


def _events_frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    frame["ds"] = frame["ds"].astype("datetime64[ns]")
    return frame


def _read_parquet(path: Path) -> pa.Table:
    try:
        return parquet.read_table(path, memory_map=True)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _read_rows(path: Path, total: int, rows: slice) -> pa.Table:
    """Some rows of a file that holds `total`; row groups without any of them are not read."""
    try:
        with parquet.open_file(path, memory_map=True) as file:
            if file.metadata.num_rows != total:
                raise StoreError(
                    "the panel does not have the rows that panel.json states",
                    where=str(path.parent),
                    expected=f"{total} rows",
                    found=f"{file.metadata.num_rows} rows",
                    cure="run the ingest stage again",
                )
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
            ends = np.cumsum(sizes)
            groups = np.flatnonzero((ends > rows.start) & (ends - sizes < rows.stop))
            if len(groups) == 0:
                return file.schema_arrow.empty_table()
            skipped = int(ends[groups[0]] - sizes[groups[0]])
            table = file.read_row_groups(groups.tolist())
            return table.slice(rows.start - skipped, rows.stop - rows.start)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        "cannot be read as Parquet", where=str(path), found=str(error), cure="run the ingest stage again"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            "cannot be read", where=str(path), found=str(error), cure="run the ingest stage again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StoreError(
            "is not a panel description of this version",
            where=str(path),
            expected=f"format {FORMAT}",
            cure="run the ingest stage again",
        )
    return content
