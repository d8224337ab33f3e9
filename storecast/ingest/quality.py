"""What became of every row: kept, repaired, merged, unused or quarantined, with reasons and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SUPERSEDED = "superseded"
"""Name of the merge of rows that a file which arrived later has replaced."""

KINDS = {"quarantined": "quarantined", "repairs": "repaired", "merged": "merged", "unused": "not used"}
"""What was done to rows of a file, and the word for it."""

TOTALS = {"read": "rows read", "kept": "kept"} | {
    kind: KINDS[kind] for kind in ("quarantined", "merged", "unused")
}


@dataclass
class Tally:
    """How often something happened, by what rule, and the first case of it."""

    count: int
    rule: str
    example: str


@dataclass
class FileQuality:
    """The rows of one file.

    `rows_read = rows_kept + rows_quarantined + rows_merged + rows_unused`, always. `rows_merged` are
    duplicates that became one row; `rows_unused` are good rows that the panel has no place for (beyond
    the horizon, holidays moved to another day). Repairs are made on kept rows.
    """

    file: str
    role: str
    rows_read: int
    rows_kept: int = 0
    rows_quarantined: int = 0
    rows_merged: int = 0
    rows_unused: int = 0
    repairs: dict[str, Tally] = field(default_factory=dict)
    quarantined: dict[str, Tally] = field(default_factory=dict)
    merged: dict[str, Tally] = field(default_factory=dict)
    unused: dict[str, Tally] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether every row read is accounted for."""
        out = self.rows_kept + self.rows_quarantined + self.rows_merged + self.rows_unused
        return self.rows_read == out


@dataclass
class DataQualityReport:
    """The outcome of an ingest, for the manifest and for people.

    Attributes:
        files: one entry per file read.
        added: panel cells filled without a row, by rule (closed days, gaps, future covariates).
        notes: what a person should know, one sentence each.
        panel: series, dates, cutoff and horizon of the panel.
    """

    files: list[FileQuality] = field(default_factory=list)
    added: dict[str, Tally] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    series_without_history: list[str] = field(default_factory=list)
    panel: dict[str, Any] = field(default_factory=dict)

    @property
    def rows_read(self) -> int:
        """Rows of all files."""
        return sum(f.rows_read for f in self.files)

    @property
    def rows_quarantined(self) -> int:
        """Quarantined rows of all files."""
        return sum(f.rows_quarantined for f in self.files)

    @property
    def rows_added(self) -> int:
        """History rows that no file has: gaps, closed days and dates behind the last row filled with zero."""
        return sum(t.count for name, t in self.added.items() if name in ("gaps", "closed_days", "ended"))

    @property
    def rows_superseded(self) -> int:
        """Rows that a file which arrived later has replaced."""
        return sum(f.merged[SUPERSEDED].count for f in self.files if SUPERSEDED in f.merged)

    def file(self, role: str) -> FileQuality:
        """The entry of the file with that role (train, future, holidays, or the table's file name)."""
        return next(f for f in self.files if f.role == role)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        totals = {
            "rows_read": self.rows_read,
            "rows_kept": sum(f.rows_kept for f in self.files),
            "rows_quarantined": self.rows_quarantined,
            "rows_merged": sum(f.rows_merged for f in self.files),
            "rows_unused": sum(f.rows_unused for f in self.files),
            "rows_added": self.rows_added,
        }
        return {"totals": totals, **asdict(self)}


def sentences(quality: Mapping[str, Any]) -> list[str]:
    """What became of the rows: the totals, then each rule that was needed, with its first case.

    Args:
        quality: as `DataQualityReport.to_dict` gives it.
    """
    totals = quality["totals"]
    counts = [f"{totals[f'rows_{name}']:,} {word}" for name, word in TOTALS.items() if totals[f"rows_{name}"]]
    lines = [", ".join(counts)]
    for file in quality["files"]:
        for kind, word in KINDS.items():
            lines += [f"{file['file']}: {_told(tally, word)}" for tally in file[kind].values()]
    lines += [_told(tally, "added") for tally in quality["added"].values()]
    return [*lines, *quality["notes"]]


def _told(tally: Mapping[str, Any], word: str) -> str:
    return f"{tally['count']:,} {word}: {tally['rule']} (first: {tally['example']})"
