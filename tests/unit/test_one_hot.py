from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from storecast.errors import DataError
from storecast.ingest.parse import Kind
from storecast.ingest.source import Source

FRAME = pd.DataFrame({"offer": ["BOGO", " half price", None, "1"], "price=high": [5, 6, 7, 8]})


@pytest.fixture(params=["csv", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = f"sales.{request.param}"
    if request.param == "csv":
        FRAME.to_csv(tmp_path / name, index=False)
    else:
        FRAME.to_parquet(tmp_path / name)
    return str(tmp_path / name)


def values_of(file: str, column: str, kind: Kind = "covariate") -> list[float]:
    folder, _, name = file.rpartition("/")
    found: list[float] = Source(folder).read([name], [(column, kind)])[0].typed[column, kind].values.tolist()
    return [-1.0 if math.isnan(value) else value for value in found]


def test_a_word_of_a_column_is_a_column_of_ones_and_zeros(file: str) -> None:
    assert values_of(file, "offer=BOGO") == [1, 0, -1, 0]
    assert values_of(file, "offer=half price") == [0, 1, -1, 0]
    assert values_of(file, "offer=1") == [0, 0, -1, 1]


def test_a_column_whose_name_has_the_sign_is_taken_as_it_is(file: str) -> None:
    assert values_of(file, "price=high") == [5, 6, 7, 8]


def test_a_word_of_a_column_that_is_not_there_is_refused_by_the_columns_name(file: str) -> None:
    with pytest.raises(DataError, match=r"column 'ofer' is missing(.|\n)*did you mean 'offer'"):
        values_of(file, "ofer=BOGO")


def test_a_word_of_a_column_that_need_not_be_there_is_left_out(file: str) -> None:
    folder, _, name = file.rpartition("/")
    wanted: list[tuple[str, Kind]] = [("offer=BOGO", "covariate"), ("event=fair", "covariate")]
    (table,) = Source(folder).read([name], wanted, ["offer=BOGO", "event=fair"])
    assert list(table.typed) == [("offer=BOGO", "covariate")]
