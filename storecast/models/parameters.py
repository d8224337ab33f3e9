"""Parameters of local models on disk: one Arrow file, a row per series, settings in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storecast.errors import ModelError
from storecast.store.draft import draft_of

Arrays = Mapping[str, NDArray[Any]]
META = b"storecast"


def save_parameters(path: Path, ids: NDArray[np.object_], arrays: Arrays, meta: Mapping[str, Any]) -> None:
    """Write numeric arrays of shape (n,) or (n, k) and JSON settings; the same input gives the same bytes."""
    import pyarrow as pa

    columns: dict[str, Any] = {"unique_id": pa.array([str(i) for i in ids], pa.string())}
    for name, values in arrays.items():
        flat = pa.array(np.ascontiguousarray(values).ravel())
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if values.ndim == 2 else flat
    table = pa.table(columns).replace_schema_metadata({META: json.dumps(dict(meta), sort_keys=True).encode()})
    with (
        draft_of(path) as draft,
        pa.OSFile(str(draft), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)


def load_parameters(path: Path) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]], dict[str, Any]]:
    """Ids, arrays and settings as `save_parameters` wrote them.

    Raises:
        ModelError: the file is missing or not such a file.
    """
    import pyarrow as pa

    try:
        with pa.OSFile(str(path), "rb") as source:
            table = pa.ipc.open_file(source).read_all().combine_chunks()
        meta = json.loads((table.schema.metadata or {})[META])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise ModelError(
            "the model's parameters cannot be read",
            where=str(path),
            expected="an Arrow file written by this package",
            found=f"{type(error).__name__}: {error}",
            cure="train the model again, or restore the bundle",
        ) from error
    ids = np.array(table.column("unique_id").to_pylist(), dtype=object)
    arrays: dict[str, NDArray[Any]] = {}
    for field in table.schema:
        if field.name == "unique_id":
            continue
        values = table.column(field.name).combine_chunks()
        if pa.types.is_fixed_size_list(field.type):
            width = field.type.list_size
            arrays[field.name] = np.array(values.flatten()).reshape(len(ids), width)
        else:
            arrays[field.name] = np.array(values)
    return ids, arrays, meta


def rows_of(fitted: NDArray[np.object_], asked: NDArray[np.object_], model: str) -> NDArray[np.intp]:
    """Row of each asked series among the fitted ones.

    Raises:
        ModelError: a series was not fitted.
    """
    rows = pd.Index(fitted).get_indexer(pd.Index(asked))
    if (rows < 0).any():
        unknown = [str(i) for i in asked[rows < 0]]
        raise ModelError(
            f"{model} was not fitted on {len(unknown)} of the {len(asked)} series asked for",
            expected="series of the panel that it was fitted on",
            found=", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else ""),
            cure="fit the model on a panel that holds them",
        )
    return rows
