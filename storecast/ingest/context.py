"""What every step of an ingest shares: where the files are, what they mean, and the account so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from storecast.dataset_config import DatasetConfig
from storecast.ingest.audit import Audit
from storecast.ingest.checks import Field, check_table
from storecast.ingest.quality import DataQualityReport, FileQuality
from storecast.ingest.raw_table import RawTable
from storecast.ingest.source import Source


@dataclass
class Context:
    """The state of one ingest."""

    config: DatasetConfig
    source: Source
    today: pd.Timestamp
    report: DataQualityReport = field(default_factory=DataQualityReport)
    quarantine: list[pa.Table] = field(default_factory=list)

    def read(
        self, files: Sequence[str], fields: Sequence[Field], *, optional: Sequence[str] = ()
    ) -> RawTable:
        """Read the columns of `fields`; those named in `optional` may be absent."""
        few = [f.column for f in fields if f.kind in ("date", "key", "flag")]
        must = [f.column for f in fields if f.column not in optional]
        return self.source.read(files, must, optional=optional, dictionary=few)

    def check(self, raw: RawTable, fields: Sequence[Field], role: str) -> tuple[pd.DataFrame, Audit]:
        """Parse and validate the rows of a file; `close` must follow."""
        audit = Audit(raw, role)
        return check_table(raw, fields, self.config.csv, audit), audit

    def close(self, audit: Audit, kept: int) -> FileQuality:
        """Enter the file's account into the report; fails when too many of its rows are wrong."""
        quality, quarantined = audit.close(kept, self.config.rules.max_quarantined_share)
        self.report.files.append(quality)
        self.quarantine.append(quarantined)
        return quality


def settle_duplicates(
    frame: pd.DataFrame, by: Sequence[str], audit: Audit, rule: str, total: str | None = None
) -> pd.DataFrame:
    """One row for each combination of `by`: identical rows are merged, conflicting ones handled by `rule`.

    Args:
        frame: rows, indexed by their position in the raw table.
        by: columns that must be unique together.
        audit: account of the file.
        rule: "sum" (add up `total`, otherwise keep the last), "last", "first" (quarantine the others) or
            "quarantine" (all of them).
        total: the column that "sum" adds up.
    """
    keys = list(by)
    twice = frame.duplicated(keys, keep=False)
    if not twice.any():
        return frame
    same = frame[twice].duplicated(keep="first")
    identical = same.index[same].to_numpy(dtype=np.int64)
    if len(identical):
        audit.merge("identical", identical, "identical rows of one key merged into the first")
        frame = frame.drop(index=pd.Index(identical))
    clash = frame.duplicated(keys, keep=False)
    if not clash.any():
        return frame
    return _settle_conflicts(frame, frame[clash], keys, audit, rule, total)


def _settle_conflicts(
    frame: pd.DataFrame, rows: pd.DataFrame, keys: list[str], audit: Audit, rule: str, total: str | None
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
    if rule == "sum" and total is not None:
        sums = rows.groupby(keys, observed=True)[total].transform(lambda values: values.sum(min_count=1))
        frame.loc[rows.index, total] = sums
        audit.merge("summed", gone, f"rows of one key merged: {total} added up, the rest from the last row")
    else:
        audit.merge("last", gone, "rows of one key merged: the last one stands")
    return frame.drop(index=pd.Index(gone))
