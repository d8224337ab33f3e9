"""What arrives after the first ingest: actual sales, and the known future of the days to come.

    actuals/<data set>/<hash>/           the file as it came, arrival.json, quality.json, quarantine.parquet
    actuals/<data set>/refused/<hash>/   the same for files that were not taken, with the reason

A file is known by the hash of its bytes: one that was taken changes nothing when it comes again. One that was
refused is looked at again where the data set's YAML is another, or the day. What is kept is never changed; of
rows for the same series and day, those of the file that arrived later stand.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from storecast.dataset_config import DatasetConfig
from storecast.errors import DataError, StorecastError, StoreError
from storecast.ingest.arrived import check_arrival, raw_tables, table_of
from storecast.ingest.audit import QUARANTINE
from storecast.ingest.ledger import Arrival
from storecast.panel_io import write_json
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.draft import UNFINISHED

ABOUT = "arrival.json"
REFUSED = "refused"
REPLACED = "another file of its name has come meanwhile, which is taken the next time"
KEPT = "kept"
"""Stands for what the workspace has kept of all that arrived for a data set, where a URI could be said."""


@dataclass(frozen=True)
class Receipt:
    """What became of a file.

    Attributes:
        arrival: the file as it is kept.
        status: "taken", "known" (it had arrived before) or "refused".
        rows: rows that were good, of those read.
        read: rows read.
        reason: why it was refused; "" otherwise.
        left: why it is in the drop folder still; "" otherwise.
    """

    arrival: Arrival
    status: str
    rows: int = 0
    read: int = 0
    reason: str = ""
    left: str = ""


class Actuals:
    """The files that have arrived for one data set.

    Args:
        root: URI of the workspace.
        config: the data set.
    """

    def __init__(self, root: str, config: DatasetConfig) -> None:
        self.config = config
        self.uri = uris.join(root, "actuals", config.name)

    def arrivals(self) -> list[Arrival]:
        """The files that were taken, in the order of their arrival."""
        return list_arrivals(self.uri)

    def add(self, source: str, table: str = "") -> Receipt:
        """Take a file or URI: check it and keep it, or keep why it was refused.

        Args:
            source: path or URI of a CSV, Parquet or JSON file (a list of rows).
            table: the raw table it belongs to, by a file name of the data set's YAML; "": by its name.

        Raises:
            DataError: the YAML has no such table.
            StoreError: there is no such file.
        """
        if not uris.exists(source):
            raise StoreError("there is no such file", where=source, cure="check the path")
        return self._add(source, table)

    def take(self, inbox: str) -> list[Receipt]:
        """Take every file of a drop folder; what was kept, taken or refused, is removed from it.

        Files whose names begin with a dot or end with .part or .tmp are still being written. Folders in it
        stay as they are; a file that is gone meanwhile has been taken by somebody else. One that may not be
        removed is known the next time, and one that has replaced what was read waits for it.

        Args:
            inbox: folder or URI; it need not exist.
        """
        receipts = []
        for name in uris.files(inbox):
            if name.startswith(".") or name.endswith(UNFINISHED):
                continue
            try:
                receipts.append(self._take(uris.join(inbox, name)))
            except FileNotFoundError:
                continue
        return receipts

    def _take(self, source: str) -> Receipt:
        """Take a file and remove it; raises FileNotFoundError where it is gone."""
        filesystem, path = uris.filesystem(source)
        before = _version(filesystem, path)
        receipt = self._add(source)
        replaced = _version(filesystem, path) != before
        return replace(receipt, left=REPLACED if replaced else _remove(filesystem, path))

    def _add(self, source: str, table: str = "") -> Receipt:
        """Take a file; raises FileNotFoundError where it is gone."""
        name, at = uris.name_of(source), datetime.now(UTC).isoformat(timespec="microseconds")
        with tempfile.TemporaryDirectory(prefix="storecast-arrival-") as temporary:
            folder = Path(temporary) / "arrival"
            folder.mkdir()
            _copy(source, folder / name)
            digest = uris.content_hash(str(folder / name))
            if known := self._find(digest):
                return known
            arrival = Arrival(digest, name, self._table(name, table), str(folder / name), at)
            return self._keep(arrival, folder)

    def _table(self, name: str, table: str) -> str:
        if not table:
            return table_of(self.config, name)
        for first, files in raw_tables(self.config).items():
            if table in files:
                return first
        raise DataError(
            f"the data set has no raw table {table!r}",
            where=self.config.name,
            expected=", ".join(raw_tables(self.config)),
        )

    def _checked(self) -> str:
        """By what a file is checked: the day, after which no sale may be, and the data set's YAML."""
        config = hashlib.sha256(self.config.model_dump_json().encode()).hexdigest()
        return f"{datetime.now(UTC).date()} {config}"

    def _find(self, digest: str) -> Receipt | None:
        """What became of a file that was taken, or would be refused as it was before."""
        for status, folder in (("known", self.uri), (REFUSED, uris.join(self.uri, REFUSED))):
            about = uris.join(folder, digest, ABOUT)
            if uris.exists(about):
                content = json.loads(uris.read_text(about))
                if status == REFUSED and content.get("checked") != self._checked():
                    return None
                return Receipt(
                    _arrival(uris.join(folder, digest), content),
                    status,
                    content["rows"],
                    content["read"],
                    content["reason"],
                )
        return None

    def _keep(self, arrival: Arrival, folder: Path) -> Receipt:
        """Check a file that lies in a folder of its own, and move that folder to where it stays."""
        status, reason, target, refused = "taken", "", self.uri, uris.join(self.uri, REFUSED)
        quarantine, rows, read = QUARANTINE.empty_table(), 0, 0
        try:
            arrival = _readable(arrival, folder)
            context = check_arrival(self.config, arrival)
            file = context.report.files[0]
            rows, read = file.rows_kept, file.rows_read
            quarantine = pa.concat_tables(context.quarantine)
            write_json(context.report.to_dict(), folder / "quality.json")
        except DataError as error:
            status, reason, target = REFUSED, str(error), refused
        except (StorecastError, OSError, MemoryError):  # of the machine, not of the file
            raise
        except Exception as error:  # whatever else a file does to its reader: others wait behind it  # noqa: BLE001
            said = (str(error).splitlines() or [""])[0]
            status, reason, target = REFUSED, f"{arrival.name} cannot be read: {said}", refused
        parquet.write_table(quarantine, folder / "quarantine.parquet")
        about = {**asdict(arrival), "rows": rows, "read": read, "reason": reason, "checked": self._checked()}
        del about["uri"]
        write_json(about, folder / ABOUT)
        parquet.encrypt_file(folder / arrival.name)
        kept = uris.join(target, arrival.hash)
        staged = _beside(folder, kept)
        uris.remove(uris.join(refused, arrival.hash))  # what was said of it before
        uris.publish(staged, kept, last=ABOUT)
        return Receipt(_arrival(kept, about), status, rows, read, reason)


def list_arrivals(uri: str) -> list[Arrival]:
    """The files that were taken into a folder of `Actuals`, in the order of their arrival."""
    found = []
    for name in uris.children(uri):
        about = uris.join(uri, name, ABOUT)
        if name != REFUSED and not name.startswith(".") and uris.exists(about):
            found.append(_arrival(uris.join(uri, name), json.loads(uris.read_text(about))))
    return sorted(found, key=lambda arrival: (arrival.at, arrival.hash))


def _arrival(folder: str, about: Mapping[str, Any]) -> Arrival:
    name = str(about["name"])
    return Arrival(str(about["hash"]), name, str(about["table"]), uris.join(folder, name), str(about["at"]))


def _version(filesystem: Any, path: str) -> tuple[Any, ...]:
    """What tells a file from another one of its name; raises FileNotFoundError where it is gone."""
    about = filesystem.info(path)
    return tuple(about.get(key) for key in ("size", "mtime", "ino", "ETag", "LastModified", "created"))


def _remove(filesystem: Any, path: str) -> str:
    """Remove a file; why it could not be, "" where it could. Raises FileNotFoundError where it is gone."""
    try:
        filesystem.rm_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        return str(error) or type(error).__name__
    return ""


def _copy(source: str, target: Path) -> None:
    filesystem, path = uris.filesystem(source)
    with filesystem.open(path, "rb") as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy)


def _beside(folder: Path, target: str) -> Path:
    """The folder where it can be renamed to its target: on the same disk."""
    if not uris.is_local(target):
        return folder
    parent = uris.local_path(target).parent
    parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".", dir=parent))
    shutil.copytree(folder, staged, dirs_exist_ok=True)
    staged.chmod(0o755)
    return staged


def _readable(arrival: Arrival, folder: Path) -> Arrival:
    """The arrival, its rows as Parquet beside the original where it is JSON."""
    if not arrival.name.endswith(".json"):
        return arrival
    try:
        table = _columns(_rows((folder / arrival.name).read_text(encoding="utf-8")))
    except (ValueError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise DataError(
            "cannot be read as a list of rows",
            where=arrival.name,
            expected='[{"column": value, ...}, ...], each column of one kind',
            found=str(error).splitlines()[0],
            cure="send the rows as CSV, or correct the row",
        ) from error
    name = arrival.name.removesuffix(".json") + ".parquet"
    parquet.write_table(table, folder / name, "snappy")
    return Arrival(arrival.hash, name, arrival.table, str(folder / name), arrival.at)


def _rows(text: str) -> list[dict[str, Any]]:
    rows = json.loads(text)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not a list of objects")
    return rows


def _columns(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table with a column for each name that any has: who writes no nulls leaves names out."""
    names = dict.fromkeys(name for row in rows for name in row)
    for number, row in enumerate(rows, 1):
        if nested := [name for name, value in row.items() if isinstance(value, (list, dict))]:
            raise ValueError(f"row {number}, {nested[0]}: a list or an object, not one value")
    return pa.table({name: [row.get(name) for row in rows] for name in names})
