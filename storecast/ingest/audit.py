"""Keeps account of the rows of one file, and refuses the file when too many of them are wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from storecast.errors import DataError
from storecast.ingest.hints import hints
from storecast.ingest.quality import FileQuality, Tally
from storecast.ingest.raw_table import RawTable

Positions = NDArray[np.int64]
QUARANTINE = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("reason", pa.string()),
        ("expected", pa.string()),
        ("raw", pa.string()),
    ]
)


@dataclass(frozen=True)
class _Finding:
    rows: Positions
    column: str
    reason: str
    expected: str


@dataclass
class Audit:
    """The account of one file. Positions are those of `raw`.

    A repair of a row that another rule quarantines or merges is not counted.
    """

    raw: RawTable
    role: str
    lost_rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    _bad: list[_Finding] = field(default_factory=list)
    _repairs: dict[str, tuple[Positions, str, str]] = field(default_factory=dict)
    _merged: dict[str, tuple[Positions, str]] = field(default_factory=dict)
    _unused: dict[str, tuple[Positions, str]] = field(default_factory=dict)
    _shown: dict[int, dict[str, Any]] = field(default_factory=dict)

    def quarantine(self, rows: Positions, column: str, reason: str, expected: str) -> None:
        """The rows are wrong in `column` and cannot be repaired."""
        self._bad.append(_Finding(rows, column, reason, expected))

    def repair(self, name: str, rows: Positions, column: str, rule: str) -> None:
        """The rows were wrong in `column` and were repaired by `rule`."""
        self._repairs[name] = (rows, column, rule)

    def merge(self, name: str, rows: Positions, rule: str) -> None:
        """The rows were merged into another one of the same series and date."""
        self._merged[name] = (rows, rule)

    def leave_out(self, name: str, rows: Positions, rule: str) -> None:
        """The rows are good but the panel has no place for them."""
        self._unused[name] = (rows, rule)

    def close(self, kept: int, max_share: float) -> tuple[FileQuality, pa.Table]:
        """The counts and the quarantined rows of the file, of which `kept` rows go on.

        Raises:
            DataError: more than `max_share` of the rows are quarantined, none is left, or a row is
                unaccounted for.
        """
        bad = self._bad_positions()
        quality = self._quality(bad)
        self._refuse_too_many(quality, max_share)
        gone = np.concatenate([bad, *(rows for rows, _ in self._merged.values())])
        mended = {name: np.setdiff1d(rows, gone) for name, (rows, _, _) in self._repairs.items()}
        self._show([bad, *(rows[:1] for rows in mended.values())])
        self._count_reasons(quality)
        for name, (rows, rule) in self._merged.items():
            quality.merged[name] = self._tally(rows, "", rule)
        for name, (rows, rule) in self._unused.items():
            quality.unused[name] = self._tally(rows, "", rule)
        for name, (_, column, rule) in self._repairs.items():
            if len(mended[name]):
                quality.repairs[name] = self._tally(mended[name], column, rule)
        quality.rows_merged = sum(len(rows) for rows, _ in self._merged.values())
        quality.rows_unused = sum(len(rows) for rows, _ in self._unused.values())
        quality.rows_kept = kept
        if not quality.adds_up:
            raise DataError(
                "the rows do not add up; this is a defect of the ingest stage",
                where=self.raw.file,
                expected=f"{quality.rows_read:,} rows",
                found=f"{kept:,} kept, {quality.rows_quarantined:,} quarantined, "
                f"{quality.rows_merged:,} merged, {quality.rows_unused:,} unused",
                cure="report it together with the file",
            )
        return quality, self._quarantine_table(bad)

    def refuse_too_many(self, max_share: float) -> None:
        """Raise a DataError if by now more than `max_share` of the rows are quarantined, or all are."""
        self._refuse_too_many(self._quality(self._bad_positions()), max_share)

    def _quality(self, bad: Positions) -> FileQuality:
        quality = FileQuality(self.raw.file, self.role, self.raw.n_read)
        quality.rows_quarantined = len(bad) + len(self.raw.malformed)
        return quality

    def _show(self, positions: Sequence[Positions]) -> None:
        """Have the cells of these rows at hand, as they are written in the file."""
        wanted = np.concatenate([np.empty(0, dtype=np.int64), *positions])
        self._shown |= self.raw.cells(np.setdiff1d(wanted, list(self._shown)))

    def _bad_positions(self) -> Positions:
        mask = np.zeros(self.raw.n_rows, dtype=bool)
        for finding in self._bad:
            mask[finding.rows] = True
        return np.flatnonzero(mask)

    def _count_reasons(self, quality: FileQuality) -> None:
        for finding in self._bad:
            reason = f"{finding.column} {finding.reason}".strip()
            earlier = quality.quarantined.get(reason)
            if earlier is None:
                rule = f"{reason}; expected {finding.expected}"
                quality.quarantined[reason] = self._tally(finding.rows, finding.column, rule)
            else:
                earlier.count += len(finding.rows)
        if self.raw.malformed:
            first = self.raw.malformed[0]
            quality.quarantined["wrong number of values"] = Tally(
                len(self.raw.malformed),
                f"wrong number of values; expected {first.expected}",
                f"row {first.row}: {first.actual} values: {first.text[:80]!r}",
            )

    def _tally(self, rows: Positions, column: str, rule: str) -> Tally:
        first = int(rows[0])
        text = f"row {self.raw.rows(rows[:1])[0]}"
        if column:
            text += f", {column} = {self._cell(first, column)!r}"
        return Tally(len(rows), rule, text)

    def _refuse_too_many(self, quality: FileQuality, max_share: float) -> None:
        share = quality.rows_quarantined / max(quality.rows_read, 1)
        if share <= max_share and (quality.rows_quarantined < quality.rows_read or not quality.rows_read):
            return
        self._show([finding.rows[:1] for finding in self._bad])
        self._count_reasons(quality)
        worst = sorted(quality.quarantined.values(), key=lambda t: -t.count)[:5]
        cause = "; ".join(f"{t.count:,} rows: {t.rule} (first: {t.example})" for t in worst)
        raise DataError(
            f"{quality.rows_quarantined:,} of {quality.rows_read:,} rows are wrong and cannot be repaired",
            where=quality.file,
            expected=f"at most {max_share:.2%} of the rows (rules.max_quarantined_share)",
            found=cause,
            cure=self._cure(quality),
        )

    def _cure(self, quality: FileQuality) -> str:
        correct = "correct the rows"
        if quality.rows_quarantined < quality.rows_read:
            correct += ", or raise rules.max_quarantined_share"
        return "; ".join([*hints(quality.quarantined, self._first_cells), correct])

    def _first_cells(self, reason: str) -> list[str]:
        """The first cell of each column where this is wrong, as written."""
        findings = [finding for finding in self._bad if finding.reason.startswith(reason)]
        return [str(self._cell(int(finding.rows[0]), finding.column)) for finding in findings]

    def _cell(self, position: int, column: str) -> Any:
        value = self._shown[position].get(column)
        return value if isinstance(value, (int, float, str)) else None if value is None else str(value)

    def _quarantine_table(self, bad: Positions) -> pa.Table:
        rows: dict[int, list[_Finding]] = {int(position): [] for position in bad}
        for finding in self._bad:
            for position in finding.rows:
                rows[int(position)].append(finding)
        entries: list[dict[str, Any]] = [
            {
                "file": self.raw.file,
                "row": int(row),
                "column": "; ".join(finding.column for finding in findings),
                "reason": "; ".join(f"{finding.column} {finding.reason}".strip() for finding in findings),
                "expected": "; ".join(finding.expected for finding in findings),
                "raw": json.dumps(self._shown[position], ensure_ascii=False, default=str),
            }
            for (position, findings), row in zip(rows.items(), self.raw.rows(bad), strict=True)
        ]
        entries += [
            {
                "file": self.raw.file,
                "row": bad_line.row,
                "column": "",
                "reason": f"has {bad_line.actual} values",
                "expected": f"{bad_line.expected} values",
                "raw": json.dumps(bad_line.text, ensure_ascii=False),
            }
            for bad_line in self.raw.malformed
        ]
        return pa.Table.from_pylist(sorted(entries, key=lambda entry: entry["row"]), schema=QUARANTINE)
