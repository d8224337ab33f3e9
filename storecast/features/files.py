"""Feature tables as Parquet: one file, one row group per cutoff, so that a fit reads only its own cutoffs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from storecast.errors import StoreError
from storecast.features.table import FeatureTable, build, each_table, stacked
from storecast.panel import Panel
from storecast.store import parquet

FILE = "features.parquet"
_KEYS = ("unique_id", "cutoff", "ds", "h", "y")


def write(
    folder: Path,
    panel: Panel,
    cutoffs: Iterable[pd.Timestamp],
    *,
    horizon: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Build the features of each cutoff and write them into `folder` as `features.parquet`.

    Memory holds one cutoff at a time. Rows whose target is unknown are kept, with y = NaN.

    Returns:
        The number of rows written.

    Raises:
        DataError: a cutoff is not a date of the panel's history.
    """
    wanted = pd.DatetimeIndex(sorted(set(cutoffs)))
    partial = folder / f".{FILE}.partial"
    writer: parquet.Writer | None = None
    rows = 0
    try:
        for i, table in enumerate(each_table(panel, wanted, horizon=horizon)):
            arrow = _to_arrow(table, wanted)
            if writer is None:
                writer = parquet.Writer(partial, arrow.schema, level=1)
            writer.write(arrow, one_group=True)
            rows += len(arrow)
            if progress is not None:
                progress(i + 1, len(wanted))
    finally:
        if writer is not None:
            writer.close()
    partial.rename(folder / FILE)
    return rows


def read(folder: Path, panel: Panel, cutoffs: Iterable[pd.Timestamp] | None = None) -> FeatureTable:
    """Read the rows of some cutoffs whose targets the panel has observed: what `build` would make of it.

    Args:
        folder: where `write` wrote.
        panel: rows for other series, or with a date after its cutoff, are left out.
        cutoffs: the cutoffs to read; None: all up to the panel's.

    Raises:
        StoreError: the file is missing, or lacks one of the cutoffs or series.
    """
    path = folder / FILE
    if not path.exists():
        raise StoreError("there are no features here", where=str(folder), expected=FILE)
    with parquet.open_file(path) as file:
        meta = json.loads(file.schema_arrow.metadata[b"storecast"])
        stored = pd.DatetimeIndex(meta["cutoffs"])
        wanted = stored[stored <= panel.cutoff] if cutoffs is None else pd.DatetimeIndex(sorted(cutoffs))
        groups = stored.get_indexer(wanted)
        if (groups < 0).any():
            raise StoreError(
                "the features lack a cutoff",
                where=str(path),
                expected=str(wanted[groups < 0][0].date()),
                found=f"{len(stored)} cutoffs, {stored[0].date()}..{stored[-1].date()}",
                cure="run the features stage for this cutoff, or let the model build its features itself",
            )
        categories = {k: list(v) for k, v in meta["categories"].items()}
        rows = sum(file.metadata.row_group(int(g)).num_rows for g in groups)
        return stacked((_part(file, int(g), panel, categories) for g in groups), rows)


def stored_cutoffs(folder: Path) -> pd.DatetimeIndex:
    """The cutoffs that `folder` holds features of; none where it holds no features."""
    if not (folder / FILE).exists():
        return pd.DatetimeIndex([])
    with parquet.open_file(folder / FILE) as file:
        return pd.DatetimeIndex(json.loads(file.schema_arrow.metadata[b"storecast"])["cutoffs"])


def load_or_build(
    panel: Panel,
    cutoffs: Iterable[pd.Timestamp],
    folder: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureTable:
    """The observed rows of these cutoffs: read where `folder` holds them all, else built (the same)."""
    wanted = pd.DatetimeIndex(list(cutoffs))
    if folder is not None and wanted.isin(stored_cutoffs(folder)).all():
        return read(folder, panel, wanted)
    return build(panel, wanted, observed_only=True, progress=progress)


def _to_arrow(table: FeatureTable, cutoffs: pd.DatetimeIndex) -> Any:
    import pyarrow as pa

    ids = pa.DictionaryArray.from_arrays(pa.array(table.series), pa.array(table.ids.tolist(), pa.string()))
    keys = [ids, *(pa.array(x) for x in (table.cutoff, table.ds, table.h, table.y))]
    features = [pa.array(np.ascontiguousarray(column)) for column in table.values.T]
    arrow = pa.Table.from_arrays([*keys, *features], names=[*_KEYS, *table.names])
    meta = {"cutoffs": [str(c.date()) for c in cutoffs], "categories": table.categories}
    return arrow.replace_schema_metadata({"storecast": json.dumps(meta)})


def _part(file: Any, group: int, panel: Panel, categories: dict[str, list[str]]) -> FeatureTable:
    """One cutoff's rows that the panel has observed."""
    arrow = file.read_row_group(group)
    ids = arrow["unique_id"].combine_chunks()
    places = pd.Index(panel.ids).get_indexer(ids.dictionary.to_pylist())
    series = places[ids.indices.to_numpy()].astype(np.int32)
    cutoff, ds, h, y = (arrow[name].to_numpy() for name in _KEYS[1:])
    keep = (series >= 0) & (ds <= panel.cutoff.to_datetime64()) & ~np.isnan(y)
    names = [name for name in arrow.column_names if name not in _KEYS]
    values = np.empty((int(keep.sum()), len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        values[:, i] = arrow[name].to_numpy()[keep]
    return FeatureTable(
        names=names,
        values=values,
        ids=panel.ids,
        series=series[keep],
        cutoff=cutoff[keep],
        ds=ds[keep],
        h=h[keep],
        y=y[keep],
        categories=categories,
    )
