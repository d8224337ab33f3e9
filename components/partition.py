"""Stage: a panel too large for one machine, cut into partitions, each a data set of its own.

    python -m components.partition --dataset store_sales --data DIR --series 10000 --by store_nbr

A group (all series with one value of the column) that has its partition keeps it: `partitions/<name>.json` in
the workspace remembers. Memory does not grow with the panel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from components.ingest import raw_hashes
from components.stage import Workspace, main, open_store
from storecast.configs import config_file
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.errors import ConfigError
from storecast.partition.assign import assign
from storecast.partition.files import CONFIG, cut
from storecast.partition.groups import Group, Grouping, coarsest_key, count_keys
from storecast.partition.places import MOST, Places, keep, kept, pointer
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.code import code_version
from storecast.store.datasets import Dataset, DatasetStore
from storecast.store.releases import part_name

COUNTS, MALFORMED = "counts.json", "malformed.parquet"


def run(
    dataset: Annotated[str, typer.Option(help="Data set config: name or YAML file.")],
    data: Annotated[str, typer.Option(help="Folder or URI of the raw files.")],
    series: Annotated[int, typer.Option(help="Series that a partition may have.", min=1)] = MOST,
    by: Annotated[
        str,
        typer.Option(help="Column whose values stay together: a key, or static; default: the coarsest key."),
    ] = "",
    workspace: Workspace = "",
) -> Dataset:
    """Cut the raw files of a data set.

    Args:
        dataset: data set config, by name or file.
        data: folder or URI of the raw files.
        series: series that a partition may have.
        by: the column whose values stay together; "": as before, or the key with the fewest values of which
            none is too large.
        workspace: where data sets lie.

    Returns:
        A data set with a folder for each partition: raw files as Parquet and dataset.yaml. Its counts list
        the `partitions`: `number, name, groups, series, rows`.

    Raises:
        ConfigError: the data set cannot be cut by that column, or was cut by another one.
        DataError: a file is missing, damaged or has too many lines that are no rows.
    """
    store = open_store(workspace)
    config = load_dataset_config(config_file(dataset, "datasets"))
    before = kept(store, config.name)
    raw = raw_hashes(config, data)
    counts = _counts(store, config, data, raw)
    grouping = Grouping.of(config, data, by or (before.by if before else coarsest_key(counts, int(series))))
    if before and before.by != grouping.by:
        raise ConfigError(
            f"data set {config.name} is cut by {before.by} already",
            where=pointer(store, config.name),
            found=f"--by {grouping.by}",
            cure=f"cut it by {before.by}, or give the data set config another name: what is cut otherwise "
            "are other data sets, with releases of their own",
        )
    groups = grouping.groups(counts)
    places = assign(groups, int(series), before.groups if before else {})

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        done = cut(config, data, grouping, groups, places, folder)
        parquet.write_table(done.table(), folder / MALFORMED)
        malformed = sum(map(len, done.malformed.values()))
        return {"by": grouping.by, "malformed": malformed, "partitions": _told(config.name, groups, places)}

    here = {name: places[name] for name in groups}
    made = store.materialise(
        "partition",
        inputs=raw,
        config={**config.model_dump(mode="json"), "by": grouping.by, "places": here},
        code=code_version("components.partition"),
        build=build,
    )
    keep(store, config.name, Places(grouping.by, places, int(series)))
    return made


def data_of(partition: str, name: str) -> tuple[str, str]:
    """The data set config and the folder of raw files of one of the partitions of a data set's URI."""
    folder = uris.join(partition, name)
    return uris.join(folder, CONFIG), folder


def _counts(
    store: DatasetStore, config: DatasetConfig, data: str, raw: Mapping[str, str]
) -> dict[str, dict[str, Group]]:
    """What the values of each key have: counted once for the same files."""

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        counts = count_keys(config, data)
        text = json.dumps(
            {key: {n: asdict(g) for n, g in own.items()} for key, own in counts.items()}, indent=1
        )
        (folder / COUNTS).write_text(text + "\n")
        return {key: len(own) for key, own in counts.items()}

    made = store.materialise(
        "partition-counts",
        inputs=raw,
        config=config.model_dump(mode="json"),
        code=code_version("storecast.partition.groups"),
        build=build,
    )
    found = json.loads((store.path(made) / COUNTS).read_text())
    return {key: {name: Group(**group) for name, group in own.items()} for key, own in found.items()}


def _told(dataset: str, groups: Mapping[str, Group], places: Mapping[str, int]) -> list[dict[str, Any]]:
    """The partitions that have a history, for the counts."""
    told = []
    for number in sorted({places[name] for name, group in groups.items() if group.rows}):
        own = [group for name, group in groups.items() if places[name] == number]
        told.append(
            {
                "number": number,
                "name": part_name(dataset, number),
                "groups": len(own),
                "series": sum(group.series for group in own),
                "rows": sum(group.rows for group in own),
            }
        )
    return told


if __name__ == "__main__":
    main(run)
