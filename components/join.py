"""Stage: the current releases of all partitions as one release, for one service and one file of forecasts.

python -m components.join --partition URI --report URI --release URI --release URI ...
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import typer

from components.aggregates import FILE
from components.partitions_report import PARTITIONS, PICTURE, SCORES
from components.release import lineage_of
from components.stage import Workspace, main, open_store
from storecast import bundle as bundles
from storecast.blend import BLEND
from storecast.gate import Decision
from storecast.partition.joined import CONTEXT, join_bundles
from storecast.partition.pooled import pooled_quality, pooled_scores
from storecast.partition.sums import Part, joined_sums
from storecast.store import parquet
from storecast.store.datasets import Dataset
from storecast.store.releases import LINEAGE, Release, ReleaseStore, named

QUALITY = "quality.json"
TABLES = ("forecasts.parquet", "backtest.parquet")


def run(
    partition: Annotated[str, typer.Option(help="URI of what the stage `partition` made.")],
    report: Annotated[str, typer.Option(help="URI of what the stage `partitions_report` made.")],
    release: Annotated[list[str], typer.Option(help="URI of a partition's release; once for each.")],
    workspace: Workspace = "",
) -> Release:
    """Publish the releases of partitions as one of the data set that was cut.

    Args:
        partition: URI of the partitions.
        report: URI of their report.
        release: URIs of the releases, in the partitions' order.
        workspace: where data sets and releases lie.

    Returns:
        The release: forecasts.parquet and backtest.parquet of all partitions, bundle/ with each one's model,
        aggregates.parquet (sums over all of them), pooled scores, and in lineage.json the release of each.

    Raises:
        ReleaseError: the releases differ in cutoff, horizon or keys.
    """
    store = open_store(workspace)
    source, scores = store.open(partition), store.open(report)
    dataset = str(source.manifest["config"]["name"])
    parts = {name: ReleaseStore(store, name).get(one) for name, one in map(named, release)}
    paths = {name: ReleaseStore(store, name).path(part) for name, part in parts.items()}
    with store.building(f"join-{dataset}") as folder:
        about = join_bundles(
            {name: path / "bundle" for name, path in paths.items()}, folder / "bundle", dataset
        )
        for table in TABLES:
            parquet.write_groups(_tables([path / table for path in paths.values()]), folder / table)
        parquet.write_frame(_sums(folder / "bundle" / CONTEXT, paths.values()), folder / FILE, "zstd")
        _write_scores(store.path(scores), paths, folder)
        quality = {name: json.loads((path / QUALITY).read_text()) for name, path in paths.items()}
        (folder / QUALITY).write_text(json.dumps(pooled_quality(quality), indent=1) + "\n")
        (folder / "decision.json").write_text(json.dumps(_decision(parts).to_dict(), indent=1) + "\n")
        lineage = {**lineage_of({"panel": source, "report": scores}), **{n: p.id for n, p in parts.items()}}
        (folder / LINEAGE).write_text(json.dumps(lineage, indent=1, sort_keys=True) + "\n")
        return ReleaseStore(store, dataset).publish(folder, _about(about, parts, source, scores))


def _tables(paths: list[Path]) -> Iterator[pa.Table]:
    """The tables of all partitions, one after the other, with the columns of the first."""
    schema = None
    for path in paths:
        table = parquet.read_table(path)
        schema = schema or table.schema.remove_metadata()
        yield table.select(schema.names).cast(schema)


def _sums(context: Path, releases: Iterable[Path]) -> pd.DataFrame:
    """The forecasts of sums over all partitions."""
    static = parquet.read_frame(context / "static.parquet")

    def parts() -> Iterator[Part]:
        for path in releases:
            forecasts, backtest = (path / table for table in TABLES)
            yield Part(
                parquet.read_frame(forecasts, ["unique_id", "ds", "h", "yhat", "mean"]),
                parquet.read_frame(
                    backtest, ["unique_id", "cutoff", "ds", "y", "yhat"], where={"model": [BLEND]}
                ),
            )

    return joined_sums(static.pop("unique_id").to_numpy(dtype=object), static, parts())


def _write_scores(report: Path, paths: dict[str, Path], folder: Path) -> None:
    """The pooled scores: in all, by fold, by partition, and by day ahead."""
    for name in (SCORES, PARTITIONS, PICTURE):
        shutil.copy(report / name, folder)
    scores = pd.DataFrame(json.loads((report / PARTITIONS).read_text()))
    series = dict(zip(scores["partition"], scores["series"], strict=True))
    ahead = pd.concat(
        parquet.read_frame(path / "scores_h.parquet").assign(series=series[name])
        for name, path in paths.items()
    )
    for name, table, by in (
        ("overall", scores, ["model"]),
        ("cutoff", scores, ["model", "cutoff"]),
        ("partition", scores, ["model", "partition"]),
        ("h", ahead, ["model", "h"]),
    ):
        parquet.write_frame(pooled_scores(table, by), folder / f"scores_{name}.parquet")


def _decision(parts: dict[str, Release]) -> Decision:
    """What the partitions' own gates came to, in a sentence."""
    promoted = sum(bool(part.about["promoted"]) for part in parts.values())
    reason = f"each partition's own gate decided: {promoted} of {len(parts)} released a new model"
    return Decision(promoted > 0, BLEND, None, (reason,), ())


def _about(
    bundle: dict[str, Any], parts: dict[str, Release], partition: Dataset, report: Dataset
) -> dict[str, Any]:
    """What release.json says."""
    return {
        **{name: value for name, value in bundle.items() if name != bundles.PARTITIONS},
        "promoted": any(part.about["promoted"] for part in parts.values()),
        "series": sum(part.about["series"] for part in parts.values()),
        "rows": sum(part.about["rows"] for part in parts.values()),
        "rmsle_last_fold": report.counts["rmsle_last_fold"],
        "panel": partition.hash,
        "evaluation": report.hash,
        "champion": "",
    }


if __name__ == "__main__":
    main(run)
