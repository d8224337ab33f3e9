"""A release as a table in memory-mapped files: every worker of a machine reads the same pages.

    <folder>/table.json      what the release is, its dates, columns and keys
    <folder>/values.npy      (n, H, C) float64: the point forecast, then the quantiles
    <folder>/answers.bin     each series as the JSON text that answers give, one after the other
    <folder>/offsets.npy     (n + 1,) where each begins
    <folder>/series.json     n lists: unique_id, then its keys

Nothing here imports pandas. The folder is written by `serving.prepare` and never changed.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

FORMAT = 1
FILES = ("values.npy", "answers.bin", "offsets.npy", "series.json")
DECIMALS = 4
"""Digits after the point in JSON answers; Arrow answers carry the numbers as they were released."""
POINT = "yhat"
LARGEST = 1e9
"""Of the values that a question may give a covariate."""


@dataclass(frozen=True, eq=False)
class ReleaseTable:
    """An open release.

    Attributes:
        about: table.json.
        names: (n,) unique_id and keys of each series.
        values: (n, H, C) the forecasts, in units of sales; C is `columns`.
        rows: position of each series by its keys.
        answers: the JSON texts of all series.
        offsets: where each text begins, and where the last ends.
    """

    about: Mapping[str, Any]
    names: Sequence[Sequence[str]]
    values: NDArray[np.float64]
    rows: Mapping[tuple[str, ...], int]
    answers: mmap.mmap
    offsets: Sequence[int]

    @classmethod
    def open(cls, folder: Path) -> ReleaseTable:
        """Map a prepared folder.

        Raises:
            OSError: there is none; ask `is_whole` first.
        """
        about = orjson.loads((folder / "table.json").read_bytes())
        names = orjson.loads((folder / "series.json").read_bytes())
        with (folder / "answers.bin").open("rb") as file:
            answers = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(
            about=about,
            names=names,
            values=np.load(folder / "values.npy", mmap_mode="r"),
            rows={tuple(name[1:]): row for row, name in enumerate(names)},
            answers=answers,
            offsets=np.load(folder / "offsets.npy").tolist(),
        )

    @property
    def id(self) -> str:
        """The release."""
        return str(self.about["release"])

    def least(self, name: str) -> float:
        """The smallest value that a known covariate may be given: below 0 where its data have been."""
        return -LARGEST if name in self.about.get("signed", ()) else 0.0

    @property
    def keys(self) -> list[str]:
        """The key columns."""
        keys: list[str] = self.about["keys"]
        return keys

    @property
    def dates(self) -> list[str]:
        """The H dates, ISO, ascending."""
        dates: list[str] = self.about["dates"]
        return dates

    @property
    def columns(self) -> list[str]:
        """`yhat`, then `q<level>` for each level."""
        columns: list[str] = self.about["columns"]
        return columns

    @property
    def levels(self) -> list[float]:
        """The quantile levels, ascending."""
        return [float(name[1:]) for name in self.columns[1:]]

    def text(self, row: int) -> bytes:
        """A series' whole forecast as JSON."""
        return self.answers[self.offsets[row] : self.offsets[row + 1]]

    def part(self, row: int, days: slice, columns: Sequence[int]) -> bytes:
        """Some dates and columns of a series as JSON."""
        return series_json(
            self.keys,
            self.names[row],
            self.dates[days],
            self._named(columns),
            self.values[row, days][:, columns],
        )

    def _named(self, columns: Sequence[int]) -> list[str]:
        return [self.columns[i] for i in columns]


def is_whole(folder: Path) -> bool:
    """Whether a folder is a prepared one of this version with every file as it was written."""
    try:
        about = orjson.loads((folder / "table.json").read_bytes())
        return bool(about["format"] == FORMAT and about["files"] == sums(folder))
    except (OSError, ValueError, KeyError):
        return False


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of the table."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def series_json(
    keys: Sequence[str],
    names: Sequence[str],
    dates: Sequence[str],
    columns: Sequence[str],
    values: NDArray[np.float64],
) -> bytes:
    """One series as answers give it: its id and keys, then `ds` and each column as lists.

    Args:
        keys: the key columns.
        names: unique_id, then the keys' values.
        dates: (H,) ISO dates.
        columns: (C,) names.
        values: (H, C).
    """
    rounded = np.round(values, DECIMALS)
    content = dict(zip(("unique_id", *keys), names, strict=True)) | {"ds": list(dates)}
    content |= {name: rounded[:, i].tolist() for i, name in enumerate(columns)}
    return orjson.dumps(content)
