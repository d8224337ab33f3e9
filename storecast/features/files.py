"""Feature tables as Parquet, of which a fit reads its own cutoffs only, and takes the series it learns from.

One file; a cutoff's rows are a row group, several where there are more series than `SERIES_AT_ONCE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from storecast.errors import StoreError
from storecast.features.sample import EVERYTHING, Sample
from storecast.features.sums import Bools
from storecast.features.table import FeatureTable, build, each_table, stacked
from storecast.panel import Panel
from storecast.store import parquet

FILE = "features.parquet"
SERIES_AT_ONCE = 16_384
"""Series of a row group: what reading a file takes besides what is read."""
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

    def groups() -> Iterator[Any]:
        for done, table in enumerate(each_table(panel, wanted, horizon=horizon), start=1):
            yield from _to_arrow(table, wanted)
            if progress is not None:
                progress(done, len(wanted))

    return parquet.write_groups(groups(), folder / FILE, level=1)


def read(
    folder: Path,
    panel: Panel,
    cutoffs: Iterable[pd.Timestamp] | None = None,
    sample: Sample = EVERYTHING,
) -> FeatureTable:
    """Read the rows of some cutoffs whose targets the panel has observed: what `build` would make of it.

    Memory holds one row group besides the rows that are taken.

    Args:
        folder: where `write` wrote.
        panel: rows for other series, or with a date after its cutoff, are left out.
        cutoffs: the cutoffs to read; None: all up to the panel's.
        sample: the series whose rows are taken at each.

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
        each = file.num_row_groups // len(stored)
        taken = [sample.at(cutoff, panel.n_series) for cutoff in wanted]
        parts = [
            (int(place) * each + number, some)
            for place, some in zip(groups, taken, strict=True)
            for number in range(each)
        ]
        at_most = meta["horizon"] * sum(int(some.sum()) for some in taken)
        categories = {k: list(v) for k, v in meta["categories"].items()}
        return stacked((_part(file, group, panel, some, categories) for group, some in parts), at_most)


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
    sample: Sample = EVERYTHING,
) -> FeatureTable:
    """The observed rows of these cutoffs: read where `folder` holds them all, else built (the same)."""
    wanted = pd.DatetimeIndex(list(cutoffs))
    if folder is not None and wanted.isin(stored_cutoffs(folder)).all():
        return read(folder, panel, wanted, sample)
    return build(panel, wanted, observed_only=True, sample=sample, progress=progress)


def _to_arrow(table: FeatureTable, cutoffs: pd.DatetimeIndex) -> Iterator[Any]:
    """The rows of one cutoff, those of `SERIES_AT_ONCE` series after the other."""
    import pyarrow as pa

    meta = {
        "cutoffs": [str(c.date()) for c in cutoffs],
        "categories": table.categories,
        "horizon": int(table.h.max()),
    }
    for start in range(0, len(table.ids), SERIES_AT_ONCE):
        first, last = np.searchsorted(table.series, [start, start + SERIES_AT_ONCE])
        rows, ids = slice(first, last), table.ids[start : start + SERIES_AT_ONCE].tolist()
        places = pa.DictionaryArray.from_arrays(
            pa.array(table.series[rows] - np.int32(start)), pa.array(ids, pa.string())
        )
        keys = [pa.array(x[rows]) for x in (table.cutoff, table.ds, table.h, table.y)]
        features = [pa.array(np.ascontiguousarray(column)) for column in table.values[rows].T]
        arrow = pa.Table.from_arrays([places, *keys, *features], names=[*_KEYS, *table.names])
        yield arrow.replace_schema_metadata({"storecast": json.dumps(meta)})


def _part(
    file: Any, group: int, panel: Panel, taken: Bools, categories: dict[str, list[str]]
) -> FeatureTable:
    """Of one row group the rows of the series (n,) that are taken, where the panel has observed them."""
    arrow = file.read_row_group(group)
    ids = arrow["unique_id"].combine_chunks()
    places = pd.Index(panel.ids).get_indexer(ids.dictionary.to_pylist())
    series = places[ids.indices.to_numpy()].astype(np.int32)
    cutoff, ds, h, y = (arrow[name].to_numpy() for name in _KEYS[1:])
    keep = (series >= 0) & taken[series] & (ds <= panel.cutoff.to_datetime64()) & ~np.isnan(y)
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
