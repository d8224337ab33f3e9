"""A panel as a folder of Parquet: `panel`, `static` and `events`, and `panel.json` that describes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from storecast.errors import StoreError
from storecast.panel import EVENT_COLUMNS, Floats, Panel
from storecast.store import parquet
from storecast.store.draft import draft_of

FORMAT = 1
GROUP_ROWS = 1 << 20
"""Rows of a row group of panel.parquet, which holds whole series; memory holds one while it is written."""


def write_panel(panel: Panel, folder: Path, *, dataset: str = "", keys: tuple[str, ...] = ()) -> None:
    """Write `panel` into an existing folder; the same panel gives the same bytes.

    `panel.parquet` holds every series on every date of the axis, by unique_id and date: `unique_id, ds, y`
    (null where not observed and after the cutoff), then the known-future and past-only covariates.
    """
    write_parts(_in_parts(panel), folder, dataset=dataset, keys=keys)


def write_parts(
    parts: Iterable[Panel], folder: Path, *, dataset: str = "", keys: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Write a panel that comes in parts, at least one, as `write_panel` does; memory holds one of them.

    Args:
        parts: neighbouring series each, on the same dates; events are those of the first.
        folder: where to; must exist.
        dataset: name of the data set.
        keys: its key columns.

    Returns:
        What panel.json says.
    """
    rest = iter(parts)
    first = next(rest)
    static: list[dict[str, list[str]]] = []
    signed: set[str] = set()

    def groups() -> Iterator[pa.Table]:
        for part in chain([first], rest):
            texts = {str(c): part.static[c].astype(str).tolist() for c in part.static}
            static.append({"unique_id": part.ids.tolist(), **texts})
            signed.update(name for name, values in part.known.items() if (values < 0).any())
            yield _rows(part)

    parquet.write_groups(groups(), folder / "panel.parquet")
    columns = {name: [text for part in static for text in part[name]] for name in static[0]}
    parquet.write_table(pa.table(columns), folder / "static.parquet")
    parquet.write_table(_events_table(first.events), folder / "events.parquet")
    about = {
        "format": FORMAT,
        "dataset": dataset,
        "freq": first.freq,
        "start": str(first.dates[0].date()),
        "cutoff": str(first.cutoff.date()),
        "horizon": first.horizon,
        "series": len(columns["unique_id"]),
        "dates": len(first.dates),
        "keys": list(keys),
        "known": list(first.known),
        "signed": sorted(signed),
        "past": list(first.past),
        "static": [str(c) for c in first.static],
    }
    if first.unplanned:
        about["unplanned"] = dict(first.unplanned)
    write_json(about, folder / "panel.json")
    return about


def series_at_once(dates: int) -> int:
    """Series of so many dates that a row group of panel.parquet holds."""
    return max(GROUP_ROWS // dates, 1)


def _in_parts(panel: Panel) -> Iterator[Panel]:
    n, step = panel.n_series, series_at_once(len(panel.dates))
    return (panel.select(slice(start, min(start + step, n))) for start in range(0, max(n, 1), step))


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
    shape = (stop - start, dates)
    names = ["y", *about["known"], *about["past"]]
    columns = _columns(folder / "panel.parquet", names, n * dates, slice(start * dates, stop * dates))
    wide = {name: values.reshape(shape) for name, values in columns.items()}
    static = (
        _read_parquet(folder / "static.parquet").slice(start, shape[0]).to_pandas().set_index("unique_id")
    )
    return Panel(
        ids=np.array(static.index, dtype=object),
        dates=pd.date_range(about["start"], periods=dates, freq=about["freq"], unit="ns"),
        y=wide["y"],
        known={name: wide[name] for name in about["known"]},
        past={name: wide[name] for name in about["past"]},
        static=static,
        events=_events_frame(_read_parquet(folder / "events.parquet")),
        freq=about["freq"],
        cutoff=pd.Timestamp(about["cutoff"]),
        unplanned=about.get("unplanned", {}),
    )


def _rows(panel: Panel) -> pa.Table:
    """The series of a panel on every date of the axis."""
    n, t = panel.y.shape
    codes = pa.array(np.repeat(np.arange(n, dtype=np.int32), t))
    ids = pa.array(panel.ids.tolist(), pa.string())
    columns: dict[str, Any] = {
        "unique_id": pa.DictionaryArray.from_arrays(codes, ids),
        "ds": pa.array(np.tile(panel.dates.to_numpy().astype("datetime64[ms]"), n)),
    }
    for name, values in {"y": panel.y, **panel.known, **panel.past}.items():
        columns[name] = pa.array(values.ravel(), from_pandas=True)
    return pa.table(columns)


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write JSON under a temporary name and rename it."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8")


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


def _columns(path: Path, names: Sequence[str], total: int, rows: slice) -> dict[str, Floats]:
    """Some rows of some columns of a file that holds `total` rows; row groups without any are not read.

    Memory holds one column of one row group besides.
    """
    found = {name: np.empty(rows.stop - rows.start) for name in names}
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
            end = 0
            for group in range(file.metadata.num_row_groups):
                start, end = end, end + file.metadata.row_group(group).num_rows
                first, last = max(start, rows.start), min(end, rows.stop)
                if first >= last:
                    continue
                for name, values in found.items():
                    column = file.read_row_group(group, columns=[name]).column(name).to_numpy()
                    values[first - rows.start : last - rows.start] = column[first - start : last - start]
            return found
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
