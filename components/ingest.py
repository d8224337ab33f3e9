"""Stage: from raw files to a panel: validated, repaired, quarantined, every row accounted for.

python -m components.ingest --dataset store_sales --data DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from components.stage import Workspace, main, open_store
from storecast.actuals import KEPT, Actuals, list_arrivals
from storecast.configs import config_file
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.ingest import ingest
from storecast.ingest.arrived import raw_tables
from storecast.ingest.source import Source
from storecast.store import uri as uris
from storecast.store.code import code_version
from storecast.store.datasets import Dataset


def run(
    dataset: Annotated[str, typer.Option(help="Data set config: name or YAML file.")],
    data: Annotated[str, typer.Option(help="Folder or URI of the raw files.")],
    actuals: Annotated[
        str, typer.Option(help="What has arrived since: a URI; kept: the workspace's own.")
    ] = "",
    workspace: Workspace = "",
) -> Dataset:
    """Read, validate and repair raw files into a panel.

    Args:
        dataset: data set config, by name or file.
        data: folder or URI of the raw files.
        actuals: URI of what has arrived since the raw files; KEPT: what the workspace has; "": nothing.
        workspace: where data sets lie.

    Returns:
        A data set with the panel, quarantine.parquet and quality.json; its counts add up.

    Raises:
        DataError: a file is missing, damaged or has too many wrong rows.
    """
    config = load_dataset_config(config_file(dataset, "datasets"))
    store = open_store(workspace)
    arrived_in = Actuals(store.root, config).uri if actuals == KEPT else actuals
    arrivals = list_arrivals(arrived_in) if arrived_in else []
    arrived = {f"arrival {n:05d} of {file.table}": file.hash for n, file in enumerate(arrivals)}

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        result = ingest(config, data, folder, arrivals=arrivals)
        return {
            "series": result.panel.n_series,
            "arrivals": len(arrivals),
            "superseded": result.quality.rows_superseded,
            **result.quality.to_dict(),
        }

    return store.materialise(
        "ingest",
        inputs={**raw_hashes(config, data), **arrived},
        config=config.model_dump(mode="json"),
        code=code_version("components.ingest"),
        build=build,
    )


def raw_hashes(config: DatasetConfig, data: str) -> dict[str, str]:
    """Content hash of each file that the config names, or has a pattern for, and that is there."""
    source = Source(data, config.csv)
    candidates = dict.fromkeys(name for files in raw_tables(config).values() for name in files)
    there = dict.fromkeys(name for candidate in candidates for name in source.names(candidate))
    return {name: uris.content_hash(uris.join(data, name)) for name in there}


if __name__ == "__main__":
    main(run)
