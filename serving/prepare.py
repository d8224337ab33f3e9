"""Make the local copy of a release: `python -m serving.prepare ROOT DATASET RELEASE FOLDER`.

A process of its own, so that workers neither wait for it nor keep its memory. It fetches the release,
compares every file with its checksum, lays the forecasts out as a table (`serving.table`), asks the table for
what the release says and renames the whole into place. One process does it at a time; who finds it made is
done.

Exit codes: 0 it is there; 2 the release is bad (the reason on stderr); 3 the store could not be read.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from serving import notices
from serving.table import FORMAT, POINT, ReleaseTable, is_whole, series_json, sums
from storecast.errors import ConfigError, ReleaseError, StorecastError, StoreError
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.locks import locked
from storecast.store.releases import Release, ReleaseStore, copies_of

BAD, UNREACHABLE = 2, 3
MOST_SECONDS = 300.0
KEPT, PART = 3, ".part-"
PROBED = 16


def prepare(root: str, dataset: str, release_id: str, local: Path) -> Path:
    """The prepared folder of a release under `local`, made if it is not there, damaged or of another version.

    Raises:
        ReleaseError: the release is damaged, incomplete or not what it says of itself.
        StoreError, OSError: the store cannot be read.
    """
    target = local / release_id
    local.mkdir(parents=True, exist_ok=True)
    with locked(local / ".lock"):
        for left in local.glob(f"{PART}*"):  # of processes that were killed
            shutil.rmtree(left, ignore_errors=True)
        if not is_whole(target):
            shutil.rmtree(target, ignore_errors=True)
            store = ReleaseStore(DatasetStore(root), dataset)
            release = store.get(release_id)
            _verified(store, release)
            part = Path(tempfile.mkdtemp(prefix=PART, dir=local))
            try:
                build(release, store.path(release), part)
                part.rename(target)
            except BaseException:
                shutil.rmtree(part)
                raise
    return target


def aside(root: str, local: Path, release_id: str) -> Path:
    """The prepared folder of a release, made by a process of its own unless it is there.

    Args:
        root: URI under which releases lie.
        local: folder of the local copies of one data set's releases; its name is the data set's.
        release_id: which release.

    Raises:
        ReleaseError: the release is bad.
        OSError: the store could not be read, or the process broke or took too long.
    """
    target = local / release_id
    if not is_whole(target):
        command = [sys.executable, "-m", "serving.prepare", root, local.name, release_id, str(local)]
        try:
            done = subprocess.run(  # noqa: S603 (our own module)
                command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{release_id} was not fetched within {MOST_SECONDS:g} s") from error
        said = done.stderr.strip()
        if done.returncode == BAD:
            raise ReleaseError(said.splitlines()[0] if said else "the release is bad")
        if done.returncode != 0:
            raise OSError(said.splitlines()[-1] if said else f"exit code {done.returncode}")
    return target


def build(release: Release, source: Path, folder: Path) -> None:
    """Write a verified release's table and bundle into an empty folder, and probe the table."""
    forecasts = parquet.read_table(source / "forecasts.parquet")
    shutil.copytree(source / "bundle", folder / "bundle")
    static = parquet.read_table(source / "bundle" / "context" / "static.parquet")
    keys = [str(key) for key in release.about["keys"]]
    columns = [POINT, *(c for c in forecasts.column_names if c.startswith("q"))]
    ids, dates, values = _wide(release, forecasts, columns)
    names = _names(release, ids, static, keys)
    texts = [
        series_json(keys, name, dates, columns, block) for name, block in zip(names, values, strict=True)
    ]
    np.save(folder / "values.npy", values)
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum([len(text) for text in texts])]))
    (folder / "answers.bin").write_bytes(b"".join(texts))
    (folder / "series.json").write_bytes(orjson.dumps(names))
    panel = json.loads((source / "bundle" / "context" / "panel.json").read_text())
    lineage = source / "lineage.json"
    about = {
        "format": FORMAT,
        "release": release.id,
        "dataset": release.about["dataset"],
        "keys": keys,
        "dates": dates,
        "columns": columns,
        "known": panel["known"],
        "signed": panel.get("signed", []),
        "files": sums(folder),
        "about": dict(release.about),
        "lineage": json.loads(lineage.read_text()) if lineage.is_file() else {},
    }
    (folder / "table.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))
    probe(ReleaseTable.open(folder), release, forecasts)


def probe(table: ReleaseTable, release: Release, forecasts: pa.Table) -> None:
    """Ask the table for what the release stores, on some rows from its first to its last.

    Raises:
        ReleaseError: an answer is not the stored one.
    """
    ids, ds = forecasts.column("unique_id"), forecasts.column("ds")
    found = {name[0]: row for row, name in enumerate(table.names)}
    for at in np.linspace(0, forecasts.num_rows - 1, PROBED).astype(int).tolist():
        row = found[str(ids[at].as_py())]
        day = table.dates.index(ds[at].as_py().date().isoformat())
        stored = [forecasts.column(name)[at].as_py() for name in table.columns]
        answer = orjson.loads(table.text(row))
        told = [answer[name][day] for name in table.columns]
        if table.values[row, day].tolist() != stored or not np.allclose(told, stored, atol=1e-3, rtol=0):
            raise _bad(release, "an answer differs from the stored forecast", str(stored), str(told))


def _verified(store: ReleaseStore, release: Release) -> None:
    try:
        store.check(release)
    except ReleaseError:
        if not uris.is_local(release.uri):  # a broken download must not stay for the next attempt
            shutil.rmtree(store.path(release), ignore_errors=True)
        raise


def _wide(
    release: Release, forecasts: pa.Table, columns: list[str]
) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """The series, the dates and the (n, H, C) values of the long table, C being `columns`.

    Raises:
        ReleaseError: a series lacks a date, or a value is no forecast.
    """
    ordered = forecasts.sort_by([("unique_id", "ascending"), ("ds", "ascending")])
    ids = ordered.column("unique_id").cast(pa.string()).to_numpy()
    days = ordered.column("ds").to_numpy().astype("datetime64[D]")
    names, counts = np.unique(ids.astype(str), return_counts=True)
    horizon = int(release.about["horizon"])
    if len(ids) != len(names) * horizon or (counts != horizon).any():
        raise _bad(
            release, "a series lacks a date", f"{horizon} dates each", f"{counts.min()} to {counts.max()}"
        )
    if len(names) != release.about["series"] or len(ids) != release.about["rows"]:
        said = f"{release.about['series']} series, {release.about['rows']} rows"
        raise _bad(release, "series or rows are missing", said, f"{len(names)} series, {len(ids)} rows")
    days = days.reshape(len(names), horizon)
    if (days != days[0]).any():
        raise _bad(release, "the series differ in their dates", "the same dates for all", "different ones")
    values = np.stack([ordered.column(c).to_numpy() for c in columns], axis=-1)
    if not np.isfinite(values).all() or (values < 0).any() or (np.diff(values[:, 1:], axis=1) < -1e-6).any():
        raise _bad(release, "a value is no forecast", "finite, ≥ 0, quantiles that do not cross", "others")
    return names.tolist(), [str(day) for day in days[0]], values.reshape(len(names), horizon, len(columns))


def _names(release: Release, ids: list[str], static: pa.Table, keys: list[str]) -> list[list[str]]:
    """unique_id and keys of each series, in the order of `ids`."""
    columns = [static.column(name).cast(pa.string()).to_pylist() for name in ("unique_id", *keys)]
    known = {row[0]: list(row) for row in zip(*columns, strict=True)}
    missing = [name for name in ids if name not in known]
    if missing:
        raise _bad(
            release, "the bundle does not know every series", "keys for each", f"{len(missing)} without"
        )
    return [known[name] for name in ids]


def _bad(release: Release, what: str, expected: str, found: str) -> ReleaseError:
    return ReleaseError(
        f"release {release.id} cannot be served: {what}",
        where=release.uri,
        expected=expected,
        found=found,
        cure="run the pipeline again, or activate another release",
    )


def prune(local: Path, in_use: set[str], fetched: Path) -> None:
    """Remove all but the newest prepared folders, and what was fetched for them; those in use stay. Mapped
    files live on until closed."""
    made = [p for p in local.iterdir() if (p / "table.json").is_file() and not p.name.startswith(".")]
    made.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for folder in made[KEPT:]:
        if folder.name not in in_use:
            for copy in (folder, fetched / folder.name):
                shutil.rmtree(copy, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Prepare and say how it went by the exit code."""
    root, dataset, release_id, local = arguments
    try:
        load_settings()  # they name the keys of encrypted releases
        folder = prepare(root, dataset, release_id, Path(local))
        prune(Path(local), {folder.name} | notices.needed(Path(local)), copies_of(DatasetStore(root)))
    except (ReleaseError, KeyError, ValueError, pa.ArrowInvalid) as error:
        print(
            f"{type(error).__name__}: {error}" if not isinstance(error, StorecastError) else error,
            file=sys.stderr,
        )
        return BAD
    except (ConfigError, StoreError, OSError) as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
