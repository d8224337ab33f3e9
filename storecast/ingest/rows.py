"""The train and future files into checked rows, one per series and date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from storecast.dataset_config import DatasetConfig
from storecast.errors import DataError
from storecast.ingest.checks import Field, Rule, finite, known_values, not_negative
from storecast.ingest.context import Context, settle_duplicates
from storecast.ingest.hints import DAY_OF_MONTH, WEEKDAY
from storecast.ingest.ledger import Ledger

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTH_DAYS: Mapping[str, tuple[str, Callable[[pd.Series], pd.Series]]] = {
    "MS": ("first", lambda ds: ds.dt.is_month_start),
    "ME": ("last", lambda ds: ds.dt.is_month_end),
}
Allowed = Mapping[str, tuple[Sequence[str], str]]
"""Values that a key may have, and the file that lists them."""


def train_fields(context: Context, allowed: Allowed, future_start: pd.Timestamp | None) -> list[Field]:
    """The columns of the history; rows from `future_start` on are wrong, where it is given.

    Rows that are added up may be negative: they are returns, and their sums are judged.
    """
    config, rules = context.config, context.config.rules
    each_row = () if rules.conflicting_duplicates == "sum" else (_target_not_negative(config),)
    target = Field(
        "y",
        config.target,
        "number",
        (finite(), *each_row),
        fill=0.0 if rules.missing_target == "zero" else np.nan,
        fill_rule=f"empty {config.target} "
        + ("set to 0" if rules.missing_target == "zero" else "kept as not observed"),
    )
    date = _date_field(context, _not_future(context.today, future_start))
    return [date, *_key_fields(context, allowed), target, *_known_fields(context)]


def read_train(
    context: Context, allowed: Allowed, future_start: pd.Timestamp | None
) -> tuple[pd.DataFrame, Ledger]:
    """The history: `ds`, one column per key, `y` and the known-future covariates of the train file.

    What has arrived may lie in the future file's dates: they have become history.

    Returns:
        The rows, unique by series and date, and the account of the table (its `lost_rows` are the
        quarantined rows, whose sales are unknown rather than zero).
    """
    config, rules = context.config, context.config.rules
    fields = train_fields(context, allowed, future_start)
    by = ["ds", *config.keys]
    arrived = train_fields(context, allowed, None)
    frame, audit = context.table(config.train, fields, "train", by=by, arrived=arrived)
    frame = settle_duplicates(frame, by, audit, rules.conflicting_duplicates, "y")
    frame = _without_negative_sums(frame, audit, config)
    context.close(audit, frame.index)
    _refuse_separator_in_keys(frame, config.keys, config.key_separator, audit)
    _refuse_long_silence(frame, audit, rules.max_closed_days)
    return frame, audit


def _target_not_negative(config: DatasetConfig) -> Rule:
    return not_negative(0.0 if config.rules.negative_target == "clip" else None, config.target)


def _without_negative_sums(frame: pd.DataFrame, audit: Ledger, config: DatasetConfig) -> pd.DataFrame:
    """The frame with `rules.negative_target` applied to what its rows add up to."""
    negative = frame.index[(frame["y"] < 0).to_numpy()]
    if not len(negative):
        return frame
    rule, rows = _target_not_negative(config), negative.to_numpy(dtype=np.int64)
    if rule.repair is not None:
        frame.loc[negative, "y"] = rule.repair
        audit.repair("y_not_negative", rows, config.target, f"negative sums of {config.target} set to 0")
        return frame
    audit.quarantine(rows, config.target, "adds up to a negative number", rule.expected)
    audit.lost_rows = pd.concat([audit.lost_rows, frame.loc[negative]])
    return frame.drop(index=negative)


def future_fields(context: Context, allowed: Allowed) -> list[Field]:
    """The columns of the future rows, of which the known covariates may be absent."""
    config = context.config
    fields = [_date_field(context, ()), *_key_fields(context, allowed), *_known_fields(context)]
    if config.id is not None:
        fields.append(Field("id", config.id, "key", fill="", fill_rule=f"empty {config.id} kept empty"))
    return fields


def read_future(context: Context, allowed: Allowed) -> tuple[pd.DataFrame, Ledger] | None:
    """The future rows: `ds`, keys, the known covariates the file has, `id`; None without a future file.

    A file without rows is one of which nothing is known yet. The account is not closed: the caller does that
    when it knows the panel's dates.
    """
    config = context.config
    if not config.future:
        return None
    by = ["ds", *config.keys]
    known = list(config.known.values())
    fields = future_fields(context, allowed)
    frame, audit = context.table(config.future, fields, "future", optional=known, by=by, bare=True)
    if not len(frame):
        context.report.notes.append(f"{audit.audits[0].raw.file} has no rows: nothing of the future is known")
    _refuse_separator_in_keys(frame, config.keys, config.key_separator, audit)
    rule = "last" if config.rules.conflicting_duplicates == "sum" else config.rules.conflicting_duplicates
    frame = settle_duplicates(frame, by, audit, rule)
    for number in range(len(audit.audits)):
        frame = _without_stray(frame, audit, number, config.date)
    return frame, audit


def _without_stray(frame: pd.DataFrame, audit: Ledger, number: int, column: str) -> pd.DataFrame:
    """The frame without the rows of one file that lie before the bulk of that file."""
    mine = frame[audit.file_of(frame.index.to_numpy(dtype=np.int64)) == number]
    start = future_start(mine)
    stray = mine.index[:0] if start is None else mine.index[mine["ds"] < start]
    if not len(stray) or start is None:
        return frame
    rows = stray.to_numpy(dtype=np.int64)
    audit.quarantine(rows, column, "is before the future starts", f"a date from {start.date()} on")
    kept: pd.DataFrame = frame.drop(index=stray)
    return kept


def future_start(frame: pd.DataFrame) -> pd.Timestamp | None:
    """First date of a future table: a date with hardly any rows before the bulk is a slip, not the start."""
    counts = frame["ds"].value_counts().sort_index()
    usual = counts[counts >= counts.median() / 2]
    return None if usual.empty else pd.Timestamp(usual.index[0])


def on_grid(frequency: str) -> tuple[Rule, ...]:
    """Dates carry no time of day, and fall on a weekly frequency's weekday or on a monthly one's day."""
    whole = Rule("whole_day", lambda ds: ds == ds.dt.normalize(), "has a time of day", "a date without time")
    reason = f"is not on the {frequency} grid: "
    if frequency in _MONTH_DAYS:
        name, fits = _MONTH_DAYS[frequency]
        return (whole, Rule("on_grid", fits, f"{reason}{DAY_OF_MONTH}", f"the {name} day of a month"))
    if frequency.startswith("W-"):
        day = WEEKDAYS.index(frequency[2:])
        expected = f"a {WEEKDAYS[day].title()}."
        return (whole, Rule("on_grid", lambda ds: ds.dt.day_of_week == day, f"{reason}{WEEKDAY}", expected))
    return (whole,)


def _not_future(today: pd.Timestamp, start: pd.Timestamp | None) -> tuple[Rule, ...]:
    rules = [
        Rule("not_after_today", lambda ds: ds <= today, "is after today", f"a date up to {today.date()}")
    ]
    if start is not None:
        expected = f"a date before {start.date()}, where the future file starts"
        rules.append(
            Rule("before_future", lambda ds: ds < start, "lies in the future file's dates", expected)
        )
    return tuple(rules)


def _date_field(context: Context, rules: tuple[Rule, ...]) -> Field:
    return Field("ds", context.config.date, "date", (*on_grid(context.config.frequency), *rules))


def _key_fields(context: Context, allowed: Allowed) -> list[Field]:
    return [
        Field(key, column, "key", (known_values(*allowed[key]),) if key in allowed else ())
        for key, column in context.config.keys.items()
    ]


def _known_fields(context: Context) -> list[Field]:
    rules = context.config.rules
    fields = []
    for name, column in context.config.known.items():
        checks: tuple[Rule, ...] = (finite(),)
        if rules.negative_known != "keep":
            checks = (*checks, not_negative(0.0 if rules.negative_known == "clip" else None, column))
        fill = 0.0 if rules.missing_known == "zero" else None
        fields.append(Field(name, column, "covariate", checks, fill, f"empty {column} set to 0"))
    return fields


def _refuse_separator_in_keys(
    frame: pd.DataFrame, keys: Mapping[str, str], separator: str, audit: Ledger
) -> None:
    if len(keys) == 1:
        return
    for key, column in keys.items():
        categories = frame[key].cat.categories
        for value in (each for each in categories if separator in each):
            rows = frame.index[(frame[key] == value).to_numpy()]
            if not len(rows):
                continue
            raise DataError(
                f"a key holds the separator {separator!r}, so series could be confused",
                where=f"{audit.where(int(rows[0]))}, column {column}",
                expected=f"keys without {separator!r}",
                found=repr(value),
                cure="set `key_separator` in the dataset config to a text that no key holds",
            )


def _refuse_long_silence(frame: pd.DataFrame, audit: Ledger, longest: int) -> None:
    """A single wrong year would stretch the axis over centuries: ask instead."""
    days = np.sort(frame["ds"].unique())
    gaps = np.diff(days).astype("timedelta64[D]").astype(np.int64)
    if not len(gaps) or gaps.max() <= longest:
        return
    edge = days[int(gaps.argmax())]
    before = frame["ds"] <= edge
    lonely = frame[before] if before.sum() <= len(frame) / 2 else frame[~before]
    raise DataError(
        f"there is no row at all for {int(gaps.max()):,} days after {pd.Timestamp(edge).date()}",
        where=f"{audit.where(int(lonely.index[0]))}, column {lonely.columns[0]}",
        expected=f"at most {longest} days without any row (rules.max_closed_days)",
        found=f"date {lonely['ds'].iloc[0].date()}",
        cure="correct that date, or raise rules.max_closed_days",
    )
