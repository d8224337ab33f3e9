"""What a data set is: its files, columns, frequency, covariates, holidays and the rules for bad rows.

A new panel is a new YAML file of this form, never new code; see docs/adding-a-dataset.md.
"""

from __future__ import annotations

import codecs
import fnmatch
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from storecast.calendar import EVENT_KINDS
from storecast.frequency import Freq
from storecast.yaml_model import load_yaml_model

RESERVED = ("unique_id", "ds", "y")
SCORED = (
    *("cutoff", "h", "model", "yhat", "mean", "q0.025", "q0.1", "q0.5", "q0.9", "q0.975"),
    *("n", "rmsle", "mae", "wape", "mase", "bias", "quantile_loss", "left_out"),
    *("coverage_80", "width_80", "coverage_95", "width_95", "overall", "volume", "level", "total"),
)
"""What no key or static column can be called: tables of forecasts and scores have columns of these names."""
ASKED = ("from", "to", "quantiles", "limit", "offset")
"""What no key can be called: a query to the service has parameters of these names."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_mapping(value: Any) -> Any:
    """A list of names is short for a mapping of each name to itself."""
    value = _as_list(value)
    return {name: name for name in value} if isinstance(value, list) else value


Files = Annotated[list[str], BeforeValidator(_as_list)]
Mapping = Annotated[dict[str, str], BeforeValidator(_as_mapping)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CsvFormat(_Strict):
    """How the text files are written."""

    separator: str = Field(
        default=",", min_length=1, max_length=1, description="character between two values"
    )
    decimal: Literal[".", ","] = Field(default=".", description="decimal mark of numbers")
    encoding: str = Field(
        default="utf-8",
        description="text encoding, such as utf-8, latin-1 or cp1252; UTF-16 is told by its mark",
    )
    date_format: str = Field(
        default="%Y-%m-%d", description="strptime format of dates written as text or integers"
    )
    max_line_bytes: int = Field(
        default=1_048_576, ge=64, description="a longer line is an error: the file is not a table"
    )

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            codecs.lookup(name)
        except LookupError:
            raise ValueError(f"there is no encoding {name!r}; utf-8, latin-1 or cp1252, say") from None
        return name


class Table(_Strict):
    """A further file whose columns are joined to the series."""

    files: Files = Field(
        description="candidate file names or patterns (sales_*.csv); the first that exists is read"
    )
    kind: Literal["static", "known", "past"] = Field(
        description="static: one value per key; known: also known for future dates; past: up to the cutoff"
    )
    join: Mapping = Field(
        description="columns to join on: the word `date`, keys or static columns; a list, or mapping to the "
        "name the column has in this file"
    )
    columns: Mapping = Field(description="columns to take; a list, or covariate name: column in this file")
    fill: Literal["missing", "zero", "forward"] = Field(
        default="missing",
        description="value on dates without a row: missing (past only), zero, or the last one known "
        "(forward; a known covariate takes the first one known before that)",
    )


class Holidays(_Strict):
    """The holiday table and how its words map to the platform's."""

    files: Files = Field(
        description="candidate file names or patterns (sales_*.csv); the first that exists is read"
    )
    date: str = Field(default="date", description="column with the day")
    name: str = Field(default="description", description="column with the event's name")
    kind: str | None = Field(default=None, description="column with the kind; without it all are `holiday`")
    kinds: dict[str, str] = Field(
        default_factory=dict, description=f"the file's kinds to {', '.join(EVENT_KINDS)}"
    )
    locale: str | None = Field(
        default=None, description="column that says how far the event reaches; without it: all series"
    )
    place: str | None = Field(default=None, description="column with the place the event holds for")
    locales: dict[str, str] = Field(
        default_factory=dict,
        description='the file\'s locales to the static column that names the place; "" = all series',
    )
    transferred: str | None = Field(
        default=None,
        description="column that is true where the holiday was moved: that day is an ordinary one. The row "
        "on the new day has a kind of its own (Transfer), which `kinds` maps to holiday",
    )
    transfer_prefix: str = Field(
        default="", description="prefix of moved holidays' names, cut so that both days share one name"
    )

    @model_validator(mode="after")
    def _check(self) -> Holidays:
        wrong = sorted(set(self.kinds.values()) - set(EVENT_KINDS))
        if wrong:
            raise ValueError(f"kinds must map to one of {', '.join(EVENT_KINDS)}; not {', '.join(wrong)}")
        if (self.locale is None) != (self.place is None):
            raise ValueError("`locale` and `place` are set together or not at all")
        return self


class Rules(_Strict):
    """What happens to rows that are wrong. A repair is counted and shown; the rest is quarantined."""

    max_quarantined_share: float = Field(
        default=0.01, ge=0, le=1, description="a file with a larger share of quarantined rows fails"
    )
    gaps: Literal["zero", "missing"] = Field(
        default="zero", description="sales on a date between a series' first and last row that has none"
    )
    closed_days: Literal["zero", "missing"] = Field(
        default="zero", description="sales on a date on which no series has a row"
    )
    max_closed_days: int = Field(
        default=366,
        ge=1,
        description="a longer run of days without any row is an error: a date must be wrong",
    )
    missing_target: Literal["missing", "zero"] = Field(
        default="missing", description="sales of a row that leaves them empty"
    )
    negative_target: Literal["clip", "quarantine"] = Field(
        default="clip",
        description="negative sales: set to 0, or quarantine; where rows are summed, this is for their sums",
    )
    conflicting_duplicates: Literal["sum", "last", "quarantine"] = Field(
        default="quarantine",
        description="rows of one series and date that differ (identical ones are merged): keep the last, "
        "quarantine all, or sum the sales, those of identical rows too",
    )
    missing_known: Literal["zero", "quarantine"] = Field(
        default="zero", description="a known-future covariate left empty in a row"
    )
    negative_known: Literal["keep", "clip", "quarantine"] = Field(
        default="clip", description="a negative known-future covariate"
    )
    future_known: Literal["error", "zero", "last_season"] = Field(
        default="error",
        description="a known-future covariate that a future date lacks: error, 0 or its last season's value",
    )


class DatasetConfig(_Strict):
    """A daily, weekly or monthly panel: where its rows are and what they mean."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="name of the data set")
    freq: Freq = Field(
        description="D; W-MON … W-SUN after the weekday that dates fall on, W is W-SUN; MS or ME for months "
        "that are dated by their first or last day"
    )
    weeks_dated_by: Literal["last_day", "first_day"] = Field(
        default="last_day", description="which day of its week a weekly date is, which tells a holiday's week"
    )
    horizon: int = Field(ge=1, le=3660, description="dates to forecast")
    train: Files = Field(
        min_length=1,
        description="candidate file names or patterns (sales_*.csv) of the history; the first that exists",
    )
    future: Files = Field(
        default_factory=list,
        description="candidate file names of the future rows: the train columns without the target",
    )
    date: str = Field(description="column with the date")
    target: str = Field(description="column with the sales, ≥ 0")
    keys: Mapping = Field(
        min_length=1, description="columns that name a series together; a list, or key: column in the files"
    )
    key_separator: str = Field(default="|", min_length=1, description="joins the keys to unique_id")
    id: str | None = Field(
        default=None, description="column of the future file whose value an export carries per row"
    )
    known: Mapping = Field(
        default_factory=dict,
        description="known-future covariates in the train and future files; a list, or name: column",
    )
    tables: list[Table] = Field(default_factory=list, description="further files joined to the series")
    holidays: Holidays | None = Field(default=None, description="the holiday table")
    csv: CsvFormat = Field(default_factory=CsvFormat, description="how the text files are written")
    rules: Rules = Field(default_factory=Rules, description="what happens to rows that are wrong")

    @property
    def frequency(self) -> str:
        """The pandas frequency: D, W-MON … W-SUN, MS or ME."""
        return "W-SUN" if self.freq == "W" else self.freq

    def covariates(self, kind: Literal["static", "known", "past"]) -> list[str]:
        """Names of the covariates of one kind, in the order of the file (keys first for static)."""
        own = {"static": list(self.keys), "known": list(self.known), "past": []}[kind]
        return [*own, *(name for table in self.tables if table.kind == kind for name in table.columns)]

    @model_validator(mode="after")
    def _check(self) -> DatasetConfig:
        names = [*self.covariates("static"), *self.covariates("known"), *self.covariates("past")]
        repeated = [n for n, count in Counter([*names, *RESERVED]).items() if count > 1]
        if repeated:
            raise ValueError(
                f"names must be unique and none of {', '.join(RESERVED)}; {', '.join(repeated)} is not; "
                f"give it another name, as in `{{my_{repeated[0]}: {repeated[0]}}}`"
            )
        _check_scored(self.covariates("static"))
        _check_asked(self.keys)
        if self.weeks_dated_by == "first_day" and not self.frequency.startswith("W-"):
            raise ValueError(f"weeks_dated_by: first_day is for weekly data, and freq is {self.freq}")
        static = set(self.keys)
        for table in self.tables:
            _check_join(table, static)
            static |= set(table.columns) if table.kind == "static" else set()
        places = {column for column in self.holidays.locales.values() if column} if self.holidays else set()
        if places - static:
            raise ValueError(
                f'holidays.locales must map to a static column ({", ".join(sorted(static))}) or to ""; '
                f"{', '.join(sorted(places - static))} is none"
            )
        return self


def _check_scored(static: list[str]) -> None:
    """Scores are made for each value of each of these columns, in a file that bears its name."""
    wrong = next((name for name in static if name in SCORED or "/" in name or "\\" in name), None)
    if wrong is not None:
        other = "my_" + wrong.replace("/", "_").replace("\\", "_")
        raise ValueError(
            f"no key or static column can be called {wrong!r}, nor {', '.join(SCORED)}, nor hold a slash; "
            f"give it another name, as in `keys: {{{other}: {wrong}}}` or `columns: {{{other}: {wrong}}}`"
        )


def _check_asked(keys: Iterable[str]) -> None:
    """A series is asked for by its key, in a query beside the dates wanted."""
    wrong = next((name for name in keys if name in ASKED), None)
    if wrong is not None:
        raise ValueError(
            f"no key can be called {', '.join(ASKED)}, by which the service is asked for dates and pages; "
            f"give it another name, as in `keys: {{my_{wrong}: {wrong}}}`"
        )


def _check_join(table: Table, static: set[str]) -> None:
    file = table.files[0] if table.files else "a table"
    allowed = static if table.kind == "static" else {*static, "date"}
    wrong = sorted(set(table.join) - allowed)
    if wrong or not table.join:
        raise ValueError(
            f"table {file}: `join` must name {', '.join(sorted(allowed))}; "
            f"not {', '.join(wrong) or 'nothing'}"
        )
    if table.kind != "static" and "date" not in table.join:
        raise ValueError(
            f"table {file}: a {table.kind} table joins on `date` and, where it differs by series, keys"
        )
    if table.kind == "known" and table.fill == "missing":
        raise ValueError(f"table {file}: a known covariate needs `fill: zero` or `fill: forward`")


def is_pattern(name: str) -> bool:
    """Whether a file's name in a config stands for all files that fit it."""
    return "*" in name or "?" in name


def fits(file: str, name: str) -> bool:
    """Whether a file is one that a name in a config stands for."""
    return fnmatch.fnmatchcase(file, name) if is_pattern(name) else file == name


def load_dataset_config(path: str | Path) -> DatasetConfig:
    """Read a data set's YAML file.

    Raises:
        ConfigError: names the file, line and key, what was expected and, for an unknown key, the nearest one.
    """
    return load_yaml_model(path, DatasetConfig)
