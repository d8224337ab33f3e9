"""A column as it is read, some rows at a time, into its typed values; what was written is not held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from storecast.dataset_config import CsvFormat
from storecast.ingest.parse import Kind, parse


@dataclass(frozen=True, eq=False)
class Typed:
    """A typed column.

    Attributes:
        values: datetime64, category of str (key) or float64 (number, covariate, flag); missing where the
            cell is empty or unreadable.
        unreadable: positions of the unreadable cells.
    """

    values: pd.Series
    unreadable: NDArray[np.int64]


class Builder(Protocol):
    """Takes a column in parts."""

    def add(self, part: pa.Array) -> None:
        """The next rows."""
        ...

    def finish(self) -> Typed:
        """The column of all rows; to be asked once."""
        ...


def builder(kind: Kind, form: CsvFormat) -> Builder:
    """What makes a column of this kind."""
    return _Numbers(kind, form) if kind in ("number", "covariate") else _FewValues(kind, form)


class _Numbers:
    """Numbers and covariates, each parsed as it comes."""

    def __init__(self, kind: Kind, form: CsvFormat) -> None:
        self._kind: Kind = kind
        self._form = form
        self._values = _Growing(np.float64)
        self._unreadable = _Growing(np.int64)

    def add(self, part: pa.Array) -> None:
        values, unreadable = parse(pa.chunked_array([part]), self._kind, self._form)
        self._unreadable.add(np.flatnonzero(unreadable) + len(self._values))
        self._values.add(values.to_numpy())

    def finish(self) -> Typed:
        return Typed(pd.Series(self._values.whole(), copy=False), self._unreadable.whole())


class _FewValues:
    """Dates, keys and flags, which have few different values: a code for each row, each value parsed once."""

    def __init__(self, kind: Kind, form: CsvFormat) -> None:
        self._kind: Kind = kind
        self._form = form
        self._code_of: dict[Any, int] = {}
        self._different: list[pa.Array] = []
        self._codes = _Growing(np.int32)

    def add(self, part: pa.Array) -> None:
        coded = part if pa.types.is_dictionary(part.type) else part.dictionary_encode()
        known, words, new = self._code_of, [], []
        for word in plain(coded.dictionary):
            new.append(word not in known)
            words.append(known.setdefault(word, len(known)))
        self._different.append(coded.dictionary.filter(pa.array(new, pa.bool_())))
        indices = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        self._codes.add(np.array([*words, -1], dtype=np.int32)[indices])

    def finish(self) -> Typed:
        different = pa.chunked_array(self._different or [pa.array([], pa.string())])
        values, unreadable = parse(different, self._kind, self._form)
        codes = self._codes.whole()
        return Typed(_taken(values, codes), np.flatnonzero(np.append(unreadable, False)[codes]))


def plain(values: pa.Array) -> list[Any]:
    """The values as Python's; those of a time as its ticks, which Python's dates may be too few for."""
    if pa.types.is_temporal(values.type):
        values = values.view(pa.int64() if values.type.bit_width == 64 else pa.int32())
    found: list[Any] = values.to_pylist()
    return found


def _taken(values: pd.Series, codes: NDArray[np.int32]) -> pd.Series:
    """The value of each code; missing where it is -1."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        places = np.append(values.cat.codes.to_numpy(), -1)[codes]
        return pd.Series(pd.Categorical.from_codes(places, dtype=values.dtype), copy=False)
    array = values.to_numpy()
    return pd.Series(np.append(array, np.full(1, None, dtype=array.dtype))[codes], copy=False)


class _Growing:
    """An array that grows at its end, where the system can move its pages instead of copying them."""

    def __init__(self, kind: Any) -> None:
        self._array = np.empty(0, dtype=kind)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def add(self, values: NDArray[Any]) -> None:
        """Append values."""
        end = self._used + len(values)
        if end > len(self._array):
            self._array.resize(max(end, len(self._array) * 9 // 8), refcheck=False)
        self._array[self._used : end] = values
        self._used = end

    def whole(self) -> NDArray[Any]:
        """What was added."""
        self._array.resize(self._used, refcheck=False)
        return self._array
