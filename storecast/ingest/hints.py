"""What may be set in the data set's config where many rows of a file are wrong in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from storecast.ingest.parse import YEARS

DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y-%m",
    "%m/%Y",
    "%Y%m",
)
IN_WORDS = " is not a number, true or false"
"""How the reason ends where a covariate is written in words."""

WEEKDAY, DAY_OF_MONTH = "wrong weekday", "wrong day of the month"
"""How it ends where a date is not on the grid of weeks or months."""


def hints(reasons: Iterable[str], cells: Callable[[str], Sequence[str]]) -> list[str]:
    """A sentence for each way in which rows are wrong and the config may be at fault.

    Args:
        reasons: why rows were refused, each with its column.
        cells: gives some cells that were refused for a reason, as written.
    """
    refused = list(reasons)
    told = " ".join(refused)
    found = {
        "is not a date": _date_format(cells("is not a date")),
        "is not a number": _decimal(cells("is not a number")),
        IN_WORDS: _words(refused, cells(IN_WORDS.strip())),
        "is not in": "add the missing keys to that table",
        WEEKDAY: "set `freq` to the weekday the dates fall on",
        DAY_OF_MONTH: "set `freq` to MS or ME, if months are dated by their first or last day",
        "differs from another row": "set `rules: {conflicting_duplicates: sum}` or `last`",
    }
    return [hint for reason, hint in found.items() if hint and reason in told]


def _date_format(cells: Sequence[str]) -> str:
    """To be told with the formats that these dates may have: two where day and month cannot be told apart.

    Not where one is of no year that a date may be of, such as 9999-12-31.
    """
    written = [cell.strip() for cell in cells]
    fitting = {form: [_year(cell, form) for cell in written] for form in DATE_FORMATS}
    fitting = {form: years for form, years in fitting.items() if years and None not in years}
    if any(year not in range(YEARS[0], YEARS[1] + 1) for years in fitting.values() for year in years):
        return ""
    forms = " or ".join(f"'{form}'" for form in fitting) or "..."
    return f"set `csv: {{date_format: {forms}}}`"


def _year(cell: str, form: str) -> int | None:
    date = pd.to_datetime(cell, format=form, errors="coerce")
    return None if pd.isna(date) else int(date.year)


def _decimal(cells: Sequence[str]) -> str:
    """To be told where a number has a comma and no point."""
    commas = any("," in cell and "." not in cell for cell in cells)
    return "set `csv: {decimal: ','}` if the numbers have a decimal comma" if commas else ""


def _words(reasons: Iterable[str], cells: Sequence[str]) -> str:
    """To be told where a covariate is written in words."""
    columns = [reason.removesuffix(IN_WORDS) for reason in reasons if reason.endswith(IN_WORDS)]
    example = f"{columns[0]}={cells[0].strip()}" if columns and cells else "COLUMN=WORD"
    return f"take a covariate in words word by word: {{NAME: {example}}}"
