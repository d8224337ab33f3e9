"""Arrow columns as written into typed pandas columns; what cannot be read is marked, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storecast.dataset_config import CsvFormat

Kind = Literal["date", "key", "number", "covariate", "flag"]
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
NULL_WORDS = ("NaN", "nan", "NAN", "NA", "N/A", "null", "NULL", "None", "-nan")
YES, NO = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
FLAGS = dict.fromkeys(YES, 1.0) | dict.fromkeys(NO, 0.0)
YEARS = (1678, 2261)
"""The first and the last year that are whole in a panel's dates, which count nanoseconds."""
Parsed = tuple[pd.Series, NDArray[np.bool_]]


def parse(column: pa.ChunkedArray, kind: Kind, form: CsvFormat) -> Parsed:
    """One raw column as datetime64, category of str (key) or float64 (number, covariate, flag).

    A covariate is a number, or a word for true (1) or false (0).

    Returns:
        The values, missing where the cell is empty or unreadable, and a mask of the unreadable cells.
    """
    readers: dict[Kind, Callable[[pa.ChunkedArray, CsvFormat], Parsed]] = {
        "date": _dates,
        "key": _keys,
        "number": _numbers,
        "covariate": partial(_numbers, flags=True),
        "flag": _flags,
    }
    return readers[kind](column, form)


def _keys(column: pa.ChunkedArray, form: CsvFormat) -> Parsed:
    del form
    if pa.types.is_floating(column.type):
        column = _whole_numbers(column)
    words = _texts(column)
    categories, positions = np.unique(np.array([*words], dtype=object), return_inverse=True)
    codes = np.where(np.array([word != "" for word in words], dtype=bool), positions, -1)
    values = pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(categories, dtype=object)))
    return values, np.zeros(len(values), dtype=bool)


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Keys that pandas turned into 1.0, 2.0 because one was missing, as integers again."""
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column


def _texts(column: pa.ChunkedArray) -> list[str]:
    """A column as text; "" where it is empty."""
    return ["" if word is None else word for word in column.cast(pa.string()).to_pylist()]


def _by_word(
    column: pa.ChunkedArray, read: Callable[[list[str]], NDArray[Any]]
) -> tuple[Any, NDArray[np.bool_]]:
    """Read a column's texts; the mask marks those that were read as missing."""
    words = _texts(column)
    values = read(words)
    blank = np.array([not w.strip() or w.strip() in NULL_WORDS for w in words], dtype=bool)
    return values, pd.isna(values) & ~blank


def _dates(column: pa.ChunkedArray, form: CsvFormat) -> Parsed:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            column = pc.local_timestamp(column)
        days = _of_years(column.cast(pa.timestamp("ms"), safe=False).to_numpy())
        return pd.Series(days), np.isnat(days) & column.is_valid().to_numpy().astype(bool)

    def read(words: list[str]) -> NDArray[Any]:
        try:
            dates = _wall_clock(words, form)
        except ValueError:  # the words' offsets differ, as where clocks change, and a series has one
            dates = pd.concat([_wall_clock([word], form) for word in words])
        return _of_years(dates.to_numpy(dtype="datetime64[ms]"))

    values, unreadable = _by_word(column, read)
    return pd.Series(values), unreadable


def _wall_clock(words: list[str], form: CsvFormat) -> pd.Series:
    """The dates that words tell, without their offsets; NaT where a word is none."""
    dates = pd.to_datetime(pd.Series(words, dtype=object), format=form.date_format, errors="coerce")
    return dates.dt.tz_localize(None) if isinstance(dates.dtype, pd.DatetimeTZDtype) else dates


def _of_years(dates: NDArray[Any]) -> NDArray[Any]:
    """The dates without those outside `YEARS`, such as the 9999-12-31 that stands for no date at all."""
    first, after = (np.datetime64(str(year)) for year in (YEARS[0], YEARS[1] + 1))
    return np.where((dates >= first) & (dates < after), dates, np.datetime64("NaT"))


def _flags(column: pa.ChunkedArray, form: CsvFormat) -> Parsed:
    del form

    def read(words: list[str]) -> NDArray[Any]:
        return np.array([FLAGS.get(w.strip().lower(), np.nan) for w in words], dtype=np.float64)

    values, unreadable = _by_word(column, read)
    return pd.Series(values), unreadable


def _numbers(column: pa.ChunkedArray, form: CsvFormat, flags: bool = False) -> Parsed:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    unreadable: NDArray[np.bool_] = np.zeros(len(column), dtype=bool)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column, unreadable = _numbers_from_text(column, form, flags)
    elif pa.types.is_null(kind) or _is_numeric(kind):
        column = column.cast(pa.float64())
    else:
        unreadable = column.is_valid().to_numpy().astype(bool)
        column = pa.chunked_array([pa.nulls(len(column), pa.float64())])
    return pd.Series(column.to_numpy().astype(np.float64, copy=False)), unreadable


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _numbers_from_text(
    column: pa.ChunkedArray, form: CsvFormat, flags: bool
) -> tuple[pa.ChunkedArray, NDArray[np.bool_]]:
    text = column
    if form.decimal == ",":
        foreign = pc.match_substring(text, ".")  # 1.234 may mean a thousand: refuse to guess
        text = pc.if_else(foreign, pa.scalar("?"), pc.replace_substring(text, ",", "."))
    try:
        return text.cast(pa.float64()), np.zeros(len(column), dtype=bool)
    except pa.ArrowInvalid:
        text = pc.utf8_trim_whitespace(text)
    blank = pc.or_(pc.equal(text, ""), pc.is_in(text, pa.array(NULL_WORDS)))
    text = pc.if_else(blank, pa.scalar(None, pa.string()), text)
    good = pc.match_substring_regex(text, NUMBER)
    numbers = pc.if_else(good, text, pa.scalar(None, pa.string())).cast(pa.float64())
    if flags:
        words = pc.index_in(pc.utf8_lower(text), pa.array(list(FLAGS)))
        numbers = pc.coalesce(numbers, pc.take(pa.array(list(FLAGS.values())), words))
    unreadable = pc.and_(text.is_valid(), numbers.is_null())
    return numbers, unreadable.to_numpy().astype(bool)
