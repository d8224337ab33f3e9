"""`storecast releases ...` and `storecast export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from components.stage import open_store
from storecast.errors import ReleaseError
from storecast.hierarchy import level_named
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.draft import draft_of
from storecast.store.releases import Release, ReleaseStore, datasets

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
        ExportFormat | None,
        typer.Option(
            "--format", help="Kaggle's id,sales; or all columns. Default: parquet for FILE.parquet, else csv."
        ),
    ] = None,
    release: Annotated[str, typer.Option(help="Release id; default: the current one.")] = "",
    dataset: DatasetOption = "",
    level: Annotated[
        str, typer.Option(help="Sums instead of series: total, or a static column such as store or family.")
    ] = "",
) -> None:
    """Write a release's forecasts to a file."""
    if export_format is None:
        export_format = ExportFormat.PARQUET if out.suffix == ".parquet" else ExportFormat.CSV
    store = _store(dataset)
    folder = store.path(_release(store, release))
    forecasts = folder / "forecasts.parquet"
    frame = _sums(folder, level, export_format) if level else parquet.read_frame(forecasts)
    if export_format is ExportFormat.SUBMISSION:
        frame = _submission(frame, folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(out) as draft:
        if export_format is ExportFormat.PARQUET:
            parquet.export_frame(frame, draft)
        else:
            frame.to_csv(draft, index=False)
    console.print(f"{len(frame):,} rows in {out}", highlight=False, soft_wrap=True)


def _sums(folder: Path, level: str, export_format: ExportFormat) -> pd.DataFrame:
    """The forecasts of a level's sums, its column named as in the data set."""
    path = folder / "aggregates.parquet"
    if export_format is ExportFormat.SUBMISSION or not path.exists():
        wrong, cure = ("a submission is of series", "export csv or parquet")
        if not path.exists():
            wrong = "the release has no forecasts of sums"
            cure = "storecast run makes a release that has them"
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
            cure="name it in the data set's YAML (id: COLUMN) and run again, or export as csv",
        )
    ids = parquet.read_frame(path)
    ids["unique_id"] = ids["unique_id"].astype(frame["unique_id"].dtype)
    joined = ids.merge(frame[["unique_id", "ds", "yhat"]], on=["unique_id", "ds"], how="left")
    return joined.rename(columns={"yhat": "sales"})[["id", "sales"]].sort_values("id")


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
    names = datasets(store)
    if dataset and dataset not in uris.children(uris.join(store.root, "releases")):
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
