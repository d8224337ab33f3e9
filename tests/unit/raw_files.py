"""A small retailer's raw files for the ingest tests: four daily series of 30 days, and ways to spoil them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from storecast.dataset_config import DatasetConfig
from storecast.ingest import IngestResult, ingest, require_files

TODAY = dt.date(2024, 6, 1)
START, DAYS, HORIZON = "2024-02-15", 30, 4
N_TRAIN = 4 * DAYS


def _config() -> dict[str, Any]:
    return {
        "name": "shop",
        "freq": "D",
        "horizon": HORIZON,
        "train": "train.csv",
        "future": "test.csv",
        "date": "date",
        "target": "sales",
        "keys": ["store", "family"],
        "id": "id",
        "known": ["promo"],
        "tables": [
            {"files": "stores.csv", "kind": "static", "join": ["store"], "columns": ["city"]},
            {"files": "visits.csv", "kind": "past", "join": ["date", "store"], "columns": ["visits"]},
        ],
        "holidays": {
            "files": "holidays.csv",
            "name": "name",
            "kind": "kind",
            "kinds": {"Holiday": "holiday", "Transfer": "holiday"},
            "locale": "locale",
            "place": "place",
            "locales": {"National": "", "Local": "city"},
            "transferred": "transferred",
            "transfer_prefix": "Moved ",
        },
    }


def _tables() -> dict[str, pd.DataFrame]:
    dates = pd.date_range(START, periods=DAYS + HORIZON).strftime("%Y-%m-%d")
    rows = [
        {
            "id": str(i),
            "date": day,
            "store": store,
            "family": family,
            "sales": str(10 + i % 7),
            "promo": str(i // 4 % 3),
        }
        for i, (day, store, family) in enumerate(
            (day, store, family) for day in dates for store in ("1", "2") for family in ("BREAD", "MILK")
        )
    ]
    frame = pd.DataFrame(rows)
    visits = frame[:N_TRAIN][["date", "store"]].drop_duplicates().assign(visits="100")
    holidays = pd.DataFrame(
        [
            ("2024-02-20", "Holiday", "National", "All", "Founding", "True"),
            ("2024-02-23", "Transfer", "National", "All", "Moved Founding", "False"),
            ("2024-03-01", "Holiday", "Local", "Quito", "Quito Day", "False"),
        ],
        columns=["date", "kind", "locale", "place", "name", "transferred"],
    )
    return {
        "train": frame[:N_TRAIN].reset_index(drop=True),
        "test": frame[N_TRAIN:].drop(columns="sales").reset_index(drop=True),
        "stores": pd.DataFrame({"store": ["1", "2"], "city": ["Quito", "Cuenca"]}),
        "visits": visits.reset_index(drop=True),
        "holidays": holidays,
    }


@dataclass
class Raw:
    """The files before they are written: change tables, the config, or a file's very bytes."""

    tables: dict[str, pd.DataFrame] = field(default_factory=_tables)
    config: dict[str, Any] = field(default_factory=_config)
    files: dict[str, bytes] = field(default_factory=dict)

    def rules(self, **rules: Any) -> None:
        """Set rules of the config."""
        self.config.setdefault("rules", {}).update(rules)

    def cell(self, row: int, column: str, value: str, table: str = "train") -> None:
        """Write one cell; `row` counts from 1 as error messages do."""
        self.tables[table].loc[row - 1, column] = value

    def drop(self, table: str, *rows: int) -> None:
        """Remove rows, counted from 1."""
        kept = self.tables[table].drop(index=[row - 1 for row in rows])
        self.tables[table] = kept.reset_index(drop=True)

    def repeat(self, row: int, table: str = "train", **changes: str) -> None:
        """Append a copy of a row, with changes."""
        frame = self.tables[table]
        self.tables[table] = pd.concat([frame, frame.iloc[[row - 1]].assign(**changes)], ignore_index=True)

    def csv(self, table: str, separator: str = ",") -> bytes:
        """A table as CSV bytes."""
        return self.tables[table].to_csv(index=False, sep=separator, lineterminator="\n").encode()

    def write(self, folder: Path) -> Path:
        """Write all files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.tables:
            (folder / f"{name}.csv").write_bytes(self.csv(name))
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder

    def ingest(self, folder: Path) -> IngestResult:
        """Write the files under `folder` and ingest them."""
        out = folder / "panel"
        out.mkdir(parents=True)
        return ingest(DatasetConfig.model_validate(self.config), self.write(folder / "raw"), out, today=TODAY)

    def look(self, folder: Path) -> None:
        """Write the files under `folder` and see that they and their columns are there."""
        require_files(DatasetConfig.model_validate(self.config), str(self.write(folder / "looked at")))
