"""The checks of one table: a pandera schema generated from its columns, and what to do where it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera

from storecast.dataset_config import CsvFormat
from storecast.ingest.audit import Audit, Positions
from storecast.ingest.parse import YEARS, Kind
from storecast.ingest.raw_table import RawTable

WANTED: Mapping[Kind, str] = {
    "date": "a date",
    "key": "a text or number",
    "number": "a number",
    "covariate": "a number, true or false",
    "flag": "true or false",
}


LARGEST = 1e15


@dataclass(frozen=True)
class Rule:
    """A condition on a column's values; a row that fails is quarantined, or repaired if `repair` says how.

    Attributes:
        name: unique within the column.
        holds: vectorised: values (none missing) → mask of good ones.
        reason: what is wrong with a row that fails.
        expected: what would be right.
        repair: the value to put in its place, or None for quarantine.
        repair_rule: the repair as a sentence.
    """

    name: str
    holds: Callable[[pd.Series], Any]
    reason: str
    expected: str
    repair: float | None = None
    repair_rule: str = ""


@dataclass(frozen=True)
class Field:
    """A column of a raw table: where it is, what it is, and what must hold.

    Attributes:
        name: name in the parsed frame.
        column: name in the file.
        kind: how to read it.
        rules: conditions on its values.
        fill: value for an empty cell (NaN: it stays missing), or None: the row is quarantined.
        fill_rule: that repair as a sentence.
    """

    name: str
    column: str
    kind: Kind
    rules: tuple[Rule, ...] = ()
    fill: float | str | None = None
    fill_rule: str = ""


def finite() -> Rule:
    """Numbers must not be infinite, nor so large that their sums or single precision cannot hold them."""
    expected = f"a number between -{LARGEST:g} and {LARGEST:g}"
    return Rule(
        "finite", lambda values: values.abs() <= LARGEST, f"is infinite or beyond {LARGEST:g}", expected
    )


def not_negative(repair: float | None, word: str) -> Rule:
    """Numbers must be at least 0; `repair` 0.0 clips them."""
    return Rule(
        "not_negative",
        lambda values: values >= 0,
        "is negative",
        "a number ≥ 0",
        repair,
        f"negative {word} set to 0" if repair is not None else "",
    )


def known_values(allowed: Sequence[str], table: str) -> Rule:
    """Keys must occur in the table that describes them."""
    return Rule(
        "known",
        lambda values: values.isin(list(allowed)),
        f"is not in {table}",
        f"one of the {len(allowed)} values of {table}",
    )


def check_table(raw: RawTable, fields: Sequence[Field], form: CsvFormat, audit: Audit) -> pd.DataFrame:
    """Parse and validate a raw table.

    Returns:
        The good and repaired rows, one column per field; the index is the position in `raw`. What was
        repaired or quarantined is in `audit`.
    """
    typed = {field.name: raw.typed[field.column, field.kind] for field in fields}
    raw.typed.clear()  # the frame has them
    frame = pd.DataFrame({name: column.values for name, column in typed.items()}, copy=False)
    unreadable = {name: column.unreadable for name, column in typed.items()}
    del typed
    failures = _failures(_schema(fields), frame)
    bad = np.zeros(len(frame), dtype=bool)
    for field in fields:
        broken = unreadable[field.name]
        if len(broken):
            audit.quarantine(broken, field.column, f"is not {WANTED[field.kind]}", _expected(field, form))
            bad[broken] = True
        empty = failures.get((field.name, "not_nullable"), _none())
        empty = np.setdiff1d(empty, broken, assume_unique=True)
        bad[_handle_empty(field, frame, empty, audit)] = True
        for rule in field.rules:
            bad[_handle(field, rule, frame, failures.get((field.name, rule.name), _none()), audit)] = True
    audit.lost_rows = frame[bad]
    return frame[~bad] if bad.any() else frame


def _schema(fields: Sequence[Field]) -> pandera.DataFrameSchema:
    return pandera.DataFrameSchema(
        {
            field.name: pandera.Column(
                nullable=False, checks=[pandera.Check(rule.holds, name=rule.name) for rule in field.rules]
            )
            for field in fields
        }
    )


def _failures(schema: pandera.DataFrameSchema, frame: pd.DataFrame) -> dict[tuple[str, str], Positions]:
    """Positions of the failing rows by column and check."""
    try:
        schema.validate(frame, lazy=True, inplace=True)  # a copy would take as much again
    except pandera.errors.SchemaErrors as error:
        if "CHECK_ERROR" in error.error_counts:  # a check itself failed: a defect, not a wrong row
            raise
        cases = error.failure_cases
        return {
            (str(column), str(check)): np.sort(part.to_numpy(dtype=np.int64))
            for (column, check), part in cases.groupby(["column", "check"], sort=True)["index"]
        }
    return {}


def _handle_empty(field: Field, frame: pd.DataFrame, rows: Positions, audit: Audit) -> Positions:
    if not len(rows):
        return rows
    if field.fill is None:
        audit.quarantine(rows, field.column, "is empty", WANTED[field.kind])
        return rows
    if isinstance(field.fill, str):
        texts = frame[field.name].cat.categories.union(pd.Index([field.fill], dtype=object))
        frame[field.name] = frame[field.name].cat.set_categories(texts).fillna(field.fill)
    elif not np.isnan(field.fill):
        frame.loc[rows, field.name] = field.fill
    audit.repair(f"{field.name}_empty", rows, field.column, field.fill_rule)
    return _none()


def _handle(field: Field, rule: Rule, frame: pd.DataFrame, rows: Positions, audit: Audit) -> Positions:
    if not len(rows):
        return rows
    if rule.repair is None:
        audit.quarantine(rows, field.column, rule.reason, rule.expected)
        return rows
    frame.loc[rows, field.name] = rule.repair
    audit.repair(f"{field.name}_{rule.name}", rows, field.column, rule.repair_rule)
    return _none()


def _expected(field: Field, form: CsvFormat) -> str:
    if field.kind == "date":
        return f"a date in the form {form.date_format}, of the years {YEARS[0]} to {YEARS[1]}"
    return "a number such as 12.5" if field.kind == "number" else WANTED[field.kind]


def _none() -> Positions:
    return np.empty(0, dtype=np.int64)
