"""One table of bad and odd input: each kind has its clear error or its stated repair, and no row vanishes."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_files import DAYS, HORIZON, N_TRAIN, Raw

from storecast.dataset_config import load_dataset_config
from storecast.errors import ConfigError, DataError
from storecast.ingest import IngestResult, ingest

Spoil = Callable[[Raw], object]


@dataclass(frozen=True)
class Refused:
    """A kind of input that stops the ingest, and what its message must hold: place, expectation, cure."""

    name: str
    spoil: Spoil
    says: tuple[str, ...]


@dataclass(frozen=True)
class Handled:
    """A kind of input that gets through: what the account must show.

    Attributes:
        train: expected counts of the train file (others 0, kept = the rest).
        reason: what the quarantine must say about the row, as (row, column, words).
        repairs: expected repairs of the train file by name.
        added: expected fills by name.
        note: words that a note must hold.
        panel: a further look at the outcome.
        other: the same counts as `train` for another file, as (role, counts).
    """

    name: str
    spoil: Spoil
    train: dict[str, int] = field(default_factory=dict)
    reason: tuple[int, str, str] | None = None
    repairs: dict[str, int] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)
    note: str = ""
    panel: Callable[[IngestResult], bool] = bool
    other: tuple[str, dict[str, int]] | None = None


def cell(column: str, value: str, row: int = 41, table: str = "train") -> Spoil:
    return lambda raw: raw.cell(row, column, value, table)


def both(*spoils: Spoil) -> Spoil:
    return lambda raw: [spoil(raw) for spoil in spoils]


def as_it_is(raw: Raw) -> None:
    """Nothing is wrong."""


def bytes_of(table: str, change: Callable[[bytes], bytes]) -> Spoil:
    return lambda raw: raw.files.update({f"{table}.csv": change(raw.csv(table))})


def config(**changes: Any) -> Spoil:
    return lambda raw: raw.config.update(changes)


def rules(**changes: Any) -> Spoil:
    return lambda raw: raw.rules(**changes)


def drop_train(condition: Callable[[pd.DataFrame], pd.Series]) -> Spoil:
    return lambda raw: raw.tables.update(train=raw.tables["train"][~condition(raw.tables["train"])])


def gone(table: str, column: str) -> Spoil:
    return lambda raw: raw.tables.update({table: raw.tables[table].drop(columns=column)})


def one_series(raw: Raw) -> None:
    for table in ("train", "test"):
        frame = raw.tables[table]
        raw.tables[table] = frame[(frame["store"] == "1") & (frame["family"] == "MILK")]


def no_future(**rule: str) -> Spoil:
    return lambda raw: (raw.config.pop("future"), raw.config.pop("id"), raw.rules(**rule))


def truncated_gzip(raw: Raw) -> None:
    raw.files["train.csv.gz"] = gzip.compress(raw.csv("train"))[:-20]
    raw.config["train"] = "train.csv.gz"


def whole_gzip(raw: Raw) -> None:
    raw.files["train.csv.gz"] = gzip.compress(raw.csv("train"))
    raw.config["train"] = "train.csv.gz"
    del raw.tables["train"]


def broken_parquet(raw: Raw) -> None:
    raw.files["train.parquet"] = b"PAR1 this is no Parquet file PAR1"
    raw.config["train"] = ["train.parquet", "train.csv"]


def long_line(raw: Raw) -> None:
    raw.files["train.csv"] = raw.csv("train") + b"x" * 5_000
    raw.config["csv"] = {"max_line_bytes": 1_000}


def long_header(raw: Raw) -> None:
    raw.files["train.csv"] = b"x" * 5_000
    raw.config["csv"] = {"max_line_bytes": 1_000}


def weekly(raw: Raw) -> None:
    """Sundays only, as a weekly panel."""
    for table in ("train", "test"):
        frame = raw.tables[table]
        raw.tables[table] = frame[pd.to_datetime(frame["date"]).dt.day_of_week == 6].reset_index(drop=True)
    raw.config.update(freq="W-SUN", horizon=1, tables=raw.config["tables"][:1])


def new_store(raw: Raw) -> None:
    raw.tables["stores"] = pd.concat(
        [raw.tables["stores"], pd.DataFrame({"store": ["3"], "city": ["Loja"]})], ignore_index=True
    )
    extra = raw.tables["test"].query("store == '1'").assign(store="3")
    raw.tables["test"] = pd.concat([raw.tables["test"], extra], ignore_index=True)


def series(result: IngestResult, name: str) -> np.ndarray[Any, Any]:
    panel = result.panel
    return panel.history[list(panel.ids).index(name)]


# Row 41 of the small panel is 2024-02-25 of 1|BREAD.
REFUSED = [
    Refused(
        "missing column",
        gone("train", "sales"),
        ("train.csv", "'sales' is missing", "expected", "to fix"),
    ),
    Refused(
        "misspelt column",
        lambda raw: raw.tables.update(train=raw.tables["train"].rename(columns={"sales": "sale"})),
        ("train.csv, header", "'sales' is missing", "did you mean 'sale'"),
    ),
    Refused("column twice", bytes_of("train", lambda b: b.replace(b"promo", b"sales", 1)), ("occurs twice",)),
    Refused(
        "missing file", config(train="sales_2024.csv"), ("sales_2024.csv", "found: holidays.csv", "to fix")
    ),
    Refused(
        "missing static file",
        config(tables=[{"files": "no.csv", "kind": "static", "join": ["store"], "columns": ["city"]}]),
        ("no.csv",),
    ),
    Refused(
        "empty file",
        lambda raw: raw.files.update({"train.csv": b""}),
        ("train.csv: the file is empty", "to fix"),
    ),
    Refused(
        "blank lines only",
        lambda raw: raw.files.update({"train.csv": b"\n\n\n"}),
        ("train.csv: the file is empty",),
    ),
    Refused(
        "header only",
        bytes_of("train", lambda b: b.splitlines()[0] + b"\n"),
        ("train.csv: the file has a header and no rows", "at least one row"),
    ),
    Refused("over-long line", long_line, ("train.csv, row 121", "longer than 1,000 bytes", "max_line_bytes")),
    Refused("over-long header", long_header, ("train.csv", "longer than 1,000 bytes")),
    Refused("broken parquet", broken_parquet, ("train.parquet: is damaged", "copy the file again")),
    Refused("truncated gzip", truncated_gzip, ("train.csv.gz: is damaged", "gzip", "copy the file again")),
    Refused(
        "not a gzip file",
        both(lambda raw: raw.files.update({"a.csv.gz": b"date,store"}), config(train="a.csv.gz")),
        ("a.csv.gz: is damaged or not a gzip file",),
    ),
    Refused(
        "semicolon CSV",
        lambda raw: raw.files.update({"train.csv": raw.csv("train", ";")}),
        ("train.csv, header", "separated by a semicolon", "separator: ';'"),
    ),
    Refused(
        "latin-1 file",
        bytes_of("train", lambda b: b.replace(b"MILK", "CAFÉ".encode("latin-1"), 1)),
        ("train.csv, row 2", "not utf-8", "encoding: latin-1"),
    ),
    Refused(
        "UTF-16 that ends within a letter",
        bytes_of("train", lambda b: b.decode().encode("utf-16")[:-1]),
        ("train.csv", "truncated data", "save the file as UTF-8"),
    ),
    Refused(
        "UTF-8 where UTF-16 is set",
        config(csv={"encoding": "utf-16"}),
        ("stores.csv, row 0", "not utf-16", "leave out `csv: {encoding: utf-16}`"),
    ),
    Refused(
        "wrong date format",
        lambda raw: raw.tables["train"].update(
            pd.to_datetime(raw.tables["train"]["date"]).dt.strftime("%d/%m/%Y").rename("date")
        ),
        (
            "train.csv",
            "date is not a date",
            "%Y-%m-%d",
            "row 1, date = '15/02/2024'",
            "{date_format: '%d/%m/%Y'}",
        ),
    ),
    Refused(
        "dates that stand for none",
        lambda raw: raw.tables.update(visits=raw.tables["visits"].assign(date="9999-12-31")),
        ("visits.csv", "of the years 1678 to 2261", "date = '9999-12-31'", "to fix: correct the rows"),
    ),
    Refused(
        "decimal comma",
        lambda raw: (
            raw.files.update({f"{table}.csv": raw.csv(table, ";") for table in raw.tables}),
            raw.files.update({"train.csv": raw.csv("train", ";").replace(b";10;", b";10,5;")}),
            raw.config.update(csv={"separator": ";"}),
        ),
        ("train.csv", "sales is not a number", "'10,5'", "decimal: ','"),
    ),
    Refused(
        "promotions in words",
        lambda raw: raw.tables.update(train=raw.tables["train"].assign(promo="BOGO")),
        ("train.csv", "promo is not a number, true or false", "'BOGO'", "word by word: {NAME: promo=BOGO}"),
    ),
    Refused(
        "quarantine above share",
        both(cell("sales", "lots"), cell("sales", "many", 42)),
        ("train.csv", "2 of 120 rows", "at most 1.00%", "row 41, sales = 'lots'", "max_quarantined_share"),
    ),
    Refused(
        "every row wrong although any share may be",
        both(
            rules(max_quarantined_share=1.0),
            lambda raw: raw.tables.update(train=raw.tables["train"].assign(sales="x")),
        ),
        ("train.csv", "120 of 120 rows"),
    ),
    Refused(
        "static table without a store that sells",
        lambda raw: raw.drop("stores", 2),
        ("train.csv", "store is not in stores.csv", "store = '2'", "add the missing keys"),
    ),
    Refused(
        "static table with a store twice and different cities",
        lambda raw: raw.repeat(1, "stores", city="Loja"),
        ("stores.csv", "differs from another row of the same store", "row 3"),
    ),
    Refused(
        "key holds the separator",
        lambda raw: raw.tables["train"].replace("MILK", "MI|LK", inplace=True),
        ("train.csv, row 2, column family", "separator '|'", "'MI|LK'", "key_separator"),
    ),
    Refused(
        "promotion column missing in the future",
        gone("test", "promo"),
        ("test.csv", "promo", "16 of the 16", "future_known"),
    ),
    Refused(
        "a series missing in the future",
        lambda raw: raw.drop("test", 1, 5, 9, 13),
        ("promo", "4 of the 16", "1|BREAD on 2024-03-16"),
    ),
    Refused("no future file and no rule", no_future(), ("no `future` file", "future_known: zero")),
    Refused(
        "a date a century off",
        cell("date", "1924-02-25"),
        ("train.csv, row 41, column ds", "1924-02-25", "max_closed_days"),
    ),
    Refused(
        "infinite sales in most rows",
        lambda raw: raw.tables.update(train=raw.tables["train"].assign(sales="inf")),
        ("sales is infinite",),
    ),
    Refused(
        "holiday of an unknown kind",
        cell("kind", "Party", 1, "holidays"),
        ("holidays.csv", "kind is not in holidays.kinds", "'Party'"),
    ),
    Refused(
        "holiday of an unknown locale",
        cell("locale", "Galactic", 1, "holidays"),
        ("holidays.csv", "locale is not in holidays.locales", "'Galactic'"),
    ),
    Refused(
        "daily rows in a weekly panel",
        config(freq="W-SUN", horizon=1),
        ("train.csv", "wrong weekday", "set `freq`"),
    ),
]

HANDLED = [
    Handled(
        "NA words beside text",
        both(cell("sales", "a lot"), cell("sales", "N/A", 42)),
        {"quarantined": 1},
        (41, "sales", "is not a number"),
        repairs={"y_empty": 1},
    ),
    Handled(
        "clean files",
        as_it_is,
        panel=lambda r: not np.isnan(r.panel.history).any() and not len(r.quarantine),
    ),
    Handled(
        "text in numbers",
        cell("sales", "a lot"),
        {"quarantined": 1},
        (41, "sales", "is not a number"),
        panel=lambda r: np.isnan(series(r, "1|BREAD")[10]),
    ),
    Handled("infinite sales", cell("sales", "inf"), {"quarantined": 1}, (41, "sales", "is infinite")),
    *(
        Handled(
            f"{column} beyond all numbers of pieces",
            cell(column, number),
            {"quarantined": 1},
            (41, column, "beyond 1e+15"),
            added={"quarantined": 1},
        )
        for column, number in (("sales", "1e308"), ("promo", "-1e39"))
    ),
    Handled(
        "a past covariate beyond all numbers",
        both(cell("visits", "1e308", 5, "visits"), rules(max_quarantined_share=0.05)),
        other=("visits.csv", {"quarantined": 1, "kept": 59}),
    ),
    Handled(
        "NaN sales stay not observed",
        cell("sales", "NaN"),
        repairs={"y_empty": 1},
        panel=lambda r: np.isnan(series(r, "1|BREAD")[10]),
    ),
    Handled(
        "empty sales become zero by rule",
        both(cell("sales", ""), rules(missing_target="zero")),
        repairs={"y_empty": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 0,
    ),
    Handled(
        "negative sales are clipped",
        cell("sales", "-3"),
        repairs={"y_not_negative": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 0,
    ),
    Handled(
        "negative sales are quarantined by rule",
        both(cell("sales", "-3"), rules(negative_target="quarantine")),
        {"quarantined": 1},
        (41, "sales", "is negative"),
    ),
    Handled(
        "scientific notation and spaces",
        cell("sales", " 1.2e1 "),
        panel=lambda r: series(r, "1|BREAD")[10] == 12,
    ),
    Handled("duplicate rows, identical", lambda raw: raw.repeat(41), {"read": N_TRAIN + 1, "merged": 1}),
    Handled(
        "duplicate rows, conflicting",
        both(lambda raw: raw.repeat(41, sales="99"), rules(max_quarantined_share=0.05)),
        {"read": N_TRAIN + 1, "quarantined": 2},
        (121, "", "differs from another row"),
        added={"quarantined": 1},
        panel=lambda r: np.isnan(series(r, "1|BREAD")[10]),
    ),
    Handled(
        "duplicate rows, summed by rule",
        both(lambda raw: raw.repeat(41, sales="99"), rules(conflicting_duplicates="sum")),
        {"read": N_TRAIN + 1, "merged": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 10 + 40 % 7 + 99,
    ),
    Handled(
        "a row for each sale, identical ones too, summed by rule",
        both(
            lambda raw: [raw.repeat(41, sales="1") for _ in range(3)],
            cell("sales", "1"),
            rules(conflicting_duplicates="sum"),
        ),
        {"read": N_TRAIN + 3, "merged": 3},
        panel=lambda r: series(r, "1|BREAD")[10] == 4,
    ),
    Handled(
        "a return counts against the sales that it is summed with",
        both(
            lambda raw: raw.repeat(41, sales="-3"), cell("sales", "10"), rules(conflicting_duplicates="sum")
        ),
        {"read": N_TRAIN + 1, "merged": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 7,
    ),
    Handled(
        "more returned than sold is clipped",
        both(
            lambda raw: raw.repeat(41, sales="-5"), cell("sales", "-2"), rules(conflicting_duplicates="sum")
        ),
        {"read": N_TRAIN + 1, "merged": 1},
        repairs={"y_not_negative": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 0,
    ),
    Handled(
        "more returned than sold is quarantined by rule",
        both(
            lambda raw: raw.repeat(41, sales="-15"),
            cell("sales", "10"),
            cell("sales", "-3", 42),
            lambda raw: raw.repeat(42, sales="4"),
            rules(conflicting_duplicates="sum", negative_target="quarantine"),
        ),
        {"read": N_TRAIN + 2, "merged": 2, "quarantined": 1},
        (121, "sales", "adds up to a negative number"),
        added={"quarantined": 1},
        panel=lambda r: np.isnan(series(r, "1|BREAD")[10]) and series(r, "1|MILK")[10] == 1,
    ),
    Handled(
        "what is returned in parts leaves nothing",
        both(
            lambda raw: [raw.repeat(41, sales=part) for part in ("-0.1", "-0.2")],
            cell("sales", "0.3"),
            rules(conflicting_duplicates="sum", negative_target="quarantine"),
        ),
        {"read": N_TRAIN + 2, "merged": 2},
        panel=lambda r: series(r, "1|BREAD")[10] == 0,
    ),
    Handled(
        "identical rows of the future file are merged where sales are summed",
        both(lambda raw: raw.repeat(1, "test"), rules(conflicting_duplicates="sum")),
        other=("future", {"merged": 1, "kept": 16}),
    ),
    Handled(
        "duplicate rows, the last stands by rule",
        both(lambda raw: raw.repeat(41, sales="99"), rules(conflicting_duplicates="last")),
        {"read": N_TRAIN + 1, "merged": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 99,
    ),
    Handled(
        "an empty row for which another stands is no repair",
        both(cell("sales", ""), lambda raw: raw.repeat(41, sales="99"), rules(conflicting_duplicates="last")),
        {"read": N_TRAIN + 1, "merged": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 99,
    ),
    Handled(
        "gap in one series",
        lambda raw: raw.drop("train", 41),
        {"read": N_TRAIN - 1},
        added={"gaps": 1},
        panel=lambda r: series(r, "1|BREAD")[10] == 0,
    ),
    Handled(
        "gap left open by rule",
        both(lambda raw: raw.drop("train", 41), rules(gaps="missing")),
        {"read": N_TRAIN - 1},
        added={"gaps_missing": 1},
        panel=lambda r: np.isnan(series(r, "1|BREAD")[10]),
    ),
    Handled(
        "a day missing for all",
        drop_train(lambda f: f["date"] == "2024-02-25"),
        {"read": N_TRAIN - 4},
        added={"closed_days": 4},
        panel=lambda r: (r.panel.history[:, 10] == 0).all(),
    ),
    Handled("one series", one_series, {"read": DAYS}, panel=lambda r: r.panel.n_series == 1),
    Handled(
        "constant zeros",
        lambda raw: [raw.cell(row, "sales", "0") for row in range(2, N_TRAIN + 1, 2)],
        note="2 series never sell anything: 1|MILK, 2|MILK",
    ),
    Handled(
        "a series that starts late",
        drop_train(lambda f: (f["store"] == "2") & (f["date"] < "2024-02-20")),
        {"read": N_TRAIN - 10},
        note="2 series start after",
        panel=lambda r: (
            np.isnan(series(r, "2|MILK")[:5]).all() and not np.isnan(series(r, "2|MILK")[5:]).any()
        ),
    ),
    Handled(
        "a series that ends early",
        drop_train(lambda f: (f["store"] == "2") & (f["date"] > "2024-03-10")),
        {"read": N_TRAIN - 10},
        note="2 series end before",
        panel=lambda r: np.isnan(series(r, "2|MILK")[-5:]).all(),
    ),
    Handled(
        "horizon longer than the history",
        both(config(horizon=60), rules(future_known="zero")),
        added={"future_promo": 4 * (60 - HORIZON)},
        note="longer than the history",
        panel=lambda r: r.panel.horizon == 60,
    ),
    Handled(
        "horizon shorter than the future file", config(horizon=1), other=("future", {"unused": 12, "kept": 4})
    ),
    Handled(
        "a new store without history",
        new_store,
        note="2 series have no history: 3|BREAD, 3|MILK",
        panel=lambda r: (
            np.isnan(series(r, "3|MILK")).all() and r.quality.series_without_history == ["3|BREAD", "3|MILK"]
        ),
    ),
    Handled(
        "a store that sells nothing at all",
        lambda raw: raw.tables.update(
            stores=pd.concat([raw.tables["stores"], pd.DataFrame({"store": ["9"], "city": ["Loja"]})])
        ),
        note="stores.csv: 1 of 3 rows belong to no series",
    ),
    Handled("Feb 29", as_it_is, panel=lambda r: pd.Timestamp("2024-02-29") in r.panel.dates),
    Handled(
        "a date that does not exist",
        cell("date", "2023-02-29"),
        {"quarantined": 1},
        (41, "date", "is not a date"),
    ),
    *(
        Handled(
            f"{day}, which is no date that a panel can have",
            both(
                cell("date", day),
                cell("date", day, 2, "visits"),
                cell("date", day, 3, "holidays"),
                rules(max_quarantined_share=0.5),
            ),
            {"quarantined": 1},
            (41, "date", "is not a date"),
            added={"gaps": 1},
            panel=lambda r: list(r.panel.events["event"]) == ["Founding"],
            other=(role, {"quarantined": 1, "unused": role == "holidays"}),
        )
        for day, role in (("9999-12-31", "visits.csv"), ("0001-01-01", "holidays"))
    ),
    Handled(
        "a date with a time of day",
        both(
            cell("date", "2024-02-25 12:30"),
            lambda raw: raw.tables["train"].update(
                raw.tables["train"]["date"].where(
                    raw.tables["train"]["date"].str.len() > 10, raw.tables["train"]["date"] + " 00:00"
                )
            ),
            lambda raw: raw.tables["test"].update(raw.tables["test"]["date"] + " 00:00"),
            config(
                csv={"date_format": "%Y-%m-%d %H:%M"},
                tables=[{"files": "stores.csv", "kind": "static", "join": ["store"], "columns": ["city"]}],
                holidays=None,
            ),
        ),
        {"quarantined": 1},
        (41, "date", "time of day"),
    ),
    Handled(
        "a row after today",
        both(cell("date", "2025-01-01"), no_future(future_known="zero")),
        {"quarantined": 1},
        (41, "date", "is after today"),
        added={"gaps": 1, "future_promo": 16},
    ),
    Handled(
        "a history row in the future file's dates",
        cell("date", "2024-03-17"),
        {"quarantined": 1},
        (41, "date", "lies in the future file's dates"),
    ),
    Handled(
        "a future row in the past",
        both(cell("date", "2024-02-16", 1, "test"), rules(future_known="zero", max_quarantined_share=0.1)),
        other=("future", {"quarantined": 1, "kept": 15}),
        added={"future_promo": 1},
    ),
    Handled("unknown store", cell("store", "77"), {"quarantined": 1}, (41, "store", "is not in stores.csv")),
    Handled("empty key", cell("family", ""), {"quarantined": 1}, (41, "family", "is empty")),
    Handled(
        "too many values in a line",
        bytes_of("train", lambda b: b.replace(b"\n40,", b"\n40,oops,")),
        {"quarantined": 1},
        (41, "", "has 7 values"),
    ),
    Handled(
        "weekly panel",
        weekly,
        {"read": 16},
        panel=lambda r: r.panel.freq == "W-SUN" and r.panel.n_history == 4,
    ),
    Handled(
        "off-grid weekly date",
        both(weekly, cell("date", "2024-02-26", 6), rules(max_quarantined_share=0.1)),
        {"read": 16, "quarantined": 1},
        (6, "date", "wrong weekday"),
    ),
    Handled("BOM", bytes_of("train", lambda b: b"\xef\xbb\xbf" + b)),
    Handled(
        "UTF-16 without its mark, as configured, of long words",
        both(
            lambda raw: [raw.tables[t].replace("MILK", "牛奶" * 99, inplace=True) for t in ("train", "test")],
            lambda raw: raw.files.update(
                {f"{t}.csv": raw.csv(t).decode().encode("utf-16-be") for t in raw.tables}
            ),
            config(csv={"encoding": "utf-16-be"}),
        ),
        panel=lambda r: "1|" + "牛奶" * 99 in r.panel.ids,
    ),
    Handled("UTF-16 beside UTF-8", bytes_of("train", lambda b: b.decode().encode("utf-16"))),
    Handled("CRLF line ends", bytes_of("train", lambda b: b.replace(b"\n", b"\r\n"))),
    Handled("gzip", whole_gzip),
    Handled(
        "latin-1 as configured",
        both(
            lambda raw: [raw.tables[t].replace("MILK", "CAFÉ", inplace=True) for t in ("train", "test")],
            lambda raw: raw.files.update(
                {f"{t}.csv": raw.csv(t).decode().encode("latin-1") for t in ("train", "test")}
            ),
            config(csv={"encoding": "latin-1"}),
        ),
        panel=lambda r: "1|CAFÉ" in r.panel.ids,
    ),
    Handled(
        "decimal comma as configured",
        lambda raw: (
            raw.files.update({f"{t}.csv": raw.csv(t, ";") for t in raw.tables}),
            raw.files.update({"train.csv": raw.csv("train", ";").replace(b";10;", b";10,5;")}),
            raw.config.update(csv={"separator": ";", "decimal": ","}),
        ),
        panel=lambda r: series(r, "1|BREAD")[0] == 10.5,
    ),
    Handled(
        "promotions in words, taken word by word",
        both(
            lambda raw: raw.tables.update(
                {
                    t: raw.tables[t].assign(
                        promo=raw.tables[t]["promo"].map({"0": "none", "1": "BOGO", "2": " half"})
                    )
                    for t in ("train", "test")
                }
            ),
            config(known={"bogo": "promo=BOGO", "half": "promo=half"}),
        ),
        panel=lambda r: (
            [r.panel.known[name][0, :12].tolist() for name in ("bogo", "half")]
            == [[0, 1, 0] * 4, [0, 0, 1] * 4]
        ),
    ),
    Handled(
        "promotions that hold or not",
        lambda raw: raw.tables.update(
            {
                t: raw.tables[t].assign(promo=np.where(raw.tables[t]["promo"] != "0", "True", "False"))
                for t in ("train", "test")
            }
        ),
        panel=lambda r: set(r.panel.known["promo"].ravel()) == {0.0, 1.0},
    ),
    Handled("negative promotion", cell("promo", "-1"), repairs={"promo_not_negative": 1}),
    Handled("empty promotion", cell("promo", ""), repairs={"promo_empty": 1}),
    Handled(
        "promotion missing in the future, zero by rule",
        both(gone("test", "promo"), rules(future_known="zero")),
        added={"future_promo": 16},
        panel=lambda r: not r.panel.known["promo"][:, -HORIZON:].any(),
    ),
    Handled(
        "no future file, last season by rule",
        no_future(future_known="last_season"),
        added={"future_promo": 16},
        panel=lambda r: np.array_equal(
            r.panel.known["promo"][:, DAYS:], r.panel.known["promo"][:, DAYS - 7 : DAYS - 7 + HORIZON]
        ),
    ),
    Handled(
        "holiday of an unknown locale",
        both(cell("locale", "Galactic", 1, "holidays"), rules(max_quarantined_share=0.5)),
        other=("holidays", {"quarantined": 1, "kept": 2}),
    ),
    Handled(
        "holiday of a place without stores",
        cell("place", "Atlantis", 3, "holidays"),
        note="holidays of 1 places reach no series: Atlantis",
        other=("holidays", {"unused": 1, "kept": 2}),
    ),
    Handled(
        "a moved holiday",
        as_it_is,
        panel=lambda r: list(r.panel.events["event"]) == ["Founding", "Quito Day"],
        other=("holidays", {"unused": 1, "kept": 2}),
    ),
    Handled(
        "static table with a store twice, identical",
        lambda raw: raw.repeat(1, "stores"),
        other=("stores.csv", {"read": 3, "merged": 1, "kept": 2}),
    ),
    Handled(
        "past rows after the cutoff",
        lambda raw: raw.repeat(1, "visits", date="2024-03-20"),
        other=("visits.csv", {"read": 61, "unused": 1, "kept": 60}),
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_input_that_cannot_be_used_stops_with_place_expectation_and_cure(
    case: Refused, tmp_path: Path
) -> None:
    raw = Raw()
    case.spoil(raw)

    with pytest.raises(DataError) as caught:
        raw.ingest(tmp_path)

    message = str(caught.value)
    assert [words for words in (*case.says, "to fix:") if words not in message] == []
    assert not list((tmp_path / "panel").iterdir())


@pytest.mark.parametrize("table", ["train", "test", "stores", "visits", "holidays"])
def test_a_file_without_its_columns_or_gone_is_told_before_a_row_is_read(table: str, tmp_path: Path) -> None:
    raw = Raw()
    raw.look(tmp_path)
    raw.tables[table] = raw.tables[table].rename(columns={"store": "shop", "kind": "type"})
    with pytest.raises(DataError, match=rf"{table}\.csv, header: column '(store|kind)' is missing"):
        raw.look(tmp_path)
    raw.files[f"{table}.csv"] = b""
    with pytest.raises(DataError, match=rf"{table}\.csv: the file is empty"):
        raw.look(tmp_path)


def test_a_table_with_a_column_for_each_date_is_told_in_a_few_words(tmp_path: Path) -> None:
    raw = Raw()
    raw.tables["train"] = pd.DataFrame([{"item": "a", **{f"d_{n}": 1 for n in range(1, 1942)}}])
    with pytest.raises(DataError, match="make rows of them first") as refused:
        raw.look(tmp_path)
    assert "d_19 and 1,922 more" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("case", HANDLED, ids=lambda case: case.name)
def test_odd_input_is_repaired_or_quarantined_by_a_stated_rule(case: Handled, tmp_path: Path) -> None:
    raw = Raw()
    case.spoil(raw)

    raw.look(tmp_path)
    result = raw.ingest(tmp_path)

    for role, expected in (("train", case.train), *([case.other] if case.other else [])):
        file = result.quality.file(role)
        counts = {
            name: getattr(file, f"rows_{name}")
            for name in ("read", "kept", "quarantined", "merged", "unused")
        }
        defaults = {"quarantined": 0, "merged": 0, "unused": 0} | (
            {"read": N_TRAIN} if role == "train" else {}
        )
        wanted = defaults | expected
        assert {name: counts[name] for name in wanted} == wanted
    assert all(file.adds_up for file in result.quality.files)
    assert {name: tally.count for name, tally in result.quality.file("train").repairs.items()} == case.repairs
    own = {k: v.count for k, v in result.quality.added.items()}
    if case.added or not case.train.get("quarantined"):
        assert own == case.added
    if case.reason:
        found = result.quarantine[result.quarantine["row"] == case.reason[0]].iloc[0]
        assert (found["file"], found["column"]) == ("train.csv", case.reason[1])
        assert case.reason[2] in found["reason"]
        assert found["expected"]
    assert any(case.note in note for note in ["", *result.quality.notes])
    assert case.panel(result)


VALID = """name: shop
freq: D
horizon: 4
train: train.csv
date: date
target: sales
keys: [store]
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (VALID + "horizn: 4\n", ("line 8", "horizn: unknown key", "did you mean 'horizon'")),
        (VALID + "rules: {gap: zero}\n", ("line 8", "rules.gap: unknown key", "did you mean 'gaps'")),
        (VALID.replace("horizon: 4", "horizon: soon"), ("line 3", "horizon", "integer", "'soon'")),
        (VALID.replace("freq: D", "freq: hourly"), ("line 2", "freq", "'W-SUN'", "'hourly'")),
        (VALID.replace("date: date\n", ""), ("date: required key is missing",)),
        (VALID + "name: again\n", ("line 8", "'name' occurs twice", "line 1")),
        ("- a\n- b\n", ("is not a mapping", "found: a list", "name, freq")),
        ("", ("is not a mapping", "an empty file")),
        ("name: [unclosed\n", ("is not valid YAML", "line 2")),
        (VALID + "known: [sales_price, y]\n", ("names must be unique", "y is not")),
        (VALID + "csv: {encoding: utf8mb4}\n", ("line 8", "no encoding 'utf8mb4'", "latin-1")),
        (VALID.replace("[store]", "[unique_id]"), ("unique_id is not", "{my_unique_id: unique_id}")),
        (VALID.replace("[store]", "[model]"), ("called 'model'", "keys: {my_model: model}")),
        (VALID.replace("[store]", "[Store/Dept]"), ("slash", "keys: {my_Store_Dept: Store/Dept}")),
        (VALID.replace("[store]", "[from, to]"), ("no key can be called", "keys: {my_from: from}")),
        (
            VALID + "tables: [{files: a.csv, kind: static, join: [store], columns: [volume]}]\n",
            ("called 'volume'", "columns: {my_volume: volume}"),
        ),
        (VALID + "tables: [{files: a.csv, kind: past, join: [store], columns: [x]}]\n", ("a.csv", "`date`")),
        (VALID + "tables: [{files: a.csv, kind: static, join: [shop], columns: [x]}]\n", ("`join`", "store")),
        (VALID + "holidays: {files: h.csv, kinds: {H: party}}\n", ("line 8", "holidays", "bridge", "party")),
    ],
    ids=lambda value: value[-30:].strip() if isinstance(value, str) else "",
)
def test_a_wrong_config_names_file_line_key_and_the_nearest_valid_one(
    text: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load_dataset_config(file)

    assert [words for words in ("shop.yaml", *says) if words not in str(caught.value)] == []


def test_a_missing_config_lists_the_yaml_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(VALID)

    with pytest.raises(ConfigError, match=r"shp.yaml: there is no such file\n.*shop.yaml"):
        load_dataset_config(tmp_path / "shp.yaml")


CELLS = st.sampled_from(
    [
        "",
        "x",
        "-5",
        "inf",
        "NaN",
        "1e400",
        "7",
        "2024-02-20",
        "2024-02-30",
        "2030-01-01",
        "1",
        "77",
        "BREAD",
        "3,4",
    ]
)
ROWS = st.integers(1, N_TRAIN - 15)  # there whatever has been dropped before
CORRUPTION = st.one_of(
    st.tuples(
        st.just("cell"),
        ROWS,
        st.sampled_from(["date", "store", "family", "sales", "promo"]),
        CELLS,
    ),
    st.tuples(st.just("repeat"), ROWS, st.just("sales"), st.sampled_from(["5", "10", "x"])),
    st.tuples(st.just("drop"), ROWS, st.just(""), st.just("")),
    st.tuples(st.just("break"), ROWS, st.just("sales"), st.just("")),
)


@settings(max_examples=30)
@given(
    corruptions=st.lists(CORRUPTION, max_size=15),
    duplicates=st.sampled_from(["sum", "last", "quarantine"]),
    negative=st.sampled_from(["clip", "quarantine"]),
)
def test_whatever_the_corruption_every_row_is_accounted_for(
    corruptions: list[tuple[str, int, str, str]], duplicates: str, negative: str
) -> None:
    raw = Raw()
    raw.rules(
        max_quarantined_share=1.0,
        conflicting_duplicates=duplicates,
        negative_target=negative,
        future_known="zero",
    )
    raw.config.update(tables=raw.config["tables"][:1], holidays=None)  # the train file alone matters here
    lines = 0
    for kind, row, column, value in corruptions:
        if kind == "cell":
            raw.cell(row, column, value)
        elif kind == "repeat":
            raw.repeat(row, **{column: value})
        elif kind == "drop":
            raw.drop("train", row)
    content = raw.csv("train")
    for kind, row, _, _ in corruptions:
        if kind == "break":
            lines += 1
            content += b"too,few,%d\n" % row
    raw.files["train.csv"] = content
    with tempfile.TemporaryDirectory() as folder:
        result = raw.ingest(Path(folder))
        stored = json.loads((Path(folder) / "panel" / "quality.json").read_text())

    train = result.quality.file("train")
    assert train.rows_read == len(raw.tables["train"]) + lines
    assert train.rows_read == train.rows_kept + train.rows_quarantined + train.rows_merged + train.rows_unused
    assert len(result.quarantine) == result.quality.rows_quarantined
    assert not result.quarantine.duplicated(["file", "row"]).any()
    assert (result.quarantine["reason"] != "").all()
    observed = int((~np.isnan(result.panel.history)).sum())
    empty = train.repairs["y_empty"].count if "y_empty" in train.repairs else 0
    assert observed == train.rows_kept - empty + result.quality.rows_added
    assert stored == result.quality.to_dict()


def test_the_shipped_synthetic_config_ingests_what_the_generator_writes(tmp_path: Path) -> None:
    from storecast.synthetic import make_panel, write_raw

    write_raw(tmp_path / "raw", n_stores=3, n_families=2, n_days=120)
    (tmp_path / "panel").mkdir()
    result = ingest(
        load_dataset_config("configs/datasets/synthetic.yaml"), tmp_path / "raw", tmp_path / "panel"
    )

    expected = make_panel(n_stores=3, n_families=2, n_days=120)
    np.testing.assert_array_equal(result.panel.y, expected.y)
    np.testing.assert_array_equal(result.panel.known["onpromotion"], expected.known["onpromotion"])
    assert result.panel.static.equals(expected.static)
