"""A raw table in several files: the base files and what has arrived since, as one frame with one account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from storecast.ingest.audit import Audit, Positions
from storecast.ingest.quality import SUPERSEDED


@dataclass(frozen=True)
class Arrival:
    """A file that has arrived after the base files.

    Attributes:
        hash: sha256 of its bytes.
        name: its name when it arrived.
        table: the raw table it belongs to: the first candidate file name of that table in the config, as it
            was when the file arrived.
        uri: the file.
        at: when it arrived, ISO 8601 in UTC.
    """

    hash: str
    name: str
    table: str
    uri: str
    at: str

    @property
    def label(self) -> str:
        """Short name for messages."""
        return f"{self.hash[:8]}/{self.name}"


class Ledger:
    """The accounts of a table's files as one. Positions count through all files, in their order.

    Args:
        audits: the accounts, those of the base files first.
        base: how many files the base has.
    """

    def __init__(self, audits: Sequence[Audit], base: int = 1) -> None:
        self.audits, self.base = list(audits), base
        sizes = [audit.raw.n_rows for audit in self.audits]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.lost_rows = pd.concat(
            [audit.lost_rows.set_index(audit.lost_rows.index + start) for audit, start in self._each()]
        )

    def quarantine(self, rows: Positions, column: str, reason: str, expected: str) -> None:
        """The rows are wrong in `column` and cannot be repaired."""
        for audit, part in self._split(rows):
            audit.quarantine(part, column, reason, expected)

    def repair(self, name: str, rows: Positions, column: str, rule: str) -> None:
        """The rows were wrong in `column` and were repaired by `rule`."""
        for audit, part in self._split(rows):
            audit.repair(name, part, column, rule)

    def merge(self, name: str, rows: Positions, rule: str) -> None:
        """The rows were merged into another one of the same series and date."""
        for audit, part in self._split(rows):
            audit.merge(name, part, rule)

    def leave_out(self, name: str, rows: Positions, rule: str) -> None:
        """The rows are good but the panel has no place for them."""
        for audit, part in self._split(rows):
            audit.leave_out(name, part, rule)

    def file_of(self, rows: Positions) -> Positions:
        """Number of the file that each row stands in."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    def where(self, row: int) -> str:
        """File and row of a position, for messages."""
        number = int(self.file_of(np.array([row]))[0])
        raw = self.audits[number].raw
        return f"{raw.file}, row {raw.rows(row - self._starts[number])}"

    def kept(self, rows: pd.Index) -> list[int]:
        """How many of the rows stand in each file."""
        if len(self.audits) == 1:
            return [len(rows)]
        return [
            int(count)
            for count in np.bincount(self.file_of(rows.to_numpy(dtype=np.int64)), minlength=len(self.audits))
        ]

    def _each(self) -> Iterator[tuple[Audit, int]]:
        return zip(self.audits, self._starts[:-1].tolist(), strict=True)

    def _split(self, rows: Positions) -> Iterator[tuple[Audit, Positions]]:
        files = self.file_of(rows)
        for number, (audit, start) in enumerate(self._each()):
            part = rows[files == number] - start
            if len(part):
                yield audit, part


def one_frame(
    frames: Sequence[pd.DataFrame], audits: Sequence[Audit], base: int = 1
) -> tuple[pd.DataFrame, Ledger]:
    """The checked rows of a table's files, one below the other, and their common account.

    A column that not every file has is missing (NaN) for the rows of the others.

    Args:
        frames: the rows of each file, those of the base files first.
        audits: their accounts.
        base: how many files the base has.
    """
    ledger = Ledger(audits, base)
    if len(frames) == 1:
        return frames[0], ledger
    names = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    starts = [start for _, start in ledger._each()]
    index = np.concatenate(
        [frame.index.to_numpy() + start for frame, start in zip(frames, starts, strict=True)]
    )
    return pd.DataFrame({name: _column(frames, name) for name in names}, index=pd.Index(index)), ledger


def _column(frames: Sequence[pd.DataFrame], name: str) -> object:
    parts = [
        frame[name] if name in frame else pd.Series(np.full(len(frame), np.nan), index=frame.index)
        for frame in frames
    ]
    if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
        return union_categoricals(parts, sort_categories=True)
    return np.concatenate([part.to_numpy() for part in parts])


def latest(frame: pd.DataFrame, by: Sequence[str], ledger: Ledger) -> pd.DataFrame:
    """The frame without the rows of files that a later file has again: what arrives later wins.

    Rows of one file that share their key all stay, as do those of the base files: the rule for duplicates
    decides about them.
    """
    if len(ledger.audits) == ledger.base:
        return frame
    twice = frame[frame.duplicated(list(by), keep=False)]
    if twice.empty:
        return frame
    number = ledger.file_of(twice.index.to_numpy(dtype=np.int64))
    file = pd.Series(np.maximum(number, ledger.base - 1), index=twice.index)
    newest = file.groupby([twice[name] for name in by], observed=True).transform("max")
    gone = twice.index[(file < newest).to_numpy()]
    if len(gone):
        rows = gone.to_numpy(dtype=np.int64)
        ledger.merge(SUPERSEDED, rows, f"rows of one {', '.join(by)} in several files: the latest stands")
        frame = frame.drop(index=gone)
    return frame
