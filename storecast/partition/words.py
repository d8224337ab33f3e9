"""The values of a raw column as they come, some rows at a time: a number a row, each value parsed once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storecast.dataset_config import CsvFormat
from storecast.ingest.parse import parse
from storecast.ingest.typed import plain


class Words:
    """The different values of a column of keys.

    Attributes:
        texts: each value as the text that an ingest makes of it, by its number; "" where the cell is empty.
    """

    def __init__(self, form: CsvFormat) -> None:
        self._form = form
        self._number_of: dict[Any, int] = {}
        self._number_of_text: dict[str, int] = {}
        self.texts: list[str] = []

    def numbers(self, part: pa.Array) -> NDArray[np.int64]:
        """(n,) the number of each of the next rows' values."""
        coded = part if pa.types.is_dictionary(part.type) else part.dictionary_encode("encode")
        values = coded.dictionary
        found = [self._number(values[i : i + 1], word) for i, word in enumerate(plain(values))]
        indices = coded.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)
        if len(indices) and indices.max() == len(found):
            found.append(self._empty())
        return np.asarray(np.array(found, dtype=np.int64)[indices])

    def _number(self, value: pa.Array, word: Any) -> int:
        known = self._number_of.get(word)
        if known is None:
            parsed, _ = parse(pa.chunked_array([value]), "key", self._form)
            text = parsed.iloc[0]
            known = self._number_of[word] = self._of_text(text if isinstance(text, str) else "")
        return known

    def _empty(self) -> int:
        return self._of_text("")

    def _of_text(self, text: str) -> int:
        """One number for all that an ingest takes for the same: 1 of a Parquet file and "1" of a CSV."""
        known = self._number_of_text.setdefault(text, len(self.texts))
        if known == len(self.texts):
            self.texts.append(text)
        return known
