"""What every step of an ingest shares: where the files are, what they mean, and the account so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from storecast.dataset_config import DatasetConfig
from storecast.errors import DataError
from storecast.ingest.audit import Audit
from storecast.ingest.checks import Field, check_table
from storecast.ingest.ledger import Arrival, Ledger, latest, one_frame
from storecast.ingest.numbered import numbers_of, parts
from storecast.ingest.parse import Kind
from storecast.ingest.quality import DataQualityReport
from storecast.ingest.raw_table import RawTable
from storecast.ingest.source import Source

ROUNDING = 1e-9
"""Sums of sales and returns that are smaller are nothing: 0.3 - 0.1 - 0.2 is less than 0."""


@dataclass
class Context:
    """The state of one ingest."""

    config: DatasetConfig
    source: Source
    today: pd.Timestamp
    arrivals: Sequence[Arrival] = ()
    report: DataQualityReport = field(default_factory=DataQualityReport)
    quarantine: list[pa.Table] = field(default_factory=list)

    def table(
        self,
        files: Sequence[str],
        fields: Sequence[Field],
        role: str,
        *,
        optional: Sequence[str] = (),
        by: Sequence[str] = (),
        arrived: Sequence[Field] | None = None,
        bare: bool = False,
    ) -> tuple[pd.DataFrame, Ledger]:
        """Read and validate a raw table: its base files and what has arrived of it. `close` must follow.

        Args:
            files: candidate names of the base file, or patterns that stand for several.
            fields: its columns.
            role: role of the table in the report; "": the base file's name.
            optional: columns that a file need not have.
            by: fields that name a row: of rows that have arrived again the latest stand. None: all stay.
            arrived: columns of the files that have arrived, where they are checked otherwise.
            bare: whether the base file may have no rows.

        Raises:
            DataError: a base file is missing or damaged. An arrival that is, or has too many wrong rows,
                is left out with a note instead: it must not stop what else has arrived.
        """
        base = self.source.read(files, _kinds(fields), optional, bare=bare)
        checked = [self._check(raw, fields, role or raw.file) for raw in base]
        frames, audits = [frame for frame, _ in checked], [audit for _, audit in checked]
        del checked
        for arrival in self.arrivals:
            if arrival.table != files[0]:
                continue
            try:
                frame, audit = self.arrived(arrival, arrived or fields, role or base[0].file, optional)
            except DataError as error:
                self.report.notes.append(f"{arrival.label} is left out: {error.what}")
                continue
            frames.append(frame)
            audits.append(audit)
        whole, ledger = one_frame(frames, audits, len(base))
        return (latest(whole, by, ledger) if by else whole), ledger

    def arrived(
        self, arrival: Arrival, fields: Sequence[Field], role: str, optional: Sequence[str] = ()
    ) -> tuple[pd.DataFrame, Audit]:
        """Read and validate one file that has arrived.

        Raises:
            DataError: it is damaged, lacks a column or has too many wrong rows.
        """
        file = Source.of_file(arrival.uri, self.config.csv)
        raw = RawTable.read(file, _kinds(fields), optional, self.config.csv)
        frame, audit = self._check(replace(raw, file=arrival.label), fields, role)
        audit.refuse_too_many(self.config.rules.max_quarantined_share)
        return frame, audit

    def close(self, ledger: Ledger, kept: pd.Index) -> None:
        """Enter the account of a table's files into the report; fails when too many rows are wrong.

        Args:
            ledger: the files.
            kept: positions of the rows that go on.
        """
        counts = ledger.kept(kept)
        for audit, count in zip(ledger.audits, counts, strict=True):
            quality, quarantined = audit.close(count, self.config.rules.max_quarantined_share)
            self.report.files.append(quality)
            self.quarantine.append(quarantined)

    def _check(self, raw: RawTable, fields: Sequence[Field], role: str) -> tuple[pd.DataFrame, Audit]:
        audit = Audit(raw, role)
        here = [field for field in fields if field.column in raw.names]
        return check_table(raw, here, self.config.csv, audit), audit


def _kinds(fields: Sequence[Field]) -> list[tuple[str, Kind]]:
    """The columns to read, each with what it holds."""
    return [(field.column, field.kind) for field in fields]


def settle_duplicates(
    frame: pd.DataFrame, by: Sequence[str], audit: Ledger, rule: str, total: str | None = None
) -> pd.DataFrame:
    """One row for each combination of `by`: identical rows are merged, conflicting ones handled by `rule`.

    Where "sum" adds up `total`, identical rows are added up too: each is a sale of its own. Where the last
    row stands, identical ones are merged into their last: a value that was corrected back stands.

    Args:
        frame: rows, indexed by their position in the raw table.
        by: columns that must be unique together.
        audit: account of the table.
        rule: "sum" (add up `total`), "last", "first" (quarantine the others) or
            "quarantine" (all of them).
        total: the column that "sum" adds up.
    """
    keys = list(by)
    if _all_differ(frame, keys):
        return frame
    twice = frame.duplicated(keys, keep=False)
    if not twice.any():
        return frame
    if rule == "sum" and total is not None:
        return _summed(frame, frame[twice], keys, audit, total)
    keep: Literal["first", "last"] = "last" if rule in ("sum", "last") else "first"
    same = frame[twice].duplicated(keep=keep)
    identical = same.index[same].to_numpy(dtype=np.int64)
    if len(identical):
        audit.merge("identical", identical, f"identical rows of one key merged into the {keep}")
        frame = frame.drop(index=pd.Index(identical))
    clash = frame.duplicated(keys, keep=False)
    if not clash.any():
        return frame
    return _settle_conflicts(frame, frame[clash], keys, audit, rule)


def _all_differ(frame: pd.DataFrame, keys: Sequence[str]) -> bool:
    """Whether no two rows share their dates and categories, told by sorting a number for each row: in a
    fraction of the time and memory that `DataFrame.duplicated` takes. False, too, where it cannot be told."""
    tell = numbers_of(frame, keys)
    if tell is None:
        return False
    numbers = np.empty(len(frame), dtype=np.int64)
    for part in parts(len(frame)):
        numbers[part] = tell(part)
    numbers.sort()
    return not bool((numbers[1:] == numbers[:-1]).any())


def _summed(
    frame: pd.DataFrame, rows: pd.DataFrame, keys: list[str], audit: Ledger, total: str
) -> pd.DataFrame:
    """The frame with one row for each key: of those that share theirs the last, with the sum of `total`."""
    gone = rows.index[rows.duplicated(keys, keep="last")].to_numpy(dtype=np.int64)
    frame = frame.drop(index=pd.Index(gone))
    sums = rows.groupby(keys, observed=True)[total].transform("sum", min_count=1)
    sums = sums.mask(sums.abs() < ROUNDING, 0.0)
    last = rows.index.difference(pd.Index(gone), sort=False)
    frame.loc[last, total] = sums.loc[last]
    audit.merge("summed", gone, f"rows of one key merged: {total} added up, the rest from the last row")
    return frame


def _settle_conflicts(
    frame: pd.DataFrame, rows: pd.DataFrame, keys: list[str], audit: Ledger, rule: str
) -> pd.DataFrame:
    if rule in ("first", "quarantine"):
        bad = rows[rows.duplicated(keys, keep="first")] if rule == "first" else rows
        place = bad.index.to_numpy(dtype=np.int64)
        audit.quarantine(
            place,
            "",
            f"differs from another row of the same {', '.join(keys)}",
            "one row per key, or identical ones",
        )
        audit.lost_rows = pd.concat([audit.lost_rows, bad]) if rule == "quarantine" else audit.lost_rows
        return frame.drop(index=pd.Index(place))
    gone = rows.index[rows.duplicated(keys, keep="last")].to_numpy(dtype=np.int64)
    audit.merge("last", gone, "rows of one key merged: the last one stands")
    return frame.drop(index=pd.Index(gone))
