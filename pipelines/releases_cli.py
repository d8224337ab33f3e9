"""`storecast releases ...` and `storecast export`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from components.partition import places_of
from components.stage import open_store
from storecast.errors import ReleaseError
from storecast.hierarchy import level_named
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.releases import Release, ReleaseStore

releases = typer.Typer(no_args_is_help=True, help="List, inspect, verify and switch releases.")
console = Console()

DatasetOption = Annotated[str, typer.Option("--dataset", help="Data set; needed where there are several.")]
ReleaseId = Annotated[str, typer.Argument(help="Release id, or its beginning; default: the current one.")]


class ExportFormat(StrEnum):
    """What `export` writes."""

    SUBMISSION = "submission"
    CSV = "csv"
    PARQUET = "parquet"


@releases.command("list")
def list_releases(dataset: DatasetOption = "") -> None:
    """All releases; the current one is marked."""
    store = _store(dataset)
    current = store.current()
    activated = {entry.id: entry.at for entry in store.history()}
    table = Table("", "release", "RMSLE", "series", "last activated")
    for release_id in store.ids():
        release = store.get(release_id)
        mark = "●" if current and current.id == release_id else ""
        rmsle = f"{release.about['rmsle_last_fold']['blend']:.4f}"
        table.add_row(
            mark, release_id, rmsle, f"{release.about['series']:,}", activated.get(release_id, "never")
        )
    console.print(table)
    if current and store.history()[-1].registry_behind:
        cure = f"storecast releases activate {current.id}"
        console.print(f"MLflow's champion has not followed yet: {cure}", soft_wrap=True)


@releases.command("show")
def show(release_id: ReleaseId = "", dataset: DatasetOption = "") -> None:
    """What a release holds, what it came from and when it was current."""
    store = _store(dataset)
    release = _release(store, release_id)
    table = Table.grid(padding=(0, 2))
    for name in ("dataset", "cutoff", "horizon", "fitted_to", "series", "rows", "promoted", "champion"):
        table.add_row(f"[bold]{name}[/]", str(release.about[name]))
    for model, value in sorted(release.about["rmsle_last_fold"].items(), key=lambda item: float(item[1])):
        table.add_row(f"[bold]RMSLE {model}[/]", f"{value:.4f}")
    console.print(f"[bold]{release.id}[/]  {release.uri}", soft_wrap=True, highlight=False)
    console.print(table)
    for entry in store.history():
        if entry.id == release.id:
            console.print(f"current from {entry.at}: {entry.why}", highlight=False)


@releases.command("activate")
def activate(
    release_id: Annotated[str, typer.Argument(help="Release id, or its beginning.")],
    dataset: DatasetOption = "",
) -> None:
    """Make a release the current one, after verifying it."""
    store = _store(dataset)
    _activate(store, store.get(release_id), "activated by hand")


@releases.command("rollback")
def rollback(dataset: DatasetOption = "") -> None:
    """Go back to the release that was current before."""
    store = _store(dataset)
    _activate(store, store.before_current(), "rolled back")


@releases.command("verify")
def verify(release_id: ReleaseId = "", dataset: DatasetOption = "") -> None:
    """Compare every file of a release with its checksum; exit code 2 if one differs."""
    store = _store(dataset)
    release = _release(store, release_id)
    store.check(release)
    console.print(f"{release.id}: every file is as it was released")


def export(
    out: Annotated[Path, typer.Option(help="File to write.")],
    export_format: Annotated[
        ExportFormat, typer.Option("--format", help="Kaggle's id,sales; or all columns.")
    ] = ExportFormat.CSV,
    release: Annotated[str, typer.Option(help="Release id; default: the current one.")] = "",
    dataset: DatasetOption = "",
    level: Annotated[
        str, typer.Option(help="Sums instead of series: total, or a static column such as store or family.")
    ] = "",
) -> None:
    """Write a release's forecasts to a file; of a data set in partitions, those of all of them."""
    folders = _folders(dataset, release)
    if level and len(folders) > 1:
        raise ReleaseError(
            "sums are of one partition",
            found=f"--level {level}",
            cure=f"name it: --dataset {dataset}-001; or export the series",
        )
    rows = 0

    def frames() -> Iterator[pd.DataFrame]:
        nonlocal rows
        for folder in folders:
            forecasts = folder / "forecasts.parquet"
            frame = _sums(folder, level, export_format) if level else parquet.read_frame(forecasts)
            rows += len(frame)
            yield _submission(frame, folder) if export_format is ExportFormat.SUBMISSION else frame

    part = out.with_name(f".{out.name}.part")
    if export_format is ExportFormat.PARQUET:
        parquet.export_frames(frames(), part)
    elif export_format is ExportFormat.SUBMISSION:
        pd.concat(frames()).sort_values("id").to_csv(part, index=False)
    else:
        with part.open("w", newline="") as file:
            for number, frame in enumerate(frames()):
                frame.to_csv(file, index=False, header=number == 0)
    part.replace(out)
    console.print(f"{rows:,} rows in {out}", highlight=False, soft_wrap=True)


def _folders(dataset: str, release: str) -> list[Path]:
    """The folder of the release that is asked for; where a data set has partitions, of each one's current."""
    store = open_store()
    there = uris.children(uris.join(store.root, "releases"))
    places = places_of(store, dataset) if dataset and dataset not in there else None
    if places is None:
        one = _store(dataset)
        return [one.path(_release(one, release))]
    if release:
        raise ReleaseError(
            f"{dataset} is in partitions, each with releases of its own",
            found=f"--release {release}",
            cure=f"name the partition: --dataset {dataset}-001",
        )
    parts = [ReleaseStore(store, name) for name in places.names(dataset)]
    current = [(each, each.current()) for each in parts]
    missing = [each.name for each, found in current if found is None]
    if missing:
        raise ReleaseError(
            f"{len(missing)} of {len(parts)} partitions have no release: {', '.join(missing[:5])}",
            where=uris.join(store.root, "releases"),
            cure="start the run again: it goes on with those that are not done; or name one: --dataset NAME",
        )
    return [each.path(found) for each, found in current if found is not None]


def _sums(folder: Path, level: str, export_format: ExportFormat) -> pd.DataFrame:
    """The forecasts of a level's sums, its column named as in the data set."""
    path = folder / "aggregates.parquet"
    if export_format is ExportFormat.SUBMISSION or not path.exists():
        wrong = "a submission is of series" if path.exists() else "the release has no forecasts of sums"
        cure = "export csv or parquet" if path.exists() else "storecast run makes a release that has them"
        raise ReleaseError(wrong, where=str(folder), found=f"--level {level}", cure=cure)
    table = parquet.read_frame(path)
    name = level_named(list(table["level"].unique()), level)
    return table[table["level"] == name].drop(columns="level").rename(columns={"value": name})


def _submission(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    path = folder / "bundle" / "context" / "ids.parquet"
    if not path.exists():
        raise ReleaseError(
            "the data set has no row ids to submit by",
            where=str(folder),
            expected="an id column in the table of the future (test.csv)",
            cure="name it in the data set's YAML: columns.id, or export as csv",
        )
    ids = parquet.read_frame(path)
    ids["unique_id"] = ids["unique_id"].astype(frame["unique_id"].dtype)
    joined = ids.merge(frame[["unique_id", "ds", "yhat"]], on=["unique_id", "ds"], how="left")
    return joined.rename(columns={"yhat": "sales"})[["id", "sales"]]


def _activate(store: ReleaseStore, release: Release, why: str) -> None:
    from components import activate as stage

    stage.run(release.uri, why, store.store.root)
    console.print(f"{release.id} is current: {why}", highlight=False)


def _release(store: ReleaseStore, release_id: str) -> Release:
    if release_id:
        return store.get(release_id)
    current = store.current()
    if current is None:
        raise ReleaseError(
            "there is no release yet", where=store.root, cure="storecast run, or storecast demo"
        )
    return current


def _store(dataset: str) -> ReleaseStore:
    store = open_store()
    names = uris.children(uris.join(store.root, "releases"))
    if dataset and dataset not in names:
        raise ReleaseError(
            f"data set {dataset!r} has no release", expected=f"one of {', '.join(names) or 'none yet'}"
        )
    if not dataset and len(names) != 1:
        raise ReleaseError(
            "there is no release yet" if not names else "several data sets have releases",
            where=store.root,
            expected=f"one of {', '.join(names)}" if names else "",
            cure="name it: --dataset NAME" if names else "storecast run, or storecast demo",
        )
    return ReleaseStore(store, dataset or names[0])
